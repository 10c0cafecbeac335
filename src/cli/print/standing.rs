//! How a task stands, in one sentence that a tired person understands: whether it is on, and what keeps it from running
//! all the same. Used by `why` and by the dashboard; made of what a center shows, so it knows what the asker may see.

use crate::model::{AgentState, ConditionKind};
use crate::proto::view::{AgentView, ConditionView, GroupView, TaskView};
use crate::rule::{RuleKind, UnixMs};

/// What surrounds a task.
#[derive(Clone, Debug)]
pub struct Around<'a> {
    /// Its group, where it is known.
    pub group: Option<&'a GroupView>,
    /// All agents.
    pub agents: Vec<&'a AgentView>,
    /// What is wrong now.
    pub conditions: &'a [ConditionView],
}

/// What the task is, for `… is STATE`; `instant` writes one for a reader.
pub fn state(view: &TaskView, around: &Around, instant: impl Fn(UnixMs) -> String) -> String {
    if !view.enabled {
        let when = instant(view.changed_at);
        let by = &view.changed_by;
        let is_new = view.revision.0 == 1 && view.saved_at == view.changed_at;
        let verb = if is_new {
            "off since it was added"
        } else {
            "stopped"
        };
        return format!("{verb} by {by} at {when}; `ucron start` turns it on");
    }
    match hindrance(view, around, &instant) {
        Some(but) => format!("on, but {but}"),
        None => "on".to_owned(),
    }
}

/// What keeps a task that is on from running.
fn hindrance(
    view: &TaskView,
    around: &Around,
    instant: impl Fn(UnixMs) -> String,
) -> Option<String> {
    let daemon = view.spec.work.daemon;
    if !daemon && let Some(frozen) = frozen(around.group, &instant) {
        return Some(frozen);
    }
    let store = around.conditions.iter();
    if let Some(told) = store
        .filter(|told| told.condition == ConditionKind::Store)
        .find(|_| !daemon)
    {
        return Some(format!("nothing is planned: {}", told.reason));
    }
    if !daemon && view.next_at.is_none() && view.spec.rule.kind() != RuleKind::Reboot {
        let rule = &view.spec.rule;
        return Some(format!("its rule `{rule}` has no further occurrence"));
    }
    without_agents(view, around, &instant)
}

/// The group's freeze, for `… is on, but …`.
pub fn frozen(group: Option<&GroupView>, instant: impl Fn(UnixMs) -> String) -> Option<String> {
    let group = group?;
    let until = instant(group.frozen_until?);
    let why = group.frozen.as_deref().unwrap_or("by somebody");
    Some(format!(
        "group {} is frozen until {until}, {why}",
        group.name
    ))
}

fn without_agents(
    view: &TaskView,
    around: &Around,
    instant: impl Fn(UnixMs) -> String,
) -> Option<String> {
    let is_meant = |agent: &&AgentView| match &view.spec.target {
        crate::model::Target::Word(_) => true,
        crate::model::Target::Named(names) => names.contains(&agent.name),
    };
    let members = around.agents.iter().copied();
    let members = members.filter(|agent| agent.groups.contains(&view.group));
    let meant: Vec<&AgentView> = members.filter(is_meant).collect();
    if meant.is_empty() {
        let group = &view.group;
        return Some(format!(
            "group {group} has no agent for it: every occurrence is missed"
        ));
    }
    let mut online = meant
        .iter()
        .filter(|agent| agent.state == AgentState::Online);
    if online.any(|agent| unable(agent, around.conditions).is_none()) {
        return None;
    }
    let each = meant.iter().take(5).map(|agent| match agent.state {
        AgentState::Online => match unable(agent, around.conditions) {
            Some(told) => told.text.clone(),
            None => format!("{} is online", agent.name),
        },
        AgentState::Draining => format!("{} is draining", agent.name),
        AgentState::Offline => match agent.last_seen_at {
            Some(at) => format!("{} is offline, last heard {}", agent.name, instant(at)),
            None => format!("{} has never connected", agent.name),
        },
    });
    let each: Vec<String> = each.collect();
    let more = match meant.len() - each.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "no agent takes its runs: {}{more}",
        each.join(", ")
    ))
}

/// What keeps an agent that is online from starting anything.
fn unable<'a>(agent: &AgentView, conditions: &'a [ConditionView]) -> Option<&'a ConditionView> {
    let keeps = |kind| matches!(kind, ConditionKind::Keeper | ConditionKind::Journal);
    let mut own = conditions
        .iter()
        .filter(|told| told.agent.as_ref() == Some(&agent.name));
    own.find(|told| told.task.is_none() && keeps(told.condition))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fake;

    fn check(change: impl Fn(&mut TaskView, &mut GroupView, &mut Vec<AgentView>), wanted: &str) {
        let mut task = fake::task("web", "probe");
        let mut group = fake::group("web");
        let mut agent = fake::agent("a1");
        agent.groups = [group.name.clone()].into();
        let mut agents = vec![agent];
        change(&mut task, &mut group, &mut agents);
        let around = Around {
            group: Some(&group),
            agents: agents.iter().collect(),
            conditions: &[],
        };
        assert_eq!(state(&task, &around, |_| "T".to_owned()), wanted);
    }

    #[test]
    fn a_task_says_what_keeps_it_from_running() {
        check(|_, _, _| (), "on");
        check(
            |task, _, _| {
                task.enabled = false;
                task.revision.0 = 2;
            },
            "stopped by admin at T; `ucron start` turns it on",
        );
        check(
            |task, _, _| {
                task.enabled = false;
                task.revision.0 = 1;
                task.saved_at = task.changed_at;
            },
            "off since it was added by admin at T; `ucron start` turns it on",
        );
        check(
            |_, group, _| {
                group.frozen_until = Some(UnixMs(0));
                group.frozen = Some("by ann: move".to_owned());
            },
            "on, but group web is frozen until T, by ann: move",
        );
        check(
            |task, _, _| task.next_at = None,
            "on, but its rule `*/5 * * * *` has no further occurrence",
        );
        check(
            |_, _, agents| agents.clear(),
            "on, but group web has no agent for it: every occurrence is missed",
        );
        check(
            |_, _, agents| agents[0].state = AgentState::Offline,
            "on, but no agent takes its runs: a1 is offline, last heard T",
        );
        check(
            |_, _, agents| agents[0].state = AgentState::Draining,
            "on, but no agent takes its runs: a1 is draining",
        );
    }
}
