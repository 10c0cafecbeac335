//! Saving a task: the one place where a task's row, its index and what others are told change together.

use std::collections::BTreeSet;
use std::time::Duration;

use super::clients::Asker;
use super::core::Core;
use super::event::Now;
use super::events::{Audience, EventLog};
use super::fleet::TaskEntry;
use super::runs::Cancelled;
use super::watch::Touched;
use crate::model::{AgentId, GroupName, Task, UnixMs};
use crate::proto::view::TaskView;
use crate::rule::{RuleKind, Schedule};
use crate::store::{RunRow, Write};

impl Core {
    /// Saves a task, new or changed. Nothing is due before now; a task that was there keeps its cursor's time.
    pub(super) fn put_task(
        &mut self,
        now: Now,
        asker: &Asker,
        event: &str,
        task: &Task,
        old: Option<&Task>,
    ) {
        // What was due before this is told by what the task was then.
        self.settle_past(now, &task.id, false);
        self.write(Write::PutTask(Box::new(task.clone())));
        if old.is_none() {
            self.write(Write::SetCursor {
                task: task.id.clone(),
                at: now.at,
            });
        }
        let cursor = old
            .and_then(|old| self.fleet.tasks.get(&old.id))
            .map_or(now.at, |entry| entry.cursor);
        let zone = self.settings.zone.clone();
        self.fleet.put_task(task.clone(), cursor.max(now.at), &zone);
        if old.is_none() {
            self.redistribute(None, Some(task), "");
        }
        // A group shows how many tasks it has.
        for group in old.map(|old| &old.group).into_iter().chain([&task.group]) {
            self.touch(&Touched::Group(group.clone()));
        }
        let mut happened = EventLog::blank(now.at, event);
        happened.task = Some(task.path());
        happened.operator = Some(asker.operator.clone());
        happened.reason = format!("revision {}", task.revision);
        self.publish(Audience::Group(task.group.clone()), happened);
    }

    /// A task as it would be seen, saved or not.
    pub(super) fn preview(&self, task: &Task, now: Now, asker: &Asker) -> TaskView {
        if let Some(entry) = self
            .fleet
            .tasks
            .get(&task.id)
            .filter(|entry| entry.task == *task)
        {
            return self.task_view(entry, &asker.access);
        }
        let zone = task
            .spec
            .timezone
            .clone()
            .unwrap_or_else(|| self.settings.zone.clone());
        let schedule = Schedule::new(task.spec.rule.clone(), zone);
        let mut view = self.task_view(
            &TaskEntry::unsaved(task.clone(), schedule.clone()),
            &asker.access,
        );
        view.next_at = if task.enabled {
            schedule.next_after(now.at).unwrap_or_default()
        } else {
            None
        };
        view
    }

    /// Why a run that the store holds shall not start, if its task was stopped or removed.
    pub(super) fn cancelled_by_store(&self, row: &RunRow) -> Option<Cancelled> {
        let reason = match self.fleet.tasks.get(&row.run.task) {
            None => "its task was removed".to_owned(),
            Some(_) if !row.run.cause.is_of_rule() => return None,
            Some(entry) => match self.why_unwanted(entry, row) {
                None => self.frozen_reason(self.latest(), row)?,
                Some(verb) => {
                    let task = &entry.task;
                    let at = super::views::hms(task.changed_at);
                    format!("{verb} by {} at {at}", task.changed_by)
                }
            },
        };
        Some(Cancelled {
            reason,
            confirmed: row.agent.is_none(),
        })
    }

    /// What was done to a task that a run of it shall not start; what was due before is left alone.
    fn why_unwanted(&self, entry: &TaskEntry, row: &RunRow) -> Option<&'static str> {
        let (task, at) = (&entry.task, row.run.scheduled_at);
        if !task.enabled {
            return Some("stopped");
        }
        let ahead = at > task.changed_at && task.spec.rule.kind() != RuleKind::Reboot;
        let before = at.minus(Duration::from_millis(1));
        let due = entry.schedule.next_after(before).unwrap_or_default() == Some(at);
        let wanted = row.run.revision == task.revision || (due && fits(task, row));
        let of_group = |agent: &AgentId| self.fleet.candidates(task).any(|row| row.id == *agent);
        let has_agent = row.agent.as_ref().is_none_or(of_group);
        (ahead && !(wanted && has_agent)).then_some("changed")
    }

    /// The groups whose history an asker reads: none where all.
    pub(super) fn visible_groups(
        asker: &Asker,
        only: Option<&GroupName>,
    ) -> Option<BTreeSet<GroupName>> {
        match only {
            Some(group) => Some(BTreeSet::from([group.clone()])),
            None if asker.access.sees_all() => None,
            None => Some(asker.access.groups.keys().cloned().collect()),
        }
    }
}

impl TaskEntry {
    /// A task that is not saved, for showing it.
    fn unsaved(task: Task, schedule: Schedule) -> Self {
        Self::new(task, schedule, UnixMs(0), std::time::Duration::ZERO)
    }
}

/// Whether a task as it is now has such a run: of its kind of target, and of one of its slots.
pub(super) fn fits(task: &Task, row: &RunRow) -> bool {
    let one = row.target.is_none();
    let target = one == task.spec.target.is_one() || row.agent.is_none();
    target && row.run.slot.0 < task.spec.work.processes
}
