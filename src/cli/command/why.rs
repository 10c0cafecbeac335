//! `why`: one sentence that a tired person understands, then the facts. Every reason was made by the step that
//! decided; this only gathers them.

use std::time::Duration;

use serde_json::{Value, json};

use super::tasks::{slots, tell_slots};
use crate::cli::args::WhyArgs;
use crate::cli::client::Client;
use crate::cli::fault::{Exit, Fault};
use crate::cli::print::standing::{self, Around};
use crate::cli::print::{Out, clean, row, slot, time};
use crate::proto::request::{AgentList, Answer, GroupList, Request, RunList, Status, TaskShow};
use crate::proto::view::{AgentView, ConditionView, GroupView, ProcessView, RunView, TaskView};
use crate::rule::{Schedule, UnixMs, parse_time};

/// Occurrences looked back at.
const LAST: u32 = 10;
/// How far back the nearest occurrence is looked for.
const NEAREST: Duration = Duration::from_hours(24 * 366);
/// Width of the span that a TIME names: rules of people are to the second.
const SECOND: Duration = Duration::from_secs(1);

/// `ucron why TASK [TIME]`.
pub async fn why(client: &mut Client<'_>, args: &WhyArgs) -> Result<Exit, Fault> {
    let task = args.task.clone();
    let Answer::Task(view) = client.ask(Request::TaskShow(TaskShow { task })).await? else {
        return Err(Fault::unexpected("`show`"));
    };
    match &args.time {
        None => of_task(client, &view).await,
        Some(text) => {
            let zone = client.out.style.zone.clone();
            let at = parse_time(text, client.out.now(), &zone)
                .map_err(|error| Fault::usage(format!("bad value for TIME: {error}")))?;
            // `now` and the like mean the second that they are in; a fraction that was written is meant.
            let at = if text.contains('.') {
                at
            } else {
                UnixMs(at.0.div_euclid(1000) * 1000)
            };
            of_occurrence(client, &view, at).await
        }
    }
}

/// What surrounds a task, as it was answered.
struct Found {
    group: Option<GroupView>,
    agents: Vec<AgentView>,
    conditions: Vec<ConditionView>,
}

impl Found {
    fn around(&self) -> Around<'_> {
        Around {
            group: self.group.as_ref(),
            agents: self.agents.iter().collect(),
            conditions: &self.conditions,
        }
    }
}

async fn look_around(client: &mut Client<'_>, view: &TaskView) -> Result<Found, Fault> {
    let Answer::Groups(groups) = client.ask(Request::GroupList(GroupList {})).await? else {
        return Err(Fault::unexpected("`groups`"));
    };
    let Answer::Agents(agents) = client.ask(Request::AgentList(AgentList {})).await? else {
        return Err(Fault::unexpected("`agents`"));
    };
    let Answer::Status(status) = client.ask(Request::Status(Status {})).await? else {
        return Err(Fault::unexpected("`status`"));
    };
    Ok(Found {
        group: groups.into_iter().find(|group| group.name == view.group),
        agents,
        conditions: status.conditions,
    })
}

async fn of_task(client: &mut Client<'_>, view: &TaskView) -> Result<Exit, Fault> {
    let found = look_around(client, view).await?;
    let ask = RunList {
        limit: LAST,
        open: true,
        ..RunList::default()
    };
    // Where history cannot be read, how the task stands is said all the same.
    let (runs, trouble) = match runs(client, view, ask).await {
        Ok(runs) => (runs, None),
        Err(fault) => (Vec::new(), Some(fault)),
    };
    let done = trouble.map_or(Ok(Exit::DONE), Err);
    let reasons = fold(&runs);
    let daemon = view.spec.work.daemon;
    let slots = if daemon {
        slots(client, view).await?
    } else {
        Vec::new()
    };
    let out = &mut *client.out;
    let state = state(view, &slots, &found.around(), |at| out.instant(at));
    let path = row::path(view);
    let wrong = found.conditions.iter();
    let wrong: Vec<&ConditionView> = wrong
        .filter(|told| told.task.as_ref().is_some_and(|of| of.to_string() == path))
        .collect();
    if out.style.is_json() {
        let facts = reasons.iter().map(Folded::json).collect::<Vec<Value>>();
        let next = view.next_at;
        let mut object = json!({
            "task": row::path(view), "state": state, "next_at": next, "reasons": facts,
            "conditions": row::plain(&wrong),
        });
        if daemon {
            object["slots"] = row::plain_all(&slots).into();
        }
        out.json(&object)?;
        return done;
    }
    out.line(&clean::line(&format!("{path} is {state}")))?;
    tell_slots(out, &slots)?;
    if let Some(at) = view.next_at {
        let what = if daemon {
            "restarted by its rule next"
        } else {
            "next"
        };
        out.line(&format!("{what}: {}", out.instant(at)))?;
    }
    for told in &wrong {
        let since = out.instant(told.began_at);
        out.line(&format!("wrong since {since}: {}", clean::line(&told.text)))?;
    }
    if reasons.is_empty() && slots.is_empty() && done.is_ok() {
        out.line("it has not run yet")?;
    }
    for reason in &reasons {
        out.line(&reason.line(out))?;
    }
    out.flush()?;
    done
}

/// What `why TASK` says of it, for `… is STATE`: how it stands, and how many slots of a daemon do what.
pub fn state(
    view: &TaskView,
    slots: &[ProcessView],
    around: &Around,
    instant: impl Fn(UnixMs) -> String,
) -> String {
    let state = standing::state(view, around, instant);
    if view.spec.work.daemon && view.enabled {
        format!("a daemon that is {state}: {}", slot::count(slots))
    } else {
        state
    }
}

async fn of_occurrence(
    client: &mut Client<'_>,
    view: &TaskView,
    at: UnixMs,
) -> Result<Exit, Fault> {
    let found = look_around(client, view).await?;
    let ask = RunList {
        open: true,
        since: Some(at),
        until: Some(at.plus(SECOND)),
        ..RunList::default()
    };
    let runs = runs(client, view, ask).await?;
    let out = &mut *client.out;
    let instant = |at| out.instant(at);
    let sentence = sentence(view, &runs, &found.around(), at, out.now(), instant);
    if out.style.is_json() {
        let runs: Vec<Value> = runs.iter().map(row::whole).collect();
        let object =
            json!({ "task": row::path(view), "at": at, "sentence": sentence, "runs": runs });
        out.json(&object)?;
        return Ok(Exit::DONE);
    }
    out.line(&clean::line(&sentence))?;
    for run in &runs {
        out.line(&fact(run))?;
    }
    out.flush()?;
    Ok(Exit::DONE)
}

async fn runs(
    client: &mut Client<'_>,
    view: &TaskView,
    ask: RunList,
) -> Result<Vec<RunView>, Fault> {
    let ask = RunList {
        task: Some(view.id.to_string()),
        ..ask
    };
    match client.ask(Request::RunList(ask)).await? {
        Answer::Runs(page) => Ok(page.runs),
        _ => Err(Fault::unexpected("`runs`")),
    }
}

/// What `why TASK TIME` says of the second that begins at `at`, of which these are the runs; `instant` writes an
/// instant for a reader.
pub fn sentence(
    view: &TaskView,
    runs: &[RunView],
    around: &Around,
    at: UnixMs,
    now: UnixMs,
    instant: impl Fn(UnixMs) -> String,
) -> String {
    if runs.is_empty() {
        unknown(view, around, at, now, instant)
    } else {
        told(view, runs)
    }
}

/// Why there is no run at an instant.
fn unknown(
    view: &TaskView,
    around: &Around,
    at: UnixMs,
    now: UnixMs,
    instant: impl Fn(UnixMs) -> String,
) -> String {
    let path = row::path(view);
    if view.spec.work.daemon {
        return format!("{path} is a daemon: no process of it was started then");
    }
    if at < view.saved_at {
        let when = instant(view.saved_at);
        return format!(
            "{path} was saved in its present form only at {when}, by {}",
            view.changed_by
        );
    }
    let schedule = Schedule::new(view.spec.rule.clone(), view.zone.clone());
    let last = UnixMs(at.plus(SECOND).0 - 1);
    if schedule.first_in(UnixMs(at.0 - 1), last).is_none() {
        return format!(
            "{path} is not due then: its rule `{}` {}",
            view.spec.rule,
            nearest(&schedule, at, &view.zone)
        );
    }
    if at > now {
        return to_come(view, around, at, instant);
    }
    if !view.enabled {
        return format!("{path} is {}", standing::state(view, around, instant));
    }
    if at <= view.changed_at {
        let when = instant(view.changed_at);
        let by = &view.changed_by;
        return format!("{path} was off then, until {by} turned it on at {when}");
    }
    format!("{path} was due then, and its history does not reach back so far")
}

/// What will be at an occurrence that has not come.
fn to_come(
    view: &TaskView,
    around: &Around,
    at: UnixMs,
    instant: impl Fn(UnixMs) -> String,
) -> String {
    let path = row::path(view);
    if !view.enabled {
        return format!("{path} is {}", standing::state(view, around, instant));
    }
    let until = around.group.and_then(|group| group.frozen_until);
    match standing::frozen(around.group, instant).filter(|_| Some(at) < until) {
        Some(frozen) => format!("{path} is due then, and will be missed: {frozen}"),
        None => format!("{path} is due then; it has not come yet"),
    }
}

/// When a rule is due before and after an instant.
fn nearest(schedule: &Schedule, at: UnixMs, zone: &crate::rule::Zone) -> String {
    let before = schedule.last_in(at.minus(NEAREST), UnixMs(at.0 - 1));
    let after = schedule.next_after(at).unwrap_or_default();
    let stamp = |at| time::stamp_day(at, zone);
    match (before, after) {
        (Some(before), Some(after)) => format!(
            "is due at {} before it and at {} after it",
            stamp(before),
            stamp(after)
        ),
        (None, Some(after)) => format!("is next due at {}", stamp(after)),
        (Some(before), None) => format!("was due last at {}", stamp(before)),
        (None, None) => "is due at no time near it".to_owned(),
    }
}

/// One sentence for the runs of one occurrence.
fn told(view: &TaskView, runs: &[RunView]) -> String {
    let path = row::path(view);
    let reasons = fold(runs);
    match reasons.as_slice() {
        [one] => format!("{path} {}: {}", one.outcome, clean::line(&one.reason)),
        many => {
            let parts: Vec<String> = many
                .iter()
                .map(|one| format!("{} {}", one.count, one.outcome))
                .collect();
            format!("{path}: {} of {} runs", parts.join(", "), runs.len())
        }
    }
}

fn fact(run: &RunView) -> String {
    let agent = run.agent.as_ref().map_or("no agent", |name| name.as_str());
    let outcome = run.outcome.map_or("open", |outcome| outcome.as_str());
    let late = run
        .late_ms
        .map_or_else(String::new, |ms| format!(", {} late", time::millis(ms)));
    let reason = clean::line(&run.reason);
    format!(
        "  {} on {agent} slot {}: {outcome}: {reason}{late}",
        run.run_id.short(),
        run.slot
    )
}

/// Runs with one outcome and reason.
struct Folded {
    outcome: &'static str,
    reason: String,
    count: usize,
    last_at: UnixMs,
}

impl Folded {
    fn line(&self, out: &Out) -> String {
        let reason = clean::line(&self.reason);
        format!(
            "{} {}: {reason} (last {})",
            self.count,
            self.outcome,
            out.instant(self.last_at)
        )
    }

    fn json(&self) -> Value {
        json!({ "outcome": self.outcome, "reason": self.reason, "count": self.count, "last_at": self.last_at })
    }
}

/// Folds runs, newest first, by outcome and reason; the ids of runs in a reason do not tell two apart.
fn fold(runs: &[RunView]) -> Vec<Folded> {
    let mut folded: Vec<Folded> = Vec::new();
    for run in runs {
        let outcome = run.outcome.map_or("open", |outcome| outcome.as_str());
        let reason = without_ids(&run.reason);
        match folded
            .iter_mut()
            .find(|one| one.outcome == outcome && one.reason == reason)
        {
            Some(one) => one.count += 1,
            None => folded.push(Folded {
                outcome,
                reason,
                count: 1,
                last_at: run.scheduled_at,
            }),
        }
    }
    folded
}

fn without_ids(reason: &str) -> String {
    let is_id = |word: &str| word.parse::<crate::model::RunId>().is_ok();
    let words = reason
        .split(' ')
        .map(|word| if is_id(word) { "…" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fake;
    use crate::model::{Outcome, RunId};

    fn run(at: i64, outcome: Outcome, reason: String) -> RunView {
        RunView {
            scheduled_at: UnixMs(at),
            outcome: Some(outcome),
            reason,
            ..fake::run("web", "dump")
        }
    }

    #[test]
    fn runs_fold_by_reason_whatever_run_was_in_the_way() {
        let overlap = |n: u8| format!("overlap with run {}", RunId::hash(&[n]));
        let runs = [
            run(3, Outcome::Skipped, overlap(1)),
            run(2, Outcome::Skipped, overlap(2)),
            run(1, Outcome::Succeeded, "exited with code 0".to_owned()),
        ];
        let told: Vec<String> = fold(&runs)
            .iter()
            .map(|one| {
                format!(
                    "{} {}: {} @{}",
                    one.count, one.outcome, one.reason, one.last_at.0
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                "2 skipped: overlap with run … @3",
                "1 succeeded: exited with code 0 @1"
            ]
        );
    }
}
