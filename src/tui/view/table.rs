//! Tables: columns as wide as their rows want, shrunk and then dropped by priority where the room is short.
//!
//! ```text
//! gutter│ column │ column │ …
//! > *    cell     cell
//! ```

use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::paint::{Canvas, Piece};
use super::theme::Tone;
use crate::model::TaskPath;
use crate::tui::text;

/// Columns for the marks of selection.
const GUTTER: usize = 2;
/// Columns of `11-23 03:30`.
const INSTANT: usize = 11;
/// Columns between two columns.
const GAP: usize = 2;

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its title.
    pub title: &'static str,
    /// It is never narrower where its cells are that wide; one whose widths are the same always is that wide.
    pub min: usize,
    /// It is never wider.
    pub max: usize,
    /// The highest is dropped first; 0 never.
    pub drop: u8,
    /// Numbers end where they end.
    pub right: bool,
}

/// A column of text.
pub const fn column(title: &'static str, min: usize, max: usize, drop: u8) -> Column {
    Column {
        title,
        min,
        max,
        drop,
        right: false,
    }
}

/// A column of numbers.
pub const fn number(title: &'static str, width: usize, drop: u8) -> Column {
    Column {
        title,
        min: width,
        max: width,
        drop,
        right: true,
    }
}

/// A column of instants: as wide as a relative one at least, so that it does not twitch as time goes by.
pub const fn instant(title: &'static str, drop: u8) -> Column {
    Column {
        title,
        min: INSTANT,
        max: INSTANT,
        drop,
        right: false,
    }
}

/// A cell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cell {
    /// Pieces of text.
    Text(Vec<Piece>),
    /// A task, its name cut last.
    Path(TaskPath, Tone),
}

impl Cell {
    fn width(&self) -> usize {
        match self {
            Self::Text(pieces) => pieces.iter().map(|piece| text::width(&piece.text)).sum(),
            Self::Path(path, _) => text::width(&path.to_string()),
        }
    }
}

/// A row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// One per column.
    pub cells: Vec<Cell>,
    /// Whether keys act on it.
    pub is_selected: bool,
    /// Whether it is marked.
    pub is_marked: bool,
}

/// Draws rows, with their titles where asked, from the top of the region.
pub fn draw(canvas: &mut Canvas, area: Rect, columns: &[Column], rows: &[Row], has_titles: bool) {
    let shown = fit(columns, rows, usize::from(area.width), has_titles);
    let mut at = 0;
    if has_titles {
        let titles: Vec<(usize, usize)> = shown.clone();
        let mut x = GUTTER;
        for (index, width) in titles {
            let title = text::cut(columns[index].title, width);
            let pad = if columns[index].right {
                width - text::width(&title)
            } else {
                0
            };
            canvas.tone(area, column_at(x + pad), 0, &title, Tone::Dim);
            x += width + GAP;
        }
        at = 1;
    }
    for row in rows
        .iter()
        .take(usize::from(area.height.saturating_sub(at)))
    {
        draw_row(canvas, area, at, columns, &shown, row);
        at += 1;
    }
}

fn column_at(x: usize) -> u16 {
    u16::try_from(x).unwrap_or(u16::MAX)
}

fn draw_row(
    canvas: &mut Canvas,
    area: Rect,
    at: u16,
    columns: &[Column],
    shown: &[(usize, usize)],
    row: &Row,
) {
    let mark = match (row.is_selected, row.is_marked) {
        (true, true) => ">*",
        (true, false) => "> ",
        (false, true) => " *",
        (false, false) => "  ",
    };
    canvas.tone(area, 0, at, mark, Tone::Strong);
    let mut x = GUTTER;
    for (index, width) in shown {
        let cell = &row.cells[*index];
        let used = cell.width().min(*width);
        let pad = if columns[*index].right {
            width - used
        } else {
            0
        };
        draw_cell(canvas, area, x + pad, at, cell, *width);
        x += width + GAP;
    }
    if row.is_selected {
        let line = super::paint::rows(area, at, 1);
        canvas.patch(line, Style::new().add_modifier(Modifier::REVERSED));
    }
}

fn draw_cell(canvas: &mut Canvas, area: Rect, x: usize, at: u16, cell: &Cell, width: usize) {
    let room = Rect {
        width: area.width.min(column_at(x + width)),
        ..area
    };
    match cell {
        Cell::Text(pieces) => {
            canvas.line(room, column_at(x), at, pieces);
        }
        Cell::Path(path, tone) => {
            canvas.tone(room, column_at(x), at, &text::path(path, width), *tone);
        }
    }
}

/// The columns shown, with their widths.
fn fit(columns: &[Column], rows: &[Row], room: usize, has_titles: bool) -> Vec<(usize, usize)> {
    let natural = |index: usize| {
        let column: &Column = &columns[index];
        let cells = rows.iter().map(|row| row.cells[index].width());
        let title = if has_titles {
            text::width(column.title)
        } else {
            0
        };
        let least = if column.min == column.max {
            column.min
        } else {
            0
        };
        cells
            .max()
            .unwrap_or(0)
            .max(title)
            .min(column.max)
            .max(least)
    };
    let mut shown: Vec<(usize, usize)> = (0..columns.len())
        .map(|index| (index, natural(index)))
        .filter(|(_, width)| *width > 0)
        .collect();
    loop {
        let gaps = GAP * shown.len().saturating_sub(1);
        let wanted = GUTTER + gaps + shown.iter().map(|(_, width)| width).sum::<usize>();
        let excess = wanted.saturating_sub(room);
        if excess == 0 {
            return shown;
        }
        if shrink(&mut shown, columns, excess) {
            return shown;
        }
        let droppable = shown
            .iter()
            .enumerate()
            .filter(|(_, (index, _))| columns[*index].drop > 0);
        let last = droppable
            .max_by_key(|(_, (index, _))| columns[*index].drop)
            .map(|(at, _)| at);
        match last {
            Some(at) => drop(shown.remove(at)),
            // What is left is cut at the edge.
            None => return shown,
        }
    }
}

/// Takes the excess from the columns that can give, the widest first; whether all of it could be taken.
fn shrink(shown: &mut [(usize, usize)], columns: &[Column], excess: usize) -> bool {
    let spare = |(index, width): &(usize, usize)| width.saturating_sub(columns[*index].min);
    if shown.iter().map(spare).sum::<usize>() < excess {
        return false;
    }
    let mut left = excess;
    while left > 0 {
        let Some(widest) = shown.iter_mut().max_by_key(|entry| spare(entry)) else {
            return false;
        };
        widest.1 -= 1;
        left -= 1;
    }
    true
}
