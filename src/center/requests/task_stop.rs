//! `ucron stop`: an operator in the group. No further runs; what runs ends by the stop sequence, or by itself
//! with `--finish`. Survives every restart.

use super::{Audited, Replied, Reply};
use crate::center::changes::ChangeId;
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::event::Now;
use crate::center::runs::OpenRun;
use crate::center::views::hms;
use crate::model::{RunId, Task, TaskId};
use crate::proto::request::{Answer, Changed, TaskStop};

pub(super) fn answer(core: &mut Core, now: Now, asker: &Asker, ask: &TaskStop) -> Replied {
    let old = core.find_task_to_change(asker, &ask.task)?.task.clone();
    let reason = format!("stopped by {} at {}", asker.operator, hms(now.at));
    let change = core
        .changes
        .begin(now.at, asker.session, asker.request, Some(old.id.clone()));
    core.drafts.change = Some(change);
    let task = Task {
        enabled: false,
        finishing: ask.finish,
        changed_by: asker.operator.clone(),
        changed_at: now.at,
        ..old.clone()
    };
    core.put_task(now, asker, "task_stopped", &task, Some(&old));
    let hit = stop_runs(core, now, change, &task, &reason, !ask.finish);
    if ask.finish {
        // A daemon's slots are left to end by themselves; nothing starts them again.
        core.finish_daemon(&old, &reason);
    } else {
        core.redistribute(Some(&old), Some(&task), &reason);
    }
    let hit = Changed {
        changed: old.enabled || hit.stopped > 0,
        revision: Some(task.revision),
        ..hit
    };
    core.audit(
        now,
        asker,
        Audited::new("stop", &task.path(), Some(task.group.clone())),
    );
    core.changes.tell(change, hit.clone(), None);
    Ok(Reply::Later(Box::new(Answer::Changed(Box::new(hit)))))
}

/// Cancels what has not started; with `end`, begins the stop sequence of what has.
pub(super) fn stop_runs(
    core: &mut Core,
    now: Now,
    change: ChangeId,
    task: &Task,
    reason: &str,
    end: bool,
) -> Changed {
    let id = &task.id;
    core.note_away(change, id);
    let runs = core.open.of_task(id);
    let is = |id: &RunId, what: fn(&OpenRun) -> bool| core.open.get(id).is_some_and(what);
    let cancelled = runs
        .iter()
        .filter(|run| {
            is(run, |run| {
                !run.stage.has_started() && run.cancelled.is_none()
            })
        })
        .count();
    let running: Vec<RunId> = runs
        .iter()
        .filter(|run| is(run, |run| run.stage.has_started()))
        .cloned()
        .collect();
    let slots = core.live_slots(id).len();
    for run in &runs {
        let started = running.contains(run);
        if end || !started {
            core.cancel(now, run, reason, end);
        }
    }
    let stopped = if end { running.len() + slots } else { 0 };
    core.changes.counted(change, running);
    Changed {
        task: Some(task.id.clone()),
        cancelled: cancelled as u64,
        stopped: stopped as u64,
        ..Changed::default()
    }
}

impl Core {
    /// Notes the agents that hold something of a task and cannot be asked now.
    pub(in crate::center) fn note_away(&mut self, change: ChangeId, task: &TaskId) {
        let runs = self
            .open
            .of_task(task)
            .into_iter()
            .filter_map(|id| self.open.get(&id));
        let held = runs.filter(|run| {
            run.stage != crate::center::runs::Stage::Waiting
                && !run
                    .cancelled
                    .as_ref()
                    .is_some_and(|cancelled| cancelled.confirmed)
        });
        let mut away: Vec<_> = held.filter_map(|run| run.row.agent.clone()).collect();
        away.extend(
            self.slots
                .keys()
                .filter(|key| key.task == *task)
                .map(|key| key.agent.clone()),
        );
        for agent in away
            .into_iter()
            .filter(|agent| !self.sessions.is_linked(agent))
        {
            self.changes.away(change, agent);
        }
    }
}
