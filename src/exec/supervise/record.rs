//! What the keeper writes down, so that the next keeper knows what this one knew. Records build on one another:
//! each is small, a task's text is written once per revision.

use serde::{Deserialize, Serialize};

use super::super::wire::BootMs;
use crate::model::{
    BootId, Ending, Epoch, Outcome, Revision, RunId, RunRef, TaskId, TaskText, UnixMs,
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
    },
}
