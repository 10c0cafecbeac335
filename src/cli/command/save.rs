//! `add`: a task as it shall be.

use crate::cli::args::AddArgs;
use crate::cli::client::Client;
use crate::cli::command::edit;
use crate::cli::fault::{Exit, Fault};
use crate::cli::hit::{self, Deed};
use crate::cli::print::{Out, row};
use crate::cli::spec;
use crate::proto::request::{Answer, IfExists, Request, Saved, TaskAdd};

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

/// `ucron add`.
pub async fn add(client: &mut Client<'_>, request: Request, args: &AddArgs) -> Result<Exit, Fault> {
    let dry_run = args.dry_run;
    let mut saved = saved(client.ask(request).await?)?;
    let replaces = args.if_exists == IfExists::Replace && !dry_run;
    if args.disabled && replaces && saved.task.enabled {
        edit::toggle(client, &mut saved, false).await?;
    }
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

/// What a change of a task is answered with.
pub fn saved(answer: Answer) -> Result<Saved, Fault> {
    match answer {
        Answer::Saved(saved) => Ok(*saved),
        _ => Err(Fault::unexpected("a change of a task")),
    }
}

/// Tells what was saved and what that did.
pub fn tell(out: &mut Out, saved: &Saved, deed: Deed) -> Result<Exit, Fault> {
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
