//! What really happened on the hosts, and the promises that every step is held against.

use std::collections::{BTreeMap, BTreeSet};

use ucron::model::{Cause, Overlap, RunId, RunRef, Slot, TaskId, UnixMs};

use crate::behaviour::Behaviour;

/// A command that was started.
#[derive(Clone, Debug)]
pub struct Process {
    /// Where.
    pub host: usize,
    /// Its run.
    pub run: RunRef,
    /// Its attempt.
    pub attempt: u16,
    /// Target `one`.
    pub one: bool,
    /// What the task says of overlap.
    pub overlap: Overlap,
    /// When it was started, in true time.
    pub started_at: UnixMs,
    /// What it does.
    pub behaviour: Behaviour,
    /// Whether it has not ended.
    pub alive: bool,
}

/// A task's stop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stop {
    /// The task.
    pub task: TaskId,
    /// When it was confirmed, by the center's clock; when it was asked for, until then.
    pub at: UnixMs,
    /// What runs may end.
    pub finish: bool,
}

impl Stop {
    /// What was due before may be under way to the keeper, or wait there for the end of what it replaces: the answer
    /// counts it as started, and the stop sequence follows it.
    fn forbids(&self, process: &Process) -> bool {
        let due_before = process.run.fire_at() <= self.at;
        process.run.cause.is_of_rule() && process.attempt == 1 && !due_before
    }

    /// Whether the stop sequence is to end it.
    fn ends(&self, process: &Process) -> bool {
        process.run.cause.is_of_rule() && !self.finish && !process.behaviour.ignores_term
    }
}

/// Everything that was started.
#[derive(Debug, Default)]
pub struct Truth {
    /// By pid; a pid is never given twice.
    pub processes: BTreeMap<i32, Process>,
    started: BTreeSet<(RunId, u16)>,
    /// Runs by id that had a start.
    pub runs: BTreeSet<RunId>,
    /// Tasks whose stop was confirmed by every agent, with its kind.
    pub stopped: BTreeMap<TaskId, Stop>,
    /// Hosts whose agents were removed.
    pub removed: BTreeSet<usize>,
    /// Runs that were given up as lost, so that others may start elsewhere.
    pub given_up: BTreeSet<RunId>,
    /// Runs that were due by a clock that was set back since, and whose host had no time to write that they started:
    /// nobody can know that they did.
    unknowable: BTreeSet<RunId>,
    /// How much earlier than due a host may believe it is, by its estimate of the center's clock.
    pub tolerance: i64,
    /// Broken promises.
    pub broken: Vec<String>,
}

impl Truth {
    /// A command starts. Holds it against the promises; gives it a pid.
    pub fn start(&mut self, process: Process) -> i32 {
        let run = &process.run;
        let what = format!("run {} attempt {}", run.run_id, process.attempt);
        if !self.started.insert((run.run_id.clone(), process.attempt)) {
            self.broken.push(format!("{what} was started twice"));
        }
        let early = run.fire_at().0 - process.started_at.0;
        if early > self.tolerance && run.cause != Cause::Daemon {
            self.broken
                .push(format!("{what} was started {early} ms early"));
        }
        // What a removed agent holds goes on there, and is given to others all the same; so may what was given up.
        let apart = |other: &Process| {
            let gone = |process: &Process| {
                self.removed.contains(&process.host) || self.given_up.contains(&process.run.run_id)
            };
            other.host != process.host && (gone(other) || gone(&process))
        };
        let is_beside = |other: &&Process| !apart(other) && is_second(other, &process);
        let beside = self.alive().find(is_beside);
        let beside = beside.map(|other| {
            format!(
                "{what} on host {} was started beside run {} on host {}",
                process.host, other.run.run_id, other.host
            )
        });
        self.broken.extend(beside);
        let stop = self.stopped.get(&run.task);
        // What a removed agent holds nobody can stop any more.
        let removed = self.removed.contains(&process.host);
        // Nor is known what was due before by a clock that was set back.
        let known = !removed && self.tolerance < i64::MAX;
        if known && stop.is_some_and(|stop| stop.forbids(&process)) {
            self.broken
                .push(format!("{what} was started after its task was stopped"));
        }
        self.runs.insert(run.run_id.clone());
        let pid = i32::try_from(self.processes.len()).unwrap_or(0) + 1_000;
        self.processes.insert(pid, process);
        pid
    }

    /// A host loses its power, and what it has not written.
    pub fn power_cut(&mut self, host: usize) {
        if self.tolerance == i64::MAX {
            let there = self.processes.values().filter(|of| of.host == host);
            self.unknowable
                .extend(there.map(|of| of.run.run_id.clone()));
        }
    }

    /// A command ended by itself, so long after its start that no stop sequence can have been on its way to it;
    /// nothing on its host kept one from it.
    pub fn ran_out(&mut self, process: &Process) {
        let stop = self.stopped.get(&process.run.task);
        let removed = self.removed.contains(&process.host);
        if !removed && stop.is_some_and(|stop| stop.ends(process)) {
            let run = &process.run.run_id;
            let why = format!("run {run} ran to its end though its task was stopped");
            self.broken.push(why);
        }
    }

    /// Commands that have not ended.
    pub fn alive(&self) -> impl Iterator<Item = &Process> {
        self.processes.values().filter(|process| process.alive)
    }

    /// Whether the run was started.
    pub fn has_started(&self, id: &RunId) -> bool {
        self.runs.contains(id)
    }

    /// Whether somebody could know that it was started.
    pub fn is_known_started(&self, id: &RunId) -> bool {
        self.has_started(id) && !self.unknowable.contains(id)
    }

    /// The hosts of a task's live commands, one entry each.
    pub fn hosts_of(&self, task: &TaskId) -> Vec<(usize, Slot)> {
        let mut hosts: Vec<_> = self
            .alive()
            .filter(|process| process.run.task == *task)
            .map(|process| (process.host, process.run.slot))
            .collect();
        hosts.sort_unstable();
        hosts
    }
}

/// Whether two live commands must not be at once.
fn is_second(old: &Process, new: &Process) -> bool {
    let same = old.run.task == new.run.task && old.run.slot == new.run.slot;
    let daemon = new.run.cause == Cause::Daemon;
    let place = old.host == new.host || (old.one && new.one);
    same && place && (new.overlap != Overlap::Allow || daemon)
}
