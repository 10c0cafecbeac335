//! `add`, `edit`: a task as it shall be.

use crate::cli::args::{AddArgs, EditArgs};
use crate::cli::client::Client;
use crate::cli::fault::{Exit, Fault};
use crate::cli::hit::{self, Deed};
use crate::cli::print::{Out, row};
use crate::cli::spec;
use crate::proto::request::{Answer, Request, Saved, TaskAdd, TaskEdit, TaskShow};
use crate::proto::view::TaskView;

/// What `add` asks for.
pub fn added(args: &AddArgs) -> Result<Request, Fault> {
    Ok(Request::TaskAdd(Box::new(TaskAdd {
        group: args.group.clone(),
        name: args.name.clone(),
        enabled: !args.disabled,
        spec: spec::new(&args.flags)?,
        if_exists: args.if_exists,
        dry_run: args.dry_run,
    })))
}

/// What `edit` asks for, from the task as it is.
pub fn edited(args: &EditArgs, old: &TaskView) -> Result<Request, Fault> {
    Ok(Request::TaskEdit(Box::new(TaskEdit {
        task: old.id.to_string(),
        revision: old.revision,
        group: args.group.clone().unwrap_or_else(|| old.group.clone()),
        name: args.name.clone().unwrap_or_else(|| old.task_name.clone()),
        spec: spec::edited(&old.spec, &args.flags, &args.resets)?,
        dry_run: args.dry_run,
    })))
}

/// `ucron add`.
pub async fn add(client: &mut Client<'_>, request: Request, dry_run: bool) -> Result<Exit, Fault> {
    let saved = saved(client.ask(request).await?)?;
    let done = match (saved.created, dry_run) {
        (true, false) => "added",
        (true, true) => "would be added",
        (false, false) => "changed",
        (false, true) => "would be changed",
    };
    let already = if saved.created {
        done
    } else {
        "is there already and stays as it is"
    };
    if !client.out.style.is_json() && !dry_run {
        client.out.line(saved.task.id.as_str())?;
        client.out.flush()?;
    }
    tell(client.out, &saved, Deed { done, already })
}

/// `ucron edit`.
pub async fn edit(client: &mut Client<'_>, args: &EditArgs) -> Result<Exit, Fault> {
    let task = args.task.clone();
    let Answer::Task(old) = client.ask(Request::TaskShow(TaskShow { task })).await? else {
        return Err(Fault::unexpected("`show`"));
    };
    let saved = saved(client.ask(edited(args, &old)?).await?)?;
    let deed = Deed {
        done: if args.dry_run {
            "would be changed"
        } else {
            "changed"
        },
        already: "is so already",
    };
    if client.out.style.quiet && !args.dry_run {
        client.out.line(saved.task.id.as_str())?;
    }
    tell(client.out, &saved, deed)
}

fn saved(answer: Answer) -> Result<Saved, Fault> {
    match answer {
        Answer::Saved(saved) => Ok(*saved),
        _ => Err(Fault::unexpected("a change of a task")),
    }
}

fn tell(out: &mut Out, saved: &Saved, deed: Deed) -> Result<Exit, Fault> {
    if out.style.is_json() {
        out.json(&row::saved(saved))?;
    }
    for warning in &saved.warnings {
        out.say(&format!("warning: {warning}"));
    }
    let mut hit = saved.hit.clone();
    hit.changed = saved.changed;
    Ok(hit::tell(out, &row::path(&saved.task), deed, &hit))
}

/// `edit` wants something to change.
pub fn check(args: &EditArgs) -> Result<(), Fault> {
    let untouched = args.group.is_none() && args.name.is_none() && args.resets.0.is_empty();
    if untouched && !args.flags.is_any() {
        return Err(Fault::usage("there is nothing to change")
            .hint("give at least one flag; see `ucron edit --help`"));
    }
    Ok(())
}
