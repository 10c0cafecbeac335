//! Which rows each part of a screen has, in their order, after the filter.

use std::cmp::Reverse;

use super::fleet::{ended_at, is_trouble};
use super::thing::Thing;
use super::{Screen, State, path_of};
use crate::model::{AgentState, TaskPath};
use crate::proto::request::ProcessKey;
use crate::proto::view::{AgentView, EventView, ProcessView, RunView, TaskView};

/// One list of a screen.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Part {
    /// Agents by group.
    Groups,
    /// Running daemons and runs.
    Running,
    /// What comes next.
    Next,
    /// Recent failures by cause.
    Failures,
    /// The last outcomes of each task.
    Strips,
    /// Tasks with all columns.
    Tasks,
    /// Runs under way, then ended.
    Runs,
    /// Agents with all columns.
    Agents,
    /// What happened.
    Events,
}

/// A part with its rows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Section {
    /// Which.
    pub part: Part,
    /// The rows that pass the filter.
    pub rows: Vec<Thing>,
    /// How many there are without it.
    pub total: usize,
}

/// The parts of the screen that is looked at.
pub fn sections(state: &State) -> Vec<Section> {
    let parts: &[Part] = match state.screen {
        Screen::Overview => &[
            Part::Groups,
            Part::Running,
            Part::Next,
            Part::Failures,
            Part::Strips,
        ],
        Screen::Tasks => &[Part::Tasks],
        Screen::Runs => &[Part::Runs],
        Screen::Agents => &[Part::Agents],
        Screen::Failures => &[Part::Failures],
        Screen::Events => &[Part::Events],
    };
    parts.iter().map(|part| section(state, *part)).collect()
}

fn section(state: &State, part: Part) -> Section {
    let all = match part {
        Part::Groups => groups(state),
        Part::Running => running(state),
        Part::Next => next(state),
        Part::Failures => failures(state),
        Part::Strips => strips(state),
        Part::Tasks => tasks(state),
        Part::Runs => runs(state),
        Part::Agents => agents(state),
        Part::Events => events(state),
    };
    let total = all.len();
    let words: Vec<String> = state
        .filter
        .to_lowercase()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let passes = |text: &str| {
        let text = text.to_lowercase();
        words.iter().all(|word| text.contains(word))
    };
    let rows = all
        .into_iter()
        .filter(|(_, text)| words.is_empty() || passes(text))
        .map(|(thing, _)| thing)
        .collect();
    Section { part, rows, total }
}

/// A row and the text that the filter looks at.
type Row = (Thing, String);

fn groups(state: &State) -> Vec<Row> {
    let fleet = &state.fleet;
    let groups = fleet.groups.values().map(|group| {
        let agents: Vec<&str> = group
            .agents
            .iter()
            .map(crate::model::AgentName::as_str)
            .collect();
        let text = format!("{} {}", group.name, agents.join(" "));
        (Thing::Group(group.name.clone()), text)
    });
    let alone = fleet
        .agents
        .values()
        .filter(|agent| agent.groups.is_empty())
        .map(agent_row);
    groups.chain(alone).collect()
}

fn agents(state: &State) -> Vec<Row> {
    let mut all: Vec<&AgentView> = state.fleet.agents.values().collect();
    all.sort_by_key(|agent| (agent.state == AgentState::Online, &agent.name));
    all.into_iter().map(agent_row).collect()
}

fn agent_row(agent: &AgentView) -> Row {
    let groups: Vec<&str> = agent
        .groups
        .iter()
        .map(crate::model::GroupName::as_str)
        .collect();
    let text = format!(
        "{} {} {}",
        agent.name,
        agent.state.as_str(),
        groups.join(" ")
    );
    (Thing::Agent(agent.name.clone()), text)
}

/// Daemons in trouble first, then runs (the newest first), then the other daemons.
fn running(state: &State) -> Vec<Row> {
    let mut all: Vec<&ProcessView> = state.fleet.processes.values().collect();
    let order = |process: &&ProcessView| {
        let rank = match (process.daemon, process.state.as_str()) {
            (true, "running") => 2,
            (true, _) => 0,
            (false, _) => 1,
        };
        let newest = Reverse(process.started_at.filter(|_| !process.daemon));
        (
            rank,
            newest,
            process.task.clone(),
            process.agent.clone(),
            process.slot,
        )
    };
    all.sort_by_cached_key(order);
    all.into_iter().map(process_row).collect()
}

fn process_row(process: &ProcessView) -> Row {
    let text = format!("{} {} {}", process.task, process.agent, process.state);
    (Thing::Process(ProcessKey::of(process)), text)
}

fn task_row(task: &TaskView) -> Row {
    let state = if task.enabled { "on" } else { "stopped" };
    let last = task.last_run.as_ref().and_then(|run| run.outcome);
    let last = last.map_or("", crate::model::Outcome::as_str);
    let daemon = if task.spec.work.daemon { "daemon" } else { "" };
    let text = format!(
        "{} {state} {daemon} {last} {} {}",
        path_of(task),
        task.spec.rule,
        task.spec.work.run_user
    );
    (Thing::Task(task.id.clone()), text)
}

fn next(state: &State) -> Vec<Row> {
    let mut due: Vec<&TaskView> = state
        .fleet
        .tasks
        .values()
        .filter(|task| task.next_at.is_some())
        .collect();
    due.sort_by_key(|task| (task.next_at, &task.group, &task.task_name));
    due.into_iter().map(task_row).collect()
}

fn by_path(state: &State) -> Vec<&TaskView> {
    let mut all: Vec<&TaskView> = state.fleet.tasks.values().collect();
    all.sort_by_key(|task| (&task.group, &task.task_name));
    all
}

fn tasks(state: &State) -> Vec<Row> {
    by_path(state).into_iter().map(task_row).collect()
}

/// Tasks with trouble among their last outcomes first.
fn strips(state: &State) -> Vec<Row> {
    let mut all = by_path(state);
    all.sort_by_key(|task| !task.recent.iter().any(|outcome| is_trouble(*outcome)));
    all.into_iter().map(task_row).collect()
}

fn failures(state: &State) -> Vec<Row> {
    let row = |failures: super::Failures| {
        let agents: Vec<&str> = failures
            .agents
            .iter()
            .map(crate::model::AgentName::as_str)
            .collect();
        let key = &failures.key;
        let text = format!(
            "{} {} {} {}",
            key.task,
            key.outcome,
            failures.reason,
            agents.join(" ")
        );
        (Thing::Failures(failures.key), text)
    };
    state.fleet.failures().into_iter().map(row).collect()
}

fn runs(state: &State) -> Vec<Row> {
    let mut under_way: Vec<&ProcessView> = state.fleet.processes.values().collect();
    under_way.retain(|process| process.run_id.is_some());
    under_way.sort_by_key(|process| (Reverse(process.started_at), &process.task, process.slot));
    let ended = state.fleet.runs.newest_first().map(run_row);
    under_way
        .into_iter()
        .map(process_row)
        .chain(ended)
        .collect()
}

fn run_row(run: &RunView) -> Row {
    let text = format!(
        "{} {} {} {} {} {}",
        run.run_id,
        run.task,
        run.agent.as_ref().map_or("", |agent| agent.as_str()),
        run.cause,
        run.outcome.map_or("", crate::model::Outcome::as_str),
        run.reason
    );
    (Thing::Run(run.run_id.clone()), text)
}

fn events(state: &State) -> Vec<Row> {
    state.fleet.events.iter().rev().map(event_row).collect()
}

fn event_row(event: &EventView) -> Row {
    let text = format!(
        "{} {} {} {} {} {}",
        event.event,
        event
            .task
            .as_ref()
            .map_or_else(String::new, TaskPath::to_string),
        event.agent.as_ref().map_or("", |agent| agent.as_str()),
        event
            .operator
            .as_ref()
            .map_or("", |operator| operator.as_str()),
        event.outcome.map_or("", crate::model::Outcome::as_str),
        event.reason
    );
    (Thing::Event(event.cursor.clone()), text)
}

/// The last runs of a task, the newest first.
impl super::Fleet {
    /// The ended runs of a task, the newest first.
    pub fn runs_of<'a>(&'a self, path: &'a TaskPath) -> impl Iterator<Item = &'a RunView> + 'a {
        self.runs.newest_first().filter(|run| run.task == *path)
    }

    /// When the last run of a task ended.
    pub fn last_end(task: &TaskView) -> Option<crate::model::UnixMs> {
        task.last_run
            .as_ref()
            .filter(|run| run.outcome.is_some())
            .map(ended_at)
    }
}
