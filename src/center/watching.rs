//! From what happens to what is wrong: the core's dead-man's watch. Runs, slots, links and the store are held
//! against the thresholds of their tasks; a reminder looks at what should have been heard by then. Tells nobody: that
//! is `telling.rs`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::conditions::{Deadline, Key, Place, Subject};
use super::core::Core;
use super::event::Now;
use super::failing::Health;
use super::freezes::is_of_freeze;
use super::hosts::COPY_GONE;
use super::notices::Route;
use super::runs::Stage;
use super::standbys::Standbys;
use super::views::hms;
use crate::model::{
    AgentId, Cause, ConditionKind, Ending, Outcome, Overlap, RunId, RunRef, Slot, Task, TaskId,
    UnixMs, Watch,
};
use crate::proto::agent::SlotReport;
use crate::rule::format_duration;
use crate::store::{RunRow, SpanRow};

/// How long agents may take to find a center that has just started: they dial every 30 s at the latest.
const FIRST_LINK: Duration = Duration::from_secs(45);
/// How long a center whose lease ran out may not know that another leads: a few looks at the lease.
const LAPSE_DOUBT: Duration = Duration::from_secs(5);
/// When to look again at what cannot be told yet.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Why a notify command fails no longer.
const NO_ROUTE: &str = "it is not configured any more";

/// What the watch knows beside the conditions and what was told of them.
#[derive(Debug, Default)]
pub(super) struct Watching {
    /// Until when agents may be away because the center was.
    pub agents_by: UnixMs,
    /// The notify commands that there are.
    pub routes: BTreeSet<Route>,
    /// Conditions of which the store does not know the latest.
    pub unremembered: BTreeSet<Key>,
    /// Until when a store that takes no writes is no trouble: perhaps another center leads. On the boot-time clock.
    pub doubted_until: Option<Duration>,
    /// What was read of the other centers.
    pub standbys: Standbys,
}

/// Where a run is: the agent that it is for, the same for all agents where the target is `one`.
fn place(row: &RunRow) -> Place {
    Place::Slot(row.target.clone(), row.run.slot)
}

impl Core {
    /// The center has started, or can write its store again: agents that it let go of may take their time. Every
    /// one that does not come is silent then.
    pub(super) fn await_agents(&mut self, now: Now) {
        self.watching.agents_by = now.at.plus(FIRST_LINK);
        for agent in self.fleet.agents.keys() {
            self.conditions
                .remind(now.at.plus(FIRST_LINK), Deadline::Agent(agent.clone()));
            self.conditions
                .remind(now.at.plus(COPY_GONE), Deadline::Copy(agent.clone()));
        }
    }

    /// At the end of each event: what is due, what turned, whom to tell.
    pub(super) fn tend_conditions(&mut self, now: Now) {
        while let Some(of) = self.conditions.take_deadline(now.at) {
            match of {
                Deadline::Start(run) => self.should_have_started(now, &run),
                Deadline::End(run) => self.should_have_ended(now, &run),
                Deadline::Agent(agent) => self.should_have_come(now, &agent),
                Deadline::Copy(agent) => self.should_be_gone(now, &agent),
            }
        }
        if self
            .watching
            .doubted_until
            .is_some_and(|until| until <= now.mono)
        {
            self.watching.doubted_until = None;
            self.watch_store(now);
        }
        self.tell_turns(now);
    }

    /// When [`Self::tend_conditions`] is next wanted.
    pub(super) fn next_tending(&self, now: Now) -> Option<UnixMs> {
        let doubted = self.watching.doubted_until.map(|until| now.wall(until));
        let next = [
            self.conditions.next_deadline(),
            self.notices.next(),
            doubted,
        ];
        next.into_iter().flatten().min()
    }

    /// What a task asks for; nothing while it is stopped.
    fn watch_of(&self, task: &TaskId) -> Option<(&Task, &Watch)> {
        let task = &self.fleet.tasks.get(task)?.task;
        task.enabled.then_some((task, &task.spec.watch))
    }

    /// A run is due: whether it starts is looked at when it would be late.
    pub(super) fn expect_start(&mut self, now: Now, id: &RunId) {
        let Some(run) = self.open.get(id) else { return };
        let due = run.row.run.fire_at();
        let is_due = run.row.run.cause == Cause::Rule && run.row.run.scheduled_at <= now.at;
        if !is_due || run.stage.has_started() {
            return;
        }
        if let Some(late) = self.late_after(&run.row.run) {
            self.conditions
                .remind(due.plus(late), Deadline::Start(id.clone()));
        }
    }

    /// After how long a start counts as late; what may wait in a queue never does.
    fn late_after(&self, run: &RunRef) -> Option<Duration> {
        let (task, watch) = self.watch_of(&run.task)?;
        let waits = task.spec.work.overlap == Overlap::Queue;
        watch.late.filter(|_| !waits)
    }

    fn should_have_started(&mut self, now: Now, id: &RunId) {
        let Some(run) = self.open.get(id) else { return };
        if run.stage.has_started() || run.cancelled.is_some() {
            return;
        }
        let row = run.row.clone();
        if self.is_too_early(now, row.agent.as_ref()) {
            let later = self.watching.agents_by.max(now.at.plus(LOOK_AGAIN));
            return self.conditions.remind(later, Deadline::Start(id.clone()));
        }
        let Some(late) = self.late_after(&row.run) else {
            return;
        };
        if row.run.fire_at().plus(late) > now.at {
            return;
        }
        let why = match &row.agent {
            Some(agent) if self.sessions.of(agent).is_none() => {
                format!("agent {} is silent", self.fleet.agent_name(agent))
            }
            Some(agent) => format!("agent {} has not said so", self.fleet.agent_name(agent)),
            None => "no agent has it".to_owned(),
        };
        let reason = format!("due at {}, not started: {why}", hms(row.run.scheduled_at));
        let key = Key::task(&row.run.task, ConditionKind::Late);
        self.conditions.raise(now.at, &key, place(&row), reason);
    }

    /// Whether an agent may be away because of the center.
    pub(super) fn is_too_early(&self, now: Now, agent: Option<&AgentId>) -> bool {
        let is_away = agent.is_some_and(|agent| !self.sessions.is_linked(agent));
        is_away && (self.health != Health::Well || now.at < self.watching.agents_by)
    }

    /// A run's first attempt has started, or is found running.
    pub(super) fn watch_start(&mut self, now: Now, run: &RunId, started_at: UnixMs) {
        let Some(row) = self.open.get(run).map(|open| open.row.clone()) else {
            return;
        };
        if let Some(longest) = self.watch_of(&row.run.task).and_then(|(_, w)| w.longest) {
            self.conditions
                .remind(started_at.plus(longest), Deadline::End(run.clone()));
        }
        if row.run.cause != Cause::Rule {
            return;
        }
        let late = started_at.since(row.run.fire_at());
        let key = Key::task(&row.run.task, ConditionKind::Late);
        match self.late_after(&row.run) {
            Some(most) if late > most => {
                let (span, at) = (format_duration(late), hms(row.run.scheduled_at));
                let reason = format!("due at {at}, started {span} late");
                self.conditions.raise(now.at, &key, place(&row), reason);
            }
            _ => self.right_at(now, &key, &place(&row), "a run started in time"),
        }
    }

    fn should_have_ended(&mut self, now: Now, id: &RunId) {
        let Some(run) = self.open.get(id) else { return };
        let Stage::Running { started_at, .. } = run.stage else {
            return;
        };
        let row = run.row.clone();
        let longest = self.watch_of(&row.run.task).and_then(|(_, w)| w.longest);
        let Some(longest) = longest.filter(|longest| started_at.plus(*longest) <= now.at) else {
            return;
        };
        let span = format_duration(longest);
        let reason = format!(
            "has been running for more than {span}, since {}",
            hms(started_at)
        );
        let key = Key::task(&row.run.task, ConditionKind::TooLong);
        self.conditions.raise(now.at, &key, place(&row), reason);
    }

    /// A run has its outcome.
    pub(super) fn watch_end(&mut self, now: Now, row: &RunRow, ending: &Ending) {
        let Some((_, watch)) = self.watch_of(&row.run.task) else {
            return;
        };
        if row.run.cause == Cause::Daemon {
            return;
        }
        let watch = watch.clone();
        let key = |kind| Key::task(&row.run.task, kind);
        let at = place(row);
        let reason = match ending.outcome {
            Outcome::Failed => ending.reason.clone(),
            outcome => format!("{outcome}: {}", ending.reason),
        };
        match ending.outcome {
            Outcome::Missed if watch.missed > 0 && !self.is_meant(row, ending) => {
                let missed = key(ConditionKind::Missed);
                let reason = format!("{}, due at {}", ending.reason, hms(row.run.scheduled_at));
                self.conditions
                    .count(now.at, &missed, at.clone(), watch.missed, reason);
            }
            Outcome::Failed | Outcome::TimedOut | Outcome::Lost if watch.failures > 0 => {
                let failed = key(ConditionKind::Failed);
                self.conditions
                    .count(now.at, &failed, at.clone(), watch.failures, reason);
            }
            Outcome::Succeeded => {
                self.right_at(now, &key(ConditionKind::Failed), &at, "a run succeeded");
                self.watch_work(now, row, ending, &watch);
            }
            _ => {}
        }
        if ending.started_at.is_some() {
            self.right_at(now, &key(ConditionKind::Missed), &at, "a run started");
            self.watch_span(now, row, ending, &watch);
        } else {
            self.watch_unstarted(now, row);
        }
    }

    /// A run that will not start is not late any more, unless another of its place is.
    fn watch_unstarted(&mut self, now: Now, row: &RunRow) {
        let is_late = |id: &RunId| {
            let run = self.open.get(id).filter(|run| !run.stage.has_started());
            let at_place = run.filter(|run| place(&run.row) == place(row));
            at_place.is_some_and(|run| run.row.run.scheduled_at < row.run.scheduled_at)
        };
        if !self.open.of_task(&row.run.task).iter().any(is_late) {
            let key = Key::task(&row.run.task, ConditionKind::Late);
            self.conditions
                .clear(now.at, &key, &place(row), "the run will not start");
        }
    }

    /// A stretch of time in which nothing of a task was run is over; what is beyond its rate is as it was asked for.
    pub(super) fn watch_stretch(&mut self, now: Now, row: &SpanRow) {
        let most = self
            .watch_of(&row.task)
            .map_or(0, |(_, watch)| watch.missed);
        let count = row.count.unwrap_or_default();
        let is_meant = row.reason.starts_with("rate") || is_of_freeze(&row.reason);
        if most == 0 || is_meant || count < u64::from(most) {
            return;
        }
        let key = Key::task(&row.task, ConditionKind::Missed);
        let at = Place::Slot(row.target.clone(), row.slot);
        let reason = format!("{}, {count} from {} on", row.reason, hms(row.from));
        self.conditions.raise(now.at, &key, at, reason);
    }

    /// What a drained agent misses, or a frozen group, is what somebody wanted.
    fn is_meant(&self, row: &RunRow, ending: &Ending) -> bool {
        if is_of_freeze(&ending.reason) {
            return true;
        }
        let agent = row.agent.as_ref().and_then(|id| self.fleet.agents.get(id));
        agent.is_some_and(|row| row.draining)
    }

    /// How long a run took, against the longest time.
    fn watch_span(&mut self, now: Now, row: &RunRow, ending: &Ending, watch: &Watch) {
        let (key, at) = (Key::task(&row.run.task, ConditionKind::TooLong), place(row));
        let took = span_of(ending);
        match watch
            .longest
            .zip(took)
            .filter(|(longest, took)| took > longest)
        {
            Some((longest, took)) => {
                let (took, longest) = (format_duration(took), format_duration(longest));
                let reason = format!("took {took}, more than {longest}");
                self.conditions.raise(now.at, &key, at, reason);
            }
            None => self.right_at(now, &key, &at, "a run took less"),
        }
    }

    /// Whether a run that succeeded has done anything.
    fn watch_work(&mut self, now: Now, row: &RunRow, ending: &Ending, watch: &Watch) {
        let key = |kind| Key::task(&row.run.task, kind);
        let (short, empty) = (key(ConditionKind::TooShort), key(ConditionKind::NoOutput));
        let took = span_of(ending);
        match watch
            .shortest
            .zip(took)
            .filter(|(shortest, took)| took < shortest)
        {
            Some((shortest, took)) => {
                let (took, shortest) = (format_duration(took), format_duration(shortest));
                let reason = format!("took {took}, less than {shortest}");
                self.conditions.raise(now.at, &short, place(row), reason);
            }
            None => self.right_at(now, &short, &place(row), "a run took longer"),
        }
        if watch.expect_output && ending.output_bytes == Some(0) {
            let reason = "a run succeeded and wrote nothing".to_owned();
            self.conditions.raise(now.at, &empty, place(row), reason);
        } else {
            self.right_at(now, &empty, &place(row), "a run wrote something");
        }
    }

    /// A run of a place did well; what was wrong while there was no agent is over too.
    fn right_at(&mut self, now: Now, key: &Key, at: &Place, why: &str) {
        self.conditions.clear(now.at, key, at, why);
        self.conditions.clear_where(now.at, key, why, |held| {
            matches!(held, Place::Slot(None, _))
        });
    }

    /// A daemon's slot has changed its state.
    pub(super) fn watch_slot(&mut self, now: Now, agent: &AgentId, slot: &SlotReport) {
        let key = Key::task(&slot.task, ConditionKind::Fatal);
        let at = Place::Slot(Some(agent.clone()), slot.slot);
        if slot.state == "fatal" {
            let name = self.fleet.agent_name(agent);
            let reason = format!("slot {} on {name}: {}", slot.slot, slot.reason);
            self.conditions.raise(now.at, &key, at, reason);
        } else if matches!(slot.state.as_str(), "running" | "stopped" | "exited") {
            // A slot on parole is tried; whether it is well again is not known before it runs.
            let why = format!("slot {} is {}", slot.slot, slot.state);
            self.conditions.clear(now.at, &key, &at, &why);
        }
    }

    /// The lease ran out: the store may be well, and another center lead. That is known soon.
    pub(super) fn doubt_store(&mut self, now: Now) {
        self.watching.doubted_until = Some(now.mono + LAPSE_DOUBT);
    }

    /// The store can be written, or not.
    pub(super) fn watch_store(&mut self, now: Now) {
        let key = Key::center(ConditionKind::Store);
        if let Health::Reloading { trouble } = &self.health {
            if self
                .watching
                .doubted_until
                .is_some_and(|until| now.mono < until)
            {
                return;
            }
            let reason = trouble.clone();
            self.conditions.raise(now.at, &key, Place::Whole, reason);
        } else {
            self.watching.doubted_until = None;
            self.conditions.clear(
                now.at,
                &key,
                &Place::Whole,
                "the store can be written again",
            );
        }
    }

    /// What a condition is about may be gone, or may not be watched any more.
    pub(super) fn prune_conditions(&mut self, now: Now) {
        let (fleet, routes) = (&self.fleet, &self.watching.routes);
        self.conditions
            .prune(now.at, |key, place| match &key.subject {
                Subject::Center if key.kind == ConditionKind::Notify => {
                    (!routes.contains(&None)).then_some(NO_ROUTE)
                }
                // Other centers are looked at whenever the store has told of them.
                Subject::Center | Subject::Standby(_) => None,
                Subject::Group(group) => {
                    (!routes.contains(&Some(group.clone()))).then_some(NO_ROUTE)
                }
                Subject::Agent(id) => match fleet.agents.get(id) {
                    None => Some("the agent was removed"),
                    Some(row) if row.draining && key.kind == ConditionKind::Silent => {
                        Some("the agent is drained")
                    }
                    Some(_) => None,
                },
                Subject::Task(id) => match fleet.tasks.get(id).map(|entry| &entry.task) {
                    None => Some("the task was removed"),
                    Some(task) => {
                        let members: Vec<&AgentId> =
                            fleet.candidates(task).map(|row| &row.id).collect();
                        outdated(task, key.kind, place, &members)
                    }
                },
            });
    }
}

fn span_of(ending: &Ending) -> Option<Duration> {
    let started_at = ending.started_at?;
    Some(ending.finished_at.since(started_at))
}

/// Why a place of a task cannot be in trouble of this kind any more.
fn outdated(
    task: &Task,
    kind: ConditionKind,
    place: &Place,
    members: &[&AgentId],
) -> Option<&'static str> {
    if !task.enabled {
        return Some("the task was stopped");
    }
    if !task.spec.watch.wants(kind) {
        return Some("the task does not ask for it any more");
    }
    let Place::Slot(agent, Slot(slot)) = place else {
        return None;
    };
    let is_elsewhere = agent.as_ref().is_some_and(|agent| {
        task.spec.target.is_one() && kind != ConditionKind::Fatal || !members.contains(&agent)
    });
    if is_elsewhere || *slot >= task.spec.work.processes {
        return Some("the task does not run there any more");
    }
    None
}
