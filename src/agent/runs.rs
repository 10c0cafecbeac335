//! The table of runs that the agent holds, with its indexes. It decides nothing; a run's phase is changed here
//! only, so that the indexes always agree with it. Every order is a fixed one, so that a simulation replays.

use std::collections::{BTreeMap, BTreeSet};

use crate::exec::wire::BootMs;
use crate::model::{Epoch, RunId, RunRef, Slot, TaskId, UnixMs};

use super::record::{Closing, Planned};

/// A run of a task and slot.
pub type Place = (TaskId, Slot);

/// Where a run stands.
#[derive(Clone, PartialEq, Debug)]
pub enum Phase {
    /// Waits for its instant.
    Armed,
    /// Its instant has come; it is not decided yet.
    Due,
    /// Waits for the end of the active run of its place.
    Queued,
    /// Given to the keeper, which has not answered yet.
    Starting,
    /// An attempt runs.
    Running {
        /// The attempt.
        attempt: u16,
        /// The command's pid.
        pid: i32,
        /// When the first attempt started.
        started_at: UnixMs,
    },
    /// Waits in the keeper for its next attempt.
    Waiting {
        /// The next attempt.
        attempt: u16,
        /// When the first attempt started.
        started_at: UnixMs,
    },
    /// Closed and not yet dropped.
    Closed(Closed),
}

impl Phase {
    /// A run just closed: the keeper's word is on its disk, the agent's own not yet.
    pub fn closed(closing: Closing, by_keeper: bool) -> Self {
        Self::Closed(Closed {
            closing,
            by_keeper,
            durable: by_keeper,
            acknowledged: false,
        })
    }
}

/// How a run ended, and who knows.
#[derive(Clone, PartialEq, Debug)]
pub struct Closed {
    /// How.
    pub closing: Closing,
    /// Whether the keeper holds it; otherwise this agent's journal does.
    pub by_keeper: bool,
    /// Whether it may be reported.
    pub durable: bool,
    /// Whether the center has stored it.
    pub acknowledged: bool,
}

/// Why a run may be late.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Excuse {
    /// Nothing known.
    None,
    /// It was due while no agent ran.
    AgentDown,
    /// It was due while the keeper could not be reached.
    KeeperAway,
}

impl Excuse {
    /// The reason of an outcome `missed`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::None => "too late",
            Self::AgentDown => "agent was down",
            Self::KeeperAway => "keeper could not be reached",
        }
    }
}

/// A run that the agent holds.
#[derive(Clone, PartialEq, Debug)]
pub struct Held {
    /// The run.
    pub run: RunRef,
    /// A first attempt after this is refused.
    pub start_before: BootMs,
    /// Whether its task catches up: late, its cause is `catch-up`.
    pub catch_up: bool,
    /// The epoch of its order.
    pub epoch: Epoch,
    /// Where it stands.
    pub phase: Phase,
    /// Why it may be late.
    pub excuse: Excuse,
    /// Whether its plan is on the disk: what is not does not become due, since a life that does not know it could
    /// not say that it was started.
    pub on_disk: bool,
}

impl Held {
    /// A newly armed run.
    pub fn armed(planned: Planned) -> Self {
        Self {
            run: planned.run,
            start_before: planned.start_before,
            catch_up: planned.catch_up,
            epoch: planned.epoch,
            phase: Phase::Armed,
            excuse: Excuse::None,
            on_disk: false,
        }
    }

    /// A run learnt from the keeper, or from a closing of its own.
    pub fn known(run: RunRef, start_before: BootMs, phase: Phase) -> Self {
        Self {
            run,
            start_before,
            catch_up: false,
            epoch: Epoch::default(),
            phase,
            excuse: Excuse::None,
            on_disk: true,
        }
    }

    /// Whether it counts for overlap.
    pub fn is_active(&self) -> bool {
        matches!(
            self.phase,
            Phase::Starting | Phase::Running { .. } | Phase::Waiting { .. }
        )
    }

    /// Whether nothing was handed to the keeper and no decision is made.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Armed | Phase::Due | Phase::Queued)
    }

    /// Whether it is closed and its disk does not say so yet: the next life would know it as armed.
    pub fn is_closed_in_memory(&self) -> bool {
        matches!(&self.phase, Phase::Closed(closed) if !closed.durable)
    }

    /// Whether something was, or may have been, started.
    pub fn has_started(&self) -> bool {
        match &self.phase {
            Phase::Closed(closed) => match &closed.closing {
                Closing::Ended(ending) => ending.attempt > 0,
                Closing::NotStarted { .. } => false,
            },
            _ => self.is_active(),
        }
    }

    /// Whether it was given back without a start and the center has not said that it knows.
    pub fn is_unstarted_one(&self) -> bool {
        matches!(
            &self.phase,
            Phase::Closed(Closed {
                closing: Closing::NotStarted { .. },
                ..
            })
        )
    }

    /// Its task and slot.
    pub fn place(&self) -> Place {
        (self.run.task.clone(), self.run.slot)
    }
}

/// All runs held.
#[derive(Debug, Default)]
pub struct Runs {
    held: BTreeMap<RunId, Held>,
    armed: BTreeSet<(UnixMs, RunId)>,
    due: BTreeSet<(UnixMs, RunId)>,
    /// Active and queued runs.
    places: BTreeMap<Place, Vec<RunId>>,
    active: usize,
}

impl Runs {
    /// A run.
    pub fn get(&self, id: &RunId) -> Option<&Held> {
        self.held.get(id)
    }

    /// All runs, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Held> {
        self.held.values()
    }

    /// How many are active.
    pub fn active_len(&self) -> usize {
        self.active
    }

    /// Puts a run in, in the place of what was held under its id.
    pub fn insert(&mut self, held: Held) {
        self.remove(&held.run.run_id);
        self.index(&held);
        self.held.insert(held.run.run_id.clone(), held);
    }

    /// Takes a run out.
    pub fn remove(&mut self, id: &RunId) -> Option<Held> {
        let held = self.held.remove(id)?;
        self.unindex(&held);
        Some(held)
    }

    /// Changes a run that is held; nothing where it is not.
    pub fn update(&mut self, id: &RunId, change: impl FnOnce(&mut Held)) {
        if let Some(mut held) = self.remove(id) {
            change(&mut held);
            self.insert(held);
        }
    }

    /// Moves a run that is held to another phase.
    pub fn set(&mut self, id: &RunId, phase: Phase) {
        self.update(id, |held| held.phase = phase);
    }

    /// The next armed run.
    pub fn next_armed(&self) -> Option<&(UnixMs, RunId)> {
        self.armed.first()
    }

    /// The runs to decide, by instant.
    pub fn due(&self) -> Vec<RunId> {
        self.due.iter().map(|(_, id)| id.clone()).collect()
    }

    /// Whether any run is to be decided.
    pub fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// The active run of a place; of several the one that was given to the keeper last, which may wait for the others'
    /// end, else the newest.
    pub fn active(&self, place: &Place) -> Option<&Held> {
        let starting = |held: &&Held| held.phase == Phase::Starting;
        let active = self.at(place).filter(|held| held.is_active());
        let newest = || active.clone().max_by_key(|held| held.run.scheduled_at);
        active.clone().filter(starting).last().or_else(newest)
    }

    /// The queued run of a place.
    pub fn queued(&self, place: &Place) -> Option<&Held> {
        self.at(place).find(|held| held.phase == Phase::Queued)
    }

    /// Places with a queued run.
    pub fn queued_places(&self) -> Vec<Place> {
        let queued = |place: &&Place| self.queued(place).is_some();
        self.places.keys().filter(queued).cloned().collect()
    }

    fn at(&self, place: &Place) -> impl Iterator<Item = &Held> + Clone {
        self.places
            .get(place)
            .into_iter()
            .flatten()
            .filter_map(|id| self.held.get(id))
    }

    fn index(&mut self, held: &Held) {
        let key = (held.run.fire_at(), held.run.run_id.clone());
        match held.phase {
            Phase::Armed if held.on_disk => drop(self.armed.insert(key)),
            Phase::Due => drop(self.due.insert(key)),
            Phase::Armed | Phase::Closed(_) => {}
            _ => self.places.entry(held.place()).or_default().push(key.1),
        }
        self.active += usize::from(held.is_active());
    }

    fn unindex(&mut self, held: &Held) {
        let key = (held.run.fire_at(), held.run.run_id.clone());
        match held.phase {
            Phase::Armed => drop(self.armed.remove(&key)),
            Phase::Due => drop(self.due.remove(&key)),
            Phase::Closed(_) => {}
            _ => self.leave(&held.place(), &key.1),
        }
        self.active -= usize::from(held.is_active());
    }

    fn leave(&mut self, place: &Place, id: &RunId) {
        if let Some(ids) = self.places.get_mut(place) {
            ids.retain(|other| other != id);
            if ids.is_empty() {
                self.places.remove(place);
            }
        }
    }
}
