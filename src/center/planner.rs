//! Rule to runs. What is due within the lead gets its runs, the tasks in turn, bounded per event so that no task's
//! backlog delays another's; to what agent they go, and that they are handed out. Reads no clock.

use std::time::Duration;

use super::core::Core;
use super::event::Now;
use super::runs::{Cancelled, OpenRun, Stage};
use super::tasks::fits;
use super::views::hms;
use crate::model::{
    AgentId, Cause, RunId, RunKey, RunRef, START_WITHIN, Slot, Task, TaskId, UnixMs,
};
use crate::proto::agent::{Cancel, PlannedRun};
use crate::rule::RuleKind;
use crate::store::{RunRow, Write};

/// Runs planned per event at most; the rest follows in the next batch.
const MOST_RUNS: usize = 2_000;
/// Runs that one task plans before it is another one's turn.
const SHARE: usize = 200;
/// How long after a boot the center may learn of it for `@reboot` to fire.
const REBOOT_WITHIN: Duration = Duration::from_mins(10);
/// Why nothing was planned for an instant that is past.
pub(super) const CENTER_DOWN: &str =
    "the center was down, or could not write its store, when it was due";

impl Core {
    /// Plans what is due within the lead, in turns.
    pub(super) fn plan(&mut self, now: Now) {
        let mut left = MOST_RUNS;
        while left > 0 {
            let Some(id) = self.fleet.next_turn(now.at) else {
                return;
            };
            let mut turn = 0;
            while turn < SHARE.min(left) && self.fleet.plan_at(&id).is_some_and(|at| at <= now.at) {
                turn += self.plan_next(now, &id).max(1);
            }
            left = left.saturating_sub(turn);
        }
    }

    /// Plans a task's next occurrence, or tells of a stretch that is not run; how many runs that were.
    pub(super) fn plan_next(&mut self, now: Now, id: &TaskId) -> usize {
        let Some(entry) = self.fleet.tasks.get(id) else {
            return 0;
        };
        let Some(at) = entry.next_at else { return 0 };
        let task = entry.task.clone();
        if task.spec.work.daemon {
            self.plan_restart(now, &task, at);
            return 1;
        }
        if let Some(freeze) = self.fleet.frozen_at(&task.group, at).cloned() {
            let schedule = entry.schedule.clone();
            return self.miss_frozen(now, &task, &schedule, at, &freeze);
        }
        if at < now.at && self.close_past(now, id, task.spec.catch_up) {
            return 1;
        }
        if self.spans.first_told(id, at, at).is_some() {
            self.move_cursor(id, at);
            return 1;
        }
        if let Some(to) = self.beyond_rate(&task, at) {
            let reason = format!("rate: more than {} runs in a second", task.spec.max_rate);
            self.miss_stretch(now, &task, (at, to), &reason);
            self.move_cursor(id, to);
            return 1;
        }
        let rows = self.rows(&task, at, Cause::Rule);
        let runs = rows.len();
        for row in rows {
            self.plan_run(now, row);
        }
        self.move_cursor(id, at);
        runs
    }

    /// A rule of a daemon restarts it; of what is past only the latest, and only within a minute.
    fn plan_restart(&mut self, now: Now, task: &Task, at: UnixMs) {
        let Some(entry) = self.fleet.tasks.get(&task.id) else {
            return;
        };
        let last = entry
            .schedule
            .last_in(UnixMs(at.0 - 1), now.at)
            .unwrap_or(at);
        let is_frozen = self.fleet.frozen_at(&task.group, last).is_some();
        if now.at.since(last) <= START_WITHIN && !is_frozen {
            self.restart_daemon(task, &format!("restarted by its rule at {}", hms(last)));
        }
        self.move_cursor(&task.id, last);
    }

    pub(super) fn move_cursor(&mut self, id: &TaskId, at: UnixMs) {
        self.fleet.set_cursor(id, at);
        self.moved.insert(id.clone());
    }

    /// The cursors that were moved since the last batch, each once.
    pub(super) fn write_cursors(&mut self) {
        for task in std::mem::take(&mut self.moved) {
            if let Some(at) = self.fleet.tasks.get(&task).map(|entry| entry.cursor) {
                self.write(Write::SetCursor { task, at });
            }
        }
    }

    fn restart_daemon(&mut self, task: &Task, reason: &str) {
        for agent in self.daemon_agents(task) {
            if self.sessions.is_linked(&agent) {
                self.restart_slots(&agent, &task.id, false, reason);
            }
        }
    }

    /// The runs of one occurrence: one per target and slot; one without agent where there is no target.
    pub(super) fn rows(&self, task: &Task, at: UnixMs, cause: Cause) -> Vec<RunRow> {
        let one = task.spec.target.is_one();
        let agent = if one { self.pick_one(task, None) } else { None };
        if one && agent.is_none() {
            return vec![row(task, at, cause, Slot(0), None, None)];
        }
        let places = self.places(task).into_iter();
        places
            .map(|(slot, target, own)| row(task, at, cause, slot, target, own.or(agent.clone())))
            .collect()
    }

    /// Slots and targets of a task now, with the agent where the target is one.
    pub(super) fn places(&self, task: &Task) -> Vec<(Slot, Option<AgentId>, Option<AgentId>)> {
        let slots = (0..task.spec.work.processes).map(Slot);
        if task.spec.target.is_one() {
            return slots.map(|slot| (slot, None, None)).collect();
        }
        let agents: Vec<&AgentId> = self.fleet.candidates(task).map(|agent| &agent.id).collect();
        if agents.is_empty() {
            return vec![(Slot(0), None, None)];
        }
        slots
            .flat_map(|slot| agents.iter().map(move |agent| (slot, *agent)))
            .map(|(slot, agent)| (slot, Some(agent.clone()), Some(agent.clone())))
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
            self.revive(now, &row);
            return;
        }
        let key = (row.run.scheduled_at, row.run.run_id.clone());
        if self.early.contains(&key) {
            return;
        }
        let overdue = row.run.fire_at() < now.at && row.run.cause.is_of_rule();
        if overdue && !self.may_be_caught_up(now, &row) {
            return self.miss_unplanned(now, &row, CENTER_DOWN);
        }
        self.write(Write::PlanRun(row.clone()));
        let frozen = self.frozen_reason(now.at, &row);
        let run = OpenRun {
            row,
            stage: Stage::Waiting,
            cancelled: frozen.map(|reason| Cancelled {
                reason,
                confirmed: true,
            }),
            refused: None,
            was_lost: false,
            due_by: None,
        };
        let id = run.id().clone();
        self.open.insert(run);
        self.hand_out(&id);
    }

    fn may_be_caught_up(&self, now: Now, row: &RunRow) -> bool {
        let entry = self.fleet.tasks.get(&row.run.task);
        entry.is_some_and(|entry| entry.task.spec.catch_up) && now.at < row.start_before
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
        // What shall not start is nobody's: who has it in the store may have started it, to the next center (seed 594).
        let is_free = |run: &OpenRun| run.cancelled.is_none() && self.is_of_one(run);
        let mut free = self.open.without_agent();
        free.retain(|id| self.open.get(id).is_some_and(is_free));
        for id in free {
            self.reassign(&id);
        }
    }

    /// Hands a waiting run to its agent if that is linked and takes new runs; target `one` goes where the task
    /// has other runs.
    pub(super) fn hand_out(&mut self, id: &RunId) {
        let Some(run) = self.open.get(id) else { return };
        if self.is_of_one(run) && (run.row.agent.is_none() || self.is_held_apart(run)) {
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
    pub(super) fn is_held_apart(&self, run: &OpenRun) -> bool {
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
        if !self.bring_up_to_date(id) {
            return;
        }
        let Some(run) = self.open.get(id) else { return };
        let planned = PlannedRun {
            run: run.row.run.clone(),
            start_before: run.row.start_before,
            catch_up: run.row.run.cause.is_of_rule() && self.catches_up(&run.row.run.task),
        };
        self.drafts.of(&agent).plan.push(planned);
        let moment = self.moment;
        if let Some(run) = self.open.get_mut(id) {
            run.stage = Stage::Handed;
            run.refused = None;
            let due = moment.mono + run.row.run.fire_at().since(moment.at);
            run.due_by = Some(run.due_by.map_or(due, |by| by.min(due)));
        }
    }

    pub(super) fn catches_up(&self, task: &TaskId) -> bool {
        let entry = self.fleet.tasks.get(task);
        entry.is_some_and(|entry| entry.task.spec.catch_up)
    }

    /// A run that its agent has not takes the task as it is now, the only text that is sent; false where the task
    /// has no such run any more: that ends at the next look.
    fn bring_up_to_date(&mut self, id: &RunId) -> bool {
        let Some(run) = self.open.get_mut(id) else {
            return false;
        };
        let Some(entry) = self.fleet.tasks.get(&run.row.run.task) else {
            return true;
        };
        let task = &entry.task;
        if run.row.run.revision == task.revision {
            return true;
        }
        if run.stage == Stage::Waiting && !fits(task, &run.row) {
            let at = super::views::hms(task.changed_at);
            run.cancelled = Some(Cancelled {
                reason: format!("changed by {} at {at}", task.changed_by),
                confirmed: true,
            });
            let fire_at = run.row.run.fire_at();
            self.open.look_at(id, fire_at);
            return false;
        }
        let RunRow {
            run, target, agent, ..
        } = run.row.clone();
        let as_now = row(task, run.scheduled_at, run.cause, run.slot, target, agent);
        self.revise(id, &as_now);
        true
    }

    /// An open run takes what its task says now.
    fn revise(&mut self, id: &RunId, row: &RunRow) {
        let Some(run) = self.open.get_mut(id) else {
            return;
        };
        run.row.run.revision = row.run.revision;
        run.row.run.delay = row.run.delay;
        run.row.start_before = row.start_before;
        self.open.look_at(id, row.run.fire_at());
        self.write(Write::ReviseRun {
            run_id: id.clone(),
            revision: row.run.revision,
            delay: row.run.delay,
            start_before: row.start_before,
        });
    }

    /// A run that is open and due again, or in another revision.
    pub(super) fn revive(&mut self, now: Now, row: &RunRow) {
        let id = &row.run.run_id;
        if self.frozen_reason(now.at, row).is_some() {
            return;
        }
        let Some(run) = self.open.get_mut(id) else {
            return;
        };
        let same = run.cancelled.is_none() && run.row.run.revision == row.run.revision;
        if same || run.stage.has_started() {
            return;
        }
        run.cancelled = None;
        if run.row.run.revision != row.run.revision {
            self.revise(id, row);
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
            let draft = self.drafts.of(&agent);
            // Planned in this very event: in one frame cancels go first.
            draft.plan.retain(|planned| planned.run.run_id != *id);
            draft.cancel.push(cancel);
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
                let frozen = self.frozen_reason(now.at, &row);
                self.plan_run(now, row);
                if let Some(reason) = frozen {
                    self.end_missed(now, &id, &reason);
                } else if up > REBOOT_WITHIN {
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
    let of_rule = cause.is_of_rule();
    let delay = if of_rule {
        task.delay(key.target.as_ref())
    } else {
        Duration::ZERO
    };
    let within = if of_rule {
        task.spec.start_within()
    } else {
        START_WITHIN
    };
    let run = RunRef {
        run_id: RunId::of(&key),
        task: key.task,
        revision: task.revision,
        slot,
        cause,
        scheduled_at: at,
        delay,
    };
    RunRow {
        start_before: run.fire_at().plus(within),
        run,
        target: key.target,
        agent,
    }
}
