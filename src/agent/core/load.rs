//! Journal to memory at start, memory to journal when it is made anew.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::estimate::Estimate;
use super::super::event::Now;
use super::super::record::{Planned, Record};
use super::super::runs::{Excuse, Held, Phase};
use super::refusal::Standing;
use super::texts::TextKey;
use super::{AgentCore, Assigned, KEEPER_PATIENCE, Memory};
use crate::exec::wire::BootMs;
use crate::model::{BootId, Incarnation, RunId};

/// How far the clock's estimates of two lives may differ.
const UNSURE: Duration = Duration::from_secs(1);

impl AgentCore {
    /// Takes the journal in. In a new boot nothing armed is good any more; what was decided, the assignments
    /// and the epoch are.
    pub(super) fn load(&mut self, records: Vec<Record>, now: Now) {
        self.appended = records.len();
        for record in records {
            self.load_one(record);
        }
        self.excuse_overdue(now);
        self.drop_texts();
        self.ready_by = now.boot.plus(KEEPER_PATIENCE);
        let held: Vec<RunId> = self.runs.iter().map(|h| h.run.run_id.clone()).collect();
        for run_id in held {
            self.may_report(&run_id);
        }
    }

    fn load_one(&mut self, record: Record) {
        match record {
            Record::Opened {
                incarnation,
                boot_id,
            } => self.open(incarnation, boot_id),
            Record::Refused => self.standing = Standing::Refused,
            Record::Admitted => self.standing = Standing::New,
            Record::Damaged => self.memory = Memory::Damaged,
            Record::Settled => self.memory = Memory::Whole,
            Record::Epoch { epoch } => self.epoch = self.epoch.max(epoch),
            Record::Offset {
                offset_ms,
                error_ms,
            } => {
                self.furthest = self.furthest.max(Some(offset_ms));
                self.clock.restore(offset_ms, error_ms);
            }
            Record::Text { text } => self.texts.insert(*text, true),
            Record::Planned(planned) => {
                let mut held = Held::armed(planned);
                held.on_disk = true;
                self.runs.insert(held);
            }
            Record::Cancelled { run_id } | Record::Dropped { run_id } => {
                self.runs.remove(&run_id);
            }
            Record::Queued { run_id } => self.runs.set(&run_id, Phase::Queued),
            Record::Closed {
                run,
                start_before,
                closing,
            } => {
                let phase = Phase::closed(closing, false);
                self.runs.insert(Held::known(run, start_before, phase));
            }
            Record::Assigned {
                task,
                revision,
                epoch,
            } => drop(self.assigned.insert(task, Assigned { revision, epoch })),
            Record::Withdrawn { task } => drop(self.assigned.remove(&task)),
        }
    }

    fn open(&mut self, incarnation: Incarnation, boot_id: BootId) {
        let rebooted = self.life.as_ref().is_some_and(|(_, last)| *last != boot_id);
        if rebooted {
            self.forget_boot();
        }
        self.life = Some((incarnation, boot_id));
    }

    /// What was good in the last boot only: armed runs, and every instant on its clock.
    fn forget_boot(&mut self) {
        self.clock = Estimate::default();
        self.furthest = None;
        let old = std::mem::take(&mut self.runs);
        for held in old
            .iter()
            .filter(|held| matches!(held.phase, Phase::Closed(_)))
        {
            let mut held = held.clone();
            held.start_before = BootMs(0);
            self.runs.insert(held);
        }
    }

    /// What was due before this start was due while no agent ran, or was given to the keeper by the life before,
    /// which no record says: it counts as given until the keeper has told its set.
    fn excuse_overdue(&mut self, now: Now) {
        // The life before may have known the center's clock a little otherwise.
        let horizon = now.boot.plus(UNSURE);
        self.doubted_until = horizon;
        let armed = self.runs.iter().filter(|held| held.phase == Phase::Armed);
        for mut held in armed.cloned().collect::<Vec<_>>() {
            self.doubt(&mut held, now);
            self.runs.insert(held);
        }
    }

    /// Of a run that was due before this life only the keeper's set will tell whether a former one started it, also
    /// where the journal does not know the run: its record may have failed after the start.
    pub(super) fn doubt(&self, held: &mut Held, now: Now) {
        // The center's clock may have been set back since that life.
        let earlier = self.furthest.map_or(BootMs(u64::MAX), |offset_ms| {
            BootMs(u64::try_from(held.run.fire_at().0 - offset_ms).unwrap_or(0))
        });
        let due = self.clock.fire_at(held.run.fire_at(), now).min(earlier);
        if due <= self.doubted_until {
            held.excuse = Excuse::AgentDown;
            held.phase = Phase::Starting;
        }
    }

    /// The records that give this memory again.
    pub(super) fn snapshot(&mut self) -> Vec<Record> {
        self.drop_texts();
        let mut records = Vec::new();
        if let Some((incarnation, boot_id)) = self.life.clone() {
            records.push(Record::Opened {
                incarnation,
                boot_id,
            });
        }
        if self.is_refused() {
            records.push(Record::Refused);
        }
        if self.memory == Memory::Damaged {
            records.push(Record::Damaged);
        }
        records.push(Record::Epoch { epoch: self.epoch });
        if let Some(offset_ms) = self.furthest {
            records.push(Record::Offset {
                offset_ms,
                error_ms: 0,
            });
        }
        if let Some((offset_ms, error_ms)) = self.clock.offset() {
            records.push(Record::Offset {
                offset_ms,
                error_ms,
            });
        }
        self.snapshot_texts(&mut records);
        for (task, assigned) in &self.assigned {
            records.push(Record::Assigned {
                task: task.clone(),
                revision: assigned.revision,
                epoch: assigned.epoch,
            });
        }
        for held in self.runs.iter() {
            snapshot_run(held, &mut records);
        }
        records
    }

    fn snapshot_texts(&mut self, records: &mut Vec<Record>) {
        for (task, revision) in self.used_texts() {
            self.texts.mark_written(&task, revision);
            if let Some(text) = self.texts.get(&task, revision) {
                let text = Box::new(text.clone());
                records.push(Record::Text { text });
            }
        }
    }

    /// Drops the texts that nothing needs any more.
    pub(super) fn drop_texts(&mut self) {
        let newest = !self.links.is_empty();
        self.texts.retain(&self.used_texts(), newest);
    }

    fn used_texts(&self) -> BTreeSet<TextKey> {
        let runs = self.runs.iter().filter(|held| held.is_open());
        let runs = runs.map(|held| (held.run.task.clone(), held.run.revision));
        let starting = self.runs.iter().filter(|h| h.phase == Phase::Starting);
        let starting = starting.map(|held| (held.run.task.clone(), held.run.revision));
        let assigned = self
            .assigned
            .iter()
            .map(|(task, a)| (task.clone(), a.revision));
        runs.chain(starting).chain(assigned).collect()
    }
}

/// What runs in the keeper is the keeper's to tell at the next start; what it has not answered for may have to
/// be given to it again.
fn snapshot_run(held: &Held, records: &mut Vec<Record>) {
    match &held.phase {
        Phase::Running { .. } | Phase::Waiting { .. } => {}
        Phase::Closed(closed) if closed.by_keeper => {}
        Phase::Closed(closed) => records.push(Record::Closed {
            run: held.run.clone(),
            start_before: held.start_before,
            closing: closed.closing.clone(),
        }),
        Phase::Armed | Phase::Due | Phase::Queued | Phase::Starting => {
            records.push(Record::Planned(Planned {
                run: held.run.clone(),
                start_before: held.start_before,
                catch_up: held.catch_up,
                epoch: held.epoch,
            }));
        }
    }
    if held.phase == Phase::Queued {
        let run_id = held.run.run_id.clone();
        records.push(Record::Queued { run_id });
    }
}
