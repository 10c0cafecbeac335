//! One run: from its acceptance over its attempts to its outcome, and the trees of its attempts.

use std::sync::Arc;
use std::time::Duration;

use super::{Effect, Failure, Key, Now, Order, Record, Supervisor, Timer};
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
    /// Whether the stop signal is in doubt: a former keeper recorded the sequence, and may have ended before it.
    pub doubtful: bool,
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
    /// The text of an attempt's run, for what of its output is wanted at its end.
    pub fn text(&self, run_id: &RunId) -> Option<&TaskText> {
        self.runs.get(run_id).map(|run| run.text.as_ref())
    }

    /// Whether the run is known and has not ended.
    pub fn is_active(&self, run_id: &RunId) -> bool {
        self.runs.get(run_id).is_some_and(Run::is_active)
    }

    /// The command of an attempt that runs: its pid, when it was ordered, and when it had been executed.
    pub fn process(&self, key: &Key) -> Option<(i32, BootMs, BootMs)> {
        match self.runs.get(&key.0)?.phase {
            Phase::Running {
                attempt,
                pid,
                since,
                ordered,
            } if attempt == key.1 => Some((pid, ordered, since)),
            _ => None,
        }
    }

    /// The attempt that runs, waits, or was the last.
    pub fn attempt(&self, run_id: &RunId) -> Option<u16> {
        self.runs.get(run_id).map(Run::attempt)
    }

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
        if let Some(reason) = self.may_have_started(now, &start) {
            let run_id = start.run.run_id.clone();
            self.accept(start, None);
            let ending = Ending::unstarted(Outcome::Lost, reason, now.center);
            self.end(now, &run_id, &ending);
            return;
        }
        let after = start
            .replaces
            .clone()
            .and_then(|old| self.replace(now, &old, &start.run));
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

    /// Stops the run that another takes the place of, and what waits for that place, since of several only the newest
    /// starts; the run to wait for, if there is one.
    fn replace(&mut self, now: Now, old: &RunId, new: &RunRef) -> Option<RunId> {
        let waits_for = match self.runs.get(old).map(|run| &run.phase) {
            Some(Phase::Pending { after }) => after.clone(),
            _ => old.clone(),
        };
        let reason = format!("replaced by run {}", new.run_id);
        self.stop(now, old, &reason);
        let waiting = self.pending.iter().filter(|id| self.is_at(id, new));
        for waiting in waiting.cloned().collect::<Vec<_>>() {
            self.stop(now, &waiting, &reason);
        }
        if self.is_active(&waits_for) || self.has_tree(&waits_for) {
            return Some(waits_for);
        }
        // It was itself to replace one, and was stopped while that lives.
        let live = self.live_at(new)?;
        self.stop(now, &live, &reason);
        Some(live)
    }

    /// A run of the same task and slot that may have processes.
    fn live_at(&self, new: &RunRef) -> Option<RunId> {
        let live = |id: &&RunId| self.is_active(id) || self.has_tree(id);
        let mut ids = self.runs.keys().filter(live);
        ids.find(|id| self.is_at(id, new)).cloned()
    }

    /// Whether a run is of the same task and slot, by whatever rule or request.
    fn is_at(&self, id: &RunId, new: &RunRef) -> bool {
        let run = self.runs.get(id).map(|run| &run.run);
        run.is_some_and(|run| {
            (&run.task, run.slot) == (&new.task, new.slot) && run.cause != Cause::Daemon
        })
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

    pub(super) fn launch(&mut self, now: Now, run_id: &RunId, attempt: u16) {
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
    pub(super) fn launch_pending(&mut self, now: Now, run_id: &RunId) {
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
                // Of a retry it is certain that something was started.
                if key.1 == 1 {
                    ending.outcome = Outcome::Missed;
                }
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
                let ending = self.stopped_before(now, key, stop);
                self.end(now, &key.0, &ending);
            }
            _ => {}
        }
    }

    /// How a run ends that was stopped before this attempt was executed: only a first one leaves it unstarted.
    fn stopped_before(&self, now: Now, key: &Key, stop: &Stop) -> Ending {
        if key.1 == 1 {
            return Ending::unstarted(Outcome::Skipped, stop.reason.clone(), now.center);
        }
        let run = self.runs.get(&key.0);
        Ending {
            attempt: key.1 - 1,
            started_at: run.and_then(|run| run.first_started_at),
            ..Ending::unstarted(stop.outcome, stop.reason.clone(), now.center)
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

/// Time a run has been going, for the slots.
pub(super) fn ran_for(now: Now, since: Option<BootMs>) -> Duration {
    since.map_or(Duration::ZERO, |since| now.boot.since(since))
}
