//! Saving a task: the one place where a task's row, its index and what others are told change together.

use std::collections::BTreeSet;

use super::clients::Asker;
use super::core::Core;
use super::event::Now;
use super::events::{Audience, EventLog};
use super::fleet::TaskEntry;
use super::runs::Cancelled;
use super::watch::Touched;
use crate::model::{GroupName, RunId, Task, UnixMs};
use crate::proto::agent::Kill;
use crate::proto::view::TaskView;
use crate::rule::Schedule;
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
            Some(entry) if entry.task.enabled || row.run.cause != crate::model::Cause::Rule => {
                return None;
            }
            Some(entry) => {
                format!(
                    "stopped by {} at {}",
                    entry.task.changed_by,
                    super::views::hms(entry.task.changed_at)
                )
            }
        };
        Some(Cancelled {
            reason,
            confirmed: row.agent.is_none(),
        })
    }

    /// A daemon's slots are left to end; they are not started again.
    pub(super) fn finish_daemon(&mut self, task: &Task, reason: &str) {
        if !task.spec.work.daemon {
            return;
        }
        // A daemon does not end by itself: to let it finish is to ask it to, with its stop signal.
        let live: Vec<(crate::model::AgentId, RunId)> = self
            .slots
            .iter()
            .filter(|(key, _)| key.task == task.id)
            .filter_map(|(key, slot)| Some((key.agent.clone(), slot.run_id.clone()?)))
            .collect();
        for (agent, run_id) in live
            .into_iter()
            .filter(|(agent, _)| self.sessions.is_linked(agent))
            .collect::<Vec<_>>()
        {
            let signal = Some(task.spec.work.stop_signal.number());
            self.drafts.of(&agent).kill.push(Kill {
                run_id,
                signal,
                reason: reason.to_owned(),
            });
        }
        let stopped = Task {
            enabled: false,
            ..task.clone()
        };
        self.redistribute(Some(task), Some(&stopped), reason);
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
