//! What really happened on the hosts, and the promises that every step is held against.

use std::collections::{BTreeMap, BTreeSet};

use ucron::model::{Cause, Overlap, RunId, RunRef, Slot, TaskId, UnixMs};

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
    /// Its exit code by itself.
    pub exit: i32,
    /// Whether only KILL ends it.
    pub ignores_term: bool,
    /// Whether it has not ended.
    pub alive: bool,
}

/// Everything that was started.
#[derive(Debug, Default)]
pub struct Truth {
    /// By pid; a pid is never given twice.
    pub processes: BTreeMap<i32, Process>,
    started: BTreeSet<(RunId, u16)>,
    /// Runs by id that had a start.
    pub runs: BTreeSet<RunId>,
    /// Tasks whose stop was confirmed by every agent.
    pub stopped: BTreeSet<TaskId>,
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
        let early = run.scheduled_at.0 - process.started_at.0;
        if early > self.tolerance && run.cause != Cause::Daemon {
            self.broken
                .push(format!("{what} was started {early} ms early"));
        }
        let beside = self.alive().find(|other| is_second(other, &process));
        let beside = beside.map(|other| {
            format!(
                "{what} on host {} was started beside run {} on host {}",
                process.host, other.run.run_id, other.host
            )
        });
        self.broken.extend(beside);
        if run.cause == Cause::Rule && self.stopped.contains(&run.task) && process.attempt == 1 {
            self.broken
                .push(format!("{what} was started after its task was stopped"));
        }
        self.runs.insert(run.run_id.clone());
        let pid = i32::try_from(self.processes.len()).unwrap_or(0) + 1_000;
        self.processes.insert(pid, process);
        pid
    }

    /// Commands that have not ended.
    pub fn alive(&self) -> impl Iterator<Item = &Process> {
        self.processes.values().filter(|process| process.alive)
    }

    /// Whether the run was started.
    pub fn has_started(&self, id: &RunId) -> bool {
        self.runs.contains(id)
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
