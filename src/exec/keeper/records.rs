//! The keeper's records: written before what they announce, synced before what must not be forgotten is said.

use std::collections::HashSet;

use tracing::{error, info, warn};

use super::{AGAIN_EVERY, Keeper};
use crate::exec::clock::boot_now;
use crate::exec::dir::{file_name, parse_file_name};
use crate::exec::error::KeeperError;
use crate::exec::failpoint::{self, Point};
use crate::exec::find::{Found, Search};
use crate::exec::mark::Marks;
use crate::exec::starter::{Child, Job};
use crate::exec::supervise::{Attempt, Effect, Event, Exit, Failure, Key, Order, Record};
use crate::exec::sys::Stage;
use crate::exec::tree::{self, Tree, Trees};
use crate::exec::wire::{self, BootMs};
use crate::exec::{launch, output, stub};
use crate::model::{Execute, StopSignal};

/// The journal is rewritten when it is this large and has grown to a multiple of what it must hold.
const REWRITE_AT: u64 = 4 * 1024 * 1024;
/// That multiple.
const REWRITE_GROWTH: u64 = 4;

impl Keeper {
    /// Writes records; where that fails they wait, and nothing that they announce may be done.
    pub(super) fn write(&mut self, records: Vec<Record>) -> Result<(), String> {
        if records.is_empty() {
            return Ok(());
        }
        if !self.backlog.is_empty() {
            self.write_backlog();
        }
        if self.backlog.is_empty() {
            match self.journal.append(&records) {
                Ok(()) => {
                    self.written += 1;
                    records
                        .iter()
                        .filter_map(written_point)
                        .for_each(failpoint::reach);
                    self.rewrite_if_large();
                    return Ok(());
                }
                Err(e) => {
                    error!(error = %e, "the keeper cannot write its records; nothing is started");
                    self.backlog = records;
                    self.next_again = Some(boot_now().plus(AGAIN_EVERY));
                    return Err(e.to_string());
                }
            }
        }
        self.backlog.extend(records);
        Err("earlier records could not be written yet".to_owned())
    }

    pub(super) fn write_backlog(&mut self) {
        if self.backlog.is_empty() {
            return;
        }
        match self.journal.append(&self.backlog) {
            Ok(()) => {
                info!(
                    records = self.backlog.len(),
                    "the keeper can write its records again"
                );
                self.backlog.clear();
                self.written += 1;
            }
            Err(_) => self.next_again = Some(boot_now().plus(AGAIN_EVERY)),
        }
    }

    pub(super) fn refuse_unrecorded(&mut self, order: &Order, why: &str) {
        let key = (order.run.run_id.clone(), order.attempt);
        let failure = Failure::Unrecorded(why.to_owned());
        self.tell(Event::NotLaunched { key, failure });
    }

    /// Tells the agent once everything recorded so far is on the disk.
    pub(super) fn say_recorded(&mut self, event: wire::Event) {
        let clean = self.backlog.is_empty() && self.synced == self.written && self.held.is_empty();
        if clean {
            self.say(&event);
            return;
        }
        let number = self.written + u64::from(!self.backlog.is_empty());
        self.held.push_back((number, event));
        self.start_sync();
    }

    /// One sync at a time; what comes meanwhile is in the next one.
    pub(super) fn start_sync(&mut self) {
        if self.syncing || self.synced == self.written {
            return;
        }
        self.syncing = true;
        self.syncs
            .push(Job::Sync(self.written, self.journal.handle()));
    }

    pub(super) fn synced(&mut self, number: u64, result: std::io::Result<()>) {
        self.syncing = false;
        match result {
            Ok(()) => {
                self.synced = self.synced.max(number);
                self.release_held();
                if !self.held.is_empty() {
                    self.start_sync();
                }
            }
            Err(e) => {
                error!(error = %e, "the keeper's records are not on the disk; results wait");
                self.next_again = Some(boot_now().plus(AGAIN_EVERY));
            }
        }
    }

    pub(super) fn release_held(&mut self) {
        while self
            .held
            .front()
            .is_some_and(|(number, _)| *number <= self.synced)
        {
            if let Some((_, event)) = self.held.pop_front() {
                if matches!(event, wire::Event::Ended { .. }) {
                    failpoint::reach(Point::KeeperEndedSynced);
                }
                self.say(&event);
            }
        }
    }

    fn rewrite_if_large(&mut self) {
        let size = self.journal.size();
        let large = size > REWRITE_AT && size > self.snapshot_size * REWRITE_GROWTH;
        // A child that is being started writes its mark meanwhile, and its record would be taken for older.
        if large && self.in_flight == 0 {
            self.rewrite();
        }
    }

    /// The journal anew, holding only what is known now; the marks are in it.
    fn rewrite(&mut self) {
        let records = self.supervisor.snapshot();
        if let Err(e) = self.journal.rewrite(&records) {
            warn!(error = %e, "the keeper cannot make its journal smaller");
            // Not again at every record.
            self.snapshot_size = self.journal.size();
            return;
        }
        self.snapshot_size = self.journal.size();
        self.synced = self.written;
        self.release_held();
        if let Err(e) = self.workshop.marks.set_len(0) {
            warn!(error = %e, "the keeper cannot empty its marks");
        }
    }

    /// What the damaged records still say stands in a new journal. Attempts that none of it names may be instances of
    /// what is started again: they are ended.
    pub(super) fn outlive_damage(&mut self, attempts: &[Attempt]) -> Result<(), KeeperError> {
        self.journal.rewrite(&self.supervisor.snapshot())?;
        let known: HashSet<&Key> = attempts.iter().map(|attempt| &attempt.key).collect();
        let mut found = names(&self.dir.stubs());
        if let Trees::Cgroup(base) = &self.workshop.trees {
            found.extend(names(base));
        }
        for key in found.iter().filter_map(|name| parse_file_name(name)) {
            if !known.contains(&key) {
                self.end_unknown(&key);
            }
        }
        Ok(())
    }

    fn end_unknown(&self, key: &Key) {
        for tree in self.search(&Marks::default()).trees(key) {
            error!(run = %file_name(key), "no record tells of this run any more; its processes are ended");
            if let Err(e) = tree.signal(StopSignal::KILL.number()) {
                warn!(run = %file_name(key), error = %e, "the keeper cannot signal a run");
            }
        }
    }

    fn search<'a>(&'a self, marks: &'a Marks) -> Search<'a> {
        Search {
            base: match &self.workshop.trees {
                Trees::Cgroup(base) => Some(base.clone()),
                Trees::Stub => None,
            },
            stubs: self.dir.stubs(),
            marks,
        }
    }

    /// Finds out what became of what a former keeper had under way, and goes on with it.
    pub(super) fn recover(
        &mut self,
        effects: Vec<Effect>,
        attempts: Vec<Attempt>,
        marks: &Marks,
    ) -> Result<(), KeeperError> {
        if self.journal.size() == 0 {
            let boot_id = self.boot_id.clone();
            self.journal.append(&[Record::Boot { boot_id }])?;
        }
        self.carry_out(effects);
        for attempt in attempts {
            self.recover_attempt(&attempt, marks);
        }
        let settled = self.supervisor.settle(self.clock.now());
        if self.in_flight == 0 {
            self.rewrite();
        }
        self.carry_out(settled);
        self.remove_leftovers();
        Ok(())
    }

    fn recover_attempt(&mut self, attempt: &Attempt, marks: &Marks) {
        let key = attempt.key.clone();
        match self.search(marks).find(attempt) {
            Found::NotExecuted if attempt.active => self.tell(Event::NotExecuted { key }),
            Found::Doubtful(why) if attempt.active => {
                let exit = Exit::Unknown(why);
                let output = output::end(&self.workshop.output, &key, None);
                let used = self.used(&key);
                self.tell(Event::Exited {
                    key,
                    exit,
                    output,
                    used,
                });
            }
            Found::NotExecuted | Found::Doubtful(_) => self.tell(Event::TreeGone { key }),
            Found::Failed(stage, errno) => self.recover_failed(key, stage, errno),
            Found::Runs {
                started,
                pidfd,
                tree,
            } => {
                self.recover_started(attempt, started);
                let child = Child {
                    pid: started.0,
                    pidfd: pidfd.filter(|_| attempt.active),
                    tree,
                };
                self.adopt(&key, child, !attempt.active);
            }
            Found::Ended {
                started,
                exit,
                tree,
                orphan,
            } => {
                self.recover_started(attempt, started);
                if let Some(orphan) = orphan {
                    tree::kill_session(started.0, &orphan);
                }
                if attempt.active {
                    let wanted = self.supervisor.wants_tail(&key.0);
                    let output = output::end(&self.workshop.output, &key, wanted);
                    let used = self.used(&key);
                    let key = key.clone();
                    self.tell(Event::Exited {
                        key,
                        exit,
                        output,
                        used,
                    });
                }
                self.recover_rest(key, started.0, tree);
            }
        }
    }

    /// A mark without a record: the attempt did run.
    fn recover_started(&mut self, attempt: &Attempt, (pid, at): (i32, BootMs)) {
        if attempt.active && attempt.started.is_none() {
            let key = attempt.key.clone();
            self.tell(Event::Launched { key, pid, at });
        }
    }

    fn recover_rest(&mut self, key: Key, pid: i32, tree: Option<Tree>) {
        match tree {
            Some(tree) => {
                let child = Child {
                    pid,
                    pidfd: None,
                    tree,
                };
                self.adopt(&key, child, true);
            }
            None => self.tell(Event::TreeGone { key }),
        }
    }

    fn recover_failed(&mut self, key: Key, stage: Stage, errno: i32) {
        let program = self
            .supervisor
            .text(&key.0)
            .map(|text| match &text.work.execute {
                Execute::Shell(_) => "/bin/sh".to_owned(),
                Execute::Vector(words) => words.first().cloned().unwrap_or_default(),
            })
            .unwrap_or_default();
        let failure = if stage == Stage::Exec {
            launch::exec_failure(&program, errno)
        } else {
            let error = std::io::Error::from_raw_os_error(errno);
            Failure::Setup(format!("{}: {error}", stage.words()))
        };
        self.tell(Event::NotLaunched { key, failure });
    }

    /// Empty cgroups and records of sub-reapers that nobody refers to any more.
    fn remove_leftovers(&self) {
        // What was begun anew is being made at this moment.
        let is_known =
            |key: Key| self.children.contains_key(&key) || self.supervisor.is_active(&key.0);
        let is_live = |name: &str| parse_file_name(name).is_some_and(is_known);
        if let Trees::Cgroup(base) = &self.workshop.trees {
            for name in names(base).iter().filter(|name| !is_live(name)) {
                // One that is in use stays.
                drop(std::fs::remove_dir(base.join(name)));
            }
        }
        let stubs = self.dir.stubs();
        for name in names(&stubs).iter().filter(|name| !is_live(name)) {
            let path = stubs.join(name);
            if stub::read(&path).exit.is_some() {
                drop(std::fs::remove_file(path));
            }
        }
    }
}

/// The row of the recovery table that begins when this is written.
fn written_point(record: &Record) -> Option<Point> {
    Some(match record {
        Record::Starting { .. } => Point::KeeperStartingWritten,
        Record::Started { .. } => Point::KeeperStartedWritten,
        Record::Stopping { .. } => Point::KeeperStopWritten,
        Record::Waiting { .. } => Point::KeeperWaitingWritten,
        Record::Ended { .. } => Point::KeeperEndedWritten,
        Record::Confirmed { .. } | Record::Forgotten { .. } => Point::KeeperForgetWritten,
        _ => return None,
    })
}

/// Names in a directory; none where it cannot be read.
pub(super) fn names(dir: &std::path::Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}
