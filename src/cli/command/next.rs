//! `next`: when a rule or a task is due. A rule is worked out here: no home, no center, no network.

use serde_json::{Value, json};

use crate::cli::args::NextArgs;
use crate::cli::client::Client;
use crate::cli::fault::{Exit, Fault, FaultCode};
use crate::cli::print::{Out, time};
use crate::proto::request::{Answer, Request, TaskShow};
use crate::rule::{Rule, RuleKind, Schedule, Shift, UnixMs, Zone, parse_time, words};

/// What is empty, holds white space, is `*…` or starts with `@` is a rule; the rest names a task.
pub fn is_rule(text: &str) -> bool {
    text.is_empty() || text.starts_with(['*', '@']) || text.contains(char::is_whitespace)
}

/// `ucron next 'RULE'`; the zone is UTC unless one is named.
pub fn of_rule(out: &mut Out, args: &NextArgs, zone: Option<&Zone>) -> Result<Exit, Fault> {
    let zone = zone.cloned().unwrap_or_else(Zone::utc);
    let rule = Rule::parse(&args.of).map_err(|error| {
        Fault::new(
            FaultCode::Failed,
            format!("the rule is refused\n{}", error.caret()),
        )
        .hint("see `man 5 ucron-rule`")
    })?;
    let from = from(args, out.now(), &zone)?;
    show(
        out,
        &Schedule::new(rule, zone.clone()),
        from,
        args.count,
        &zone,
    )
}

fn from(args: &NextArgs, now: UnixMs, zone: &Zone) -> Result<UnixMs, Fault> {
    match &args.from {
        None => Ok(now),
        Some(text) => parse_time(text, now, zone)
            .map_err(|error| Fault::usage(format!("bad value for `--from`: {error}"))),
    }
}

/// `ucron next TASK`, in the task's zone unless another is named for showing.
pub async fn of_task(
    client: &mut Client<'_>,
    args: &NextArgs,
    shown: Option<&Zone>,
) -> Result<Exit, Fault> {
    let task = args.of.clone();
    let Answer::Task(view) = client.ask(Request::TaskShow(TaskShow { task })).await? else {
        return Err(Fault::unexpected("`show`"));
    };
    let from = from(args, client.out.now(), &view.zone)?;
    let count = if view.enabled { args.count } else { 0 };
    if !view.enabled {
        let path = crate::cli::print::row::path(&view);
        client.out.say(&format!(
            "{path} is stopped, so nothing is due; `ucron start {path}` turns it on"
        ));
    }
    let schedule = Schedule::new(view.spec.rule.clone(), view.zone.clone());
    let zone = shown.unwrap_or(&view.zone).clone();
    show(client.out, &schedule, from, count, &zone)
}

fn show(
    out: &mut Out,
    schedule: &Schedule,
    from: UnixMs,
    count: usize,
    zone: &Zone,
) -> Result<Exit, Fault> {
    let due = occurrences(out, schedule, from, count)?;
    if out.style.is_json() || out.style.quiet {
        let times = due.iter().map(|at| json!(time::rfc3339(*at, zone)));
        out.values(times.collect::<Vec<Value>>())?;
        return Ok(Exit::DONE);
    }
    out.line(&words(schedule))?;
    if !matches!(schedule.rule().kind(), RuleKind::Always | RuleKind::Reboot) {
        out.line(&schedule.per_day())?;
    }
    for at in &due {
        out.line(&line(*at, schedule, zone, out.now()))?;
    }
    if due.len() < count && matches!(schedule.rule().kind(), RuleKind::Calendar | RuleKind::At(_)) {
        out.say("the rule has no more occurrences");
    }
    for warning in schedule.rule().warnings() {
        out.say(&format!("warning: {warning}"));
    }
    out.flush()?;
    Ok(Exit::DONE)
}

/// As many as there are; what keeps more from being found is said, not hidden.
fn occurrences(
    out: &mut Out,
    schedule: &Schedule,
    from: UnixMs,
    count: usize,
) -> Result<Vec<UnixMs>, Fault> {
    let mut due = Vec::new();
    let mut after = from;
    while due.len() < count {
        match schedule.next_after(after) {
            Ok(Some(at)) => {
                due.push(at);
                after = at;
            }
            Ok(None) => break,
            Err(error) if due.is_empty() => {
                return Err(Fault::new(FaultCode::Failed, error.to_string()));
            }
            Err(error) => {
                out.say(&error.to_string());
                break;
            }
        }
    }
    Ok(due)
}

fn line(at: UnixMs, schedule: &Schedule, zone: &Zone, now: UnixMs) -> String {
    let offset = &time::rfc3339(at, zone);
    let offset = &offset[offset.len() - 6..];
    let mark = match schedule.shift(at) {
        Shift::None => "",
        Shift::Gap => "  * moved: the clock change leaves its time out that day",
        Shift::Fold => "  * its time comes twice that day",
    };
    let relative = time::relative(at, now).map_or_else(String::new, |text| format!("  {text}"));
    format!("{} {offset}{relative}{mark}", time::stamp_day(at, zone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_and_tasks_are_told_apart() {
        for text in [
            "",
            " ",
            "* * * * *",
            "@daily",
            "@every 5s",
            "0 0 1 1 *",
            "*/5",
            "a\tb",
        ] {
            assert!(is_rule(text), "{text:?}");
        }
        for text in ["dump", "web/dump", "01hzzzzzzzzzzzzzzzzzzzzzzz", "-x"] {
            assert!(!is_rule(text), "{text:?}");
        }
    }
}
