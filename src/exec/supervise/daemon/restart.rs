//! New processes for slots that have one, at once or one by one, and for those that have given up.

use super::super::{Now, Supervisor};
use super::Then;
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
    pub(super) fn roll(&mut self, now: Now, task: &TaskId) {
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

    /// A new text is a new chance for slots that have given up.
    pub(super) fn revive(&mut self, now: Now, task: &TaskId) {
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
}
