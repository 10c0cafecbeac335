//! The head: the fleet at a glance, and where one is.
//!
//! ```text
//! ucron  3 agents, 1 offline  12 tasks, 1 stopped  1 group frozen  4 running  late p99 4ms  10.0.0.1:9502
//! 1 overview  2 tasks  3 runs  4 agents  5 failures  6 events      2 marked  /web  3 of 12
//! ```

use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::paint::{Canvas, Piece, piece};
use super::theme::Tone;
use crate::cli::print::time;
use crate::model::UnixMs;
use crate::proto::view::StatusView;
use crate::tui::state::{Link, Screen, State};
use crate::tui::text;

/// Draws one or two rows.
pub fn draw(canvas: &mut Canvas, area: Rect, state: &State, now: UnixMs) {
    let line = match &state.link {
        Link::Lost {
            since,
            attempt,
            why,
        } => away(now.since(*since).as_secs(), *attempt, why),
        Link::Live | Link::Filling => glance(state),
    };
    canvas.line(area, 0, 0, &line);
    if area.height > 1 {
        tabs(canvas, area, state);
    }
}

fn away(seconds: u64, attempt: u32, why: &str) -> Vec<Piece> {
    vec![
        piece("ucron", Tone::Strong),
        piece("  no center", Tone::Bad),
        piece(
            format!("  as of {seconds}s ago, attempt {attempt}: "),
            Tone::Warn,
        ),
        piece(why, Tone::Dim),
    ]
}

fn glance(state: &State) -> Vec<Piece> {
    let mut line = vec![piece("ucron", Tone::Strong)];
    let Some(status) = &state.fleet.status else {
        line.push(piece("  loading …", Tone::Dim));
        return line;
    };
    line.extend(numbers(status));
    match status.problems.len() {
        0 => {}
        1 => line.push(piece("  ! 1 problem", Tone::Bad)),
        count => line.push(piece(format!("  ! {count} problems"), Tone::Bad)),
    }
    if state.incoming.is_some() {
        line.push(piece("  loading …", Tone::Dim));
    }
    line.push(piece(
        format!("  {}", text::line(&status.center)),
        Tone::Info,
    ));
    if status.role != "leader" {
        line.push(piece(format!("  {}", text::line(&status.role)), Tone::Warn));
    }
    line
}

fn numbers(status: &StatusView) -> Vec<Piece> {
    let (agents, tasks) = (&status.agents, &status.tasks);
    let all = agents.online + agents.offline + agents.draining;
    let mut line = vec![piece(
        format!("  {}", text::counted(all, "agent", "agents")),
        Tone::Plain,
    )];
    if agents.offline > 0 {
        line.push(piece(format!(", {} offline", agents.offline), Tone::Bad));
    }
    if agents.draining > 0 {
        line.push(piece(format!(", {} draining", agents.draining), Tone::Warn));
    }
    line.push(piece(
        format!(
            "  {}",
            text::counted(tasks.enabled + tasks.stopped, "task", "tasks")
        ),
        Tone::Plain,
    ));
    if tasks.stopped > 0 {
        line.push(piece(format!(", {} stopped", tasks.stopped), Tone::Warn));
    }
    if !status.freezes.is_empty() {
        let groups = text::counted(status.freezes.len() as u64, "group", "groups");
        line.push(piece(format!("  {groups} frozen"), Tone::Warn));
    }
    line.push(piece(format!("  {} running", status.running), Tone::Plain));
    if let Some(p99) = status.lateness_ms.p99 {
        let late = format!("  late p99 {}", time::millis(p99));
        line.push(piece(late, if p99 > 1000 { Tone::Warn } else { Tone::Dim }));
    }
    line
}

fn tabs(canvas: &mut Canvas, area: Rect, state: &State) {
    let mut at = 0;
    for (number, screen) in (1..).zip(Screen::ALL) {
        let is_here = screen == state.screen;
        let style = if is_here {
            Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED)
        } else {
            canvas.theme.style(Tone::Dim)
        };
        at = canvas.put(area, at, 1, &format!(" {number} {} ", screen.name()), style);
    }
    let right = right(state);
    let width: usize = right.iter().map(|piece| text::width(&piece.text)).sum();
    let start = usize::from(area.width).saturating_sub(width);
    if start > usize::from(at) {
        canvas.line(area, u16::try_from(start).unwrap_or(at), 1, &right);
    }
}

fn right(state: &State) -> Vec<Piece> {
    let mut pieces = Vec::new();
    if !state.marks.is_empty() {
        pieces.push(piece(format!("{} marked  ", state.marks.len()), Tone::Warn));
    }
    if !state.filter.is_empty() {
        let lists = state.lists();
        let shown = lists.len();
        let all: usize = lists.sections.iter().map(|section| section.total).sum();
        let filter = text::cut(&text::line(&state.filter), 16);
        pieces.push(piece(format!("/{filter}"), Tone::Info));
        pieces.push(piece(format!("  {shown} of {all}"), Tone::Strong));
    }
    pieces
}
