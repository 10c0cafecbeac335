//! `ucron restart`: an operator in the group; a daemon gets a new process per slot, with its present revision.

use super::{Audited, Replied, Reply};
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::event::Now;
use crate::center::select::refusal;
use crate::center::views::hms;
use crate::model::AgentId;
use crate::proto::agent::RestartSlots;
use crate::proto::request::{Answer, Changed, RefusalCode, TaskRestart};

pub(super) fn answer(core: &mut Core, now: Now, asker: &Asker, ask: &TaskRestart) -> Replied {
    let task = core.find_task_to_change(asker, &ask.task)?.task.clone();
    let path = task.path();
    if !task.spec.work.daemon {
        let message = format!("task {path} is no daemon: there is nothing to restart");
        return Err(refusal(
            RefusalCode::Usage,
            message,
            Some("`ucron run TASK` runs it once, now"),
        ));
    }
    if !task.enabled {
        let message = format!("daemon {path} is stopped");
        return Err(refusal(
            RefusalCode::Conflict,
            message,
            Some("start it with `ucron start`"),
        ));
    }
    let reason = format!("restarted by {} at {}", asker.operator, hms(now.at));
    let change = core
        .changes
        .begin(now.at, asker.session, asker.request, Some(task.id.clone()));
    core.drafts.change = Some(change);
    let stopped = core.live_slots(&task.id).len() as u64;
    let agents: Vec<AgentId> = core.daemon_agents(&task).into_iter().collect();
    for agent in agents {
        if core.sessions.is_linked(&agent) {
            let one_by_one = ask.one_by_one;
            let restart = RestartSlots {
                task: task.id.clone(),
                one_by_one,
                reason: reason.clone(),
            };
            core.drafts.of(&agent).restart.push(restart);
        } else {
            core.changes.away(change, agent);
        }
    }
    core.audit(
        now,
        asker,
        Audited::new("restart", &path, Some(task.group.clone())),
    );
    let hit = Changed {
        task: Some(task.id),
        revision: Some(task.revision),
        changed: true,
        stopped,
        ..Changed::default()
    };
    core.changes.tell(change, hit.clone(), None);
    Ok(Reply::Later(Box::new(Answer::Changed(Box::new(hit)))))
}
