//! A task being written.
//!
//! ```text
//! ╭ add a task ────────────────────────────────────────────────╮
//! │   group      web                                           │
//! │ > rule       */5 * * * *                                   │
//! │   …                                                        │
//! │   save       Enter or Ctrl-S saves                         │
//! │ ── every 5 minutes (288 times a day) ───────────────────── │
//! │ Mon 2026-11-23 03:30:00  Mon 2026-11-23 03:35:00  …        │
//! ╰────────────────────────────────────────────────────────────╯
//! ```

use ratatui::layout::{Position, Rect};

use super::foot::line_typed;
use super::paint::{Canvas, TextLine, middle, piece, rows};
use super::theme::Tone;
use crate::cli::print::time;
use crate::model::UnixMs;
use crate::rule::Zone;
use crate::tui::state::{Entry, Form, FormField, Of, RuleCheck, State, path_of};
use crate::tui::{text, update};

/// Rows below the fields at least: what is said of the rule, or what was refused.
const LEAST_SAID: u16 = 2;
/// And at most.
const MOST_SAID: u16 = 4;
/// Columns of the labels.
const LABEL: u16 = 13;
/// Next occurrences shown.
const NEXT: usize = 3;

/// Draws the form; where the cursor belongs.
pub fn draw(
    canvas: &mut Canvas,
    area: Rect,
    state: &State,
    now: UnixMs,
    form: &Form,
) -> Option<Position> {
    let title = match &form.of {
        Of::Add => "add a task".to_owned(),
        Of::Edit(task) => format!("edit {}", path_of(task)),
    };
    let fields = u16::try_from(form.entries.len()).unwrap_or(u16::MAX);
    // At 80x24 every row counts: fields, frame and two rows take all that there is.
    let below = area
        .height
        .saturating_sub(fields + 2)
        .clamp(LEAST_SAID, MOST_SAID);
    let wanted = fields + below + 2;
    let width = 100.min(area.width);
    let inside = canvas.frame(middle(area, width, wanted), &title);
    let room = inside.height.saturating_sub(below).max(1);
    let first = u16::try_from(form.at)
        .unwrap_or(0)
        .saturating_sub(room.saturating_sub(1));
    let mut cursor = None;
    for row in 0..room {
        let at = usize::from(first + row);
        let Some(entry) = form.entries.get(at) else {
            break;
        };
        let here = draw_entry(canvas, inside, row, state, form, entry, at == form.at);
        cursor = here.or(cursor);
    }
    let below = rows(inside, room.min(fields), below);
    for (row, line) in (0..below.height).zip(said(state, now, form, below.width)) {
        canvas.line(below, 0, row, &line);
    }
    cursor
}

fn draw_entry(
    canvas: &mut Canvas,
    area: Rect,
    row: u16,
    state: &State,
    form: &Form,
    entry: &Entry,
    is_here: bool,
) -> Option<Position> {
    let field = entry.field;
    let trouble = form.trouble(field);
    let tone = match (&trouble, is_here) {
        (Some(_), _) => Tone::Bad,
        (None, true) => Tone::Strong,
        (None, false) => Tone::Dim,
    };
    let mark = if is_here { "> " } else { "  " };
    canvas.tone(area, 0, row, &format!("{mark}{}", field.label()), tone);
    if !field.choices().is_empty() {
        choices(canvas, area, row, entry, is_here);
        return None;
    }
    let position = if is_here {
        Some(line_typed(canvas, area, LABEL, row, "", &entry.typed))
    } else {
        // Elsewhere one reads it from its beginning.
        canvas.tone(area, LABEL, row, &entry.typed.text(), Tone::Plain);
        None
    };
    let mut end =
        LABEL + u16::try_from(text::width(&entry.typed.text())).unwrap_or(u16::MAX - LABEL);
    if is_here && let Some(rest) = update::proposal(state) {
        end = canvas.tone(area, end, row, &rest, Tone::Dim);
        canvas.tone(area, end.saturating_add(2), row, "(Tab)", Tone::Info);
    } else if let Some(trouble) = trouble.filter(|_| field != FormField::Rule || !is_here) {
        canvas.tone(
            area,
            end.saturating_add(2),
            row,
            &text::line(&trouble),
            Tone::Bad,
        );
    } else if entry.typed.is_empty() {
        let help = help(state, form, field, is_here);
        canvas.tone(area, LABEL + u16::from(is_here) * 2, row, &help, Tone::Dim);
    }
    position.filter(|_| field != FormField::Save)
}

/// What may be written there; for a group, which ones there are.
fn help(state: &State, form: &Form, field: FormField, is_here: bool) -> String {
    let known = update::proposals(state, form, field);
    if is_here && field != FormField::Zone && !known.is_empty() {
        return known.join(" ");
    }
    match (field, &state.fleet.status) {
        (FormField::Zone, Some(status)) => format!("the center's, {}", status.timezone),
        _ => field.help().to_owned(),
    }
}

fn choices(canvas: &mut Canvas, area: Rect, row: u16, entry: &Entry, is_here: bool) {
    let chosen = entry.typed.text();
    let mut at = LABEL;
    for word in entry.field.choices() {
        let (text, tone) = if *word == chosen {
            let tone = if is_here { Tone::Info } else { Tone::Plain };
            (format!("[{word}] "), tone)
        } else {
            (format!(" {word}  "), Tone::Dim)
        };
        at = canvas.tone(area, at, row, &text, tone);
    }
}

/// What is said below the fields: what was refused first, else the rule in words.
fn said(state: &State, now: UnixMs, form: &Form, width: u16) -> Vec<TextLine> {
    let bad = |text: &String| vec![piece(text.as_str(), Tone::Bad)];
    if form.is_leaving {
        return vec![vec![piece(
            "Esc again throws away what was typed; any other key goes on",
            Tone::Warn,
        )]];
    }
    if !form.refused.is_empty() {
        let room = usize::from(width);
        return form
            .refused
            .iter()
            .flat_map(|line| text::wrap(line, room))
            .map(|line| bad(&line))
            .collect();
    }
    let center = state
        .fleet
        .status
        .as_ref()
        .map_or_else(Zone::utc, |status| status.timezone.clone());
    match form.rule_check(now, &center, NEXT) {
        RuleCheck::Empty(true) => vec![vec![piece(
            "@always: the processes are kept running",
            Tone::Dim,
        )]],
        RuleCheck::Empty(false) => vec![vec![piece(
            "rule: 5 to 7 cron fields, @every 10s, @daily, @at 2027-01-31T03:00, @reboot",
            Tone::Dim,
        )]],
        // The rule itself stands in its field: the sentence and what is allowed matter more than the caret.
        RuleCheck::Wrong(lines) => lines
            .iter()
            .skip(2)
            .flat_map(|line| text::wrap(line, usize::from(width)))
            .map(|line| bad(&line))
            .collect(),
        RuleCheck::Good {
            words,
            next,
            zone,
            warnings,
        } => {
            let shown = instants(&next, &zone, usize::from(width).saturating_sub(12));
            let mut lines = vec![vec![piece(words, Tone::Good)]];
            if !shown.is_empty() {
                lines.push(vec![piece(format!("next {shown} {zone}"), Tone::Plain)]);
            }
            lines.extend(
                warnings
                    .iter()
                    .map(|text| vec![piece(text::line(text), Tone::Warn)]),
            );
            lines
        }
    }
}

/// Instants one after the other, as many as fit, the day only where it is another.
fn instants(next: &[UnixMs], zone: &Zone, room: usize) -> String {
    let mut shown = String::new();
    let mut day = String::new();
    for at in next {
        let stamp = time::stamp_day(*at, zone);
        let (date, clock) = stamp.rsplit_once(' ').unwrap_or(("", &stamp));
        let part = if date == day { clock } else { &stamp };
        if !shown.is_empty() && shown.len() + 2 + part.len() > room {
            break;
        }
        if !shown.is_empty() {
            shown.push_str(", ");
        }
        shown.push_str(part);
        date.clone_into(&mut day);
    }
    shown
}
