//! An agent, or a group: what it has, what runs there.
//!
//! ```text
//! state       ● online, last heard of 1s ago
//! groups      web, db
//! …
//! running
//! last runs
//! ```

use super::cells;
use super::page::{field, heading, pair, wrong};
use super::paint::{TextLine, piece};
use super::run;
use super::theme::Tone;
use crate::cli::print::time;
use crate::model::UnixMs;
use crate::proto::view::{AgentView, GroupView};
use crate::tui::state::State;
use crate::tui::text;

/// The page of an agent.
pub fn details(
    state: &State,
    now: UnixMs,
    view: &AgentView,
    width: u16,
) -> (String, Vec<TextLine>) {
    let mut lines = Vec::new();
    let (mark, tone) = cells::agent_mark(view.state);
    let seen = view.last_seen_at.map_or_else(
        || "never heard of".to_owned(),
        |at| format!("last heard of {}", cells::when(at, now, state)),
    );
    field(
        &mut lines,
        "state",
        &format!("{mark} {}, {seen}", view.state.as_str()),
        tone,
        width,
    );
    let conditions = state.fleet.conditions_of(None, Some(&view.name));
    wrong(&mut lines, state, now, conditions, width);
    let groups: Vec<&str> = view
        .groups
        .iter()
        .map(crate::model::GroupName::as_str)
        .collect();
    field(&mut lines, "groups", &groups.join(", "), Tone::Plain, width);
    field(
        &mut lines,
        "running",
        &view.running.to_string(),
        Tone::Plain,
        width,
    );
    if let Some(address) = &view.address {
        field(&mut lines, "address", address, Tone::Plain, width);
    }
    if let Some(skew) = view.skew_ms {
        let text = format!("{} from the center's", time::millis(skew));
        field(&mut lines, "clock", &text, Tone::Plain, width);
    }
    if let Some(version) = &view.version {
        field(&mut lines, "version", version, Tone::Plain, width);
    }
    heading(&mut lines, "running");
    let processes = state
        .fleet
        .processes
        .values()
        .filter(|process| process.agent == view.name);
    for process in processes {
        let mut line = vec![piece(text::pad(&process.task.to_string(), 31), Tone::Plain)];
        line.extend(run::process_line(state, now, process));
        lines.push(line);
    }
    heading(&mut lines, "last runs");
    let ended = state.fleet.runs.newest_first();
    for view in ended
        .filter(|run| run.agent.as_ref() == Some(&view.name))
        .take(run::MOST)
    {
        let mut line = vec![piece(text::pad(&view.task.to_string(), 31), Tone::Plain)];
        line.extend(run::line(state, now, view));
        lines.push(line);
    }
    lines.push(Vec::new());
    lines.push(vec![piece(
        format!(
            "`:agent drain {0}` keeps new runs away, `:agent undrain {0}` lets them in again",
            view.name
        ),
        Tone::Dim,
    )]);
    (format!("agent {}", view.name), lines)
}

/// The page of a group.
pub fn group(state: &State, now: UnixMs, view: &GroupView, width: u16) -> (String, Vec<TextLine>) {
    let mut lines = Vec::new();
    field(
        &mut lines,
        "tasks",
        &view.tasks.to_string(),
        Tone::Plain,
        width,
    );
    if let Some(users) = &view.run_users {
        let users: Vec<&str> = users.iter().map(String::as_str).collect();
        field(
            &mut lines,
            "run users",
            &users.join(", "),
            Tone::Plain,
            width,
        );
    }
    if let Some(until) = view.frozen_until {
        let why = view.frozen.as_deref().unwrap_or_default();
        let text = format!("until {} {why}", time::stamp(until, &state.zone));
        field(&mut lines, "frozen", &text, Tone::Warn, width);
    }
    heading(&mut lines, "agents");
    for agent in state.fleet.agents_of(&view.name) {
        let (mark, tone) = cells::agent_mark(agent.state);
        let mut row = vec![piece(
            text::pad(&format!("{mark} {}", agent.name), 27),
            tone,
        )];
        row.extend(pair("running", agent.running.to_string(), Tone::Plain));
        if let Some(at) = agent.last_seen_at {
            row.extend(pair("seen", cells::when(at, now, state), Tone::Plain));
        }
        lines.push(row);
    }
    heading(&mut lines, "tasks");
    for task in state
        .fleet
        .tasks
        .values()
        .filter(|task| task.group == view.name)
    {
        let word = if task.enabled { "on" } else { "stopped" };
        let mut row = vec![piece(text::pad(task.task_name.as_str(), 31), Tone::Plain)];
        row.push(piece(format!("{word:<8} "), Tone::Dim));
        row.push(piece(text::line(task.spec.rule.text()), Tone::Plain));
        lines.push(row);
    }
    (format!("group {}", view.name), lines)
}
