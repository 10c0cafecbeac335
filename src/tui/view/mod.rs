//! What the state looks like. Pure: the same state, instant and size give the same cells.
//!
//! ```text
//! ┌ header: the fleet at a glance, or that the center is away ┐
//! ├ tabs: the views, the filter, the marks                    ┤
//! │                                                           │
//! │ lists, or the page that lies over them                    │
//! │               with a dialog in the middle of it           │
//! │                                                           │
//! ├ message: what was done last, or the line being typed      ┤
//! └ hints: the keys that matter here                          ┘
//! ```

mod agent;
mod cells;
mod columns;
mod dialog;
mod foot;
mod form;
mod head;
mod help;
mod lists;
mod logs;
mod page;
mod paint;
mod run;
mod table;
mod task;
mod theme;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Modifier, Style};

use super::state::{Link, Overlay, State};
use crate::model::UnixMs;
use paint::{Canvas, rows};

pub use theme::Theme;

/// What came of drawing.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Drawn {
    /// Where the cursor belongs, if something is typed.
    pub cursor: Option<Position>,
    /// The line from which on the page on top shows its end; none where there is no page.
    pub last_top: Option<usize>,
}

/// Something that draws a state: [`draw`].
pub type View = fn(&State, UnixMs, Theme, &mut Buffer) -> Drawn;

/// Draws the state into a buffer.
pub fn draw(state: &State, now: UnixMs, theme: Theme, buffer: &mut Buffer) -> Drawn {
    let area = buffer.area;
    if area.width == 0 || area.height == 0 {
        return Drawn::default();
    }
    let mut canvas = Canvas { buffer, theme };
    // Very low terminals show the lists rather than what is around them.
    let (above, below) = match area.height {
        0..=3 => (0, 0),
        4..=7 => (1, 1),
        _ => (2, 2),
    };
    let body = rows(area, above, area.height - above - below);
    let mut drawn = draw_body(&mut canvas, body, state, now);
    if matches!(state.link, Link::Lost { .. }) {
        canvas.patch(body, Style::new().add_modifier(Modifier::DIM));
    }
    if above > 0 {
        head::draw(&mut canvas, rows(area, 0, above), state, now);
    }
    if below > 0 {
        let foot = rows(area, area.height - below, below);
        drawn.cursor = foot::draw(&mut canvas, foot, state).or(drawn.cursor);
    }
    if matches!(state.overlays.last(), Some(Overlay::Help)) {
        help::draw(&mut canvas, area);
    }
    drawn.cursor = drawn.cursor.filter(|position| area.contains(*position));
    drawn
}

/// The lists and the pages over them; the uppermost page hides the rest, dialogs lie over it.
fn draw_body(canvas: &mut Canvas, area: Rect, state: &State, now: UnixMs) -> Drawn {
    let is_page = |overlay: &Overlay| {
        matches!(
            overlay,
            Overlay::Detail(_) | Overlay::Why(_) | Overlay::Log(_) | Overlay::Text(_)
        )
    };
    let from = state.overlays.iter().rposition(is_page);
    if from.is_none() {
        lists::draw(canvas, area, state, now);
    }
    let mut drawn = Drawn::default();
    for overlay in &state.overlays[from.unwrap_or(0)..] {
        drawn = draw_overlay(canvas, area, state, now, overlay);
    }
    drawn
}

fn draw_overlay(
    canvas: &mut Canvas,
    area: Rect,
    state: &State,
    now: UnixMs,
    overlay: &Overlay,
) -> Drawn {
    let mut drawn = Drawn::default();
    match overlay {
        Overlay::Detail(about) => {
            let (title, lines) = page::details(state, now, &about.thing, area.width);
            drawn.last_top = Some(page::draw(canvas, area, &title, &lines, about.top));
        }
        Overlay::Why(about) => {
            let (title, lines) = task::why(state, now, &about.thing);
            drawn.last_top = Some(page::draw(canvas, area, &title, &lines, about.top));
        }
        Overlay::Text(text) => {
            let lines: Vec<_> = text.lines.iter().map(paint::plain).collect();
            drawn.last_top = Some(page::draw(canvas, area, &text.title, &lines, text.top));
        }
        Overlay::Log(pane) => logs::draw(canvas, area, pane),
        Overlay::Confirm(confirm) => dialog::draw(canvas, area, confirm),
        Overlay::Form(form) => drawn.cursor = form::draw(canvas, area, state, now, form),
        // These are drawn at the foot, or over everything.
        Overlay::Help | Overlay::Prompt(_) => {}
    }
    drawn
}
