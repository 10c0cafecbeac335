//! `edit`: a task as the flags change it, or as its text does in an editor.

use std::path::Path;

use crate::cli::args::EditArgs;
use crate::cli::client::Client;
use crate::cli::command::save;
use crate::cli::document::{self, Entry};
use crate::cli::editor::{self, Draft};
use crate::cli::fault::{Exit, Fault, FaultCode};
use crate::cli::hit::Deed;
use crate::cli::print::row;
use crate::cli::spec;
use crate::proto::request::{
    Answer, Changed, Request, Saved, TaskEdit, TaskShow, TaskStart, TaskStop,
};
use crate::proto::view::TaskView;

/// `edit` wants something to change, or an editor.
pub fn check(args: &EditArgs, has_editor: bool) -> Result<(), Fault> {
    if by_flags(args) || has_editor {
        return Ok(());
    }
    Err(Fault::usage("there is nothing to change")
        .hint("give at least one flag, or set EDITOR; see `ucron edit --help`"))
}

fn by_flags(args: &EditArgs) -> bool {
    let moved = args.group.is_some() || args.name.is_some();
    moved || args.disabled || !args.resets.0.is_empty() || args.flags.is_any()
}

/// `ucron edit`.
pub async fn edit(client: &mut Client<'_>, args: &EditArgs) -> Result<Exit, Fault> {
    let old = show(client, &args.task).await?;
    if by_flags(args) {
        return change(client, &old, edited(args, &old)?, args.dry_run).await;
    }
    in_editor(client, &old, args.dry_run).await
}

async fn show(client: &Client<'_>, task: &str) -> Result<TaskView, Fault> {
    let task = task.to_owned();
    match client.ask(Request::TaskShow(TaskShow { task })).await? {
        Answer::Task(view) => Ok(*view),
        _ => Err(Fault::unexpected("`show`")),
    }
}

/// The task as the flags change it.
fn edited(args: &EditArgs, old: &TaskView) -> Result<Entry, Fault> {
    Ok(Entry {
        group: args.group.clone().unwrap_or_else(|| old.group.clone()),
        name: args.name.clone().unwrap_or_else(|| old.task_name.clone()),
        enabled: (old.enabled && !args.disabled) || args.resets.0.contains("disabled"),
        spec: spec::edited(&old.spec, &args.flags, &args.resets)?,
    })
}

/// Makes the task what it shall be, and tells.
async fn change(
    client: &mut Client<'_>,
    old: &TaskView,
    new: Entry,
    dry_run: bool,
) -> Result<Exit, Fault> {
    let toggles = new.enabled != old.enabled;
    let is_same = (&new.group, &new.name, &new.spec) == (&old.group, &old.task_name, &old.spec);
    let deed = deed(
        !(toggles && is_same),
        toggles.then_some(new.enabled),
        dry_run,
    );
    let enabled = new.enabled;
    let mut saved = if toggles && is_same {
        unchanged(old)
    } else {
        let request = request(old, new, dry_run);
        save::saved(client.ask(request).await?)?
    };
    if toggles && dry_run {
        saved.task.enabled = enabled;
        saved.changed = true;
    } else if toggles {
        toggle(client, &mut saved, enabled).await?;
    }
    if client.out.style.quiet && !dry_run {
        client.out.line(saved.task.id.as_str())?;
    }
    save::tell(client.out, &saved, deed)
}

/// What the flags of an `edit` ask of the center, from the task as it is.
pub fn asked(args: &EditArgs, old: &TaskView) -> Result<Request, Fault> {
    Ok(request(old, edited(args, old)?, args.dry_run))
}

fn request(old: &TaskView, new: Entry, dry_run: bool) -> Request {
    Request::TaskEdit(Box::new(TaskEdit {
        task: old.id.to_string(),
        revision: old.revision,
        group: new.group,
        name: new.name,
        spec: new.spec,
        dry_run,
    }))
}

fn unchanged(old: &TaskView) -> Saved {
    Saved {
        task: old.clone(),
        created: false,
        changed: false,
        warnings: Vec::new(),
        hit: Changed::default(),
    }
}

/// Stops or starts the task that was saved, too; what that hit is told with the rest.
pub async fn toggle(client: &Client<'_>, saved: &mut Saved, enabled: bool) -> Result<(), Fault> {
    let task = saved.task.id.to_string();
    let request = if enabled {
        Request::TaskStart(TaskStart { task })
    } else {
        let finish = false;
        Request::TaskStop(TaskStop { task, finish })
    };
    match client.ask(request).await? {
        Answer::Changed(changed) => {
            add(&mut saved.hit, *changed);
            saved.task.enabled = enabled;
            saved.changed = true;
            Ok(())
        }
        _ => Err(Fault::unexpected("a change of a task")),
    }
}

fn add(hit: &mut Changed, more: Changed) {
    hit.cancelled += more.cancelled;
    hit.stopped += more.stopped;
    for agent in more.unconfirmed {
        hit.unconfirmed.retain(|known| known.agent != agent.agent);
        hit.unconfirmed.push(agent);
    }
}

fn deed(is_saved: bool, toggled: Option<bool>, dry_run: bool) -> Deed {
    let done = match (is_saved, toggled, dry_run) {
        (false, Some(true), false) => "started",
        (false, Some(true), true) => "would be started",
        (false, Some(false), false) => "stopped",
        (false, Some(false), true) => "would be stopped",
        (_, Some(true), false) => "changed and started",
        (_, Some(true), true) => "would be changed and started",
        (_, Some(false), false) => "changed and stopped",
        (_, Some(false), true) => "would be changed and stopped",
        (_, None, false) => "changed",
        (_, None, true) => "would be changed",
    };
    let already = "is so already";
    Deed { done, already }
}

/// Opens the task's text in the editor, again where it was wrong and somebody can be asked.
async fn in_editor(client: &mut Client<'_>, old: &TaskView, dry_run: bool) -> Result<Exit, Fault> {
    may_change(client, old).await?;
    let before = document::write(std::slice::from_ref(old));
    let draft = Draft::new(&format!("{}-{}", old.group, old.task_name), &before)?;
    loop {
        let opened = editor::open(client.input, draft.path()).await;
        let after = draft.read()?;
        if after == before {
            draft.remove();
            opened?;
            client.out.say("nothing is changed");
            return Ok(Exit::DONE);
        }
        opened.map_err(|fault| kept(fault, &draft))?;
        let saved = match entry(draft.path(), &after) {
            Ok(new) => change(client, old, new, dry_run).await,
            Err(fault) => Err(fault),
        };
        let fault = match saved {
            Ok(exit) => {
                draft.remove();
                return Ok(exit);
            }
            Err(fault) => fault,
        };
        if fault.code == FaultCode::Conflict {
            changed_meanwhile(client, old, &draft).await?;
        }
        if !client.input.is_terminal {
            return Err(kept(fault, &draft));
        }
        client.out.fault(&fault);
        if !again(client).await? {
            client.out.tell(&format!(
                "your text is kept in `{}`",
                draft.path().display()
            ));
            return Ok(Exit::from(&fault));
        }
    }
}

/// Nobody edits for long what may not be saved then.
async fn may_change(client: &Client<'_>, old: &TaskView) -> Result<(), Fault> {
    let same = Entry {
        group: old.group.clone(),
        name: old.task_name.clone(),
        enabled: old.enabled,
        spec: old.spec.clone(),
    };
    match client.ask(request(old, same, true)).await {
        Err(fault) if fault.code == FaultCode::Forbidden => Err(fault),
        // What else is wrong with it may be what is to be edited.
        _ => Ok(()),
    }
}

/// The one task of a text.
fn entry(path: &Path, text: &str) -> Result<Entry, Fault> {
    let entries = document::read(path, text).map_err(|faults| {
        let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Fault::usage(texts.join("\n"))
    })?;
    let count = entries.len();
    let mut entries = entries.into_iter();
    match (entries.next(), count) {
        (Some(entry), 1) => Ok(entry),
        _ => Err(Fault::usage(format!(
            "the text has {count} tasks; `ucron edit` wants the one it opened"
        ))),
    }
}

fn kept(fault: Fault, draft: &Draft) -> Fault {
    let kept = format!("your text is kept in `{}`", draft.path().display());
    let hint = match &fault.hint {
        Some(hint) => format!("{kept}; {hint}"),
        None => kept,
    };
    fault.hint(hint)
}

/// Fails with both versions kept where somebody else has changed the task meanwhile.
async fn changed_meanwhile(
    client: &Client<'_>,
    old: &TaskView,
    draft: &Draft,
) -> Result<(), Fault> {
    let now = match show(client, old.id.as_str()).await {
        Ok(now) if now.revision != old.revision => now,
        // Something else is in the way, or it cannot be known.
        _ => return Ok(()),
    };
    let beside = draft.beside(&document::write(std::slice::from_ref(&now)))?;
    let text = format!(
        "{} was changed meanwhile by {}",
        row::path(&now),
        now.changed_by
    );
    Err(Fault::new(FaultCode::Conflict, text).hint(format!(
        "your text is kept in `{}`, the present one in `{}`",
        draft.path().display(),
        beside.display()
    )))
}

async fn again(client: &mut Client<'_>) -> Result<bool, Fault> {
    client.out.tell("edit again? [Y/n]");
    // The end of stdin is no yes.
    let answer = client.input.line().await?.unwrap_or_else(|| "n".to_owned());
    Ok(matches!(answer.trim(), "" | "y" | "Y" | "yes"))
}
