//! `ucron start`: an operator in the group. On again; a daemon's slots start, fatal ones too, and those that run
//! are left alone; fires nothing now.

use std::collections::BTreeSet;

use super::{Audited, Replied, Reply};
use crate::center::changes::ChangeId;
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::event::Now;
use crate::center::views::hms;
use crate::model::{AgentId, Task};
use crate::proto::agent::RestartSlots;
use crate::proto::request::{Answer, Changed, TaskStart};

pub(super) fn answer(core: &mut Core, now: Now, asker: &Asker, ask: &TaskStart) -> Replied {
    let old = core.find_task_to_change(asker, &ask.task)?.task.clone();
    let reason = format!("started by {} at {}", asker.operator, hms(now.at));
    let change = core
        .changes
        .begin(now, asker.session, asker.request, Some(old.id.clone()));
    core.drafts.change = Some(change);
    let down = if old.enabled {
        start_down(core, change, &old, &reason)
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
        0
    };
    let changed = !old.enabled || down > 0;
    if changed {
        core.audit(
            now,
            asker,
            Audited::new("start", &old.path(), Some(old.group.clone())),
        );
    }
    let hit = Changed {
        task: Some(old.id.clone()),
        revision: Some(old.revision),
        changed,
        ..Changed::default()
    };
    core.changes.tell(change, hit.clone(), None);
    Ok(Reply::Later(Box::new(Answer::Changed(Box::new(hit)))))
}

/// A daemon that is on: agents with slots that are down start these, and those of them that are away are named. How
/// many slots are down.
fn start_down(core: &mut Core, change: ChangeId, task: &Task, reason: &str) -> usize {
    let is_down = |state: &str| matches!(state, "fatal" | "exited" | "backoff");
    let down: Vec<AgentId> = core
        .slots
        .iter()
        .filter(|(key, slot)| key.task == task.id && is_down(&slot.state))
        .map(|(key, _)| key.agent.clone())
        .collect();
    for agent in down.iter().cloned().collect::<BTreeSet<_>>() {
        if !core.sessions.is_linked(&agent) {
            core.changes.away(change, agent);
            continue;
        }
        let restart = RestartSlots {
            task: task.id.clone(),
            one_by_one: false,
            only_down: true,
            reason: reason.to_owned(),
        };
        core.drafts.of(&agent).restart.push(restart);
    }
    down.len()
}
