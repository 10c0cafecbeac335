//! `why`: one sentence that a tired person understands, then the facts. Every reason was made by the step that
//! decided; this only gathers them.

use std::time::Duration;

use serde_json::{Value, json};

use super::tasks::{slots, tell_slots};
use crate::cli::args::WhyArgs;
use crate::cli::client::Client;
use crate::cli::fault::{Exit, Fault};
use crate::cli::print::{Out, clean, row, slot, time};
use crate::proto::request::{Answer, Request, RunList, TaskShow};
use crate::proto::view::{RunView, TaskView};
use crate::rule::{Schedule, UnixMs, parse_time};

/// Occurrences looked back at.
const LAST: u32 = 10;
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

async fn of_task(client: &mut Client<'_>, view: &TaskView) -> Result<Exit, Fault> {
    let ask = RunList {
        limit: LAST,
        ..RunList::default()
    };
    let runs = runs(client, view, ask).await?;
    let reasons = fold(&runs);
    let daemon = view.spec.work.daemon;
    let slots = if daemon {
        slots(client, view).await?
    } else {
        Vec::new()
    };
    let out = &mut *client.out;
    let state = if daemon && view.enabled {
        format!("a daemon that is on: {}", slot::count(&slots))
    } else {
        state(view, out)
    };
    if out.style.is_json() {
        let facts = reasons.iter().map(Folded::json).collect::<Vec<Value>>();
        let next = view.next_at;
        let mut object = json!({
            "task": row::path(view), "state": state, "next_at": next, "reasons": facts,
        });
        if daemon {
            object["slots"] = row::plain_all(&slots).into();
        }
        out.json(&object)?;
        return Ok(Exit::DONE);
    }
    out.line(&format!("{} is {state}", row::path(view)))?;
    tell_slots(out, &slots)?;
    if let Some(at) = view.next_at {
        let what = if daemon {
            "restarted by its rule next"
        } else {
            "next"
        };
        out.line(&format!("{what}: {}", out.instant(at)))?;
    }
    if reasons.is_empty() && slots.is_empty() {
        out.line("it has not run yet")?;
    }
    for reason in &reasons {
        out.line(&reason.line(out))?;
    }
    out.flush()?;
    Ok(Exit::DONE)
}

async fn of_occurrence(
    client: &mut Client<'_>,
    view: &TaskView,
    at: UnixMs,
) -> Result<Exit, Fault> {
    let ask = RunList {
        since: Some(at),
        until: Some(at.plus(SECOND)),
        ..RunList::default()
    };
    let runs = runs(client, view, ask).await?;
    let out = &mut *client.out;
    let sentence = if runs.is_empty() {
        unknown(view, at, out)
    } else {
        told(view, &runs)
    };
    if out.style.is_json() {
        let runs: Vec<Value> = runs.iter().map(row::whole).collect();
        let object =
            json!({ "task": row::path(view), "at": at, "sentence": sentence, "runs": runs });
        out.json(&object)?;
        return Ok(Exit::DONE);
    }
    out.line(&sentence)?;
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

/// What the task is now, for `… is STATE`.
fn state(view: &TaskView, out: &Out) -> String {
    if !view.enabled {
        let when = out.instant(view.changed_at);
        return format!(
            "stopped by {} at {when}; `ucron start` turns it on",
            view.changed_by
        );
    }
    match view.next_at {
        Some(_) => "on".to_owned(),
        None => format!(
            "on, but its rule `{}` has no further occurrence",
            view.spec.rule
        ),
    }
}

/// Why there is no run at an instant.
fn unknown(view: &TaskView, at: UnixMs, out: &Out) -> String {
    let path = row::path(view);
    if view.spec.work.daemon {
        return format!("{path} is a daemon: no process of it was started then");
    }
    if at < view.saved_at {
        let when = out.instant(view.saved_at);
        return format!(
            "{path} was saved in its present form only at {when}, by {}",
            view.changed_by
        );
    }
    let schedule = Schedule::new(view.spec.rule.clone(), view.zone.clone());
    let due = schedule.next_after(UnixMs(at.0 - 1)).unwrap_or_default();
    match due {
        Some(due) if due < at.plus(SECOND) && at > out.now() => {
            format!("{path} is due then; it has not come yet")
        }
        Some(_) if !view.enabled => state_sentence(view, out),
        Some(due) if due < at.plus(SECOND) => {
            format!(
                "{path} was due then, and its history does not reach back so far, or it was stopped then"
            )
        }
        Some(due) => format!(
            "{path} is not due then: its rule `{}` is next due at {} after it",
            view.spec.rule,
            time::stamp_day(due, &view.zone)
        ),
        None => format!(
            "{path} is not due then: its rule `{}` has no occurrence after it",
            view.spec.rule
        ),
    }
}

fn state_sentence(view: &TaskView, out: &Out) -> String {
    format!("{} is {}", row::path(view), state(view, out))
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
