//! Damaged journals of a whole fleet: what is said to operators, and what the agent makes of it.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use std::path::Path;

use rustix::process::Signal;

use crate::ledger::{ledger, now};
use crate::world::{World, eventually, is_alive, signal};

/// Makes every line of a file unreadable but those that end the file.
fn damage(path: &Path, is_hit: impl Fn(usize) -> bool) {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().enumerate().map(|(at, line)| {
        if is_hit(at) {
            "x".repeat(line.len()) + "\n"
        } else {
            format!("{line}\n")
        }
    });
    std::fs::write(path, lines.collect::<String>()).unwrap();
}

fn problems(world: &World) -> String {
    world.json(&["status"])["problems"].to_string()
}

/// An agent whose journal is damaged while it is dead.
fn outlives(is_hit: impl Fn(usize) -> bool) {
    let mut world = World::small();
    let note = world.note_flags();
    let note: Vec<&str> = note.iter().map(String::as_str).collect();
    let go = world.work_name("go");
    let line = format!(". $NOTE; while ! test -e {go}; do sleep 0.02; done; exit 3");
    let flags = |more: &[&'static str]| [&note[..], more].concat();
    world.add(
        "web/worker",
        &["--daemon", "--processes", "2"],
        &["sleep", "10000"],
    );
    let daemons = world.daemon_pids("web/worker", 2);
    world.add(
        "web/over",
        &flags(&["--rule", "0 0 1 1 *"]),
        &[". $NOTE; exit 3"],
    );
    assert_eq!(world.run_now("web/over").exit_code, Some(3));
    world.add("web/long", &flags(&["--rule", "0 0 1 1 *"]), &[&line]);
    world.must(&["run", "web/long"]);
    let long = world.run_where("web/long", "runs", |run| run.pid.is_some());
    let rule = format!("@at {}", ucron::model::UnixMs(now() + 5000));
    let ahead = [&note[..], &["--rule", &rule]].concat();
    world.add("web/ahead", &ahead, &[". $NOTE; exit 3"]);
    let journal = world.path("a1/agent.journal");
    eventually("the plan is on the disk", || {
        std::fs::read_to_string(&journal)
            .unwrap()
            .contains("planned")
    });

    world.kill_agent("a1");
    damage(&journal, is_hit);
    world.start_agent("a1");
    world.is_online("a1");
    eventually("the operators are told", || {
        problems(&world).contains("agent.journal.bad-")
    });
    std::fs::write(&go, "").unwrap();
    let ended = world.ended("web/long");
    assert_eq!(
        (ended.pid, ended.exit_code),
        (long.pid, Some(3)),
        "{ended:?}"
    );
    let ahead = world.ended("web/ahead");
    assert_eq!(ahead.exit_code, Some(3), "planned anew: {ahead:?}");
    assert_eq!(world.daemon_pids("web/worker", 2), daemons);
    let starts = |task: &str| {
        ledger(&world)
            .iter()
            .filter(|line| line.task == task)
            .count()
    };
    for task in ["web/over", "web/long", "web/ahead"] {
        assert_eq!(starts(task), 1, "{task}");
    }
    world.must(&["rm", "web/worker"]);
    eventually("what is withdrawn ends", || {
        daemons.values().all(|pid| !is_alive(*pid))
    });

    let kept = std::fs::read_dir(world.path("a1")).unwrap().flatten();
    for entry in kept.filter(|entry| entry.file_name().to_str().unwrap().contains(".bad-")) {
        std::fs::remove_file(entry.path()).unwrap();
    }
    signal(world.agent_pid("a1"), Signal::HUP);
    eventually("what was looked at is no problem", || {
        !problems(&world).contains(".bad-")
    });
}

#[test]
fn an_agent_outlives_one_damaged_record() {
    outlives(|line| line == 1);
}

#[test]
fn an_agent_outlives_the_loss_of_every_record() {
    outlives(|_| true);
}

#[test]
fn a_torn_last_record_is_cut_off_and_nothing_is_said() {
    let mut world = World::small();
    world.kill_agent("a1");
    let journal = world.path("a1/agent.journal");
    let mut text = std::fs::read(&journal).unwrap();
    text.extend_from_slice(b"0123456789abcdef {\"record\":\"epo");
    std::fs::write(&journal, text).unwrap();
    world.start_agent("a1");
    world.is_online("a1");
    assert_eq!(problems(&world), "[]");
}

#[test]
fn a_keepers_damaged_journal_is_told_to_operators() {
    let mut world = World::small();
    world.add("web/worker", &["--daemon"], &["sleep", "10000"]);
    let before = world.daemon_pids("web/worker", 1);
    let keeper = world.keeper_pid("a1");
    world.kill_agent("a1");
    signal(keeper, Signal::KILL);
    eventually("the keeper is gone", || !is_alive(keeper));
    damage(&world.path("a1/keeper/journal"), |line| line == 0);
    world.start_agent("a1");
    world.is_online("a1");
    eventually("the operators are told", || {
        problems(&world).contains("journal.bad-")
    });
    assert_eq!(world.daemon_pids("web/worker", 1), before);
}
