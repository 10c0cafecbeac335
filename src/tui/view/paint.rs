//! Writing into the buffer without ever leaving a region, whatever its size.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::theme::{Theme, Tone};
use crate::tui::text;

/// A piece of text with what it means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Clean.
    pub text: String,
    /// What it means.
    pub tone: Tone,
}

/// A piece.
pub fn piece(text: impl Into<String>, tone: Tone) -> Piece {
    Piece {
        text: text.into(),
        tone,
    }
}

/// A line of pieces.
pub type TextLine = Vec<Piece>;

/// A line of one plain piece.
pub fn plain(text: impl Into<String>) -> TextLine {
    vec![piece(text, Tone::Plain)]
}

/// The part of the buffer that is drawn on, with the theme.
pub struct Canvas<'a> {
    /// Where it ends up.
    pub buffer: &'a mut Buffer,
    /// How it looks.
    pub theme: Theme,
}

impl Canvas<'_> {
    /// Writes at a column and row of the region, cut at its edge; the column after it.
    pub fn put(&mut self, area: Rect, column: u16, row: u16, content: &str, style: Style) -> u16 {
        let area = area.intersection(self.buffer.area);
        if row >= area.height || column >= area.width {
            return column;
        }
        let left = usize::from(area.width - column);
        let fitting = text::cut(content, left);
        // A cut of nothing would still be an ellipsis.
        let (x, _) = self
            .buffer
            .set_stringn(area.x + column, area.y + row, fitting, left, style);
        x - area.x
    }

    /// Writes a tone.
    pub fn tone(&mut self, area: Rect, column: u16, row: u16, content: &str, tone: Tone) -> u16 {
        let style = self.theme.style(tone);
        self.put(area, column, row, content, style)
    }

    /// Writes a line of pieces; the column after it.
    pub fn line(&mut self, area: Rect, column: u16, row: u16, line: &[Piece]) -> u16 {
        let mut at = column;
        for piece in line {
            at = self.tone(area, at, row, &piece.text, piece.tone);
        }
        at
    }

    /// Gives a region a style on top of what it has.
    pub fn patch(&mut self, area: Rect, style: Style) {
        self.buffer
            .set_style(area.intersection(self.buffer.area), style);
    }

    /// Empties a region.
    pub fn clear(&mut self, area: Rect) {
        let area = area.intersection(self.buffer.area);
        for position in area.positions() {
            if let Some(cell) = self.buffer.cell_mut(position) {
                cell.reset();
            }
        }
    }

    /// A title with a rule behind it, as wide as the region.
    pub fn title(&mut self, area: Rect, row: u16, title: &[Piece]) {
        let rule = "─".repeat(usize::from(area.width));
        self.tone(area, 0, row, &rule, Tone::Dim);
        let at = self.line(area, 2, row, &[piece(" ", Tone::Plain)]);
        let at = self.line(area, at, row, title);
        self.tone(area, at, row, " ", Tone::Plain);
    }

    /// A frame with a title; the region inside it.
    pub fn frame(&mut self, area: Rect, title: &str) -> Rect {
        self.clear(area);
        if area.width < 4 || area.height < 3 {
            return area;
        }
        let across = "─".repeat(usize::from(area.width) - 2);
        let style = self.theme.style(Tone::Info);
        self.put(area, 0, 0, &format!("╭{across}╮"), style);
        self.put(area, 0, area.height - 1, &format!("╰{across}╯"), style);
        for row in 1..area.height - 1 {
            self.put(area, 0, row, "│", style);
            self.put(area, area.width - 1, row, "│", style);
        }
        let room = Rect {
            width: area.width - 2,
            ..area
        };
        self.tone(room, 2, 0, &format!(" {title} "), Tone::Strong);
        inset(area)
    }
}

/// The region inside a frame, one column of air on both sides.
fn inset(area: Rect) -> Rect {
    Rect {
        x: area.x + 2,
        y: area.y + 1,
        width: area.width.saturating_sub(4),
        height: area.height.saturating_sub(2),
    }
}

/// A region of this size in the middle of another.
pub fn middle(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    }
}

/// So many rows of a region, from this one on.
pub fn rows(area: Rect, from: u16, height: u16) -> Rect {
    let from = from.min(area.height);
    Rect {
        y: area.y + from,
        height: height.min(area.height - from),
        ..area
    }
}
