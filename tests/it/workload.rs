//! A realistic crontab: loaded by a script through `ucron add`, then checked through `ucron runs -o json` against
//! what the commands wrote about themselves.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use std::collections::{BTreeMap, BTreeSet};

use crate::ledger::{Line, differ, ledger, now, until};
use crate::world::{CLIENT, Run, World, ask, eventually, millis, program, run_user};

const LOAD: &str = include_str!("../workload/load.sh");

/// Fleet and workload: two web hosts, two database hosts.
fn loaded() -> World {
    let world = World::new(&[("w1", "web"), ("w2", "web"), ("d1", "db"), ("d2", "db")]);
    let mut load = program("sh");
    load.args(["-c", LOAD]).env("UCRON", CLIENT);
    load.env("UCRON_HOME", world.path("center/admin"));
    load.env("USER_NAME", run_user())
        .env("WORK", world.work(""));
    ask(&mut load, "").exits(0);
    world
}

/// Runs of the tasks that are due each few seconds, in the window, by task.
fn window(world: &World, from: i64, to: i64) -> BTreeMap<String, Vec<Run>> {
    let mut by_task: BTreeMap<String, Vec<Run>> = BTreeMap::new();
    for run in world.runs_of(&[]) {
        if (from..to).contains(&millis(&run.scheduled_at)) && run.cause == "rule" {
            by_task.entry(run.task.clone()).or_default().push(run);
        }
    }
    by_task
}

/// Every multiple of this in the window.
fn grid(from: i64, to: i64, every: i64) -> BTreeSet<i64> {
    (from..to).filter(|at| at % every == 0).collect()
}

/// A task is due at these instants on so many agents, and each time has exactly one run per target.
fn is_complete(task: &str, runs: &[Run], instants: &BTreeSet<i64>, targets: usize) {
    let mut by_time: BTreeMap<i64, Vec<&str>> = BTreeMap::new();
    for run in runs {
        let agent = run.agent.as_deref().unwrap();
        by_time
            .entry(millis(&run.scheduled_at))
            .or_default()
            .push(agent);
    }
    assert_eq!(
        &by_time.keys().copied().collect::<BTreeSet<_>>(),
        instants,
        "{task}"
    );
    for (at, mut agents) in by_time {
        agents.sort_unstable();
        agents.dedup();
        let runs = runs
            .iter()
            .filter(|run| millis(&run.scheduled_at) == at)
            .count();
        assert_eq!(
            (agents.len(), runs),
            (targets, targets),
            "{task} at {at}: {agents:?}"
        );
    }
}

/// What started was written by exactly one command per attempt, and what did not start by none.
fn agree(runs: &[Run], lines: &[Line]) {
    for run in runs {
        let mine: Vec<_> = lines
            .iter()
            .filter(|line| line.run_id == run.run_id)
            .collect();
        let attempts: Vec<_> = mine.iter().map(|line| line.attempt).collect();
        if run.started_at.is_none() {
            assert!(
                mine.is_empty(),
                "not started, yet written: {run:?} {mine:?}"
            );
            continue;
        }
        // A command that was ended at once may not have come to write.
        let wanted: Vec<u16> = (1..=run.attempt).collect();
        assert_eq!(attempts, wanted, "{run:?} {mine:?}");
        let last = differ(run, mine.last().unwrap());
        assert_eq!(last, None);
    }
}

#[test]
fn a_companys_crontab_runs_as_its_rules_say() {
    let world = loaded();
    let tasks = world.json(&["ls"]);
    assert_eq!(tasks.as_array().unwrap().len(), 30);
    let from = (now() / 1000 + 2) * 1000;
    let to = from + 12_000;
    until(to);
    let mut by_task = BTreeMap::new();
    eventually("the window has ended", || {
        by_task = window(&world, from, to);
        by_task.values().flatten().all(|run| run.outcome.is_some())
            && by_task
                .get("web/health-probe")
                .is_some_and(|runs| runs.len() == 24)
            && by_task
                .get("web/queue-depth")
                .is_some_and(|runs| runs.len() == 96)
    });
    let lines = ledger(&world);
    let check = |task: &str, every: i64, targets: usize, outcomes: &[&str]| {
        let runs = by_task.get(task).map_or(&[][..], Vec::as_slice);
        is_complete(task, runs, &grid(from, to, every), targets);
        agree(runs, &lines);
        for run in runs {
            assert!(outcomes.iter().any(|outcome| run.is(outcome)), "{run:?}");
        }
    };
    check("web/health-probe", 1000, 2, &["succeeded", "skipped"]);
    check("web/queue-depth", 250, 2, &["succeeded", "skipped"]);
    check("web/metrics", 2000, 2, &["succeeded", "skipped"]);
    check("db/replication-lag", 3000, 1, &["succeeded", "skipped"]);
    check("db/flaky-check", 1500, 2, &["succeeded", "skipped"]);
    check("web/slow-report", 2000, 2, &["succeeded", "skipped"]);
    check("web/bad-mailer", 4000, 2, &["failed", "skipped"]);
    check("web/stuck-import", 5000, 2, &["timed_out", "skipped"]);
    let slow = &by_task["web/slow-report"];
    assert!(
        slow.iter().any(|run| run.is("skipped")) && slow.iter().any(|run| run.is("succeeded")),
        "{slow:?}"
    );
    let failed = &by_task["web/bad-mailer"];
    assert!(
        failed
            .iter()
            .any(|run| run.exit_code == Some(3) && world.tail(run) == "no route to host\n"),
        "{failed:?}"
    );
    daemons_run(&world);
    nothing_runs_that_is_not_due(&world);
}

fn daemons_run(world: &World) {
    let mut lines = ledger(world);
    lines.retain(|line| line.cause == "daemon");
    for (task, processes) in [("web/queue-worker", 8), ("db/wal-receiver", 2)] {
        let pids = world.daemon_pids(task, processes);
        let written: BTreeSet<_> = lines
            .iter()
            .filter(|line| line.task == task)
            .map(|line| line.pid)
            .collect();
        assert_eq!(
            pids.values().copied().collect::<BTreeSet<_>>(),
            written,
            "{task}"
        );
        for run in world.runs(task) {
            let line = lines.iter().find(|line| line.run_id == run.run_id).unwrap();
            assert_eq!(run.pid, Some(line.pid), "{run:?}");
        }
    }
}

/// What is due once a night or year has not run, and says when it will.
fn nothing_runs_that_is_not_due(world: &World) {
    let never = [
        "web/last-friday",
        "db/leap-day",
        "web/once-in-2030",
        "web/new-year",
        "web/warm-up",
        "web/retired",
    ];
    for task in never {
        let runs = world.runs(task);
        assert!(
            runs.iter().all(|run| run.started_at.is_none()),
            "{task}: {runs:?}"
        );
    }
    let next = |task: &str| world.json(&["show", task])["next_at"].clone();
    assert_eq!(next("web/new-year"), "2030-12-31T16:00:00.000Z");
    assert_eq!(next("web/once-in-2030"), "2030-12-24T12:00:00.000Z");
    assert_eq!(next("web/retired"), serde_json::Value::Null);
}
