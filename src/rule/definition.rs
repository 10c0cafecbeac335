//! What a rule is, once its text has been read.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::calendar::Calendar;
use super::civil::LocalTime;
use super::error::RuleError;
use super::instant::UnixMs;
use super::parse;

/// A rule that was read and found good. Cloning is cheap; equal means: the same text. In JSON and
/// in the store it is its text.
#[derive(Clone)]
pub struct Rule {
    inner: Arc<Inner>,
}

struct Inner {
    text: String,
    shape: Shape,
    warnings: Vec<String>,
}

/// What a rule means, ready to be evaluated.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    Calendar(Calendar),
    Every(Duration),
    At(At),
    Always,
    Reboot,
}

/// What kind of rule it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleKind {
    /// Fields, or a nickname such as `@daily`.
    Calendar,
    /// `@every`: at multiples of this span since the epoch.
    Every(Duration),
    /// `@at`: once.
    At(At),
    /// `@always`: a daemon's.
    Always,
    /// `@reboot`: once per boot of each agent's host; its occurrences are not the calendar's.
    Reboot,
}

/// When an `@at` rule is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    /// It was written with its offset.
    Instant(UnixMs),
    /// It was written without one and means the task's zone.
    Local(LocalTime),
}

impl Rule {
    /// Reads a rule; every mistake is named with its field and its place.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let parsed = parse::parse_rule(text)?;
        let inner = Inner {
            text: parse::collapse(text),
            shape: parsed.shape,
            warnings: parsed.warnings,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The rule as it was written, trimmed, white space collapsed.
    pub fn text(&self) -> &str {
        &self.inner.text
    }

    /// What kind of rule it is.
    pub fn kind(&self) -> RuleKind {
        match &self.inner.shape {
            Shape::Calendar(_) => RuleKind::Calendar,
            Shape::Every(span) => RuleKind::Every(*span),
            Shape::At(at) => RuleKind::At(*at),
            Shape::Always => RuleKind::Always,
            Shape::Reboot => RuleKind::Reboot,
        }
    }

    /// What is allowed but probably not meant, one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        self.inner.warnings.clone()
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.inner.shape
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Rule {}

impl Hash for Rule {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text().hash(state);
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rule({:?})", self.text())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}
