//! Watching the fleet: a snapshot, then every change, pushed. A watcher that is slow gets the latest state of
//! each thing, not every step in between.

use serde::{Deserialize, Serialize};

use crate::model::{AgentName, GroupName, RunId, Slot, TaskId, TaskPath};
use crate::proto::view::{AgentView, GroupView, ProcessView, RunView, StatusView, TaskView};

/// The dashboard's question.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {}

/// One thing as it is now. Everything that the asker sees comes once, then `complete`, then what changes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(
    tag = "is",
    content = "body",
    rename_all = "snake_case",
    deny_unknown_fields
)]
pub enum Change {
    /// The snapshot is complete.
    Complete,
    /// The fleet at a glance; also once a second while anything changes.
    Status(Box<StatusView>),
    /// A group, new or changed.
    Group(GroupView),
    /// A group is gone.
    GroupGone(GroupName),
    /// An agent, new or changed.
    Agent(AgentView),
    /// An agent is gone.
    AgentGone(AgentName),
    /// A task, new or changed, or with another next occurrence or last run.
    Task(Box<TaskView>),
    /// A task is gone.
    TaskGone(TaskId),
    /// A process, new or changed: a run under way or a daemon's slot.
    Process(ProcessView),
    /// A process is gone.
    ProcessGone(ProcessKey),
    /// A run has ended.
    Run(Box<RunView>),
}

/// What names a process: a daemon's by task, agent and slot; another run's also by its id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessKey {
    /// `group/name` of its task.
    pub task: TaskPath,
    /// The agent.
    pub agent: AgentName,
    /// The slot.
    pub slot: Slot,
    /// The run; null for a daemon's slot.
    pub run_id: Option<RunId>,
}

impl ProcessKey {
    /// The key of a process.
    pub fn of(view: &ProcessView) -> Self {
        Self {
            task: view.task.clone(),
            agent: view.agent.clone(),
            slot: view.slot,
            run_id: view.run_id.clone().filter(|_| !view.daemon),
        }
    }
}
