//! Who leaves the fleet is cut off at once.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use std::process::Stdio;
use std::time::Instant;

use crate::world::{CLIENT, Running, World, ask, eventually, program, tell};

#[test]
fn a_removed_agents_link_is_cut() {
    let world = World::new(&[("a1", "web"), ("a2", "web")]);
    world.add("web/t", &["--rule", "@every 200ms"], &["true"]);
    eventually("both run it", || {
        let runs = world.runs("web/t");
        ["a1", "a2"]
            .iter()
            .all(|name| runs.iter().any(|run| run.agent.as_deref() == Some(name)))
    });
    let begun = Instant::now();
    world.must(&["agent", "rm", "a1", "--yes"]);
    eventually("the agent knows that it is out", || {
        let log = std::fs::read_to_string(world.path("a1.log")).unwrap();
        log.contains("removed") || log.contains("unknown") || log.contains("not a member")
    });
    tell(&format!(
        "a removed agent was cut off after {:?}",
        begun.elapsed()
    ));
    let agents = world.json(&["agents"]);
    assert_eq!(agents.as_array().unwrap().len(), 1);
    let newest = world.runs("web/t").pop().unwrap();
    eventually("the other goes on", || {
        world
            .runs("web/t")
            .iter()
            .any(|run| run.scheduled_at > newest.scheduled_at && run.is("succeeded"))
    });
}

/// An operator who has logged in and follows the events.
fn follower(world: &World, operator: &str) -> Running {
    let token = world.must(&["token", "operator", operator]);
    world.must(&["grant", operator, "viewer", "--group", "web"]);
    let mut login = program(CLIENT);
    login.args(["login", &world.address(), "--home"]);
    ask(login.arg(world.path(operator)), &token).exits(0);
    let mut follow = program(CLIENT);
    follow.arg("--home").arg(world.path(operator));
    follow.args(["events", "-f"]);
    let child = follow.stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = Running::new(child.spawn().unwrap());
    world.add("web/seen", &["--rule", "@every 200ms"], &["true"]);
    running.shows("web/seen");
    running
}

#[test]
fn a_removed_operators_link_is_cut() {
    let world = World::small();
    let mut follow = follower(&world, "ann");
    let begun = Instant::now();
    world.must(&["operator", "rm", "ann", "--yes"]);
    let status = follow.ended();
    tell(&format!(
        "a removed operator was cut off after {:?}: {}",
        begun.elapsed(),
        follow.err()
    ));
    assert_ne!(status.code(), Some(0));
    let answer = world.as_operator("ann", &["ls"]);
    assert_ne!(answer.code, 0, "{answer:?}");
}

#[test]
fn a_role_that_is_taken_away_is_gone_from_a_stream_too() {
    let world = World::small();
    let follow = follower(&world, "ann");
    world.must(&["ungrant", "ann", "viewer", "--group", "web"]);
    world.add("web/hidden", &["--rule", "@every 200ms"], &["true"]);
    world.ended("web/hidden");
    world.add("web/later", &["--rule", "@every 200ms"], &["true"]);
    world.ended("web/later");
    assert!(!follow.out().contains("web/hidden"), "{}", follow.out());
}
