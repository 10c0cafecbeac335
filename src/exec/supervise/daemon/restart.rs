//! New processes for slots that have one, at once or one by one, and for those that are down. One by one means
//! that no further slot is touched before the last one counts as running; one that does not come up ends it.

use super::super::{Now, Record, Roll, Supervisor, Then};
use super::SlotRecord;
use crate::exec::wire::SlotState;
use crate::model::{Slot, TaskId};

impl Supervisor {
    pub(in crate::exec::supervise) fn restart(
        &mut self,
        now: Now,
        task: &TaskId,
        one_by_one: bool,
        reason: &str,
    ) {
        let slots = self.slots_of(task, |record| !record.is_leaving());
        if one_by_one {
            self.roll(now, task, slots.into_iter().rev().collect(), reason);
            return;
        }
        self.set_roll(task, None);
        for slot in slots {
            self.renew(now, task, slot, reason);
        }
    }

    /// Starts the slots that are down; those that run are left alone.
    pub(in crate::exec::supervise) fn start_down(&mut self, now: Now, task: &TaskId, reason: &str) {
        for slot in self.slots_of(task, |record| record.is_down() && !record.is_leaving()) {
            self.renew(now, task, slot, reason);
        }
    }

    /// A new text is a new chance for slots that have given up.
    pub(super) fn revive(&mut self, now: Now, task: &TaskId) {
        for slot in self.slots_of(task, |record| record.state == SlotState::Fatal) {
            self.renew(now, task, slot, "has a new text");
        }
    }

    /// A new process for a slot, its failures forgiven.
    fn renew(&mut self, now: Now, task: &TaskId, slot: Slot, reason: &str) {
        let daemon = self.daemons.get_mut(task);
        if let Some(record) = daemon.and_then(|daemon| daemon.slot(slot)) {
            record.failures = 0;
        }
        self.end_slot(now, task, slot, reason, Then::Start);
    }

    /// The next slot of a restart one by one.
    fn roll(&mut self, now: Now, task: &TaskId, mut left: Vec<Slot>, reason: &str) {
        let present = self.slots_of(task, |record| !record.is_leaving());
        left.retain(|slot| present.contains(slot));
        let Some(at) = left.pop() else {
            return self.set_roll(task, None);
        };
        let reason = reason.to_owned();
        let roll = Roll {
            at,
            left,
            reason: reason.clone(),
        };
        self.set_roll(task, Some(roll));
        self.renew(now, task, at, &reason);
    }

    fn set_roll(&mut self, task: &TaskId, roll: Option<Roll>) {
        let Some(daemon) = self.daemons.get_mut(task) else {
            return;
        };
        if daemon.rolling == roll {
            return;
        }
        daemon.rolling.clone_from(&roll);
        let task = task.clone();
        self.record(Record::Rolling { task, roll });
    }

    fn roll_at(&self, task: &TaskId, slot: Slot) -> Option<Roll> {
        let rolling = self.daemons.get(task)?.rolling.clone();
        rolling.filter(|roll| roll.at == slot)
    }

    /// A slot counts as running, or is taken away: a restart one by one that waited for it goes on.
    pub(super) fn roll_on(&mut self, now: Now, task: &TaskId, slot: Slot) {
        if let Some(roll) = self.roll_at(task, slot) {
            self.roll(now, task, roll.left, &roll.reason);
        }
    }

    /// A slot did not come up: the restart one by one that waited for it ends here, and says so on the slot and
    /// on those that it leaves alone.
    pub(super) fn stop_roll(&mut self, task: &TaskId, slot: Slot) {
        let Some(roll) = self.roll_at(task, slot) else {
            return;
        };
        self.set_roll(task, None);
        if roll.left.is_empty() {
            return;
        }
        let names: Vec<String> = roll.left.iter().rev().map(ToString::to_string).collect();
        let names = names.join(", ");
        self.amend(task, slot, |record| {
            let why = format!("the restart one by one stopped here, before slot {names}");
            record.reason = format!("{why}: {}", record.reason);
        });
        for other in roll.left.into_iter().rev() {
            self.amend(task, other, |record| {
                if record.state == SlotState::Running {
                    record.reason =
                        format!("runs, and was not restarted, because slot {slot} did not come up");
                }
            });
            self.say_slot(task, other);
        }
    }

    fn amend(&mut self, task: &TaskId, slot: Slot, change: impl FnOnce(&mut SlotRecord)) {
        let daemon = self.daemons.get_mut(task);
        if let Some(record) = daemon.and_then(|daemon| daemon.slot(slot)) {
            change(record);
        }
    }
}
