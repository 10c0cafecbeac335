//! Many deaths at random points, under load: 20 tasks every 2 s, 3 daemons, and one process that prints numbers. A
//! few here; `UCRON_KILLS=200 cargo test --test it enduring -- --nocapture` is the full size, with its numbers.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use rustix::process::Signal;

use crate::ledger::{Line, ledger, now, until};
use crate::world::{
    PATIENCE, Run, World, eventually, is_alive, millis, needs_root, signal, tell, within,
};

const TASKS: i32 = 20;
const YEARLY: &str = "0 0 1 1 *";

/// How many deaths: a few, or what the environment asks for.
fn kills() -> usize {
    let asked = std::env::var("UCRON_KILLS").ok();
    asked.map_or(10, |text| text.parse().unwrap())
}

/// A number below this, another one each time.
fn random(below: u64) -> i64 {
    i64::try_from(RandomState::new().hash_one(0) % below).unwrap()
}

fn pause(least: u64, most: u64) {
    until(now() + i64::try_from(least).unwrap() + random(most - least));
}

struct Load {
    world: World,
    daemons: BTreeMap<String, u32>,
    counter: Run,
    from: i64,
}

impl Load {
    fn begin(trees: &str) -> Self {
        let mut world = World::empty();
        world.must(&["group", "add", "web"]);
        world.join("a1", "web");
        let settings = format!("tree = \"{trees}\"\n");
        std::fs::write(world.path("a1/keeper.toml"), settings).unwrap();
        world.start_agent("a1");
        world.is_online("a1");
        let note = world.note_flags();
        let note: Vec<&str> = note.iter().map(String::as_str).collect();
        for daemon in ["web/d0", "web/d1", "web/d2"] {
            let flags = [&note[..], &["--daemon"]].concat();
            world.add(daemon, &flags, &[". $NOTE; exec sleep 100000"]);
        }
        let pid = |name: &str| *world.daemon_pids(name, 1).values().next().unwrap();
        let daemons = ["web/d0", "web/d1", "web/d2"].map(|name| (name.to_owned(), pid(name)));
        let go = world.work_name("go");
        let count = format!(
            "n=0; while ! test -e {go}; do n=$((n+1)); echo $n; sleep 0.01; done; echo end $n; exit 3"
        );
        world.add("web/counter", &["--rule", YEARLY], &[&count]);
        world.must(&["run", "web/counter"]);
        let counter = world.run_where("web/counter", "runs", |run| run.pid.is_some());
        let ends = world.work_name("ends");
        for task in 0..TASKS {
            let flags = [&note[..], &["--rule", "@every 2s"]].concat();
            let line = format!(
                ". $NOTE; sleep 0.2; echo $UCRON_RUN_ID $(date +%s%3N) >> {ends}; exit {task}"
            );
            world.add(&format!("web/t{task}"), &flags, &[&line]);
        }
        Self {
            daemons: daemons.into(),
            counter,
            from: now(),
            world,
        }
    }

    fn unharmed(&self) {
        let all = self.daemons.values().copied().chain(self.counter.pid);
        for pid in all {
            assert!(is_alive(pid), "process {pid} is gone");
        }
    }

    /// Ends the load; every run of it, once all have their outcome.
    fn close(&self) -> Vec<Run> {
        let world = &self.world;
        world.is_online("a1");
        self.unharmed();
        for (daemon, pid) in &self.daemons {
            assert_eq!(
                world
                    .daemon_pids(daemon, 1)
                    .into_values()
                    .collect::<Vec<_>>(),
                [*pid]
            );
        }
        for task in 0..TASKS {
            world.must(&["stop", "--finish", &format!("web/t{task}")]);
        }
        std::fs::write(world.work("go"), "").unwrap();
        let counter = world.ended("web/counter");
        assert_eq!(
            (counter.pid, counter.exit_code),
            (self.counter.pid, Some(3)),
            "{counter:?}"
        );
        let output = world.must(&["logs", "-n", "all", "web/counter"]);
        let lines: Vec<&str> = output.lines().collect();
        let (last, numbers) = lines.split_last().unwrap();
        assert_eq!(*last, format!("end {}", numbers.len()));
        for (at, line) in numbers.iter().enumerate() {
            assert_eq!(*line, (at + 1).to_string(), "a hole in the sequence");
        }
        let mut runs = Vec::new();
        within(2 * PATIENCE, "every run has its outcome", || {
            runs = (0..TASKS)
                .flat_map(|task| world.runs(&format!("web/t{task}")))
                .collect();
            runs.iter().all(|run| run.outcome.is_some())
        });
        tell(&format!(
            "the process printed {} numbers without a hole",
            numbers.len()
        ));
        runs
    }

    /// Each run has one outcome with the command's own exit code, was started at most once, and not at all where its
    /// outcome says so; the lost ones.
    fn agree<'a>(&self, runs: &'a [Run]) -> Vec<&'a Run> {
        let lines = ledger(&self.world);
        let mut by_run: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
        for line in &lines {
            by_run.entry(&line.run_id).or_default().push(line);
        }
        let twice = by_run.values().find(|lines| lines.len() > 1);
        assert!(twice.is_none(), "started twice: {twice:?}");
        let daemons = lines.iter().filter(|line| line.cause == "daemon").count();
        assert_eq!(daemons, self.daemons.len(), "a second instance of a slot");
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let mut lost = Vec::new();
        for run in runs {
            let code: i32 = run.task.strip_prefix("web/t").unwrap().parse().unwrap();
            let started = by_run.contains_key(run.run_id.as_str());
            let outcome = run.outcome.clone().unwrap();
            match outcome.as_str() {
                "succeeded" | "failed" => {
                    assert!(started && run.exit_code == Some(code), "{run:?}");
                    assert_eq!(run.is("succeeded"), code == 0, "{run:?}");
                }
                "lost" => lost.push(run),
                _ => assert!(!started, "{run:?}"),
            }
            *counts.entry(outcome).or_default() += 1;
        }
        self.is_complete(runs);
        tell(&format!("{} runs: {counts:?}", runs.len()));
        lost
    }

    /// Each instant of each task has one run.
    fn is_complete(&self, runs: &[Run]) {
        for task in 0..TASKS {
            let task = format!("web/t{task}");
            let mut at: Vec<i64> = runs
                .iter()
                .filter(|run| run.task == task)
                .map(|run| millis(&run.scheduled_at))
                .collect();
            at.sort_unstable();
            let expected = (at[0]..=*at.last().unwrap()).step_by(2000);
            assert_eq!(at, expected.collect::<Vec<_>>(), "{task}");
            assert!(at[0] < self.from + 4000, "{task} from its first instant");
        }
    }
}

#[test]
fn an_agent_killed_again_and_again_costs_nothing() {
    let mut load = Load::begin("auto");
    for _ in 0..kills() {
        pause(20, 900);
        load.world.kill_agent("a1");
        pause(0, 100);
        load.world.start_agent("a1");
    }
    let runs = load.close();
    let lost = load.agree(&runs);
    assert!(lost.is_empty(), "{lost:?}");
    tell(&format!("{} kills of the agent, nothing lost", kills()));
}

/// The keeper's absences: from its kill until the next one was ready.
fn kill_keepers(load: &Load) -> Vec<(i64, i64)> {
    let kills = kills().div_ceil(4).max(5);
    let mut absences = Vec::new();
    for _ in 0..kills {
        pause(200, 1800);
        let keeper = load.world.keeper_pid("a1");
        let from = now();
        signal(keeper, Signal::KILL);
        eventually("it is gone", || !is_alive(keeper));
        eventually("the next keeper answers", || {
            ucron::exec::is_running(&load.world.path("a1"))
        });
        absences.push((from, now()));
        load.unharmed();
    }
    tell(&format!("{kills} kills of the keeper"));
    absences
}

#[test]
fn a_keeper_with_sub_reapers_killed_again_and_again_costs_nothing() {
    let load = Load::begin("subreaper");
    kill_keepers(&load);
    let runs = load.close();
    let lost = load.agree(&runs);
    assert!(lost.is_empty(), "sub-reapers saw every exit: {lost:?}");
}

#[test]
fn a_keeper_with_cgroups_killed_again_and_again_loses_only_exits_nobody_saw() {
    if !needs_root("cgroups") {
        return;
    }
    let load = Load::begin("cgroup");
    let absences = kill_keepers(&load);
    let runs = load.close();
    let lost = load.agree(&runs);
    let ends = load.world.written("ends");
    for run in &lost {
        assert!(run.reason.contains("no keeper was there"), "{run:?}");
        let end = ends.lines().find_map(|line| line.strip_prefix(&run.run_id));
        let end: i64 = end.expect("it did end").trim().parse().unwrap();
        // It wrote that a moment before its exit.
        let moment = i64::try_from(Duration::from_secs(1).as_millis()).unwrap();
        let unseen = |(from, to): &(i64, i64)| from - moment <= end && end <= *to;
        assert!(
            absences.iter().any(unseen),
            "{run:?} ended at {end}: {absences:?}"
        );
    }
    tell(&format!("{} exits fell into an absence", lost.len()));
}
