//! Deeds on agents, groups, operators, tokens, and the fleet as a whole.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Changed;
use crate::model::{
    AgentName, Fingerprint, GroupName, HostPort, OperatorName, Role, TaskPath, UnixMs, ms,
};

/// `ucron agents`.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentList {}

/// `ucron agent add`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentAdd {
    /// Its name from now on.
    pub agent: AgentName,
    /// Where it waits for the center.
    pub address: HostPort,
    /// SHA-256 of its public key, as it printed it.
    pub fingerprint: Fingerprint,
}

/// `ucron agent drain|undrain`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentDrain {
    /// The agent.
    pub agent: AgentName,
    /// Whether it shall get no new runs.
    pub drain: bool,
    /// Whether its daemons end too.
    pub daemons: bool,
}

/// `ucron agent rename`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentRename {
    /// The agent.
    pub agent: AgentName,
    /// Its name from now on.
    pub name: AgentName,
}

/// `ucron agent rm`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentRemove {
    /// The agent.
    pub agent: AgentName,
}

/// `ucron groups`.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupList {}

/// `ucron group add`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupAdd {
    /// The group.
    pub group: GroupName,
}

/// `ucron group rm`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupRemove {
    /// The group.
    pub group: GroupName,
}

/// `ucron group assign|unassign`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupAssign {
    /// The group.
    pub group: GroupName,
    /// The agents.
    pub agents: Vec<AgentName>,
    /// Whether they shall be in the group, or not.
    pub assign: bool,
}

/// `ucron group freeze`: nothing of the group fires for a while. A group that is frozen already is frozen anew.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupFreeze {
    /// The group.
    pub group: GroupName,
    /// The first instant at which it fires again; a day from now where none.
    pub until: Option<UnixMs>,
    /// Why: one line of at most 500 characters.
    pub reason: String,
    /// Say what would not run, and do nothing.
    pub dry_run: bool,
}

/// `ucron group thaw`: before its time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupThaw {
    /// The group.
    pub group: GroupName,
}

/// A group is frozen, or would be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Frozen {
    /// The group.
    pub group: GroupName,
    /// Since when.
    pub from: UnixMs,
    /// The first instant at which it fires again.
    pub until: UnixMs,
    /// Why.
    pub reason: String,
    /// Whether it was done; not with `dry_run`.
    pub done: bool,
    /// Tasks that are due while it is frozen, also those not named.
    pub count: u64,
    /// Their occurrences while it is frozen.
    pub occurrences: u64,
    /// Whether there are more: not all were counted.
    pub at_least: bool,
    /// What will not run, the first first; at most 1,000 tasks.
    pub tasks: Vec<FrozenTask>,
    /// What the freeze hit.
    pub hit: Changed,
}

/// A task that is due while its group is frozen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrozenTask {
    /// The task.
    pub task: TaskPath,
    /// Its occurrences while the group is frozen.
    pub occurrences: u64,
    /// Whether there are more: not all were counted.
    pub at_least: bool,
    /// The first of them.
    pub first_at: UnixMs,
    /// The first occurrence after the freeze.
    pub next_at: Option<UnixMs>,
}

/// `ucron operators`.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorList {}

/// `ucron operator rm`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorRemove {
    /// The operator.
    pub operator: OperatorName,
}

/// `ucron grant|ungrant`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The operator.
    pub operator: OperatorName,
    /// The role.
    pub role: Role,
    /// In this group; in all where none.
    pub group: Option<GroupName>,
    /// Given, or taken away.
    pub grant: bool,
}

/// `ucron token agent`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenAgent {
    /// Groups that the agent will be in.
    pub groups: Vec<GroupName>,
    /// How long the token is good.
    #[serde(rename = "ttl_ms", with = "ms")]
    pub ttl: Duration,
}

/// `ucron token operator`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenOperator {
    /// The operator, made if new.
    pub operator: OperatorName,
    /// How long the token is good.
    #[serde(rename = "ttl_ms", with = "ms")]
    pub ttl: Duration,
}

/// `ucron token center`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenCenter {
    /// How long the token is good.
    #[serde(rename = "ttl_ms", with = "ms")]
    pub ttl: Duration,
}

/// A token, shown once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenMade {
    /// The token's text.
    pub token: String,
}

impl std::fmt::Debug for TokenMade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenMade(..)")
    }
}

/// `ucron status`.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {}

/// `ucron events`.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Events {
    /// After this opaque cursor; from now on where none and `follow`, else what is kept.
    pub since: Option<String>,
    /// Go on as things happen.
    pub follow: bool,
}

/// `ucron audit`.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// At most so many; 0 = all.
    pub limit: u32,
}
