//! A run: one task, one occurrence, one target, one slot.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{AgentId, Revision, RunId, Slot, TaskId, UnixMs};

/// Why a run exists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The task's rule was due.
    Rule,
    /// An operator said `ucron run`.
    Operator,
    /// A missed occurrence, run late.
    CatchUp,
    /// A daemon's slot was started by its keeper.
    Daemon,
}

impl Cause {
    /// The word in tables, JSON and `UCRON_CAUSE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Operator => "operator",
            Self::CatchUp => "catch-up",
            Self::Daemon => "daemon",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Cause {
    type Err = super::id::IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Rule, Self::Operator, Self::CatchUp, Self::Daemon]
            .into_iter()
            .find(|cause| cause.as_str() == text)
            .ok_or(super::id::IdError)
    }
}

/// What makes a run this run and no other.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RunKey {
    /// The task.
    pub task: TaskId,
    /// The occurrence.
    pub scheduled_at: UnixMs,
    /// The agent for tasks that run on all or named agents; none for target `one`, where the agent may change.
    pub target: Option<AgentId>,
    /// The slot on that agent.
    pub slot: Slot,
    /// Why it runs.
    pub cause: Cause,
}

/// What everybody who handles a run must know of it, as it travels in plans, launches and reports.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRef {
    /// The derived id.
    pub run_id: RunId,
    /// The task.
    pub task: TaskId,
    /// The task's revision whose text is run.
    pub revision: Revision,
    /// The slot on its agent.
    pub slot: Slot,
    /// Why it runs.
    pub cause: Cause,
    /// When it is due, in the center's time.
    pub scheduled_at: UnixMs,
}
