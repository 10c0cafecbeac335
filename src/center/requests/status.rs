//! `ucron status`: the fleet at a glance, over what the asker sees.

use super::{Replied, reply};
use crate::auth::Access;
use crate::center::clients::Asker;
use crate::center::core::{Core, Health};
use crate::center::event::Now;
use crate::center::views::hms;
use crate::model::AgentState;
use crate::proto::request::Answer;
use crate::proto::view::{AgentCounts, AgentView, StatusView, TaskCounts};

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
        centers: core.settings.addresses.clone(),
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
    }
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

fn problems(core: &Core, access: &Access, agents: &[AgentView]) -> Vec<String> {
    let mut problems = Vec::new();
    if let Health::Reloading { trouble } = &core.health {
        problems.push(trouble.clone());
    }
    for agent in agents
        .iter()
        .filter(|agent| agent.state == AgentState::Offline)
    {
        let since = agent.last_seen_at.map_or("it joined".to_owned(), hms);
        problems.push(format!(
            "agent {} is offline, last heard {since}",
            agent.name
        ));
    }
    for (key, slot) in core.slots.iter().filter(|(_, slot)| slot.state == "fatal") {
        let seen = core
            .fleet
            .tasks
            .get(&key.task)
            .filter(|entry| access.sees(&entry.task.group));
        if let Some(entry) = seen {
            let agent = core.fleet.agent_name(&key.agent);
            problems.push(format!(
                "daemon {} slot {} on {agent} is fatal: {}",
                entry.task.path(),
                key.slot,
                slot.reason
            ));
        }
    }
    problems
}
