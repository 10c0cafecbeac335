//! The lists: one over the whole screen, or all parts of the overview.
//!
//! ```text
//! narrow                        wide
//! ── agents by group ────────   ── agents by group ──  ── failures ────────
//! ── running ────────────────   ── running ──────────
//! ── next ───────────────────   ── next ─────────────  ── last runs ───────
//! ── failures ───────────────
//! ── last runs ──────────────
//! ```

use ratatui::layout::Rect;

use super::cells;
use super::columns::columns;
use super::paint::{Canvas, piece, rows};
use super::table::{self, Row};
use super::theme::Tone;
use crate::model::UnixMs;
use crate::tui::state::{Part, Screen, Section, State, Thing};

/// Rows that each part of the overview has at least, where there is room for it.
const LEAST: u16 = 3;
/// From this width on the overview has two columns.
const WIDE: u16 = 150;

/// Draws the lists of the screen.
pub fn draw(canvas: &mut Canvas, area: Rect, state: &State, now: UnixMs) {
    let lists = state.lists();
    let sections = &lists.sections;
    let selected = state.selected();
    if state.screen != Screen::Overview {
        for section in sections {
            draw_whole(canvas, area, state, now, section, selected.as_ref());
        }
        return;
    }
    if area.width < WIDE {
        draw_stack(canvas, area, state, now, sections, selected.as_ref());
        return;
    }
    let half = area.width / 2;
    let left = Rect {
        width: half - 1,
        ..area
    };
    let right = Rect {
        x: area.x + half + 1,
        width: area.width - half - 1,
        ..area
    };
    let (first, second) = sections.split_at(3.min(sections.len()));
    draw_stack(canvas, left, state, now, first, selected.as_ref());
    draw_stack(canvas, right, state, now, second, selected.as_ref());
}

type Selected<'a> = Option<&'a (Part, Thing)>;

fn draw_whole(
    canvas: &mut Canvas,
    area: Rect,
    state: &State,
    now: UnixMs,
    section: &Section,
    selected: Selected,
) {
    if section.rows.is_empty() {
        canvas.tone(area, 2, 1, empty(section), Tone::Dim);
        return;
    }
    let height = usize::from(area.height.saturating_sub(1)).max(1);
    let (_, shown) = window(section, selected, height);
    let rows = shown_rows(state, now, section.part, shown, selected);
    table::draw(canvas, area, columns(section.part), &rows, true);
}

/// The rows shown, of which the selected one is, and the place of the first.
fn window<'a>(section: &'a Section, selected: Selected, height: usize) -> (usize, &'a [Thing]) {
    let at = selected
        .filter(|(part, _)| *part == section.part)
        .and_then(|(_, thing)| section.rows.iter().position(|row| row == thing))
        .unwrap_or(0);
    let last = section.rows.len().saturating_sub(height);
    let first = at.saturating_sub(height / 2).min(last);
    (
        first,
        &section.rows[first..(first + height).min(section.rows.len())],
    )
}

fn shown_rows(
    state: &State,
    now: UnixMs,
    part: Part,
    things: &[Thing],
    selected: Selected,
) -> Vec<Row> {
    let lists = state.lists();
    let cells = |thing: &Thing| match thing {
        Thing::Failures(key) => {
            let failures = &lists.failures;
            let found = failures.iter().find(|failures| failures.key == *key)?;
            Some(cells::failures(state, now, found))
        }
        thing => cells::cells(state, now, part, thing),
    };
    things
        .iter()
        .filter_map(|thing| {
            Some(Row {
                cells: cells(thing)?,
                is_selected: selected.is_some_and(|(at, other)| *at == part && other == thing),
                is_marked: state.marks.contains(thing),
            })
        })
        .collect()
}

fn draw_stack(
    canvas: &mut Canvas,
    area: Rect,
    state: &State,
    now: UnixMs,
    sections: &[Section],
    selected: Selected,
) {
    let needs: Vec<usize> = sections.iter().map(|section| section.rows.len()).collect();
    let mut at = 0;
    for (section, height) in sections.iter().zip(heights(area.height, &needs)) {
        if height == 0 {
            continue;
        }
        let region = rows(area, at, height + 1);
        draw_part(canvas, region, state, now, section, selected);
        at += height + 1;
    }
}

/// How many rows each part gets beside its title: all of them three where there is room, then what each needs.
fn heights(room: u16, needs: &[usize]) -> Vec<u16> {
    let count = u16::try_from(needs.len()).unwrap_or(1).max(1);
    // Where not every part fits with one row, the last ones are left out.
    let shown = count.min(room / 2);
    if shown == 0 {
        return vec![0; needs.len()];
    }
    let mut left = room - shown;
    let base = (left / shown).min(LEAST);
    let mut heights: Vec<u16> = (0..count)
        .map(|at| if at < shown { base } else { 0 })
        .collect();
    left -= base * shown;
    while left > 0 {
        let wants = |at: &usize| heights[*at] > 0 && usize::from(heights[*at]) < needs[*at];
        let Some(neediest) = (0..needs.len()).filter(wants).min_by_key(|at| heights[*at]) else {
            break;
        };
        heights[neediest] += 1;
        left -= 1;
    }
    // What nobody needs keeps the parts apart evenly.
    let mut at = 0;
    while left > 0 && shown > 0 {
        heights[at % usize::from(shown)] += 1;
        at += 1;
        left -= 1;
    }
    heights
}

fn draw_part(
    canvas: &mut Canvas,
    area: Rect,
    state: &State,
    now: UnixMs,
    section: &Section,
    selected: Selected,
) {
    let body = rows(area, 1, area.height);
    let (first, shown) = window(section, selected, usize::from(body.height));
    let mut title = vec![piece(name(section.part), Tone::Strong)];
    if section.rows.len() > shown.len() {
        let text = format!(
            "  {}-{} of {}",
            first + 1,
            first + shown.len(),
            section.rows.len()
        );
        title.push(piece(text, Tone::Dim));
    } else if section.rows.len() < section.total {
        let text = format!("  {} of {}", section.rows.len(), section.total);
        title.push(piece(text, Tone::Dim));
    }
    canvas.title(area, 0, &title);
    if section.rows.is_empty() {
        canvas.tone(body, 2, 0, empty(section), Tone::Dim);
        return;
    }
    let rows = shown_rows(state, now, section.part, shown, selected);
    table::draw(canvas, body, columns(section.part), &rows, false);
}

fn name(part: Part) -> &'static str {
    match part {
        Part::Groups => "agents by group",
        Part::Running => "running",
        Part::Next => "next",
        Part::Failures => "recent failures",
        Part::Strips => "last runs",
        Part::Tasks => "tasks",
        Part::Runs => "runs",
        Part::Agents => "agents",
        Part::Events => "events",
    }
}

/// What stands where there is no row, and what to do about it.
fn empty(section: &Section) -> &'static str {
    if section.total > 0 {
        return "nothing here has these words; Esc drops the filter";
    }
    match section.part {
        Part::Groups => "no group yet; `:group add NAME` adds one",
        Part::Running => "nothing runs now",
        Part::Next => "nothing is due; a adds a task",
        Part::Failures => "none known",
        Part::Strips | Part::Tasks => "no task yet; a adds one",
        Part::Runs => "no run yet",
        Part::Agents => "no agent yet; `:token agent` makes a token for `ucron-agent join`",
        Part::Events => "nothing has happened yet",
    }
}

#[cfg(test)]
mod tests {
    use super::heights;

    #[test]
    fn every_part_has_three_rows_at_80x24() {
        assert_eq!(heights(20, &[0, 0, 0, 0, 0]), [3, 3, 3, 3, 3]);
        assert_eq!(heights(20, &[9, 9, 9, 9, 9]), [3, 3, 3, 3, 3]);
        assert_eq!(heights(25, &[1, 9, 1, 9, 1]), [3, 6, 3, 5, 3]);
        assert_eq!(heights(10, &[9, 9, 9, 9, 9]), [1, 1, 1, 1, 1]);
        assert_eq!(heights(5, &[9, 9, 9, 9, 9]), [2, 1, 0, 0, 0]);
        assert_eq!(heights(1, &[9, 9]), [0, 0]);
    }
}
