//! How attempts and runs end: by themselves, by a stop sequence, a signal, a timeout; what follows an end.

use super::left::Left;
use super::run::{Phase, Run, Stop};
use super::used::{lack_of_memory, millis};
use super::{Effect, Exit, Key, Now, OutputEnd, REKILL, Record, Supervisor, Timer, Used};
use crate::exec::wire;
use crate::exec::words;
use crate::model::{Cause, Ending, Outcome, Output, RunId};

impl Supervisor {
    pub(super) fn exited(
        &mut self,
        now: Now,
        key: &Key,
        exit: &Exit,
        mut output: OutputEnd,
        used: Used,
    ) {
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
        let (outcome, mut reason) = judge(run, exit);
        reason.push_str(&lack_of_memory(run, used));
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
            output_gap: output.gap,
            output_cut: output.cut,
            peak_memory_bytes: used.peak_memory,
            cpu_ms: used.cpu.map(millis),
            tail: output.tail,
        };
        if run.leaves(outcome) {
            self.leave(key);
        }
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
    pub(super) fn end_attempt(&mut self, now: Now, key: &Key, ending: Ending) {
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
            Phase::Starting { .. } => {
                // Written, so that a keeper that finds it not executed does not execute it.
                self.effects.push(Effect::Record(Record::Stopping {
                    run_id: run_id.clone(),
                    outcome: stop.outcome,
                    reason: stop.reason.clone(),
                    kill_at: None,
                }));
                run.stop = Some(stop);
            }
            Phase::Running { attempt, .. } => {
                let key = (run_id.clone(), *attempt);
                self.signal_doubtful(&key);
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

    pub(super) fn begin_stop(&mut self, now: Now, key: &Key, stop: Stop) {
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

    /// A stop that is asked for again sends the signal that a former keeper may not have sent, which would leave the
    /// whole grace to a command that knows nothing of its end.
    fn signal_doubtful(&mut self, key: &Key) {
        let signal = self.runs.get(&key.0).map(|run| run.text.work.stop_signal);
        let doubtful = self.trees.get_mut(key);
        let doubtful = doubtful.is_some_and(|tree| std::mem::take(&mut tree.doubtful));
        if let Some(signal) = signal.filter(|_| doubtful) {
            self.effects.push(Effect::Signal {
                key: key.clone(),
                signal: signal.number(),
            });
        }
    }

    /// The stop signal to the tree now, KILL after `grace`.
    fn begin_sequence(&mut self, now: Now, key: &Key) {
        let Some(run) = self.runs.get(&key.0) else {
            return;
        };
        let how = Left {
            stop_signal: run.text.work.stop_signal,
            grace: run.text.work.grace,
        };
        self.signal_then_kill(now, key, how);
    }

    pub(super) fn signal_then_kill(&mut self, now: Now, key: &Key, how: Left) {
        let kill_at = now.boot.plus(how.grace);
        if let Some(tree) = self.trees.get_mut(key) {
            tree.kill_at = Some(kill_at);
        }
        self.at(kill_at, Timer::Kill(key.clone()));
        self.effects.push(Effect::Signal {
            key: key.clone(),
            signal: how.stop_signal.number(),
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
        self.left.remove(key);
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
