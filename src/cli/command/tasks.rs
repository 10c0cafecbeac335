//! `ls`, `show`, `stop`, `start`, `restart`, `rm`.

use crate::cli::args::{LsArgs, RestartArgs, RmArgs, Selection, ShowArgs, StartArgs, StopArgs};
use crate::cli::client::Client;
use crate::cli::fault::{Exit, Fault, FaultCode};
use crate::cli::hit::{self, Deed};
use crate::cli::print::{Out, row, slot, tables};
use crate::cli::select::{Care, Pick};
use crate::proto::request::{
    Answer, ProcessList, Request, RunShow, TaskList, TaskRemove, TaskRestart, TaskShow, TaskStart,
    TaskStop,
};
use crate::proto::view::{ProcessView, TaskView};

/// `ucron ls`.
pub async fn ls(client: &mut Client<'_>, args: LsArgs) -> Result<Exit, Fault> {
    match client
        .ask(Request::TaskList(TaskList { group: args.group }))
        .await?
    {
        Answer::Tasks(tasks) => {
            client
                .out
                .list(&tables::TASKS, tasks.iter().map(row::task).collect())?;
            Ok(Exit::DONE)
        }
        _ => Err(Fault::unexpected("`ls`")),
    }
}

/// Fields that people look for first.
const TASK_FIRST: [&str; 12] = [
    "id",
    "group",
    "task_name",
    "enabled",
    "rule",
    "timezone",
    "next_at",
    "last_run",
    "execute",
    "run_user",
    "target",
    "daemon",
];
const RUN_FIRST: [&str; 10] = [
    "run_id",
    "task",
    "agent",
    "slot",
    "outcome",
    "reason",
    "exit_code",
    "scheduled_at",
    "started_at",
    "finished_at",
];

/// `ucron show`: a task, or a run where there is no such task.
pub async fn show(client: &mut Client<'_>, args: ShowArgs) -> Result<Exit, Fault> {
    let mut exit = Exit::DONE;
    for of in client.words(&args.of).await? {
        if let Err(fault) = show_one(client, &of).await {
            client.out.fault(&fault);
            exit = exit.worst(Exit::from(&fault));
        }
    }
    Ok(exit)
}

async fn show_one(client: &mut Client<'_>, of: &str) -> Result<(), Fault> {
    let task = of.to_owned();
    match client.ask(Request::TaskShow(TaskShow { task })).await {
        Ok(Answer::Task(view)) if view.spec.work.daemon => show_daemon(client, &view).await,
        Ok(Answer::Task(view)) => client.out.object("id", &TASK_FIRST, &row::task(&view)),
        Ok(_) => Err(Fault::unexpected("`show`")),
        Err(fault) if fault.code == FaultCode::NotFound && may_be_run(of) => {
            let run = of.to_owned();
            match client.ask(Request::RunShow(RunShow { run })).await {
                Ok(Answer::Run(view)) => {
                    client.out.object("run_id", &RUN_FIRST, &row::whole(&view))
                }
                Ok(_) => Err(Fault::unexpected("`show`")),
                // Neither; the task's refusal is the one that was asked for.
                Err(second) if second.code == FaultCode::NotFound => Err(fault),
                Err(second) => Err(second),
            }
        }
        Err(fault) => Err(fault),
    }
}

/// A daemon with its slots.
async fn show_daemon(client: &mut Client<'_>, view: &TaskView) -> Result<(), Fault> {
    let slots = slots(client, view).await?;
    let mut object = row::task(view);
    if client.out.style.is_json() {
        object["slots"] = row::plain_all(&slots).into();
    }
    client.out.object("id", &TASK_FIRST, &object)?;
    if !client.out.style.is_json() && !client.out.style.quiet {
        tell_slots(client.out, &slots)?;
    }
    client.out.flush()
}

/// The slots of a daemon, by agent and number.
pub async fn slots(client: &mut Client<'_>, view: &TaskView) -> Result<Vec<ProcessView>, Fault> {
    let ask = ProcessList {
        task: Some(view.id.to_string()),
        ..ProcessList::default()
    };
    match client.ask(Request::ProcessList(ask)).await? {
        Answer::Processes(slots) => Ok(slots.into_iter().filter(|slot| slot.daemon).collect()),
        _ => Err(Fault::unexpected("`ps`")),
    }
}

/// One line for each slot.
pub fn tell_slots(out: &mut Out, slots: &[ProcessView]) -> Result<(), Fault> {
    for view in slots {
        let words = slot::words(view, |at| out.instant(at));
        out.line(&format!("{}/{} {words}", view.agent, view.slot))?;
    }
    Ok(())
}

/// Whether a text has the form of a run's id or its last characters.
pub fn may_be_run(text: &str) -> bool {
    let base32 = |b: u8| b.is_ascii_digit() || (b.is_ascii_lowercase() && !b"ilou".contains(&b));
    (1..=26).contains(&text.len()) && text.bytes().all(base32)
}

/// `ucron stop`.
pub async fn stop(client: &mut Client<'_>, args: StopArgs) -> Result<Exit, Fault> {
    let finish = args.finish;
    let deed = Deed {
        done: "stopped",
        already: "is stopped already",
    };
    change(client, &args.selection, "stop", Care::All, deed, |task| {
        Request::TaskStop(TaskStop { task, finish })
    })
    .await
}

/// `ucron start`.
pub async fn start(client: &mut Client<'_>, args: StartArgs) -> Result<Exit, Fault> {
    let deed = Deed {
        done: "started",
        already: "is on already",
    };
    change(client, &args.selection, "start", Care::All, deed, |task| {
        Request::TaskStart(TaskStart { task })
    })
    .await
}

/// `ucron restart`.
pub async fn restart(client: &mut Client<'_>, args: RestartArgs) -> Result<Exit, Fault> {
    let one_by_one = args.one_by_one;
    let deed = Deed {
        done: "restarting",
        already: "has no process to restart",
    };
    change(
        client,
        &args.selection,
        "restart",
        Care::All,
        deed,
        |task| Request::TaskRestart(TaskRestart { task, one_by_one }),
    )
    .await
}

/// `ucron rm`.
pub async fn rm(client: &mut Client<'_>, args: RmArgs) -> Result<Exit, Fault> {
    let deed = Deed {
        done: "deleted",
        already: "is deleted already",
    };
    change(client, &args.selection, "rm", Care::Several, deed, |task| {
        Request::TaskRemove(TaskRemove { task })
    })
    .await
}

async fn change(
    client: &mut Client<'_>,
    selection: &Selection,
    verb: &str,
    care: Care,
    deed: Deed,
    request: impl Fn(String) -> Request,
) -> Result<Exit, Fault> {
    let Some(picks) = client.pick(selection, verb, care).await? else {
        return Ok(Exit::NO);
    };
    let mut rows = Vec::new();
    let ask = |pick: &Pick| request(pick.task.clone());
    let exit = client
        .each(&picks, ask, |out, pick, answer| match answer {
            Answer::Changed(changed) => {
                rows.push(row::changed(&pick.name, &changed));
                Ok(hit::tell(out, &pick.name, deed, &changed))
            }
            _ => Err(Fault::unexpected("a change of a task")),
        })
        .await?;
    if client.out.style.quiet || client.out.style.is_json() {
        client.out.list(&tables::CHANGES, rows)?;
    }
    Ok(exit)
}
