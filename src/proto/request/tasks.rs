//! Deeds on tasks.

use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::model::{AgentName, GroupName, Revision, RunId, TaskId, TaskName, TaskSpec, UnixMs};
use crate::proto::view::TaskView;

/// `ucron add`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskAdd {
    /// The group; must exist.
    pub group: GroupName,
    /// The name.
    pub name: TaskName,
    /// Whether its rule fires from now on.
    pub enabled: bool,
    /// What the task is.
    pub spec: TaskSpec,
    /// What to do where the name is taken.
    pub if_exists: IfExists,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// What to do where a name is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IfExists {
    /// Conflict.
    Fail,
    /// Keep the old one; done.
    Keep,
    /// Make the task what the request says: same id, next revision; nothing where it is so already.
    Replace,
}

/// `ucron import`: tasks that are added together or not at all.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskImport {
    /// The tasks; at most [`MOST_IMPORTED`].
    pub tasks: Vec<NewTask>,
    /// What to do where a name is taken: conflict, or keep.
    pub if_exists: IfExists,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// Tasks in one import at most: each costs about a kibibyte of the frame.
pub const MOST_IMPORTED: usize = 5_000;

/// One task of many.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewTask {
    /// The group; must exist.
    pub group: GroupName,
    /// The name.
    pub name: TaskName,
    /// Whether its rule fires from now on.
    pub enabled: bool,
    /// What the task is.
    pub spec: TaskSpec,
}

/// What became of an import.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Imported {
    /// Whether the tasks were added; nothing was where one is refused, or with `dry_run`.
    pub done: bool,
    /// Each task of the request, in its order.
    pub tasks: Vec<ImportedTask>,
}

/// What became of one task of an import, or would.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportedTask {
    /// Its id; none of one that is not there.
    pub id: Option<TaskId>,
    /// Whether there was one of this name, which stays as it is.
    pub kept: bool,
    /// Why it cannot be added.
    pub refused: Option<Refusal>,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// `ucron edit`: the whole spec as it shall be.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskEdit {
    /// TASK.
    pub task: String,
    /// The revision that was edited; another one now is a conflict.
    pub revision: Revision,
    /// The group as it shall be.
    pub group: GroupName,
    /// The name as it shall be.
    pub name: TaskName,
    /// The spec as it shall be.
    pub spec: TaskSpec,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
}

/// A task was saved, or would be.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// The task as it is now.
    pub task: TaskView,
    /// Whether it is new.
    pub created: bool,
    /// Whether anything was changed.
    pub changed: bool,
    /// What the operator should know: no agent in the group, days that crons read differently, …
    pub warnings: Vec<String>,
    /// What the change hit.
    pub hit: Changed,
}

/// `ucron show`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskShow {
    /// TASK.
    pub task: String,
}

/// `ucron ls`.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskList {
    /// Only of this group.
    pub group: Option<GroupName>,
}

/// `ucron stop`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskStop {
    /// TASK.
    pub task: String,
    /// What runs may end by itself.
    pub finish: bool,
}

/// `ucron start`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskStart {
    /// TASK.
    pub task: String,
}

/// `ucron restart`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskRestart {
    /// TASK: a daemon.
    pub task: String,
    /// One slot after the other.
    pub one_by_one: bool,
}

/// `ucron rm`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskRemove {
    /// TASK.
    pub task: String,
}

/// `ucron run`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskRun {
    /// TASK.
    pub task: String,
}

/// Runs were made by `ucron run`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunsStarted {
    /// Their ids, one per target and slot.
    pub runs: Vec<RunId>,
}

/// What a changing deed hit.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changed {
    /// The task, where it is about one.
    pub task: Option<TaskId>,
    /// Its revision now.
    pub revision: Option<Revision>,
    /// Whether anything was changed.
    pub changed: bool,
    /// Planned runs cancelled.
    pub cancelled: u64,
    /// Processes whose stop sequence has begun.
    pub stopped: u64,
    /// Agents that have not confirmed.
    pub unconfirmed: Vec<Unconfirmed>,
}

/// An agent that has not confirmed a change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unconfirmed {
    /// The agent.
    pub agent: AgentName,
    /// Until when it may still fire; none where it holds nothing that fires but something that runs.
    pub may_fire_until: Option<UnixMs>,
}
