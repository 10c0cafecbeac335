//! `ucron group freeze|thaw`: an admin in the group. Nothing of the group fires for a while, which ends by itself;
//! what runs goes on, daemons too.

use super::{Audited, Replied, Reply, reply};
use crate::auth::Deed;
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::event::Now;
use crate::center::freezes::{Freeze, USUAL};
use crate::center::select::{no_group, refusal};
use crate::center::views::hms;
use crate::model::{GroupName, UnixMs};
use crate::proto::request::{
    Answer, Changed, Frozen, GroupFreeze, GroupThaw, Refusal, RefusalCode,
};

/// Longest reason: it stands in every row that it is the reason of.
const LONGEST_REASON: usize = 500;

pub(super) fn freeze(core: &mut Core, now: Now, asker: &Asker, ask: &GroupFreeze) -> Replied {
    let group = &ask.group;
    may_limit(core, asker, group)?;
    let until = ask.until.unwrap_or_else(|| now.at.plus(USUAL));
    check(now, until, &ask.reason)?;
    let old = core.fleet.freezes.get(group).cloned();
    let standing = old.as_ref().filter(|freeze| freeze.covers(now.at));
    let new = Freeze {
        from: standing.map_or(now.at, |freeze| freeze.from),
        until,
        by: asker.operator.clone(),
        reason: ask.reason.trim().to_owned(),
    };
    let preview = core.preview_freeze(now, group, &new);
    if ask.dry_run {
        return reply(Answer::Frozen(Box::new(preview)));
    }
    let mut entry = Audited::new("group freeze", group, Some(group.clone()));
    entry.before = text(old.as_ref());
    entry.after = text(Some(&new));
    let frozen = set(core, now, asker, group, new, preview);
    core.audit(now, asker, entry);
    Ok(Reply::Later(Box::new(Answer::Frozen(Box::new(frozen)))))
}

fn set(
    core: &mut Core,
    now: Now,
    asker: &Asker,
    group: &GroupName,
    new: Freeze,
    preview: Frozen,
) -> Frozen {
    let change = core.changes.begin(now, asker.session, asker.request, None);
    core.drafts.change = Some(change);
    let tasks = core.tasks_of_rule(group);
    // What was due before this is told as it was before it.
    for task in &tasks {
        core.settle_past(now, task, core.catches_up(task));
    }
    let why = format!("until {}: {}", hms(new.until), new.reason);
    let reason = new.why();
    core.set_freeze(group, Some(new));
    let mut cancelled = 0;
    for task in &tasks {
        // One that is frozen for less long now may fire what was planned and cancelled.
        core.replan(now, task, &reason);
        let runs = core.open.of_task(task);
        let runs = runs.iter().filter(|id| core.is_cancelled(id));
        cancelled += runs.clone().count() as u64;
        let away: Vec<_> = runs.filter_map(|id| core.may_start_unasked(id)).collect();
        for agent in away {
            core.changes.away(change, agent);
        }
    }
    core.tell_freeze(now, "group_frozen", group, Some(asker), &why);
    let frozen = Frozen {
        done: true,
        hit: Changed {
            changed: true,
            cancelled,
            ..Changed::default()
        },
        ..preview
    };
    core.changes.tell_frozen(change, frozen.clone());
    frozen
}

pub(super) fn thaw(core: &mut Core, now: Now, asker: &Asker, ask: &GroupThaw) -> Replied {
    let group = &ask.group;
    may_limit(core, asker, group)?;
    let frozen = core.fleet.freezes.get(group).cloned();
    let Some(frozen) = frozen.filter(|freeze| freeze.covers(now.at)) else {
        return reply(Answer::Changed(Box::default()));
    };
    let tasks = core.tasks_of_rule(group);
    for task in &tasks {
        core.settle_past(now, task, core.catches_up(task));
    }
    core.set_freeze(group, None);
    let reason = format!("thawed by {} at {}", asker.operator, hms(now.at));
    for task in &tasks {
        core.replan(now, task, &reason);
    }
    core.tell_freeze(now, "group_thawed", group, Some(asker), &reason);
    let mut entry = Audited::new("group thaw", group, Some(group.clone()));
    entry.before = text(Some(&frozen));
    core.audit(now, asker, entry);
    reply(Answer::Changed(Box::new(Changed {
        changed: true,
        ..Changed::default()
    })))
}

fn may_limit(core: &Core, asker: &Asker, group: &GroupName) -> Result<(), Refusal> {
    core.find_group(asker, group)?;
    asker.may(Deed::GroupLimit(group), || no_group(group.as_str()))
}

fn check(now: Now, until: UnixMs, reason: &str) -> Result<(), Refusal> {
    let wrong = |message: String, hint: &str| Err(refusal(RefusalCode::Usage, message, Some(hint)));
    if until <= now.at {
        return wrong(
            format!("a freeze until {} would be over already", hms(until)),
            "`--until 2h` is two hours ahead",
        );
    }
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().any(char::is_control) {
        return wrong(
            "a freeze needs a reason of one line".to_owned(),
            "it is what everybody reads who asks why nothing runs",
        );
    }
    if reason.chars().count() > LONGEST_REASON {
        return wrong(
            format!("a reason has at most {LONGEST_REASON} characters"),
            "name a ticket or a page that says more",
        );
    }
    Ok(())
}

fn text(freeze: Option<&Freeze>) -> Option<String> {
    freeze.and_then(|freeze| serde_json::to_string(freeze).ok())
}

impl Core {
    fn is_cancelled(&self, id: &crate::model::RunId) -> bool {
        let run = self.open.get(id);
        run.is_some_and(|run| !run.stage.has_started() && run.cancelled.is_some())
    }
}
