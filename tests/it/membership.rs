//! Who leaves the fleet is cut off at once.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test stops where something is not as it must be, and tells what it measured"
)]

use std::time::Instant;

use crate::world::{CLIENT, World, ask, eventually, is_alive, program};

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
    eprintln!("a removed agent was cut off after {:?}", begun.elapsed());
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

#[test]
fn a_removed_operators_link_is_cut() {
    let world = World::small();
    let token = world.must(&["token", "operator", "ann"]);
    world.must(&["grant", "ann", "viewer"]);
    let mut login = program(CLIENT);
    login.args(["login", &world.address(), "--home"]);
    ask(login.arg(world.path("ann")), &token).exits(0);
    let mut follow = program(CLIENT);
    follow
        .arg("--home")
        .arg(world.path("ann"))
        .args(["events", "-f"]);
    follow
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut follow = crate::world::Running::new(follow.spawn().unwrap());
    world.add("web/t", &["--rule", "0 0 1 1 *"], &["true"]);
    follow.shows("web/t");
    assert!(is_alive(follow.pid()));
    let begun = Instant::now();
    world.must(&["operator", "rm", "ann", "--yes"]);
    let status = follow.ended();
    eprintln!(
        "a removed operator was cut off after {:?}: {}",
        begun.elapsed(),
        follow.err()
    );
    assert_ne!(status.code(), Some(0));
    let answer = world.as_operator("ann", &["ls"]);
    assert_ne!(answer.code, 0, "{answer:?}");
}

#[test]
fn a_role_that_is_taken_away_is_gone_from_a_stream_too() {
    let world = World::small();
    let token = world.must(&["token", "operator", "ann"]);
    world.must(&["grant", "ann", "viewer", "--group", "web"]);
    let mut login = program(CLIENT);
    login.args(["login", &world.address(), "--home"]);
    ask(login.arg(world.path("ann")), &token).exits(0);
    let mut follow = program(CLIENT);
    follow
        .arg("--home")
        .arg(world.path("ann"))
        .args(["events", "-f"]);
    follow
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let follow = crate::world::Running::new(follow.spawn().unwrap());
    world.add("web/seen", &["--rule", "0 0 1 1 *"], &["true"]);
    follow.shows("web/seen");
    world.must(&["ungrant", "ann", "viewer", "--group", "web"]);
    world.add("web/hidden", &["--rule", "@every 200ms"], &["true"]);
    world.ended("web/hidden");
    assert!(!follow.out().contains("web/hidden"), "{}", follow.out());
}
