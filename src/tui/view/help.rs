//! The keys, from the key table, on one screen.
//!
//! ```text
//! ╭ keys ──────────────────────────────╮
//! │ ↑ ↓ or k j    move                 │
//! │ …                                  │
//! ╰────────────────────────────────────╯
//! ```

use ratatui::layout::Rect;

use super::paint::{Canvas, middle, piece};
use super::theme::Tone;
use crate::tui::keys::{Binding, TABLE};

/// Columns of the keys.
const KEYS: u16 = 16;

/// Draws the help over everything.
pub fn draw(canvas: &mut Canvas, area: Rect) {
    let rows = u16::try_from(TABLE.len()).unwrap_or(u16::MAX);
    let inside = canvas.frame(middle(area, 80, rows + 2), "keys (Esc back)");
    for (row, binding) in (0..inside.height).zip(shown(usize::from(inside.height))) {
        canvas.tone(inside, 0, row, binding.shown, Tone::Info);
        let at = canvas.tone(inside, KEYS, row, binding.help, Tone::Plain);
        if !binding.confirm.is_empty() {
            let keys: Vec<String> = binding
                .confirm
                .iter()
                .map(|(key, label)| format!("{key} {label}"))
                .collect();
            let text = format!("  asks: {}", keys.join(", "));
            canvas.line(inside, at, row, &[piece(text, Tone::Dim)]);
        }
    }
}

/// All keys where there is room for them; else those that one can guess are left out.
fn shown(height: usize) -> Vec<&'static Binding> {
    let mut all: Vec<&Binding> = TABLE.iter().collect();
    for guessable in ["PgUp PgDn", "g G", "Ctrl-L Ctrl-Z", "↑ ↓ or k j"] {
        if all.len() > height {
            all.retain(|row| row.shown != guessable);
        }
    }
    all
}
