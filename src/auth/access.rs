//! The one place that decides who may do what. Pure: roles in, a decision out.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::model::{GroupName, Role};

/// What one operator may do: roles on all groups and in single ones.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Access {
    /// The role on all groups, those included that are yet to be made.
    pub everywhere: Option<Role>,
    /// Roles in single groups; each adds to the one everywhere.
    pub groups: BTreeMap<GroupName, Role>,
}

/// What somebody asks to do, with the group it concerns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deed<'a> {
    /// See a group, its agents, tasks, runs, output, history.
    See(&'a GroupName),
    /// Add, change, start, stop, run, delete tasks; end runs.
    TaskChange(&'a GroupName),
    /// Set a group's limits, freeze and thaw it.
    GroupLimit(&'a GroupName),
    /// Give or take a role: in a group, or on all.
    Grant(Option<&'a GroupName>, Role),
    /// Add, rename, drain, remove, assign agents, groups, tokens, operators.
    FleetChange,
    /// See what belongs to no group: operators, the audit log, agents without a group.
    FleetSee,
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Denied {
    /// The asker may not know that it is there: answered word for word as if it were not.
    #[error("not to be seen")]
    NotVisible,
    /// Seen, but it takes this role.
    #[error("this needs the role {needed}{}", if *.everywhere { " on all groups" } else { " in the group" })]
    NotAllowed {
        /// The least role that may.
        needed: Role,
        /// On all groups, not only in one.
        everywhere: bool,
    },
}

impl Access {
    /// The role in a group: the higher of that everywhere and that in it.
    pub fn role_in(&self, group: &GroupName) -> Option<Role> {
        self.everywhere.max(self.groups.get(group).copied())
    }

    /// Whether a group, and what is in it, is shown at all.
    pub fn sees(&self, group: &GroupName) -> bool {
        self.role_in(group).is_some()
    }

    /// Whether everything is seen, so that nothing need be filtered.
    pub fn sees_all(&self) -> bool {
        self.everywhere.is_some()
    }

    /// Decides one deed.
    pub fn require(&self, deed: Deed<'_>) -> Result<(), Denied> {
        match deed {
            Deed::See(group) => self.in_group(group, Role::Viewer),
            Deed::TaskChange(group) => self.in_group(group, Role::Operator),
            Deed::GroupLimit(group) | Deed::Grant(Some(group), _) => {
                self.in_group(group, Role::Admin)
            }
            Deed::Grant(None, _) | Deed::FleetChange => self.in_fleet(Role::Admin),
            Deed::FleetSee => self.in_fleet(Role::Viewer),
        }
    }

    fn in_group(&self, group: &GroupName, needed: Role) -> Result<(), Denied> {
        match self.role_in(group) {
            None => Err(Denied::NotVisible),
            Some(role) if role >= needed => Ok(()),
            Some(_) => Err(Denied::NotAllowed {
                needed,
                everywhere: false,
            }),
        }
    }

    fn in_fleet(&self, needed: Role) -> Result<(), Denied> {
        if self.everywhere >= Some(needed) {
            return Ok(());
        }
        Err(Denied::NotAllowed {
            needed,
            everywhere: true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str) -> GroupName {
        GroupName::parse(name).unwrap()
    }

    fn access(everywhere: Option<Role>, in_web: Option<Role>) -> Access {
        Access {
            everywhere,
            groups: in_web
                .map(|role| (group("web"), role))
                .into_iter()
                .collect(),
        }
    }

    /// `y` allowed, `n` seen but not allowed, `-` not visible; in the order see, change tasks, limit, grant in the
    /// group, grant everywhere, change the fleet, see the fleet.
    fn check(everywhere: Option<Role>, in_web: Option<Role>, on: &str, wanted: &str) {
        let on = group(on);
        let deeds = [
            Deed::See(&on),
            Deed::TaskChange(&on),
            Deed::GroupLimit(&on),
            Deed::Grant(Some(&on), Role::Viewer),
            Deed::Grant(None, Role::Viewer),
            Deed::FleetChange,
            Deed::FleetSee,
        ];
        let access = access(everywhere, in_web);
        let got: String = deeds
            .into_iter()
            .map(|deed| match access.require(deed) {
                Ok(()) => 'y',
                Err(Denied::NotAllowed { .. }) => 'n',
                Err(Denied::NotVisible) => '-',
            })
            .collect();
        assert_eq!(
            got, wanted,
            "{everywhere:?} everywhere, {in_web:?} in web, on {on}"
        );
    }

    #[test]
    fn roles_decide_every_deed() {
        use Role::{Admin, Operator, Viewer};
        check(None, None, "web", "----nnn");
        check(None, Some(Viewer), "web", "ynnnnnn");
        check(None, Some(Operator), "web", "yynnnnn");
        check(None, Some(Admin), "web", "yyyynnn");
        check(None, Some(Admin), "db", "----nnn");
        check(Some(Viewer), None, "web", "ynnnnny");
        check(Some(Operator), None, "web", "yynnnny");
        check(Some(Admin), None, "web", "yyyyyyy");
        check(Some(Viewer), Some(Admin), "web", "yyyynny");
        check(Some(Viewer), Some(Admin), "db", "ynnnnny");
        check(Some(Admin), Some(Viewer), "web", "yyyyyyy");
    }

    #[test]
    fn a_refusal_names_the_role_it_takes() {
        let denied = access(None, Some(Role::Viewer)).require(Deed::TaskChange(&group("web")));
        assert_eq!(
            denied.unwrap_err().to_string(),
            "this needs the role operator in the group"
        );
        let denied = access(None, None).require(Deed::FleetChange);
        assert_eq!(
            denied.unwrap_err().to_string(),
            "this needs the role admin on all groups"
        );
    }
}
