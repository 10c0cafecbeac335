//! Firing: armed runs become due, due runs are decided and given to the keeper. Nothing here waits for a disk; a run
//! whose plan is not on it yet is not due.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::event::Now;
use super::super::record::{Closing, Record};
use super::super::runs::{Excuse, Held, Phase, Place};
use super::AgentCore;
use crate::exec::wire::{BootMs, Command, Start};
use crate::model::{Cause, Ending, Outcome, Overlap, RunId, RunRef, TaskText};

/// A run this late is overdue: it gives way to a later due run of its task and slot. Until then every occurrence
/// starts, one after the other: an agent that is back within the usual lead (10 s) costs no fire.
const OVERDUE: Duration = Duration::from_secs(10);

/// A run of a task that catches up is caught up when it starts so late.
const CAUGHT_UP: Duration = Duration::from_secs(1);

/// How long a due run of target `one` waits for the lease: the first heartbeat of a new link may still be under way,
/// and an agent that was restarted may not be linked yet.
const LEASE_PATIENCE: Duration = Duration::from_secs(2);
/// The next instant of a clock of milliseconds.
const TICK: Duration = Duration::from_millis(1);

impl AgentCore {
    /// Starts what is due.
    pub(super) fn fire(&mut self, now: Now) {
        if self.is_refused() {
            return self.give_up();
        }
        self.collect_due(now);
        if self.keeper.is_ready() {
            let latest = self.latest_due();
            for run_id in self.runs.due() {
                self.decide(&run_id, &latest, now);
            }
            if self.next_wants_lease.take().is_some() {
                self.start_queued(now);
            }
        } else {
            // The queues are looked at again when it is ready.
            self.next_wants_lease = None;
            self.expire_due(now);
        }
    }

    fn collect_due(&mut self, now: Now) {
        let away = !self.keeper.is_ready();
        while let Some((at, run_id)) = self.runs.next_armed().cloned() {
            if self.clock.fire_at(at, now) > now.boot {
                return;
            }
            self.runs.update(&run_id, |held| {
                held.phase = Phase::Due;
                if away && held.excuse == Excuse::None {
                    held.excuse = Excuse::KeeperAway;
                }
            });
        }
    }

    /// When the next armed run becomes due.
    pub(super) fn next_fire(&self, now: Now) -> Option<BootMs> {
        let (at, _) = self.runs.next_armed()?;
        Some(self.clock.fire_at(*at, now))
    }

    /// When the first due run has waited long enough: for the keeper, or for a lease.
    pub(super) fn next_expiry(&self, now: Now) -> Option<BootMs> {
        if !self.runs.has_due() {
            return None;
        }
        let due = self.runs.due();
        let due = due.iter().filter_map(|id| self.runs.get(id));
        let ready = self.keeper.is_ready();
        due.map(|held| {
            if let (true, Some(wanted_by)) = (ready, self.answer_wanted_by(held, now)) {
                wanted_by
            } else if ready && self.waits_for_late(held, now) {
                self.clock.fire_at(held.run.fire_at(), now).plus(OVERDUE)
            } else if ready {
                self.lease_wanted_by(held, now)
            } else {
                held.start_before.plus(TICK)
            }
        })
        .min()
    }

    fn lease_wanted_by(&self, held: &Held, now: Now) -> BootMs {
        let due = self.clock.fire_at(held.run.fire_at(), now);
        let link = self.leader().and_then(|leader| self.links.get(&leader));
        // A run that is caught up was due before the link was there, others before this life of the agent.
        let able_at = link.map_or(self.doubted_until, |link| link.up_at);
        due.max(able_at).plus(LEASE_PATIENCE)
    }

    fn expire_due(&mut self, now: Now) {
        for run_id in self.runs.due() {
            self.miss_late(&run_id, now);
        }
    }

    /// Whether the run was too late and is closed.
    fn miss_late(&mut self, run_id: &RunId, now: Now) -> bool {
        let Some(held) = self.runs.get(run_id) else {
            return true;
        };
        let late = now.boot > held.start_before;
        if late {
            self.end(run_id, Outcome::Missed, held.excuse.reason(), now);
        }
        late
    }

    fn decide(&mut self, run_id: &RunId, latest: &BTreeMap<Place, RunRef>, now: Now) {
        if self.miss_late(run_id, now) {
            return;
        }
        let Some(held) = self.runs.get(run_id).cloned() else {
            return;
        };
        if let Some(later) = latest.get(&held.place())
            && self.gives_way(&held, later, now)
        {
            let reason = match held.excuse {
                Excuse::None => format!(
                    "too late: run {} of the same task was due too",
                    later.run_id
                ),
                excuse => excuse.reason().to_owned(),
            };
            return self.end(run_id, Outcome::Missed, reason, now);
        }
        if self.answer_wanted_by(&held, now).is_none() {
            self.overlap(&held, now);
        }
    }

    /// The latest due run of each task and slot. What an operator asked for is no occurrence: it neither gives
    /// way nor takes a place.
    fn latest_due(&self) -> BTreeMap<Place, RunRef> {
        let due = self.runs.due();
        let due = due.iter().filter_map(|id| self.runs.get(id));
        due.filter(|held| held.run.cause != Cause::Operator)
            .map(|held| (held.place(), held.run.clone()))
            .collect()
    }

    /// Of several overdue runs of one task and slot only the latest starts.
    fn gives_way(&self, held: &Held, latest: &RunRef, now: Now) -> bool {
        self.is_overdue(held, now)
            && held.run.cause != Cause::Operator
            && latest.scheduled_at > held.run.scheduled_at
    }

    fn is_overdue(&self, held: &Held, now: Now) -> bool {
        self.clock.center(now).since(held.run.fire_at()) >= OVERDUE
    }

    /// Whether a run's place is taken by one that started late because agent or keeper were away: had it been on
    /// time it would be gone by now, so that it is waited for, and does not count as overlap, for a while.
    fn waits_for_late(&self, held: &Held, now: Now) -> bool {
        let one_at_a_time = self
            .text_of(held)
            .is_some_and(|text| matches!(text.work.overlap, Overlap::Skip | Overlap::Queue));
        let late = |active: &Held| active.excuse != Excuse::None;
        one_at_a_time
            && held.run.cause != Cause::Operator
            && !self.is_overdue(held, now)
            && self.runs.active(&held.place()).is_some_and(late)
    }

    fn overlap(&mut self, held: &Held, now: Now) {
        if self.waits_for_late(held, now) {
            return;
        }
        let run_id = &held.run.run_id;
        let Some(text) = self.text_of(held) else {
            return self.end(run_id, Outcome::Missed, "the task's text is not here", now);
        };
        let place = held.place();
        let active = self.runs.active(&place).map(|a| a.run.run_id.clone());
        let Some(active) = active else {
            return self.launch(held, text, None, now);
        };
        match text.work.overlap {
            Overlap::Allow => self.launch(held, text, None, now),
            Overlap::Replace => self.launch(held, text, Some(active), now),
            Overlap::Queue => self.queue(run_id, &place, now),
            Overlap::Skip => {
                let ending = Ending::overlap(&active, self.clock.center(now));
                self.close(run_id, Closing::Ended(Box::new(ending)));
            }
        }
    }

    fn text_of(&self, held: &Held) -> Option<TaskText> {
        self.texts.get(&held.run.task, held.run.revision).cloned()
    }

    fn queue(&mut self, run_id: &RunId, place: &Place, now: Now) {
        if let Some(queued) = self.runs.queued(place) {
            let reason = format!("queue full: run {} waits", queued.run.run_id);
            return self.end(run_id, Outcome::Skipped, reason, now);
        }
        self.write(Record::Queued {
            run_id: run_id.clone(),
        });
        self.runs.set(run_id, Phase::Queued);
    }

    /// Gives a run to the keeper; a run of target `one` only under a lease.
    fn launch(&mut self, held: &Held, text: TaskText, replaces: Option<RunId>, now: Now) {
        let not_after = match self.lease {
            _ if !text.one => None,
            Some(end) if end > now.boot => Some(end),
            _ if now.boot < self.lease_wanted_by(held, now) => return self.await_lease(held, now),
            _ => {
                let reason = "the agent held no lease of the center".to_owned();
                return self.close(&held.run.run_id, Closing::NotStarted { reason });
            }
        };
        let exempt = held.phase == Phase::Queued;
        let start = Start {
            run: self.as_started(held, now),
            text,
            epoch: held.epoch,
            start_before: (!exempt).then_some(held.start_before),
            not_after,
            replaces,
        };
        self.runs.set(&held.run.run_id, Phase::Starting);
        self.tell(Command::Start(Box::new(start)));
    }

    /// What is due is decided again with every event; what waited in a queue is not due any more.
    fn await_lease(&mut self, held: &Held, now: Now) {
        if held.phase == Phase::Queued {
            let wanted_by = self.lease_wanted_by(held, now);
            let earliest = self.next_wants_lease.unwrap_or(wanted_by).min(wanted_by);
            self.next_wants_lease = Some(earliest);
        }
    }

    /// The run as its command is told of it: caught up if it is late and its task catches up. A run that waited in
    /// the queue was there on time.
    fn as_started(&self, held: &Held, now: Now) -> RunRef {
        let mut run = held.run.clone();
        let late = self.clock.center(now).since(run.fire_at()) >= CAUGHT_UP;
        if held.catch_up && late && held.phase == Phase::Due {
            run.cause = Cause::CatchUp;
        }
        run
    }

    /// Starts every queued run whose place is free.
    pub(super) fn start_queued(&mut self, now: Now) {
        for place in self.runs.queued_places() {
            self.start_queued_at(&place, now);
        }
    }

    /// Starts the queued run of a place that has become free.
    pub(super) fn start_queued_at(&mut self, place: &Place, now: Now) {
        if !self.keeper.is_ready() || self.runs.active(place).is_some() {
            return;
        }
        if let Some(held) = self.runs.queued(place).cloned() {
            self.overlap(&held, now);
        }
    }
}
