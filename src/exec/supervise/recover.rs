//! What the keeper before this one knew, folded from its records, and the records that say the same again.

use std::sync::Arc;

use super::daemon::Daemon;
use super::run::{Phase, Run, Stop, Tree};
use super::{Effect, Key, Now, Record, Supervisor, Timer};
use crate::exec::wire::BootMs;
use crate::model::{BootId, Ending, Outcome, RunId, TaskText};

/// An attempt that was under way when the keeper before this one ended; the shell finds out what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// The attempt.
    pub key: Key,
    /// Its clone happened after this.
    pub not_before: BootMs,
    /// The pid and the time by which it was alive, where that was recorded.
    pub started: Option<(i32, BootMs)>,
    /// Whether the run's outcome is still open; otherwise only its tree may be left.
    pub active: bool,
}

/// What recovery found.
#[derive(Debug)]
pub struct Recovered {
    /// The knowledge.
    pub supervisor: Supervisor,
    /// What was under way in this boot.
    pub attempts: Vec<Attempt>,
    /// What is to be done first.
    pub effects: Vec<Effect>,
}

impl Supervisor {
    /// Folds records of former keepers. What was active in another boot is `lost`, and its daemons wait for the
    /// agent to assign them again.
    pub fn recover(records: Vec<Record>, boot_id: &BootId, now: Now) -> Recovered {
        let mut supervisor = Self::new(boot_id.clone());
        let mut boot: Option<BootId> = None;
        let mut attempts = Vec::new();
        for record in records {
            if let Record::Boot { boot_id } = record {
                if boot.is_some_and(|last| last != boot_id) {
                    supervisor.drop_boot();
                    attempts.clear();
                }
                boot = Some(boot_id);
            } else if let Record::Damaged { at } = record {
                supervisor.doubt(at, now);
            } else {
                supervisor.fold(record, &mut attempts);
            }
        }
        // Where the record of the boot is among those lost, what runs is found by its identity, or not.
        let same = boot
            .as_ref()
            .map_or(supervisor.damaged_at.is_some(), |boot| boot == boot_id);
        if same {
            supervisor.resume(now, &mut attempts);
        } else {
            attempts.clear();
            supervisor.outlive_boot(now);
        }
        let effects = std::mem::take(&mut supervisor.effects);
        Recovered {
            supervisor,
            attempts,
            effects,
        }
    }

    /// What held in one boot only.
    fn drop_boot(&mut self) {
        self.daemons.clear();
        self.trees.clear();
        self.damaged_at = None;
        // Instants of another boot's clock mean nothing, and nothing of it can start any more.
        for run in self.runs.values_mut() {
            run.start_before = None;
        }
    }

    fn fold(&mut self, record: Record, attempts: &mut Vec<Attempt>) {
        match record {
            Record::Boot { .. } | Record::Damaged { .. } => {}
            Record::Text { text } => {
                let key = (text.task.clone(), text.revision);
                self.texts.insert(key, Arc::from(text));
            }
            Record::Accepted {
                run,
                epoch,
                start_before,
                after,
            } => {
                let Some(text) = self.texts.get(&(run.task.clone(), run.revision)) else {
                    return;
                };
                let text = Arc::clone(text);
                self.fold_slot_start(&run);
                let run = Run {
                    text,
                    epoch,
                    start_before,
                    not_after: None,
                    first_started_at: None,
                    phase: Phase::Pending {
                        after: after.unwrap_or_else(|| run.run_id.clone()),
                    },
                    stop: None,
                    last_output: None,
                    run,
                };
                self.runs.insert(run.run.run_id.clone(), run);
            }
            Record::Forgotten { run_id } => {
                self.runs.remove(&run_id);
                self.confirmed.remove(&run_id);
                self.trees.retain(|key, _| key.0 != run_id);
                attempts.retain(|attempt| attempt.key.0 != run_id);
            }
            Record::Confirmed { run_id } => drop(self.confirmed.insert(run_id)),
            Record::Assigned {
                task,
                revision,
                epoch,
            } => self.fold_assigned(task, revision, epoch),
            Record::Withdrawn { task, finish } => self.fold_withdrawn(&task, finish),
            Record::Slot { task, slot, rest } => self.fold_slot(&task, slot, rest),
            Record::Rolling { task, roll } => self.fold_roll(&task, roll),
            record => self.fold_run(record, attempts),
        }
    }

    fn fold_run(&mut self, record: Record, attempts: &mut Vec<Attempt>) {
        let (Record::Starting { run_id, .. }
        | Record::Started { run_id, .. }
        | Record::Stopping { run_id, .. }
        | Record::Waiting { run_id, .. }
        | Record::Ended { run_id, .. }) = &record
        else {
            return;
        };
        let Some(run) = self.runs.get_mut(run_id) else {
            return;
        };
        match record {
            Record::Starting {
                run_id,
                attempt,
                at,
            } => {
                run.phase = Phase::Starting { attempt, at };
                let key = (run_id, attempt);
                // Recorded again where a keeper found that it had not been executed: one attempt all the same.
                attempts.retain(|known| known.key != key);
                attempts.push(Attempt {
                    key,
                    not_before: at,
                    started: None,
                    active: true,
                });
            }
            Record::Started {
                attempt,
                pid,
                boot,
                at,
                run_id,
            } => {
                run.first_started_at.get_or_insert(at);
                let ordered = match run.phase {
                    Phase::Starting { at, .. } => at,
                    _ => boot,
                };
                run.phase = Phase::Running {
                    attempt,
                    pid,
                    since: boot,
                    ordered,
                };
                let key = (run_id, attempt);
                if let Some(known) = attempts.iter_mut().rev().find(|known| known.key == key) {
                    known.started = Some((pid, boot));
                }
                self.trees.insert(key, Tree::default());
            }
            Record::Stopping {
                run_id,
                outcome,
                reason,
                kill_at,
            } => {
                run.stop = Some(Stop { outcome, reason });
                let key = (run_id, run.attempt());
                if let Some(tree) = self.trees.get_mut(&key) {
                    tree.kill_at = kill_at;
                }
            }
            Record::Waiting {
                ending,
                due,
                next_at,
                ..
            } => {
                run.stop = None;
                run.phase = Phase::Waiting {
                    last: ending,
                    due,
                    next_at,
                };
            }
            Record::Ended { ending, .. } => run.phase = Phase::Ended(ending),
            _ => {}
        }
    }

    /// The same boot: timers are set again, slots find their processes.
    fn resume(&mut self, now: Now, attempts: &mut [Attempt]) {
        // Only the last attempt can be open; of former ones the tree at most is left.
        for attempt in attempts.iter_mut() {
            let run = self.runs.get(&attempt.key.0);
            attempt.active = run.is_some_and(|run| {
                run.attempt() == attempt.key.1
                    && matches!(run.phase, Phase::Starting { .. } | Phase::Running { .. })
            });
        }
        let mut timers = Vec::new();
        for (run_id, run) in &self.runs {
            match &run.phase {
                Phase::Running { attempt, since, .. } => {
                    if let Some(timeout) = run.text.work.timeout {
                        let key = (run_id.clone(), *attempt);
                        timers.push((since.plus(timeout), Timer::Timeout(key)));
                    }
                }
                Phase::Waiting { due, .. } => timers.push((*due, Timer::Retry(run_id.clone()))),
                Phase::Pending { .. } => drop(self.pending.insert(run_id.clone())),
                Phase::Starting { .. } | Phase::Ended(_) => {}
            }
        }
        let is_left = |run: &Run| matches!(&run.phase, Phase::Ended(of) if run.leaves(of.outcome));
        let left: Vec<Key> = self
            .trees
            .keys()
            .filter(|key| self.runs.get(&key.0).is_some_and(is_left))
            .cloned()
            .collect();
        for key in left {
            self.leave(&key);
        }
        for (key, tree) in &mut self.trees {
            let run = self.runs.get(&key.0).filter(|run| !run.is_active());
            if let Some(run) = run {
                // The rest of a run that is over: its stop sequence had begun.
                tree.kill_at
                    .get_or_insert(now.boot.plus(run.text.work.grace));
            }
            if let Some(at) = tree.kill_at {
                timers.push((at, Timer::Kill(key.clone())));
            }
        }
        self.timers.extend(timers);
        self.timers.insert((now.boot, Timer::Forget));
        self.resume_slots(now);
    }

    /// Called when the shell has found out what became of the attempts: every daemon gets its slots, and what
    /// waited for a run that is over starts. After damage the agent says first which daemons there are: one may have
    /// been withdrawn.
    pub fn settle(&mut self, now: Now) -> Vec<Effect> {
        let stopping = self.trees.iter().filter(|(_, tree)| tree.kill_at.is_some());
        let stopping: Vec<Key> = stopping.map(|(key, _)| key.clone()).collect();
        let sure = self.damaged_at.is_none();
        let tasks: Vec<_> = self.daemons.keys().filter(|_| sure).cloned().collect();
        for task in tasks {
            self.settle_slots(now, &task);
        }
        let waiting: Vec<RunId> = self.pending.iter().cloned().collect();
        for run_id in waiting {
            self.release(now, &run_id);
        }
        for key in stopping {
            if let Some(tree) = self.trees.get_mut(&key) {
                tree.doubtful = true;
            }
        }
        std::mem::take(&mut self.effects)
    }

    /// Another boot: nothing that was active is left. A run that waited for a retry ends as its last attempt did.
    fn outlive_boot(&mut self, now: Now) {
        self.drop_boot();
        self.effects.push(Effect::Record(Record::Boot {
            boot_id: self.boot_id.clone(),
        }));
        let active: Vec<RunId> = self
            .runs
            .iter()
            .filter(|(_, run)| run.is_active())
            .map(|(run_id, _)| run_id.clone())
            .collect();
        for run_id in active {
            if let Some(ending) = self.runs.get(&run_id).map(|run| after_reboot(run, now)) {
                self.end(now, &run_id, &ending);
            }
        }
        let confirmed: Vec<RunId> = self.confirmed.iter().cloned().collect();
        for run_id in confirmed {
            self.forget(&run_id);
        }
    }

    /// The records that say what is known now, for a new journal.
    pub fn snapshot(&self) -> Vec<Record> {
        let mut records = vec![Record::Boot {
            boot_id: self.boot_id.clone(),
        }];
        records.extend(self.damaged_at.map(|at| Record::Damaged { at }));
        records.extend(self.texts.values().map(|text| Record::Text {
            text: Box::new(TaskText::clone(text)),
        }));
        for run in self.runs.values() {
            self.snapshot_run(run, &mut records);
        }
        // After the runs: a slot's record is newer than the start of its run.
        records.extend(self.daemons.values().flat_map(Daemon::snapshot));
        records.extend(self.confirmed.iter().map(|run_id| Record::Confirmed {
            run_id: run_id.clone(),
        }));
        records
    }

    fn snapshot_run(&self, run: &Run, records: &mut Vec<Record>) {
        let run_id = run.run.run_id.clone();
        let after = match &run.phase {
            Phase::Pending { after } if *after != run_id => Some(after.clone()),
            _ => None,
        };
        records.push(Record::Accepted {
            run: run.run.clone(),
            epoch: run.epoch,
            start_before: run.start_before,
            after,
        });
        let starting = |attempt, at| Record::Starting {
            run_id: run_id.clone(),
            attempt,
            at,
        };
        match &run.phase {
            Phase::Pending { .. } => {}
            Phase::Starting { attempt, at } => records.push(starting(*attempt, *at)),
            Phase::Running {
                attempt,
                pid,
                since,
                ordered,
            } => {
                records.push(starting(*attempt, *ordered));
                records.push(Record::Started {
                    run_id: run_id.clone(),
                    attempt: *attempt,
                    pid: *pid,
                    boot: *since,
                    at: run.first_started_at.unwrap_or_default(),
                });
            }
            Phase::Waiting { last, due, next_at } => records.push(Record::Waiting {
                run_id: run_id.clone(),
                ending: last.clone(),
                due: *due,
                next_at: *next_at,
            }),
            Phase::Ended(ending) => {
                if let Some(pid) = ending.pid.filter(|_| self.has_processes(&run_id)) {
                    records.push(starting(ending.attempt, BootMs(0)));
                    records.push(Record::Started {
                        run_id: run_id.clone(),
                        attempt: ending.attempt,
                        pid,
                        boot: BootMs(0),
                        at: ending.started_at.unwrap_or_default(),
                    });
                }
                records.push(Record::Ended {
                    run_id: run_id.clone(),
                    ending: ending.clone(),
                });
            }
        }
        if let Some(stop) = &run.stop
            && run.is_active()
        {
            let tree = self.trees.get(&(run_id.clone(), run.attempt()));
            records.push(Record::Stopping {
                run_id,
                outcome: stop.outcome,
                reason: stop.reason.clone(),
                kill_at: tree.and_then(|tree| tree.kill_at),
            });
        }
    }
}

fn after_reboot(run: &Run, now: Now) -> Ending {
    let unstarted = |outcome, reason: &str| Ending::unstarted(outcome, reason, now.center);
    match &run.phase {
        Phase::Waiting { last, .. } => last.as_ref().clone(),
        // Its start is written, not synced: the record may have gone with the host.
        Phase::Pending { .. } => {
            unstarted(Outcome::Lost, "the host was restarted; it may have started")
        }
        _ => {
            let mut ending = unstarted(Outcome::Lost, "the host was restarted while it ran");
            ending.attempt = run.attempt();
            ending.started_at = run.first_started_at;
            ending
        }
    }
}
