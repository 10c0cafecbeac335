//! Everything that is under way outlives the agent, its upgrade, and the keeper's: same pids, every byte of output,
//! every exit status; timeouts strike, retries come, stop sequences end.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::ledger::ledger;
use crate::world::{
    AGENT, KEEPER, Run, World, eventually, is_alive, millis, needs_root, program, signal,
};

const YEARLY: &str = "0 0 1 1 *";

/// Programs as a package lays them down: replaced by renaming new files over them.
struct Installed(PathBuf);

impl Installed {
    fn new(world: &World) -> Self {
        let installed = Self(world.path("bin"));
        std::fs::create_dir(&installed.0).unwrap();
        installed.replace();
        installed
    }

    fn agent(&self) -> PathBuf {
        self.0.join("ucron-agent")
    }

    fn replace(&self) {
        for from in [AGENT, KEEPER] {
            let name = Path::new(from).file_name().unwrap();
            let new = self.0.join("new");
            std::fs::copy(from, &new).unwrap();
            std::fs::rename(new, self.0.join(name)).unwrap();
        }
    }
}

/// A run of everything that takes time.
struct Under {
    counter: Run,
    stopped: Run,
    daemons: Vec<u32>,
}

fn add(world: &World, task: &str, more: &[&str], line: &str) {
    let note = world.note_flags();
    let mut flags: Vec<&str> = note.iter().map(String::as_str).collect();
    flags.extend(["--rule", YEARLY]);
    flags.extend(more);
    world.add(task, &flags, &[line]);
}

fn running(world: &World, task: &str) -> Run {
    world.must(&["run", task]);
    world.run_where(task, "runs", |run| run.pid.is_some())
}

impl Under {
    fn begin(world: &World) -> Self {
        let go = world.work_name("go");
        let count = format!(
            "n=0; while ! test -e {go}; do n=$((n+1)); echo $n; sleep 0.01; done; echo end $n; exit 3"
        );
        add(world, "web/counter", &[], &count);
        add(
            world,
            "web/timeout",
            &["--timeout", "6s"],
            "exec sleep 1000",
        );
        let retries = ["--retries", "1", "--backoff", "6s"];
        add(world, "web/retry", &retries, ". $NOTE; exit 3");
        let deaf = "trap '' TERM; . $NOTE; while :; do sleep 0.1; done";
        add(world, "web/stopped", &["--grace", "6s"], deaf);
        world.add(
            "web/worker",
            &["--daemon", "--processes", "2"],
            &["sleep", "10000"],
        );
        let daemons = world.daemon_pids("web/worker", 2).into_values().collect();
        let counter = running(world, "web/counter");
        let stopped = running(world, "web/stopped");
        eventually("it is deaf", || {
            ledger(world).iter().any(|line| line.task == "web/stopped")
        });
        world.must(&["run", "web/timeout"]);
        world.must(&["run", "web/retry"]);
        world.must(&["stop", "web/stopped"]);
        Self {
            counter,
            stopped,
            daemons,
        }
    }

    fn check(&self, world: &World) {
        let timeout = world.ended("web/timeout");
        assert!(timeout.is("timed_out"), "{timeout:?}");
        let ran = millis(timeout.finished_at.as_deref().unwrap())
            - millis(timeout.started_at.as_deref().unwrap());
        // Both instants are the center's time, of which a new agent has a new estimate.
        assert!(ran >= 5500, "{timeout:?}");
        let retry = world.ended("web/retry");
        assert_eq!((retry.attempt, retry.exit_code), (2, Some(3)), "{retry:?}");
        let lines = ledger(world);
        let attempts = lines.iter().filter(|line| line.task == "web/retry");
        assert_eq!(
            attempts.map(|line| line.attempt).collect::<Vec<_>>(),
            [1, 2]
        );
        let stopped = world.ended("web/stopped");
        assert!(stopped.is("stopped"), "{stopped:?}");
        assert_eq!(
            (stopped.run_id, stopped.pid),
            (self.stopped.run_id.clone(), self.stopped.pid)
        );
        assert!(self.daemons.iter().all(|pid| is_alive(*pid)));
        assert_eq!(
            world
                .daemon_pids("web/worker", 2)
                .into_values()
                .collect::<Vec<_>>(),
            self.daemons
        );
        assert!(is_alive(self.counter.pid.unwrap()));
        std::fs::write(world.work("go"), "").unwrap();
        let counter = world.ended("web/counter");
        assert_eq!(
            (counter.pid, counter.exit_code),
            (self.counter.pid, Some(3)),
            "{counter:?}"
        );
        no_hole(&world.must(&["logs", "-n", "all", "web/counter"]));
    }
}

/// 1 to n, then `end n`.
fn no_hole(output: &str) {
    let mut lines: Vec<&str> = output.lines().collect();
    let last = lines.pop().unwrap();
    assert_eq!(last, format!("end {}", lines.len()));
    for (at, line) in lines.iter().enumerate() {
        assert_eq!(*line, (at + 1).to_string());
    }
}

fn outlives(trees: &str, end: impl Fn(&mut World, &Installed)) {
    let mut world = World::empty();
    world.must(&["group", "add", "web"]);
    world.join("a1", "web");
    let settings = format!("tree = \"{trees}\"\n");
    std::fs::write(world.path("a1/keeper.toml"), settings).unwrap();
    let installed = Installed::new(&world);
    world.start_agent_through("a1", program(installed.agent()), &[]);
    world.is_online("a1");
    let under = Under::begin(&world);
    end(&mut world, &installed);
    world.is_online("a1");
    under.check(&world);
}

#[test]
fn everything_under_way_outlives_a_killed_and_upgraded_agent() {
    outlives("auto", |world, installed| {
        let keeper = world.keeper_pid("a1");
        world.kill_agent("a1");
        installed.replace();
        world.start_agent_through("a1", program(installed.agent()), &[]);
        world.is_online("a1");
        assert!(world.end_agent("a1").success());
        installed.replace();
        world.start_agent_through("a1", program(installed.agent()), &[]);
        assert_eq!(world.keeper_pid("a1"), keeper, "the keeper stays");
    });
}

#[test]
fn everything_under_way_outlives_an_upgraded_keeper_with_sub_reapers() {
    outlives("subreaper", upgrade_keeper);
}

#[test]
fn everything_under_way_outlives_an_upgraded_keeper_with_cgroups() {
    if needs_root("cgroups") {
        outlives("cgroup", upgrade_keeper);
    }
}

fn upgrade_keeper(world: &mut World, installed: &Installed) {
    let old = world.keeper_pid("a1");
    installed.replace();
    let mut stop = program(installed.0.join("ucron-keeper"));
    stop.args(["stop", "--leave", "--state"])
        .arg(world.path("a1"));
    assert!(stop.status().unwrap().success());
    eventually("the agent starts the new keeper", || !is_alive(old));
    // And the hard way.
    let next = world.keeper_pid("a1");
    assert_ne!(next, old);
    signal(next, Signal::KILL);
    eventually("it is gone", || !is_alive(next));
}
