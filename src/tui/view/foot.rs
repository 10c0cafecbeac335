//! The foot: what was done last or the line being typed, and the keys that matter here.
//!
//! ```text
//! web/probe stopped; 2 planned runs cancelled; 1 process being ended
//! Tab view  Enter details  a add  e edit  r run  l logs  w why  s stop/start  …  ? help  q quit
//! ```

use ratatui::layout::{Position, Rect};

use super::paint::{Canvas, Piece, piece};
use super::theme::Tone;
use crate::tui::keys::{Place, TABLE};
use crate::tui::state::{Field, Grade, Overlay, PromptKind, State};
use crate::tui::text;

/// Draws one or two rows; where the cursor belongs if a line is typed.
pub fn draw(canvas: &mut Canvas, area: Rect, state: &State) -> Option<Position> {
    let hints_at = area.height - 1;
    let typed = match state.overlays.last() {
        Some(Overlay::Prompt(prompt)) => {
            let sign = match prompt.kind {
                PromptKind::Filter => "/",
                PromptKind::Command => ":",
            };
            Some((sign, &prompt.field))
        }
        Some(Overlay::Log(pane)) => pane.prompt.as_ref().map(|field| ("/", field)),
        _ => None,
    };
    if hints_at == 0 && (typed.is_some() || state.message.is_some()) {
        return first(canvas, area, state, typed);
    }
    canvas.line(area, 0, hints_at, &hints(state, area.width));
    if hints_at == 0 {
        return None;
    }
    first(canvas, area, state, typed)
}

fn first(
    canvas: &mut Canvas,
    area: Rect,
    state: &State,
    typed: Option<(&str, &Field)>,
) -> Option<Position> {
    if let Some((sign, field)) = typed {
        return Some(line_typed(canvas, area, 0, 0, sign, field));
    }
    let (text, tone) = match (&state.message, problem(state)) {
        (Some(message), _) => {
            let tone = match message.grade {
                Grade::Quiet => Tone::Dim,
                Grade::Done => Tone::Good,
                Grade::Warning => Tone::Warn,
                Grade::Trouble => Tone::Bad,
            };
            (message.text.clone(), tone)
        }
        (None, Some(problem)) => (problem, Tone::Warn),
        (None, None) => return None,
    };
    canvas.tone(area, 0, 0, &text, tone);
    None
}

fn problem(state: &State) -> Option<String> {
    let problems = &state.fleet.status.as_ref()?.problems;
    let more = match problems.len() {
        0 | 1 => String::new(),
        count => format!(" (and {} more: `:status`)", count - 1),
    };
    let first = problems.first()?;
    Some(format!("! {}{more}", text::line(first)))
}

/// A line being typed, scrolled so that the cursor is seen; where the cursor is.
pub fn line_typed(
    canvas: &mut Canvas,
    area: Rect,
    column: u16,
    row: u16,
    sign: &str,
    field: &Field,
) -> Position {
    let start = canvas.tone(area, column, row, sign, Tone::Info);
    let room = usize::from(area.width.saturating_sub(start)).saturating_sub(1);
    let before = field.before_cursor();
    let mut hidden = 0;
    let mut used = text::width(&before);
    let mut chars = before.chars();
    while used > room {
        let Some(c) = chars.next() else { break };
        hidden += c.len_utf8();
        used = text::width(chars.as_str());
    }
    let shown = field.text()[hidden..].to_owned();
    canvas.tone(area, start, row, &shown, Tone::Plain);
    let x = start.saturating_add(u16::try_from(used).unwrap_or(u16::MAX));
    Position {
        x: area.x.saturating_add(x),
        y: area.y.saturating_add(row),
    }
}

fn hint(keys: &str, does: &str) -> [Piece; 2] {
    [
        piece(keys, Tone::Info),
        piece(format!(" {does}  "), Tone::Dim),
    ]
}

/// The hints that fit; the last two, help and quit, always do.
fn hints(state: &State, width: u16) -> Vec<Piece> {
    let special: Option<&[(&str, &str)]> = match state.overlays.last() {
        Some(Overlay::Form(_)) => Some(&[
            ("Enter", "next"),
            ("Tab", "complete"),
            ("↑ ↓", "move"),
            ("← →", "choose"),
            ("Ctrl-S", "save"),
            ("Esc", "leave"),
        ]),
        Some(Overlay::Confirm(_)) => Some(&[("Enter or Esc", "no, leave it as it is")]),
        Some(Overlay::Prompt(prompt)) => Some(match prompt.kind {
            PromptKind::Filter => &[("Enter", "keep the filter"), ("Esc", "drop it")],
            PromptKind::Command => &[
                ("Enter", "do it"),
                ("↑ ↓", "earlier"),
                ("Esc", "leave"),
                ("as in a shell:", "`agents`, `add --help`"),
            ],
        }),
        Some(Overlay::Log(pane)) if pane.prompt.is_some() => {
            Some(&[("Enter", "search"), ("Esc", "leave")])
        }
        Some(Overlay::Help) => Some(&[("Esc", "back"), ("q", "quit")]),
        _ => None,
    };
    if let Some(special) = special {
        return special
            .iter()
            .flat_map(|(keys, does)| hint(keys, does))
            .collect();
    }
    let place = match state.overlays.last() {
        Some(Overlay::Log(_)) => Place::Logs,
        _ => Place::Things,
    };
    from_table(place, state.overlays.is_empty(), usize::from(width))
}

fn from_table(place: Place, is_list: bool, width: usize) -> Vec<Piece> {
    let here = TABLE
        .iter()
        .filter(|row| row.place == place || row.place == Place::Everywhere)
        .filter(|row| !row.hint.is_empty());
    let mut all: Vec<[Piece; 2]> = here
        .map(|row| hint(row.shown.split(' ').next().unwrap_or(""), row.hint))
        .collect();
    if !is_list {
        all.insert(0, hint("Esc", "back"));
        all.retain(|[keys, _]| keys.text != "Tab" && keys.text != "Enter");
    }
    let wide = |all: &[[Piece; 2]]| -> usize {
        let text = all.iter().flatten().map(|piece| text::width(&piece.text));
        text.sum::<usize>()
    };
    // One can do without these before the keys stand closer, and without anything but help and quit at last.
    while wide(&all) > width + 2 && all.len() > 2 {
        let first = all[0][0].text.as_str();
        if matches!(first, "Tab" | "Enter") {
            all.remove(0);
        } else if all.iter().any(|[_, does]| does.text.ends_with("  ")) {
            for [_, does] in &mut all {
                does.text.pop();
            }
        } else {
            all.remove(all.len() - 3);
        }
    }
    all.into_iter().flatten().collect()
}
