//! A task's window after a change of the task or of who may run it: runs still due stay, others are cancelled, missing
//! ones are planned.

use super::core::Core;
use super::event::Now;
use super::runs::{OpenRun, Stage};
use crate::model::{AgentId, Revision, RunId, Slot, TaskId, UnixMs};

impl Core {
    /// Plans a task's window anew after a change: runs still due stay (in the new revision), others are
    /// cancelled with this reason, missing ones are added.
    pub(super) fn replan(&mut self, now: Now, id: &TaskId, reason: &str) {
        self.settle_past(now, id, self.catches_up(id));
        let from = self.first_plannable(now, id);
        for run_id in self.open.of_task(id) {
            self.replan_run(now, from, &run_id, reason);
        }
        self.move_cursor(id, from);
        let daemon = |core: &Self| {
            core.fleet
                .tasks
                .get(id)
                .is_none_or(|entry| entry.task.spec.work.daemon)
        };
        while !daemon(self) && self.fleet.plan_at(id).is_some_and(|at| at <= now.at) {
            self.plan_next(now, id);
        }
        self.cancel_frozen(now, id);
    }

    /// After this a task may be planned anew: what was due before, by a clock that was set back since, has its
    /// outcome or is on its way to it. A task just made has nothing behind it.
    fn first_plannable(&self, now: Now, id: &TaskId) -> UnixMs {
        let entry = self.fleet.tasks.get(id);
        let is_new = entry.is_some_and(|entry| {
            entry.task.revision == Revision(1) && entry.task.saved_at == now.at
        });
        let last = entry.and_then(|entry| entry.last_run.as_ref());
        // What a removed agent held has its outcome before its instant.
        let last = last.map_or(UnixMs(0), |run| {
            let ended_at = run.finished_at.unwrap_or(run.scheduled_at);
            run.scheduled_at.min(ended_at)
        });
        // Behind its cursor nothing was ever planned.
        let cursor = entry.map_or(now.at, |entry| entry.cursor);
        if is_new {
            now.at
        } else {
            now.at.max(self.latest().max(last).min(cursor))
        }
    }

    /// A run after a change of its task. One whose instant is past and that has not started (jitter delays it, or it
    /// is to be caught up) goes on in the revision that was due, and only where no other is due now: nothing is run for
    /// a time before the task was saved.
    fn replan_run(&mut self, now: Now, from: UnixMs, id: &RunId, reason: &str) {
        let Some(run) = self.open.get(id).filter(|run| run.is_pending()) else {
            return;
        };
        let wanted = self.is_wanted(run);
        let ahead = run.row.run.scheduled_at > from;
        let same = self.revision_of(run) == Some(run.row.run.revision);
        let waiting = run.stage == Stage::Waiting;
        if ahead && !wanted || !ahead && waiting && !(wanted && same) {
            self.cancel(now, id, reason, false);
        } else if !ahead && run.row.run.fire_at() > now.at {
            if wanted && same {
                let row = run.row.clone();
                self.revive(now, &row);
            } else if !wanted {
                self.cancel(now, id, reason, false);
            }
        }
    }

    fn revision_of(&self, run: &OpenRun) -> Option<Revision> {
        let entry = self.fleet.tasks.get(&run.row.run.task)?;
        Some(entry.task.revision)
    }

    /// Whether a rule's run is one that its task, as it is now, has at its instant.
    pub(super) fn is_wanted(&self, run: &OpenRun) -> bool {
        let Some(entry) = self.fleet.tasks.get(&run.row.run.task) else {
            return false;
        };
        let task = &entry.task;
        if !task.enabled
            || task.spec.work.daemon
            || !entry.schedule.is_due_at(run.row.run.scheduled_at)
        {
            return false;
        }
        let homeless = run.row.agent.is_none() && !task.spec.target.is_one();
        let place = |(slot, target, agent): &(Slot, Option<AgentId>, Option<AgentId>)| {
            (*slot, target) == (run.row.run.slot, &run.row.target) && (agent.is_none() || !homeless)
        };
        self.places(task).iter().any(place)
    }
}
