//! The keeper's decisions, pure: `handle(now, Event) -> Vec<Effect>`, no I/O and no clock. It owns what is
//! known of every run, its attempts, its retries and stop sequences, and the slots of every daemon. The shell
//! carries out the effects in their order and brings what happens back as events.
//!
//! A run ends when its command ends; what is left of its tree is then ended in the background by the same stop
//! sequence. A further attempt, the next process of a slot, and a run that replaces another wait until that
//! tree is gone.

mod daemon;
mod ending;
mod record;
mod recover;
mod run;
mod slot;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub use record::Record;
pub use recover::{Attempt, Recovered};

use self::daemon::Daemon;
use self::run::{Run, Tree};
use super::wire::{self, Assignment, BootMs, Start};
use crate::model::{BootId, Outcome, Revision, RunId, RunRef, Slot, TaskId, TaskText, UnixMs};

/// An attempt of a run: what is started, and what has a tree of processes.
pub type Key = (RunId, u16);

/// Time between two KILLs of a tree that is not gone yet.
const REKILL: Duration = Duration::from_millis(100);
/// Confirmed runs are looked at this often for those whose `start_before` is past.
const FORGET_EVERY: Duration = Duration::from_secs(10);

/// The instant of an event on both clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// The boot-time clock, by which everything is timed.
    pub boot: BootMs,
    /// The center's time, for reports.
    pub center: UnixMs,
}

impl Now {
    /// The center's time at another instant of this boot.
    pub fn center_at(&self, boot: BootMs) -> UnixMs {
        if boot >= self.boot {
            self.center.plus(boot.since(self.boot))
        } else {
            self.center.minus(self.boot.since(boot))
        }
    }
}

/// How a command ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Exit {
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// Nobody could see it; why.
    Unknown(String),
}

/// Why an attempt did not reach its command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The host's policy says no.
    Refused(String),
    /// Something that the command needs is not there.
    Setup(String),
    /// execve failed: 127 not found, 126 not executable.
    Exec {
        /// The exit code a shell would give.
        code: i32,
        /// Why.
        reason: String,
    },
    /// The lease ended before the clone; nothing was started.
    Lease,
    /// Disk or descriptors refused the start's record or output; nothing was started.
    Unrecorded(String),
}

/// What is known of the output at an attempt's end.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct OutputEnd {
    /// Bytes written.
    pub bytes: Option<u64>,
    /// The last of them.
    pub tail: Option<String>,
}

/// What happens to the keeper.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// An agent has connected and wants the whole set.
    Connected,
    /// Start a run.
    Start(Box<Start>),
    /// Stop sequence.
    Stop {
        /// The run.
        run_id: RunId,
        /// Why.
        reason: String,
    },
    /// One signal.
    Kill {
        /// The run.
        run_id: RunId,
        /// Its number.
        signal: i32,
        /// Why.
        reason: String,
    },
    /// Keep a daemon alive.
    Assign(Box<Assignment>),
    /// Keep it alive no longer.
    Withdraw {
        /// The task.
        task: TaskId,
        /// Why.
        reason: String,
    },
    /// New processes.
    Restart {
        /// The task.
        task: TaskId,
        /// One after the other.
        one_by_one: bool,
        /// Why.
        reason: String,
    },
    /// The center has stored an ending.
    Forget {
        /// The run.
        run_id: RunId,
    },
    /// End everything.
    Shutdown,
    /// An attempt runs.
    Launched {
        /// The attempt.
        key: Key,
        /// The command's own pid.
        pid: i32,
        /// When it was executed.
        at: BootMs,
    },
    /// An attempt did not reach its command.
    NotLaunched {
        /// The attempt.
        key: Key,
        /// Why.
        failure: Failure,
    },
    /// A recorded start turned out not to have been executed (by the keeper before this one).
    NotExecuted {
        /// The attempt.
        key: Key,
    },
    /// A command ended.
    Exited {
        /// The attempt.
        key: Key,
        /// How.
        exit: Exit,
        /// Its output.
        output: OutputEnd,
    },
    /// No process of an attempt is left.
    TreeGone {
        /// The attempt.
        key: Key,
    },
    /// A time that [`Supervisor::next_wake`] named has come.
    Wake,
}

/// What the shell starts.
#[derive(Clone, PartialEq, Debug)]
pub struct Order {
    /// The run.
    pub run: RunRef,
    /// The attempt.
    pub attempt: u16,
    /// The text.
    pub text: Arc<TaskText>,
    /// For `UCRON_EPOCH`.
    pub epoch: crate::model::Epoch,
    /// Not after this.
    pub not_after: Option<BootMs>,
}

/// What the shell does, in this order.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Writes this down before anything that follows.
    Record(Record),
    /// Starts an attempt and says [`Event::Launched`] or [`Event::NotLaunched`].
    Launch(Box<Order>),
    /// Sends a signal to every process of an attempt.
    Signal {
        /// The attempt.
        key: Key,
        /// The signal's number.
        signal: i32,
    },
    /// Tells the agent, if there is one.
    Say(wire::Event),
    /// Tells the agent once all records so far are on the disk.
    SayRecorded(wire::Event),
    /// Ends the keeper: everything it held has ended.
    End,
}

/// What must be done at a time; checked against the state when it comes, so none is ever taken back.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Timer {
    /// An attempt has run for its timeout.
    Timeout(Key),
    /// KILL for a tree.
    Kill(Key),
    /// The next attempt is due.
    Retry(RunId),
    /// A slot has run for its `start_seconds`, or its backoff or parole is over.
    Slot(TaskId, Slot),
    /// Confirmed runs may be forgotten.
    Forget,
}

/// The keeper's knowledge.
#[derive(Debug)]
pub struct Supervisor {
    boot_id: BootId,
    /// Tells this keeper from others of its host: two of them may start a slot of one task in one millisecond.
    place: String,
    runs: BTreeMap<RunId, Run>,
    trees: BTreeMap<Key, Tree>,
    daemons: BTreeMap<TaskId, Daemon>,
    texts: BTreeMap<(TaskId, Revision), Arc<TaskText>>,
    timers: BTreeSet<(BootMs, Timer)>,
    /// Runs confirmed and not yet forgotten.
    confirmed: BTreeSet<RunId>,
    /// Runs that wait for another's tree to be gone.
    pending: BTreeSet<RunId>,
    /// Daemon runs started by this keeper; with the instant it makes their ids unique.
    started: u64,
    ending: bool,
    effects: Vec<Effect>,
}

impl Supervisor {
    /// Names this keeper for the ids of its daemons' runs: by its state directory.
    pub fn set_place(&mut self, place: String) {
        self.place = place;
    }

    /// Knows nothing yet.
    pub fn new(boot_id: BootId) -> Self {
        Self {
            boot_id,
            place: String::new(),
            runs: BTreeMap::new(),
            trees: BTreeMap::new(),
            daemons: BTreeMap::new(),
            texts: BTreeMap::new(),
            timers: BTreeSet::new(),
            confirmed: BTreeSet::new(),
            pending: BTreeSet::new(),
            started: 0,
            ending: false,
            effects: Vec::new(),
        }
    }

    /// The decision table.
    pub fn handle(&mut self, now: Now, event: Event) -> Vec<Effect> {
        match event {
            Event::Connected => self.say_all(now),
            Event::Start(start) => self.start(now, *start),
            Event::Stop { run_id, reason } => self.stop(now, &run_id, &reason),
            Event::Kill {
                run_id,
                signal,
                reason,
            } => self.kill(now, &run_id, signal, reason),
            Event::Assign(assignment) => self.assign(now, *assignment),
            Event::Withdraw { task, reason } => self.withdraw(now, &task, &reason),
            Event::Restart {
                task,
                one_by_one,
                reason,
            } => self.restart(now, &task, one_by_one, &reason),
            Event::Forget { run_id } => self.confirm(now, &run_id),
            Event::Shutdown => self.shut_down(now),
            Event::Launched { key, pid, at } => self.launched(now, &key, pid, at),
            Event::NotLaunched { key, failure } => self.not_launched(now, &key, failure),
            Event::NotExecuted { key } => self.not_executed(now, &key),
            Event::Exited { key, exit, output } => self.exited(now, &key, &exit, output),
            Event::TreeGone { key } => self.tree_gone(now, &key),
            Event::Wake => self.wake(now),
        }
        self.end_if_done();
        std::mem::take(&mut self.effects)
    }

    /// When [`Event::Wake`] is next wanted. Times that nobody waits for any more wake nobody.
    pub fn next_wake(&mut self) -> Option<BootMs> {
        while let Some((at, timer)) = self.timers.first() {
            if self.is_wanted(*at, timer) {
                return Some(*at);
            }
            self.timers.pop_first();
        }
        None
    }

    fn is_wanted(&self, at: BootMs, timer: &Timer) -> bool {
        match timer {
            Timer::Timeout(key) => self.runs.get(&key.0).is_some_and(|run| run.runs(key.1)),
            Timer::Kill(key) => self
                .trees
                .get(key)
                .is_some_and(|tree| tree.kill_at == Some(at)),
            Timer::Retry(run_id) => self.runs.get(run_id).is_some_and(|run| run.is_due(at)),
            Timer::Slot(task, slot) => self
                .daemons
                .get(task)
                .is_some_and(|daemon| daemon.is_due(*slot, at)),
            Timer::Forget => true,
        }
    }

    /// The text of an attempt's run, for what of its output is wanted at its end.
    pub fn text(&self, run_id: &RunId) -> Option<&TaskText> {
        self.runs.get(run_id).map(|run| run.text.as_ref())
    }

    /// Whether the run is known and has not ended.
    pub fn is_active(&self, run_id: &RunId) -> bool {
        self.runs.get(run_id).is_some_and(Run::is_active)
    }

    /// The attempt that runs, waits, or was the last.
    pub fn attempt(&self, run_id: &RunId) -> Option<u16> {
        self.runs.get(run_id).map(Run::attempt)
    }

    fn say(&mut self, event: wire::Event) {
        self.effects.push(Effect::Say(event));
    }

    fn record(&mut self, record: Record) {
        self.effects.push(Effect::Record(record));
    }

    fn at(&mut self, at: BootMs, timer: Timer) {
        self.timers.insert((at, timer));
    }

    /// The one copy of a text; a record of it where it is new.
    fn intern(&mut self, text: TaskText) -> Arc<TaskText> {
        let key = (text.task.clone(), text.revision);
        if let Some(known) = self.texts.get(&key) {
            return Arc::clone(known);
        }
        self.record(Record::Text {
            text: Box::new(text.clone()),
        });
        let text = Arc::new(text);
        self.texts.insert(key, Arc::clone(&text));
        text
    }

    fn say_all(&mut self, now: Now) {
        let runs: Vec<_> = self.runs.values().map(|run| run.known(now)).collect();
        let daemons: Vec<_> = self.daemons.values().flat_map(Daemon::known).collect();
        for event in runs.into_iter().chain(daemons) {
            // What is said of endings must be on the disk, also here.
            self.effects.push(Effect::SayRecorded(event));
        }
        self.effects.push(Effect::SayRecorded(wire::Event::SetEnd));
    }

    fn wake(&mut self, now: Now) {
        while let Some((at, timer)) = self.timers.pop_first() {
            if at > now.boot {
                self.timers.insert((at, timer));
                break;
            }
            match timer {
                Timer::Timeout(key) => self.time_out(now, &key),
                Timer::Kill(key) => self.kill_tree(now, &key),
                Timer::Retry(run_id) => self.retry(now, &run_id),
                Timer::Slot(task, slot) => self.slot_due(now, &task, slot),
                Timer::Forget => self.forget_due(now),
            }
        }
    }

    fn confirm(&mut self, now: Now, run_id: &RunId) {
        let Some(run) = self.runs.get(run_id) else {
            return;
        };
        if run.is_active() {
            return;
        }
        if run.may_forget(now.boot) && !self.has_tree(run_id) {
            self.forget(run_id);
            return;
        }
        if self.confirmed.insert(run_id.clone()) {
            self.record(Record::Confirmed {
                run_id: run_id.clone(),
            });
        }
        if self.confirmed.len() == 1 {
            self.at(now.boot.plus(FORGET_EVERY), Timer::Forget);
        }
    }

    fn forget_due(&mut self, now: Now) {
        let may = |run_id: &&RunId| {
            let run = self.runs.get(*run_id);
            run.is_none_or(|run| run.may_forget(now.boot)) && !self.has_tree(run_id)
        };
        let due: Vec<RunId> = self.confirmed.iter().filter(may).cloned().collect();
        for run_id in due {
            self.forget(&run_id);
        }
        if !self.confirmed.is_empty() {
            self.at(now.boot.plus(FORGET_EVERY), Timer::Forget);
        }
    }

    fn forget(&mut self, run_id: &RunId) {
        self.confirmed.remove(run_id);
        self.record(Record::Forgotten {
            run_id: run_id.clone(),
        });
        let Some(run) = self.runs.remove(run_id) else {
            return;
        };
        let key = (run.text.task.clone(), run.text.revision);
        drop(run);
        // Two: the table's and this one's would be two; alone in the table means that nobody refers to it.
        if self
            .texts
            .get(&key)
            .is_some_and(|text| Arc::strong_count(text) == 1)
        {
            self.texts.remove(&key);
        }
    }

    fn shut_down(&mut self, now: Now) {
        self.ending = true;
        let reason = "the keeper was told to end every process";
        let active: Vec<RunId> = self
            .runs
            .values()
            .filter(|run| run.is_active())
            .map(|run| run.run.run_id.clone())
            .collect();
        for run_id in active {
            self.stop(now, &run_id, reason);
        }
        self.stop_slots(now, reason);
    }

    fn end_if_done(&mut self) {
        let done = self.trees.is_empty() && !self.runs.values().any(Run::is_active);
        if self.ending && done {
            self.effects.push(Effect::End);
        }
    }

    /// Whether processes of an attempt of this run may be left.
    fn has_tree(&self, run_id: &RunId) -> bool {
        let from = (run_id.clone(), 0);
        let to = (run_id.clone(), u16::MAX);
        self.trees.range(from..=to).next().is_some()
    }

    fn is_retryable(outcome: Outcome, stopped: bool) -> bool {
        outcome.is_retried() && !stopped
    }
}
