//! Output of runs.
//!
//! ```text
//! ── web/probe ── following ── 120-143 of 143 ── /error ──
//! a1/0 a line of output
//! ── run 4k2m9x1p on a1/0
//! ```

use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::paint::{Canvas, piece, rows};
use super::theme::Tone;
use crate::tui::state::{Line, LogPane};
use crate::tui::text;

/// Draws the lines that are looked at.
pub fn draw(canvas: &mut Canvas, area: Rect, pane: &LogPane) {
    canvas.clear(area);
    let body = rows(area, 1, area.height);
    let height = usize::from(body.height);
    let first = pane.first_shown(height);
    let shown = pane.lines.len().saturating_sub(first).min(height);
    title(canvas, area, pane, first, shown);
    if pane.lines.is_empty() {
        let text = match pane.open {
            0 => "nothing was written",
            _ => "nothing written yet; new lines appear here",
        };
        canvas.tone(body, 2, 0, text, Tone::Dim);
    }
    for (row, line) in (0..body.height).zip(pane.lines.iter().skip(first)) {
        draw_line(canvas, body, row, pane, line);
    }
}

fn title(canvas: &mut Canvas, area: Rect, pane: &LogPane, first: usize, shown: usize) {
    let follows = match (pane.is_following, pane.open > 0 || pane.task.is_some()) {
        (true, true) => piece("  following", Tone::Good),
        (true, false) => piece("  ended", Tone::Dim),
        (false, _) => piece("  standing still (f follows)", Tone::Warn),
    };
    let count = format!(
        "  {}-{} of {}",
        (first + 1).min(pane.lines.len()),
        first + shown,
        pane.lines.len()
    );
    let mut title = vec![
        piece(
            format!("output of {}", text::line(&pane.title)),
            Tone::Strong,
        ),
        follows,
        piece(count, Tone::Dim),
    ];
    if !pane.search.is_empty() {
        title.push(piece(
            format!("  /{}", text::line(&pane.search)),
            Tone::Info,
        ));
    }
    canvas.title(area, 0, &title);
}

fn draw_line(canvas: &mut Canvas, area: Rect, row: u16, pane: &LogPane, line: &Line) {
    let mut at = 0;
    if pane.is_marked() && !line.mark.is_empty() {
        at = canvas.tone(area, 0, row, &format!("{} ", line.mark), Tone::Info);
    }
    let tone = if line.mark.is_empty() {
        Tone::Dim
    } else {
        Tone::Plain
    };
    canvas.tone(area, at, row, &line.text, tone);
    highlight(canvas, area, at, row, pane, line);
}

/// What is searched for stands out.
fn highlight(canvas: &mut Canvas, area: Rect, at: u16, row: u16, pane: &LogPane, line: &Line) {
    let wanted = pane.search.to_lowercase();
    let lower = line.text.to_lowercase();
    // Lowering may change lengths in some scripts; then places in one are not places in the other.
    if wanted.is_empty() || lower.len() != line.text.len() {
        return;
    }
    let style = Style::new().add_modifier(Modifier::REVERSED);
    for (place, found) in lower.match_indices(&wanted) {
        let (Some(before), Some(found)) = (
            line.text.get(..place),
            line.text.get(place..place + found.len()),
        ) else {
            continue;
        };
        let x = usize::from(at) + text::width(before);
        let Ok(x) = u16::try_from(x) else { return };
        if x < area.width {
            let width = u16::try_from(text::width(found)).unwrap_or(u16::MAX);
            let region = Rect {
                x: area.x + x,
                y: area.y + row,
                width: width.min(area.width - x),
                height: 1,
            };
            canvas.patch(region, style);
        }
    }
}
