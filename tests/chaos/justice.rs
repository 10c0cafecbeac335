//! Whether what befell the fleet justifies an outcome that is no command's own: each reason names what it blames, and
//! the fault log must know of that at that time.

use crate::books::{Books, Span};
use crate::faults::{Deed, Fault, FaultLog, Part};
use crate::fleet::AGENTS;
use crate::world::{Run, millis};

/// How long before its instant something must have been wrong: the lead, and what a program takes until it works.
const BEFORE: i64 = 20_000;
/// How long after it: until a run is missed for good where nothing is caught up.
const AFTER: i64 = 5_000;
/// The same where something is: the grace of the mix's tasks.
const GRACE: i64 = 22_000;

/// Whose faults a reason blames: the center's, the agent's, its keeper's, its link's.
#[derive(Clone, Copy)]
struct Blame {
    reason: &'static str,
    whom: [bool; 4],
}

const fn blame(reason: &'static str, whom: [bool; 4]) -> Blame {
    Blame { reason, whom }
}

/// Reasons of `missed`, by their begin.
const BLAMES: [Blame; 9] = [
    blame("the center was down", [true, false, false, false]),
    blame("agent was down", [false, true, false, false]),
    blame("keeper could not be reached", [false, true, true, false]),
    blame("agent a", [true, true, false, true]),
    blame("no agent of group web", [true, true, false, true]),
    blame("the plan did not reach agent", [true, true, false, true]),
    blame("the agent held no lease", [true, true, true, true]),
    blame("the session lease ended", [true, true, true, true]),
    blame("too late", [true, true, true, true]),
];

impl Blame {
    fn is_of(&self, run: &Run, fault: &Fault) -> bool {
        let mine = |of: usize| run.agent.as_deref().is_none_or(|agent| agent == AGENTS[of]);
        let [center, agent, keeper, link] = self.whom;
        match fault.part {
            Part::Center => center,
            Part::Agent(of) => agent && mine(of),
            Part::Keeper(of) => keeper && mine(of),
            Part::Link(of) => link && mine(of),
        }
    }
}

/// Whether a run's outcome may be.
pub fn is_just(books: &Books, span: &Span, faults: &FaultLog, run: &Run) -> bool {
    match run.outcome.as_deref() {
        Some("missed") => is_missed_justly(faults, run),
        Some("skipped") => is_skipped_justly(books, span, run),
        Some("lost") => is_lost_justly(faults, run),
        Some("stopped") => {
            run.reason.starts_with("stopped by admin")
                || (run.task == "web/replaced" && run.reason.starts_with("replaced"))
        }
        _ => true,
    }
}

fn is_missed_justly(faults: &FaultLog, run: &Run) -> bool {
    let at = millis(&run.scheduled_at);
    let caught_up = run.task.ends_with("late");
    let after = if caught_up { GRACE } else { AFTER };
    let mut blames = BLAMES.iter();
    blames
        .find(|blame| run.reason.starts_with(blame.reason))
        .is_some_and(|blame| faults.has(at - BEFORE, at + after, |fault| blame.is_of(run, fault)))
}

/// The run in the way was of the same task and slot, and was started, or waited as long; or it was due after the chaos.
fn is_skipped_justly(books: &Books, span: &Span, run: &Run) -> bool {
    if run.reason.contains("stopped by admin") {
        return millis(&run.scheduled_at) > span.to;
    }
    let replaced = run.reason.strip_prefix("replaced by run ");
    if let Some(newer) = replaced.and_then(|id| books.runs.get(id)) {
        return newer.task == run.task && newer.scheduled_at > run.scheduled_at;
    }
    let in_the_way = ["overlap with run ", "queue full: run "]
        .iter()
        .find_map(|begin| run.reason.strip_prefix(begin))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|id| books.runs.get(id));
    // With what is caught up an older one may find a newer one there.
    in_the_way.is_some_and(|other| {
        let same = (&other.task, &other.agent, other.slot) == (&run.task, &run.agent, run.slot);
        same && (other.scheduled_at < run.scheduled_at || other.cause == "catch-up")
    })
}

/// Only a keeper that was killed while the command ran can have taken its exit status along.
fn is_lost_justly(faults: &FaultLog, run: &Run) -> bool {
    let from = millis(run.started_at.as_deref().unwrap_or(&run.scheduled_at));
    let to = run.finished_at.as_deref().map_or(i64::MAX, millis);
    let at = AGENTS
        .iter()
        .position(|agent| run.agent.as_deref() == Some(agent));
    faults.has(from - 1000, to, |fault| {
        fault.deed == Deed::Kill && at.is_some_and(|of| fault.part == Part::Keeper(of))
    })
}
