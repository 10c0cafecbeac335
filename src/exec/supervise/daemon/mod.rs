//! Daemons: assignments whose slots are each kept alive. A slot starts its next process only when nothing of
//! the last one is left, so there is never a second instance of it.

mod recovering;
mod restart;
mod slots;

use std::sync::Arc;
use std::time::Duration;

use super::{Now, Record, Roll, SlotRest, Supervisor, Then};
use crate::exec::wire::{self, Assignment, BootMs, SlotState, SlotStatus};
use crate::model::{Epoch, Revision, RunId, Slot, TaskId, TaskText, UnixMs};

/// One assigned daemon.
#[derive(Debug)]
pub(super) struct Daemon {
    pub text: Arc<TaskText>,
    pub epoch: Epoch,
    pub slots: Vec<SlotRecord>,
    /// A restart one by one that is under way.
    pub rolling: Option<Roll>,
    /// Withdrawn: goes when its last slot has gone.
    pub leaving: bool,
    /// Its processes were left to end by themselves then.
    pub finishing: bool,
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
    /// The same, in the center's time.
    pub started_at: Option<UnixMs>,
    pub revision: Revision,
    /// The state's end: of `start_seconds`, backoff, or parole.
    pub due: Option<BootMs>,
    pub wait: Duration,
    pub then: Then,
    pub ever_started: bool,
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
            started_at: None,
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

    /// Whether it has no process and is not about to have one by itself at once.
    fn is_down(&self) -> bool {
        matches!(
            self.state,
            SlotState::Fatal | SlotState::Exited | SlotState::Backoff
        )
    }

    /// Whether it has a process that nothing has been decided about.
    fn is_up(&self) -> bool {
        let up = matches!(self.state, SlotState::Starting | SlotState::Running);
        up && self.run.is_some() && matches!(self.then, Then::Policy | Then::Finish)
    }

    /// Whether it goes with its process.
    fn is_leaving(&self) -> bool {
        matches!(self.then, Then::Go | Then::Finish)
    }

    /// What the next keeper must know.
    fn rest(&self) -> SlotRest {
        SlotRest {
            state: self.state,
            since: self.since,
            restarts: self.restarts,
            failures: self.failures,
            reason: self.reason.clone(),
            due: self.due,
            then: self.then,
            ever_started: self.ever_started,
            revision: self.revision,
        }
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
            finishing: false,
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

    /// The records that say the same again.
    pub fn snapshot(&self) -> Vec<Record> {
        let task = &self.text.task;
        let assigned = Record::Assigned {
            task: task.clone(),
            revision: self.text.revision,
            epoch: self.epoch,
        };
        let withdrawn = self.leaving.then(|| Record::Withdrawn {
            task: task.clone(),
            finish: self.finishing,
        });
        let slots = self.slots.iter().map(|record| Record::Slot {
            task: task.clone(),
            slot: record.slot,
            rest: record.rest(),
        });
        let roll = self.rolling.clone().map(|roll| Record::Rolling {
            task: task.clone(),
            roll: Some(roll),
        });
        let all = [assigned].into_iter().chain(withdrawn);
        all.chain(slots.filter(|_| !self.leaving))
            .chain(roll)
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
            started_at: slot.started_at,
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
        daemon.finishing = false;
        let old = (task.clone(), daemon.text.revision);
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
            self.release_text(&old);
            self.revive(now, &task);
        }
    }

    /// As many slots as the text says: new ones start, surplus ones end.
    pub(super) fn fit_slots(&mut self, now: Now, task: &TaskId, returned: bool) {
        let Some(daemon) = self.daemons.get_mut(task) else {
            return;
        };
        let wanted = daemon.text.work.processes;
        let (mut start, mut told) = (Vec::new(), Vec::new());
        for slot in (0..wanted).map(Slot) {
            match daemon.slot(slot) {
                Some(record) if record.then == Then::Go => record.then = Then::Start,
                Some(record) if record.then == Then::Finish => {
                    record.then = Then::Policy;
                    "runs".clone_into(&mut record.reason);
                    told.push(slot);
                }
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
            .filter(|record| record.slot.0 >= wanted && record.then != Then::Go)
            .map(|record| record.slot)
            .collect();
        for slot in told {
            self.record_slot(task, slot);
            self.say_slot(task, slot);
        }
        for slot in start {
            self.start_slot(now, task, slot);
        }
        for slot in surplus {
            self.end_slot(now, task, slot, "fewer processes", Then::Go);
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

    /// Ends a daemon's slots; with `finish` those that are up when their process has ended by itself.
    pub(super) fn withdraw(&mut self, now: Now, task: &TaskId, reason: &str, finish: bool) {
        let Some(daemon) = self.daemons.get_mut(task) else {
            let task = task.clone();
            self.say(wire::Event::Withdrawn { task });
            return;
        };
        daemon.leaving = true;
        daemon.finishing = finish;
        daemon.rolling = None;
        self.record(Record::Withdrawn {
            task: task.clone(),
            finish,
        });
        let up = self.slots_of(task, |record| finish && record.is_up());
        for slot in self.slots_of(task, |record| !up.contains(&record.slot)) {
            self.end_slot(now, task, slot, reason, Then::Go);
        }
        for slot in up {
            self.finish_slot(task, slot, reason);
        }
    }

    /// Writes down what the next keeper must know of a slot.
    pub(super) fn record_slot(&mut self, task: &TaskId, slot: Slot) {
        let daemon = self.daemons.get(task);
        let found =
            daemon.and_then(|daemon| daemon.slots.iter().find(|record| record.slot == slot));
        let Some(rest) = found.map(SlotRecord::rest) else {
            return;
        };
        let task = task.clone();
        self.record(Record::Slot { task, slot, rest });
    }

    pub(super) fn stop_slots(&mut self, now: Now, reason: &str) {
        let tasks: Vec<TaskId> = self.daemons.keys().cloned().collect();
        for task in tasks {
            for slot in self.slots_of(&task, |record| record.then != Then::Go) {
                self.end_slot(now, &task, slot, reason, Then::Rest);
            }
        }
    }
}
