//! The cells of each thing in the columns of each part.

use std::collections::BTreeMap;

use super::paint::{Piece, piece};
use super::table::Cell;
use super::theme::{Tone, outcome};
use crate::cli::print::{row, slot, time};
use crate::model::{AgentState, Outcome, TaskPath, UnixMs};
use crate::proto::view::{AgentView, EventView, GroupView, ProcessView, RunView, TaskView};
use crate::rule::Zone;
use crate::tui::state::{Failures, Fleet, Part, State, Thing, ended_at, path_of, target};
use crate::tui::text;

/// The cells of a thing, one per column of the part; none where it is gone.
pub fn cells(state: &State, now: UnixMs, part: Part, thing: &Thing) -> Option<Vec<Cell>> {
    let fleet = &state.fleet;
    match (part, thing) {
        (Part::Groups, Thing::Group(name)) => Some(group(state, fleet.groups.get(name)?)),
        (Part::Groups, Thing::Agent(name)) => Some(alone(fleet.agents.get(name)?)),
        (Part::Agents, Thing::Agent(name)) => Some(agent(state, now, fleet.agents.get(name)?)),
        (Part::Running, Thing::Process(key)) => Some(process(now, fleet.processes.get(key)?)),
        (Part::Runs, Thing::Process(key)) => Some(run_under_way(now, fleet.processes.get(key)?)),
        (Part::Runs, Thing::Run(id)) => Some(run(state, now, fleet.runs.get(id)?)),
        (Part::Next, Thing::Task(id)) => Some(next(state, now, fleet.tasks.get(id)?)),
        (Part::Strips, Thing::Task(id)) => Some(strip_row(state, now, fleet.tasks.get(id)?)),
        (Part::Tasks, Thing::Task(id)) => Some(task(state, now, fleet.tasks.get(id)?)),
        (Part::Events, Thing::Event(cursor)) => {
            let event = fleet
                .events
                .iter()
                .rev()
                .find(|event| event.cursor == *cursor)?;
            Some(self::event(state, event))
        }
        _ => None,
    }
}

fn one(text: impl Into<String>, tone: Tone) -> Cell {
    Cell::Text(vec![piece(text, tone)])
}

fn plain(text: impl Into<String>) -> Cell {
    one(text, Tone::Plain)
}

fn clean(text: &str) -> Cell {
    plain(text::line(text))
}

/// `5s ago`, or the instant where it is more than a day away.
pub fn when(at: UnixMs, now: UnixMs, state: &State) -> String {
    time::relative(at, now).unwrap_or_else(|| time::stamp(at, &state.zone))
}

/// `2026-11-22 17:50:00.250`.
pub fn exact(at: UnixMs, zone: &Zone) -> String {
    format!("{}.{:03}", time::stamp(at, zone), at.0.rem_euclid(1000))
}

/// The same for tables: `11-23 03:30` where it is more than a day away, the date where it is another year.
fn brief(at: UnixMs, now: UnixMs, state: &State) -> String {
    let year = |at| time::stamp(at, &state.zone)[..4].to_owned();
    time::relative(at, now).unwrap_or_else(|| {
        let stamp = time::stamp(at, &state.zone);
        let range = if year(at) == year(now) { 5..16 } else { 0..10 };
        stamp.get(range).unwrap_or(&stamp).to_owned()
    })
}

/// `3m`: how long something has been going on.
fn since(at: UnixMs, now: UnixMs) -> String {
    let span = now.since(at);
    match span.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        seconds @ 3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        seconds => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// How an agent's state looks.
pub fn agent_mark(state: AgentState) -> (&'static str, Tone) {
    match state {
        AgentState::Online => ("●", Tone::Good),
        AgentState::Offline => ("○", Tone::Bad),
        AgentState::Draining => ("◐", Tone::Warn),
    }
}

fn group(state: &State, view: &GroupView) -> Vec<Cell> {
    let mut agents: Vec<&AgentView> = state.fleet.agents_of(&view.name).collect();
    agents.sort_by_key(|agent| agent.state == AgentState::Online);
    let mut names: Vec<Piece> = Vec::new();
    for agent in &agents {
        let (mark, tone) = agent_mark(agent.state);
        names.push(piece(format!("{mark} {}  ", agent.name), tone));
    }
    let running: u64 = state
        .fleet
        .processes
        .values()
        .filter(|process| process.group == view.name && process.pid.is_some())
        .count() as u64;
    let mut standing = counts(&agents);
    if view.frozen_until.is_some() {
        standing.insert(0, piece("frozen, ", Tone::Warn));
    }
    vec![
        one(view.name.as_str(), Tone::Strong),
        Cell::Text(standing),
        Cell::Text(names),
        plain(text::counted(view.tasks, "task", "tasks")),
        plain(format!("{running} running")),
    ]
}

fn counts(agents: &[&AgentView]) -> Vec<Piece> {
    let count = |state| agents.iter().filter(|agent| agent.state == state).count();
    if agents.is_empty() {
        return vec![piece("no agents", Tone::Warn)];
    }
    let mut pieces = Vec::new();
    for state in [
        AgentState::Offline,
        AgentState::Draining,
        AgentState::Online,
    ] {
        let number = count(state);
        if number > 0 {
            let (_, tone) = agent_mark(state);
            let gap = if pieces.is_empty() { "" } else { ", " };
            pieces.push(piece(format!("{gap}{number} {}", state.as_str()), tone));
        }
    }
    pieces
}

/// An agent that is in no group.
fn alone(view: &AgentView) -> Vec<Cell> {
    let (mark, tone) = agent_mark(view.state);
    vec![
        one("(no group)", Tone::Warn),
        one(view.state.as_str(), tone),
        one(format!("{mark} {}", view.name), tone),
        plain(""),
        plain(format!("{} running", view.running)),
    ]
}

fn agent(state: &State, now: UnixMs, view: &AgentView) -> Vec<Cell> {
    let (mark, tone) = agent_mark(view.state);
    let groups: Vec<&str> = view
        .groups
        .iter()
        .map(crate::model::GroupName::as_str)
        .collect();
    let clock = view.skew_ms.map_or_else(String::new, time::millis);
    vec![
        Cell::Text(vec![
            piece(format!("{mark} "), tone),
            piece(view.name.as_str(), Tone::Plain),
        ]),
        one(view.state.as_str(), tone),
        plain(groups.join(",")),
        plain(view.running.to_string()),
        plain(
            view.last_seen_at
                .map_or_else(|| "never".to_owned(), |at| brief(at, now, state)),
        ),
        plain(clock),
        clean(view.version.as_deref().unwrap_or("")),
        clean(view.address.as_deref().unwrap_or("")),
    ]
}

fn process_tone(view: &ProcessView) -> Tone {
    match view.state.as_str() {
        "running" => Tone::Good,
        "fatal" => Tone::Bad,
        _ => Tone::Warn,
    }
}

fn place(view: &ProcessView) -> String {
    format!("{}/{}", view.agent, view.slot)
}

/// What it is; of a slot that does not run, why.
fn kind(view: &ProcessView) -> String {
    if !view.daemon {
        return "run".to_owned();
    }
    let restarts = slot::restarts(view);
    let reason = Some(text::line(&view.reason)).filter(|text| is_down(view) && !text.is_empty());
    let first = reason.is_none().then(|| "daemon".to_owned());
    let parts: Vec<String> = [first, restarts, reason].into_iter().flatten().collect();
    parts.join(", ")
}

fn is_down(view: &ProcessView) -> bool {
    matches!(view.state.as_str(), "fatal" | "backoff" | "exited")
}

fn kind_tone(view: &ProcessView) -> Tone {
    match view.state.as_str() {
        "fatal" => Tone::Bad,
        _ => Tone::Plain,
    }
}

fn process(now: UnixMs, view: &ProcessView) -> Vec<Cell> {
    let kind = kind(view);
    vec![
        one(text::line(&view.state), process_tone(view)),
        Cell::Path(view.task.clone(), Tone::Plain),
        plain(place(view)),
        plain(
            view.started_at
                .or(view.since)
                .map_or_else(String::new, |at| since(at, now)),
        ),
        one(kind, kind_tone(view)),
        plain(view.pid.map_or_else(String::new, |pid| pid.to_string())),
        one(
            view.run_id.as_ref().map_or("", |run| run.short()),
            Tone::Dim,
        ),
    ]
}

fn run_under_way(now: UnixMs, view: &ProcessView) -> Vec<Cell> {
    let started = view
        .started_at
        .or(view.since)
        .and_then(|at| time::relative(at, now))
        .unwrap_or_default();
    vec![
        plain(view.run_id.as_ref().map_or("", |run| run.short())),
        Cell::Path(view.task.clone(), Tone::Plain),
        plain(place(view)),
        one(text::line(&view.state), process_tone(view)),
        plain(started),
        plain(
            view.started_at
                .or(view.since)
                .map_or_else(String::new, |at| since(at, now)),
        ),
        plain(""),
        plain(if view.daemon { "daemon" } else { "" }),
        plain(""),
    ]
}

/// An outcome as a cell.
fn outcome_cell(found: Option<Outcome>) -> Cell {
    match found {
        Some(found) => one(found.as_str(), outcome(found).1),
        None => plain(""),
    }
}

/// How long a run took.
pub fn took(view: &RunView) -> String {
    match (view.started_at, view.finished_at) {
        (Some(start), Some(end)) => time::millis(end.0 - start.0),
        _ => String::new(),
    }
}

/// Where a run was.
pub fn run_place(view: &RunView) -> String {
    match &view.agent {
        Some(agent) => format!("{agent}/{}", view.slot),
        None => String::new(),
    }
}

fn run(state: &State, now: UnixMs, view: &RunView) -> Vec<Cell> {
    vec![
        plain(view.run_id.short()),
        Cell::Path(view.task.clone(), Tone::Plain),
        plain(run_place(view)),
        outcome_cell(view.outcome),
        plain(brief(ended_at(view), now, state)),
        plain(took(view)),
        plain(view.late_ms.map_or_else(String::new, time::millis)),
        plain(view.cause.as_str()),
        clean(&row::reason(view, &state.zone)),
    ]
}

fn next(state: &State, now: UnixMs, view: &TaskView) -> Vec<Cell> {
    let at = view.next_at.unwrap_or(now);
    let near = time::relative(at, now);
    let short = time::clock(at, &state.zone);
    let shown = match &near {
        Some(_) => short[..8].to_owned(),
        None => brief(at, now, state),
    };
    vec![
        one(near.unwrap_or_default(), Tone::Info),
        plain(shown),
        Cell::Path(path_of(view), Tone::Plain),
        one(text::line(view.spec.rule.text()), Tone::Dim),
        one(target(&view.spec.target), Tone::Dim),
    ]
}

/// The last outcomes, the newest at the right end.
pub fn strip(recent: &[Outcome]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for found in recent {
        let (letter, tone) = outcome(*found);
        match pieces.last_mut() {
            Some(last) if last.tone == tone => last.text.push(letter),
            _ => pieces.push(piece(letter, tone)),
        }
    }
    pieces
}

fn last(state: &State, now: UnixMs, view: &TaskView) -> String {
    Fleet::last_end(view).map_or_else(String::new, |at| brief(at, now, state))
}

fn last_outcome(view: &TaskView) -> Option<Outcome> {
    view.last_run.as_ref().and_then(|run| run.outcome)
}

/// A daemon's strip has the ends of its processes, and says which of them are up: it may run for months without
/// an end.
fn strip_row(state: &State, now: UnixMs, view: &TaskView) -> Vec<Cell> {
    let mut words = if view.spec.work.daemon && view.enabled {
        up(state, now, view)
    } else {
        Vec::new()
    };
    if let Some(found) = last_outcome(view).filter(|found| *found != Outcome::Succeeded) {
        let reason = view.last_run.as_ref().map_or("", |run| run.reason.as_str());
        let text = text::line(&format!("{found}: {reason}"));
        words.push(piece(text, outcome(found).1));
    }
    let strip = match (view.recent.is_empty(), view.running) {
        (false, _) => Cell::Text(strip(&view.recent)),
        (true, 0) => one("no run yet", Tone::Dim),
        (true, _) => one("none has ended", Tone::Dim),
    };
    vec![
        Cell::Path(path_of(view), tone_of(view)),
        strip,
        one(last(state, now, view), Tone::Dim),
        Cell::Text(words),
    ]
}

/// `1 backoff  2 up, last start 3h05m ago`: the slots of a daemon by state, and when a process of it last started.
fn up(state: &State, now: UnixMs, view: &TaskView) -> Vec<Piece> {
    let path = path_of(view);
    let mut up = 0_u64;
    let mut started = None;
    let mut others: BTreeMap<&str, u64> = BTreeMap::new();
    for process in state.fleet.processes_of(&path) {
        if process.state == "running" {
            up += 1;
            started = started.max(process.started_at);
        } else {
            *others.entry(&process.state).or_default() += 1;
        }
    }
    let mut words: Vec<Piece> = others
        .into_iter()
        .map(|(state, count)| piece(format!("{count} {}  ", text::line(state)), Tone::Warn))
        .collect();
    words.push(match (up, started) {
        (0, _) => piece("none up  ", Tone::Bad),
        (up, Some(at)) => {
            let text = format!("{up} up, last start {} ago  ", since(at, now));
            piece(text, Tone::Good)
        }
        (up, None) => piece(format!("{up} up  "), Tone::Good),
    });
    words
}

fn tone_of(view: &TaskView) -> Tone {
    if view.enabled { Tone::Plain } else { Tone::Dim }
}

fn task(state: &State, now: UnixMs, view: &TaskView) -> Vec<Cell> {
    let (word, tone) = match (view.enabled, view.spec.work.daemon) {
        (false, _) => ("stopped", Tone::Warn),
        (true, true) => ("daemon", Tone::Good),
        (true, false) => ("on", Tone::Good),
    };
    let running = match view.running {
        0 => String::new(),
        count => count.to_string(),
    };
    vec![
        one(word, tone),
        Cell::Path(path_of(view), tone_of(view)),
        plain(text::line(view.spec.rule.text())),
        plain(
            view.next_at
                .map_or_else(String::new, |at| brief(at, now, state)),
        ),
        match last_outcome(view) {
            Some(found) => one(found.as_str(), outcome(found).1),
            None => plain(""),
        },
        Cell::Text(strip(&view.recent)),
        plain(running),
        plain(view.spec.work.run_user.as_str()),
        plain(target(&view.spec.target)),
        clean(&view.spec.work.execute.to_string()),
    ]
}

/// The cells of failures with one cause.
pub fn failures(state: &State, now: UnixMs, view: &Failures) -> Vec<Cell> {
    let found = view.key.outcome;
    let agents: Vec<&str> = view
        .agents
        .iter()
        .map(crate::model::AgentName::as_str)
        .collect();
    vec![
        one(format!("{}×", view.count), Tone::Strong),
        one(found.as_str(), outcome(found).1),
        Cell::Path(view.key.task.clone(), Tone::Plain),
        plain(brief(view.last_at, now, state)),
        clean(&view.reason),
        one(agents.join(","), Tone::Dim),
    ]
}

fn event(state: &State, view: &EventView) -> Vec<Cell> {
    let clock = time::clock(view.at, &state.zone);
    let task = match &view.task {
        Some(path) => Cell::Path(TaskPath::clone(path), Tone::Plain),
        None => plain(""),
    };
    vec![
        plain(&clock[..8]),
        one(text::line(&view.event), Tone::Info),
        task,
        plain(view.agent.as_ref().map_or("", |agent| agent.as_str())),
        match view.condition {
            Some(condition) => one(condition.as_str(), Tone::Bad),
            None => outcome_cell(view.outcome),
        },
        plain(
            view.operator
                .as_ref()
                .map_or("", |operator| operator.as_str()),
        ),
        clean(&view.reason),
    ]
}
