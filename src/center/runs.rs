//! Runs without an outcome, in memory: what stage each is in, and when the center must look at it next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::model::{AgentId, RunId, Slot, TaskId, UnixMs};
use crate::proto::view::RunView;
use crate::store::RunRow;

/// How long a run that has ended is kept for questions that the store was asked before it knew of the end.
const LATELY: Duration = Duration::from_secs(10);

/// How far an open run has come, as the center knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Never handed to a link: certainly not started.
    Waiting,
    /// Handed to a link, or perhaps so before this center started; not confirmed.
    Handed,
    /// On the agent's disk, by its own word.
    Armed,
    /// An attempt runs, or waits for a retry (then without pid).
    Running {
        /// The attempt.
        attempt: u16,
        /// The command's pid.
        pid: Option<i32>,
        /// When the first attempt started.
        started_at: UnixMs,
    },
    /// Ended on the agent, by its own word; the report follows.
    Ending,
}

impl Stage {
    /// Whether it is certain that an attempt has started.
    pub fn has_started(&self) -> bool {
        matches!(self, Self::Running { .. } | Self::Ending)
    }
}

/// Why a run shall not start; it ends `skipped` with this when it was to be started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cancelled {
    /// The reason: `stopped by admin at …`.
    pub reason: String,
    /// Whether it is certain that it has not started and will not.
    pub confirmed: bool,
}

/// A run without an outcome.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenRun {
    /// As planned.
    pub row: RunRow,
    /// How far it has come.
    pub stage: Stage,
    /// Whether, and why, it shall not start.
    pub cancelled: Option<Cancelled>,
    /// Why its agent did not take it, where it was not given anew since.
    pub refused: Option<String>,
    /// Whether it was given up as lost and is alive all the same: its outcome changes once it has another.
    pub was_lost: bool,
    /// When it is due, on the boot-time clock, by the wall clock as it was when it was handed out: an agent that has not
    /// heard of a clock that was set back since starts it then.
    pub due_by: Option<Duration>,
}

impl OpenRun {
    /// The run's id.
    pub fn id(&self) -> &RunId {
        &self.row.run.run_id
    }

    /// Whether an agent has it, or may have it, and it has not ended there: overlap holds against it.
    pub fn is_held(&self) -> bool {
        !matches!(self.stage, Stage::Waiting | Stage::Ending)
    }

    /// Whether it is a rule's run that has not started, so that a change of its task may still change it.
    pub fn is_pending(&self) -> bool {
        !self.stage.has_started() && self.row.run.cause.is_of_rule()
    }
}

/// All open runs, by id, by task, by agent, by the instant at which to look at them.
#[derive(Debug, Default)]
pub struct OpenRuns {
    runs: BTreeMap<RunId, OpenRun>,
    by_task: BTreeSet<(TaskId, RunId)>,
    by_agent: BTreeSet<(AgentId, RunId)>,
    homeless: BTreeSet<RunId>,
    looks: BTreeSet<(UnixMs, RunId)>,
    lately: VecDeque<(UnixMs, RunView)>,
}

impl OpenRuns {
    /// Keeps what ended just now for a while: it is in no open run any more, and not yet in the store.
    pub fn keep_ended(&mut self, at: UnixMs, view: RunView) {
        let oldest = at.minus(LATELY);
        while self.lately.front().is_some_and(|(at, _)| *at < oldest) {
            self.lately.pop_front();
        }
        self.lately.push_back((at, view));
    }

    /// What ended lately.
    pub fn ended_lately(&self) -> impl Iterator<Item = &RunView> {
        self.lately.iter().map(|(_, view)| view)
    }

    /// Takes a run in; it is looked at when it is to be started.
    pub fn insert(&mut self, run: OpenRun) {
        let id = run.id().clone();
        self.by_task.insert((run.row.run.task.clone(), id.clone()));
        if let Some(agent) = &run.row.agent {
            self.by_agent.insert((agent.clone(), id.clone()));
        } else {
            self.homeless.insert(id.clone());
        }
        self.looks.insert((run.row.run.fire_at(), id.clone()));
        self.runs.insert(id, run);
    }

    /// Takes a run out.
    pub fn remove(&mut self, id: &RunId) -> Option<OpenRun> {
        let run = self.runs.remove(id)?;
        self.by_task.remove(&(run.row.run.task.clone(), id.clone()));
        if let Some(agent) = &run.row.agent {
            self.by_agent.remove(&(agent.clone(), id.clone()));
        } else {
            self.homeless.remove(id);
        }
        Some(run)
    }

    /// One run.
    pub fn get(&self, id: &RunId) -> Option<&OpenRun> {
        self.runs.get(id)
    }

    /// Whether a run is open and this agent's.
    pub fn is_with(&self, id: &RunId, agent: &AgentId) -> bool {
        let run = self.get(id);
        run.is_some_and(|run| run.row.agent.as_ref() == Some(agent))
    }

    /// One run, to be changed; its agent only by [`Self::give_to`].
    pub fn get_mut(&mut self, id: &RunId) -> Option<&mut OpenRun> {
        self.runs.get_mut(id)
    }

    /// Gives a run to another agent.
    pub fn give_to(&mut self, id: &RunId, agent: AgentId) {
        if let Some(mut run) = self.remove(id) {
            run.row.agent = Some(agent);
            self.insert(run);
        }
    }

    /// All runs.
    pub fn iter(&self) -> impl Iterator<Item = &OpenRun> {
        self.runs.values()
    }

    /// Ids of a task's runs.
    pub fn of_task(&self, task: &TaskId) -> Vec<RunId> {
        ids(&self.by_task, task)
    }

    /// Ids of an agent's runs.
    pub fn of_agent(&self, agent: &AgentId) -> Vec<RunId> {
        ids(&self.by_agent, agent)
    }

    /// Ids of runs that no agent has.
    pub fn without_agent(&self) -> Vec<RunId> {
        self.homeless.iter().cloned().collect()
    }

    /// An agent's runs under way.
    pub fn running_on(&self, agent: &AgentId) -> u64 {
        let running = |id: &RunId| self.get(id).is_some_and(|run| run.stage.has_started());
        self.of_agent(agent).iter().filter(|id| running(id)).count() as u64
    }

    /// Asks for a look at this run at this instant.
    pub fn look_at(&mut self, id: &RunId, at: UnixMs) {
        self.looks.insert((at, id.clone()));
    }

    /// Asks for a look at every run when it is due, and at those that are now: the clock was set back, and what was
    /// asked for by it as it was would be late.
    pub fn look_again(&mut self, now: UnixMs) {
        let runs = self.runs.values();
        self.looks = runs
            .map(|run| (run.row.run.fire_at().max(now), run.id().clone()))
            .collect();
    }

    /// The next instant at which a run wants a look.
    pub fn next_look(&self) -> Option<UnixMs> {
        self.looks.first().map(|(at, _)| *at)
    }

    /// The runs that want a look by now; asked for once.
    pub fn take_looks(&mut self, now: UnixMs) -> Vec<RunId> {
        let mut due = Vec::new();
        while let Some((at, id)) = self.looks.pop_first() {
            if at > now {
                self.looks.insert((at, id));
                break;
            }
            due.push(id);
        }
        due
    }
}

/// One part of the key of an index to all ids under it.
fn ids<K: Ord + Clone>(index: &BTreeSet<(K, RunId)>, key: &K) -> Vec<RunId> {
    let lowest = RunId::lowest();
    index
        .range((key.clone(), lowest)..)
        .take_while(|(k, _)| k == key)
        .map(|(_, id)| id.clone())
        .collect()
}

/// A slot of a daemon as its agent last told.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SlotKey {
    /// The agent.
    pub agent: AgentId,
    /// The task.
    pub task: TaskId,
    /// The slot.
    pub slot: Slot,
}
