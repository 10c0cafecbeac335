//! `ucron group rm`: an admin on all groups; only an empty group.

use super::{Audited, Replied, reply};
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::event::Now;
use crate::center::select::refusal;
use crate::center::watch::Touched;
use crate::proto::request::{Answer, GroupRemove, RefusalCode};
use crate::store::Write;

pub(super) fn answer(core: &mut Core, now: Now, asker: &Asker, ask: &GroupRemove) -> Replied {
    core.find_group(asker, &ask.group)?;
    asker.may_change_fleet()?;
    let tasks = core.fleet.tasks_of(&ask.group).count();
    let agents = core.fleet.agents_of(&ask.group).count();
    if tasks + agents > 0 {
        return Err(refusal(
            RefusalCode::Conflict,
            format!(
                "group {} still has tasks ({tasks}) or agents ({agents})",
                ask.group
            ),
            Some(
                "remove its tasks with `ucron rm --group`, take its agents out with `ucron group unassign`",
            ),
        ));
    }
    core.write(Write::RemoveGroup(ask.group.clone()));
    core.fleet.groups.remove(&ask.group);
    if core.fleet.freezes.contains_key(&ask.group) {
        core.set_freeze(&ask.group, None);
    }
    core.touch(&Touched::Group(ask.group.clone()));
    forget_roles(core, ask);
    core.audit(now, asker, Audited::new("group rm", &ask.group, None));
    reply(Answer::Done)
}

/// A role in a group that is gone must not come back with a new group of that name.
fn forget_roles(core: &mut Core, ask: &GroupRemove) {
    let holders = core
        .fleet
        .operators
        .values_mut()
        .filter(|row| row.roles.contains_key(&ask.group));
    let changed: Vec<_> = holders
        .map(|row| {
            row.roles.remove(&ask.group);
            row.clone()
        })
        .collect();
    for row in changed {
        core.write(Write::PutOperator(Box::new(row)));
    }
}
