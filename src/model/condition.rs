//! What can be wrong with a task, an agent or a center for a while, and from when on a task's owner calls it wrong.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{SpecError, ms_option};

/// Something wrong that begins and ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConditionKind {
    /// Task: a run started too late after its schedule, or has not started by then.
    Late,
    /// Task: so many runs in a row never started.
    Missed,
    /// Task: so many runs in a row failed, were timed out or lost.
    Failed,
    /// Task: a run takes, or took, longer than it should.
    TooLong,
    /// Task: a run succeeded sooner than it can.
    TooShort,
    /// Task: a run succeeded and wrote nothing although it should.
    NoOutput,
    /// Daemon: a slot failed to start so often that it is left alone.
    Fatal,
    /// Agent: nothing is heard of it.
    Silent,
    /// Agent: its clock is far from the center's.
    Clock,
    /// Agent: its journal cannot be written.
    Journal,
    /// Agent: a journal of it or of its keeper was damaged, and lies aside.
    Damaged,
    /// Agent: a copy of its state directory was refused, or an older state of it.
    Copied,
    /// Agent: its keeper cannot be reached.
    Keeper,
    /// Agent: its state directory's disk is nearly full.
    Disk,
    /// Center: its store cannot be written.
    Store,
    /// Center: a notify command failed.
    Notify,
    /// Another center: it does not stand by.
    Standby,
}

impl ConditionKind {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Late,
        Self::Missed,
        Self::Failed,
        Self::TooLong,
        Self::TooShort,
        Self::NoOutput,
        Self::Fatal,
        Self::Silent,
        Self::Clock,
        Self::Journal,
        Self::Damaged,
        Self::Copied,
        Self::Keeper,
        Self::Disk,
        Self::Store,
        Self::Notify,
        Self::Standby,
    ];

    /// The word in tables and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Missed => "missed",
            Self::Failed => "failed",
            Self::TooLong => "too_long",
            Self::TooShort => "too_short",
            Self::NoOutput => "no_output",
            Self::Fatal => "fatal",
            Self::Silent => "silent",
            Self::Clock => "clock",
            Self::Journal => "journal",
            Self::Damaged => "damaged",
            Self::Copied => "copied",
            Self::Keeper => "keeper",
            Self::Disk => "disk",
            Self::Store => "store",
            Self::Notify => "notify",
            Self::Standby => "standby",
        }
    }
}

impl fmt::Display for ConditionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How late a start may be before it is wrong; none for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience(pub Option<Duration>);

/// When a task's owner calls a run wrong. What is not named in JSON has its default.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Watch {
    /// A start later than this is late; never where none.
    #[serde(rename = "warn_late_ms", with = "ms_option")]
    pub late: Option<Duration>,
    /// So many failures in a row are told; none where 0.
    #[serde(rename = "warn_failures")]
    pub failures: u16,
    /// So many misses in a row are told; none where 0.
    #[serde(rename = "warn_missed")]
    pub missed: u16,
    /// A run that takes longer is too long.
    #[serde(rename = "max_duration_ms", with = "ms_option")]
    pub longest: Option<Duration>,
    /// A run that succeeds sooner is too short.
    #[serde(rename = "min_duration_ms", with = "ms_option")]
    pub shortest: Option<Duration>,
    /// A run that succeeds and writes nothing is wrong.
    pub expect_output: bool,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            late: Some(Duration::from_secs(10)),
            failures: 1,
            missed: 1,
            longest: None,
            shortest: None,
            expect_output: false,
        }
    }
}

impl Watch {
    /// Whether nothing was said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether this kind of condition is looked for.
    pub fn wants(&self, kind: ConditionKind) -> bool {
        match kind {
            ConditionKind::Late => self.late.is_some(),
            ConditionKind::Missed => self.missed > 0,
            ConditionKind::Failed => self.failures > 0,
            ConditionKind::TooLong => self.longest.is_some(),
            ConditionKind::TooShort => self.shortest.is_some(),
            ConditionKind::NoOutput => self.expect_output,
            _ => true,
        }
    }

    /// Checks what the types alone do not hold.
    pub fn check(&self) -> Result<(), SpecError> {
        match (self.shortest, self.longest) {
            (Some(shortest), Some(longest)) if shortest >= longest => Err(SpecError::Together(
                "`--min-duration` must be less than `--max-duration`",
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_word_of_its_json() {
        for kind in ConditionKind::ALL {
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{kind}\""));
        }
    }

    #[test]
    fn a_watch_without_words_is_the_default() {
        let watch: Watch = serde_json::from_str("{}").unwrap();
        assert!(watch.is_default());
        let watch: Watch = serde_json::from_str(r#"{"warn_late_ms":null}"#).unwrap();
        assert!(!watch.wants(ConditionKind::Late) && watch.wants(ConditionKind::Missed));
    }
}
