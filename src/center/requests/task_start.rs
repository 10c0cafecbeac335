//! `ucron start`: an operator in the group. On again; a daemon's slots start, fatal ones too; fires nothing now.

use super::{Audited, Replied, Reply};
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::event::Now;
use crate::center::views::hms;
use crate::model::Task;
use crate::proto::agent::RestartSlots;
use crate::proto::request::{Answer, Changed, TaskStart};

pub(super) fn answer(core: &mut Core, now: Now, asker: &Asker, ask: &TaskStart) -> Replied {
    let old = core.find_task_to_change(asker, &ask.task)?.task.clone();
    let reason = format!("started by {} at {}", asker.operator, hms(now.at));
    let change = core
        .changes
        .begin(now.at, asker.session, asker.request, Some(old.id.clone()));
    core.drafts.change = Some(change);
    if old.enabled {
        start_fatal(core, &old, &reason);
    } else {
        let task = Task {
            enabled: true,
            finishing: false,
            changed_by: asker.operator.clone(),
            changed_at: now.at,
            ..old.clone()
        };
        core.put_task(now, asker, "task_started", &task, Some(&old));
        core.replan(now, &task.id, &reason);
        core.redistribute(Some(&old), Some(&task), &reason);
        core.audit(
            now,
            asker,
            Audited::new("start", &task.path(), Some(task.group.clone())),
        );
    }
    let hit = Changed {
        task: Some(old.id.clone()),
        revision: Some(old.revision),
        changed: !old.enabled,
        ..Changed::default()
    };
    core.changes.tell(change, hit.clone(), None);
    Ok(Reply::Later(Box::new(Answer::Changed(Box::new(hit)))))
}

/// A daemon that is on: agents with a slot that is not running start it again.
fn start_fatal(core: &mut Core, task: &Task, reason: &str) {
    let resting = |state: &str| matches!(state, "fatal" | "exited");
    let agents: std::collections::BTreeSet<_> = core
        .slots
        .iter()
        .filter(|(key, slot)| key.task == task.id && resting(&slot.state))
        .map(|(key, _)| key.agent.clone())
        .collect();
    for agent in agents
        .into_iter()
        .filter(|agent| core.sessions.is_linked(agent))
        .collect::<Vec<_>>()
    {
        let restart = RestartSlots {
            task: task.id.clone(),
            one_by_one: false,
            reason: reason.to_owned(),
        };
        core.drafts.of(&agent).restart.push(restart);
    }
}
