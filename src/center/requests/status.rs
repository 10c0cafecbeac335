//! `ucron status`: the fleet at a glance, over what the asker sees.

use super::{Replied, reply};
use crate::auth::Access;
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::event::Now;
use crate::center::views::hms;
use crate::model::{AgentState, ConditionKind};
use crate::proto::request::Answer;
use crate::proto::view::{AgentCounts, AgentView, FreezeView, StatusView, TaskCounts};

pub(super) fn answer(core: &Core, now: Now, asker: &Asker) -> Replied {
    reply(Answer::Status(Box::new(
        core.status_view(now, &asker.access),
    )))
}

impl Core {
    /// The fleet at a glance.
    pub(in crate::center) fn status_view(&self, now: Now, access: &Access) -> StatusView {
        look(self, now, access)
    }
}

fn look(core: &Core, now: Now, access: &Access) -> StatusView {
    let agents: Vec<AgentView> = core
        .fleet
        .agents
        .values()
        .filter(|row| Core::sees_agent(access, row))
        .map(|row| core.agent_view(row, access))
        .collect();
    let in_state = |state| agents.iter().filter(|agent| agent.state == state).count() as u64;
    StatusView {
        center: core.settings.addresses.first().cloned().unwrap_or_default(),
        role: "leader".to_owned(),
        epoch: core.settings.epoch,
        centers: core.told_centers(),
        standbys: core.roster.standbys(),
        lease_age_ms: core.roster.lease_age_ms(now),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        now: now.at,
        timezone: core.settings.zone.clone(),
        agents: AgentCounts {
            online: in_state(AgentState::Online),
            offline: in_state(AgentState::Offline),
            draining: in_state(AgentState::Draining),
        },
        tasks: count_tasks(core, access),
        running: agents.iter().map(|agent| agent.running).sum(),
        lateness_ms: core
            .lateness
            .percentiles(now.at, |group| access.sees(group)),
        problems: problems(core, access, &agents),
        conditions: core.condition_views(access),
        freezes: freezes(core, now, access),
    }
}

/// Windows that are not over, by group.
fn freezes(core: &Core, now: Now, access: &Access) -> Vec<FreezeView> {
    let known = core.fleet.freezes.iter();
    let seen = known.filter(|(group, freeze)| access.sees(group) && now.at < freeze.until);
    seen.map(|(group, freeze)| FreezeView {
        group: group.clone(),
        from: freeze.from,
        until: freeze.until,
        by: freeze.by.clone(),
        reason: freeze.reason.clone(),
    })
    .collect()
}

fn count_tasks(core: &Core, access: &Access) -> TaskCounts {
    let seen = core
        .fleet
        .tasks_by_path()
        .filter(|entry| access.sees(&entry.task.group));
    seen.fold(TaskCounts::default(), |mut counts, entry| {
        if entry.task.enabled {
            counts.enabled += 1;
        } else {
            counts.stopped += 1;
        }
        counts
    })
}

/// What is wrong in sentences: the conditions, and agents that are away without having been silent for long enough.
fn problems(core: &Core, access: &Access, agents: &[AgentView]) -> Vec<String> {
    let conditions = core.condition_views(access);
    let is_told = |agent: &AgentView| {
        conditions.iter().any(|told| {
            told.condition == ConditionKind::Silent && told.agent.as_ref() == Some(&agent.name)
        })
    };
    let is_drained = |agent: &AgentView| {
        let row = core.fleet.agent_named(&agent.name);
        row.is_some_and(|row| row.draining)
    };
    let away = agents
        .iter()
        .filter(|agent| agent.state == AgentState::Offline && !is_told(agent))
        .filter(|agent| !is_drained(agent))
        .map(|agent| {
            let since = agent.last_seen_at.map_or("it joined".to_owned(), hms);
            format!("agent {} is offline, last heard {since}", agent.name)
        });
    let told = conditions.iter().map(|condition| condition.text.clone());
    told.chain(away).collect()
}
