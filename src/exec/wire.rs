//! What agent and keeper say to each other over the keeper's socket (`DIR/keeper.sock`): one JSON object per
//! line, both directions here, so that they cannot drift. Both ends are of one installation; there is a
//! version all the same, because the keeper outlives the agent's upgrades.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{
    AgentName, BootId, Ending, Epoch, GroupName, HostPolicy, Revision, RunId, RunRef, Slot, TaskId,
    TaskName, TaskText, UnixMs, ms,
};

/// Version of this protocol; the keeper also speaks the one before.
pub const KEEPER_PROTOCOL: u32 = 1;

/// Milliseconds on the boot-time clock (`CLOCK_BOOTTIME`): monotonic, running through suspends, one per boot.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct BootMs(pub u64);

impl BootMs {
    /// This instant and `span` more.
    pub fn plus(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// The span from `earlier` to this instant, zero where `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for BootMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "boot+{}ms", self.0)
    }
}

/// Agent to keeper.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// First line of a connection: the keeper answers with [`Event::Hello`], then its whole set, then
    /// [`Event::SetEnd`]. A new connection replaces the old one.
    Hello {
        /// The agent's version of this protocol.
        protocol: u32,
        /// The agent's name, for `UCRON_AGENT`.
        agent: AgentName,
    },
    /// The center's time at boot-time zero, as the agent estimates it: center time = `BootMs + offset`. Every
    /// instant the keeper reports or records is made with it; before the first one, the host's clock.
    Clock {
        /// Milliseconds to add to the boot-time clock.
        offset_ms: i64,
    },
    /// Start the first attempt of a run now. Idempotent by (run, attempt): a run already known is answered
    /// with what is known of it.
    Start(Box<Start>),
    /// Make what a start will need (output file, cgroup), so that no disk work lies in the path of the fire.
    Arm {
        /// The run.
        run: RunRef,
    },
    /// The run will not start after all; what [`Command::Arm`] made is taken away.
    Disarm {
        /// The run.
        run_id: RunId,
    },
    /// Stop sequence on the run's tree; no retry follows. Unknown or ended runs are answered with nothing.
    Stop {
        /// The run.
        run_id: RunId,
        /// The reason of the outcome `stopped`.
        reason: String,
    },
    /// One signal to the run's tree; no retry follows.
    Kill {
        /// The run.
        run_id: RunId,
        /// The signal's number.
        signal: i32,
        /// The reason of the outcome `stopped`.
        reason: String,
    },
    /// Keep this daemon alive, or take the new text and number of slots of one that is. A running process is
    /// not touched; surplus slots end.
    Assign(Box<Assignment>),
    /// End this daemon's slots and forget it.
    Withdraw {
        /// The task.
        task: TaskId,
        /// The reason of the outcome `stopped` of its runs.
        reason: String,
    },
    /// A new process per slot, with the present text; fatal slots start too.
    Restart {
        /// The task.
        task: TaskId,
        /// One slot after the other, each once the last has run for its `start_seconds`.
        one_by_one: bool,
        /// The reason of the outcome `stopped` of the old runs.
        reason: String,
    },
    /// The center has stored this run's ending; it may be forgotten once its `start_before` is past.
    Forget {
        /// The run.
        run_id: RunId,
    },
    /// Send output of a run: [`Event::Log`] frames for this stream, then [`Event::LogEnd`].
    ReadLog {
        /// Names the stream in the answers.
        stream: u64,
        /// The run.
        run_id: RunId,
        /// The attempt; the last where none.
        attempt: Option<u16>,
        /// Where to start.
        from: LogFrom,
        /// Go on until the run has ended.
        follow: bool,
    },
    /// The reader has taken this many more bytes: the keeper sends at most [`LOG_WINDOW`] beyond them.
    LogCredit {
        /// The stream.
        stream: u64,
        /// Bytes taken.
        bytes: u64,
    },
    /// Nobody reads the stream any more.
    CloseLog {
        /// The stream.
        stream: u64,
    },
    /// End every process (stop sequence), then the keeper; or, with `leave`, the keeper alone.
    Shutdown {
        /// Leave the processes to the next keeper.
        leave: bool,
    },
}

/// Bytes of output under way to a reader at most.
pub const LOG_WINDOW: u64 = 256 * 1024;
/// Bytes of output in one [`Event::Log`] at most.
pub const LOG_CHUNK: usize = 32 * 1024;

/// Where a reader of output starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFrom {
    /// At this byte.
    Offset(u64),
    /// At the last lines.
    Lines(u64),
}

/// Everything the keeper needs for one run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// The run.
    pub run: RunRef,
    /// The task's text at the run's revision.
    pub text: TaskText,
    /// The epoch under which it was planned, for `UCRON_EPOCH`.
    pub epoch: Epoch,
    /// A first attempt after this is refused: `missed: too late`.
    pub start_before: Option<BootMs>,
    /// End of the session lease (target `one`): a first attempt after this is refused with [`Event::NotStarted`].
    pub not_after: Option<BootMs>,
    /// Outcome `stopped` of this run first: overlap `replace`. The new one starts when that tree is gone.
    pub replaces: Option<RunId>,
}

/// A daemon given to this agent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// The daemon's text; `work.processes` slots of it.
    pub text: TaskText,
    /// The epoch of the order.
    pub epoch: Epoch,
}

/// Keeper to agent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// Answer to [`Command::Hello`].
    Hello {
        /// The keeper's version of this protocol.
        protocol: u32,
        /// The program's version.
        version: String,
        /// The keeper's pid.
        pid: i32,
        /// This boot.
        boot_id: BootId,
        /// Account the keeper runs as (`root` runs every user that its policy allows).
        user: String,
    },
    /// What this host allows; after the hello, and whenever it has changed.
    Policy(Box<HostPolicy>),
    /// One member of the set at connect: a run that is active, or ended and not yet forgotten.
    Known {
        /// The run.
        run: RunRef,
        /// What is known of it.
        state: RunState,
    },
    /// One daemon in the set at connect.
    Assigned {
        /// The task.
        task: TaskId,
        /// Its revision.
        revision: Revision,
    },
    /// The set is complete.
    SetEnd,
    /// An attempt runs.
    Started {
        /// The run.
        run: RunRef,
        /// The attempt, from 1.
        attempt: u16,
        /// The command's own pid.
        pid: i32,
        /// When, in the center's time.
        started_at: UnixMs,
    },
    /// An attempt ended and another will follow.
    AttemptEnded {
        /// The run.
        run: RunRef,
        /// How this attempt ended; the run has no outcome yet.
        ending: Ending,
        /// When the next attempt is due, in the center's time.
        next_at: UnixMs,
    },
    /// The run has its outcome: recorded on disk, synced, before it is said here. Repeated at every connect
    /// until [`Command::Forget`].
    Ended {
        /// The run.
        run: RunRef,
        /// Its ending.
        ending: Ending,
    },
    /// A start was refused because of `not_after`: nothing was started and nothing is recorded.
    NotStarted {
        /// The run.
        run_id: RunId,
        /// Why.
        reason: String,
    },
    /// A daemon's slot changed its state.
    Slot(SlotStatus),
    /// A piece of output.
    Log {
        /// The stream.
        stream: u64,
        /// The attempt it is of.
        attempt: u16,
        /// Where its first byte stands in the output.
        offset: u64,
        /// The bytes, base 64.
        data: String,
    },
    /// The stream is over.
    LogEnd {
        /// The stream.
        stream: u64,
        /// What was wrong, in words, if anything.
        error: Option<String>,
    },
}

/// What the keeper knows of a run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RunState {
    /// An attempt runs (or is being stopped).
    Running {
        /// The attempt.
        attempt: u16,
        /// The command's own pid.
        pid: i32,
        /// When the first attempt started.
        started_at: UnixMs,
    },
    /// Waits for its next attempt.
    Waiting {
        /// The next attempt.
        attempt: u16,
        /// When it is due.
        next_at: UnixMs,
        /// When the first attempt started.
        started_at: UnixMs,
    },
    /// Has its outcome.
    Ended(Box<Ending>),
}

/// State of one slot of a daemon.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotStatus {
    /// The daemon's task.
    pub task: TaskId,
    /// The daemon's name, for people.
    pub name: TaskName,
    /// The daemon's group.
    pub group: GroupName,
    /// The slot.
    pub slot: Slot,
    /// The state.
    pub state: SlotState,
    /// The run of its process, while there is one.
    pub run_id: Option<RunId>,
    /// Its process.
    pub pid: Option<i32>,
    /// Since when it has been in this state.
    pub since: UnixMs,
    /// Starts after the first, since it was assigned.
    pub restarts: u32,
    /// The revision that its process runs.
    pub revision: Revision,
    /// Why it is in this state (fatal: with the last lines of output).
    pub reason: String,
    /// Backoff: until the next start.
    #[serde(rename = "wait_ms", with = "ms")]
    pub wait: Duration,
}

/// States of a daemon's slot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotState {
    /// Not to run.
    Stopped,
    /// Runs, not yet for its `start_seconds`.
    Starting,
    /// Runs.
    Running,
    /// Ended; waits for its next start.
    Backoff,
    /// In its stop sequence.
    Stopping,
    /// Ended and, by its restart policy, stays so.
    Exited,
    /// Failed `start_retries` times in a row.
    Fatal,
}

impl SlotState {
    /// The word in tables and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Backoff => "backoff",
            Self::Stopping => "stopping",
            Self::Exited => "exited",
            Self::Fatal => "fatal",
        }
    }
}
