//! Restarts one by one where a daemon is on several agents: an agent is told only when every slot on the one before
//! it runs in a new process; within an agent its keeper does the same. One slot that does not come up ends it, and
//! what was left alone says so. Kept in memory: it ends with the center that began it.

use std::collections::BTreeSet;

use super::core::Core;
use super::event::Now;
use super::events::{Audience, EventLog};
use super::runs::SlotKey;
use crate::model::{AgentId, RunId, Task, TaskId};
use crate::proto::agent::{RestartSlots, SlotReport};

/// A restart one by one over agents.
#[derive(Debug)]
pub(super) struct FleetRoll {
    /// The agent whose slots are restarted now.
    at: AgentId,
    /// Those that follow, the last one first.
    left: Vec<AgentId>,
    /// The runs that shall be replaced.
    old: BTreeSet<RunId>,
    reason: String,
    /// Why it has ended before its last agent.
    stopped: Option<String>,
}

impl Core {
    /// Restarts a daemon's slots on these agents, which are linked, one agent after the other.
    pub(super) fn begin_roll(&mut self, task: &Task, agents: Vec<AgentId>, reason: &str) {
        self.rolls.remove(&task.id);
        let mut left: Vec<AgentId> = agents.into_iter().rev().collect();
        let Some(at) = left.pop() else { return };
        let slots = self.slots.iter().filter(|(key, _)| key.task == task.id);
        let old = slots.filter_map(|(_, slot)| slot.run_id.clone()).collect();
        let roll = FleetRoll {
            at: at.clone(),
            left,
            old,
            reason: reason.to_owned(),
            stopped: None,
        };
        self.rolls.insert(task.id.clone(), roll);
        self.restart_slots(&at, &task.id, true, reason);
    }

    /// Orders new processes for a daemon's slots on an agent that is linked.
    pub(super) fn restart_slots(
        &mut self,
        agent: &AgentId,
        task: &TaskId,
        one_by_one: bool,
        reason: &str,
    ) {
        let restart = RestartSlots {
            task: task.clone(),
            one_by_one,
            only_down: false,
            reason: reason.to_owned(),
        };
        self.drafts.of(agent).restart.push(restart);
    }

    /// A slot has another state: a restart that waits for its agent goes on, or ends.
    pub(super) fn roll_on(&mut self, now: Now, agent: &AgentId, id: &TaskId, slot: &SlotReport) {
        let Some(roll) = self.rolls.get(id).filter(|roll| roll.waits_for(agent)) else {
            return;
        };
        let Some(task) = self.fleet.tasks.get(id).map(|entry| entry.task.clone()) else {
            self.rolls.remove(id);
            return;
        };
        if !task.enabled {
            self.rolls.remove(id);
        } else if matches!(slot.state.as_str(), "fatal" | "exited") {
            self.stop_fleet_roll(now, &task, agent, slot);
        } else if self.has_come_up(agent, &task, &roll.old) {
            self.roll_to_next(&task);
        }
    }

    fn has_come_up(&self, agent: &AgentId, task: &Task, old: &BTreeSet<RunId>) -> bool {
        let slots = self.slots.iter();
        let fresh = slots.filter(|(key, slot)| {
            let is_new = slot.run_id.as_ref().is_some_and(|run| !old.contains(run));
            key.agent == *agent && key.task == task.id && slot.state == "running" && is_new
        });
        fresh.count() >= usize::from(task.spec.work.processes)
    }

    fn roll_to_next(&mut self, task: &Task) {
        let able = self.daemon_agents(task);
        let Some(roll) = self.rolls.get_mut(&task.id) else {
            return;
        };
        let sessions = &self.sessions;
        roll.left
            .retain(|agent| able.contains(agent) && sessions.is_linked(agent));
        let (next, reason) = (roll.left.pop(), roll.reason.clone());
        match next {
            Some(agent) => {
                roll.at = agent.clone();
                self.restart_slots(&agent, &task.id, true, &reason);
            }
            None => drop(self.rolls.remove(&task.id)),
        }
    }

    fn stop_fleet_roll(&mut self, now: Now, task: &Task, agent: &AgentId, slot: &SlotReport) {
        let name = self.fleet.agent_name(agent);
        let Some(roll) = self.rolls.get_mut(&task.id) else {
            return;
        };
        if roll.left.is_empty() {
            self.rolls.remove(&task.id);
            return;
        }
        let why = format!("slot {} on agent {name} did not come up", slot.slot);
        roll.stopped = Some(why.clone());
        let left: Vec<String> = roll
            .left
            .iter()
            .rev()
            .map(|id| self.fleet.agent_name(id))
            .collect();
        let mut event = EventLog::blank(now.at, "restart_stopped");
        event.task = Some(task.path());
        event.agent = self.fleet.agents.get(agent).map(|row| row.name.clone());
        event.slot = Some(slot.slot);
        event.reason = format!("{why}; not restarted: {}", left.join(", "));
        self.publish(Audience::Group(task.group.clone()), event);
    }

    /// Why a slot still has its old process, where a restart ended before it.
    pub(super) fn left_alone(&self, key: &SlotKey, slot: &SlotReport) -> Option<String> {
        let roll = self.rolls.get(&key.task)?;
        let why = roll.stopped.as_ref()?;
        let old = slot
            .run_id
            .as_ref()
            .is_some_and(|run| roll.old.contains(run));
        (old && roll.left.contains(&key.agent))
            .then(|| format!("runs, and was not restarted, because {why}"))
    }
}

impl FleetRoll {
    fn waits_for(&self, agent: &AgentId) -> bool {
        self.stopped.is_none() && self.at == *agent
    }
}
