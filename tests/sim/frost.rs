//! Freezes in histories of chance: operators freeze and thaw the group at random, and what was promised of each freeze
//! is held against every start, and against the history at the end. A freeze is known from when it is confirmed by all
//! agents until it is over, thawed, or another is asked for; what was due before may be on its way to its command.

use std::collections::BTreeSet;
use std::time::Duration;

use ucron::model::{Outcome, TaskId, UnixMs};
use ucron::proto::request::{Frozen, GroupFreeze, GroupThaw, Request};

use crate::random::Dice;
use crate::store::Run;
use crate::truth::Process;
use crate::world::{World, group};

/// A freeze that was confirmed.
#[derive(Clone, Debug)]
pub struct Window {
    /// What is due after this does not start.
    from: UnixMs,
    /// The first instant after it.
    until: UnixMs,
    /// The tasks that were on: what a stopped or removed one has planned is that change's to cancel (seed 96).
    tasks: BTreeSet<TaskId>,
}

impl Window {
    fn covers(&self, at: UnixMs) -> bool {
        self.from < at && at < self.until
    }

    /// A first attempt of the rule's, due after the freeze was confirmed.
    fn forbids(&self, process: &Process) -> bool {
        let run = &process.run;
        let is_first = run.cause.is_of_rule() && process.attempt == 1;
        is_first && self.tasks.contains(&run.task) && self.covers(run.fire_at())
    }
}

/// All freezes of a history.
#[derive(Debug)]
pub struct Frost {
    dice: Dice,
    /// Counts what was asked of freezes: an answer to what was overtaken says nothing.
    asked: u64,
    now: Option<Window>,
    past: Vec<Window>,
}

impl Frost {
    /// None yet. The dice are of its own, so that a seed stays what it was.
    pub fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed ^ 0xf0_57),
            asked: 0,
            now: None,
            past: Vec::new(),
        }
    }
}

impl World {
    /// Now and then somebody freezes the group, or thaws it.
    pub fn freeze_or_thaw(&mut self) {
        if !self.frost.dice.percent(6) {
            return;
        }
        let span = Duration::from_millis(1_000 + self.frost.dice.below(40_000));
        let ask = if self.frost.dice.percent(70) {
            Request::GroupFreeze(GroupFreeze {
                group: group("g"),
                until: Some(self.center_now().at.plus(span)),
                reason: "chance".to_owned(),
                dry_run: false,
            })
        } else {
            Request::GroupThaw(GroupThaw { group: group("g") })
        };
        self.ask("admin", ask);
    }

    /// What holds may hold no longer from the moment at which something else is asked; its number, where it is about
    /// freezes.
    pub fn asks_of_freezes(&mut self, ask: &Request) -> Option<u64> {
        if !matches!(ask, Request::GroupFreeze(_) | Request::GroupThaw(_)) {
            return None;
        }
        self.frost.asked += 1;
        let at = self.center_now().at;
        if let Some(mut window) = self.frost.now.take() {
            window.until = window.until.min(at);
            self.frost.past.push(window);
        }
        Some(self.frost.asked)
    }

    /// A freeze is answered.
    pub fn frozen(&mut self, number: u64, frozen: &Frozen) {
        let is_last = number == self.frost.asked;
        if is_last && frozen.done && frozen.hit.unconfirmed.is_empty() {
            let from = self.center_now().at.max(frozen.from);
            let tasks = self.store.live_tasks();
            let on = tasks.filter(|task| task.enabled && task.group == frozen.group);
            let window = Window {
                from,
                until: frozen.until,
                tasks: on.map(|task| task.id.clone()).collect(),
            };
            self.frost.now = Some(window);
        }
    }

    /// A command is about to start, which no freeze forbids; what a removed agent holds nobody can take back, nor is
    /// known what is due by a clock that was set back.
    pub fn is_not_frozen(&mut self, process: &Process) {
        let known = !self.truth.removed.contains(&process.host) && self.truth.tolerance < i64::MAX;
        let window = self.frost.now.as_ref().filter(|_| known);
        if let Some(window) = window.filter(|window| window.forbids(process)) {
            let (run, due) = (&process.run.run_id, process.run.fire_at());
            let why = format!("run {run}, due at {due}, was started although {window:?} is frozen");
            self.truth.broken.push(why);
        }
    }

    /// What was due in a freeze, of a task that nobody touched, did not run, and says why; where the members of the
    /// group changed, that may be why.
    pub fn judge_freezes(&self) -> Vec<String> {
        let frost = &self.frost;
        let steady = self.store.regrouped.len() == self.hosts.len();
        if !steady || self.truth.tolerance == i64::MAX {
            return Vec::new();
        }
        let windows = frost.past.iter().chain(&frost.now);
        let of = |window: &Window| {
            let runs = self.store.runs.values();
            let due = runs.filter(|run| {
                let row = &run.row.run;
                let is_meant = row.cause.is_of_rule() && window.tasks.contains(&row.task);
                // What jitter delays to after a freeze that was ended early fires.
                is_meant && window.covers(row.scheduled_at) && window.covers(row.fire_at())
            });
            due.filter(|run| self.is_as_it_was(run, window))
                .filter(|run| !is_frozen(run))
                .map(|run| format!("due in {window:?}, but {run:?}"))
                .collect::<Vec<_>>()
        };
        windows.flat_map(of).collect()
    }

    /// Whether a run's task was the same from when it was planned until it had its outcome and the freeze was over.
    fn is_as_it_was(&self, run: &Run, window: &Window) -> bool {
        let versions = self.store.versions.get(&run.row.run.task);
        let planned = window.from.minus(Duration::from_secs(10));
        let mut versions = versions.into_iter().flatten();
        let until = window.until.max(run.ended_at.unwrap_or(window.until));
        !versions.any(|version| planned <= version.from && version.from <= until)
    }
}

/// Whether it did not run because of a freeze. Of what its host has forgotten by a reboot the next center cannot know
/// that it was cancelled (seed 2516).
fn is_frozen(run: &Run) -> bool {
    run.ending
        .as_ref()
        .is_some_and(|ending| match ending.outcome {
            Outcome::Missed | Outcome::Skipped => ending.reason.starts_with("frozen by"),
            Outcome::Lost => ending.reason.contains("was rebooted"),
            _ => false,
        })
}
