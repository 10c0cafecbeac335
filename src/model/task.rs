//! A task: what an operator saves, and what of it an agent gets.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    AgentName, GroupName, OperatorName, Revision, SpecError, TaskId, TaskName, TaskPath, UnixMs,
    Work, ms,
};
use crate::rule::{Rule, RuleKind, Zone};

/// Where a task runs: in JSON `"all"`, `"one"` or an array of agents' names.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", untagged)]
pub enum Target {
    /// By a word.
    Word(TargetWord),
    /// On these agents of the group.
    Named(BTreeSet<AgentName>),
}

/// The two targets that are words.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetWord {
    /// On every agent of the group.
    All,
    /// On one agent of the group at a time.
    One,
}

impl Target {
    /// Every agent of the group.
    pub const ALL: Self = Self::Word(TargetWord::All);
    /// One agent of the group at a time.
    pub const ONE: Self = Self::Word(TargetWord::One);

    /// Whether this is target `one`.
    pub fn is_one(&self) -> bool {
        *self == Self::ONE
    }
}

/// What an operator says of a task, beside its group, name and whether it is enabled.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskSpec {
    /// When it is due; only the center evaluates it.
    pub rule: Rule,
    /// Zone in which the rule is read; the center's where none is given.
    pub timezone: Option<Zone>,
    /// Free text for people.
    pub note: Option<String>,
    /// Where it runs.
    pub target: Target,
    /// Whether the latest missed occurrence runs late.
    pub catch_up: bool,
    /// How late it may run then.
    #[serde(rename = "misfire_grace_ms", with = "ms")]
    pub misfire_grace: Duration,
    /// Spread of the starts over the agents.
    #[serde(rename = "jitter_ms", with = "ms")]
    pub jitter: Duration,
    /// What the agent must know.
    pub work: Work,
}

impl TaskSpec {
    /// A spec with every policy at its default.
    pub fn new(rule: Rule, work: Work) -> Self {
        Self {
            rule,
            timezone: None,
            note: None,
            target: Target::ALL,
            catch_up: false,
            misfire_grace: Duration::from_hours(1),
            jitter: Duration::ZERO,
            work,
        }
    }

    /// Checks what the types alone do not hold; the first fault found.
    pub fn check(&self) -> Result<(), SpecError> {
        self.work.check()?;
        if self.rule.kind() == RuleKind::Always && !self.work.daemon {
            return Err(SpecError::Together(
                "the rule `@always` is for daemons; give `--daemon`, or a rule with occurrences",
            ));
        }
        if matches!(&self.target, Target::Named(agents) if agents.is_empty()) {
            return Err(SpecError::Together(
                "`--target` names no agent; give `all`, `one` or names",
            ));
        }
        let size = serde_json::to_vec(self).map_or(usize::MAX, |json| json.len());
        if size > super::work::MAX_TEXT {
            return Err(SpecError::TooLarge(size));
        }
        Ok(())
    }
}

/// A task as the center keeps it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Task {
    /// Its id, for good.
    pub id: TaskId,
    /// Its group.
    pub group: GroupName,
    /// Its name in the group.
    pub name: TaskName,
    /// Grows with every change.
    pub revision: Revision,
    /// Whether its rule fires and its daemons run.
    pub enabled: bool,
    /// Stopped, yet what runs may come to its end.
    pub finishing: bool,
    /// What the operator said.
    pub spec: TaskSpec,
    /// When this revision was saved; nothing is due before.
    pub saved_at: UnixMs,
    /// Who last changed it (saved, stopped, started), and when.
    pub changed_by: OperatorName,
    /// When that was.
    pub changed_at: UnixMs,
}

impl Task {
    /// `group/name`.
    pub fn path(&self) -> TaskPath {
        TaskPath {
            group: self.group.clone(),
            name: self.name.clone(),
        }
    }

    /// What an agent gets of this task.
    pub fn text(&self) -> TaskText {
        TaskText {
            task: self.id.clone(),
            revision: self.revision,
            group: self.group.clone(),
            name: self.name.clone(),
            one: self.spec.target.is_one(),
            work: self.spec.work.clone(),
        }
    }
}

/// What an agent gets of one revision of a task; sent once per (task, revision).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskText {
    /// The task.
    pub task: TaskId,
    /// The revision that this text is of.
    pub revision: Revision,
    /// Its group.
    pub group: GroupName,
    /// Its name.
    pub name: TaskName,
    /// Whether its target is `one`.
    pub one: bool,
    /// The work.
    pub work: Work,
}

impl TaskText {
    /// `group/name`.
    pub fn path(&self) -> TaskPath {
        TaskPath {
            group: self.group.clone(),
            name: self.name.clone(),
        }
    }
}
