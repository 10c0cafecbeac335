//! What comes into the agent's core and what goes out of it: both enums are closed, values only.

use crate::exec::wire::{self, BootMs};
use crate::model::UnixMs;
use crate::proto::agent::{FromAgent, ToAgent};
use crate::proto::hello::{ErrorFrame, Welcome};

use super::record::Record;

/// Both clocks of the host at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// The boot-time clock; timers and spans are counted on it.
    pub boot: BootMs,
    /// The wall clock.
    pub wall: UnixMs,
}

/// One link to one center; never used again for another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub u64);

/// Names one append to the journal; growing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// Something happened.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// First of all: what the journal holds, oldest first; its last [`Record::Opened`] is of this life.
    Loaded(Vec<Record>),
    /// What is wrong with this state directory, a sentence each; all of it.
    Problems(Vec<String>),
    /// A center has welcomed the agent.
    LinkUp {
        /// The link.
        link: LinkId,
        /// The center's answer to the hello.
        welcome: Box<Welcome>,
        /// When the hello was sent.
        hello_sent: BootMs,
    },
    /// A center will not have this agent: its state directory is a copy, or older than what was seen of it.
    Refused {
        /// Why, in words.
        reason: String,
    },
    /// A link is gone.
    LinkDown {
        /// The link.
        link: LinkId,
    },
    /// A frame came.
    Frame {
        /// The link.
        link: LinkId,
        /// The frame.
        frame: Box<ToAgent>,
    },
    /// The keeper is connected; its set follows.
    KeeperUp,
    /// The keeper's connection is gone, or none could be made.
    KeeperDown {
        /// Why, in words.
        reason: String,
    },
    /// The keeper says.
    Keeper(Box<wire::Event>),
    /// How much room the disk of the state directory has, bytes.
    Space {
        /// For this account.
        free: u64,
        /// In all.
        total: u64,
    },
    /// This append and all before it are on disk.
    Synced(Ticket),
    /// This append could not be written; nothing of it is on disk.
    NotWritten {
        /// The append.
        ticket: Ticket,
        /// Its records.
        records: Vec<Record>,
        /// Why, in words.
        reason: String,
    },
    /// The instant of [`Effect::WakeAt`] has come.
    Wake,
}

/// Something to be done, in this order.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Append to the journal, then say [`Event::Synced`] or [`Event::NotWritten`].
    Journal {
        /// Names the append.
        ticket: Ticket,
        /// In one append.
        records: Vec<Record>,
        /// Whether it must outlive the host, or only this process.
        sync: bool,
    },
    /// Replace the whole journal by these records.
    Compact(Vec<Record>),
    /// Send a frame.
    Send {
        /// The link.
        link: LinkId,
        /// The frame.
        frame: Box<FromAgent>,
    },
    /// Say why, and close the link.
    CloseLink {
        /// The link.
        link: LinkId,
        /// Why.
        error: ErrorFrame,
    },
    /// Tell the keeper.
    Keeper(Box<wire::Command>),
    /// Come back with [`Event::Wake`] at this instant, instead of at the one asked for before.
    WakeAt(Option<BootMs>),
    /// Tell whoever reads the log.
    Warn(String),
}
