//! `ucron run`: an operator in the group. One run per target and slot, now, also of a stopped task; overlap
//! applies: a run in the way is a conflict.

use super::{Audited, Replied, reply};
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::event::Now;
use crate::center::runs::Stage;
use crate::center::select::refusal;
use crate::model::{Cause, Overlap, Task};
use crate::proto::request::{Answer, Refusal, RefusalCode, RunsStarted, TaskRun};

pub(super) fn answer(core: &mut Core, now: Now, asker: &Asker, ask: &TaskRun) -> Replied {
    let task = core.find_task_to_change(asker, &ask.task)?.task.clone();
    let path = task.path();
    if task.spec.work.daemon {
        let message = format!("task {path} is a daemon: it is kept running");
        return Err(refusal(
            RefusalCode::Usage,
            message,
            Some("`ucron restart TASK` gives it new processes"),
        ));
    }
    refuse_frozen(core, now, &task)?;
    refuse_overlap(core, &task)?;
    let rows = core.rows(&task, now.at, Cause::Operator);
    if rows.iter().all(|row| row.agent.is_none()) {
        let message = format!(
            "no agent of group {} can take a run of {path} now",
            task.group
        );
        return Err(refusal(
            RefusalCode::Conflict,
            message,
            Some("`ucron agents` shows who is online"),
        ));
    }
    let runs = rows.iter().map(|row| row.run.run_id.clone()).collect();
    for row in rows {
        core.plan_run(now, row);
    }
    core.audit(
        now,
        asker,
        Audited::new("run", &path, Some(task.group.clone())),
    );
    reply(Answer::Started(RunsStarted { runs }))
}

/// In a frozen group nothing is started, by hand neither.
fn refuse_frozen(core: &Core, now: Now, task: &Task) -> Result<(), Refusal> {
    let Some(freeze) = core.fleet.frozen_at(&task.group, now.at) else {
        return Ok(());
    };
    let message = format!("group {} is {}", task.group, freeze.why());
    let hint = "an admin of the group ends the freeze with `ucron group thaw GROUP`";
    Err(refusal(RefusalCode::Conflict, message, Some(hint)))
}

/// With overlap `skip` a run under way is in the way; the other policies decide on the agent.
fn refuse_overlap(core: &Core, task: &Task) -> Result<(), Refusal> {
    if task.spec.work.overlap != Overlap::Skip {
        return Ok(());
    }
    let open = core
        .open
        .of_task(&task.id)
        .into_iter()
        .filter_map(|id| core.open.get(&id));
    let mut running = open.filter(|run| matches!(run.stage, Stage::Running { .. }));
    running.next().map_or(Ok(()), |run| {
        Err(refusal(
            RefusalCode::Conflict,
            format!("run {} of {} is under way", run.id(), task.path()),
            Some("wait for it, end it with `ucron kill`, or set another `--overlap`"),
        ))
    })
}
