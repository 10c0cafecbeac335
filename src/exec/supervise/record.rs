//! What the keeper writes down, so that the next keeper knows what this one knew. Records build on one another:
//! each is small, a task's text is written once per revision.

use serde::{Deserialize, Serialize};

use super::super::wire::{BootMs, SlotState};
use crate::model::{
    BootId, Ending, Epoch, Outcome, Revision, RunId, RunRef, Slot, TaskId, TaskText, UnixMs,
};

/// One line of the keeper's journal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// What follows was written in this boot.
    Boot {
        /// The boot.
        boot_id: BootId,
    },
    /// Some of the records before this cannot be read any more. What was started until then nobody knows for certain.
    Damaged {
        /// When that was found.
        at: BootMs,
    },
    /// A task's text, to which the records that follow refer.
    Text {
        /// The text.
        text: Box<TaskText>,
    },
    /// A run is known from here on.
    Accepted {
        /// The run.
        run: RunRef,
        /// Its epoch.
        epoch: Epoch,
        /// A first attempt after this is refused.
        start_before: Option<BootMs>,
        /// It waits for the tree of this run to be gone.
        after: Option<RunId>,
    },
    /// An attempt is about to be cloned. Without a mark of its child it was not executed.
    Starting {
        /// The run.
        run_id: RunId,
        /// The attempt.
        attempt: u16,
        /// Not before this.
        at: BootMs,
    },
    /// An attempt runs.
    Started {
        /// The run.
        run_id: RunId,
        /// The attempt.
        attempt: u16,
        /// The command's own pid.
        pid: i32,
        /// When, on the boot-time clock.
        boot: BootMs,
        /// When, in the center's time.
        at: UnixMs,
    },
    /// A stop sequence has begun, or a signal was sent that ends the run.
    Stopping {
        /// The run.
        run_id: RunId,
        /// The outcome to be.
        outcome: Outcome,
        /// Its reason.
        reason: String,
        /// When KILL follows; none where a person sent one signal.
        kill_at: Option<BootMs>,
    },
    /// An attempt ended and another is due.
    Waiting {
        /// The run.
        run_id: RunId,
        /// How the attempt ended.
        ending: Box<Ending>,
        /// When the next is due.
        due: BootMs,
        /// The same, in the center's time.
        next_at: UnixMs,
    },
    /// The run has its outcome.
    Ended {
        /// The run.
        run_id: RunId,
        /// Its ending.
        ending: Box<Ending>,
    },
    /// The center has stored the ending.
    Confirmed {
        /// The run.
        run_id: RunId,
    },
    /// The run is no longer known.
    Forgotten {
        /// The run.
        run_id: RunId,
    },
    /// A daemon is kept alive, with the text of this revision.
    Assigned {
        /// The task.
        task: TaskId,
        /// The revision.
        revision: Revision,
        /// The epoch of the order.
        epoch: Epoch,
    },
    /// A daemon is no longer kept alive.
    Withdrawn {
        /// The task.
        task: TaskId,
        /// Processes that run may go on until they end by themselves.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        finish: bool,
    },
    /// A slot was decided on: how often it failed, what it waits for, what follows its process's end.
    Slot {
        /// The task.
        task: TaskId,
        /// The slot.
        slot: Slot,
        /// What holds from here on.
        rest: SlotRest,
    },
    /// A restart one by one goes on to a slot, or is over.
    Rolling {
        /// The task.
        task: TaskId,
        /// What is left of it.
        roll: Option<Roll>,
    },
}

/// What the next keeper must know of a slot beside its run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotRest {
    /// The state.
    pub state: SlotState,
    /// Since when.
    pub since: UnixMs,
    /// Starts after the first.
    pub restarts: u32,
    /// Starts in a row that failed.
    pub failures: u16,
    /// Why it is in this state.
    pub reason: String,
    /// When backoff or parole is over.
    pub due: Option<BootMs>,
    /// What follows once its process is gone.
    pub then: Then,
    /// Whether it had a process before.
    pub ever_started: bool,
    /// The revision of its last process.
    pub revision: Revision,
}

/// What follows once a slot's process is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// What the restart policy says.
    Policy,
    /// A new process at once.
    Start,
    /// Nothing: the keeper is ending.
    Rest,
    /// The slot is taken away.
    Go,
    /// The same, and nobody hurries its process.
    Finish,
}

/// A restart one by one that is under way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roll {
    /// The slot that has to come up before the next one is touched.
    pub at: Slot,
    /// Those still to be restarted, the last one first.
    pub left: Vec<Slot>,
    /// Why.
    pub reason: String,
}
