//! How a run ended.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{RunId, UnixMs};

/// How a run ended. Exactly one per run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The command ended with a success code.
    Succeeded,
    /// The command ended otherwise, or the host refused or could not start it.
    Failed,
    /// The command ran longer than the task's timeout.
    TimedOut,
    /// The command was ended by a person or by a newer run.
    Stopped,
    /// Nothing was started, by choice: overlap, cancelled.
    Skipped,
    /// Nothing was started: never reached the host in time.
    Missed,
    /// Started, or may have been, and nobody can know how it ended.
    Lost,
}

impl Outcome {
    /// All outcomes, in the order of the design.
    pub const ALL: [Self; 7] = [
        Self::Succeeded,
        Self::Failed,
        Self::TimedOut,
        Self::Stopped,
        Self::Skipped,
        Self::Missed,
        Self::Lost,
    ];

    /// The word in tables, JSON and the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Stopped => "stopped",
            Self::Skipped => "skipped",
            Self::Missed => "missed",
            Self::Lost => "lost",
        }
    }

    /// Whether a retry may follow where the task asks for retries.
    pub fn is_retried(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Outcome {
    type Err = super::id::IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|outcome| outcome.as_str() == text)
            .ok_or(super::id::IdError)
    }
}

/// The end of a run: outcome, reason, and what was seen. What is not known is `None`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ending {
    /// How it ended.
    pub outcome: Outcome,
    /// Why, in the outcome's words, naming things; never empty.
    pub reason: String,
    /// The command's exit code, if it exited.
    pub exit_code: Option<i32>,
    /// The signal that ended the command, if one did.
    pub signal: Option<i32>,
    /// The command's pid, of the last attempt.
    pub pid: Option<i32>,
    /// The last attempt, from 1; 0 where nothing was started.
    pub attempt: u16,
    /// When the first attempt started, in the center's time.
    pub started_at: Option<UnixMs>,
    /// When the last attempt ended, or when it was decided that none starts.
    pub finished_at: UnixMs,
    /// Bytes of output of the last attempt.
    pub output_bytes: Option<u64>,
    /// The returned end of the output, at most 64 KiB, where the task asks for it; invalid UTF-8 replaced.
    pub tail: Option<String>,
}

impl Ending {
    /// The end of a run of which nothing was started.
    pub fn unstarted(outcome: Outcome, reason: impl Into<String>, at: UnixMs) -> Self {
        Self {
            outcome,
            reason: reason.into(),
            exit_code: None,
            signal: None,
            pid: None,
            attempt: 0,
            started_at: None,
            finished_at: at,
            output_bytes: None,
            tail: None,
        }
    }

    /// The reason of a skip because of overlap.
    pub fn overlap(with: &RunId, at: UnixMs) -> Self {
        Self::unstarted(Outcome::Skipped, format!("overlap with run {with}"), at)
    }
}
