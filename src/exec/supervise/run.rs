//! One run: from its acceptance over its attempts to its outcome, and the trees of its attempts.

use std::sync::Arc;
use std::time::Duration;

use super::{Effect, Exit, Failure, Key, Now, Order, OutputEnd, REKILL, Record, Supervisor, Timer};
use crate::exec::wire::{self, BootMs, RunState, Start};
use crate::exec::words;
use crate::model::{Cause, Ending, Epoch, Outcome, Output, RunId, RunRef, TaskText, UnixMs};

/// What is known of a run.
#[derive(Debug)]
pub(super) struct Run {
    #[allow(
        clippy::struct_field_names,
        reason = "a run's reference is called so everywhere"
    )]
    pub run: RunRef,
    pub text: Arc<TaskText>,
    pub epoch: Epoch,
    pub start_before: Option<BootMs>,
    /// The lease; not recorded, because only the keeper that got the order may still start it.
    pub not_after: Option<BootMs>,
    pub first_started_at: Option<UnixMs>,
    pub phase: Phase,
    pub stop: Option<Stop>,
    /// The end of the output, for the reason of a fatal slot.
    pub last_output: Option<String>,
}

/// Where a run stands.
#[derive(Debug)]
pub(super) enum Phase {
    /// Waits for another run's tree to be gone.
    Pending { after: RunId },
    /// Recorded and handed to the shell.
    Starting { attempt: u16, at: BootMs },
    /// Its command runs.
    Running {
        attempt: u16,
        pid: i32,
        since: BootMs,
        /// When the clone was ordered: the process is not older.
        ordered: BootMs,
    },
    /// The next attempt is due.
    Waiting {
        last: Box<Ending>,
        due: BootMs,
        next_at: UnixMs,
    },
    /// Has its outcome.
    Ended(Box<Ending>),
}

/// An end that was decided before the command's own.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    pub outcome: Outcome,
    pub reason: String,
}

/// The processes of an attempt, from its launch until none is left.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// When KILL follows, once the stop sequence has begun.
    pub kill_at: Option<BootMs>,
}

impl Run {
    pub fn is_active(&self) -> bool {
        !matches!(self.phase, Phase::Ended(_))
    }

    pub fn attempt(&self) -> u16 {
        match &self.phase {
            Phase::Pending { .. } => 1,
            Phase::Starting { attempt, .. } | Phase::Running { attempt, .. } => *attempt,
            Phase::Waiting { last, .. } => last.attempt.saturating_add(1),
            Phase::Ended(ending) => ending.attempt,
        }
    }

    /// Whether this attempt's command runs.
    pub fn runs(&self, wanted: u16) -> bool {
        matches!(self.phase, Phase::Running { attempt, .. } if attempt == wanted)
    }

    /// Whether the next attempt is due at this time.
    pub fn is_due(&self, at: BootMs) -> bool {
        matches!(self.phase, Phase::Waiting { due, .. } if due == at)
    }

    pub fn may_forget(&self, now: BootMs) -> bool {
        self.start_before.is_none_or(|limit| limit < now)
    }

    pub fn known(&self, now: Now) -> wire::Event {
        let waits = |attempt, next_at| RunState::Waiting {
            attempt,
            next_at,
            started_at: self.first_started_at.unwrap_or(now.center),
        };
        let state = match &self.phase {
            Phase::Pending { .. } | Phase::Starting { .. } => waits(self.attempt(), now.center),
            Phase::Running { attempt, pid, .. } => RunState::Running {
                attempt: *attempt,
                pid: *pid,
                started_at: self.first_started_at.unwrap_or(now.center),
            },
            Phase::Waiting { next_at, .. } => waits(self.attempt(), *next_at),
            Phase::Ended(ending) => RunState::Ended(ending.clone()),
        };
        wire::Event::Known {
            run: self.run.clone(),
            state,
        }
    }
}

impl Supervisor {
    pub(super) fn start(&mut self, now: Now, start: Start) {
        if let Some(run) = self.runs.get(&start.run.run_id) {
            let known = match &run.phase {
                Phase::Ended(ending) => wire::Event::Ended {
                    run: run.run.clone(),
                    ending: ending.as_ref().clone(),
                },
                _ => run.known(now),
            };
            self.effects.push(Effect::SayRecorded(known));
            return;
        }
        if let Some(reason) = self.refuses(now, &start) {
            let run_id = start.run.run_id;
            self.say(wire::Event::NotStarted { run_id, reason });
            return;
        }
        let after = start
            .replaces
            .clone()
            .and_then(|old| self.replace(now, &old, &start.run.run_id));
        let run_id = start.run.run_id.clone();
        let late = start.start_before.filter(|limit| *limit < now.boot);
        self.accept(start, after.clone());
        if let Some(limit) = late {
            self.miss(now, &run_id, limit);
        } else if after.is_none() {
            self.launch(now, &run_id, 1);
        }
    }

    fn refuses(&self, now: Now, start: &Start) -> Option<String> {
        if self.ending {
            return Some("the keeper is ending every process".to_owned());
        }
        let over = start.not_after.filter(|limit| *limit < now.boot)?;
        Some(format!(
            "the session lease ended {} ago",
            words::span(now.boot.since(over))
        ))
    }

    /// Stops the run that another takes the place of; the run to wait for, if there is one.
    fn replace(&mut self, now: Now, old: &RunId, new: &RunId) -> Option<RunId> {
        let waits_for = match &self.runs.get(old)?.phase {
            Phase::Pending { after } => after.clone(),
            _ => old.clone(),
        };
        self.stop(now, old, &format!("replaced by run {new}"));
        let left =
            self.runs.get(&waits_for).is_some_and(Run::is_active) || self.has_tree(&waits_for);
        left.then_some(waits_for)
    }

    fn accept(&mut self, start: Start, after: Option<RunId>) {
        let text = self.intern(start.text);
        self.record(Record::Accepted {
            run: start.run.clone(),
            epoch: start.epoch,
            start_before: start.start_before,
            after: after.clone(),
        });
        let phase = Phase::Pending {
            after: after.unwrap_or_else(|| start.run.run_id.clone()),
        };
        let run = Run {
            run: start.run,
            text,
            epoch: start.epoch,
            start_before: start.start_before,
            not_after: start.not_after,
            first_started_at: None,
            phase,
            stop: None,
            last_output: None,
        };
        if let Phase::Pending { after } = &run.phase
            && *after != run.run.run_id
        {
            self.pending.insert(run.run.run_id.clone());
        }
        self.runs.insert(run.run.run_id.clone(), run);
    }

    /// Accepts a daemon's run and launches it.
    pub(super) fn start_daemon_run(
        &mut self,
        now: Now,
        run: RunRef,
        text: &TaskText,
        epoch: Epoch,
    ) {
        let run_id = run.run_id.clone();
        let start = Start {
            run,
            text: text.clone(),
            epoch,
            start_before: None,
            not_after: None,
            replaces: None,
        };
        self.accept(start, None);
        self.launch(now, &run_id, 1);
    }

    fn launch(&mut self, now: Now, run_id: &RunId, attempt: u16) {
        let Some(run) = self.runs.get_mut(run_id) else {
            return;
        };
        run.phase = Phase::Starting {
            attempt,
            at: now.boot,
        };
        let order = Order {
            run: run.run.clone(),
            attempt,
            text: Arc::clone(&run.text),
            epoch: run.epoch,
            not_after: run.not_after.filter(|_| attempt == 1),
        };
        self.record(Record::Starting {
            run_id: run_id.clone(),
            attempt,
            at: now.boot,
        });
        self.effects.push(Effect::Launch(Box::new(order)));
    }

    /// Starts a run that waited for another's tree.
    fn launch_pending(&mut self, now: Now, run_id: &RunId) {
        let Some(run) = self.runs.get(run_id) else {
            return;
        };
        match run.start_before.filter(|limit| *limit < now.boot) {
            Some(limit) => self.miss(now, run_id, limit),
            None => self.launch(now, run_id, 1),
        }
    }

    fn miss(&mut self, now: Now, run_id: &RunId, limit: BootMs) {
        let late = words::span(now.boot.since(limit));
        let reason = format!("too late: its time to start was over {late} ago");
        self.end(
            now,
            run_id,
            &Ending::unstarted(Outcome::Missed, reason, now.center),
        );
    }

    pub(super) fn launched(&mut self, now: Now, key: &Key, pid: i32, at: BootMs) {
        let Some(run) = self.runs.get_mut(&key.0) else {
            return;
        };
        let started_at = now.center_at(at);
        let ordered = match run.phase {
            Phase::Starting { at, .. } | Phase::Running { ordered: at, .. } => at,
            _ => at,
        };
        run.first_started_at.get_or_insert(started_at);
        run.phase = Phase::Running {
            attempt: key.1,
            pid,
            since: at,
            ordered,
        };
        let (reference, timeout) = (run.run.clone(), run.text.work.timeout);
        let stop = run.stop.clone();
        self.record(Record::Started {
            run_id: key.0.clone(),
            attempt: key.1,
            pid,
            boot: at,
            at: started_at,
        });
        self.trees.insert(key.clone(), Tree::default());
        if let Some(timeout) = timeout {
            self.at(at.plus(timeout), Timer::Timeout(key.clone()));
        }
        self.say(wire::Event::Started {
            run: reference.clone(),
            attempt: key.1,
            pid,
            started_at,
        });
        if reference.cause == Cause::Daemon {
            self.slot_launched(now, &reference, pid, at);
        }
        if let Some(stop) = stop {
            self.begin_stop(now, key, stop);
        }
    }

    pub(super) fn not_launched(&mut self, now: Now, key: &Key, failure: Failure) {
        let Some(run) = self.runs.get(&key.0) else {
            return;
        };
        let mut ending = Ending::unstarted(Outcome::Failed, String::new(), now.center);
        ending.attempt = key.1;
        ending.started_at = run.first_started_at;
        match failure {
            Failure::Lease => {
                let run_id = key.0.clone();
                let reason = "the session lease ended before the start".to_owned();
                self.forget(&run_id);
                self.say(wire::Event::NotStarted { run_id, reason });
                return;
            }
            Failure::Unrecorded(why) => {
                ending.outcome = Outcome::Missed;
                ending.attempt = key.1.saturating_sub(1);
                ending.reason = format!("this host could not start it: {why}");
            }
            Failure::Refused(why) => ending.reason = format!("refused: {why}"),
            Failure::Setup(why) => ending.reason = format!("setup: {why}"),
            Failure::Exec { code, reason } => {
                ending.exit_code = Some(code);
                ending.reason = format!("exec: {reason}");
                ending.started_at.get_or_insert(now.center);
                self.end_attempt(now, key, ending);
                return;
            }
        }
        self.end(now, &key.0, &ending);
    }

    /// The keeper before this one recorded the start, and no child marked it.
    pub(super) fn not_executed(&mut self, now: Now, key: &Key) {
        match self.runs.get(&key.0).map(|run| (&run.phase, &run.stop)) {
            Some((Phase::Starting { .. }, None)) if key.1 == 1 => self.launch_pending(now, &key.0),
            Some((Phase::Starting { .. }, None)) => self.launch(now, &key.0, key.1),
            Some((Phase::Starting { .. }, Some(stop))) => {
                let ending = Ending::unstarted(Outcome::Skipped, stop.reason.clone(), now.center);
                self.end(now, &key.0, &ending);
            }
            _ => {}
        }
    }

    pub(super) fn exited(&mut self, now: Now, key: &Key, exit: &Exit, mut output: OutputEnd) {
        let Some(run) = self.runs.get_mut(&key.0) else {
            return;
        };
        if run.text.work.output == Output::None {
            run.last_output = output.tail.take();
        }
        let (pid, since) = match &run.phase {
            Phase::Running {
                attempt,
                pid,
                since,
                ..
            } if *attempt == key.1 => (Some(*pid), Some(*since)),
            Phase::Starting { attempt, .. } if *attempt == key.1 => (None, None),
            _ => return,
        };
        if let (Some(since), Some(timeout)) = (since, run.text.work.timeout) {
            let timer = Timer::Timeout(key.clone());
            self.timers.remove(&(since.plus(timeout), timer));
        }
        let (outcome, reason) = judge(run, exit);
        let ending = Ending {
            outcome,
            reason,
            exit_code: match exit {
                Exit::Code(code) => Some(*code),
                _ => None,
            },
            signal: match exit {
                Exit::Signal(signal) => Some(*signal),
                _ => None,
            },
            pid,
            attempt: key.1,
            started_at: run.first_started_at,
            finished_at: now.center,
            output_bytes: output.bytes,
            tail: output.tail,
        };
        self.end_attempt(now, key, ending);
        self.sweep(now, key);
    }

    /// What the command left behind goes the way of the stop sequence.
    fn sweep(&mut self, now: Now, key: &Key) {
        if self
            .trees
            .get(key)
            .is_some_and(|tree| tree.kill_at.is_none())
        {
            self.begin_sequence(now, key);
        }
    }

    /// An attempt is over: a retry, or the run's outcome.
    fn end_attempt(&mut self, now: Now, key: &Key, ending: Ending) {
        let Some(run) = self.runs.get_mut(&key.0) else {
            return;
        };
        let stopped = run
            .stop
            .as_ref()
            .is_some_and(|stop| stop.outcome == Outcome::Stopped);
        let work = &run.text.work;
        let more = run.run.cause != Cause::Daemon && key.1 <= work.retries;
        if !(more && Self::is_retryable(ending.outcome, stopped) && !self.ending) {
            self.end(now, &key.0, &ending);
            return;
        }
        let wait = work.backoff.before(key.1.saturating_add(1));
        let (due, next_at) = (now.boot.plus(wait), now.center.plus(wait));
        run.stop = None;
        run.phase = Phase::Waiting {
            last: Box::new(ending.clone()),
            due,
            next_at,
        };
        let reference = run.run.clone();
        self.record(Record::Waiting {
            run_id: key.0.clone(),
            ending: Box::new(ending.clone()),
            due,
            next_at,
        });
        self.at(due, Timer::Retry(key.0.clone()));
        self.say(wire::Event::AttemptEnded {
            run: reference,
            ending,
            next_at,
        });
    }

    pub(super) fn retry(&mut self, now: Now, run_id: &RunId) {
        let Some(run) = self.runs.get(run_id) else {
            return;
        };
        let Phase::Waiting { due, .. } = &run.phase else {
            return;
        };
        let attempt = run.attempt();
        if *due <= now.boot && !self.has_tree(run_id) {
            self.launch(now, run_id, attempt);
        }
    }

    /// The run has its outcome.
    pub(super) fn end(&mut self, now: Now, run_id: &RunId, ending: &Ending) {
        let Some(run) = self.runs.get_mut(run_id) else {
            return;
        };
        run.phase = Phase::Ended(Box::new(ending.clone()));
        let reference = run.run.clone();
        self.pending.remove(run_id);
        self.record(Record::Ended {
            run_id: run_id.clone(),
            ending: Box::new(ending.clone()),
        });
        self.effects.push(Effect::SayRecorded(wire::Event::Ended {
            run: reference.clone(),
            ending: ending.clone(),
        }));
        if reference.cause == Cause::Daemon {
            self.slot_ended(now, &reference, ending);
        }
        self.release_waiting(now, run_id);
    }

    pub(super) fn stop(&mut self, now: Now, run_id: &RunId, reason: &str) {
        let Some(run) = self.runs.get_mut(run_id) else {
            return;
        };
        let stop = Stop {
            outcome: Outcome::Stopped,
            reason: reason.to_owned(),
        };
        match &run.phase {
            Phase::Pending { .. } => {
                let ending = Ending::unstarted(Outcome::Skipped, reason, now.center);
                self.end(now, run_id, &ending);
            }
            Phase::Starting { .. } => run.stop = Some(stop),
            Phase::Running { attempt, .. } => {
                let key = (run_id.clone(), *attempt);
                self.begin_stop(now, &key, stop);
            }
            Phase::Waiting { last, .. } => {
                let mut ending = last.as_ref().clone();
                ending.outcome = Outcome::Stopped;
                ending.reason = format!("{reason}, waiting for a retry; last: {}", ending.reason);
                ending.finished_at = now.center;
                self.end(now, run_id, &ending);
            }
            Phase::Ended(_) => {}
        }
    }

    fn begin_stop(&mut self, now: Now, key: &Key, stop: Stop) {
        let begun = self
            .trees
            .get(key)
            .is_some_and(|tree| tree.kill_at.is_some());
        let Some(run) = self.runs.get_mut(&key.0) else {
            return;
        };
        // The first reason counts, but a person's stop takes the retries that a timeout would leave.
        let newer = run
            .stop
            .as_ref()
            .is_none_or(|old| old.outcome != Outcome::Stopped);
        if newer {
            run.stop = Some(stop);
        }
        let stop = run.stop.clone();
        if !begun {
            self.begin_sequence(now, key);
        }
        let kill_at = self.trees.get(key).and_then(|tree| tree.kill_at);
        if let Some(stop) = stop {
            self.record(Record::Stopping {
                run_id: key.0.clone(),
                outcome: stop.outcome,
                reason: stop.reason,
                kill_at,
            });
        }
    }

    /// The stop signal to the tree now, KILL after `grace`.
    fn begin_sequence(&mut self, now: Now, key: &Key) {
        let Some(run) = self.runs.get(&key.0) else {
            return;
        };
        let (signal, grace) = (run.text.work.stop_signal.number(), run.text.work.grace);
        let kill_at = now.boot.plus(grace);
        if let Some(tree) = self.trees.get_mut(key) {
            tree.kill_at = Some(kill_at);
        }
        self.at(kill_at, Timer::Kill(key.clone()));
        self.effects.push(Effect::Signal {
            key: key.clone(),
            signal,
        });
    }

    pub(super) fn kill(&mut self, now: Now, run_id: &RunId, signal: i32, reason: String) {
        let Some(run) = self.runs.get_mut(run_id) else {
            return;
        };
        let Phase::Running { attempt, .. } = run.phase else {
            // There is no process to signal; the run ends all the same.
            self.stop(now, run_id, &reason);
            return;
        };
        let key = (run_id.clone(), attempt);
        run.stop = Some(Stop {
            outcome: Outcome::Stopped,
            reason: reason.clone(),
        });
        let kill_at = self.trees.get(&key).and_then(|tree| tree.kill_at);
        self.record(Record::Stopping {
            run_id: run_id.clone(),
            outcome: Outcome::Stopped,
            reason,
            kill_at,
        });
        self.effects.push(Effect::Signal { key, signal });
    }

    pub(super) fn time_out(&mut self, now: Now, key: &Key) {
        let Some(run) = self.runs.get(&key.0) else {
            return;
        };
        let begun = self
            .trees
            .get(key)
            .is_some_and(|tree| tree.kill_at.is_some());
        let strikes = run.runs(key.1) && !begun;
        let Some(timeout) = run.text.work.timeout.filter(|_| strikes) else {
            return;
        };
        let stop = Stop {
            outcome: Outcome::TimedOut,
            reason: format!("ran longer than {}", words::span(timeout)),
        };
        self.begin_stop(now, key, stop);
    }

    pub(super) fn kill_tree(&mut self, now: Now, key: &Key) {
        let Some(tree) = self.trees.get_mut(key) else {
            return;
        };
        if tree.kill_at.is_none_or(|at| at > now.boot) {
            return;
        }
        let again = now.boot.plus(REKILL);
        tree.kill_at = Some(again);
        self.at(again, Timer::Kill(key.clone()));
        self.effects.push(Effect::Signal {
            key: key.clone(),
            signal: crate::model::StopSignal::KILL.number(),
        });
    }

    pub(super) fn tree_gone(&mut self, now: Now, key: &Key) {
        if let Some(at) = self.trees.remove(key).and_then(|tree| tree.kill_at) {
            self.timers.remove(&(at, Timer::Kill(key.clone())));
        }
        self.retry(now, &key.0);
        self.release_waiting(now, &key.0);
        self.slot_tree_gone(now, &key.0);
    }

    /// Starts a run that waits, if what it waits for is over.
    pub(super) fn release(&mut self, now: Now, run_id: &RunId) {
        let Some(Phase::Pending { after }) = self.runs.get(run_id).map(|run| &run.phase) else {
            return;
        };
        let after = after.clone();
        if after == *run_id {
            self.pending.remove(run_id);
            self.launch_pending(now, run_id);
        } else {
            self.release_waiting(now, &after);
        }
    }

    /// Starts what waited for this run to be over.
    fn release_waiting(&mut self, now: Now, run_id: &RunId) {
        if self.has_tree(run_id) || self.runs.get(run_id).is_some_and(Run::is_active) {
            return;
        }
        let runs = &self.runs;
        let waits = |id: &&RunId| {
            let phase = runs.get(*id).map(|run| &run.phase);
            matches!(phase, Some(Phase::Pending { after }) if after == run_id)
        };
        let waiting: Vec<RunId> = self.pending.iter().filter(waits).cloned().collect();
        for run_id in waiting {
            self.pending.remove(&run_id);
            self.launch_pending(now, &run_id);
        }
    }

    /// How many of the last bytes of output are wanted at the end of this run.
    pub fn wants_tail(&self, run_id: &RunId) -> Option<usize> {
        /// What a task with `output = tail` returns.
        const TAIL: usize = 64 * 1024;
        /// The last lines in the reason of a fatal slot.
        const LAST_LINES: usize = 2 * 1024;
        let run = self.runs.get(run_id)?;
        match (run.text.work.output, run.run.cause) {
            (Output::Tail, _) => Some(TAIL),
            (Output::None, Cause::Daemon) => Some(LAST_LINES),
            (Output::None, _) => None,
        }
    }
}

/// Outcome and reason of an attempt whose command has ended.
fn judge(run: &Run, exit: &Exit) -> (Outcome, String) {
    let how = words::exit(exit);
    match (&run.stop, exit) {
        (Some(stop), Exit::Unknown(_)) if stop.outcome == Outcome::Stopped => {
            (Outcome::Stopped, format!("{}; {how}", stop.reason))
        }
        (_, Exit::Unknown(_)) => (Outcome::Lost, how),
        (Some(stop), _) => (stop.outcome, stop.reason.clone()),
        (None, Exit::Code(code)) => {
            let codes = &run.text.work.success_codes;
            let good = u8::try_from(*code).is_ok_and(|code| codes.contains(&code));
            let outcome = if good {
                Outcome::Succeeded
            } else {
                Outcome::Failed
            };
            (outcome, how)
        }
        (None, Exit::Signal(_)) => (Outcome::Failed, how),
    }
}

/// Time a run has been going, for the slots.
pub(super) fn ran_for(now: Now, since: Option<BootMs>) -> Duration {
    since.map_or(Duration::ZERO, |since| now.boot.since(since))
}
