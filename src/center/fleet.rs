//! What the center knows of groups, tasks, agents, operators and tokens, in memory: the store's rows with the
//! indexes that deciding needs. Owns no runs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::model::{
    AgentId, AgentName, GroupName, OperatorId, OperatorName, Outcome, Target, Task, TaskId,
    TaskName, TaskPath, UnixMs,
};
use crate::proto::view::RunView;
use crate::rule::{Schedule, Zone};
use crate::store::{AgentRow, GroupRow, OperatorRow, Snapshot, TokenRow};

/// A task with what planning needs.
#[derive(Debug, Clone)]
pub struct TaskEntry {
    /// The task as saved.
    pub task: Task,
    /// Its rule in its zone.
    pub schedule: Schedule,
    /// No occurrence at or before this is planned again.
    pub cursor: UnixMs,
    /// The next occurrence to be planned; none when stopped or when the rule has no more.
    pub next_at: Option<UnixMs>,
    /// How long before an occurrence it is planned: the lead, nothing for a daemon's restarts.
    ahead: Duration,
    /// The latest run that has started or ended.
    pub last_run: Option<RunView>,
    /// Outcomes of the last runs, oldest first.
    pub recent: VecDeque<Outcome>,
}

impl TaskEntry {
    /// An entry without next occurrence and last run.
    pub fn new(task: Task, schedule: Schedule, cursor: UnixMs, ahead: Duration) -> Self {
        Self {
            task,
            schedule,
            cursor,
            next_at: None,
            ahead,
            last_run: None,
            recent: VecDeque::new(),
        }
    }
}

/// The rows, indexed.
#[derive(Debug, Default)]
pub struct Fleet {
    /// Groups by name.
    pub groups: BTreeMap<GroupName, GroupRow>,
    /// Tasks by id.
    pub tasks: BTreeMap<TaskId, TaskEntry>,
    /// Agents by id.
    pub agents: BTreeMap<AgentId, AgentRow>,
    /// Operators by id.
    pub operators: BTreeMap<OperatorId, OperatorRow>,
    /// Tokens by hash.
    pub tokens: BTreeMap<String, TokenRow>,
    paths: BTreeMap<TaskPath, TaskId>,
    due: BTreeSet<(UnixMs, TaskId)>,
    lead: Duration,
}

impl Fleet {
    /// The fleet as the store holds it. `zone` is the center's, `lead` how far ahead it plans.
    pub fn new(snapshot: &Snapshot, zone: &Zone, lead: Duration) -> Self {
        let mut fleet = Self {
            lead,
            groups: snapshot
                .groups
                .iter()
                .map(|group| (group.name.clone(), group.clone()))
                .collect(),
            agents: snapshot
                .agents
                .iter()
                .map(|agent| (agent.id.clone(), agent.clone()))
                .collect(),
            operators: snapshot
                .operators
                .iter()
                .map(|who| (who.id.clone(), who.clone()))
                .collect(),
            tokens: snapshot
                .tokens
                .iter()
                .map(|token| (token.hash.clone(), token.clone()))
                .collect(),
            ..Self::default()
        };
        for task in &snapshot.tasks {
            let cursor = snapshot
                .cursors
                .get(&task.id)
                .copied()
                .unwrap_or(task.saved_at);
            fleet.put_task(task.clone(), cursor, zone);
        }
        fleet
    }

    /// Adds or changes a task; its next occurrence is the first after `cursor`.
    pub fn put_task(&mut self, task: Task, cursor: UnixMs, zone: &Zone) {
        let old = self.remove_task(&task.id);
        let (last_run, recent) = old
            .map(|old| (old.last_run, old.recent))
            .unwrap_or_default();
        let own = task.spec.timezone.clone().unwrap_or_else(|| zone.clone());
        let schedule = Schedule::new(task.spec.rule.clone(), own);
        let id = task.id.clone();
        self.paths.insert(task.path(), id.clone());
        let ahead = if task.spec.work.daemon {
            Duration::ZERO
        } else {
            self.lead
        };
        let entry = TaskEntry {
            last_run,
            recent,
            ..TaskEntry::new(task, schedule, cursor, ahead)
        };
        self.tasks.insert(id.clone(), entry);
        self.set_cursor(&id, cursor);
    }

    /// Takes a task out; what was known of it.
    pub fn remove_task(&mut self, id: &TaskId) -> Option<TaskEntry> {
        let entry = self.tasks.remove(id)?;
        self.paths.remove(&entry.task.path());
        if let Some(at) = entry.next_at {
            self.due.remove(&(at.minus(entry.ahead), id.clone()));
        }
        Some(entry)
    }

    /// Moves a task's cursor and works out its next occurrence.
    pub fn set_cursor(&mut self, id: &TaskId, cursor: UnixMs) {
        let Some(entry) = self.tasks.get_mut(id) else {
            return;
        };
        if let Some(at) = entry.next_at.take() {
            self.due.remove(&(at.minus(entry.ahead), id.clone()));
        }
        entry.cursor = cursor;
        if entry.task.enabled {
            entry.next_at = entry.schedule.next_after(cursor).unwrap_or_default();
        }
        if let Some(at) = entry.next_at {
            self.due.insert((at.minus(entry.ahead), id.clone()));
        }
    }

    /// The task that is to be planned first, and when.
    pub fn first_due(&self) -> Option<(UnixMs, TaskId)> {
        self.due.first().cloned()
    }

    /// The task with this path.
    pub fn task_at(&self, path: &TaskPath) -> Option<&TaskEntry> {
        self.paths.get(path).and_then(|id| self.tasks.get(id))
    }

    /// Tasks in the order of their paths.
    pub fn tasks_by_path(&self) -> impl Iterator<Item = &TaskEntry> {
        self.paths.values().filter_map(|id| self.tasks.get(id))
    }

    /// Tasks with this bare name, in any group.
    pub fn tasks_named(&self, name: &TaskName) -> Vec<&TaskEntry> {
        self.tasks_by_path()
            .filter(|entry| entry.task.name == *name)
            .collect()
    }

    /// Tasks of a group.
    pub fn tasks_of<'a>(&'a self, group: &'a GroupName) -> impl Iterator<Item = &'a TaskEntry> {
        self.tasks_by_path()
            .filter(move |entry| entry.task.group == *group)
    }

    /// The agent of this name.
    pub fn agent_named(&self, name: &AgentName) -> Option<&AgentRow> {
        self.agents.values().find(|agent| agent.name == *name)
    }

    /// The operator of this name.
    pub fn operator_named(&self, name: &OperatorName) -> Option<&OperatorRow> {
        self.operators
            .values()
            .find(|operator| operator.name == *name)
    }

    /// Agents of a group.
    pub fn agents_of<'a>(&'a self, group: &'a GroupName) -> impl Iterator<Item = &'a AgentRow> {
        self.agents
            .values()
            .filter(move |agent| agent.groups.contains(group))
    }

    /// Agents that a task may run on now: members of its group that its target names (all of them for `one`).
    pub fn candidates<'a>(&'a self, task: &'a Task) -> impl Iterator<Item = &'a AgentRow> {
        self.agents_of(&task.group)
            .filter(|agent| match &task.spec.target {
                Target::Word(_) => true,
                Target::Named(names) => names.contains(&agent.name),
            })
    }

    /// An agent's name, its id where it is gone.
    pub fn agent_name(&self, id: &AgentId) -> String {
        self.agents
            .get(id)
            .map_or_else(|| id.to_string(), |agent| agent.name.to_string())
    }
}
