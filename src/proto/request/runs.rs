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
    /// With `until`: of what is scheduled at the last millisecond before that only runs whose id sorts before this;
    /// so a list goes on where a page ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<RunId>,
    /// Misses in a row as one, not each.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fold: bool,
    /// Also runs that are due and have not started, with what they wait for; with `since` planned ones too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
    /// At most so many; 0 = as many as one answer holds.
    pub limit: u32,
}

/// Some runs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunPage {
    /// The runs.
    pub runs: Vec<RunView>,
    /// Whether there are more than the limit, or than one answer holds.
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
    /// Go on until the run has ended; a daemon's goes on, with its next process too.
    pub follow: bool,
    /// What was written since then, whole lines; `lines` does not count then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<UnixMs>,
    /// Of these runs go on where the client has stopped; `lines` and `since` do not count for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<LogAfter>,
}

/// What a client has of a run's output.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogAfter {
    /// The run.
    pub run_id: RunId,
    /// The attempt.
    pub attempt: u16,
    /// The first byte that it has not.
    pub offset: u64,
}
