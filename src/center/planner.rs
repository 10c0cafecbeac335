//! Rule to runs. What is due within the lead gets its runs, in the order of the instants, bounded per event so
//! that no task's backlog delays another's; a change plans its task's window anew. Reads no clock.

use std::collections::BTreeMap;
use std::time::Duration;

use super::core::{Core, START_BEFORE};
use super::event::Now;
use super::runs::{Cancelled, OpenRun, Stage};
use crate::model::{AgentId, Cause, RunId, RunKey, RunRef, Slot, Task, TaskId, UnixMs};
use crate::proto::agent::{Cancel, PlannedRun, RestartSlots};
use crate::rule::RuleKind;
use crate::store::{RunRow, Write};

/// Occurrences planned per event at most; the rest follows in the next batch.
const MOST_OCCURRENCES: usize = 1_000;
/// How long after a boot the center may learn of it for `@reboot` to fire.
const REBOOT_WITHIN: Duration = Duration::from_mins(10);

impl Core {
    /// Plans what is due within the lead.
    pub(super) fn plan(&mut self, now: Now) {
        for _ in 0..MOST_OCCURRENCES {
            let Some((plan_at, id)) = self.fleet.first_due() else {
                return;
            };
            if plan_at > now.at {
                return;
            }
            self.plan_occurrence(now, &id);
        }
    }

    fn plan_occurrence(&mut self, now: Now, id: &TaskId) {
        let Some(entry) = self.fleet.tasks.get(id) else {
            return;
        };
        let Some(at) = entry.next_at else { return };
        let task = entry.task.clone();
        if task.spec.work.daemon {
            self.restart_daemon(&task, &format!("restarted by its rule at {at}"));
        } else {
            for row in self.rows(&task, at, Cause::Rule) {
                self.plan_run(now, row);
            }
        }
        self.move_cursor(id, at);
    }

    fn move_cursor(&mut self, id: &TaskId, at: UnixMs) {
        self.fleet.set_cursor(id, at);
        self.write(Write::SetCursor {
            task: id.clone(),
            at,
        });
    }

    fn restart_daemon(&mut self, task: &Task, reason: &str) {
        let agents: Vec<AgentId> = self
            .fleet
            .candidates(task)
            .map(|agent| agent.id.clone())
            .collect();
        for agent in agents {
            if self.sessions.is_linked(&agent) {
                let restart = RestartSlots {
                    task: task.id.clone(),
                    one_by_one: false,
                    reason: reason.to_owned(),
                };
                self.drafts.of(&agent).restart.push(restart);
            }
        }
    }

    /// The runs of one occurrence: one per target and slot; one without agent where there is no target.
    pub(super) fn rows(&self, task: &Task, at: UnixMs, cause: Cause) -> Vec<RunRow> {
        let targets = self.targets(task);
        if targets.is_empty() {
            return vec![row(task, at, cause, Slot(0), None, None)];
        }
        let slots = (0..task.spec.work.processes).map(Slot);
        let one = task.spec.target.is_one();
        slots
            .flat_map(|slot| targets.iter().map(move |agent| (slot, agent)))
            .map(|(slot, agent)| {
                let key = (!one).then(|| agent.clone());
                row(task, at, cause, slot, key, Some(agent.clone()))
            })
            .collect()
    }

    fn targets(&self, task: &Task) -> Vec<AgentId> {
        if task.spec.target.is_one() {
            return self.pick_one(task, None).into_iter().collect();
        }
        self.fleet
            .candidates(task)
            .map(|agent| agent.id.clone())
            .collect()
    }

    /// The agent for a run of target `one`: the one that has, or may have, an open run of the task, else the
    /// least loaded that is linked and not drained. `not` is out of the question.
    pub(super) fn pick_one(&self, task: &Task, not: Option<&AgentId>) -> Option<AgentId> {
        let open = self
            .open
            .of_task(&task.id)
            .into_iter()
            .filter_map(|id| self.open.get(&id));
        let sticky = open
            .filter(|run| run.is_held() && run.row.target.is_none())
            .find_map(|run| run.row.agent.clone());
        if let Some(agent) = sticky.filter(|agent| Some(agent) != not) {
            return Some(agent);
        }
        let able = |agent: &AgentId| Some(agent) != not && self.sessions.is_linked(agent);
        self.fleet
            .candidates(task)
            .filter(|agent| !agent.draining && able(&agent.id))
            .min_by_key(|agent| (self.open.of_agent(&agent.id).len(), agent.name.clone()))
            .map(|agent| agent.id.clone())
    }

    /// Takes one planned run in and hands it to its agent if that is linked. A run that is open already stays.
    pub(super) fn plan_run(&mut self, now: Now, row: RunRow) {
        if self.is_open(&row.run.run_id) {
            self.revive(&row);
            return;
        }
        let key = (row.run.scheduled_at, row.run.run_id.clone());
        if self.early.contains(&key) {
            return;
        }
        self.write(Write::PlanRun(row.clone()));
        let run = OpenRun {
            row,
            stage: Stage::Waiting,
            cancelled: None,
        };
        let id = run.id().clone();
        let overdue = run.row.run.scheduled_at < now.at && run.row.run.cause == Cause::Rule;
        self.open.insert(run);
        if overdue {
            self.end_missed(
                now,
                &id,
                "the center was down, or could not write its store, when it was due",
            );
        } else {
            self.hand_out(&id);
        }
    }

    /// An agent takes runs now, again or at last: it gets what waits for it, and what of target `one` has no
    /// agent.
    pub(super) fn hand_out_waiting(&mut self, agent: &AgentId) {
        if !self.sessions.is_linked(agent) {
            return;
        }
        let waits = |id: &RunId| {
            self.open
                .get(id)
                .is_some_and(|run| run.stage == Stage::Waiting)
        };
        let own = self.open.of_agent(agent).into_iter();
        let own: Vec<RunId> = own.filter(waits).collect();
        for id in &own {
            self.hand_out(id);
        }
        for id in self.open.without_agent() {
            if self.open.get(&id).is_some_and(|run| self.is_of_one(run)) {
                self.reassign(&id);
            }
        }
    }

    /// Hands a waiting run to its agent if that is linked and takes new runs; target `one` goes where the task
    /// has other runs.
    pub(super) fn hand_out(&mut self, id: &RunId) {
        let Some(run) = self.open.get(id) else { return };
        if self.is_of_one(run) && self.is_held_apart(run) {
            self.reassign(id);
            return;
        }
        self.hand_to_agent(id);
    }

    /// Whether a run is of target `one`; a run without target may also be one that no agent was there for.
    pub(super) fn is_of_one(&self, run: &OpenRun) -> bool {
        let task = self.fleet.tasks.get(&run.row.run.task);
        run.row.target.is_none() && task.is_some_and(|entry| entry.task.spec.target.is_one())
    }

    /// Whether another agent than the run's holds a run of the task.
    fn is_held_apart(&self, run: &OpenRun) -> bool {
        let siblings = self.open.of_task(&run.row.run.task).into_iter();
        siblings
            .filter_map(|id| self.open.get(&id))
            .filter(|other| other.is_held() && other.row.target.is_none())
            .any(|other| other.row.agent != run.row.agent)
    }

    /// Hands a run to its agent if that is linked and takes new runs.
    pub(super) fn hand_to_agent(&mut self, id: &RunId) {
        let Some(run) = self.open.get(id) else { return };
        let Some(agent) = run.row.agent.clone() else {
            return;
        };
        let drained = self.fleet.agents.get(&agent).is_none_or(|row| row.draining);
        if drained || run.cancelled.is_some() || !self.sessions.is_linked(&agent) {
            return;
        }
        let planned = PlannedRun {
            run: run.row.run.clone(),
            start_before: run.row.start_before,
        };
        self.drafts.of(&agent).plan.push(planned);
        if let Some(run) = self.open.get_mut(id) {
            run.stage = Stage::Handed;
        }
    }

    /// Plans a task's window anew after a change: runs still due stay (in the new revision), others are
    /// cancelled with this reason, missing ones are added.
    pub(super) fn replan(&mut self, now: Now, id: &TaskId, reason: &str) {
        let wanted = self.wanted(now, id);
        for run_id in self.open.of_task(id) {
            let Some(run) = self.open.get(&run_id) else {
                continue;
            };
            let ahead = run.is_pending() && run.row.run.scheduled_at > now.at;
            if ahead && !wanted.contains_key(&run_id) {
                self.cancel(now, &run_id, reason, false);
            }
        }
        let last = wanted.values().map(|row| row.run.scheduled_at).max();
        for row in wanted.into_values() {
            self.plan_run(now, row);
        }
        self.move_cursor(id, last.unwrap_or(now.at).max(now.at));
    }

    /// The runs that a task shall have within the lead from now.
    fn wanted(&self, now: Now, id: &TaskId) -> BTreeMap<RunId, RunRow> {
        let Some(entry) = self.fleet.tasks.get(id) else {
            return BTreeMap::new();
        };
        if !entry.task.enabled || entry.task.spec.work.daemon {
            return BTreeMap::new();
        }
        let horizon = now.at.plus(self.settings.lead);
        let next = |after: UnixMs| entry.schedule.next_after(after).unwrap_or_default();
        std::iter::successors(next(now.at), |at| next(*at))
            .take_while(|at| *at <= horizon)
            .flat_map(|at| self.rows(&entry.task, at, Cause::Rule))
            .map(|row| (row.run.run_id.clone(), row))
            .collect()
    }

    /// A run that is open and due again, or in another revision.
    fn revive(&mut self, row: &RunRow) {
        let id = &row.run.run_id;
        let Some(run) = self.open.get_mut(id) else {
            return;
        };
        let same = run.cancelled.is_none() && run.row.run.revision == row.run.revision;
        if same || run.stage.has_started() {
            return;
        }
        run.cancelled = None;
        if run.row.run.revision != row.run.revision {
            run.row.run.revision = row.run.revision;
            let (run_id, revision) = (id.clone(), row.run.revision);
            self.write(Write::ReviseRun { run_id, revision });
        }
        self.take_back_armed(id);
        self.hand_out(id);
    }

    /// Cancels what the agent may hold of a run that it is about to get anew.
    fn take_back_armed(&mut self, id: &RunId) {
        let Some(run) = self.open.get(id) else { return };
        let Some(agent) = run.row.agent.clone() else {
            return;
        };
        if run.stage != Stage::Waiting && self.sessions.is_linked(&agent) {
            let cancel = Cancel {
                run_id: id.clone(),
                stop: false,
                reason: String::new(),
            };
            self.drafts.of(&agent).cancel.push(cancel);
        }
    }

    /// A run shall not start; if it has, `stop` says whether it is ended.
    pub(super) fn cancel(&mut self, now: Now, id: &RunId, reason: &str, stop: bool) {
        let Some(run) = self.open.get_mut(id) else {
            return;
        };
        let waiting = run.stage == Stage::Waiting;
        // A stop is kept for what runs, too, until the agent has confirmed it: one that is away hears it later.
        if stop || !run.stage.has_started() {
            run.cancelled = Some(Cancelled {
                reason: reason.to_owned(),
                confirmed: waiting,
            });
        }
        let agent = run.row.agent.clone();
        let agent = agent.filter(|agent| !waiting && self.sessions.is_linked(agent));
        if let Some(agent) = agent {
            let cancel = Cancel {
                run_id: id.clone(),
                stop,
                reason: reason.to_owned(),
            };
            self.drafts.of(&agent).cancel.push(cancel);
        } else if waiting {
            self.look_at_run(now, id);
        }
    }

    /// Runs of `@reboot` tasks for a boot that the center has just learnt of.
    pub(super) fn plan_reboots(&mut self, now: Now, agent: &AgentId, up: Duration) {
        let booted_at = now.at.minus(up);
        let due: Vec<Task> = self
            .fleet
            .tasks_by_path()
            .map(|entry| &entry.task)
            .filter(|task| {
                task.enabled
                    && task.spec.rule.kind() == RuleKind::Reboot
                    && task.saved_at < booted_at
            })
            .filter(|task| {
                self.fleet
                    .candidates(task)
                    .any(|candidate| candidate.id == *agent)
            })
            .cloned()
            .collect();
        for task in due {
            for slot in (0..task.spec.work.processes).map(Slot) {
                let row = row(
                    &task,
                    now.at,
                    Cause::Rule,
                    slot,
                    Some(agent.clone()),
                    Some(agent.clone()),
                );
                let id = row.run.run_id.clone();
                self.plan_run(now, row);
                if up > REBOOT_WITHIN {
                    self.end_missed(
                        now,
                        &id,
                        "the center learnt of the boot more than 10 min after it",
                    );
                }
            }
        }
    }
}

fn row(
    task: &Task,
    at: UnixMs,
    cause: Cause,
    slot: Slot,
    target: Option<AgentId>,
    agent: Option<AgentId>,
) -> RunRow {
    let key = RunKey {
        task: task.id.clone(),
        scheduled_at: at,
        target,
        slot,
        cause,
    };
    let run_id = RunId::of(&key);
    let revision = task.revision;
    let RunKey {
        task,
        scheduled_at,
        target,
        slot,
        cause,
    } = key;
    let run = RunRef {
        run_id,
        task,
        revision,
        slot,
        cause,
        scheduled_at,
    };
    RunRow {
        run,
        target,
        agent,
        start_before: at.plus(START_BEFORE),
    }
}
