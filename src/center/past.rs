//! What a task is due and will not run: the time that is past when it comes to be planned, and what is beyond its rate.
//! Both are told as stretches, in the step that moves the cursor past them. Reads no clock.

use std::time::Duration;

use super::core::Core;
use super::event::Now;
use super::planner::CENTER_DOWN;
use crate::model::{Cause, Task, TaskId, UnixMs};
use crate::rule::RuleKind;

impl Core {
    /// Leaves nothing of a task unplanned that is past: before a change, which only counts from now on.
    pub(super) fn settle_past(&mut self, now: Now, id: &TaskId, catch_up: bool) {
        self.close_past(now, id, catch_up);
        let past = |core: &Self| {
            let entry = core.fleet.tasks.get(id);
            entry.is_some_and(|entry| entry.next_at.is_some_and(|at| at <= now.at))
        };
        while past(self) {
            self.plan_next(now, id);
        }
    }

    /// Tells what of a task is past on every target, as one stretch, and closes it behind the cursor. With `catch_up`
    /// the latest occurrence is planned, if there is time for it. Whether anything was past.
    pub(super) fn close_past(&mut self, now: Now, id: &TaskId, catch_up: bool) -> bool {
        let Some(entry) = self.fleet.tasks.get(id) else {
            return false;
        };
        let (task, schedule) = (entry.task.clone(), entry.schedule.clone());
        let Some(first) = entry.next_at.filter(|_| !task.spec.work.daemon) else {
            return false;
        };
        let freeze = self.fleet.freezes.get(&task.group).cloned();
        if let Some(freeze) = freeze.as_ref().filter(|freeze| freeze.covers(first)) {
            if first > now.at {
                return false;
            }
            self.miss_frozen(now, &task, &schedule, first, freeze);
            return true;
        }
        let before = |at: UnixMs| UnixMs(at.0 - 1);
        // What jitter may still delay to now is planned one by one.
        let past = before(now.at.minus(task.spec.jitter));
        // What a freeze kept from running is told by itself, and takes the place of what was due before it.
        let frozen_from = freeze.map(|freeze| freeze.from);
        let frozen_from = frozen_from.filter(|from| (first..=past).contains(from));
        let past = frozen_from.map_or(past, before);
        // So is what is planned or told already, by a clock that was ahead.
        let known = self.first_known(id, first, past);
        let Some(last) = schedule.last_in(before(first), known.map_or(past, before)) else {
            return false;
        };
        let in_time = last.plus(task.spec.start_within()) > now.at;
        let kept = catch_up && known.is_none() && in_time && frozen_from.is_none();
        let end = if kept {
            schedule.last_in(before(first), before(last))
        } else {
            Some(last)
        };
        if let Some(end) = end {
            self.miss_stretch(now, &task, (first, end), CENTER_DOWN);
        }
        if kept {
            for row in self.rows(&task, last, Cause::Rule) {
                self.plan_run(now, row);
            }
        }
        self.move_cursor(id, last);
        true
    }

    /// Where an occurrence is beyond the task's rate: the end of the stretch that is missed with it. Of every second
    /// the first occurrences are run, as many as make no more runs than allowed, at least one; so an occurrence
    /// planned again is decided again alike.
    pub(super) fn beyond_rate(&self, task: &Task, at: UnixMs) -> Option<UnixMs> {
        let RuleKind::Every(span) = task.spec.rule.kind() else {
            // Calendars are due once a second at most.
            return None;
        };
        if span >= Duration::from_secs(1) {
            return None;
        }
        let schedule = &self.fleet.tasks.get(&task.id)?.schedule;
        let runs = u64::try_from(self.places(task).len().max(1)).unwrap_or(u64::MAX);
        let second = UnixMs(at.0.div_euclid(1_000) * 1_000);
        let before = UnixMs(second.0 - 1);
        let number = schedule.count_in(before, at, u64::MAX).count;
        if number <= (u64::from(task.spec.max_rate) / runs).max(1) {
            return None;
        }
        let end = UnixMs(second.0 + 999);
        // What is planned or told already stays so.
        match self.first_known(&task.id, at, end) {
            Some(known) if known == at => None,
            known => schedule.last_in(UnixMs(at.0 - 1), known.map_or(end, |at| UnixMs(at.0 - 1))),
        }
    }

    /// The first occurrence of a task from `at` to `until` that is planned, or told as missed.
    pub(super) fn first_known(&self, task: &TaskId, at: UnixMs, until: UnixMs) -> Option<UnixMs> {
        let planned = self.open.of_task(task).into_iter();
        let planned = planned.filter_map(|id| self.open.get(&id));
        let planned = planned.filter(|run| run.row.run.cause.is_of_rule());
        let planned = planned.map(|run| run.row.run.scheduled_at);
        let planned = planned.filter(|of| (at..=until).contains(of));
        planned.chain(self.spans.first_told(task, at, until)).min()
    }
}
