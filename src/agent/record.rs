//! What the agent keeps on disk, record by record. The whole journal read from its start gives the agent's
//! memory; what a keeper knows (started runs) is not in it.

use serde::{Deserialize, Serialize};

use crate::exec::wire::BootMs;
use crate::model::{BootId, Ending, Epoch, Incarnation, Revision, RunId, RunRef, TaskId, TaskText};

/// One record of the journal.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// The state directory was opened: synced before the first hello.
    Opened {
        /// One more than the last time.
        incarnation: Incarnation,
        /// The boot.
        boot_id: BootId,
    },
    /// A center refused this directory: it is a copy, or older than what was seen of it. It fires nothing, and further
    /// openings count no more, until a center lets it in after all.
    Refused,
    /// A leading center let it in after that.
    Admitted,
    /// The journal before was damaged: which daemons are assigned is not known, until the keeper has told which it
    /// keeps alive and those stand here again.
    Damaged,
    /// The keeper's daemons stand in the records that follow.
    Settled,
    /// Orders of lower epochs are refused from here on.
    Epoch {
        /// The epoch.
        epoch: Epoch,
    },
    /// The estimate of the center's clock; good in this boot.
    Offset {
        /// Center time less boot-time clock, milliseconds.
        offset_ms: i64,
        /// Its error at most, milliseconds.
        error_ms: u64,
    },
    /// A task's text that other records refer to.
    Text {
        /// The text.
        text: Box<TaskText>,
    },
    /// A run is armed; a second one of the same run takes the first one's place.
    Planned(Planned),
    /// An armed run shall not start.
    Cancelled {
        /// The run.
        run_id: RunId,
    },
    /// A due run waits for the end of the active one.
    Queued {
        /// The run.
        run_id: RunId,
    },
    /// The agent itself decided that a run does not start.
    Closed {
        /// The run.
        run: RunRef,
        /// Until then the decision is kept, acknowledged or not.
        start_before: BootMs,
        /// The decision.
        closing: Closing,
    },
    /// Everything about a run may be forgotten.
    Dropped {
        /// The run.
        run_id: RunId,
    },
    /// A daemon is to be kept alive in this revision.
    Assigned {
        /// The task.
        task: TaskId,
        /// The revision.
        revision: Revision,
        /// The epoch of the order.
        epoch: Epoch,
    },
    /// A daemon is no longer assigned.
    Withdrawn {
        /// The task.
        task: TaskId,
    },
}

/// An armed run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// The run.
    pub run: RunRef,
    /// A first attempt after this is refused.
    pub start_before: BootMs,
    /// Whether its task catches up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub catch_up: bool,
    /// The epoch of its order.
    pub epoch: Epoch,
}

/// How a run that the keeper never got was closed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closing {
    /// With an outcome.
    Ended(Box<Ending>),
    /// Target `one`, without a lease: the center may give it to another agent.
    NotStarted {
        /// Why.
        reason: String,
    },
}
