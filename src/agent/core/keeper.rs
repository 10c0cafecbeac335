//! The keeper's side: its set at connect against memory, what it says, and what it is told.

use std::collections::{BTreeMap, BTreeSet};

use super::super::event::{Effect, Now};
use super::super::record::Closing;
use super::super::runs::{Held, Phase};
use super::AgentCore;
use crate::exec::wire::{Assignment, BootMs, Command, Event, RunState, SlotState, SlotStatus};
use crate::model::{Ending, Outcome, Revision, RunId, RunRef, TaskId, UnixMs};
use crate::proto::agent::{RunEvent, SlotReport};

/// How far the connection to the keeper is.
#[derive(Debug, Default)]
pub(super) enum KeeperState {
    /// None.
    #[default]
    Away,
    /// It tells its set.
    Listing {
        runs: BTreeSet<RunId>,
        daemons: BTreeMap<TaskId, Revision>,
    },
    /// Its set is known and kept up to date.
    Ready,
}

impl KeeperState {
    /// Whether runs can be started.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready)
    }
}

impl AgentCore {
    pub(super) fn keeper_up(&mut self) {
        self.keeper = KeeperState::Listing {
            runs: BTreeSet::new(),
            daemons: BTreeMap::new(),
        };
        if let Some((offset_ms, _)) = self.clock.offset() {
            self.tell(Command::Clock { offset_ms });
        }
    }

    pub(super) fn keeper_down(&mut self, reason: &str) {
        if !matches!(self.keeper, KeeperState::Away) {
            self.warn(format!("the keeper's connection is lost: {reason}"));
        }
        self.keeper = KeeperState::Away;
        self.end_streams("the agent lost its keeper; ask again in a moment");
    }

    /// Tells the keeper while it is connected; what it must know later is told at connect.
    pub(super) fn tell(&mut self, command: Command) {
        if !matches!(self.keeper, KeeperState::Away) {
            self.out.push(Effect::Keeper(Box::new(command)));
        }
    }

    /// Tells the keeper now, or when it is connected.
    pub(super) fn stop(&mut self, command: Command) {
        if self.keeper.is_ready() {
            self.tell(command);
        } else {
            self.untold.push(command);
        }
    }

    pub(super) fn keeper_says(&mut self, event: Event, now: Now) {
        match event {
            Event::Hello { .. } => {}
            Event::Policy(policy) => self.policy_changed(&policy),
            Event::Known { run, state } => self.known(&run, state),
            Event::Assigned { task, revision } => {
                if let KeeperState::Listing { daemons, .. } = &mut self.keeper {
                    daemons.insert(task, revision);
                }
            }
            Event::SetEnd => self.set_end(now),
            Event::Started {
                run,
                attempt,
                pid,
                started_at,
            } => {
                let first = self.first_start(&run).unwrap_or(started_at);
                self.hold(
                    &run,
                    Phase::Running {
                        attempt,
                        pid,
                        started_at: first,
                    },
                );
                self.say(RunEvent::Started {
                    run,
                    attempt,
                    pid,
                    started_at,
                });
            }
            Event::AttemptEnded {
                run,
                ending,
                next_at,
            } => self.attempt_ended(run, ending, next_at),
            Event::Ended { run, ending } => self.ended(&run, ending, now),
            Event::NotStarted { run_id, reason } => {
                self.close(&run_id, Closing::NotStarted { reason });
                self.start_queued(now);
            }
            Event::Slot(status) => self.slot(status),
            Event::Log { .. } | Event::LogEnd { .. } => self.log(event),
        }
    }

    fn first_start(&self, run: &RunRef) -> Option<UnixMs> {
        match self.runs.get(&run.run_id)?.phase {
            Phase::Running { started_at, .. } | Phase::Waiting { started_at, .. } => {
                Some(started_at)
            }
            _ => None,
        }
    }

    /// Moves a run to a phase, taking it in where only the keeper knew it.
    fn hold(&mut self, run: &RunRef, phase: Phase) {
        if self.runs.get(&run.run_id).is_some() {
            self.runs.set(&run.run_id, phase);
        } else {
            let held = Held::known(run.clone(), BootMs(0), phase);
            self.runs.insert(held);
        }
    }

    fn known(&mut self, run: &RunRef, state: RunState) {
        if let KeeperState::Listing { runs, .. } = &mut self.keeper {
            runs.insert(run.run_id.clone());
        }
        match state {
            RunState::Running {
                attempt,
                pid,
                started_at,
            } => self.hold(
                run,
                Phase::Running {
                    attempt,
                    pid,
                    started_at,
                },
            ),
            RunState::Waiting {
                attempt,
                started_at,
                ..
            } => self.hold(
                run,
                Phase::Waiting {
                    attempt,
                    started_at,
                },
            ),
            RunState::Ended(ending) => self.close_by_keeper(run, *ending),
        }
    }

    /// The keeper's set is complete: what it lacks is given to it, what it has beyond is taken back.
    fn set_end(&mut self, now: Now) {
        let set = std::mem::replace(&mut self.keeper, KeeperState::Ready);
        let KeeperState::Listing { runs, daemons } = set else {
            return;
        };
        self.settle_unknown(&runs, now);
        for command in std::mem::take(&mut self.untold) {
            self.tell(command);
        }
        self.give_daemons(&daemons);
        self.arm_again();
        self.become_ready(now);
        self.start_queued(now);
    }

    /// Runs that memory holds as given to the keeper and that it does not know: a start that got lost on the
    /// way is given again, or ends where a cancel or a stop came after it; what had run is lost.
    fn settle_unknown(&mut self, known: &BTreeSet<RunId>, now: Now) {
        let unknown: Vec<(RunId, bool)> = self
            .runs
            .iter()
            .filter(|held| held.is_active() && !known.contains(&held.run.run_id))
            .map(|held| (held.run.run_id.clone(), held.phase == Phase::Starting))
            .collect();
        let cancels = std::mem::take(&mut self.unsure_cancels);
        for (run_id, reason) in cancels.iter().filter(|(id, _)| !known.contains(*id)) {
            self.end(run_id, Outcome::Skipped, reason.clone(), now);
        }
        let unknown = unknown
            .into_iter()
            .filter(|(run_id, _)| !cancels.contains_key(run_id));
        for (run_id, on_the_way) in unknown {
            let stop = self.untold.iter().find_map(|command| match command {
                Command::Stop { run_id: of, reason }
                | Command::Kill {
                    run_id: of, reason, ..
                } if *of == run_id => Some(reason.clone()),
                _ => None,
            });
            match stop {
                Some(reason) if on_the_way => self.end(&run_id, Outcome::Stopped, reason, now),
                None if on_the_way => self.runs.set(&run_id, Phase::Armed),
                _ => {
                    let reason = "the keeper does not know the run any more";
                    self.end(&run_id, Outcome::Lost, reason, now);
                }
            }
        }
    }

    fn give_daemons(&mut self, daemons: &BTreeMap<TaskId, Revision>) {
        let mut given = Vec::new();
        for (task, assigned) in &self.assigned {
            if let Some(text) = self.texts.get(task, assigned.revision) {
                given.push(Command::Assign(Box::new(Assignment {
                    text: text.clone(),
                    epoch: assigned.epoch,
                })));
            }
        }
        for command in given {
            self.tell(command);
        }
        for task in daemons.keys() {
            if !self.assigned.contains_key(task) {
                self.tell(Command::Withdraw {
                    task: task.clone(),
                    reason: "no longer assigned".to_owned(),
                });
            }
        }
    }

    fn arm_again(&mut self) {
        let armed: Vec<RunRef> = self
            .runs
            .iter()
            .filter(|held| held.phase == Phase::Armed)
            .map(|held| held.run.clone())
            .collect();
        for run in armed {
            self.tell(Command::Arm { run });
        }
    }

    fn attempt_ended(&mut self, run: RunRef, ending: Ending, next_at: UnixMs) {
        let started_at = self
            .first_start(&run)
            .or(ending.started_at)
            .unwrap_or(ending.finished_at);
        self.hold(
            &run,
            Phase::Waiting {
                attempt: ending.attempt.saturating_add(1),
                started_at,
            },
        );
        self.say(RunEvent::AttemptEnded {
            run,
            ending,
            next_at,
        });
    }

    fn ended(&mut self, run: &RunRef, ending: Ending, now: Now) {
        self.close_by_keeper(run, ending);
        self.start_queued_at(&(run.task.clone(), run.slot), now);
    }

    fn close_by_keeper(&mut self, run: &RunRef, ending: Ending) {
        let known = self.runs.get(&run.run_id).map(|held| &held.phase);
        if matches!(known, Some(Phase::Closed(closed)) if closed.by_keeper) {
            return;
        }
        self.hold(run, Phase::closed(Closing::Ended(Box::new(ending)), true));
        self.may_report(&run.run_id);
    }

    fn slot(&mut self, status: SlotStatus) {
        let gone = status.state == SlotState::Stopped;
        let report = SlotReport {
            task: status.task,
            slot: status.slot,
            state: status.state.as_str().to_owned(),
            run_id: status.run_id,
            pid: status.pid,
            since: status.since,
            restarts: status.restarts,
            revision: status.revision,
            reason: status.reason,
        };
        let key = (report.task.clone(), report.slot);
        if gone {
            self.slots.remove(&key);
        } else {
            self.slots.insert(key, report.clone());
        }
        self.say(RunEvent::Slot(report));
    }
}
