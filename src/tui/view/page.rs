//! A page over the whole body: a title and lines, scrolled.
//!
//! ```text
//! ── web/probe ─────────────────────────── 1-20 of 34 ──
//! rule     */5 * * * *
//!          every 5 minutes
//! …
//! ```

use ratatui::layout::Rect;

use super::paint::{Canvas, Piece, TextLine, piece, plain, rows};
use super::theme::{Tone, outcome};
use super::{agent, cells, run, task};
use crate::cli::print::time;
use crate::model::UnixMs;
use crate::proto::view::ConditionView;
use crate::tui::state::{CauseKey, State, Thing};
use crate::tui::text;

/// Columns of the labels.
const LABEL: usize = 11;

/// Draws a page from this line on, but no further than its end; the line from which on its end is shown.
pub fn draw(canvas: &mut Canvas, area: Rect, title: &str, lines: &[TextLine], top: usize) -> usize {
    canvas.clear(area);
    let body = rows(area, 1, area.height);
    let height = usize::from(body.height);
    let last_top = lines.len().saturating_sub(height);
    let top = top.min(last_top);
    let mut head = vec![piece(text::line(title), Tone::Strong)];
    if lines.len() > height {
        let to = (top + height).min(lines.len());
        head.push(piece(
            format!("  {}-{to} of {}", top + 1, lines.len()),
            Tone::Dim,
        ));
    }
    canvas.title(area, 0, &head);
    for (row, line) in (0..body.height).zip(&lines[top..]) {
        canvas.line(body, 0, row, line);
    }
    last_top
}

/// A labelled value, wrapped to the width.
pub fn field(lines: &mut Vec<TextLine>, label: &str, value: &str, tone: Tone, width: u16) {
    let room = usize::from(width).saturating_sub(LABEL + 1).max(10);
    for (at, part) in text::wrap(value, room).into_iter().enumerate() {
        let label = if at == 0 { label } else { "" };
        lines.push(vec![
            piece(format!("{label:<LABEL$} "), Tone::Dim),
            piece(part, tone),
        ]);
    }
}

/// What is wrong, each with its age.
pub fn wrong<'a>(
    lines: &mut Vec<TextLine>,
    state: &State,
    now: UnixMs,
    conditions: impl Iterator<Item = &'a ConditionView>,
    width: u16,
) {
    for told in conditions {
        let since = cells::when(told.began_at, now, state);
        let text = format!("{}, {since}: {}", told.condition, told.reason);
        field(lines, "wrong", &text, Tone::Bad, width);
    }
}

/// An empty line and a heading.
pub fn heading(lines: &mut Vec<TextLine>, text: &str) {
    lines.push(Vec::new());
    lines.push(vec![piece(text, Tone::Strong)]);
}

/// The details of a thing: the title and the lines.
pub fn details(state: &State, now: UnixMs, thing: &Thing, width: u16) -> (String, Vec<TextLine>) {
    let shown = match thing {
        Thing::Task(id) => state
            .fleet
            .tasks
            .get(id)
            .map(|view| task::details(state, now, view, width)),
        Thing::Run(id) => run::ended(state, now, id, width),
        Thing::Process(key) => run::process(state, now, key, width),
        Thing::Agent(name) => {
            let view = state.fleet.agents.get(name);
            view.map(|view| agent::details(state, now, view, width))
        }
        Thing::Group(name) => {
            let view = state.fleet.groups.get(name);
            view.map(|view| agent::group(state, now, view, width))
        }
        Thing::Failures(key) => Some(failures(state, now, key, width)),
        Thing::Event(cursor) => event(state, cursor, width),
    };
    shown.unwrap_or_else(|| {
        (
            "gone".to_owned(),
            vec![plain("it is not there any more; Esc goes back")],
        )
    })
}

fn failures(state: &State, now: UnixMs, key: &CauseKey, width: u16) -> (String, Vec<TextLine>) {
    let mut lines = Vec::new();
    let found = state
        .fleet
        .failures()
        .into_iter()
        .find(|found| found.key == *key);
    if let Some(found) = &found {
        let (_, tone) = outcome(key.outcome);
        field(&mut lines, "outcome", key.outcome.as_str(), tone, width);
        field(&mut lines, "reason", &found.reason, Tone::Plain, width);
        field(
            &mut lines,
            "count",
            &found.count.to_string(),
            Tone::Plain,
            width,
        );
        field(
            &mut lines,
            "last",
            &cells::when(found.last_at, now, state),
            Tone::Plain,
            width,
        );
    }
    heading(&mut lines, "runs");
    let same = state.fleet.runs_of(&key.task).filter(|run| {
        run.outcome == Some(key.outcome) && crate::tui::state::cause_of(&run.reason) == key.cause
    });
    lines.extend(same.take(run::MOST).map(|view| run::line(state, now, view)));
    (format!("failures of {}", key.task), lines)
}

fn event(state: &State, cursor: &str, width: u16) -> Option<(String, Vec<TextLine>)> {
    let event = state
        .fleet
        .events
        .iter()
        .find(|event| event.cursor == cursor)?;
    let mut lines = Vec::new();
    let mut add = |label: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            field(&mut lines, label, &value, Tone::Plain, width);
        }
    };
    add("time", Some(cells::exact(event.at, &state.zone)));
    add("task", event.task.as_ref().map(ToString::to_string));
    add("agent", event.agent.as_ref().map(ToString::to_string));
    add("run", event.run_id.as_ref().map(ToString::to_string));
    add("outcome", event.outcome.map(|outcome| outcome.to_string()));
    add("late", event.late_ms.map(time::millis));
    add("by", event.operator.as_ref().map(ToString::to_string));
    add("reason", Some(event.reason.clone()));
    Some((event.event.clone(), lines))
}

/// `label value` in one line, for short values side by side.
pub fn pair(label: &str, value: impl Into<String>, tone: Tone) -> Vec<Piece> {
    vec![
        piece(format!("{label} "), Tone::Dim),
        piece(value, tone),
        piece("  ", Tone::Plain),
    ]
}
