//! Deeds on agents, groups, operators, tokens, and the fleet as a whole.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{AgentName, Fingerprint, GroupName, HostPort, OperatorName, Role, ms};

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
