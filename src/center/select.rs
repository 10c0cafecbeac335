//! What an asker's TASK, RUN and group names mean, among what they may see. What is not to be seen is answered
//! word for word like what is not there.

use super::clients::Asker;
use super::core::Core;
use super::fleet::TaskEntry;
use crate::auth::{Access, Deed, Denied};
use crate::model::{AgentName, GroupName, Role, TaskId, TaskName, TaskPath};
use crate::proto::request::{Refusal, RefusalCode};
use crate::store::AgentRow;

/// A refusal.
pub(super) fn refusal(code: RefusalCode, message: String, hint: Option<&str>) -> Refusal {
    Refusal {
        code,
        message,
        hint: hint.map(str::to_owned),
    }
}

fn not_found(what: &str, text: &str, hint: &str) -> Refusal {
    refusal(
        RefusalCode::NotFound,
        format!("no {what} `{}`", text.escape_debug()),
        Some(hint),
    )
}

/// Not there, or not to be seen.
pub(super) fn no_task(text: &str) -> Refusal {
    not_found("task", text, "`ucron ls` lists the tasks that you can see")
}

/// Not there, or not to be seen.
pub(super) fn no_group(text: &str) -> Refusal {
    not_found(
        "group",
        text,
        "`ucron groups` lists the groups that you can see",
    )
}

/// Not there, or not to be seen.
pub(super) fn no_agent(text: &str) -> Refusal {
    not_found(
        "agent",
        text,
        "`ucron agents` lists the agents that you can see",
    )
}

/// Not there, or not to be seen.
pub(super) fn no_run(text: &str) -> Refusal {
    not_found("run", text, "`ucron runs` lists the runs that you can see")
}

impl Asker {
    /// Lets a deed pass, or says why not; `missing` is the answer for what is not to be seen.
    pub(super) fn may(
        &self,
        deed: Deed<'_>,
        missing: impl FnOnce() -> Refusal,
    ) -> Result<(), Refusal> {
        self.access.require(deed).map_err(|denied| match denied {
            Denied::NotVisible => missing(),
            Denied::NotAllowed { .. } => refusal(
                RefusalCode::Forbidden,
                format!("operator {} may not do this: {denied}", self.operator),
                Some("ask an admin for the role with `ucron grant`"),
            ),
        })
    }

    /// Lets a change of the fleet pass.
    pub(super) fn may_change_fleet(&self) -> Result<(), Refusal> {
        self.may(Deed::FleetChange, || {
            refusal(RefusalCode::Forbidden, "not allowed".to_owned(), None)
        })
    }
}

impl Core {
    /// The task that a TASK text means.
    pub(super) fn find_task(&self, asker: &Asker, text: &str) -> Result<&TaskEntry, Refusal> {
        if let Ok(id) = text.parse::<TaskId>() {
            let seen = |entry: &&TaskEntry| asker.access.sees(&entry.task.group);
            return self
                .fleet
                .tasks
                .get(&id)
                .filter(seen)
                .ok_or_else(|| no_task(text));
        }
        if text.contains('/') {
            let path: TaskPath = text.parse().map_err(|_| no_task(text))?;
            let seen = |entry: &&TaskEntry| asker.access.sees(&entry.task.group);
            return self
                .fleet
                .task_at(&path)
                .filter(seen)
                .ok_or_else(|| no_task(text));
        }
        let name = TaskName::parse(text).map_err(|_| no_task(text))?;
        let found: Vec<&TaskEntry> = self
            .fleet
            .tasks_named(&name)
            .into_iter()
            .filter(|entry| asker.access.sees(&entry.task.group))
            .collect();
        match found.as_slice() {
            [] => Err(no_task(text)),
            [entry] => Ok(*entry),
            many => Err(ambiguous(text, many)),
        }
    }

    /// A task that the asker may change.
    pub(super) fn find_task_to_change(
        &self,
        asker: &Asker,
        text: &str,
    ) -> Result<&TaskEntry, Refusal> {
        let entry = self.find_task(asker, text)?;
        asker.may(Deed::TaskChange(&entry.task.group), || no_task(text))?;
        Ok(entry)
    }

    /// A group that the asker sees.
    pub(super) fn find_group(&self, asker: &Asker, group: &GroupName) -> Result<(), Refusal> {
        asker.may(Deed::See(group), || no_group(group.as_str()))?;
        if self.fleet.groups.contains_key(group) {
            Ok(())
        } else {
            Err(no_group(group.as_str()))
        }
    }

    /// Whether an agent is seen: on all groups, or one of its groups.
    pub(super) fn sees_agent(access: &Access, row: &AgentRow) -> bool {
        access.sees_all() || row.groups.iter().any(|group| access.sees(group))
    }

    /// An agent that the asker sees.
    pub(super) fn find_agent(&self, asker: &Asker, name: &AgentName) -> Result<&AgentRow, Refusal> {
        let seen = |row: &&AgentRow| Self::sees_agent(&asker.access, row);
        self.fleet
            .agent_named(name)
            .filter(seen)
            .ok_or_else(|| no_agent(name.as_str()))
    }

    /// Refuses a `run_user` that a group does not let its operators name.
    pub(super) fn check_run_user(
        &self,
        asker: &Asker,
        group: &GroupName,
        user: &str,
    ) -> Result<(), Refusal> {
        let allowed = self
            .fleet
            .groups
            .get(group)
            .and_then(|row| row.run_users.as_ref());
        match allowed {
            Some(users)
                if !users.contains(user) && asker.access.role_in(group) < Some(Role::Admin) =>
            {
                Err(refusal(
                    RefusalCode::Forbidden,
                    format!("group {group} does not let its operators name the user `{user}`"),
                    Some("`ucron groups` shows the users that it allows"),
                ))
            }
            _ => Ok(()),
        }
    }
}

fn ambiguous(text: &str, found: &[&TaskEntry]) -> Refusal {
    let paths: Vec<String> = found
        .iter()
        .map(|entry| entry.task.path().to_string())
        .collect();
    refusal(
        RefusalCode::Usage,
        format!("`{text}` is ambiguous: {}", paths.join(", ")),
        Some("give `group/name` or the id"),
    )
}
