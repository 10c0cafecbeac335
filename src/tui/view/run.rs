//! A run, ended or under way: how it went and the end of what it wrote.
//!
//! ```text
//! outcome     failed
//! reason      exit code 3
//! …
//! the end of its output
//! ```

use super::cells;
use super::page::{field, heading};
use super::paint::{TextLine, piece, plain};
use super::theme::{Tone, outcome};
use crate::cli::print::time;
use crate::model::{RunId, UnixMs};
use crate::proto::request::ProcessKey;
use crate::proto::view::{ProcessView, RunView};
use crate::tui::state::{State, ended_at};
use crate::tui::text;

/// Runs that a page lists at most.
pub const MOST: usize = 50;

/// The page of a run that has ended.
pub fn ended(
    state: &State,
    now: UnixMs,
    id: &RunId,
    width: u16,
) -> Option<(String, Vec<TextLine>)> {
    let view = state.tails.get(id).or_else(|| state.fleet.runs.get(id))?;
    let mut lines = Vec::new();
    facts(&mut lines, state, now, view, width);
    output(&mut lines, view);
    Some((
        format!("run {} of {}", view.run_id.short(), view.task),
        lines,
    ))
}

/// The page of a process; once its run has ended, that of the run.
pub fn process(
    state: &State,
    now: UnixMs,
    key: &ProcessKey,
    width: u16,
) -> Option<(String, Vec<TextLine>)> {
    let Some(view) = state.fleet.processes.get(key) else {
        return ended(state, now, key.run_id.as_ref()?, width);
    };
    let mut lines = Vec::new();
    let title = format!("{} on {}/{}", view.task, view.agent, view.slot);
    field(&mut lines, "state", &view.state, Tone::Good, width);
    if let Some(run) = &view.run_id {
        field(&mut lines, "run", run.as_str(), Tone::Plain, width);
    }
    if let Some(pid) = view.pid {
        field(&mut lines, "pid", &pid.to_string(), Tone::Plain, width);
    }
    if let Some(at) = view.started_at {
        let text = format!(
            "{} ({})",
            cells::exact(at, &state.zone),
            cells::when(at, now, state)
        );
        field(&mut lines, "started", &text, Tone::Plain, width);
    }
    let kind = if view.daemon { "daemon" } else { "run" };
    let text = format!(
        "{kind}, {} restarts, revision {}",
        view.restarts, view.revision
    );
    field(&mut lines, "kind", &text, Tone::Plain, width);
    lines.push(Vec::new());
    lines.push(vec![piece("l shows its output, x ends it", Tone::Dim)]);
    Some((title, lines))
}

fn facts(lines: &mut Vec<TextLine>, state: &State, now: UnixMs, view: &RunView, width: u16) {
    let (word, tone) = match view.outcome {
        Some(found) => (found.as_str(), outcome(found).1),
        None => ("open", Tone::Warn),
    };
    field(lines, "outcome", word, tone, width);
    field(lines, "reason", &view.reason, Tone::Plain, width);
    let mut add = |label: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            field(lines, label, &value, Tone::Plain, width);
        }
    };
    let instant = |at: UnixMs| {
        format!(
            "{} ({})",
            cells::exact(at, &state.zone),
            cells::when(at, now, state)
        )
    };
    add("where", Some(cells::run_place(view)));
    add("attempt", Some(view.attempt.to_string()));
    add("cause", Some(view.cause.as_str().to_owned()));
    add("scheduled", Some(instant(view.scheduled_at)));
    add("started", view.started_at.map(instant));
    add("late", view.late_ms.map(time::millis));
    add("ended", view.finished_at.map(instant));
    add("took", Some(cells::took(view)));
    add("exit code", view.exit_code.map(|code| code.to_string()));
    add("signal", view.signal.map(|signal| signal.to_string()));
    add(
        "output",
        view.output_bytes.map(|bytes| format!("{bytes} bytes")),
    );
    add("revision", Some(view.revision.to_string()));
    add("id", Some(view.run_id.to_string()));
}

fn output(lines: &mut Vec<TextLine>, view: &RunView) {
    heading(lines, "the end of its output");
    match &view.tail {
        Some(tail) if !tail.is_empty() => {
            lines.extend(tail.lines().map(|line| plain(text::output(line))));
        }
        _ => lines.push(vec![piece(
            "not with the center (the task's `output` is none); l reads it from the host",
            Tone::Dim,
        )]),
    }
}

/// A run in one line.
pub fn line(state: &State, now: UnixMs, view: &RunView) -> TextLine {
    let (word, tone) = view.outcome.map_or(("open", Tone::Warn), |found| {
        (found.as_str(), outcome(found).1)
    });
    let when = cells::when(ended_at(view), now, state);
    vec![
        piece(format!("{}  ", view.run_id.short()), Tone::Dim),
        piece(format!("{when:<12} "), Tone::Plain),
        piece(format!("{word:<9} "), tone),
        piece(text::pad(&cells::run_place(view), 15), Tone::Plain),
        piece(format!("{:>8}  ", cells::took(view)), Tone::Plain),
        piece(text::line(&view.reason), Tone::Dim),
    ]
}

/// A process in one line.
pub fn process_line(now: UnixMs, view: &ProcessView) -> TextLine {
    let run = view.run_id.as_ref().map_or("", |run| run.short());
    let started = view
        .started_at
        .and_then(|at| time::relative(at, now))
        .unwrap_or_default();
    vec![
        piece(format!("{run:<8}  "), Tone::Dim),
        piece(format!("{} ", text::line(&view.state)), Tone::Good),
        piece(format!("on {}/{}", view.agent, view.slot), Tone::Plain),
        piece(
            view.pid
                .map_or_else(String::new, |pid| format!("  pid {pid}")),
            Tone::Plain,
        ),
        piece(format!("  started {started}"), Tone::Dim),
    ]
}
