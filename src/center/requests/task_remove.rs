//! `ucron rm`: an operator in the group. Stop, then delete; history stays; a new task of that name has a new id.

use super::task_stop::stop_runs;
use super::{Audited, Replied, Reply, spec_text};
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::event::Now;
use crate::center::events::{Audience, EventLog};
use crate::center::views::hms;
use crate::center::watch::Touched;
use crate::proto::request::{Answer, Changed, TaskRemove};
use crate::store::Write;

pub(super) fn answer(core: &mut Core, now: Now, asker: &Asker, ask: &TaskRemove) -> Replied {
    let task = core.find_task_to_change(asker, &ask.task)?.task.clone();
    let reason = format!("removed by {} at {}", asker.operator, hms(now.at));
    let change = core
        .changes
        .begin(now, asker.session, asker.request, Some(task.id.clone()));
    core.drafts.change = Some(change);
    core.settle_past(now, &task.id, false);
    let hit = Changed {
        changed: true,
        ..stop_runs(core, now, change, &task, &reason, true)
    };
    // What was left to finish is not left any longer.
    if let Some(entry) = core.fleet.tasks.get_mut(&task.id) {
        entry.task.finishing = false;
    }
    core.redistribute(Some(&task), None, &reason);
    core.write(Write::RemoveTask {
        task: task.id.clone(),
        at: now.at,
    });
    core.holders.remove(&task.id);
    core.fleet.remove_task(&task.id);
    core.forget_spans(&task.id);
    core.touch(&Touched::Task(task.id.clone()));
    core.touch(&Touched::Group(task.group.clone()));
    let mut entry = Audited::new("rm", &task.path(), Some(task.group.clone()));
    entry.before = spec_text(&task.spec);
    core.audit(now, asker, entry);
    let mut event = EventLog::blank(now.at, "task_removed");
    event.task = Some(task.path());
    event.operator = Some(asker.operator.clone());
    event.reason = reason;
    core.publish(Audience::Group(task.group.clone()), event);
    core.changes.tell(change, hit.clone(), None);
    Ok(Reply::Later(Box::new(Answer::Changed(Box::new(hit)))))
}
