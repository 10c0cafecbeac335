//! `ucron add`: an operator in the group; the name must be free, or `--if-exists` says what to do.

use std::collections::BTreeMap;

use super::{Audited, Replied, Reply, reply, spec_text};
use crate::auth::Deed;
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::event::Now;
use crate::center::select::{no_group, refusal};
use crate::model::{GroupName, Revision, Target, Task, TaskId, TaskPath, TaskSpec};
use crate::proto::request::{
    Answer, Changed, IfExists, Refusal, RefusalCode, Saved, TaskAdd, TaskEdit,
};
use crate::rule::{RuleKind, Schedule};

/// Agents that one warning names.
const MAX_NAMED: usize = 3;

pub(super) fn answer(core: &mut Core, now: Now, asker: &Asker, ask: TaskAdd) -> Replied {
    core.find_group(asker, &ask.group)?;
    asker.may(Deed::TaskChange(&ask.group), || {
        no_group(ask.group.as_str())
    })?;
    check_spec(core, now, asker, &ask.group, &ask.spec)?;
    let path = TaskPath {
        group: ask.group.clone(),
        name: ask.name.clone(),
    };
    let taken = core.fleet.task_at(&path).map(|entry| entry.task.clone());
    match (taken, ask.if_exists) {
        (None, _) => add(core, now, asker, ask),
        (Some(task), IfExists::Fail) => {
            let hint = "choose another name, edit that task, or give `--if-exists keep|replace`";
            Err(taken_name(&path, &task.id, hint))
        }
        (Some(task), IfExists::Keep) => reply(unchanged(core, asker, &task)),
        (Some(task), IfExists::Replace) => {
            let TaskAdd {
                group,
                name,
                spec,
                dry_run,
                ..
            } = ask;
            let edit = TaskEdit {
                task: task.id.to_string(),
                revision: task.revision,
                group,
                name,
                spec,
                dry_run,
            };
            super::task_edit::answer(core, now, asker, edit)
        }
    }
}

pub(super) fn taken_name(path: &TaskPath, id: &TaskId, hint: &str) -> Refusal {
    refusal(
        RefusalCode::Conflict,
        format!("the name {path} is taken by task {id}"),
        Some(hint),
    )
}

/// What can only be known here: the accounts that the group allows, and whether the rule will ever be due.
pub(super) fn check_spec(
    core: &Core,
    now: Now,
    asker: &Asker,
    group: &GroupName,
    spec: &TaskSpec,
) -> Result<(), Refusal> {
    let usage = |message: String| refusal(RefusalCode::Failed, message, Some("nothing was stored"));
    spec.check().map_err(|fault| usage(fault.to_string()))?;
    core.check_run_user(asker, group, spec.work.run_user.as_str())?;
    let zone = spec
        .timezone
        .clone()
        .unwrap_or_else(|| core.settings.zone.clone());
    let schedule = Schedule::new(spec.rule.clone(), zone);
    match (spec.rule.kind(), schedule.next_after(now.at)) {
        (RuleKind::Calendar | RuleKind::At(_), Ok(None)) => Err(usage(format!(
            "the rule `{}` lies wholly in the past: it will never be due",
            spec.rule
        ))),
        (_, Err(fault)) => Err(usage(fault.to_string())),
        _ => Ok(()),
    }
}

/// What the operator should know of a task that is saved.
pub(super) fn warnings(core: &Core, group: &GroupName, spec: &TaskSpec) -> Vec<String> {
    let mut warnings = spec.rule.warnings();
    if core.fleet.agents_of(group).next().is_none() {
        warnings.push(format!(
            "group {group} has no agents: nothing will run until one is assigned with `ucron group assign {group} AGENT`"
        ));
    }
    if let Target::Named(names) = &spec.target {
        let members: Vec<_> = core.fleet.agents_of(group).map(|row| &row.name).collect();
        for name in names.iter().filter(|name| !members.contains(name)) {
            warnings.push(format!(
                "agent {name} is not in group {group}: nothing will run on it until it is"
            ));
        }
    }
    warnings.extend(refusals(core, group, spec));
    warnings.extend(without_effect(spec));
    warnings
}

/// Agents that would refuse the task, as far as they have told what their hosts allow.
fn refusals(core: &Core, group: &GroupName, spec: &TaskSpec) -> Vec<String> {
    let mut refusals: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for row in core.fleet.agents_of(group) {
        let meant = match &spec.target {
            Target::Named(names) => names.contains(&row.name),
            Target::Word(_) => true,
        };
        let session = core.sessions.of(&row.id).filter(|_| meant);
        let Some(policy) = session.and_then(|session| session.policy.as_ref()) else {
            continue;
        };
        let run_as = policy.run_as(&spec.work.run_user);
        if let Err(why) = policy.check(run_as, group, &spec.work) {
            refusals.entry(why).or_default().push(row.name.as_str());
        }
    }
    refusals
        .into_iter()
        .map(|(why, agents)| {
            format!(
                "{} refuse{} this task: {why}",
                named(&agents),
                plural(&agents)
            )
        })
        .collect()
}

fn plural(agents: &[&str]) -> &'static str {
    if agents.len() == 1 { "s" } else { "" }
}

/// `agent a1`, `agents a1, a2`, `agents a1, a2, a3 and 7 more`.
fn named(agents: &[&str]) -> String {
    let (shown, rest) = agents.split_at(agents.len().min(MAX_NAMED));
    let word = if agents.len() == 1 { "agent" } else { "agents" };
    let more = match rest.len() {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    };
    format!("{word} {}{more}", shown.join(", "))
}

/// What is kept with the task and counts only in a later version.
fn without_effect(spec: &TaskSpec) -> Option<String> {
    let plain = TaskSpec::new(spec.rule.clone(), spec.work.clone());
    let given = [
        ("--catch-up", spec.catch_up != plain.catch_up),
        ("--misfire-grace", spec.misfire_grace != plain.misfire_grace),
        ("--jitter", spec.jitter != plain.jitter),
    ];
    let flags: Vec<&str> = given
        .into_iter()
        .filter(|(_, given)| *given)
        .map(|(flag, _)| flag)
        .collect();
    (!flags.is_empty()).then(|| {
        format!(
            "{} is kept but has no effect in this version",
            flags.join(", ")
        )
    })
}

pub(super) fn unchanged(core: &Core, asker: &Asker, task: &Task) -> Answer {
    let entry = core.fleet.tasks.get(&task.id);
    let view = entry.map(|entry| core.task_view(entry, &asker.access));
    view.map_or(Answer::Done, |task| {
        Answer::Saved(Box::new(Saved {
            task,
            created: false,
            changed: false,
            warnings: Vec::new(),
            hit: Changed::default(),
        }))
    })
}

fn add(core: &mut Core, now: Now, asker: &Asker, ask: TaskAdd) -> Replied {
    let warnings = warnings(core, &ask.group, &ask.spec);
    let task = Task {
        id: TaskId::from(core.entropy.id(now.at)),
        group: ask.group,
        name: ask.name,
        revision: Revision(1),
        enabled: ask.enabled,
        finishing: false,
        spec: ask.spec,
        saved_at: now.at,
        changed_by: asker.operator.clone(),
        changed_at: now.at,
    };
    if ask.dry_run {
        let view = core.preview(&task, now, asker);
        let hit = Changed::default();
        return reply(Answer::Saved(Box::new(Saved {
            task: view,
            created: true,
            changed: false,
            warnings,
            hit,
        })));
    }
    core.put_task(now, asker, "task_saved", &task, None);
    let mut entry = Audited::new("add", &task.path(), Some(task.group.clone()));
    entry.after = spec_text(&task.spec);
    core.audit(now, asker, entry);
    let view = core.preview(&task, now, asker);
    let hit = Changed {
        task: Some(task.id),
        revision: Some(task.revision),
        changed: true,
        ..Changed::default()
    };
    Ok(Reply::Answer(Box::new(Answer::Saved(Box::new(Saved {
        task: view,
        created: true,
        changed: true,
        warnings,
        hit,
    })))))
}
