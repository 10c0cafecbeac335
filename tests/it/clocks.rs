//! Wall clocks that are wrong, or are stepped and set right again, at one of the programs: nothing is lost, nothing runs
//! twice, and `ucron agents` says by how much an agent's clock is off.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use std::collections::BTreeMap;

use crate::ledger::{Line, Load, ledger, now, until};
use crate::world::{Run, World, eventually, millis, tell};

const TEN_MINUTES: i64 = 600_000;
/// A clock that is this near counts as right here.
const NEAR: i64 = 5_000;

/// What an agent knows of the center's clock may be wrong by so much; where its own is far off that alone decides.
const UNSURE: i64 = 250;

/// Makes the wall clock of a program wrong by so many milliseconds; of one that runs where this was done, if only by
/// 0, when it was started.
fn shift(world: &World, state: &str, ahead: i64) {
    let new = world.path(&format!("{state}.clock.new"));
    std::fs::write(&new, ahead.to_string()).unwrap();
    std::fs::rename(new, world.path(&format!("{state}.clock"))).unwrap();
}

/// Waits until `ucron agents` tells this skew.
fn is_off(world: &World, agent: &str, skew: i64) {
    eventually(&format!("{agent} is off by {skew} ms"), || {
        let told = world.agent(agent)["skew_ms"].as_i64();
        told.is_some_and(|told| (told - skew).abs() < NEAR)
    });
}

#[test]
fn agents_with_wrong_clocks_lose_and_double_nothing() {
    let world = World::empty();
    shift(&world, "a1", 0);
    shift(&world, "a2", -TEN_MINUTES);
    let world = world.with(&[("a1", "web"), ("a2", "web")]);
    is_off(&world, "a2", -TEN_MINUTES);
    let load = Load::begin(&world, 2, &["a1", "a2"], 18);
    load.until_second(2);
    shift(&world, "a1", TEN_MINUTES);
    is_off(&world, "a1", TEN_MINUTES);
    eventually("the operators are told", || {
        world.must(&["status"]).contains("ahead of")
    });
    load.until_second(8);
    shift(&world, "a1", 0);
    shift(&world, "a2", TEN_MINUTES);
    is_off(&world, "a1", 0);
    is_off(&world, "a2", TEN_MINUTES);
    load.until_second(13);
    // Taken back after a second.
    shift(&world, "a1", -TEN_MINUTES);
    until(now() + 1_000);
    shift(&world, "a1", 0);
    let mut books = load.close(&world);
    for line in books.written.values_mut().flatten() {
        let early = line.scheduled_at - line.started_at;
        assert!(early < UNSURE, "{line:?}");
        line.started_at += early.max(0);
    }
    assert_eq!(books.agree(), []);
}

/// A center with a wrong clock, an agent, and a task that is due each second.
fn with_center(ahead: i64) -> World {
    let mut world = World::empty();
    world.kill_center();
    shift(&world, "center", ahead);
    world.start_center();
    let world = world.with(&[("a1", "web")]);
    let note = world.note_flags();
    let when = ["--rule", "* * * * * *", "--overlap", "allow"];
    let flags: Vec<&str> = note.iter().map(String::as_str).chain(when).collect();
    world.add("web/tick", &flags, &[". $NOTE"]);
    world
}

/// Waits for so many further lines.
fn goes_on(world: &World, more: usize) {
    let before = ledger(world).len();
    eventually("it goes on", || ledger(world).len() >= before + more);
}

/// Each second has one run with one outcome, and one line where that says so; what did not succeed.
fn balances(world: &World) -> Vec<Run> {
    let mut runs = Vec::new();
    let until = ledger(world).iter().map(|line| line.scheduled_at).max();
    eventually("every run has its outcome", || {
        runs = world.runs("web/tick");
        runs.retain(|run| Some(millis(&run.scheduled_at)) <= until);
        runs.iter().all(|run| run.outcome.is_some())
    });
    let mut lines: BTreeMap<i64, Vec<Line>> = BTreeMap::new();
    for line in ledger(world) {
        lines.entry(line.scheduled_at).or_default().push(line);
    }
    let mut at: Vec<i64> = runs.iter().map(|run| millis(&run.scheduled_at)).collect();
    at.sort_unstable();
    let wanted: Vec<i64> = (at[0]..=*at.last().unwrap()).step_by(1_000).collect();
    assert_eq!(at, wanted, "each second once");
    for run in &runs {
        let written = lines.get(&millis(&run.scheduled_at)).map_or(0, Vec::len);
        assert_eq!(written, usize::from(run.is("succeeded")), "{run:?}");
    }
    runs.retain(|run| !run.is("succeeded"));
    tell(&format!("{} occurrences, {} not run", at.len(), runs.len()));
    runs
}

#[test]
fn a_center_whose_clock_is_ahead_and_steps_further_for_a_second_loses_nothing() {
    let world = with_center(TEN_MINUTES);
    is_off(&world, "a1", -TEN_MINUTES);
    goes_on(&world, 5);
    for line in ledger(&world) {
        let late = line.started_at + TEN_MINUTES - line.scheduled_at;
        assert!((0..60_000).contains(&late), "{line:?}");
    }
    shift(&world, "center", 2 * TEN_MINUTES);
    until(now() + 1_000);
    shift(&world, "center", TEN_MINUTES);
    goes_on(&world, 8);
    assert_eq!(balances(&world), []);
}

#[test]
fn a_center_whose_clock_is_behind_is_followed() {
    let world = with_center(-TEN_MINUTES);
    is_off(&world, "a1", TEN_MINUTES);
    goes_on(&world, 5);
    assert_eq!(balances(&world), []);
}

#[test]
fn a_center_whose_clock_is_set_back_and_right_again_runs_nothing_twice() {
    let world = with_center(0);
    goes_on(&world, 4);
    shift(&world, "center", -TEN_MINUTES);
    until(now() + 1_000);
    shift(&world, "center", 0);
    goes_on(&world, 8);
    for run in balances(&world) {
        assert!(run.is("missed") && !run.reason.is_empty(), "{run:?}");
    }
}
