//! Daemons: assignments whose slots are each kept alive. A slot starts its next process only when nothing of
//! the last one is left, so there is never a second instance of it.

use std::sync::Arc;
use std::time::Duration;

use super::run::ran_for;
use super::slot::{self, Next};
use super::{Now, Record, Supervisor, Timer};
use crate::exec::wire::{self, Assignment, BootMs, SlotState, SlotStatus};
use crate::model::{
    Cause, Ending, Epoch, Parole, Revision, RunId, RunRef, Slot, TaskId, TaskText, UnixMs,
};

/// One assigned daemon.
#[derive(Debug)]
pub(super) struct Daemon {
    pub text: Arc<TaskText>,
    pub epoch: Epoch,
    pub slots: Vec<SlotRecord>,
    /// Slots still to be restarted one by one, and why.
    pub rolling: Option<(Vec<Slot>, String)>,
    /// Withdrawn: goes when its last slot has gone.
    pub leaving: bool,
}

/// What is known of one slot.
#[derive(Debug)]
pub(super) struct SlotRecord {
    pub slot: Slot,
    pub state: SlotState,
    pub since: UnixMs,
    pub restarts: u32,
    pub failures: u16,
    pub reason: String,
    pub run: Option<RunId>,
    pub pid: Option<i32>,
    pub running_since: Option<BootMs>,
    pub revision: Revision,
    /// The state's end: of `start_seconds`, backoff, or parole.
    pub due: Option<BootMs>,
    pub wait: Duration,
    pub then: Then,
    pub ever_started: bool,
}

/// What follows once the slot's process is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Then {
    /// What the restart policy says.
    Policy,
    /// A new process at once.
    Start,
    /// Nothing: the keeper is ending.
    Rest,
    /// The slot is taken away.
    Go,
}

impl SlotRecord {
    pub fn new(slot: Slot, revision: Revision, at: UnixMs) -> Self {
        Self {
            slot,
            state: SlotState::Stopped,
            since: at,
            restarts: 0,
            failures: 0,
            reason: String::new(),
            run: None,
            pid: None,
            running_since: None,
            revision,
            due: None,
            wait: Duration::ZERO,
            then: Then::Policy,
            ever_started: false,
        }
    }

    fn enter(&mut self, state: SlotState, now: Now, reason: impl Into<String>) {
        self.state = state;
        self.since = now.center;
        self.reason = reason.into();
        self.due = None;
        self.wait = Duration::ZERO;
    }
}

impl Daemon {
    pub fn new(text: Arc<TaskText>, epoch: Epoch) -> Self {
        Self {
            text,
            epoch,
            slots: Vec::new(),
            rolling: None,
            leaving: false,
        }
    }

    pub fn slot(&mut self, slot: Slot) -> Option<&mut SlotRecord> {
        self.slots.iter_mut().find(|record| record.slot == slot)
    }

    /// Whether this slot's time is this one.
    pub fn is_due(&self, slot: Slot, at: BootMs) -> bool {
        self.slots
            .iter()
            .any(|record| record.slot == slot && record.due == Some(at))
    }

    /// What an agent hears of it at connect; a withdrawn one's slots only.
    pub fn known(&self) -> Vec<wire::Event> {
        let assigned = wire::Event::Assigned {
            task: self.text.task.clone(),
            revision: self.text.revision,
        };
        let slots = self
            .slots
            .iter()
            .map(|slot| wire::Event::Slot(self.status(slot)));
        (!self.leaving)
            .then_some(assigned)
            .into_iter()
            .chain(slots)
            .collect()
    }

    fn status(&self, slot: &SlotRecord) -> SlotStatus {
        SlotStatus {
            task: self.text.task.clone(),
            name: self.text.name.clone(),
            group: self.text.group.clone(),
            slot: slot.slot,
            state: slot.state,
            run_id: slot.run.clone(),
            pid: slot.pid,
            since: slot.since,
            restarts: slot.restarts,
            revision: slot.revision,
            reason: slot.reason.clone(),
            wait: slot.wait,
        }
    }
}

impl Supervisor {
    pub(super) fn assign(&mut self, now: Now, assignment: Assignment) {
        let epoch = assignment.epoch;
        let text = self.intern(assignment.text);
        let task = text.task.clone();
        let daemon = self
            .daemons
            .entry(task.clone())
            .or_insert_with(|| Daemon::new(Arc::clone(&text), epoch));
        let returned = std::mem::take(&mut daemon.leaving);
        let changed = daemon.text.revision != text.revision;
        daemon.text = Arc::clone(&text);
        daemon.epoch = epoch;
        self.record(Record::Assigned {
            task: task.clone(),
            revision: text.revision,
            epoch,
        });
        self.fit_slots(now, &task, returned);
        if changed {
            self.revive(now, &task);
        }
    }

    /// As many slots as the text says: new ones start, surplus ones end.
    pub(super) fn fit_slots(&mut self, now: Now, task: &TaskId, returned: bool) {
        let Some(daemon) = self.daemons.get_mut(task) else {
            return;
        };
        let wanted = daemon.text.work.processes;
        let mut start = Vec::new();
        for slot in (0..wanted).map(Slot) {
            match daemon.slot(slot) {
                Some(record) if record.then == Then::Go => record.then = Then::Start,
                Some(record) if returned && record.run.is_none() => start.push(slot),
                Some(_) => {}
                None => {
                    let record = SlotRecord::new(slot, daemon.text.revision, now.center);
                    daemon.slots.push(record);
                    start.push(slot);
                }
            }
        }
        let surplus: Vec<Slot> = daemon
            .slots
            .iter()
            .map(|record| record.slot)
            .filter(|slot| slot.0 >= wanted)
            .collect();
        for slot in start {
            self.start_slot(now, task, slot);
        }
        for slot in surplus {
            self.end_slot(now, task, slot, "fewer processes", Then::Go);
        }
    }

    /// A new text is a new chance for slots that have given up.
    fn revive(&mut self, now: Now, task: &TaskId) {
        for slot in self.slots_of(task, |record| record.state == SlotState::Fatal) {
            self.forgive(task, slot);
            self.start_slot(now, task, slot);
        }
    }

    fn forgive(&mut self, task: &TaskId, slot: Slot) {
        if let Some(record) = self
            .daemons
            .get_mut(task)
            .and_then(|daemon| daemon.slot(slot))
        {
            record.failures = 0;
        }
    }

    fn slots_of(&self, task: &TaskId, wanted: impl Fn(&SlotRecord) -> bool) -> Vec<Slot> {
        self.daemons
            .get(task)
            .map(|daemon| {
                daemon
                    .slots
                    .iter()
                    .filter(|record| wanted(record))
                    .map(|record| record.slot)
                    .collect()
            })
            .unwrap_or_default()
    }

    /// Starts a slot's process, unless one is there, something of the last one is left, or the keeper ends.
    pub(super) fn start_slot(&mut self, now: Now, task: &TaskId, slot: Slot) {
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
        };
        record.run = Some(run.run_id.clone());
        record.pid = None;
        record.running_since = None;
        record.revision = text.revision;
        record.then = Then::Policy;
        record.restarts += u32::from(record.ever_started);
        record.ever_started = true;
        record.enter(SlotState::Starting, now, "starts");
        self.say_slot(task, slot);
        self.start_daemon_run(now, run, &text, epoch);
    }

    pub(super) fn say_slot(&mut self, task: &TaskId, slot: Slot) {
        let Some(daemon) = self.daemons.get(task) else {
            return;
        };
        let Some(record) = daemon.slots.iter().find(|record| record.slot == slot) else {
            return;
        };
        let status = daemon.status(record);
        self.say(wire::Event::Slot(status));
    }

    pub(super) fn slot_launched(&mut self, now: Now, run: &RunRef, pid: i32, at: BootMs) {
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
    pub(super) fn slot_ended(&mut self, now: Now, run: &RunRef, ending: &Ending) {
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
        if record.then == Then::Policy {
            let long = ran >= work.work.start_seconds && !ran.is_zero();
            record.failures = if long {
                0
            } else {
                record.failures.saturating_add(1)
            };
            let next = slot::after(&work.work, ending, record.failures, &run.run_id);
            let last_output = last_output.as_deref();
            settle(record, now, next, ending, &work.work.parole, last_output);
        } else {
            record.enter(SlotState::Stopping, now, ending.reason.clone());
        }
        let due = record.due;
        self.say_slot(&run.task, run.slot);
        if let Some(due) = due {
            self.at(due, Timer::Slot(run.task.clone(), run.slot));
        }
        self.slot_tree_gone(now, &run.run_id);
    }

    /// Nothing of a slot's last process is left: what was decided at its end is done now.
    pub(super) fn slot_tree_gone(&mut self, now: Now, run_id: &RunId) {
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
        let Some(daemon) = self.daemons.get_mut(&task) else {
            return;
        };
        let Some(record) = daemon
            .slot(slot)
            .filter(|record| record.run.as_ref() == Some(run_id))
        else {
            return;
        };
        record.run = None;
        match record.then {
            Then::Start => self.start_slot(now, &task, slot),
            Then::Policy => self.slot_due(now, &task, slot),
            Then::Rest | Then::Go => self.rest_slot(now, &task, slot),
        }
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
        let goes = record.then == Then::Go;
        record.enter(SlotState::Stopped, now, reason);
        self.say_slot(task, slot);
        let Some(daemon) = self.daemons.get_mut(task).filter(|_| goes) else {
            return;
        };
        daemon.slots.retain(|record| record.slot != slot);
        if daemon.leaving && daemon.slots.is_empty() {
            self.daemons.remove(task);
        }
    }

    /// A slot's time has come: it counts as running, or its backoff or parole is over.
    pub(super) fn slot_due(&mut self, now: Now, task: &TaskId, slot: Slot) {
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
                record.failures = 0;
                record.enter(SlotState::Running, now, "runs");
                self.say_slot(task, slot);
                self.roll(now, task);
            }
            SlotState::Backoff | SlotState::Fatal if record.run.is_none() => {
                self.start_slot(now, task, slot);
            }
            _ => {}
        }
    }

    /// Ends a slot's process; `then` follows when nothing of it is left.
    fn end_slot(&mut self, now: Now, task: &TaskId, slot: Slot, reason: &str, then: Then) {
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

    pub(super) fn withdraw(&mut self, now: Now, task: &TaskId, reason: &str) {
        let Some(daemon) = self.daemons.get_mut(task) else {
            return;
        };
        daemon.leaving = true;
        daemon.rolling = None;
        self.record(Record::Withdrawn { task: task.clone() });
        for slot in self.slots_of(task, |_| true) {
            self.end_slot(now, task, slot, reason, Then::Go);
        }
    }

    pub(super) fn stop_slots(&mut self, now: Now, reason: &str) {
        let tasks: Vec<TaskId> = self.daemons.keys().cloned().collect();
        for task in tasks {
            for slot in self.slots_of(&task, |record| record.then != Then::Go) {
                self.end_slot(now, &task, slot, reason, Then::Rest);
            }
        }
    }

    pub(super) fn restart(&mut self, now: Now, task: &TaskId, one_by_one: bool, reason: &str) {
        let slots = self.slots_of(task, |record| record.then != Then::Go);
        if one_by_one {
            if let Some(daemon) = self.daemons.get_mut(task) {
                daemon.rolling = Some((slots.into_iter().rev().collect(), reason.to_owned()));
            }
            self.roll(now, task);
            return;
        }
        if let Some(daemon) = self.daemons.get_mut(task) {
            daemon.rolling = None;
        }
        for slot in slots {
            self.forgive(task, slot);
            self.end_slot(now, task, slot, reason, Then::Start);
        }
    }

    /// The next slot of a restart one by one; called when the last one counts as running.
    fn roll(&mut self, now: Now, task: &TaskId) {
        let Some(daemon) = self.daemons.get_mut(task) else {
            return;
        };
        let Some((slots, reason)) = &mut daemon.rolling else {
            return;
        };
        let (next, reason) = (slots.pop(), reason.clone());
        match next {
            Some(slot) => {
                self.forgive(task, slot);
                self.end_slot(now, task, slot, &reason, Then::Start);
            }
            None => daemon.rolling = None,
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
            record.enter(SlotState::Backoff, now, ending.reason.clone());
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
