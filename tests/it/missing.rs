//! What was not run: told in a row after an outage of the center, caught up when an agent is back.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use crate::ledger::{now, until};
use crate::world::{Run, World, eventually, millis};

/// Longer than the lead, for which runs are planned.
const OUTAGE: i64 = 16_000;

fn missed(world: &World, task: &str) -> Vec<Run> {
    let runs = world.runs_of(&["--task", task, "--outcome", "missed"]);
    let down = |run: &Run| run.reason.contains("the center was down");
    runs.into_iter().filter(down).collect()
}

#[test]
fn after_an_outage_of_the_center_the_misses_are_told_in_a_row() {
    let mut world = World::small();
    world.add("web/tick", &["--rule", "* * * * * *"], &["true"]);
    world.ended("web/tick");
    world.kill_center();
    until(now() + OUTAGE);
    world.start_center();
    let down = "what was due meanwhile is missed";
    eventually(down, || missed(&world, "web/tick").len() > 2);
    let misses = missed(&world, "web/tick");
    let at = |run: &Run| millis(&run.scheduled_at);
    assert!(
        misses.is_sorted_by(|a, b| at(a) + 1000 == at(b)),
        "{misses:?}"
    );

    // Each occurrence has its outcome, and one only; what the agent did meanwhile it tells when it is back.
    eventually("every second has its run", || {
        let seconds: Vec<i64> = world.runs("web/tick").iter().map(at).collect();
        seconds.is_sorted_by(|a, b| a + 1000 == *b)
    });

    let table = world.must(&["runs", "--task", "web/tick", "--outcome", "missed"]);
    let line = format!("{} in a row since", misses.len());
    assert!(table.contains(&line), "{line}\n{table}");

    let inside = &misses[1];
    let shown = world.json(&["show", &inside.run_id]);
    assert_eq!(shown["outcome"], "missed");
    assert_eq!(shown["scheduled_at"], inside.scheduled_at.as_str());
    let why = world.must(&["why", "web/tick", &inside.scheduled_at]);
    assert!(why.contains("missed: the center was down"), "{why}");
}

#[test]
fn a_frozen_group_fires_nothing_and_says_so_over_a_restart_of_the_center() {
    let mut world = World::small();
    world.add("web/tick", &["--rule", "@every 1s"], &["true"]);
    world.ended("web/tick");
    let freeze = [
        "group",
        "freeze",
        "web",
        "--until",
        "1h",
        "--reason",
        "move of the database",
    ];
    let would = world.json(&[&freeze[..], &["--dry-run"]].concat());
    assert_eq!(would["done"], false);
    assert_eq!(would["tasks"][0]["task"], "web/tick");
    assert!(would["occurrences"].as_u64().unwrap() > 3_500, "{would}");
    assert!(world.json(&["groups"])[0]["frozen_until"].is_null());

    let frozen = world.ucron(&freeze);
    assert_eq!(frozen.code, 0, "{}", frozen.err);
    assert!(
        frozen.err.contains("group web is frozen until"),
        "{}",
        frozen.err
    );
    let run = world.ucron(&["run", "web/tick"]);
    assert_eq!(run.code, 5, "{}", run.err);
    assert!(run.err.contains("move of the database"), "{}", run.err);
    world.kill_center();
    world.start_center();
    let group = &world.json(&["groups"])[0];
    assert_eq!(group["frozen"], "by admin: move of the database");
    let of_freeze = |run: &Run| run.reason.starts_with("frozen by admin");
    world.run_where("web/tick", "a run that was planned is skipped", |run| {
        run.is("skipped") && of_freeze(run)
    });
    world.run_where("web/tick", "what is due later is missed", |run| {
        run.is("missed") && of_freeze(run)
    });
    let why = world.must(&["why", "web/tick"]);
    assert!(why.contains("on, but group web is frozen until"), "{why}");

    let thawed_at = now();
    world.must(&["group", "thaw", "web"]);
    world.run_where("web/tick", "it fires again", |run| {
        run.is("succeeded") && millis(&run.scheduled_at) > thawed_at
    });
    let again = world.ucron(&["group", "thaw", "web"]);
    assert!(again.err.contains("is not frozen"), "{}", again.err);
    let audit = world.must(&["audit"]);
    assert!(
        audit.contains("group freeze") && audit.contains("group thaw"),
        "{audit}"
    );
}

#[test]
fn an_agent_that_was_away_catches_up_with_the_latest_run() {
    let mut world = World::small();
    world.kill_agent("a1");
    let flags = ["--rule", "@every 20s", "--catch-up", "--output"];
    world.add("web/late", &flags, &["echo $UCRON_CAUSE"]);
    let due = now().div_euclid(20_000) * 20_000 + 20_000;
    until(due + 3_000);
    assert_eq!(world.runs("web/late"), []);
    world.start_agent("a1");
    let run = world.ended("web/late");
    assert!(run.is("succeeded"), "{run:?}");
    assert_eq!(run.cause, "catch-up");
    assert!(run.late_ms.unwrap() >= 2_000, "{run:?}");
    assert_eq!(world.tail(&run), "catch-up\n");
}
