//! Processes that a command leaves behind by its task's wish: nothing waits for them, nothing stops them, but that
//! the end of everything is theirs too.

use std::time::Duration;

use super::run::{Run, Tree};
use super::{Key, Now, Supervisor};
use crate::model::{Leftovers, Outcome, RunId, StopSignal};

/// What a command left behind, and how it is ended when the keeper ends everything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left {
    pub stop_signal: StopSignal,
    pub grace: Duration,
}

impl Run {
    /// Whether what its command leaves behind lives on.
    pub fn leaves(&self, outcome: Outcome) -> bool {
        let by_itself = matches!(outcome, Outcome::Succeeded | Outcome::Failed);
        by_itself && self.text.work.leftovers == Leftovers::Leave
    }
}

impl Supervisor {
    /// What the command left behind is the run's no more.
    pub(super) fn leave(&mut self, key: &Key) {
        let Some(run) = self.runs.get(&key.0) else {
            return;
        };
        let left = Left {
            stop_signal: run.text.work.stop_signal,
            grace: run.text.work.grace,
        };
        if self.trees.remove(key).is_some() {
            self.left.insert(key.clone(), left);
        }
    }

    /// The keeper ends everything: what was left too.
    pub(super) fn end_left(&mut self, now: Now) {
        for (key, left) in std::mem::take(&mut self.left) {
            self.trees.insert(key.clone(), Tree::default());
            self.signal_then_kill(now, &key, left);
        }
    }

    /// Whether processes of an attempt of this run may be left.
    pub(super) fn has_tree(&self, run_id: &RunId) -> bool {
        let from = (run_id.clone(), 0);
        let to = (run_id.clone(), u16::MAX);
        self.trees.range(from..=to).next().is_some()
    }

    /// Whether processes of this run may be left, those included that its task wanted left.
    pub(super) fn has_processes(&self, run_id: &RunId) -> bool {
        let from = (run_id.clone(), 0);
        let to = (run_id.clone(), u16::MAX);
        self.has_tree(run_id) || self.left.range(from..=to).next().is_some()
    }
}
