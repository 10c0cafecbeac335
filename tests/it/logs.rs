//! What commands write: in the center, on the host, and live. Events and status.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use crate::world::{World, eventually};

const NEVER: [&str; 2] = ["--rule", "0 0 1 1 *"];

#[test]
fn both_streams_come_in_order_and_as_they_are() {
    let world = World::small();
    world.add(
        "web/t",
        &NEVER,
        &["echo one; echo two >&2; printf 'three\\033[2J'"],
    );
    let run = world.run_now("web/t");
    assert_eq!(
        world.must(&["logs", "web/t", "--raw"]),
        "one\ntwo\nthree\u{1b}[2J"
    );
    let shown = world.must(&["logs", &run.run_id]);
    assert!(shown.starts_with("one\ntwo\nthree"), "{shown:?}");
    assert_eq!(
        world
            .must(&["logs", "web/t", "-n", "1", "--grep", "t"])
            .lines()
            .count(),
        1
    );
    let shown = world.json(&["show", &run.run_id]);
    assert!(
        shown["tail"].is_null(),
        "nothing is returned that was not asked for"
    );
}

#[test]
fn the_tail_of_a_long_output_is_returned_and_the_rest_is_on_the_host() {
    let world = World::small();
    world.add(
        "web/t",
        &[&NEVER[..], &["--output=tail"]].concat(),
        &["seq 1 40000"],
    );
    let run = world.run_now("web/t");
    let tail = world.tail(&run);
    assert!(
        tail.ends_with("39999\n40000\n"),
        "{}",
        &tail[tail.len() - 50..]
    );
    assert!(tail.len() <= 64 * 1024, "{}", tail.len());
    let all = world.must(&["logs", "web/t", "-n", "all"]);
    assert_eq!(all.lines().count(), 40000);
    assert_eq!(world.must(&["logs", "web/t"]).lines().count(), 200);
}

#[test]
fn logs_are_followed_live_to_the_end_of_the_run() {
    let world = World::small();
    let gate = world.work_name("gate");
    let line = format!("echo begin; while ! test -e {gate}; do sleep 0.05; done; echo end");
    world.add("web/t", &NEVER, &[&line]);
    world.must(&["run", "web/t"]);
    world.run_where("web/t", "runs", |run| run.pid.is_some());
    let mut follow = world.spawn(&["logs", "-f", "web/t"]);
    follow.shows("begin");
    assert!(!follow.out().contains("end"));
    std::fs::write(&gate, "").unwrap();
    assert!(follow.ended().success());
    eventually("the end was shown", || follow.out().ends_with("end\n"));
}

#[test]
fn a_run_is_followed_by_who_starts_it() {
    let world = World::small();
    world.add("web/t", &NEVER, &["echo hello; exit 3"]);
    let answer = world.ucron(&["run", "-f", "web/t"]).exits(1);
    assert!(answer.out.contains("hello"), "{answer:?}");
}

#[test]
fn a_daemons_log_goes_on() {
    let world = World::small();
    world.add(
        "web/d",
        &["--daemon"],
        &["while :; do echo tick; sleep 0.2; done"],
    );
    let mut follow = world.spawn(&["logs", "-f", "web/d"]);
    eventually("it ticks", || follow.out().matches("tick").count() > 5);
    assert!(!follow.has_ended());
}

#[test]
fn events_tell_every_end_and_go_on_after_a_cursor() {
    let world = World::small();
    let follow = world.spawn(&["events", "-f"]);
    world.add("web/t", &["--rule", "@every 300ms"], &["exit 3"]);
    follow.shows("run_ended web/t a1 failed");
    world.must(&["stop", "web/t"]);
    follow.shows("task_stopped web/t");
    for line in follow.out().lines() {
        let time = line.split(' ').next().unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{line}");
    }
    let told = world.must(&["events", "-o", "json"]);
    let cursors: Vec<String> = told
        .lines()
        .map(|line| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            event["cursor"].as_str().unwrap().to_owned()
        })
        .collect();
    let rest = world.must(&["events", "--since", &cursors[1], "-q"]);
    assert_eq!(rest.lines().next(), Some(cursors[2].as_str()));
}

#[test]
fn status_tells_what_is_wrong() {
    let mut world = World::small();
    world.ucron(&["status", "--check"]).exits(0);
    let status = world.json(&["status"]);
    assert_eq!(
        (&status["role"], &status["agents"]["online"]),
        (&"leader".into(), &1.into())
    );
    world.kill_agent("a1");
    eventually("the center misses the agent", || {
        world.ucron(&["status", "--check"]).code == 1
    });
    world.ucron(&["status"]).exits(0);
    assert_eq!(world.json(&["status"])["agents"]["offline"], 1);
}

#[test]
fn reading_never_fails_because_an_agent_is_away() {
    let mut world = World::small();
    world.add(
        "web/t",
        &["--rule", "0 0 1 1 *", "--output=tail"],
        &["echo kept"],
    );
    let run = world.run_now("web/t");
    world.kill_agent("a1");
    eventually("the center misses the agent", || {
        world.agent("a1")["state"] == "offline"
    });
    for args in [
        &["ls"][..],
        &["runs"],
        &["ps"],
        &["show", "web/t"],
        &["agents"],
    ] {
        world.ucron(args).exits(0);
    }
    let shown = world.ucron(&["logs", &run.run_id]).exits(0);
    assert!(shown.out.contains("kept"), "{shown:?}");
}
