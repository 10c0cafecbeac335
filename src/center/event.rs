//! What the center's core is told and what it wants done: the whole border between core and shell.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::{AgentId, Fingerprint, GroupName, HostPort, OperatorId, RunId, UnixMs};
use crate::proto::agent::{FromAgent, ToAgent};
use crate::proto::client::{FromClient, ToClient};
use crate::proto::hello::{ErrorFrame, Hello, PeerRole};
use crate::proto::join::Join;
use crate::store::{AuditRow, RunQuery, Snapshot, StoredRun, Write};

/// Names a connection for the life of the center.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId(pub u64);

/// Names a read of the store that is under way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// The two clocks at one instant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// The center's time: what rules and records are in.
    pub at: UnixMs,
    /// The boot-time clock: what leases and deadlines are counted on.
    pub mono: Duration,
}

/// What the core is told.
#[derive(Debug)]
pub enum Event {
    /// An alarm that was asked for.
    Wake,
    /// The batch under way is durable, or is not and changed nothing.
    Committed(Result<(), String>),
    /// The store has not answered for a while, whether or not anything was to be written.
    StoreSilent(String),
    /// The store read anew after a failed batch.
    Loaded(Result<Box<Snapshot>, String>),
    /// Runs read from the store.
    RunsRead(Ticket, Result<Vec<StoredRun>, String>),
    /// Audit log read from the store.
    AuditRead(Ticket, Result<Vec<AuditRow>, String>),
    /// An agent is connected and has said hello.
    AgentUp {
        /// Its session.
        session: SessionId,
        /// Who it is, by its certificate.
        agent: AgentId,
        /// What it said.
        hello: Hello,
        /// From where.
        address: String,
    },
    /// A message of an agent.
    AgentFrame(SessionId, FromAgent),
    /// An agent's connection is gone.
    AgentDown(SessionId, String),
    /// A client is connected and has said hello.
    ClientUp {
        /// Its session.
        session: SessionId,
        /// Who it is, by its certificate.
        operator: OperatorId,
        /// The protocol version agreed on.
        protocol: u32,
        /// From where.
        address: String,
    },
    /// A message of a client.
    ClientFrame(SessionId, FromClient),
    /// A client's connection is gone.
    ClientDown(SessionId),
    /// Somebody without a certificate wants one.
    Join {
        /// Its session.
        session: SessionId,
        /// What it said.
        join: Join,
        /// From where.
        address: String,
    },
    /// A host that was dialled to be added has shown its token.
    AddJoin {
        /// Its session.
        session: SessionId,
        /// Which [`Effect::Add`] it is of.
        ticket: Ticket,
        /// What it said.
        join: Join,
    },
    /// An [`Effect::Add`] has come to its end: the certificate is on the host's disk, or why not.
    Added(Ticket, Result<(), AddTrouble>),
}

/// Why an agent could not be added, for the operator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddTrouble {
    /// What was wrong.
    pub message: String,
    /// What to do next.
    pub hint: &'static str,
}

/// A certificate to be signed for a joiner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Issue {
    /// As what.
    pub role: PeerRole,
    /// The id for the certificate's URI.
    pub id: String,
    /// The name told to the joiner.
    pub name: String,
    /// The certificate request, PEM.
    pub request: String,
}

/// What the core wants done. Effects are carried out in order.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Write these as one transaction, then say [`Event::Committed`]. Never two under way.
    Commit(Vec<Write>),
    /// Read the whole store again.
    Load,
    /// Read runs.
    ReadRuns(Ticket, RunQuery),
    /// Read the audit log: entries of these groups, or all; at most so many (0 = all).
    ReadAudit(Ticket, Option<BTreeSet<GroupName>>, u32),
    /// Send to an agent.
    ToAgent(SessionId, Box<ToAgent>),
    /// Send to a client.
    ToClient(SessionId, Box<ToClient>),
    /// Send an error frame and close the connection, whoever it is.
    Close(SessionId, ErrorFrame),
    /// Sign a certificate and send it to the joiner.
    Issue(SessionId, Issue),
    /// Dial a host that waits to join, and believe it by its key's fingerprint; then say [`Event::AddJoin`], and
    /// in any case [`Event::Added`].
    Add(Ticket, HostPort, Fingerprint),
    /// Keep dialling these agents from now on, and no others.
    Dial(BTreeMap<AgentId, HostPort>),
    /// Wake the core at this instant, in the center's time; replaces the alarm before.
    Alarm(UnixMs),
    /// One log line for operators.
    Log(LogLevel, String),
}

/// Weight of a log line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogLevel {
    /// News of operators and agents.
    Info,
    /// Trouble.
    Warn,
}

/// Runs in an order's confirmation, by what the center asked for.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Outstanding {
    /// Runs to arm.
    pub planned: Vec<RunId>,
    /// Runs to cancel.
    pub cancelled: Vec<RunId>,
}
