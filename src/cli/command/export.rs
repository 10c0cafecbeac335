//! `export`: tasks as a text to keep.

use crate::cli::args::ExportArgs;
use crate::cli::client::Client;
use crate::cli::document;
use crate::cli::fault::{Exit, Fault};
use crate::cli::print::{row, tables};
use crate::proto::request::{Answer, Request, TaskList, TaskShow};
use crate::proto::view::TaskView;

/// `ucron export`. Where one of the tasks cannot be had nothing is written: a text that lacks a task would be
/// taken for the whole.
pub async fn export(client: &mut Client<'_>, args: ExportArgs) -> Result<Exit, Fault> {
    let (tasks, exit) = if args.tasks.is_empty() {
        (all(client, args).await?, Exit::DONE)
    } else {
        named(client, &args.tasks).await?
    };
    if exit != Exit::DONE {
        return Ok(exit);
    }
    if client.out.style.quiet || client.out.style.is_json() {
        let rows = tasks.iter().map(row::task).collect();
        client.out.list(&tables::TASKS, rows)?;
    } else {
        client.out.bytes(document::write(&tasks).as_bytes())?;
    }
    Ok(exit)
}

async fn all(client: &Client<'_>, args: ExportArgs) -> Result<Vec<TaskView>, Fault> {
    let list = TaskList { group: args.group };
    match client.ask(Request::TaskList(list)).await? {
        Answer::Tasks(tasks) => Ok(tasks),
        _ => Err(Fault::unexpected("`ls`")),
    }
}

async fn named(client: &mut Client<'_>, words: &[String]) -> Result<(Vec<TaskView>, Exit), Fault> {
    let words = client.words(words).await?;
    let mut tasks: Vec<TaskView> = Vec::new();
    let show = |task: &String| Request::TaskShow(TaskShow { task: task.clone() });
    let exit = client
        .each(&words, show, |_, _, answer| match answer {
            Answer::Task(task) if tasks.iter().any(|known| known.id == task.id) => Ok(Exit::DONE),
            Answer::Task(task) => {
                tasks.push(*task);
                Ok(Exit::DONE)
            }
            _ => Err(Fault::unexpected("`show`")),
        })
        .await?;
    Ok((tasks, exit))
}
