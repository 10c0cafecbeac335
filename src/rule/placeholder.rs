//! Stands in for the rule's real types until they are merged.
#![allow(missing_docs)]

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::UnixMs;

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rule(String);
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Zone(String);
#[derive(Clone, Debug)]
pub struct Schedule {
    rule: Rule,
}
#[derive(Debug, thiserror::Error)]
#[error("bad rule")]
pub struct RuleError;
#[derive(Debug, thiserror::Error)]
#[error("bad rule")]
pub struct ScheduleError;
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RuleKind {
    Calendar,
    Every(Duration),
    At,
    Always,
    Reboot,
}

impl Rule {
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        Ok(Self(text.to_owned()))
    }
    pub fn text(&self) -> &str {
        &self.0
    }
    pub fn kind(&self) -> RuleKind {
        if self.0 == "@always" {
            RuleKind::Always
        } else {
            RuleKind::Every(Duration::from_secs(1))
        }
    }
    pub fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}
impl std::str::FromStr for Rule {
    type Err = RuleError;
    fn from_str(text: &str) -> Result<Self, RuleError> {
        Self::parse(text)
    }
}
impl Zone {
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        Ok(Self(text.to_owned()))
    }
    pub fn utc() -> Self {
        Self("UTC".to_owned())
    }
    pub fn name(&self) -> &str {
        &self.0
    }
}
impl Schedule {
    pub fn new(rule: Rule, _zone: Zone) -> Self {
        Self { rule }
    }
    /// Every second, or what `@every` says in milliseconds.
    pub fn next_after(&self, after: UnixMs) -> Result<Option<UnixMs>, ScheduleError> {
        if self.rule.0 == "@always" {
            return Ok(None);
        }
        Ok(Some(UnixMs((after.0.div_euclid(1000) + 1) * 1000)))
    }
}
pub fn parse_duration(text: &str) -> Result<Duration, RuleError> {
    text.trim_end_matches("ms")
        .parse()
        .map(Duration::from_millis)
        .map_err(|_| RuleError)
}
pub fn format_duration(span: Duration) -> String {
    format!("{}ms", span.as_millis())
}
