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
fn the_restart_policy_decides_what_follows_an_end() {
    let world = World::small();
    for (name, restart, exit) in [
        ("web/always", "always", 0),
        ("web/succeeds", "on-failure", 0),
        ("web/fails", "on-failure", 1),
        ("web/never", "never", 1),
    ] {
        let flags = ["--daemon", "--start-seconds", "100ms", "--restart", restart];
        world.add(name, &flags, &[&format!("sleep 0.5; exit {exit}")]);
    }
    for name in ["web/always", "web/fails"] {
        found(&format!("{name} is restarted"), || {
            let slots = world.json(&["ps", name]);
            slots[0]["restarts"].as_u64().filter(|often| *often >= 2)
        });
    }
    for (name, exit) in [("web/succeeds", 0), ("web/never", 1)] {
        let exited = slot(&world, name, 0, "exited");
        assert_eq!(exited["reason"], format!("exited with code {exit}"));
        assert_eq!(exited["restarts"], 0);
        let why = world.must(&["why", name]);
        assert!(why.contains("1 ended for good"), "{why}");
        world.ucron(&["start", name]).exits(0).says("started");
        eventually("it was started once more", || {
            let exited = slot(&world, name, 0, "exited");
            exited["restarts"] == 1
        });
    }
}

#[test]
fn a_slot_in_backoff_says_when_it_goes_on_and_stop_and_start_beat_it() {
    let world = World::small();
    let flags = ["--daemon", "--backoff", "1h", "--start-retries", "9"];
    world.add("web/worker", &flags, &["exit 3"]);
    let waits = slot(&world, "web/worker", 0, "backoff");
    let reason = "exited with code 3 (2 failed starts in a row)";
    assert_eq!(waits["reason"], reason);
    let (since, next) = (&waits["since"], &waits["next_at"]);
    let instant = |time: &Value| crate::world::millis(time.as_str().unwrap());
    let wait = instant(next) - instant(since);
    assert!((1_800_000..=3_600_000).contains(&wait), "{waits}");
    let why = world.must(&["why", "web/worker"]);
    assert!(why.contains("1 waiting to start again"), "{why}");
    assert!(why.contains("; next start "), "{why}");
    world.must(&["start", "web/worker"]);
    eventually("it was tried again, twice", || {
        world.runs("web/worker").len() == 4
    });
    slot(&world, "web/worker", 0, "backoff");
    world.must(&["stop", "web/worker"]);
    eventually("it waits no more", || {
        world.json(&["ps"]).as_array().unwrap().is_empty()
    });
    assert_eq!(world.runs("web/worker").len(), 4);
}

#[test]
fn a_fatal_slot_is_tried_again_on_parole_and_stays_fatal_over_the_keepers_death() {
    let world = World::small();
    let file = format!("FILE={}", world.work_name("table"));
    let common = [
        "--daemon",
        "--start-retries",
        "0",
        "--env",
        &file,
        "--env",
        "BAD=0",
    ];
    let never = [&common[..], &["--parole", "never"]].concat();
    world.add("web/never", &never, &[WHILE_THERE]);
    let parole = [&common[..], &["--parole", "2s"]].concat();
    world.add("web/parole", &parole, &[WHILE_THERE]);
    let fatal = slot(&world, "web/never", 0, "fatal");
    let waits = slot(&world, "web/parole", 0, "fatal");
    assert!(waits["next_at"].is_string(), "{waits}");
    let keeper = world.keeper_pid("a1");
    signal(keeper, Signal::KILL);
    eventually("another keeper comes", || {
        let now = world.keeper_pid("a1");
        now != keeper && is_alive(now)
    });
    std::fs::write(world.work("table"), "").unwrap();
    slot(&world, "web/parole", 0, "running");
    let still = slot(&world, "web/never", 0, "fatal");
    for key in ["reason", "restarts", "since", "next_at"] {
        assert_eq!(still[key], fatal[key], "{key}");
    }
    assert_eq!(world.runs("web/never").len(), 1, "not tried again");
}

#[test]
fn what_is_no_longer_assigned_ends_when_its_agent_is_back() {
    let mut world = World::small();
    for task in ["web/stopped", "web/removed", "web/fewer", "web/kept"] {
        let flags = ["--daemon", "--processes", "2"];
        world.add(task, &flags, &["sleep", "10000"]);
    }
    let pids = |world: &World, task: &str, wanted: usize| world.daemon_pids(task, wanted);
    let [stopped, removed, fewer, kept] =
        ["web/stopped", "web/removed", "web/fewer", "web/kept"].map(|task| pids(&world, task, 2));
    world.kill_agent("a1");
    eventually("its agent is known to be away", || {
        world.agent("a1")["state"] == "offline"
    });
    for change in [
        &["stop", "web/stopped"][..],
        &["rm", "web/removed"],
        &["edit", "web/fewer", "--processes", "1"],
    ] {
        world.ucron(change).says("a1");
    }
    let of_three = [&stopped, &removed, &fewer];
    let mut all = of_three.into_iter().flat_map(|pids| pids.values());
    assert!(all.all(|pid| is_alive(*pid)), "nobody could tell the host");
    world.start_agent("a1");
    let mut surplus: Vec<u32> = stopped.values().chain(removed.values()).copied().collect();
    surplus.push(fewer[&("a1".to_owned(), 1)]);
    eventually("what is not assigned has ended", || {
        !surplus.iter().any(|pid| is_alive(*pid))
    });
    assert_eq!(pids(&world, "web/kept", 2), kept);
    let left = pids(&world, "web/fewer", 1);
    assert!(left.iter().all(|(at, pid)| fewer[at] == *pid));
    assert!(
        world
            .json(&["ps", "web/stopped"])
            .as_array()
            .unwrap()
            .is_empty()
    );
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
    for ((_, slot), pid) in &five {
        let environ = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
        let told = format!("UCRON_SLOT={slot}");
        assert!(environ.split('\0').any(|word| word == told), "{told}");
    }
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
