//! `ucron import`: many tasks, added in one transaction or not at all. Each must be such that `add` would take it.

use std::collections::BTreeSet;

use super::task_add::{check_spec, new, put, taken_name, warnings};
use super::{Replied, reply};
use crate::auth::Deed;
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::event::Now;
use crate::center::select::{no_group, refusal};
use crate::model::TaskPath;
use crate::proto::request::{
    Answer, IfExists, Imported, ImportedTask, MOST_IMPORTED, NewTask, Refusal, RefusalCode,
    TaskImport,
};

pub(super) fn answer(core: &mut Core, now: Now, asker: &Asker, ask: TaskImport) -> Replied {
    check_whole(&ask)?;
    let mut names = BTreeSet::new();
    let judged = ask.tasks.iter().map(|task| {
        let told =
            once(&mut names, task).and_then(|()| judge(core, now, asker, task, ask.if_exists));
        told.unwrap_or_else(|refused| ImportedTask {
            refused: Some(refused),
            ..nothing()
        })
    });
    let mut tasks: Vec<ImportedTask> = judged.collect();
    let done = !ask.dry_run && tasks.iter().all(|task| task.refused.is_none());
    if done {
        let added = ask.tasks.into_iter().zip(&mut tasks);
        for (task, told) in added.filter(|(_, told)| !told.kept) {
            let path = (task.group, task.name);
            let task = new(core, now, asker, path, task.enabled, task.spec);
            put(core, now, asker, "import", &task);
            told.id = Some(task.id);
        }
    }
    reply(Answer::Imported(Imported { done, tasks }))
}

/// What is wrong with the request and not with one of its tasks.
fn check_whole(ask: &TaskImport) -> Result<(), Refusal> {
    let usage = |message: String| Err(refusal(RefusalCode::Usage, message, None));
    if ask.if_exists == IfExists::Replace {
        return usage("an import replaces nothing; give `fail` or `keep`".to_owned());
    }
    if ask.tasks.len() > MOST_IMPORTED {
        return usage(format!(
            "{} tasks are too many for one import; it takes {MOST_IMPORTED} at most",
            ask.tasks.len()
        ));
    }
    Ok(())
}

fn path(task: &NewTask) -> TaskPath {
    TaskPath {
        group: task.group.clone(),
        name: task.name.clone(),
    }
}

fn nothing() -> ImportedTask {
    ImportedTask {
        id: None,
        kept: false,
        refused: None,
        warnings: Vec::new(),
    }
}

/// A name may be in the request once.
fn once(names: &mut BTreeSet<TaskPath>, task: &NewTask) -> Result<(), Refusal> {
    let path = path(task);
    if names.insert(path.clone()) {
        return Ok(());
    }
    let message = format!("the name {path} is in the import twice");
    Err(refusal(RefusalCode::Conflict, message, None))
}

fn judge(
    core: &Core,
    now: Now,
    asker: &Asker,
    task: &NewTask,
    if_exists: IfExists,
) -> Result<ImportedTask, Refusal> {
    core.find_group(asker, &task.group)?;
    asker.may(Deed::TaskChange(&task.group), || {
        no_group(task.group.as_str())
    })?;
    check_spec(core, now, asker, &task.group, &task.spec)?;
    let path = path(task);
    match core.fleet.task_at(&path) {
        Some(entry) if if_exists == IfExists::Keep => Ok(ImportedTask {
            id: Some(entry.task.id.clone()),
            kept: true,
            ..nothing()
        }),
        Some(entry) => Err(taken_name(&path, &entry.task.id, TAKEN)),
        None => Ok(ImportedTask {
            warnings: warnings(core, &task.group, &task.spec),
            ..nothing()
        }),
    }
}

const TAKEN: &str = "rename one of them, or give `--if-exists keep`";
