//! The center is killed and is away for a second, within the lead, while 200 runs are due per second. Every occurrence
//! has its run and none is missed, or the program ends with what differs; prints the worst lateness as a ratio to what
//! is allowed, beside that of a bare timer with as many spawns behind it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a benchmark prints, starts programs, and ends at the first thing that fails"
)]

#[path = "../tests/it/ledger.rs"]
mod ledger;
mod limit;
#[path = "../tests/it/programs.rs"]
mod programs;
#[path = "../tests/it/world.rs"]
mod world;

use std::collections::BTreeSet;

use ledger::{now, spread, until};
use world::{Run, World, millis, within};

const TASKS: usize = 20;
/// Milliseconds between two occurrences of each.
const EVERY: i64 = 100;
/// How long is watched, and when the center is killed in it, in milliseconds.
const WATCH: i64 = 15_000;
const KILLED: i64 = 6_000;
/// How long it is away.
const AWAY: i64 = 1_000;
/// The worst lateness that is allowed, in milliseconds.
const ALLOWED: i64 = 100;

fn main() {
    let bare = limit::lateness(10, TASKS);
    println!("late_ms, bare timer and spawns: {}", spread(&bare));
    let mut world = World::small();
    let rule = format!("@every {EVERY}ms");
    for number in 0..TASKS {
        let flags = ["--rule", &rule, "--overlap", "allow"];
        world.add(&format!("web/tick-{number}"), &flags, &["/bin/true", "x"]);
    }
    let from = (now() / 1000 + 12) * 1000;
    until(from + KILLED);
    let killed = now();
    world.kill_center();
    until(killed + AWAY);
    world.start_center();
    let away = now() - killed;
    until(from + WATCH);
    let due = due(from);
    let mut runs = Vec::new();
    within(world::PATIENCE, "every run has ended", || {
        runs = watched(&world, from);
        runs.len() >= due.len() && runs.iter().all(|run| run.outcome.is_some())
    });
    judge(&due, &runs);
    let mut late: Vec<i64> = runs.iter().filter_map(|run| run.late_ms).collect();
    late.sort_unstable();
    println!("late_ms, center away for {away} ms: {}", spread(&late));
    println!(
        "worst lateness: ratio to the allowed {ALLOWED} ms {:.2}, to the bare timer's worst {:.1}",
        ratio(&late, ALLOWED),
        ratio(&late, bare.last().copied().unwrap_or(1))
    );
}

/// Every task and instant of the watch.
fn due(from: i64) -> BTreeSet<(String, i64)> {
    let step = usize::try_from(EVERY).unwrap();
    let instants = (from..from + WATCH).step_by(step);
    instants
        .flat_map(|at| (0..TASKS).map(move |number| (format!("web/tick-{number}"), at)))
        .collect()
}

fn watched(world: &World, from: i64) -> Vec<Run> {
    let mut runs = world.runs_of(&[]);
    runs.retain(|run| (from..from + WATCH).contains(&millis(&run.scheduled_at)));
    runs
}

/// Each occurrence has one run, and each run succeeded.
fn judge(due: &BTreeSet<(String, i64)>, runs: &[Run]) {
    let ran: Vec<_> = runs
        .iter()
        .filter(|run| run.is("succeeded"))
        .map(|run| (run.task.clone(), millis(&run.scheduled_at)))
        .collect();
    let once: BTreeSet<_> = ran.iter().cloned().collect();
    let other = runs.iter().find(|run| !run.is("succeeded"));
    assert!(
        once == *due && ran.len() == due.len(),
        "{} of {} ran, as {} runs; another: {other:?}",
        once.len(),
        due.len(),
        runs.len()
    );
    println!("{} due, each with one run, none missed", due.len());
}

/// The worst of these against a limit.
fn ratio(sorted: &[i64], limit: i64) -> f64 {
    let worst = sorted.last().copied().unwrap_or_default();
    f64::from(i32::try_from(worst).unwrap()) / f64::from(i32::try_from(limit.max(1)).unwrap())
}
