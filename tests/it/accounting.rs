//! Every occurrence exactly once, in the center's history and in the file that the commands wrote, whoever dies
//! meanwhile. The benchmark `accounting` does the same for a full minute each.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use crate::ledger::{Books, Load, now, spread};
use crate::world::{World, tell};

/// Length of a watch.
const SECONDS: i64 = 20;
const AGENTS: [&str; 2] = ["a1", "a2"];

fn fleet() -> World {
    World::new(&AGENTS.map(|agent| (agent, "web")))
}

fn told(how: &str, books: &Books) {
    tell(&format!("late_ms, {how}: {}", spread(&books.lateness())));
}

#[test]
fn every_occurrence_is_run_once_per_target() {
    let world = fleet();
    let load = Load::begin(&world, 10, &AGENTS, SECONDS);
    let books = load.close(&world);
    assert_eq!(books.agree(), []);
    told("undisturbed", &books);
}

#[test]
fn a_center_killed_twice_costs_and_doubles_nothing() {
    let mut world = fleet();
    let load = Load::begin(&world, 10, &AGENTS, SECONDS);
    for second in [4, 11] {
        load.until_second(second);
        world.kill_center();
        load.until_second(second + 3);
        world.start_center();
    }
    let books = load.close(&world);
    assert_eq!(books.agree(), []);
    told("center killed twice", &books);
}

#[test]
fn an_agent_killed_costs_what_was_due_meanwhile_at_most_and_doubles_nothing() {
    let mut world = fleet();
    world.add(
        "web/worker",
        &["--daemon", "--processes", "2"],
        &["sleep", "10000"],
    );
    let daemons = world.daemon_pids("web/worker", 4);
    let load = Load::begin(&world, 10, &AGENTS, SECONDS);
    load.until_second(6);
    let killed = now();
    world.kill_agent("a1");
    load.until_second(8);
    world.start_agent("a1");
    world.is_online("a1");
    let back = now();
    assert_eq!(world.daemon_pids("web/worker", 4), daemons);
    let books = load.close(&world);
    for run in books.agree() {
        let at = crate::world::millis(&run.scheduled_at);
        // Of several overdue runs of one task only the latest starts.
        assert!(
            run.is("missed") && run.reason.contains("agent was down"),
            "{run:?}"
        );
        assert!(
            run.agent.as_deref() == Some("a1") && (killed - 1000..back).contains(&at),
            "{run:?}"
        );
    }
    told("agent killed", &books);
}

#[test]
fn an_agent_restarted_at_once_costs_nothing() {
    let mut world = fleet();
    let load = Load::begin(&world, 10, &AGENTS, 10);
    for second in [3, 6] {
        load.until_second(second);
        world.kill_agent("a2");
        world.start_agent("a2");
    }
    let books = load.close(&world);
    for run in books.agree() {
        // A busy machine may take longer than a second to start it.
        assert!(
            run.is("missed") && run.reason.contains("agent was down"),
            "{run:?}"
        );
    }
    told("agent restarted at once", &books);
}
