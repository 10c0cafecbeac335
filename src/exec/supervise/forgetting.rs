//! What need not be known any more: runs whose end the center has stored, once their time to start is past, and
//! texts that nobody refers to.

use std::sync::Arc;
use std::time::Duration;

use super::{Now, Record, Supervisor, Timer};
use crate::model::{Revision, RunId, TaskId};

/// Confirmed runs are looked at this often for those whose `start_before` is past.
const FORGET_EVERY: Duration = Duration::from_secs(10);

impl Supervisor {
    pub(super) fn confirm(&mut self, now: Now, run_id: &RunId) {
        let Some(run) = self.runs.get(run_id) else {
            return;
        };
        if run.is_active() {
            return;
        }
        if run.may_forget(now.boot) && !self.has_processes(run_id) {
            self.forget(run_id);
            return;
        }
        if self.confirmed.insert(run_id.clone()) {
            self.record(Record::Confirmed {
                run_id: run_id.clone(),
            });
        }
        if self.confirmed.len() == 1 {
            self.at(now.boot.plus(FORGET_EVERY), Timer::Forget);
        }
    }

    pub(super) fn forget_due(&mut self, now: Now) {
        let may = |run_id: &&RunId| {
            let run = self.runs.get(*run_id);
            run.is_none_or(|run| run.may_forget(now.boot)) && !self.has_processes(run_id)
        };
        let due: Vec<RunId> = self.confirmed.iter().filter(may).cloned().collect();
        for run_id in due {
            self.forget(&run_id);
        }
        if !self.confirmed.is_empty() {
            self.at(now.boot.plus(FORGET_EVERY), Timer::Forget);
        }
    }

    pub(super) fn forget(&mut self, run_id: &RunId) {
        self.confirmed.remove(run_id);
        self.record(Record::Forgotten {
            run_id: run_id.clone(),
        });
        let Some(run) = self.runs.remove(run_id) else {
            return;
        };
        let key = (run.text.task.clone(), run.text.revision);
        drop(run);
        self.release_text(&key);
    }

    /// Forgets a text that nobody refers to any more.
    pub(super) fn release_text(&mut self, key: &(TaskId, Revision)) {
        // Alone in the table.
        if self
            .texts
            .get(key)
            .is_some_and(|text| Arc::strong_count(text) == 1)
        {
            self.texts.remove(key);
        }
    }
}
