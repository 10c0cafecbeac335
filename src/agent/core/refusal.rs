//! A state directory that is not the one that counts: a copy of it runs elsewhere, or it was rolled back to an older
//! state. A center says so; then nothing of what it holds fires or is kept alive, in this life and those to come.
//!
//! What was due before this life, and is not known to have started, waits a moment for that word: a former life may
//! have started it after the state that this one has read.

use std::time::Duration;

use super::super::event::Now;
use super::super::record::Record;
use super::super::runs::{Excuse, Held};
use super::{After, AgentCore};
use crate::exec::wire::{BootMs, Command};
use crate::model::{RunId, TaskId};

/// How long a run that was due before this life waits for a leader's answer to what the agent holds.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
/// Why nothing of it runs.
const REASON: &str = "the agent's state directory is a copy, or was rolled back";

/// What centers make of this life.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Standing {
    /// None has answered yet to what it holds.
    #[default]
    New,
    /// A leader has made it good.
    Settled,
    /// The directory is a copy, or older than what was seen of it.
    Refused,
}

impl AgentCore {
    /// Whether nothing of this directory may fire.
    pub(super) fn is_refused(&self) -> bool {
        self.standing == Standing::Refused
    }

    /// A leader has made good what this life holds.
    pub(super) fn settled(&mut self) {
        if self.standing == Standing::New {
            self.standing = Standing::Settled;
        }
    }

    /// A center will not have this directory.
    pub(super) fn refused(&mut self, reason: &str) {
        if !self.is_refused() {
            self.standing = Standing::Refused;
            self.write(Record::Refused);
            self.warn(format!(
                "this agent is refused and fires nothing: {reason}; where this directory is the one to stay run \
                 `ucron-agent reset`, elsewhere remove it and join anew"
            ));
        }
        self.give_up();
    }

    /// A leader has let it in, after a reset or because nothing else is known of it any more.
    pub(super) fn admitted(&mut self) {
        if self.is_refused() {
            self.standing = Standing::New;
            self.write(Record::Admitted);
        }
    }

    /// Whatever is armed is disarmed, and no daemon is kept alive; what runs goes on to its end.
    pub(super) fn give_up(&mut self) {
        let open = self.runs.iter().filter(|held| held.is_open());
        let open: Vec<RunId> = open.map(|held| held.run.run_id.clone()).collect();
        for run_id in open {
            self.disarm(&run_id);
        }
        for (task, _) in std::mem::take(&mut self.assigned) {
            self.give_up_daemon(task);
        }
    }

    fn give_up_daemon(&mut self, task: TaskId) {
        self.write(Record::Withdrawn { task: task.clone() });
        self.after.push(After::Keeper(Command::Withdraw {
            task,
            reason: REASON.to_owned(),
            finish: false,
        }));
    }

    /// Until when a run waits for the leader's answer; none where it need not.
    pub(super) fn answer_wanted_by(&self, held: &Held, now: Now) -> Option<BootMs> {
        let wanted_by = self.doubted_until.plus(ANSWER_PATIENCE);
        let waits = held.excuse == Excuse::AgentDown
            && self.standing == Standing::New
            && now.boot < wanted_by;
        waits.then_some(wanted_by)
    }
}
