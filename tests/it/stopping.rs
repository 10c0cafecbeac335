//! Ending what does not want to end.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use std::time::Instant;

use rustix::process::Signal;

use crate::world::{World, eventually, is_alive, processes_with, tell};

/// Ignores TERM, double-forks, leaves its session, drops its environment, and forks on and on.
const HOSTILE: &str = include_str!("../workload/hostile.sh");

/// Every process that the hostile command told of.
fn told(world: &World) -> Vec<u32> {
    let told = world.written("pids");
    told.lines().map(|line| line.parse().unwrap()).collect()
}

fn living(world: &World) -> Vec<u32> {
    let mut living = processes_with(&world.work_name(""));
    living.extend(told(world).into_iter().filter(|pid| is_alive(*pid)));
    living.sort_unstable();
    living.dedup();
    living
}

fn hostile() -> World {
    let world = World::small();
    std::fs::write(world.work("hostile.sh"), HOSTILE).unwrap();
    let script = world.work_name("hostile.sh");
    let pids = format!("PIDS={}", world.work_name("pids"));
    world.add("web/quiet", &["--daemon"], &["sleep", "10000"]);
    world.add(
        "web/hostile",
        &["--rule", "0 0 1 1 *", "--grace", "1s", "--env", &pids],
        &["sh", &script],
    );
    world.must(&["run", "web/hostile"]);
    eventually("all four of it are there", || told(&world).len() >= 4);
    world
}

/// Of a hostile command nothing is left, and its neighbour lives.
fn is_over(world: &World, since: Instant, how: &str) {
    let neighbour = world.daemon_pids("web/quiet", 1);
    eventually("no process of it is left", || living(world).is_empty());
    tell(&format!(
        "hostile, {how}: nothing left after {:?} (grace 1 s)",
        since.elapsed()
    ));
    assert_eq!(world.daemon_pids("web/quiet", 1), neighbour);
}

#[test]
fn stop_leaves_nothing_of_a_command_that_ignores_term_and_hides() {
    let world = hostile();
    let since = Instant::now();
    world
        .ucron(&["stop", "web/hostile"])
        .exits(0)
        .says("1 process");
    is_over(&world, since, "stop");
    let run = world.ended("web/hostile");
    assert!(run.is("stopped") && run.reason.contains("admin"), "{run:?}");
}

#[test]
fn kill_ends_this_run_only() {
    let world = hostile();
    let since = Instant::now();
    let run = world.runs("web/hostile").pop().unwrap();
    world.must(&["kill", &run.run_id]);
    is_over(&world, since, "kill");
    assert!(world.ended("web/hostile").is("stopped"));
    assert_eq!(world.json(&["show", "web/hostile"])["enabled"], true);
    let absent = world.ucron(&["kill", "0000000000000000000000000z"]);
    assert_eq!(absent.code, 3, "{absent:?}");
}

#[test]
fn a_timeout_leaves_nothing_of_it_either() {
    let world = hostile();
    let run = world.runs("web/hostile").pop().unwrap();
    world.must(&["kill", &run.run_id]);
    world.ended("web/hostile");
    std::fs::remove_file(world.work("pids")).unwrap();
    world.must(&["edit", "web/hostile", "--timeout", "2s"]);
    let since = Instant::now();
    world.must(&["run", "web/hostile"]);
    let run = world.run_where("web/hostile", "timed out", |run| run.is("timed_out"));
    assert!(run.exit_code.is_none() || run.signal.is_none(), "{run:?}");
    is_over(&world, since, "timeout of 2 s");
}

#[test]
fn stop_finish_lets_end_what_runs() {
    let world = World::small();
    world.add("web/t", &["--rule", "@every 300ms"], &["sleep 2; exit 5"]);
    world.run_where("web/t", "runs", |run| {
        run.outcome.is_none() && run.pid.is_some()
    });
    world.must(&["stop", "--finish", "web/t"]);
    let run = world.run_where("web/t", "came to its end", |run| run.exit_code.is_some());
    assert_eq!(run.exit_code, Some(5));
    eventually("nothing is open", || {
        world.runs("web/t").iter().all(|run| run.outcome.is_some())
    });
}

#[test]
fn stop_finish_leaves_a_daemons_processes_until_they_end_and_starts_no_more() {
    let mut world = World::small();
    let gate = world.work_name("gate");
    let line = format!("while ! test -e {gate}.$UCRON_SLOT; do sleep 0.05; done; exit 5");
    let flags = ["--daemon", "--processes", "3"];
    world.add("web/d", &flags, &[&line]);
    let pids = world.daemon_pids("web/d", 3);
    world.must(&["stop", "--finish", "web/d"]);
    world.kill_agent("a1");
    let keeper = world.keeper_pid("a1");
    crate::world::signal(keeper, Signal::KILL);
    eventually("the keeper is gone", || !is_alive(keeper));
    world.start_agent("a1");
    eventually("each slot says that it is left to end", || {
        let slots = world.json(&["ps", "web/d"]);
        let mut slots = slots.as_array().unwrap().iter();
        let said = "runs until it ends by itself; ";
        slots.clone().count() == 3
            && slots.all(|slot| slot["reason"].as_str().unwrap().starts_with(said))
    });
    assert_eq!(world.daemon_pids("web/d", 3), pids);
    std::fs::write(format!("{gate}.0"), "").unwrap();
    let pid_of = |slot: u64| pids[&("a1".to_owned(), slot)];
    world.run_where("web/d", "the first came to its end", |run| {
        run.pid == Some(pid_of(0)) && run.outcome.is_some()
    });
    assert_eq!(world.daemon_pids("web/d", 2).len(), 2);
    std::fs::remove_file(format!("{gate}.0")).unwrap();
    world.must(&["start", "web/d"]);
    let again = world.daemon_pids("web/d", 3);
    assert!((1..3).all(|slot| again[&("a1".to_owned(), slot)] == pid_of(slot)));
    world.must(&["stop", "--finish", "web/d"]);
    world.must(&["stop", "web/d"]);
    eventually("a stop ends what was left", || {
        !again.values().any(|pid| is_alive(*pid))
    });
}

#[test]
fn a_stop_that_an_agent_cannot_hear_names_it_and_holds_when_it_comes_back() {
    let mut world = World::small();
    world.add("web/t", &["--rule", "@every 500ms"], &["exec sleep 10000"]);
    let run = world.run_where("web/t", "runs", |run| run.pid.is_some());
    world.kill_agent("a1");
    eventually("the center knows", || {
        world.agent("a1")["state"] == "offline"
    });
    world.ucron(&["stop", "web/t"]).exits(7).says("a1");
    assert!(is_alive(run.pid.unwrap()));
    world.start_agent("a1");
    eventually("it ends when the agent is back", || {
        !is_alive(run.pid.unwrap())
    });
    world.run_where("web/t", "stopped", |now| {
        now.run_id == run.run_id && now.is("stopped")
    });
}

#[test]
fn kill_sends_the_signal_asked_for() {
    let world = World::small();
    let line = format!(
        "trap 'echo usr1 >>{}' USR1; while :; do sleep 0.1; done",
        world.work_name("signals")
    );
    world.add("web/t", &["--rule", "0 0 1 1 *"], &[&line]);
    world.must(&["run", "web/t"]);
    let run = world.run_where("web/t", "runs", |run| run.pid.is_some());
    eventually("the trap is set", || {
        world.must(&["kill", &run.run_id, "--signal", "USR1"]);
        world.written("signals").contains("usr1") || !is_alive(run.pid.unwrap())
    });
    crate::world::signal(run.pid.unwrap(), Signal::KILL);
    world.ended("web/t");
}

#[test]
fn what_may_finish_is_not_ended_by_a_restart_of_the_center() {
    let mut world = World::small();
    let gate = world.work_name("gate");
    let line = format!("while ! test -e {gate}; do sleep 0.05; done; exit 5");
    world.add("web/t", &["--rule", "@every 300ms"], &[&line]);
    let run = world.run_where("web/t", "runs", |run| run.pid.is_some());
    world.must(&["stop", "--finish", "web/t"]);
    world.kill_center();
    world.start_center();
    world.is_online("a1");
    eventually("the center knows of it", || {
        world.json(&["ps"]).as_array().unwrap().len() == 1
    });
    std::fs::write(&gate, "").unwrap();
    let run = world.run_where("web/t", "ended", |now| {
        now.run_id == run.run_id && now.outcome.is_some()
    });
    assert_eq!(run.exit_code, Some(5), "{run:?}");
}
