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

/// How long an agent may be away until only the latest of a task's overdue runs starts.
const OVERDUE: i64 = 10_000;

/// Nothing is lost by an agent that was away for a moment; a machine so busy that it was away for longer may miss,
/// and says why.
fn costs_nothing(books: &Books, longest_away: i64) {
    let others = books.agree();
    if longest_away < OVERDUE - 2000 {
        assert_eq!(others, []);
    }
    for run in others {
        assert!(
            run.is("missed") && run.reason.contains("agent was down"),
            "{run:?}"
        );
    }
}

#[test]
fn an_agent_killed_costs_and_doubles_nothing_and_its_daemons_keep_their_pids() {
    let mut world = fleet();
    let daemon = ["--daemon", "--processes", "2"];
    world.add("web/worker", &daemon, &["sleep", "10000"]);
    let daemons = world.daemon_pids("web/worker", 4);
    let load = Load::begin(&world, 10, &AGENTS, SECONDS);
    load.until_second(6);
    let killed = now();
    world.kill_agent("a1");
    load.until_second(8);
    world.start_agent("a1");
    world.is_online("a1");
    let away = now() - killed;
    assert_eq!(world.daemon_pids("web/worker", 4), daemons);
    let books = load.close(&world);
    costs_nothing(&books, away);
    told("agent killed", &books);
}

#[test]
fn an_agent_restarted_at_once_and_again_costs_nothing() {
    let mut world = fleet();
    let load = Load::begin(&world, 10, &AGENTS, 10);
    let mut longest = 0;
    for second in [3, 6] {
        load.until_second(second);
        let killed = now();
        world.kill_agent("a2");
        world.start_agent("a2");
        world.is_online("a2");
        longest = longest.max(now() - killed);
    }
    let books = load.close(&world);
    costs_nothing(&books, longest);
    told("agent restarted at once", &books);
}
