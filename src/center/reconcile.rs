//! At every connect the agent tells everything it holds, and the leader answers with what to cancel and what
//! the agent lacks. Nothing is a counter that can leak: what both sides hold is compared as sets.

use std::collections::{BTreeMap, BTreeSet};

use super::core::Core;
use super::event::{Now, SessionId};
use super::reports::row_of;
use super::runs::{OpenRun, SlotKey, Stage};
use super::views::hms;
use crate::model::{AgentId, Cause, Ending, Outcome, Revision, RunId, Task, TaskId};
use crate::proto::agent::{Cancel, HeldAssignment, RunningRun, State, Withdraw};
use crate::proto::hello::LinkError;
use crate::store::Write;

impl Core {
    /// A part of what an agent holds; the last one is taken in.
    pub(super) fn state_part(&mut self, now: Now, id: SessionId, part: State) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if session.reconciled {
            self.close_agent(now, id, LinkError::Unexpected, "a second state on one link");
            return;
        }
        let last = part.last;
        session.state.armed.extend(part.armed);
        session.state.running.extend(part.running);
        session.state.ended.extend(part.ended);
        session.state.assigned.extend(part.assigned);
        if last {
            let state = std::mem::take(&mut session.state);
            session.reconciled = true;
            let (agent, new_boot) = (session.agent.clone(), session.new_boot);
            self.reconcile(now, &agent, new_boot, &state);
            self.resume_logs(&agent);
        }
    }

    fn reconcile(&mut self, now: Now, agent: &AgentId, new_boot: bool, state: &State) {
        let armed: BTreeMap<&RunId, Revision> = state
            .armed
            .iter()
            .map(|held| (&held.run_id, held.revision))
            .collect();
        let running: BTreeMap<&RunId, &RunningRun> = state
            .running
            .iter()
            .map(|held| (&held.run.run_id, held))
            .collect();
        let ended: BTreeSet<&RunId> = state.ended.iter().collect();
        for id in self.open.of_agent(agent) {
            if let Some(held) = running.get(&id) {
                self.found_running(&id, held);
                self.watch_start(now, &id, held.started_at);
            } else if ended.contains(&id) {
                self.set_stage(&id, Stage::Ending);
            } else if let Some(revision) = armed.get(&id) {
                self.found_armed(agent, &id, *revision);
            } else {
                self.not_found(now, agent, &id, new_boot);
            }
        }
        for held in running.values() {
            self.found_lost(now, agent, held);
        }
        self.cancel_unknown(agent, &armed);
        self.forget_slots(agent);
        self.compare_assignments(agent, state);
        self.hand_out_waiting(agent);
        self.send_orders();
        if let Some(session) = self.sessions.of_mut(agent) {
            session.settled_seq = session.seq;
        }
    }

    fn set_stage(&mut self, id: &RunId, stage: Stage) {
        if let Some(run) = self.open.get_mut(id) {
            run.stage = stage;
        }
    }

    fn found_running(&mut self, id: &RunId, held: &RunningRun) {
        let Some(run) = self.open.get_mut(id) else {
            return;
        };
        run.stage = Stage::Running {
            attempt: held.attempt,
            pid: held.pid,
            started_at: held.started_at,
        };
        let row = run.row.clone();
        // Cancelled by a stop while its agent was away: the stop sequence begins now. So it does, once more, where
        // the stop was confirmed and agent or keeper have forgotten it since.
        let cancelled = run.cancelled.take();
        if let Some(cancelled) = cancelled.or_else(|| self.cancelled_by_store(&row)) {
            let stop = self.is_stopped(&held.run.task);
            if let (true, Some(agent)) = (
                stop,
                self.open.get(id).and_then(|run| run.row.agent.clone()),
            ) {
                let cancel = Cancel {
                    run_id: id.clone(),
                    stop: true,
                    reason: cancelled.reason,
                };
                self.drafts.of(&agent).cancel.push(cancel);
            }
        }
    }

    /// A run that was given up as lost, or that the store has forgotten, is alive: it counts for overlap and is stopped with its task, as any other.
    fn found_lost(&mut self, now: Now, agent: &AgentId, held: &RunningRun) {
        let id = &held.run.run_id;
        if held.run.cause == Cause::Daemon || self.is_open(id) {
            return;
        }
        let Some(row) = row_of(now, agent, &held.run) else {
            return;
        };
        self.open.insert(OpenRun {
            row,
            stage: Stage::Handed,
            cancelled: None,
            refused: None,
            was_lost: true,
            due_by: None,
        });
        self.found_running(id, held);
    }

    /// Whether what runs of a task shall end: it was stopped, not only finished, or removed.
    pub(super) fn is_stopped(&self, task: &TaskId) -> bool {
        let tasks = &self.fleet.tasks;
        tasks
            .get(task)
            .is_none_or(|entry| !entry.task.enabled && !entry.task.finishing)
    }

    fn found_armed(&mut self, agent: &AgentId, id: &RunId, revision: Revision) {
        let row = self.open.get(id).map(|run| run.row.clone());
        let stopped = row.filter(|row| self.is_stopped(&row.run.task));
        let stopped = stopped.and_then(|row| self.cancelled_by_store(&row));
        let Some(run) = self.open.get_mut(id) else {
            return;
        };
        run.stage = Stage::Armed;
        if run.cancelled.is_none() {
            run.cancelled = stopped;
        }
        let stale = run.row.run.revision != revision;
        if run.cancelled.is_none() && !stale {
            return;
        }
        let reason = run
            .cancelled
            .as_ref()
            .map(|cancelled| cancelled.reason.clone())
            .unwrap_or_default();
        let again = run.cancelled.is_none();
        let task = run.row.run.task.clone();
        // It may start before the order is there: a stop ends it then, an edit leaves it alone.
        let stop = !again && self.is_stopped(&task);
        self.drafts.of(agent).cancel.push(Cancel {
            run_id: id.clone(),
            stop,
            reason,
        });
        if again {
            self.hand_out(id);
        }
    }

    /// The agent does not know a run that is open for it.
    fn not_found(&mut self, now: Now, agent: &AgentId, id: &RunId, new_boot: bool) {
        let fire_at = self.open.get(id).map(|run| run.row.run.fire_at());
        let due = fire_at.is_some_and(|at| self.since_due(now, at).is_some());
        let Some(run) = self.open.get_mut(id) else {
            return;
        };
        let was = std::mem::replace(&mut run.stage, Stage::Waiting);
        // Due before this boot was known: what was handed out then may have been started in the boot before, also
        // where an earlier link of this boot, or another center, was the first to learn of it.
        let boot_seen_at = self
            .fleet
            .agents
            .get(agent)
            .and_then(|row| row.boot_seen_at);
        let new_boot = new_boot || boot_seen_at.is_some_and(|at| run.row.run.fire_at() <= at);
        let name = self.fleet.agent_name(agent);
        let may_have_started = match was {
            Stage::Waiting => false,
            Stage::Handed => due && new_boot,
            Stage::Armed => due,
            Stage::Running { .. } | Stage::Ending => true,
        };
        if may_have_started {
            let why = if new_boot {
                "was rebooted"
            } else {
                "came back without knowing it"
            };
            let reason = format!("agent {name} {why} at {}; it may have started", hms(now.at));
            self.end_run(now, id, &Ending::unstarted(Outcome::Lost, reason, now.at));
            return;
        }
        self.is_stopped_since(id);
        let Some(run) = self.open.get_mut(id) else {
            return;
        };
        if let Some(cancelled) = &mut run.cancelled {
            cancelled.confirmed = true;
            self.look_at_run(now, id);
        } else if due && now.at > run.row.start_before {
            self.end_missed(
                now,
                id,
                &format!("the plan did not reach agent {name} in time"),
            );
        } else {
            self.hand_out(id);
        }
    }

    /// Whether a run that is certainly not started shall not be given anew: it was cancelled, or its agent said to a
    /// cancel that it might have started it.
    pub(super) fn is_stopped_since(&mut self, id: &RunId) -> bool {
        let row = self.open.get(id).map(|run| run.row.clone());
        let unwanted = row.and_then(|row| self.cancelled_by_store(&row));
        let Some(run) = self.open.get_mut(id) else {
            return false;
        };
        run.cancelled = run.cancelled.take().or(unwanted);
        run.cancelled.is_some()
    }

    /// Runs armed on the agent that the center has no open run for: ended meanwhile, or of another center's.
    fn cancel_unknown(&mut self, agent: &AgentId, armed: &BTreeMap<&RunId, Revision>) {
        for id in armed.keys().filter(|id| {
            self.open
                .get(id)
                .is_none_or(|run| run.row.agent.as_ref() != Some(agent))
        }) {
            let reason = "the center no longer plans it".to_owned();
            self.drafts.of(agent).cancel.push(Cancel {
                run_id: (*id).clone(),
                stop: false,
                reason,
            });
        }
    }

    fn forget_slots(&mut self, agent: &AgentId) {
        self.slots.retain(|key, _| key.agent != *agent);
    }

    /// Daemons that shall run on an agent now.
    pub(super) fn assigned_to(&self, agent: &AgentId) -> Vec<Task> {
        let Some(row) = self.fleet.agents.get(agent) else {
            return Vec::new();
        };
        if row.draining && row.drain_daemons {
            return Vec::new();
        }
        self.fleet
            .tasks_by_path()
            .map(|entry| &entry.task)
            .filter(|task| task.spec.work.daemon && self.daemon_agents(task).contains(agent))
            .cloned()
            .collect()
    }

    /// Agents on which a daemon shall run now: none when it is stopped; for target `one` the agent that has it,
    /// for as long as that is of the group and not drained.
    pub(super) fn daemon_agents(&self, task: &Task) -> BTreeSet<AgentId> {
        if !task.enabled {
            return BTreeSet::new();
        }
        let able = self
            .fleet
            .candidates(task)
            .filter(|agent| !(agent.draining && agent.drain_daemons));
        let able: BTreeSet<AgentId> = able.map(|agent| agent.id.clone()).collect();
        if !task.spec.target.is_one() {
            return able;
        }
        // Never two: while its holder may still have processes, nobody else gets it.
        if let Some(holder) = self
            .holders
            .get(&task.id)
            .filter(|holder| self.fleet.agents.contains_key(*holder))
        {
            return able.into_iter().filter(|agent| agent == holder).collect();
        }
        let load = |agent: &AgentId| {
            (
                !self.sessions.is_linked(agent),
                self.open.of_agent(agent).len(),
            )
        };
        able.into_iter().min_by_key(load).into_iter().collect()
    }

    fn compare_assignments(&mut self, agent: &AgentId, state: &State) {
        let assigned = state.assigned.iter();
        let held: BTreeMap<&TaskId, Revision> =
            assigned.map(|held| (&held.task, held.revision)).collect();
        let wanted = self.assigned_to(agent);
        for task in &wanted {
            if held.get(&task.id) != Some(&task.revision) {
                self.assign(agent, task);
            }
        }
        for id in held
            .keys()
            .filter(|id| !wanted.iter().any(|task| task.id == ***id))
        {
            self.withdraw(agent, id, "no longer assigned to this agent");
        }
        // What was left to finish when it was withdrawn ends with its task all the same.
        let alive = state.running.iter().map(|running| &running.run);
        let alive = alive.filter(|run| run.cause == Cause::Daemon && self.is_stopped(&run.task));
        let alive: BTreeSet<TaskId> = alive.map(|run| run.task.clone()).collect();
        for id in alive.iter().filter(|id| !held.contains_key(id)) {
            self.withdraw(agent, id, "no longer assigned to this agent");
        }
        // Target `one`: the word that nothing is left there may have been lost; the agent says it again.
        let left: Vec<TaskId> = self
            .holders
            .iter()
            .filter(|(id, holder)| *holder == agent && !held.contains_key(id))
            .map(|(id, _)| id.clone())
            .filter(|id| !wanted.iter().any(|task| task.id == *id))
            .collect();
        for id in left {
            self.withdraw(agent, &id, "no longer assigned to this agent");
        }
    }

    /// Gives a daemon to an agent, if that is linked.
    pub(super) fn assign(&mut self, agent: &AgentId, task: &Task) {
        if task.spec.target.is_one() && self.holders.get(&task.id) != Some(agent) {
            self.set_holder(&task.id, Some(agent));
        }
        if self.sessions.is_linked(agent) {
            let assignment = HeldAssignment {
                task: task.id.clone(),
                revision: task.revision,
            };
            self.drafts.of(agent).assign.push(assignment);
        }
    }

    fn set_holder(&mut self, task: &TaskId, agent: Option<&AgentId>) {
        match agent {
            Some(agent) => drop(self.holders.insert(task.clone(), agent.clone())),
            None => drop(self.holders.remove(task)),
        }
        self.write(Write::SetHolder {
            task: task.clone(),
            agent: agent.cloned(),
        });
    }

    /// A daemon of target `one` has no process left where it was: it may go elsewhere, if it shall.
    pub(super) fn holder_stopped(&mut self, agent: &AgentId, id: &TaskId) {
        let held = self.holders.get(id) == Some(agent);
        let Some(task) = self.fleet.tasks.get(id).map(|entry| entry.task.clone()) else {
            return;
        };
        if held && !self.daemon_agents(&task).contains(agent) {
            self.set_holder(id, None);
            self.redistribute(None, Some(&task), "");
        }
    }

    /// Takes a daemon from an agent, if that is linked; where it was stopped to finish its processes may go on.
    pub(super) fn withdraw(&mut self, agent: &AgentId, task: &TaskId, reason: &str) {
        let entry = self.fleet.tasks.get(task);
        let finish = entry.is_some_and(|entry| !entry.task.enabled && entry.task.finishing);
        if self.sessions.is_linked(agent) {
            self.drafts.of(agent).withdraw.push(Withdraw {
                task: task.clone(),
                finish,
                reason: reason.to_owned(),
            });
        }
    }

    /// Makes every agent's assignment of one daemon what it shall be, after a change.
    pub(super) fn redistribute(
        &mut self,
        before: Option<&Task>,
        after: Option<&Task>,
        reason: &str,
    ) {
        let agents: Vec<AgentId> = self.fleet.agents.keys().cloned().collect();
        let wanted = after
            .filter(|task| task.spec.work.daemon)
            .map(|task| self.daemon_agents(task))
            .unwrap_or_default();
        for agent in agents {
            if let (Some(task), true) = (after, wanted.contains(&agent)) {
                self.assign(&agent, task);
            } else if let Some(task) = before.filter(|task| task.spec.work.daemon)
                && self.holds_slots(&agent, &task.id)
            {
                self.withdraw(&agent, &task.id, reason);
            }
        }
    }

    fn holds_slots(&self, agent: &AgentId, task: &TaskId) -> bool {
        let live = self
            .slots
            .keys()
            .any(|key| key.agent == *agent && key.task == *task);
        let member = self.fleet.tasks.get(task).map(|entry| &entry.task.group);
        live || self
            .fleet
            .agents
            .get(agent)
            .is_some_and(|row| member.is_some_and(|group| row.groups.contains(group)))
    }

    /// The slots of a daemon that have a process now.
    pub(super) fn live_slots(&self, task: &TaskId) -> Vec<&SlotKey> {
        let live = self
            .slots
            .iter()
            .filter(|(key, slot)| key.task == *task && slot.pid.is_some());
        live.map(|(key, _)| key).collect()
    }
}
