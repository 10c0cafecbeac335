//! Who takes part: agents, operators, their roles.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ms;

/// What an operator may do: each role includes those below it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees.
    Viewer,
    /// Adds, changes, starts, stops, runs, deletes tasks.
    Operator,
    /// Also grants roles and sets limits.
    Admin,
}

impl Role {
    /// The word on the command line and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = super::id::IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Viewer, Self::Operator, Self::Admin]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(super::id::IdError)
    }
}

/// Whether an agent can be reached.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentState {
    /// Has a link.
    Online,
    /// Has none.
    Offline,
    /// Gets no new runs.
    Draining,
}

impl AgentState {
    /// The word in tables and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
            Self::Draining => "draining",
        }
    }
}

/// Counts how often an agent's state directory was opened, and says which opening it was: two directories with the
/// same count are a disk and its copy. One that is not later than what was seen is a cloned or rolled-back disk.
///
/// The count is in the upper bits, chance in the lower 20; a number that fits into those is a bare count.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

/// Bits that tell two openings of one count apart: a million to one.
const CHANCE: u32 = 20;

impl Incarnation {
    /// The opening with this count.
    pub fn of(count: u64, chance: u64) -> Self {
        Self(count << CHANCE | chance & ((1 << CHANCE) - 1))
    }

    /// How many openings that are.
    pub fn count(self) -> u64 {
        match self.0 >> CHANCE {
            0 => self.0,
            count => count,
        }
    }

    /// Whether the directory was opened more often; another opening of the same count is no later one.
    pub fn is_later_than(self, other: Self) -> bool {
        self.count() > other.count()
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 >> CHANCE {
            0 => write!(f, "{}", self.0),
            count => write!(f, "{count}-{:05x}", self.0 & ((1 << CHANCE) - 1)),
        }
    }
}

/// How long an agent may start runs of target `one` after it *sent* an acknowledged heartbeat.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionLease {
    /// Its length, counted on the boot-time clock.
    #[serde(rename = "length_ms", with = "ms")]
    pub length: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(one: Incarnation, other: Incarnation, is_later: bool) {
        assert_eq!(one.is_later_than(other), is_later, "{one} {other}");
    }

    #[test]
    fn an_opening_is_later_when_it_counts_more() {
        check(Incarnation(2), Incarnation(1), true);
        check(Incarnation(2), Incarnation(2), false);
        check(Incarnation::of(3, 1), Incarnation(2), true);
        check(Incarnation::of(3, 9), Incarnation::of(3, 1), false);
        check(Incarnation::of(4, 1), Incarnation::of(3, 9), true);
        check(Incarnation(3), Incarnation::of(3, 9), false);
    }
}
