//! Joining: the one exchange without a client certificate. A token and a certificate request go up, the
//! signed certificate comes down; the key stays where it was made.

use serde::{Deserialize, Serialize};

use super::hello::{ErrorFrame, PeerRole};
use crate::model::AgentName;

/// The only frame that a peer without a certificate may send.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum FromJoiner {
    /// Asks for a certificate.
    Join(Join),
}

/// What a joiner says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// The oldest protocol version spoken.
    pub protocol_min: u32,
    /// The newest protocol version spoken.
    pub protocol_max: u32,
    /// What it wants to be; must be what the token is for.
    pub role: PeerRole,
    /// The whole token as the operator gave it.
    pub token: String,
    /// The certificate request, PEM.
    pub request: String,
    /// Agents: the name wished for.
    pub name: Option<AgentName>,
}

impl std::fmt::Debug for Join {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Join {{ role: {:?}, name: {:?}, .. }}",
            self.role, self.name
        )
    }
}

/// The center's answer to a join.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ToJoiner {
    /// The certificate.
    Joined(Joined),
    /// Refused; the link is closed.
    Error(ErrorFrame),
}

/// A certificate given.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Joined {
    /// The fleet's id.
    pub fleet: String,
    /// The agent's or operator's name.
    pub name: String,
    /// The signed certificate, PEM.
    pub certificate: String,
    /// All centers' addresses, `ADDR:PORT`.
    pub centers: Vec<String>,
}
