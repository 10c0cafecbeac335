//! The columns of each part, the dearest kept longest.

use super::table::{Column, column, instant, number};
use crate::tui::state::Part;

/// The narrowest that a task's column gets.
const TASK: usize = 24;

/// The columns of a part.
pub fn columns(part: Part) -> &'static [Column] {
    match part {
        Part::Groups => GROUPS,
        Part::Running => RUNNING,
        Part::Next => NEXT,
        Part::Failures => FAILURES,
        Part::Strips => STRIPS,
        Part::Tasks => TASKS,
        Part::Runs => RUNS,
        Part::Agents => AGENTS,
        Part::Events => EVENTS,
    }
}

const GROUPS: &[Column] = &[
    column("GROUP", 10, 24, 0),
    column("STATE", 9, 40, 0),
    column("AGENTS", 10, 120, 1),
    number("TASKS", 9, 2),
    number("RUNNING", 11, 3),
];

const RUNNING: &[Column] = &[
    column("STATE", 7, 12, 0),
    column("TASK", TASK, 64, 0),
    column("WHERE", 8, 40, 0),
    number("SINCE", 6, 1),
    column("KIND", 6, 200, 2),
    number("PID", 7, 3),
    column("RUN", 8, 8, 4),
];

const NEXT: &[Column] = &[
    number("IN", 9, 0),
    column("AT", 8, 11, 1),
    column("TASK", TASK, 64, 0),
    column("RULE", 8, 40, 2),
    column("TARGET", 4, 24, 3),
];

const FAILURES: &[Column] = &[
    number("COUNT", 5, 0),
    column("OUTCOME", 6, 9, 0),
    column("TASK", TASK, 64, 0),
    instant("LAST", 0),
    column("CAUSE", 8, 200, 0),
    column("WHERE", 4, 30, 2),
];

const STRIPS: &[Column] = &[
    column("TASK", TASK, 64, 0),
    column("LAST RUNS", 20, 20, 0),
    instant("LAST", 1),
    column("OUTCOME", 6, 80, 2),
];

const TASKS: &[Column] = &[
    column("STATE", 7, 7, 0),
    column("TASK", TASK, 90, 0),
    column("RULE", 12, 30, 4),
    instant("NEXT", 0),
    column("LAST", 9, 9, 1),
    column("LAST RUNS", 20, 20, 5),
    number("RUNS", 4, 3),
    column("USER", 4, 20, 7),
    column("TARGET", 6, 20, 8),
    column("COMMAND", 20, 60, 6),
];

const RUNS: &[Column] = &[
    column("RUN", 8, 8, 4),
    column("TASK", TASK, 64, 0),
    column("WHERE", 5, 40, 1),
    column("OUTCOME", 9, 9, 0),
    instant("WHEN", 0),
    number("TOOK", 8, 3),
    number("LATE", 8, 6),
    column("CAUSE", 8, 8, 7),
    // `exited with code 127` is read whole before an id is: dropped are ids.
    column("REASON", 20, 200, 2),
];

const AGENTS: &[Column] = &[
    column("AGENT", 12, 64, 0),
    column("STATE", 8, 8, 0),
    column("GROUPS", 8, 40, 1),
    number("RUNNING", 7, 0),
    instant("SEEN", 2),
    number("CLOCK", 8, 3),
    column("VERSION", 7, 12, 5),
    column("ADDRESS", 9, 48, 4),
];

const EVENTS: &[Column] = &[
    column("TIME", 8, 8, 0),
    column("EVENT", 8, 16, 0),
    column("TASK", TASK, 64, 0),
    column("AGENT", 4, 30, 2),
    column("OUTCOME", 9, 9, 1),
    column("BY", 4, 20, 4),
    column("REASON", 8, 200, 3),
];
