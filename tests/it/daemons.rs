//! Daemons: kept alive, whoever dies.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use rustix::process::Signal;

use crate::world::{World, eventually, found, is_alive, processes_with, signal};

/// A fleet with four processes of a daemon.
fn four() -> World {
    let world = World::small();
    world.add(
        "web/worker",
        &["--daemon", "--processes", "4"],
        &["sleep", "10000"],
    );
    world
}

#[test]
fn four_processes_run_and_a_killed_one_is_started_again() {
    let world = four();
    let before = world.daemon_pids("web/worker", 4);
    let slots: Vec<_> = before.keys().map(|(_, slot)| *slot).collect();
    assert_eq!(slots, [0, 1, 2, 3]);
    let slot = before.keys().nth(2).unwrap();
    signal(before[slot], Signal::KILL);
    let after = found("the slot runs again", || {
        let now = world.daemon_pids("web/worker", 4);
        (now[slot] != before[slot]).then_some(now)
    });
    for (place, pid) in before.iter().filter(|(place, _)| *place != slot) {
        assert_eq!(after[place], *pid, "the others are left alone");
    }
    let dead = world.run_where("web/worker", "killed", |run| {
        run.pid == Some(before[slot]) && run.outcome.is_some()
    });
    assert_eq!(
        (dead.signal, dead.cause.as_str(), dead.slot),
        (Some(9), "daemon", 2),
        "{dead:?}"
    );
}

#[test]
fn processes_survive_the_agent_and_the_center_with_the_same_pids() {
    let mut world = four();
    let before = world.daemon_pids("web/worker", 4);
    world.kill_agent("a1");
    world.start_agent("a1");
    world.is_online("a1");
    assert_eq!(world.daemon_pids("web/worker", 4), before);
    world.kill_center();
    world.start_center();
    world.is_online("a1");
    assert_eq!(world.daemon_pids("web/worker", 4), before);
    assert!(world.end_agent("a1").success());
    assert!(before.values().all(|pid| is_alive(*pid)));
    world.start_agent("a1");
    world.is_online("a1");
    assert_eq!(world.daemon_pids("web/worker", 4), before);
    assert_eq!(
        world.runs("web/worker").len(),
        4,
        "each slot was one run all the time"
    );
}

#[test]
fn a_dead_process_is_started_again_while_agent_and_center_are_away() {
    let mut world = World::small();
    let note = world.note_flags();
    let flags: Vec<&str> = note
        .iter()
        .map(String::as_str)
        .chain(["--daemon"])
        .collect();
    world.add("web/worker", &flags, &[". $NOTE; exec sleep 10000"]);
    let (_, pid) = world.daemon_pids("web/worker", 1).pop_first().unwrap();
    world.kill_agent("a1");
    world.kill_center();
    signal(pid, Signal::KILL);
    eventually("the keeper starts it again", || {
        world.written("ledger").lines().count() == 2
    });
    world.start_center();
    world.start_agent("a1");
    world.is_online("a1");
    let (_, new) = world.daemon_pids("web/worker", 1).pop_first().unwrap();
    let line = world.written("ledger").lines().last().unwrap().to_owned();
    assert_eq!(line.split(' ').nth(5), Some(new.to_string().as_str()));
    let dead = world.run_where("web/worker", "killed", |run| {
        run.pid == Some(pid) && run.outcome.is_some()
    });
    assert_eq!(dead.signal, Some(9), "{dead:?}");
}

#[test]
fn processes_survive_the_keeper() {
    let mut world = four();
    let before = world.daemon_pids("web/worker", 4);
    let keeper = world.keeper_pid("a1");
    signal(keeper, Signal::KILL);
    eventually("another keeper comes", || {
        let now = world.keeper_pid("a1");
        now != keeper && is_alive(now)
    });
    assert!(before.values().all(|pid| is_alive(*pid)));
    assert_eq!(world.daemon_pids("web/worker", 4), before);
    let slot = before.keys().next().unwrap();
    signal(before[slot], Signal::KILL);
    eventually("the new keeper keeps it alive", || {
        world.daemon_pids("web/worker", 4)[slot] != before[slot]
    });
    world.kill_agent("a1");
}

#[test]
fn stop_ends_them_start_begins_anew_and_rm_leaves_nothing() {
    let world = four();
    let before = world.daemon_pids("web/worker", 4);
    world
        .ucron(&["stop", "web/worker"])
        .exits(0)
        .says("4 processes");
    eventually("they are gone", || {
        !before.values().any(|pid| is_alive(*pid))
    });
    let ended = || {
        world
            .runs("web/worker")
            .iter()
            .filter(|run| run.is("stopped"))
            .count()
    };
    eventually("four ended as stopped", || ended() == 4);
    world.must(&["start", "web/worker"]);
    let again = world.daemon_pids("web/worker", 4);
    world.must(&["rm", "web/worker"]);
    eventually("they are gone too", || {
        !again.values().any(|pid| is_alive(*pid))
    });
    assert_eq!(world.json(&["ps"]).as_array().unwrap().len(), 0);
}

#[test]
fn restart_brings_the_new_text_and_an_edit_alone_touches_nothing() {
    let world = four();
    let before = world.daemon_pids("web/worker", 4);
    world.must(&["edit", "web/worker", "--", "sleep", "20000"]);
    assert_eq!(world.daemon_pids("web/worker", 4), before);
    world.must(&["restart", "web/worker"]);
    let after = found("four new ones", || {
        let now = world.daemon_pids("web/worker", 4);
        now.values()
            .all(|pid| !before.values().any(|old| old == pid))
            .then_some(now)
    });
    for pid in after.values() {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        assert_eq!(words, b"sleep\x0020000\0");
    }
    world.must(&["edit", "web/worker", "--processes", "2"]);
    let left = world.daemon_pids("web/worker", 2);
    assert!(left.iter().all(|(slot, pid)| after[slot] == *pid));
}

#[test]
fn an_agent_that_leaves_the_group_ends_its_processes() {
    let world = World::new(&[("a1", "web"), ("a2", "web")]);
    world.add("web/worker", &["--daemon"], &["sleep", "10000"]);
    let before = world.daemon_pids("web/worker", 2);
    world.must(&["group", "unassign", "web", "a2"]);
    let left = world.daemon_pids("web/worker", 1);
    assert_eq!(left.keys().next().unwrap().0, "a1");
    eventually("it ended there", || {
        !is_alive(before[&("a2".to_owned(), 0)])
    });
    world.must(&["group", "assign", "web", "a2"]);
    world.daemon_pids("web/worker", 2);
}

#[test]
fn one_that_cannot_start_becomes_fatal_and_says_why() {
    let world = World::small();
    let flags = ["--daemon", "--start-retries", "1", "--parole", "never"];
    world.add("web/broken", &flags, &["echo no such table; exit 3"]);
    let fatal = found("it is fatal", || {
        let processes = world.json(&["ps", "web/broken"]);
        let mut processes = processes.as_array().unwrap().iter();
        processes
            .find(|process| process["state"] == "fatal")
            .cloned()
    });
    assert_eq!(fatal["pid"], serde_json::Value::Null);
    let runs = world.runs("web/broken");
    assert!(
        runs.iter().filter(|run| run.exit_code == Some(3)).count() >= 2,
        "{runs:?}"
    );
    assert!(processes_with("no such table").is_empty());
}
