//! The slots of daemons: what an operator sees of them, does to them, and what a host's reboot does.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use rustix::process::Signal;
use serde_json::Value;

use crate::world::{AGENT, World, eventually, found, is_alive, needs_root, program, signal};

/// A shell line that runs as long as its file is there when it starts.
const WHILE_THERE: &str = "[ \"$UCRON_SLOT\" != \"${BAD:-none}\" ] || [ -e \"$FILE\" ] || { echo no table; exit 3; }; exec sleep 10000";

fn slot(world: &World, task: &str, slot: u64, state: &str) -> Value {
    found(&format!("slot {slot} of {task} is {state}"), || {
        let slots = world.json(&["ps", task]);
        let mut slots = slots.as_array().unwrap().iter();
        let wanted = |view: &&Value| view["slot"] == slot && view["state"] == state;
        slots.find(wanted).cloned()
    })
}

#[test]
fn a_fatal_slot_says_why_everywhere_and_start_revives_it_alone() {
    let world = World::small();
    let file = format!("FILE={}", world.work_name("table"));
    let flags = [
        "--daemon",
        "--processes",
        "2",
        "--start-retries",
        "0",
        "--parole",
        "never",
        "--env",
        &file,
        "--env",
        "BAD=1",
    ];
    world.add("web/worker", &flags, &[WHILE_THERE]);
    let fatal = slot(&world, "web/worker", 1, "fatal");
    let reason =
        "ended once within 1s of its start; last: exited with code 3; last output: no table";
    assert_eq!(fatal["reason"], reason);
    assert_eq!(fatal["next_at"], Value::Null);
    let healthy = slot(&world, "web/worker", 0, "running");
    assert_eq!(healthy["reason"], "runs");
    for args in [
        ["status", "--utc"],
        ["why", "web/worker"],
        ["show", "web/worker"],
        ["ps", "web/worker"],
    ] {
        let answer = world.ucron(&args);
        assert!(answer.out.contains(reason), "{args:?}: {answer:?}");
    }
    let why = world.must(&["why", "web/worker"]);
    assert!(why.contains("1 of 2 slots run, 1 fatal"), "{why}");
    std::fs::write(world.work("table"), "").unwrap();
    world.must(&["start", "web/worker"]);
    slot(&world, "web/worker", 1, "running");
    let same = slot(&world, "web/worker", 0, "running");
    assert_eq!(same["run_id"], healthy["run_id"], "left alone");
    assert_eq!(same["started_at"], healthy["started_at"]);
}

#[test]
fn a_restart_one_by_one_stops_at_the_slot_that_does_not_come_up() {
    let world = World::small();
    let file = format!("FILE={}", world.work_name("table"));
    std::fs::write(world.work("table"), "").unwrap();
    let flags = [
        "--daemon",
        "--processes",
        "3",
        "--start-retries",
        "0",
        "--start-seconds",
        "200ms",
        "--parole",
        "never",
        "--env",
        &file,
        "--env",
        "BAD=1",
    ];
    world.add("web/worker", &flags, &[WHILE_THERE]);
    let before = world.daemon_pids("web/worker", 3);
    world.must(&["restart", "web/worker", "--one-by-one"]);
    let all_new = found("three new processes", || {
        let now = world.daemon_pids("web/worker", 3);
        now.iter()
            .all(|(at, pid)| before[at] != *pid)
            .then_some(now)
    });
    std::fs::remove_file(world.work("table")).unwrap();
    world.must(&["restart", "web/worker", "--one-by-one"]);
    let fatal = slot(&world, "web/worker", 1, "fatal");
    let said = fatal["reason"].as_str().unwrap();
    assert!(
        said.starts_with("the restart one by one stopped here, before slot 2: "),
        "{said}"
    );
    let left = slot(&world, "web/worker", 2, "running");
    let said = "runs, and was not restarted, because slot 1 did not come up";
    eventually("the slot that was left alone says so", || {
        slot(&world, "web/worker", 2, "running")["reason"] == said
    });
    assert_eq!(left["pid"], all_new[&("a1".to_owned(), 2)]);
}

#[test]
fn more_and_fewer_processes_touch_no_other_slot() {
    let world = World::small();
    world.add(
        "web/worker",
        &["--daemon", "--processes", "2"],
        &["sleep", "10000"],
    );
    let two = world.daemon_pids("web/worker", 2);
    world.must(&["edit", "web/worker", "--processes", "5"]);
    let five = world.daemon_pids("web/worker", 5);
    assert!(two.iter().all(|(at, pid)| five[at] == *pid));
    let mut pids: Vec<_> = five.values().collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 5, "each slot has a process of its own");
    world.must(&["edit", "web/worker", "--processes", "1"]);
    let one = world.daemon_pids("web/worker", 1);
    assert!(one.iter().all(|(at, pid)| two[at] == *pid));
    eventually("the others have gone", || {
        five.values().filter(|pid| is_alive(**pid)).count() == 1
    });
}

#[test]
fn its_rule_restarts_a_daemon_at_each_occurrence() {
    let world = World::small();
    world.add(
        "web/worker",
        &["--daemon", "--rule", "@every 2s"],
        &["sleep", "10000"],
    );
    let restarted = world.run_where("web/worker", "restarted by its rule", |run| {
        run.is("stopped") && run.reason.starts_with("restarted by its rule at ")
    });
    let again = |run: &crate::world::Run| run.is("stopped") && run.run_id != restarted.run_id;
    world.run_where("web/worker", "restarted again", again);
    let why = world.must(&["why", "web/worker"]);
    assert!(why.contains("restarted by its rule next: "), "{why}");
}

#[test]
fn draining_ends_daemons_only_where_that_is_asked_for() {
    let world = World::new(&[("a1", "web"), ("a2", "web")]);
    world.add("web/worker", &["--daemon"], &["sleep", "10000"]);
    world.add(
        "web/leader",
        &["--daemon", "--target", "one"],
        &["sleep", "10000"],
    );
    let workers = world.daemon_pids("web/worker", 2);
    let leader = world.daemon_pids("web/leader", 1);
    let ((holder, _), first) = leader.first_key_value().unwrap();
    world.must(&["agent", "drain", holder]);
    assert_eq!(world.daemon_pids("web/worker", 2), workers);
    assert_eq!(world.daemon_pids("web/leader", 1), leader);
    world.must(&["agent", "drain", holder, "--daemons"]);
    let moved = found("the one daemon has gone elsewhere", || {
        let now = world.daemon_pids("web/leader", 1);
        (now != leader).then_some(now)
    });
    assert_ne!(&moved.first_key_value().unwrap().0.0, holder);
    assert!(!is_alive(*first), "never two at a time");
    let left = world.daemon_pids("web/worker", 1);
    assert_ne!(&left.first_key_value().unwrap().0.0, holder);
    world.must(&["agent", "undrain", holder]);
    world.daemon_pids("web/worker", 2);
    assert_eq!(
        world.daemon_pids("web/leader", 1),
        moved,
        "it stays where it is"
    );
}

/// Starts an agent, and with it its keeper, that sees this boot of its host: as root, in a mount namespace of its own.
fn start_agent_in_boot(world: &mut World, agent: &str, boot: &str) {
    let file = world.path(&format!("{agent}.boot"));
    std::fs::write(&file, format!("{boot}\n")).unwrap();
    let line = "mount --bind \"$1\" /proc/sys/kernel/random/boot_id && shift && exec \"$@\"";
    let mut command = program("unshare");
    command.args(["--mount", "sh", "-c", line, "boot"]);
    command.arg(file).arg(AGENT);
    world.start_agent_through(agent, command, &[]);
}

#[test]
fn after_a_reboot_the_agent_starts_its_daemons_without_a_center() {
    if !needs_root("a host's reboot, played in a mount namespace") {
        return;
    }
    let mut world = World::empty();
    world.must(&["group", "add", "web"]);
    world.join("a1", "web");
    start_agent_in_boot(&mut world, "a1", "0b7f5f4e-0000-4000-8000-000000000001");
    world.is_online("a1");
    let note = world.note_flags();
    let flags: Vec<&str> = note
        .iter()
        .map(String::as_str)
        .chain(["--daemon"])
        .collect();
    world.add("web/worker", &flags, &[". $NOTE; exec sleep 10000"]);
    let (_, pid) = world.daemon_pids("web/worker", 1).pop_first().unwrap();
    let keeper = world.keeper_pid("a1");
    world.kill_center();
    world.kill_agent("a1");
    for pid in [keeper, pid] {
        signal(pid, Signal::KILL);
        eventually("the host goes down", || !is_alive(pid));
    }
    start_agent_in_boot(&mut world, "a1", "0b7f5f4e-0000-4000-8000-000000000002");
    eventually("the daemon is started again", || {
        world.written("ledger").lines().count() == 2
    });
    world.start_center();
    world.is_online("a1");
    world.daemon_pids("web/worker", 1);
    let lost = world.run_where("web/worker", "lost", |run| run.is("lost"));
    assert_eq!(lost.reason, "the host was restarted while it ran");
}

#[test]
fn a_restart_one_by_one_goes_from_agent_to_agent_and_stops_at_the_first_that_fails() {
    let world = World::new(&[("a1", "web"), ("a2", "web")]);
    let file = format!("FILE={}", world.work_name("table"));
    std::fs::write(world.work("table"), "").unwrap();
    let flags = [
        "--daemon",
        "--start-retries",
        "0",
        "--start-seconds",
        "300ms",
        "--parole",
        "never",
        "--env",
        &file,
        "--env",
        "BAD=0",
    ];
    world.add("web/worker", &flags, &[WHILE_THERE]);
    let before = world.daemon_pids("web/worker", 2);
    world.must(&["restart", "web/worker", "--one-by-one"]);
    let after = found("two new processes", || {
        let now = world.daemon_pids("web/worker", 2);
        now.iter()
            .all(|(at, pid)| before[at] != *pid)
            .then_some(now)
    });
    let mut starts: Vec<i64> = Vec::new();
    for run in world.json(&["ps", "web/worker"]).as_array().unwrap() {
        starts.push(crate::world::millis(run["started_at"].as_str().unwrap()));
    }
    assert!(
        (starts[0] - starts[1]).abs() >= 300,
        "one came up before the other went: {starts:?}"
    );
    std::fs::remove_file(world.work("table")).unwrap();
    world.must(&["restart", "web/worker", "--one-by-one"]);
    let left = found("one was left alone and says so", || {
        let slots = world.json(&["ps", "web/worker"]);
        let mut slots = slots.as_array().unwrap().iter();
        let said = "runs, and was not restarted, because slot 0 on agent ";
        slots
            .find(|slot| slot["reason"].as_str().unwrap().starts_with(said))
            .cloned()
    });
    let place = (left["agent"].as_str().unwrap().to_owned(), 0);
    assert_eq!(left["pid"], after[&place]);
}
