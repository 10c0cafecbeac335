//! Everything the watch told, and what follows from it: runs that ended, failures folded by cause.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::thing::{CauseKey, cause_of};
use crate::model::{AgentName, GroupName, Outcome, RunId, TaskId, TaskPath, UnixMs};
use crate::proto::request::{Change, ProcessKey};
use crate::proto::view::{
    AgentView, EventView, GroupView, ProcessView, RunView, StatusView, TaskView,
};

/// Ended runs kept; older ones are in `ucron runs`.
const MOST_RUNS: usize = 2_000;
/// Events kept; older ones are in `ucron events`.
const MOST_EVENTS: usize = 2_000;

/// The fleet as the center told it.
#[derive(Clone, Default, Debug)]
pub struct Fleet {
    /// At a glance.
    pub status: Option<StatusView>,
    /// By name.
    pub groups: BTreeMap<GroupName, GroupView>,
    /// By name.
    pub agents: BTreeMap<AgentName, AgentView>,
    /// By id.
    pub tasks: BTreeMap<TaskId, TaskView>,
    /// Runs under way and daemons' slots.
    pub processes: BTreeMap<ProcessKey, ProcessView>,
    /// Runs that have ended.
    pub runs: Runs,
    /// What happened, oldest first.
    pub events: VecDeque<EventView>,
    tick: u64,
}

impl Fleet {
    /// Grows with whatever is taken in: what was made of the fleet is good for as long as it stays.
    pub fn tick(&self) -> u64 {
        self.tick
    }

    /// Takes the place of what was known before; what the center does not repeat is kept.
    pub fn replace(&mut self, mut with: Self) {
        let before = self.runs.newest_first().cloned();
        before.for_each(|run| with.runs.insert(run));
        with.events = std::mem::take(&mut self.events);
        with.tick = self.tick + 1;
        *self = with;
    }

    /// Takes one change in.
    pub fn take(&mut self, change: Change) {
        self.tick += 1;
        match change {
            Change::Complete => {}
            Change::Status(status) => self.status = Some(*status),
            Change::Group(group) => drop(self.groups.insert(group.name.clone(), group)),
            Change::GroupGone(name) => drop(self.groups.remove(&name)),
            Change::Agent(agent) => drop(self.agents.insert(agent.name.clone(), agent)),
            Change::AgentGone(name) => drop(self.agents.remove(&name)),
            Change::Task(task) => self.take_task(*task),
            Change::TaskGone(id) => drop(self.tasks.remove(&id)),
            Change::Process(process) => {
                drop(self.processes.insert(ProcessKey::of(&process), process));
            }
            Change::ProcessGone(key) => drop(self.processes.remove(&key)),
            Change::Run(run) => self.runs.insert(*run),
        }
    }

    fn take_task(&mut self, task: TaskView) {
        if let Some(run) = task.last_run.as_ref().filter(|run| run.outcome.is_some()) {
            self.runs.insert(run.clone());
        }
        self.tasks.insert(task.id.clone(), task);
    }

    /// Takes a run in that has ended.
    pub fn take_run(&mut self, run: RunView) {
        self.tick += 1;
        self.runs.insert(run);
    }

    /// Takes an event in.
    pub fn take_event(&mut self, event: EventView) {
        self.tick += 1;
        if self
            .events
            .iter()
            .rev()
            .any(|known| known.cursor == event.cursor)
        {
            return;
        }
        self.events.push_back(event);
        if self.events.len() > MOST_EVENTS {
            self.events.pop_front();
        }
    }

    /// The task of this path.
    pub fn task_at(&self, path: &TaskPath) -> Option<&TaskView> {
        self.tasks
            .values()
            .find(|task| task.group == path.group && task.task_name == path.name)
    }

    /// The processes of a task.
    pub fn processes_of<'a>(
        &'a self,
        path: &'a TaskPath,
    ) -> impl Iterator<Item = &'a ProcessView> + 'a {
        self.processes
            .values()
            .filter(|process| process.task == *path)
    }

    /// The agents of a group.
    pub fn agents_of<'a>(&'a self, group: &'a GroupName) -> impl Iterator<Item = &'a AgentView> {
        self.agents
            .values()
            .filter(|agent| agent.groups.contains(group))
    }

    /// Failures folded by cause, the latest first.
    pub fn failures(&self) -> Vec<Failures> {
        let mut folded: BTreeMap<CauseKey, Failures> = BTreeMap::new();
        let failed = |run: &&RunView| run.outcome.is_some_and(is_trouble);
        for run in self.runs.newest_first().filter(failed) {
            let Some(outcome) = run.outcome else { continue };
            let key = CauseKey {
                task: run.task.clone(),
                outcome,
                cause: cause_of(&run.reason),
            };
            let entry = folded
                .entry(key.clone())
                .or_insert_with(|| Failures::new(key, run));
            entry.count += 1;
            entry.agents.extend(run.agent.clone());
        }
        let mut all: Vec<Failures> = folded.into_values().collect();
        all.sort_by(|a, b| b.last_at.cmp(&a.last_at).then_with(|| a.key.cmp(&b.key)));
        all
    }
}

/// Whether a run that ended so wants somebody's eye.
pub fn is_trouble(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Failed | Outcome::TimedOut | Outcome::Missed | Outcome::Lost
    )
}

/// Failures with one cause.
#[derive(Clone, PartialEq, Debug)]
pub struct Failures {
    /// What folds them.
    pub key: CauseKey,
    /// How many there are among the runs known.
    pub count: u64,
    /// When the last was.
    pub last_at: UnixMs,
    /// The last one.
    pub last_run: RunId,
    /// Its reason in full.
    pub reason: String,
    /// Where they were.
    pub agents: BTreeSet<AgentName>,
}

impl Failures {
    fn new(key: CauseKey, last: &RunView) -> Self {
        Self {
            key,
            count: 0,
            last_at: ended_at(last),
            last_run: last.run_id.clone(),
            reason: last.reason.clone(),
            agents: BTreeSet::new(),
        }
    }
}

/// When a run ended; its occurrence where it never started.
pub fn ended_at(run: &RunView) -> UnixMs {
    run.finished_at.unwrap_or(run.scheduled_at)
}

/// Runs that have ended, by when; a bounded number.
#[derive(Clone, Default, Debug)]
pub struct Runs {
    by_end: BTreeMap<(UnixMs, RunId), RunView>,
    ends: BTreeMap<RunId, UnixMs>,
}

impl Runs {
    /// Adds a run, or replaces what was known of it.
    fn insert(&mut self, run: RunView) {
        let (at, id) = (ended_at(&run), run.run_id.clone());
        if let Some(before) = self.ends.insert(id.clone(), at) {
            self.by_end.remove(&(before, id.clone()));
        }
        self.by_end.insert((at, id), run);
        while self.by_end.len() > MOST_RUNS {
            if let Some(((_, id), _)) = self.by_end.pop_first() {
                self.ends.remove(&id);
            }
        }
    }

    /// The run of this id.
    pub fn get(&self, id: &RunId) -> Option<&RunView> {
        let at = self.ends.get(id)?;
        self.by_end.get(&(*at, id.clone()))
    }

    /// All of them, the newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &RunView> {
        self.by_end.values().rev()
    }
}
