//! Center and agent: every message of their link, both directions.

use serde::{Deserialize, Serialize};

use super::hello::{ErrorFrame, Hello, Welcome};
use crate::model::{
    Ending, Epoch, HostPolicy, Revision, RunId, RunRef, SessionLease, Slot, TaskId, TaskText,
    UnixMs,
};

/// Agent to center.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum FromAgent {
    /// First.
    Hello(Hello),
    /// Every few seconds.
    Heartbeat(Heartbeat),
    /// After the welcome: everything the agent holds, in as many frames as needed.
    State(State),
    /// What the agent's host allows; after the state, and whenever it has changed.
    Policy(Box<HostPolicy>),
    /// Answer to an [`Order`], once it is on disk.
    Confirm(Confirm),
    /// What happened to runs; repeated until acknowledged.
    Report(Report),
    /// A piece of output.
    Log(LogChunk),
    /// A stream of output is over.
    LogEnd(LogEnd),
    /// The link is closed.
    Error(ErrorFrame),
}

/// Center to agent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ToAgent {
    /// Answer to the hello.
    Welcome(Welcome),
    /// Answer to a heartbeat.
    HeartbeatAck(HeartbeatAck),
    /// What to do.
    Order(Order),
    /// A report is stored.
    Acknowledge(Acknowledge),
    /// Output is wanted.
    ReadLog(ReadLog),
    /// More output may be sent.
    LogCredit(LogCredit),
    /// Nobody reads any more.
    CloseLog(CloseLog),
    /// The link is closed.
    Error(ErrorFrame),
}

/// A sign of life with the agent's clock, for the offset between the clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// The agent's wall clock when it was sent.
    pub sent_at: UnixMs,
    /// The agent's boot-time clock when it was sent, milliseconds; given back in the answer.
    pub sent_boot_ms: u64,
    /// The agent's estimate of its clock's offset: its wall clock less the center's.
    pub skew_ms: Option<i64>,
    /// Runs under way.
    pub running: u32,
}

/// The center's answer to a heartbeat.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatAck {
    /// From the heartbeat.
    pub sent_boot_ms: u64,
    /// The center's time when the heartbeat came.
    pub received_at: UnixMs,
    /// The center's time when this was sent.
    pub sent_at: UnixMs,
    /// The center's epoch.
    pub epoch: Epoch,
    /// The session lease, counted from when the agent sent the heartbeat.
    pub lease: SessionLease,
}

/// A part of what the agent holds, sent after the welcome.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Whether this is the last part.
    pub last: bool,
    /// Runs armed and not yet due or started.
    pub armed: Vec<HeldRun>,
    /// Runs under way (an attempt runs, or waits for a retry).
    pub running: Vec<RunningRun>,
    /// Runs ended and not yet acknowledged; their reports follow.
    pub ended: Vec<RunId>,
    /// Daemons assigned.
    pub assigned: Vec<HeldAssignment>,
}

/// A run that the agent holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldRun {
    /// The run.
    pub run_id: RunId,
    /// The revision it would run.
    pub revision: Revision,
}

/// A run under way on the agent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunningRun {
    /// The run.
    pub run: RunRef,
    /// The attempt under way or waited for.
    pub attempt: u16,
    /// The command's pid; none while it waits for a retry.
    pub pid: Option<i32>,
    /// When the first attempt started.
    pub started_at: UnixMs,
}

/// A daemon that the agent holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldAssignment {
    /// The task.
    pub task: TaskId,
    /// The revision assigned.
    pub revision: Revision,
}

/// What to do: one frame, journalled as one, confirmed once it is durable. All parts are idempotent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Number of this order on this link, from 1.
    pub seq: u64,
    /// The center's epoch; an agent refuses one lower than it has on disk.
    pub epoch: Epoch,
    /// Texts that the rest refers to and this link has not carried yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<TaskText>,
    /// Armed runs that shall not start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cancel: Vec<Cancel>,
    /// Runs to arm.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<PlannedRun>,
    /// Daemons to keep alive, in this revision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assign: Vec<HeldAssignment>,
    /// Daemons to end and forget.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withdraw: Vec<Withdraw>,
    /// Daemons to give new processes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restart: Vec<RestartSlots>,
    /// Signals to single runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kill: Vec<Kill>,
}

/// A run to arm.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedRun {
    /// The run.
    pub run: RunRef,
    /// A first attempt after this is refused.
    pub start_before: UnixMs,
}

/// A run that shall not start.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// The run.
    pub run_id: RunId,
    /// Whether the stop sequence begins if it has started.
    pub stop: bool,
    /// The reason of the outcome `stopped` then.
    pub reason: String,
}

/// A daemon to end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withdraw {
    /// The task.
    pub task: TaskId,
    /// The reason of the outcome `stopped` of its runs.
    pub reason: String,
}

/// A daemon whose slots get new processes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestartSlots {
    /// The task.
    pub task: TaskId,
    /// One slot after the other.
    pub one_by_one: bool,
    /// The reason of the outcome `stopped` of the old runs.
    pub reason: String,
}

/// A signal to one run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kill {
    /// The run.
    pub run_id: RunId,
    /// The signal's number; the stop sequence where none.
    pub signal: Option<i32>,
    /// The reason of the outcome `stopped`.
    pub reason: String,
}

/// An order is on disk and, where it stops something, the stop sequence has begun.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    /// The order.
    pub seq: u64,
    /// Of the runs to cancel: those that had started. All others of them were not started and will not be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub started: Vec<RunId>,
    /// Of the runs to arm: those that cannot be, and why. They are not started and will not be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedRun>,
}

/// A run that an agent will not start.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedRun {
    /// The run.
    pub run_id: RunId,
    /// Why, in words.
    pub reason: String,
}

/// What happened, numbered on this link.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Number of this report on this link, from 1.
    pub seq: u64,
    /// What happened, in order.
    pub events: Vec<RunEvent>,
}

/// One thing that happened to a run or a daemon's slot.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum RunEvent {
    /// An attempt started.
    Started {
        /// The run.
        run: RunRef,
        /// The attempt, from 1.
        attempt: u16,
        /// The command's pid.
        pid: i32,
        /// When, in the center's time.
        started_at: UnixMs,
    },
    /// An attempt ended and another follows.
    AttemptEnded {
        /// The run.
        run: RunRef,
        /// How the attempt ended.
        ending: Ending,
        /// When the next one is due.
        next_at: UnixMs,
    },
    /// The run has its outcome.
    Ended {
        /// The run.
        run: RunRef,
        /// Its ending.
        ending: Ending,
    },
    /// Target `one`: the lease was over, nothing was started; the run may be given to another agent.
    NotStarted {
        /// The run.
        run_id: RunId,
        /// Why.
        reason: String,
    },
    /// A daemon's slot changed its state.
    Slot(SlotReport),
}

/// State of one slot of a daemon on the reporting agent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotReport {
    /// The task.
    pub task: TaskId,
    /// The slot.
    pub slot: Slot,
    /// `stopped starting running backoff stopping exited fatal`.
    pub state: String,
    /// The run of its process, while there is one.
    pub run_id: Option<RunId>,
    /// Its process.
    pub pid: Option<i32>,
    /// Since when.
    pub since: UnixMs,
    /// Starts after the first.
    pub restarts: u32,
    /// The revision that its process runs.
    pub revision: Revision,
    /// Why it is in this state.
    pub reason: String,
}

/// All events of this report are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acknowledge {
    /// The report.
    pub seq: u64,
}

/// Output of a run is wanted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadLog {
    /// Names the stream on this link.
    pub stream: u64,
    /// The run.
    pub run_id: RunId,
    /// The attempt; the last where none.
    pub attempt: Option<u16>,
    /// The last lines; from the start where none.
    pub lines: Option<u64>,
    /// Go on until the run has ended.
    pub follow: bool,
}

/// A piece of output.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogChunk {
    /// The stream.
    pub stream: u64,
    /// The attempt it is of.
    pub attempt: u16,
    /// Where its first byte stands in the output; a jump is a gap.
    pub offset: u64,
    /// The bytes, base 64.
    pub data: String,
}

/// A stream of output is over.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogEnd {
    /// The stream.
    pub stream: u64,
    /// What was wrong, in words, if anything.
    pub error: Option<String>,
}

/// The reader has taken more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogCredit {
    /// The stream.
    pub stream: u64,
    /// Bytes of output taken.
    pub bytes: u64,
}

/// Nobody reads any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloseLog {
    /// The stream.
    pub stream: u64,
}
