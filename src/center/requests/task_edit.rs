//! `ucron edit`: an operator in the task's group, and in the new one if it moves; the revision edited must be
//! the present one.

use super::task_add::{check_spec, taken_name, unchanged, warnings};
use super::{Audited, Replied, Reply, reply, spec_text};
use crate::auth::Deed;
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::event::Now;
use crate::center::select::{no_group, refusal};
use crate::center::views::hms;
use crate::model::{Task, TaskPath};
use crate::proto::request::{Answer, Changed, RefusalCode, Saved, TaskEdit};

pub(super) fn answer(core: &mut Core, now: Now, asker: &Asker, ask: TaskEdit) -> Replied {
    let old = core.find_task_to_change(asker, &ask.task)?.task.clone();
    core.find_group(asker, &ask.group)?;
    asker.may(Deed::TaskChange(&ask.group), || {
        no_group(ask.group.as_str())
    })?;
    if old.revision != ask.revision {
        return Err(refusal(
            RefusalCode::Conflict,
            format!(
                "task {} was changed meanwhile by {}: it has revision {} now",
                old.path(),
                old.changed_by,
                old.revision
            ),
            Some("look at it with `ucron show` and edit it again"),
        ));
    }
    let path = TaskPath {
        group: ask.group.clone(),
        name: ask.name.clone(),
    };
    if let Some(other) = core
        .fleet
        .task_at(&path)
        .filter(|other| other.task.id != old.id)
    {
        let hint = "choose another name, or `ucron rm` that task first";
        return Err(taken_name(&path, &other.task.id, hint));
    }
    if path == old.path() && ask.spec == old.spec {
        return reply(unchanged(core, asker, &old));
    }
    check_spec(core, now, asker, &ask.group, &ask.spec)?;
    let dry_run = ask.dry_run;
    let new = Task {
        group: ask.group,
        name: ask.name,
        spec: ask.spec,
        revision: old.revision.next(),
        saved_at: now.at,
        changed_by: asker.operator.clone(),
        changed_at: now.at,
        ..old.clone()
    };
    save(core, now, asker, &old, &new, dry_run)
}

fn save(
    core: &mut Core,
    now: Now,
    asker: &Asker,
    old: &Task,
    new: &Task,
    dry_run: bool,
) -> Replied {
    let warnings = warnings(core, &new.group, &new.spec);
    let hit = Changed {
        task: Some(new.id.clone()),
        revision: Some(new.revision),
        changed: !dry_run,
        ..Changed::default()
    };
    if dry_run {
        let task = core.preview(new, now, asker);
        return reply(Answer::Saved(Box::new(Saved {
            task,
            created: false,
            changed: false,
            warnings,
            hit,
        })));
    }
    let change = core
        .changes
        .begin(now.at, asker.session, asker.request, Some(new.id.clone()));
    core.drafts.change = Some(change);
    core.note_away(change, &new.id);
    core.put_task(now, asker, "task_saved", new, Some(old));
    let reason = format!("changed by {} at {}", asker.operator, hms(now.at));
    core.replan(now, &new.id, &reason);
    core.redistribute(Some(old), Some(new), &reason);
    let mut entry = Audited::new("edit", &new.path(), Some(new.group.clone()));
    entry.before = spec_text(&old.spec);
    entry.after = spec_text(&new.spec);
    core.audit(now, asker, entry);
    let task = core.preview(new, now, asker);
    let saved = Saved {
        task,
        created: false,
        changed: true,
        warnings,
        hit: hit.clone(),
    };
    core.changes.tell(change, hit, Some(saved.clone()));
    Ok(Reply::Later(Box::new(Answer::Saved(Box::new(saved)))))
}
