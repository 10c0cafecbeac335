//! Slots from the records of former keepers. A slot goes on where it stood: what waited still waits, what had
//! given up stays so, and the next process of a slot starts only when nothing of the last one is left.

use super::super::run::{Phase, Run, Stop};
use super::super::{Now, Roll, SlotRest, Supervisor, Then, Timer};
use super::{Daemon, SlotRecord};
use crate::exec::wire::{BootMs, SlotState};
use crate::model::{Cause, Epoch, Outcome, Revision, RunId, RunRef, Slot, TaskId, UnixMs};

/// Why an assignment's processes end that was withdrawn before the last keeper ended.
const WITHDRAWN: &str = "no longer assigned";

impl Supervisor {
    pub(in crate::exec::supervise) fn fold_assigned(
        &mut self,
        task: TaskId,
        revision: Revision,
        epoch: Epoch,
    ) {
        let Some(text) = self.texts.get(&(task.clone(), revision)).cloned() else {
            return;
        };
        let daemon = self
            .daemons
            .entry(task)
            .or_insert_with(|| Daemon::new(text.clone(), epoch));
        daemon.text = text;
        daemon.epoch = epoch;
        daemon.leaving = false;
        daemon.finishing = false;
    }

    pub(in crate::exec::supervise) fn fold_withdrawn(&mut self, task: &TaskId, finish: bool) {
        if let Some(daemon) = self.daemons.get_mut(task) {
            daemon.leaving = true;
            daemon.finishing = finish;
            daemon.rolling = None;
            daemon.slots.clear();
        }
    }

    pub(in crate::exec::supervise) fn fold_slot(
        &mut self,
        task: &TaskId,
        slot: Slot,
        rest: SlotRest,
    ) {
        let Some(daemon) = self.daemons.get_mut(task).filter(|daemon| !daemon.leaving) else {
            return;
        };
        let record = daemon.slot_or_new(slot, rest.revision, rest.since);
        record.state = rest.state;
        record.since = rest.since;
        record.restarts = rest.restarts;
        record.failures = rest.failures;
        record.reason = rest.reason;
        record.due = rest.due;
        record.then = rest.then;
        record.ever_started = rest.ever_started;
        record.revision = rest.revision;
    }

    pub(in crate::exec::supervise) fn fold_roll(&mut self, task: &TaskId, roll: Option<Roll>) {
        if let Some(daemon) = self.daemons.get_mut(task) {
            daemon.rolling = roll;
        }
    }

    /// A slot's next process was ordered: what was decided before is over.
    pub(in crate::exec::supervise) fn fold_slot_start(&mut self, run: &RunRef) {
        if run.cause != Cause::Daemon {
            return;
        }
        let Some(daemon) = self
            .daemons
            .get_mut(&run.task)
            .filter(|daemon| !daemon.leaving)
        else {
            return;
        };
        let record = daemon.slot_or_new(run.slot, run.revision, run.scheduled_at);
        record.restarts += u32::from(record.ever_started);
        record.ever_started = true;
        record.state = SlotState::Starting;
        record.then = Then::Policy;
        record.due = None;
        record.revision = run.revision;
    }

    /// The same boot: slots find their processes, or what is left of them.
    pub(in crate::exec::supervise) fn resume_slots(&mut self, now: Now) {
        let mut held: Vec<RunId> = self
            .runs
            .values()
            .filter(|run| run.run.cause == Cause::Daemon)
            .map(|run| run.run.run_id.clone())
            .filter(|run_id| self.is_active(run_id) || self.has_tree(run_id))
            .collect();
        // Of a former process a tree may be left, or not be known to be gone: the live one has the last word.
        held.sort_by_key(|run_id| self.is_active(run_id));
        for run_id in held {
            self.resume_slot(now, &run_id);
        }
        if self.damaged_at.is_some() {
            // What waited may have been withdrawn meanwhile: the agent says first which daemons there are.
            let runs = &self.runs;
            let lives = |run_id: &RunId| runs.get(run_id).is_some_and(Run::is_active);
            for daemon in self.daemons.values_mut() {
                daemon
                    .slots
                    .retain(|record| record.run.as_ref().is_some_and(lives));
            }
        }
        let mut timers = Vec::new();
        for (task, daemon) in &mut self.daemons {
            for record in &mut daemon.slots {
                record.resume_waiting(now);
                timers.extend(
                    record
                        .due
                        .map(|due| (due, Timer::Slot(task.clone(), record.slot))),
                );
            }
        }
        self.timers.extend(timers);
        self.daemons
            .retain(|_, daemon| !daemon.leaving || !daemon.slots.is_empty());
    }

    fn resume_slot(&mut self, now: Now, run_id: &RunId) {
        let Some(run) = self.runs.get_mut(run_id) else {
            return;
        };
        let Some(daemon) = self.daemons.get_mut(&run.run.task) else {
            return;
        };
        let (leaving, finishing) = (daemon.leaving, daemon.finishing);
        let start_seconds = daemon.text.work.start_seconds;
        let record = daemon.slot_or_new(run.run.slot, run.run.revision, now.center);
        if leaving {
            record.then = if finishing { Then::Finish } else { Then::Go };
            WITHDRAWN.clone_into(&mut record.reason);
        }
        record.run = Some(run_id.clone());
        record.revision = run.run.revision;
        record.ever_started = true;
        if !run.is_active() {
            // Its end is recorded; what follows waits for the rest of its tree.
            if record.is_starting_or_up() {
                record.state = SlotState::Backoff;
                record.due = Some(now.boot);
            }
            return;
        }
        if let Phase::Running { pid, since, .. } = &run.phase {
            record.pid = Some(*pid);
            record.running_since = Some(*since);
            record.started_at = run.first_started_at;
        }
        let left = record.then == Then::Finish && run.stop.is_none();
        if left || record.then == Then::Policy {
            let due = record.running_since.map(|since| since.plus(start_seconds));
            record.find(now, due);
        } else {
            record.state = SlotState::Stopping;
            record.due = None;
            order_stop(run, &record.reason);
        }
    }

    /// Called when the shell has found out what became of all attempts: every daemon gets the slots it shall have.
    pub(in crate::exec::supervise) fn settle_slots(&mut self, now: Now, task: &TaskId) {
        let Some(daemon) = self.daemons.get(task) else {
            return;
        };
        if daemon.leaving {
            for slot in self.slots_of(task, |record| !record.is_finishing()) {
                self.end_slot(now, task, slot, WITHDRAWN, Then::Go);
            }
            return;
        }
        for slot in self.slots_of(task, |record| {
            record.then == Then::Start && record.run.is_some()
        }) {
            let reason = self.reason_of(task, slot);
            self.end_slot(now, task, slot, &reason, Then::Start);
        }
        self.fit_slots(now, task, false);
        for slot in self.slots_of(task, |record| record.state == SlotState::Running) {
            self.roll_on(now, task, slot);
        }
    }

    fn reason_of(&self, task: &TaskId, slot: Slot) -> String {
        let daemon = self.daemons.get(task);
        let found =
            daemon.and_then(|daemon| daemon.slots.iter().find(|record| record.slot == slot));
        found
            .map(|record| record.reason.clone())
            .unwrap_or_default()
    }
}

impl Daemon {
    fn slot_or_new(&mut self, slot: Slot, revision: Revision, at: UnixMs) -> &mut SlotRecord {
        let known = self.slots.iter().position(|record| record.slot == slot);
        let at = known.unwrap_or_else(|| {
            self.slots.push(SlotRecord::new(slot, revision, at));
            self.slots.len() - 1
        });
        &mut self.slots[at]
    }
}

impl SlotRecord {
    /// Its process lives: it counts as running, or will at `due`.
    fn find(&mut self, now: Now, due: Option<BootMs>) {
        let runs = due.is_some_and(|due| due <= now.boot);
        self.state = if runs {
            SlotState::Running
        } else {
            SlotState::Starting
        };
        self.due = due.filter(|_| !runs);
        self.since = self.started_at.unwrap_or(now.center);
        let reason = match self.then {
            Then::Finish => "runs until it ends by itself; no longer assigned",
            _ => "runs, found by a new keeper",
        };
        reason.clone_into(&mut self.reason);
    }

    /// No process lives: what waited, or had given up, goes on so; anything else starts as soon as it may.
    fn resume_waiting(&mut self, now: Now) {
        let lives = self.run.is_some() && self.is_starting_or_up();
        if lives || self.is_leaving() {
            return;
        }
        match self.state {
            SlotState::Exited | SlotState::Fatal => {}
            SlotState::Backoff if self.due.is_some() => {}
            _ if self.then == Then::Start && self.run.is_some() => {}
            _ => {
                self.state = SlotState::Backoff;
                self.then = Then::Policy;
                self.due = Some(now.boot);
            }
        }
        if let Some(due) = self.due {
            self.wait = due.since(now.boot);
        }
    }

    /// Its process was left to end by itself, and has not.
    fn is_finishing(&self) -> bool {
        self.then == Then::Finish && self.is_up()
    }

    fn is_starting_or_up(&self) -> bool {
        matches!(self.state, SlotState::Starting | SlotState::Running)
    }
}

/// A stop was decided and the run's own record of it is missing: its start was under way.
fn order_stop(run: &mut Run, reason: &str) {
    if matches!(run.phase, Phase::Starting { .. }) && run.stop.is_none() {
        run.stop = Some(Stop {
            outcome: Outcome::Stopped,
            reason: reason.to_owned(),
        });
    }
}
