//! After damage to the records: every record that can be read is true, and what the others said nobody knows. So
//! nothing is started that they may have started, and nothing ends otherwise than as `lost` that may have ended.

use std::time::Duration;

use super::run::{Phase, Run, Tree};
use super::{Now, Supervisor};
use crate::exec::wire::{BootMs, Start};
use crate::model::{Ending, Outcome, RunId};

/// How far the clocks of agent and keeper may be apart in what "before the damage" means.
const SLACK: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Some of the records read so far are incomplete. What runs is looked for, and found by its identity or lost;
    /// what was to start, or waited for its next attempt, may have.
    pub(super) fn doubt(&mut self, at: BootMs, now: Now) {
        self.damaged_at = Some(at);
        let open = self.runs.values().filter(|run| run.is_active());
        let doubtful: Vec<RunId> = open
            .filter(|run| !matches!(run.phase, Phase::Running { .. }))
            .map(|run| run.run.run_id.clone())
            .collect();
        for run_id in doubtful {
            let Some(run) = self.runs.get(&run_id) else {
                continue;
            };
            let ending = lost(run, now);
            if let Phase::Starting { attempt, .. } = &run.phase {
                // Where its process is found, it ends as what a run leaves behind does.
                self.trees
                    .insert((run_id.clone(), *attempt), Tree::default());
            }
            self.end(now, &run_id, &ending);
        }
    }

    /// Why a run that is not known may have been started all the same.
    pub(super) fn may_have_started(&self, now: Now, start: &Start) -> Option<String> {
        let at = self.damaged_at?;
        let until = now.center_at(at).plus(SLACK);
        (start.run.scheduled_at <= until).then(|| reason("it may have started"))
    }
}

fn reason(what: &str) -> String {
    format!("the keeper's records were damaged; {what}")
}

fn lost(run: &Run, now: Now) -> Ending {
    let blank = |what| Ending::unstarted(Outcome::Lost, reason(what), now.center);
    let mut ending = match &run.phase {
        Phase::Waiting { last, .. } => {
            let mut ending = last.as_ref().clone();
            ending.outcome = Outcome::Lost;
            let what = format!("its next attempt may have started; last: {}", last.reason);
            ending.reason = reason(&what);
            ending
        }
        Phase::Starting { attempt, .. } => Ending {
            attempt: *attempt,
            ..blank("it may have started")
        },
        _ => blank("it may have started"),
    };
    ending.started_at = ending.started_at.or(run.first_started_at);
    ending
}
