//! A task: what an operator saves, and what of it an agent gets.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    AgentId, AgentName, GroupName, OperatorName, Revision, SpecError, TaskId, TaskName, TaskPath,
    UnixMs, Watch, Work, ms,
};
use crate::rule::{Rule, RuleKind, Zone};

/// How long after its instant a run may start at most where the task does not catch up.
pub const START_WITHIN: Duration = Duration::from_mins(1);
/// Runs of one task in one second at most, where the task says nothing else.
pub const MAX_RATE: u32 = 1_000;
/// What a task may say of that at most.
pub const HIGHEST_RATE: u32 = 100_000;

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
    /// From when on a run is called wrong.
    #[serde(default, skip_serializing_if = "Watch::is_default")]
    pub watch: Watch,
    /// Runs planned for one second at most; what is due beyond that is missed.
    #[serde(default = "max_rate", skip_serializing_if = "is_max_rate")]
    pub max_rate: u32,
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
            watch: Watch::default(),
            max_rate: MAX_RATE,
            work,
        }
    }

    /// How long after its instant a run may start at most, its jitter not counted.
    pub fn start_within(&self) -> Duration {
        if self.catch_up {
            self.misfire_grace
        } else {
            START_WITHIN
        }
    }

    /// Checks what the types alone do not hold; the first fault found.
    pub fn check(&self) -> Result<(), SpecError> {
        self.work.check()?;
        self.watch.check()?;
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
        if !(1..=HIGHEST_RATE).contains(&self.max_rate) {
            return Err(SpecError::Range {
                what: "--max-rate",
                found: self.max_rate.to_string(),
                allowed: "1 to 100000",
            });
        }
        let size = serde_json::to_vec(self).map_or(usize::MAX, |json| json.len());
        if size > super::work::MAX_TEXT {
            return Err(SpecError::TooLarge(size));
        }
        Ok(())
    }
}

fn max_rate() -> u32 {
    MAX_RATE
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_max_rate(rate: &u32) -> bool {
    *rate == MAX_RATE
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

    /// How long after its instant a run on this target is started: the same for every occurrence, spread evenly
    /// over the jitter by a hash of task and agent. Target `one` has one delay, whatever agent has the run.
    pub fn delay(&self, target: Option<&AgentId>) -> Duration {
        let jitter = u64::try_from(self.spec.jitter.as_millis()).unwrap_or(u64::MAX);
        if jitter == 0 {
            return Duration::ZERO;
        }
        let target = target.map_or("", AgentId::as_str);
        let digest = Sha256::digest(format!("jitter\n{}\n{target}", self.id));
        let hash = digest[..8]
            .iter()
            .fold(0, |hash, byte| hash << 8 | u64::from(*byte));
        Duration::from_millis(hash % jitter)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Execute, UserName};

    fn task(jitter: u64) -> Task {
        let work = Work::new(
            Execute::Shell("true".to_owned()),
            UserName::parse("nobody").unwrap(),
        );
        let mut spec = TaskSpec::new(Rule::parse("@hourly").unwrap(), work);
        spec.jitter = Duration::from_millis(jitter);
        Task {
            id: "01hzzzzzzzzzzzzzzzzzzzzzzz".parse().unwrap(),
            group: GroupName::parse("g").unwrap(),
            name: TaskName::parse("t").unwrap(),
            revision: Revision(1),
            enabled: true,
            finishing: false,
            spec,
            saved_at: UnixMs(0),
            changed_by: OperatorName::parse("admin").unwrap(),
            changed_at: UnixMs(0),
        }
    }

    fn agent(n: u32) -> AgentId {
        format!("a{n:025}").parse().unwrap()
    }

    #[test]
    fn jitter_spreads_agents_evenly_and_never_moves_one() {
        let task = task(60_000);
        let delays: Vec<Duration> = (0..400).map(|n| task.delay(Some(&agent(n)))).collect();
        assert!(delays.iter().all(|delay| *delay < task.spec.jitter));
        for quarter in 0..4 {
            let within = |delay: &&Duration| delay.as_secs() / 15 == quarter;
            let found = delays.iter().filter(within).count();
            assert!(
                (60..140).contains(&found),
                "{found} of 400 in quarter {quarter}"
            );
        }
        assert_eq!(task.delay(Some(&agent(7))), delays[7]);
        assert_ne!(task.delay(None), task.delay(Some(&agent(7))));
    }

    #[test]
    fn without_jitter_nothing_is_delayed() {
        assert_eq!(task(0).delay(Some(&agent(1))), Duration::ZERO);
        assert_eq!(task(1).delay(Some(&agent(1))), Duration::ZERO);
    }
}
