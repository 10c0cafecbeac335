//! A task: what it is, when it is due, how it went; and why it ran or did not.
//!
//! ```text
//! state       on, revision 3, changed by admin 2h ago
//! rule        */5 * * * *
//!             every 5 minutes (288 times a day)
//! next        Mon 2026-11-23 03:30:00 Europe/Berlin   …
//! command     /opt/probe --all
//! …
//! last runs
//! ```

use std::collections::BTreeMap;

use super::cells;
use super::page::{field, heading};
use super::paint::{TextLine, piece, plain};
use super::run;
use super::theme::{Tone, outcome};
use crate::cli::print::time;
use crate::model::{Outcome, Parole, UnixMs};
use crate::proto::view::TaskView;
use crate::rule::{RuleKind, Schedule, format_duration, words};
use crate::tui::state::{State, Thing, ended_at, path_of, target};
use crate::tui::text;

/// Next occurrences shown.
const NEXT: usize = 5;
/// Occurrences that `why` looks back on.
const BACK: usize = 10;

/// The page of a task.
pub fn details(state: &State, now: UnixMs, view: &TaskView, width: u16) -> (String, Vec<TextLine>) {
    let mut lines = Vec::new();
    field(
        &mut lines,
        "state",
        &state_words(state, now, view),
        tone(view),
        width,
    );
    due(&mut lines, view, now, width);
    command(&mut lines, view, width);
    policies(&mut lines, view, width);
    let path = path_of(view);
    let live: Vec<_> = state.fleet.processes_of(&path).collect();
    if !live.is_empty() {
        heading(&mut lines, "running");
        lines.extend(live.iter().map(|process| run::process_line(now, process)));
    }
    let has_process = !live.is_empty();
    heading(&mut lines, "last runs");
    let before = lines.len();
    lines.extend(
        state
            .fleet
            .runs_of(&path)
            .take(run::MOST)
            .map(|view| run::line(state, now, view)),
    );
    if lines.len() == before {
        let text = if has_process {
            "none has ended yet"
        } else {
            "no run yet"
        };
        lines.push(vec![piece(text, Tone::Dim)]);
    }
    (path.to_string(), lines)
}

fn tone(view: &TaskView) -> Tone {
    if view.enabled { Tone::Good } else { Tone::Warn }
}

fn state_words(state: &State, now: UnixMs, view: &TaskView) -> String {
    let word = if view.enabled { "on" } else { "stopped" };
    let changed = cells::when(view.changed_at, now, state);
    format!(
        "{word}, revision {}, last changed by {} {changed}",
        view.revision, view.changed_by
    )
}

fn due(lines: &mut Vec<TextLine>, view: &TaskView, now: UnixMs, width: u16) {
    let schedule = Schedule::new(view.spec.rule.clone(), view.zone.clone());
    field(lines, "rule", view.spec.rule.text(), Tone::Info, width);
    let words = format!("{} ({})", words(&schedule), schedule.per_day());
    field(lines, "", &words, Tone::Plain, width);
    if !view.enabled {
        field(
            lines,
            "next",
            "none: the task is stopped",
            Tone::Warn,
            width,
        );
        return;
    }
    match schedule.occurrences(now, NEXT) {
        Err(error) => field(lines, "next", &error.to_string(), Tone::Bad, width),
        Ok(next) if next.is_empty() => match view.spec.rule.kind() {
            RuleKind::Always | RuleKind::Reboot => {}
            _ => field(
                lines,
                "next",
                "none: the rule has no more",
                Tone::Warn,
                width,
            ),
        },
        Ok(next) => {
            for (at, due) in next.iter().enumerate() {
                let zone = if at == 0 { view.zone.name() } else { "" };
                let relative = time::relative(*due, now).unwrap_or_default();
                let text = format!("{} {zone}  {relative}", time::stamp_day(*due, &view.zone));
                field(
                    lines,
                    if at == 0 { "next" } else { "" },
                    &text,
                    Tone::Plain,
                    width,
                );
            }
        }
    }
}

fn command(lines: &mut Vec<TextLine>, view: &TaskView, width: u16) {
    let work = &view.spec.work;
    let how = match work.execute {
        crate::model::Execute::Shell(_) => "shell",
        crate::model::Execute::Vector(_) => "command",
    };
    field(lines, how, &work.execute.to_string(), Tone::Plain, width);
    field(lines, "user", work.run_user.as_str(), Tone::Plain, width);
    let on = format!("{} of group {}", target(&view.spec.target), view.group);
    field(lines, "target", &on, Tone::Plain, width);
    if let Some(note) = &view.spec.note {
        field(lines, "note", note, Tone::Plain, width);
    }
}

/// What is not at its default, and what one always wants to know.
fn policies(lines: &mut Vec<TextLine>, view: &TaskView, width: u16) {
    let (spec, work) = (&view.spec, &view.spec.work);
    let mut said = vec![format!("overlap {}", work.overlap)];
    match work.timeout {
        Some(timeout) => said.push(format!("timeout {}", format_duration(timeout))),
        None => said.push("no timeout".to_owned()),
    }
    said.push(format!("retries {}", work.retries));
    if work.daemon {
        let parole = match work.parole {
            Parole::Never => "never".to_owned(),
            Parole::After(span) => format_duration(span),
        };
        said.push(format!("daemon, restart {}, parole {parole}", work.restart));
    }
    if work.processes > 1 {
        said.push(format!("{} processes per agent", work.processes));
    }
    said.push(format!(
        "stop {} then KILL after {}",
        work.stop_signal.name(),
        format_duration(work.grace)
    ));
    said.push(format!("output {}", work.output));
    if spec.catch_up {
        said.push(format!(
            "catch-up within {}",
            format_duration(spec.misfire_grace)
        ));
    }
    if !spec.jitter.is_zero() {
        said.push(format!("jitter {}", format_duration(spec.jitter)));
    }
    if let Some(cwd) = &work.cwd {
        said.push(format!("cwd {cwd}"));
    }
    if work.nice != 0 {
        said.push(format!("nice {}", work.nice));
    }
    field(lines, "policies", &said.join(", "), Tone::Plain, width);
    for (name, value) in &work.env {
        field(lines, "env", &format!("{name}={value}"), Tone::Plain, width);
    }
    field(lines, "id", view.id.as_str(), Tone::Dim, width);
}

/// The page that says why: the state, what comes, what was, folded by reason.
pub fn why(state: &State, now: UnixMs, thing: &Thing) -> (String, Vec<TextLine>) {
    let Some(view) = state.task_of(thing) else {
        return (
            "why".to_owned(),
            vec![plain("the task is gone; Esc goes back")],
        );
    };
    let path = path_of(view);
    let mut lines = vec![vec![piece(
        format!("{path} is {}", state_words(state, now, view)),
        tone(view),
    )]];
    lines.push(next_words(state, now, view));
    let agents: Vec<_> = state.fleet.agents_of(&view.group).collect();
    if agents.is_empty() {
        let text = format!(
            "group {} has no agent: every occurrence is missed",
            view.group
        );
        lines.push(vec![piece(text, Tone::Bad)]);
    }
    for agent in agents {
        if agent.state != crate::model::AgentState::Online {
            let text = format!("agent {} is {}", agent.name, agent.state.as_str());
            lines.push(vec![piece(text, cells::agent_mark(agent.state).1)]);
        }
    }
    lines.extend(
        state
            .fleet
            .processes_of(&path)
            .map(|process| run::process_line(now, process)),
    );
    heading(&mut lines, &format!("the last {BACK} occurrences"));
    lines.extend(folded(state, now, view));
    (format!("why {path}"), lines)
}

fn next_words(state: &State, now: UnixMs, view: &TaskView) -> TextLine {
    let text = match (view.next_at, view.enabled) {
        (Some(at), _) => format!(
            "due next {} ({})",
            cells::when(at, now, state),
            time::stamp(at, &state.zone)
        ),
        (None, false) => "not due while it is stopped; s starts it".to_owned(),
        (None, true) if view.spec.work.daemon => "a daemon: kept running, never due".to_owned(),
        (None, true) => "its rule has no further occurrence".to_owned(),
    };
    plain(text)
}

/// The last occurrences folded by outcome and reason, with count and last instant.
fn folded(state: &State, now: UnixMs, view: &TaskView) -> Vec<TextLine> {
    let path = path_of(view);
    let mut order: Vec<(Outcome, String)> = Vec::new();
    let mut counts: BTreeMap<(Outcome, String), (u64, UnixMs)> = BTreeMap::new();
    for run in state.fleet.runs_of(&path).take(BACK) {
        let Some(found) = run.outcome else { continue };
        let key = (found, text::line(&run.reason));
        let entry = counts.entry(key.clone()).or_insert((0, ended_at(run)));
        entry.0 += 1;
        if !order.contains(&key) {
            order.push(key);
        }
    }
    if order.is_empty() {
        return vec![vec![piece("none known", Tone::Dim)]];
    }
    order
        .into_iter()
        .map(|key| {
            let (count, last) = counts[&key];
            let (found, reason) = key;
            vec![
                piece(format!("{count:>3} "), Tone::Strong),
                piece(found.as_str(), outcome(found).1),
                piece(
                    if reason.is_empty() {
                        String::new()
                    } else {
                        format!(": {reason}")
                    },
                    Tone::Plain,
                ),
                piece(
                    format!("  last {}", cells::when(last, now, state)),
                    Tone::Dim,
                ),
            ]
        })
        .collect()
}
