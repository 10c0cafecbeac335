//! What happens when a task is due while it still runs.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use crate::world::{Run, World, eventually, millis};

/// A fleet with a task that is due every 400 ms and takes longer, and its first six ended runs.
fn six_runs(overlap: &str) -> (World, Vec<Run>) {
    let world = World::small();
    let flags = [
        "--rule",
        "@every 400ms",
        "--overlap",
        overlap,
        "--grace",
        "1s",
    ];
    world.add("web/t", &flags, &["sleep 1"]);
    let ended = || -> Vec<Run> {
        let runs = world.runs("web/t").into_iter();
        runs.filter(|run| run.outcome.is_some()).collect()
    };
    eventually("six runs have ended", || ended().len() >= 6);
    world.must(&["stop", "web/t"]);
    eventually("nothing is open", || {
        world.runs("web/t").iter().all(|run| run.outcome.is_some())
    });
    let runs = ended();
    (world, runs)
}

fn started(runs: &[Run]) -> Vec<&Run> {
    let mut started: Vec<_> = runs.iter().filter(|run| run.started_at.is_some()).collect();
    started.sort_by_key(|run| run.started_at.clone());
    started
}

/// Asserts that no run of these started before the one before it had ended.
fn never_two_at_once(runs: &[Run]) {
    for pair in started(runs).windows(2) {
        let end = millis(pair[0].finished_at.as_deref().unwrap());
        let next = millis(pair[1].started_at.as_deref().unwrap());
        assert!(next >= end, "two at once: {pair:?}");
    }
}

#[test]
fn skips_the_run_while_the_last_one_lives() {
    let (_world, runs) = six_runs("skip");
    let skipped: Vec<_> = runs
        .iter()
        .filter(|run| run.is("skipped") && run.reason.contains("overlap"))
        .collect();
    assert!(!skipped.is_empty(), "{runs:?}");
    for run in skipped {
        let named = runs.iter().any(|other| run.reason.contains(&other.run_id));
        assert!(named && run.started_at.is_none(), "{run:?}");
    }
    never_two_at_once(&runs);
}

#[test]
fn queues_one_run_while_the_last_one_lives() {
    let (_world, runs) = six_runs("queue");
    never_two_at_once(&runs);
    let waited = started(&runs).iter().any(|run| run.late_ms.unwrap() > 100);
    assert!(waited, "{runs:?}");
    assert!(
        runs.iter()
            .any(|run| run.is("skipped") && run.reason.contains("queue full")),
        "{runs:?}"
    );
}

#[test]
fn replaces_the_run_that_still_lives() {
    let (_world, runs) = six_runs("replace");
    never_two_at_once(&runs);
    let replaced = runs
        .iter()
        .filter(|run| run.is("stopped") && run.reason.contains("replaced"));
    assert!(replaced.count() >= 2, "{runs:?}");
}

#[test]
fn lets_them_run_side_by_side() {
    let (_world, runs) = six_runs("allow");
    let started = started(&runs);
    let overlapping = started.windows(2).any(|pair| {
        let end = millis(pair[0].finished_at.as_deref().unwrap());
        millis(pair[1].started_at.as_deref().unwrap()) < end
    });
    assert!(overlapping, "{runs:?}");
    assert!(
        !runs.iter().any(|run| run.reason.contains("overlap")),
        "{runs:?}"
    );
}
