//! The way of one slot: start, running, end, what follows when nothing of its process is left.

use std::sync::Arc;
use std::time::Duration;

use super::super::run::ran_for;
use super::super::slot::{self, Next};
use super::super::{Now, Supervisor, Then, Timer};
use super::SlotRecord;
use crate::exec::wire::{self, BootMs, SlotState};
use crate::model::{Cause, Ending, Parole, RunId, RunRef, Slot, TaskId};

impl Supervisor {
    /// Starts a slot's process, unless one is there, something of the last one is left, or the keeper ends.
    pub(in crate::exec::supervise) fn start_slot(&mut self, now: Now, task: &TaskId, slot: Slot) {
        let other = self.other_tree(task, slot);
        let ending = self.ending;
        let Some(daemon) = self.daemons.get_mut(task) else {
            return;
        };
        let (text, epoch) = (Arc::clone(&daemon.text), daemon.epoch);
        let leaving = daemon.leaving;
        let Some(record) = daemon.slot(slot).filter(|_| !ending && !leaving) else {
            return;
        };
        if record.run.is_some() {
            return;
        }
        if let Some(other) = other {
            record.run = Some(other);
            record.then = Then::Start;
            return;
        }
        self.started += 1;
        let name = format!(
            "{}\n{task}\n{slot}\n{}\n{}\n{}\n{}",
            self.place, text.revision, self.boot_id, now.boot.0, self.started
        );
        let run = RunRef {
            run_id: RunId::hash(name.as_bytes()),
            task: task.clone(),
            revision: text.revision,
            slot,
            cause: Cause::Daemon,
            scheduled_at: now.center,
            delay: Duration::ZERO,
        };
        record.run = Some(run.run_id.clone());
        record.pid = None;
        record.running_since = None;
        record.started_at = None;
        record.revision = text.revision;
        record.then = Then::Policy;
        record.restarts += u32::from(record.ever_started);
        record.ever_started = true;
        record.enter(SlotState::Starting, now, "starts");
        self.say_slot(task, slot);
        self.start_daemon_run(now, run, &text, epoch);
    }

    pub(in crate::exec::supervise) fn say_slot(&mut self, task: &TaskId, slot: Slot) {
        let Some(daemon) = self.daemons.get(task) else {
            return;
        };
        let Some(record) = daemon.slots.iter().find(|record| record.slot == slot) else {
            return;
        };
        let status = daemon.status(record);
        self.say(wire::Event::Slot(status));
    }

    pub(in crate::exec::supervise) fn slot_launched(
        &mut self,
        now: Now,
        run: &RunRef,
        pid: i32,
        at: BootMs,
    ) {
        let Some(daemon) = self.daemons.get_mut(&run.task) else {
            return;
        };
        let start_seconds = daemon.text.work.start_seconds;
        let Some(record) = daemon.slot(run.slot) else {
            return;
        };
        if record.run.as_ref() != Some(&run.run_id) {
            return;
        }
        record.pid = Some(pid);
        record.running_since = Some(at);
        record.started_at = Some(now.center_at(at));
        if record.state == SlotState::Starting {
            let due = at.plus(start_seconds);
            record.due = Some(due);
            self.at(due, Timer::Slot(run.task.clone(), run.slot));
        }
        self.say_slot(&run.task, run.slot);
        if at.plus(start_seconds) <= now.boot {
            self.slot_due(now, &run.task, run.slot);
        }
    }

    /// The run of a slot's process has ended. What follows may have to wait for the rest of its tree.
    pub(in crate::exec::supervise) fn slot_ended(
        &mut self,
        now: Now,
        run: &RunRef,
        ending: &Ending,
    ) {
        let last_output = self
            .runs
            .get(&run.run_id)
            .and_then(|run| run.last_output.clone());
        let Some(daemon) = self.daemons.get_mut(&run.task) else {
            return;
        };
        let work = Arc::clone(&daemon.text);
        let Some(record) = daemon.slot(run.slot) else {
            return;
        };
        if record.run.as_ref() != Some(&run.run_id) {
            return;
        }
        let ran = ran_for(now, record.running_since);
        record.pid = None;
        record.running_since = None;
        record.started_at = None;
        if record.then == Then::Policy {
            record.failures = slot::failures(&work.work, ending, record.failures, ran);
            let next = slot::after(&work.work, ending, record.failures, &run.run_id);
            let last_output = last_output.as_deref();
            settle(record, now, next, ending, &work.work.parole, last_output);
        } else {
            record.enter(SlotState::Stopping, now, ending.reason.clone());
        }
        let due = record.due;
        drop(work);
        if matches!(record.state, SlotState::Fatal | SlotState::Exited) {
            self.stop_roll(&run.task, run.slot);
        }
        self.record_slot(&run.task, run.slot);
        self.say_slot(&run.task, run.slot);
        if let Some(due) = due {
            self.at(due, Timer::Slot(run.task.clone(), run.slot));
        }
        self.slot_tree_gone(now, &run.run_id);
    }

    /// Nothing of a slot's last process is left: what was decided at its end is done now.
    pub(in crate::exec::supervise) fn slot_tree_gone(&mut self, now: Now, run_id: &RunId) {
        if self.has_tree(run_id) || self.is_active(run_id) {
            return;
        }
        let Some(run) = self
            .runs
            .get(run_id)
            .filter(|run| run.run.cause == Cause::Daemon)
        else {
            return;
        };
        let (task, slot) = (run.run.task.clone(), run.run.slot);
        let other = self.other_tree(&task, slot);
        let Some(daemon) = self.daemons.get_mut(&task) else {
            return;
        };
        let Some(record) = daemon
            .slot(slot)
            .filter(|record| record.run.as_ref() == Some(run_id))
        else {
            return;
        };
        record.run = other;
        if record.run.is_some() {
            return;
        }
        match record.then {
            Then::Start => self.start_slot(now, &task, slot),
            Then::Policy => self.slot_due(now, &task, slot),
            Then::Rest | Then::Go | Then::Finish => self.rest_slot(now, &task, slot),
        }
    }

    /// A run of this slot of which something is left: after the keeper's death there may be several.
    fn other_tree(&self, task: &TaskId, slot: Slot) -> Option<RunId> {
        let mut left = self.trees.keys().map(|key| &key.0);
        let found = left.find(|run_id| {
            self.runs.get(*run_id).is_some_and(|run| {
                run.run.cause == Cause::Daemon && run.run.task == *task && run.run.slot == slot
            })
        });
        found.cloned()
    }

    /// The slot has ended for good, or for as long as the keeper is away.
    fn rest_slot(&mut self, now: Now, task: &TaskId, slot: Slot) {
        let Some(daemon) = self.daemons.get_mut(task) else {
            return;
        };
        let Some(record) = daemon.slot(slot) else {
            return;
        };
        let reason = record.reason.clone();
        let goes = record.is_leaving();
        record.enter(SlotState::Stopped, now, reason);
        self.say_slot(task, slot);
        let Some(daemon) = self.daemons.get_mut(task).filter(|_| goes) else {
            return;
        };
        daemon.slots.retain(|record| record.slot != slot);
        if daemon.leaving && daemon.slots.is_empty() {
            let key = (task.clone(), daemon.text.revision);
            self.daemons.remove(task);
            self.release_text(&key);
        } else {
            self.roll_on(now, task, slot);
        }
    }

    /// A slot's time has come: it counts as running, or its backoff or parole is over.
    pub(in crate::exec::supervise) fn slot_due(&mut self, now: Now, task: &TaskId, slot: Slot) {
        let Some(record) = self
            .daemons
            .get_mut(task)
            .and_then(|daemon| daemon.slot(slot))
        else {
            return;
        };
        if record.due.is_none_or(|due| due > now.boot) {
            return;
        }
        match record.state {
            SlotState::Starting => {
                let reason = match record.then {
                    Then::Finish => record.reason.clone(),
                    _ => "runs".to_owned(),
                };
                record.enter(SlotState::Running, now, reason);
                self.say_slot(task, slot);
                self.roll_on(now, task, slot);
            }
            SlotState::Backoff | SlotState::Fatal if record.run.is_none() => {
                self.start_slot(now, task, slot);
            }
            _ => {}
        }
    }

    /// Leaves a slot's process to end by itself; the slot goes with it.
    pub(super) fn finish_slot(&mut self, task: &TaskId, slot: Slot, reason: &str) {
        let daemon = self.daemons.get_mut(task);
        let Some(record) = daemon.and_then(|daemon| daemon.slot(slot)) else {
            return;
        };
        record.then = Then::Finish;
        record.reason = format!("runs until it ends by itself; {reason}");
        self.record_slot(task, slot);
        self.say_slot(task, slot);
    }

    /// Ends a slot's process; `then` follows when nothing of it is left.
    pub(super) fn end_slot(
        &mut self,
        now: Now,
        task: &TaskId,
        slot: Slot,
        reason: &str,
        then: Then,
    ) {
        let Some(record) = self
            .daemons
            .get_mut(task)
            .and_then(|daemon| daemon.slot(slot))
        else {
            return;
        };
        record.then = then;
        let run = record.run.clone();
        record.enter(SlotState::Stopping, now, reason);
        self.record_slot(task, slot);
        match run {
            Some(run_id) => {
                self.say_slot(task, slot);
                self.stop(now, &run_id, reason);
                self.slot_tree_gone(now, &run_id);
            }
            None if then == Then::Start => self.start_slot(now, task, slot),
            None => self.rest_slot(now, task, slot),
        }
    }
}

/// Puts the decision about an ended process into its slot.
fn settle(
    record: &mut SlotRecord,
    now: Now,
    next: Next,
    ending: &Ending,
    parole: &Parole,
    last_output: Option<&str>,
) {
    match next {
        Next::Start(wait) => {
            let reason = match record.failures {
                0 | 1 => ending.reason.clone(),
                many => format!("{} ({many} failed starts in a row)", ending.reason),
            };
            record.enter(SlotState::Backoff, now, reason);
            record.wait = wait;
            record.due = Some(now.boot.plus(wait));
        }
        Next::Exited => record.enter(SlotState::Exited, now, ending.reason.clone()),
        Next::Fatal(why) => {
            let output = last_output.or(ending.tail.as_deref()).map(last_lines);
            let reason = match output.filter(|text| !text.is_empty()) {
                Some(text) => format!("{why}; last output: {text}"),
                None => why,
            };
            record.enter(SlotState::Fatal, now, reason);
            if let Parole::After(wait) = parole {
                record.wait = *wait;
                record.due = Some(now.boot.plus(*wait));
            }
        }
    }
}

/// The last three lines, joined; control characters go.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .rev()
        .filter(|line| !line.trim().is_empty())
        .take(3)
        .collect();
    let joined = lines.into_iter().rev().collect::<Vec<_>>().join(" | ");
    joined
        .chars()
        .filter(|c| !c.is_control())
        .take(500)
        .collect()
}
