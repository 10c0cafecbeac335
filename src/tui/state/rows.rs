//! Which rows each part of a screen has, in their order, after the filter; made once per change, however often
//! they are asked for.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::rc::Rc;

use super::fleet::{Failures, Fleet, ended_at, is_trouble};
use super::thing::Thing;
use super::{Screen, State, path_of};
use crate::model::{AgentState, Outcome, TaskPath};
use crate::proto::request::ProcessKey;
use crate::proto::view::{AgentView, EventView, GroupView, ProcessView, RunView, TaskView};

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

/// The lists of a screen.
#[derive(PartialEq, Debug)]
pub struct Lists {
    /// From top to bottom.
    pub sections: Vec<Section>,
    /// What the rows of failures stand for; empty where the screen has none.
    pub failures: Vec<Failures>,
}

impl Lists {
    /// How many rows all sections have.
    pub fn len(&self) -> usize {
        self.sections.iter().map(|section| section.rows.len()).sum()
    }

    /// Whether no section has a row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row of this number, counted over all sections.
    pub fn row(&self, at: usize) -> Option<(Part, Thing)> {
        let mut before = 0;
        for section in &self.sections {
            if let Some(thing) = section.rows.get(at - before) {
                return Some((section.part, thing.clone()));
            }
            before += section.rows.len();
        }
        None
    }

    /// The number of a row.
    pub fn place(&self, row: &(Part, Thing)) -> Option<usize> {
        let mut before = 0;
        for section in &self.sections {
            if section.part == row.0 {
                let at = section.rows.iter().position(|thing| *thing == row.1)?;
                return Some(before + at);
            }
            before += section.rows.len();
        }
        None
    }

    /// Where a thing is listed first.
    pub fn find(&self, thing: &Thing) -> Option<(Part, Thing)> {
        let mut found = self.sections.iter().filter(|s| s.rows.contains(thing));
        found.next().map(|section| (section.part, thing.clone()))
    }

    /// What stands at this row now, or next to it in the same part while that has any.
    pub fn near(&self, part: Part, row: usize) -> Option<(Part, Thing)> {
        let mut before = 0;
        for section in &self.sections {
            if section.part == part && !section.rows.is_empty() {
                let last = section.rows.len() - 1;
                return self.row(before + row.saturating_sub(before).min(last));
            }
            before += section.rows.len();
        }
        self.row(row.min(self.len().saturating_sub(1)))
    }

    /// Whether a row is there.
    pub fn has(&self, row: &(Part, Thing)) -> bool {
        self.place(row).is_some()
    }
}

/// The lists made last, and what they were made of. A frame asks for them several times, a key too; in a large
/// fleet making them is most of the work.
#[derive(Default, Debug)]
pub(super) struct Made(RefCell<Option<(Key, Rc<Lists>)>>);

/// All that the lists depend on.
#[derive(PartialEq, Eq, Debug)]
struct Key {
    screen: Screen,
    filter: String,
    fleet: u64,
}

/// The lists of the screen that is looked at: those made last where nothing they depend on has changed.
pub fn lists(state: &State) -> Rc<Lists> {
    let key = Key {
        screen: state.screen,
        filter: state.filter.clone(),
        fleet: state.fleet.tick(),
    };
    let mut made = state.made.0.borrow_mut();
    match made.as_ref() {
        Some((of, lists)) if *of == key => Rc::clone(lists),
        _ => {
            let lists = Rc::new(make(state));
            *made = Some((key, Rc::clone(&lists)));
            lists
        }
    }
}

fn make(state: &State) -> Lists {
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
    let failures = if parts.contains(&Part::Failures) {
        state.fleet.failures()
    } else {
        Vec::new()
    };
    let words: Vec<String> = state
        .filter
        .to_lowercase()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let section = |part: &Part| section(&state.fleet, &failures, *part, &words);
    let sections = parts.iter().map(section).collect();
    Lists { sections, failures }
}

fn section(fleet: &Fleet, failures: &[Failures], part: Part, words: &[String]) -> Section {
    let all = match part {
        Part::Groups => groups(fleet),
        Part::Running => running(fleet),
        Part::Next => next(fleet),
        Part::Failures => failures.iter().map(Source::Failures).collect(),
        Part::Strips => strips(fleet),
        Part::Tasks => by_path(fleet).into_iter().map(Source::Task).collect(),
        Part::Runs => runs(fleet),
        Part::Agents => agents(fleet),
        Part::Events => fleet.events.iter().rev().map(Source::Event).collect(),
    };
    let total = all.len();
    let passes = |source: &Source| {
        if words.is_empty() {
            return true;
        }
        let text = source.text().to_lowercase();
        words.iter().all(|word| text.contains(word))
    };
    let shown = all.into_iter().filter(passes);
    let rows = shown.map(Source::thing).collect();
    Section { part, rows, total }
}

/// What a row is made of.
#[derive(Clone, Copy)]
enum Source<'a> {
    Group(&'a GroupView),
    Agent(&'a AgentView),
    Process(&'a ProcessView),
    Task(&'a TaskView),
    Failures(&'a Failures),
    Run(&'a RunView),
    Event(&'a EventView),
}

impl Source<'_> {
    fn thing(self) -> Thing {
        match self {
            Self::Group(group) => Thing::Group(group.name.clone()),
            Self::Agent(agent) => Thing::Agent(agent.name.clone()),
            Self::Process(process) => Thing::Process(ProcessKey::of(process)),
            Self::Task(task) => Thing::Task(task.id.clone()),
            Self::Failures(failures) => Thing::Failures(failures.key.clone()),
            Self::Run(run) => Thing::Run(run.run_id.clone()),
            Self::Event(event) => Thing::Event(event.cursor.clone()),
        }
    }

    /// The text that the filter looks at.
    fn text(self) -> String {
        match self {
            Self::Group(group) => format!("{} {}", group.name, joined(&group.agents)),
            Self::Agent(agent) => format!(
                "{} {} {}",
                agent.name,
                agent.state.as_str(),
                joined(&agent.groups)
            ),
            Self::Process(process) => {
                format!("{} {} {}", process.task, process.agent, process.state)
            }
            Self::Task(task) => task_text(task),
            Self::Failures(failures) => {
                let key = &failures.key;
                let agents = joined(&failures.agents);
                format!("{} {} {} {agents}", key.task, key.outcome, failures.reason)
            }
            Self::Run(run) => run_text(run),
            Self::Event(event) => event_text(event),
        }
    }
}

fn joined<'a, T: ToString + 'a>(names: impl IntoIterator<Item = &'a T>) -> String {
    let names: Vec<String> = names.into_iter().map(ToString::to_string).collect();
    names.join(" ")
}

fn task_text(task: &TaskView) -> String {
    let state = if task.enabled { "on" } else { "stopped" };
    let last = task.last_run.as_ref().and_then(|run| run.outcome);
    let last = last.map_or("", Outcome::as_str);
    let daemon = if task.spec.work.daemon { "daemon" } else { "" };
    format!(
        "{} {state} {daemon} {last} {} {}",
        path_of(task),
        task.spec.rule,
        task.spec.work.run_user
    )
}

fn run_text(run: &RunView) -> String {
    format!(
        "{} {} {} {} {} {}",
        run.run_id,
        run.task,
        run.agent.as_ref().map_or("", |agent| agent.as_str()),
        run.cause,
        run.outcome.map_or("", Outcome::as_str),
        run.reason
    )
}

fn event_text(event: &EventView) -> String {
    format!(
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
        event.outcome.map_or("", Outcome::as_str),
        event.reason
    )
}

fn groups(fleet: &Fleet) -> Vec<Source<'_>> {
    let alone = fleet.agents.values().filter(|one| one.groups.is_empty());
    let groups = fleet.groups.values().map(Source::Group);
    groups.chain(alone.map(Source::Agent)).collect()
}

fn agents(fleet: &Fleet) -> Vec<Source<'_>> {
    let mut all: Vec<&AgentView> = fleet.agents.values().collect();
    all.sort_by_key(|agent| (agent.state == AgentState::Online, &agent.name));
    all.into_iter().map(Source::Agent).collect()
}

/// Daemons in trouble first, then runs (the newest first), then the other daemons.
fn running(fleet: &Fleet) -> Vec<Source<'_>> {
    let mut all: Vec<&ProcessView> = fleet.processes.values().collect();
    all.sort_by_key(|process| {
        let rank = match (process.daemon, process.state.as_str()) {
            (true, "running") => 2,
            (true, _) => 0,
            (false, _) => 1,
        };
        let newest = Reverse(process.started_at.filter(|_| !process.daemon));
        (rank, newest, &process.task, &process.agent, process.slot)
    });
    all.into_iter().map(Source::Process).collect()
}

fn next(fleet: &Fleet) -> Vec<Source<'_>> {
    let due = fleet.tasks.values().filter(|task| task.next_at.is_some());
    let mut due: Vec<&TaskView> = due.collect();
    due.sort_by_key(|task| (task.next_at, &task.group, &task.task_name));
    due.into_iter().map(Source::Task).collect()
}

fn by_path(fleet: &Fleet) -> Vec<&TaskView> {
    let mut all: Vec<&TaskView> = fleet.tasks.values().collect();
    all.sort_by_key(|task| (&task.group, &task.task_name));
    all
}

/// Tasks with trouble among their last outcomes first.
fn strips(fleet: &Fleet) -> Vec<Source<'_>> {
    let mut all = by_path(fleet);
    all.sort_by_key(|task| !task.recent.iter().any(|outcome| is_trouble(*outcome)));
    all.into_iter().map(Source::Task).collect()
}

fn runs(fleet: &Fleet) -> Vec<Source<'_>> {
    let mut under_way: Vec<&ProcessView> = fleet.processes.values().collect();
    under_way.retain(|process| process.run_id.is_some());
    under_way.sort_by_key(|process| {
        (
            Reverse(process.started_at.or(process.since)),
            &process.task,
            process.slot,
        )
    });
    let ended = fleet.runs.newest_first().map(Source::Run);
    under_way
        .into_iter()
        .map(Source::Process)
        .chain(ended)
        .collect()
}

impl Fleet {
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
