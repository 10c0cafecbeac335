//! Moving: the selection in lists, the first line of pages, from view to view; marks.

use super::{Effect, screen};
use crate::tui::keys::Action;
use crate::tui::state::{Lists, Overlay, Screen, Selection, State};

/// Moves in what is on top.
pub(super) fn go(state: &mut State, action: Action) {
    let height = state.page();
    let step = match action {
        Action::Up => -1,
        Action::Down => 1,
        Action::PageUp => -height.cast_signed(),
        Action::PageDown => height.cast_signed(),
        Action::First => isize::MIN,
        _ => isize::MAX,
    };
    match state.overlays.last_mut() {
        Some(Overlay::Detail(page) | Overlay::Why(page)) => scroll(&mut page.top, step),
        Some(Overlay::Text(page)) => {
            scroll(&mut page.top, step);
            page.top = page.top.min(page.lines.len().saturating_sub(1));
        }
        Some(Overlay::Log(log)) => {
            log.scroll(step, height);
            log.is_following |= action == Action::Last;
        }
        Some(_) => {}
        None => select(state, action, step),
    }
}

/// How far a page reaches is known where it is drawn, which stops at its end.
fn scroll(top: &mut usize, step: isize) {
    *top = match step {
        isize::MIN => 0,
        isize::MAX => usize::from(u16::MAX),
        step => top.saturating_add_signed(step).min(usize::from(u16::MAX)),
    };
}

fn select(state: &mut State, action: Action, step: isize) {
    let is_page = matches!(action, Action::PageUp | Action::PageDown);
    let lists = state.lists();
    let Some(last) = lists.len().checked_sub(1) else {
        return;
    };
    let from = state
        .selected()
        .and_then(|selected| lists.place(&selected))
        .unwrap_or(0);
    let to = if is_page && state.screen == Screen::Overview {
        part_start(&lists, from, action == Action::PageDown)
    } else {
        from.saturating_add_signed(step).min(last)
    };
    state.selections.insert(
        state.screen,
        Selection {
            at: lists.row(to),
            row: to,
        },
    );
}

/// The first row of the next part that has one, or of the one before.
fn part_start(lists: &Lists, from: usize, forward: bool) -> usize {
    let mut starts = Vec::new();
    let mut row = 0;
    for section in &lists.sections {
        if !section.rows.is_empty() {
            starts.push(row);
        }
        row += section.rows.len();
    }
    let found = if forward {
        starts.iter().find(|start| **start > from)
    } else {
        starts.iter().rev().find(|start| **start < from)
    };
    found
        .copied()
        .unwrap_or(if forward { row.saturating_sub(1) } else { 0 })
}

/// To the view of this number.
pub(super) fn view(state: &mut State, at: usize) -> Vec<Effect> {
    let Some(screen) = screen(at) else {
        return Vec::new();
    };
    let mut effects = close(state);
    state.screen = screen;
    effects.extend(open_events(state));
    effects
}

/// To the next view, or the one before.
pub(super) fn turn(state: &mut State, by: isize) -> Vec<Effect> {
    let count = Screen::ALL.len();
    let at = Screen::ALL
        .iter()
        .position(|screen| *screen == state.screen)
        .unwrap_or(0);
    view(state, (at + count).saturating_add_signed(by) % count)
}

/// Leaves what lies over the screen.
pub(super) fn close(state: &mut State) -> Vec<Effect> {
    let closed = std::mem::take(&mut state.overlays).into_iter();
    closed
        .filter_map(|overlay| match overlay {
            Overlay::Log(pane) => Some(Effect::CloseLog(pane.stream)),
            _ => None,
        })
        .collect()
}

/// Events are followed from when somebody first looks at them.
pub(super) fn open_events(state: &mut State) -> Option<Effect> {
    if state.screen != Screen::Events || state.has_events || state.incoming.is_some() {
        return None;
    }
    state.has_events = true;
    let last = state.fleet.events.back();
    // A cursor that is no longer kept goes on with the oldest that is.
    let since = last.map_or_else(|| "0-0".to_owned(), |event| event.cursor.clone());
    Some(Effect::OpenEvents(since))
}

/// Marks what is selected, or unmarks it, and goes on.
pub(super) fn mark(state: &mut State) {
    if !state.overlays.is_empty() {
        return;
    }
    let Some((_, thing)) = state.selected() else {
        return;
    };
    if !state.marks.remove(&thing) {
        state.marks.insert(thing);
    }
    go(state, Action::Down);
}
