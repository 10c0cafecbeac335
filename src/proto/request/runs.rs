//! Deeds on runs, processes and output.

use serde::{Deserialize, Serialize};

use crate::model::{AgentName, GroupName, Outcome, RunId, UnixMs};
use crate::proto::view::RunView;

/// `ucron runs`: newest first.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunList {
    /// TASK.
    pub task: Option<String>,
    /// Only of this group.
    pub group: Option<GroupName>,
    /// Only on this agent.
    pub agent: Option<AgentName>,
    /// Only with this outcome.
    pub outcome: Option<Outcome>,
    /// Only scheduled at or after this.
    pub since: Option<UnixMs>,
    /// Only scheduled before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UnixMs>,
    /// At most so many; 0 = all.
    pub limit: u32,
}

/// Some runs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunPage {
    /// The runs.
    pub runs: Vec<RunView>,
    /// Whether there are more than the limit.
    pub more: bool,
}

/// `ucron run --wait`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunWait {
    /// The runs to wait for.
    pub runs: Vec<RunId>,
}

/// `ucron show RUN`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunShow {
    /// RUN.
    pub run: String,
}

/// `ucron kill`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunKill {
    /// RUN.
    pub run: String,
    /// The signal's number; the task's stop sequence where none.
    pub signal: Option<i32>,
}

/// `ucron ps`.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessList {
    /// TASK.
    pub task: Option<String>,
    /// Only of this group.
    pub group: Option<GroupName>,
    /// Only on this agent.
    pub agent: Option<AgentName>,
}

/// `ucron logs`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogRead {
    /// RUN or TASK (the last run of every target then).
    pub of: String,
    /// The attempt; the last where none.
    pub attempt: Option<u16>,
    /// Only on this agent.
    pub agent: Option<AgentName>,
    /// The last lines; all where none.
    pub lines: Option<u64>,
    /// Go on until the run has ended; a daemon's goes on.
    pub follow: bool,
}
