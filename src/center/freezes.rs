//! Freezes: a window of a group in which nothing fires. What is due in it is missed at its instant, so that a freeze
//! that is ended or moved earlier takes nothing away; what was planned before it began is cancelled. The windows are a
//! memory of the leader's, in the store with the batch of what changed them, until all that was due in them is told.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::clients::Asker;
use super::core::Core;
use super::event::Now;
use super::events::{Audience, EventLog};
use super::runs::{Cancelled, OpenRun, Stage};
use super::views::hms;
use super::watch::Touched;
use crate::model::{Cause, GroupName, OperatorName, RunId, Task, TaskId, UnixMs};
use crate::proto::request::{Frozen, FrozenTask};
use crate::rule::Schedule;
use crate::store::{RunRow, Snapshot, Write};

/// Under which name the windows are remembered.
pub(super) const MEMORY: &str = "freezes";
/// What every reason of a freeze begins with.
const FROZEN: &str = "frozen by";
/// Occurrences of a task that a preview counts at most.
const MOST_COUNTED: u64 = 10_000;
/// And of all tasks together: a preview must not keep the core from its work.
const MOST_IN_ALL: u64 = 100_000;
/// Tasks that a preview names at most, well within one frame.
const MOST_NAMED: usize = 1_000;

/// A window of a group in which nothing fires.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Freeze {
    /// Its first instant.
    pub from: UnixMs,
    /// The first instant after it.
    pub until: UnixMs,
    /// Who froze the group.
    pub by: OperatorName,
    /// Why, in that operator's words.
    pub reason: String,
}

impl Freeze {
    /// Whether nothing fires at this instant.
    pub fn covers(&self, at: UnixMs) -> bool {
        self.from <= at && at < self.until
    }

    /// The reason of what does not run.
    pub fn why(&self) -> String {
        format!(
            "{FROZEN} {} until {}: {}",
            self.by,
            hms(self.until),
            self.reason
        )
    }
}

/// Whether an outcome's reason is that of a freeze: what somebody wanted is no trouble.
pub(super) fn is_of_freeze(reason: &str) -> bool {
    reason.starts_with(FROZEN)
}

/// The windows that the store remembers; text of another version counts as none.
pub(super) fn read(snapshot: &Snapshot) -> BTreeMap<GroupName, Freeze> {
    let text = snapshot.memories.get(MEMORY);
    text.and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

impl Core {
    /// Why a run may not start, if its group is frozen at its instant, or when it would be started.
    pub(super) fn frozen_reason(&self, now: UnixMs, row: &RunRow) -> Option<String> {
        let entry = self.fleet.tasks.get(&row.run.task)?;
        let freeze = self.fleet.freezes.get(&entry.task.group)?;
        let fire_at = row.run.fire_at();
        // It waits: to be caught up, in a queue, for its agent.
        let late = fire_at < now && freeze.covers(now);
        let is_frozen = freeze.covers(row.run.scheduled_at) || freeze.covers(fire_at) || late;
        is_frozen.then(|| freeze.why())
    }

    /// An occurrence in a freeze is missed on every target; of what is past a whole stretch at once. How many runs.
    pub(super) fn miss_frozen(
        &mut self,
        now: Now,
        task: &Task,
        schedule: &Schedule,
        first: UnixMs,
        freeze: &Freeze,
    ) -> usize {
        let why = freeze.why();
        let before = |at: UnixMs| UnixMs(at.0 - 1);
        let past = before(freeze.until).min(now.at);
        if self.first_known(&task.id, first, past).is_none()
            && let Some(last) = schedule.last_in(first, past)
        {
            self.miss_stretch(now, task, (first, last), &why);
            self.move_cursor(&task.id, last);
            return 1;
        }
        let mut missed = 0;
        if self.spans.first_told(&task.id, first, first).is_none() {
            for row in self.rows(task, first, Cause::Rule) {
                missed += usize::from(self.miss_one_frozen(now, &row, &why));
            }
        }
        self.move_cursor(&task.id, first);
        missed
    }

    /// What is planned already ends by itself, and what has ended has.
    fn miss_one_frozen(&mut self, now: Now, row: &RunRow, why: &str) -> bool {
        let key = (row.run.scheduled_at, row.run.run_id.clone());
        let is_told = self.is_open(&key.1) || self.early.contains(&key);
        if !is_told {
            self.miss_unplanned(now, row, why);
        }
        !is_told
    }

    /// Cancels what of a task is planned and may not start; what was cancelled for good stays so.
    pub(super) fn cancel_frozen(&mut self, now: Now, task: &TaskId) -> Vec<RunId> {
        let frozen: Vec<(RunId, String)> = self
            .open
            .of_task(task)
            .into_iter()
            .filter_map(|id| self.open.get(&id))
            .filter_map(|run| Some((run.id().clone(), self.to_be_frozen(now, run)?)))
            .collect();
        for (id, reason) in &frozen {
            self.cancel(now, id, reason, false);
        }
        frozen.into_iter().map(|(id, _)| id).collect()
    }

    fn to_be_frozen(&self, now: Now, run: &OpenRun) -> Option<String> {
        if run.stage.has_started() || run.row.run.cause == Cause::Daemon {
            return None;
        }
        let reason = self.frozen_reason(now.at, &run.row)?;
        // What is not confirmed is cancelled again, so that this freeze waits for it too (seed 3010).
        let stays = |cancelled: &Cancelled| {
            cancelled.confirmed && cancelled.reason == reason
                || !run.row.run.cause.is_of_rule()
                || !self.is_wanted(run)
        };
        let stays = run.cancelled.as_ref().is_some_and(stays);
        (!stays).then_some(reason)
    }

    /// Sets a group's window, or ends it, and has the store remember.
    pub(super) fn set_freeze(&mut self, group: &GroupName, freeze: Option<Freeze>) {
        match freeze {
            Some(freeze) => self.fleet.freezes.insert(group.clone(), freeze),
            None => self.fleet.freezes.remove(group),
        };
        let text = serde_json::to_string(&self.fleet.freezes).ok();
        self.write(Write::Remember {
            name: MEMORY.to_owned(),
            text: text.filter(|_| !self.fleet.freezes.is_empty()),
        });
        for task in self.tasks_of_rule(group) {
            self.fleet.plan_again(&task);
            self.touch(&Touched::Task(task));
        }
        self.touch(&Touched::Group(group.clone()));
    }

    /// The tasks of a group that are on and no daemons.
    pub(super) fn tasks_of_rule(&self, group: &GroupName) -> Vec<TaskId> {
        let tasks = self.fleet.tasks_of(group).map(|entry| &entry.task);
        let tasks = tasks.filter(|task| task.enabled && !task.spec.work.daemon);
        tasks.map(|task| task.id.clone()).collect()
    }

    /// Everybody who sees the group learns that it is frozen, or is no longer.
    pub(super) fn tell_freeze(
        &mut self,
        now: Now,
        event: &str,
        group: &GroupName,
        by: Option<&Asker>,
        reason: &str,
    ) {
        let mut happened = EventLog::blank(now.at, event);
        happened.operator = by.map(|asker| asker.operator.clone());
        happened.reason = format!("group {group}: {reason}");
        self.publish(Audience::Group(group.clone()), happened);
    }

    /// Windows that are over end by themselves, once all that was due in them is told.
    pub(super) fn end_freezes(&mut self, now: Now) {
        let over = |group: &GroupName, freeze: &Freeze| {
            let is_told = |task: &TaskId| {
                let entry = self.fleet.tasks.get(task);
                entry.is_none_or(|entry| entry.next_at.is_none_or(|at| at >= freeze.until))
            };
            freeze.until <= now.at && self.tasks_of_rule(group).iter().all(is_told)
        };
        let over: Vec<(GroupName, Freeze)> = self
            .fleet
            .freezes
            .iter()
            .filter(|(group, freeze)| over(group, freeze))
            .map(|(group, freeze)| (group.clone(), freeze.clone()))
            .collect();
        for (group, freeze) in over {
            self.set_freeze(&group, None);
            let reason = format!("the freeze by {} ended at {}", freeze.by, hms(freeze.until));
            self.tell_freeze(now, "group_thawed", &group, None, &reason);
        }
    }

    /// When the next window ends.
    pub(super) fn next_thaw(&self) -> Option<UnixMs> {
        self.fleet.freezes.values().map(|freeze| freeze.until).min()
    }

    /// What a window will keep from running.
    pub(super) fn preview_freeze(&self, now: Now, group: &GroupName, freeze: &Freeze) -> Frozen {
        let from = freeze.from.max(UnixMs(now.at.0 - 1));
        let mut left = MOST_IN_ALL;
        let mut tasks = Vec::new();
        for entry in self
            .fleet
            .tasks_of(group)
            .filter(|entry| entry.task.enabled)
        {
            let last = UnixMs(freeze.until.0 - 1);
            let counted = entry.schedule.count_in(from, last, MOST_COUNTED.min(left));
            left = left.saturating_sub(counted.count.min(MOST_COUNTED));
            if let Some(first_at) = entry.schedule.first_in(from, last) {
                tasks.push(FrozenTask {
                    task: entry.task.path(),
                    occurrences: counted.count,
                    at_least: !counted.done,
                    first_at,
                    next_at: entry.schedule.next_after(last).unwrap_or_default(),
                });
            }
        }
        tasks.sort_by_key(|task| task.first_at);
        let occurrences = tasks.iter().map(|task| task.occurrences).sum();
        let at_least = tasks.iter().any(|task| task.at_least);
        let count = tasks.len() as u64;
        tasks.truncate(MOST_NAMED);
        Frozen {
            group: group.clone(),
            from: freeze.from,
            until: freeze.until,
            reason: freeze.reason.clone(),
            done: false,
            count,
            occurrences,
            at_least,
            tasks,
            hit: crate::proto::request::Changed::default(),
        }
    }

    /// Whether an agent that cannot be asked now may start a run that was cancelled.
    pub(super) fn may_start_unasked(&self, id: &RunId) -> Option<crate::model::AgentId> {
        let run = self
            .open
            .get(id)
            .filter(|run| run.stage != Stage::Waiting)?;
        let agent = run.row.agent.clone()?;
        (!self.sessions.is_linked(&agent)).then_some(agent)
    }
}

/// How long a group is frozen where nobody says until when: a freeze that is forgotten ends.
pub(super) const USUAL: Duration = Duration::from_hours(24);
