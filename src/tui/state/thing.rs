//! What can be selected, marked and acted upon, by identity: a row that moves takes its selection along.

use crate::model::{AgentName, GroupName, Outcome, RunId, TaskId, TaskPath};
use crate::proto::request::ProcessKey;

/// One thing on the screen.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Thing {
    /// A group.
    Group(GroupName),
    /// An agent.
    Agent(AgentName),
    /// A task.
    Task(TaskId),
    /// A run under way, or a daemon's slot.
    Process(ProcessKey),
    /// A run that has ended.
    Run(RunId),
    /// Failures with one cause.
    Failures(CauseKey),
    /// An event, by its cursor.
    Event(String),
}

/// What folds failures together.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct CauseKey {
    /// The task.
    pub task: TaskPath,
    /// How its runs ended.
    pub outcome: Outcome,
    /// Why, without what differs from run to run.
    pub cause: String,
}

/// The shortest word that is taken for an id, an instant or a number that differs from run to run.
const SHORTEST_ID: usize = 6;

/// A reason without what differs from run to run: ids, instants, long numbers.
pub fn cause_of(reason: &str) -> String {
    let words = reason.split_whitespace().map(|word| {
        let is_id = word.len() >= SHORTEST_ID && word.bytes().any(|b| b.is_ascii_digit());
        if is_id { "…" } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_differ_in_ids_are_one_cause() {
        for (reason, wanted) in [
            ("exit code 3", "exit code 3"),
            (
                "overlap with run 4k2m9x1p3s0000000000000000",
                "overlap with run …",
            ),
            (
                "agent a1 silent since 2026-11-22T16:50:00Z",
                "agent a1 silent since …",
            ),
            ("", ""),
        ] {
            assert_eq!(cause_of(reason), wanted);
        }
    }
}
