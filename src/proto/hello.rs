//! The first message each way, the error frame and the heartbeat.

use serde::{Deserialize, Serialize};

pub use crate::model::PeerRole;
use crate::model::{AgentName, BootId, Epoch, Incarnation, UnixMs};

/// Version of the protocol between center, agents and clients: an integer of its own.
pub const PROTOCOL: u32 = 1;
/// The oldest version that this program speaks.
pub const PROTOCOL_MIN: u32 = 1;

/// First frame of whoever is not the center, on any link, whoever dialled.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// The oldest protocol version spoken.
    pub protocol_min: u32,
    /// The newest protocol version spoken.
    pub protocol_max: u32,
    /// The program's version, for people.
    pub version: String,
    /// What the peer is; must be what its certificate says.
    pub role: PeerRole,
    /// Agents: which boot, which life of the state directory.
    pub agent: Option<AgentHello>,
}

/// What an agent says of itself in its hello.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentHello {
    /// This boot of its host.
    pub boot_id: BootId,
    /// This life of its state directory.
    pub incarnation: Incarnation,
    /// The highest epoch it has on disk.
    pub epoch: Epoch,
    /// How long ago its host booted, milliseconds.
    pub up_ms: u64,
}

/// The center's answer to a hello. It comes again on the same link when the center has taken the lead, and when the
/// fleet's centers have changed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Welcome {
    /// The protocol version spoken on this link from now on.
    pub protocol: u32,
    /// The center's version, for people.
    pub version: String,
    /// The fleet's id.
    pub fleet: String,
    /// Agents: the name under which the center knows it now.
    pub agent: Option<AgentName>,
    /// The center's epoch; 0 where it stands by.
    pub epoch: Epoch,
    /// The center's time.
    pub now: UnixMs,
    /// Addresses of all the fleet's centers, `HOST:PORT`, to be kept; empty where they are not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub centers: Vec<String>,
}

/// Why a link is closed; the last frame before it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorFrame {
    /// For programs.
    pub code: LinkError,
    /// For people: what was wrong and what to do.
    pub message: String,
}

/// Why a link is closed, for programs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkError {
    /// A line longer than the limit.
    TooLong,
    /// A line that is not UTF-8.
    NotUtf8,
    /// A line that is no JSON object, or too deeply nested, or with a key twice.
    NotJson,
    /// A kind or field that this side does not know, or a value of the wrong form.
    UnknownMessage,
    /// A message that does not belong here: from the wrong side, or before its time.
    Unexpected,
    /// No common protocol version.
    Protocol,
    /// Not in time.
    Timeout,
    /// The certificate is not one of this fleet, or its holder was removed.
    Identity,
    /// Another session of the same identity took its place.
    Replaced,
    /// The agent's state directory is a copy, or older than what was seen of it.
    Copied,
    /// An order of an epoch lower than one on disk.
    Epoch,
    /// The token is unknown, used, or expired.
    Token,
    /// The other side shuts down.
    Closing,
    /// The receiver did not keep up.
    Slow,
    /// The other side has a fault of its own.
    Internal,
}
