//! The question before something destructive.
//!
//! ```text
//! ╭ stop web/worker? ──────────────────────────────╮
//! │ web/worker: 2 processes run on a1, a2          │
//! │                                                │
//! │ y end what runs now                            │
//! │ f let what runs finish                         │
//! │ any other key: no                              │
//! ╰────────────────────────────────────────────────╯
//! ```

use ratatui::layout::Rect;

use super::paint::{Canvas, middle, piece, plain};
use super::theme::Tone;
use crate::tui::state::Confirm;
use crate::tui::text;

/// Lines of what is hit that are shown at most; how many more is said.
const MOST: usize = 8;

/// Draws the question in the middle.
pub fn draw(canvas: &mut Canvas, area: Rect, confirm: &Confirm) {
    let width = 76.min(area.width);
    let room = usize::from(width.saturating_sub(4));
    let wrapped: Vec<String> = confirm
        .lines
        .iter()
        .flat_map(|line| text::wrap(line, room))
        .collect();
    let mut lines: Vec<_> = wrapped.iter().take(MOST).map(plain).collect();
    if wrapped.len() > MOST {
        let more = format!("… and {} more lines", wrapped.len() - MOST);
        lines.push(vec![piece(more, Tone::Dim)]);
    }
    lines.push(Vec::new());
    for choice in &confirm.choices {
        lines.push(vec![
            piece(format!("  {}  ", choice.key), Tone::Bad),
            piece(choice.label.as_str(), Tone::Strong),
        ]);
    }
    lines.push(vec![
        piece("  any other key  ", Tone::Info),
        piece("no", Tone::Strong),
    ]);
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX);
    let inside = canvas.frame(middle(area, width, height), &format!("{}?", confirm.title));
    // Where it is too low the choices matter more than what is before them.
    let skipped = lines.len().saturating_sub(usize::from(inside.height));
    for (row, line) in (0..inside.height).zip(lines.iter().skip(skipped)) {
        canvas.line(inside, 0, row, line);
    }
}
