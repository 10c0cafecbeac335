//! Target `one` on two agents: whoever is stopped, cut off or started anew, its command never runs twice at once, and
//! the task goes on elsewhere when the lease of the one that had it is certainly over.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::ledger::{now, until};
use crate::way::{Proxy, Weather};
use crate::world::{Run, World, eventually, found, signal, tell};

const AGENTS: [&str; 2] = ["a1", "a2"];

/// A line that the command wrote: at its begin, or at its end.
struct Line {
    begins: bool,
    run_id: String,
    agent: String,
}

/// Two agents, each behind a proxy of its own, and a task of target `one` that is due each second.
struct Pair {
    world: World,
    ways: [Proxy; 2],
}

impl Pair {
    /// Fleet and task, which has run; its rule.
    fn start(rule: &str) -> Self {
        let mut world = World::empty();
        let settings = world.path("center/center.toml");
        let text = std::fs::read_to_string(&settings).unwrap();
        // The lease is as long and 5 s: shorter, so that the test is.
        std::fs::write(
            &settings,
            format!("{text}lead = \"6s\"\nheartbeat = \"1s\"\nlease = \"2s\"\n"),
        )
        .unwrap();
        world.kill_center();
        world.start_center();
        world.must(&["group", "add", "web"]);
        let ways = AGENTS.map(|agent| {
            world.join(agent, "web");
            let way = Proxy::new(world.address().parse().unwrap());
            let settings = world.path(agent).join("agent.toml");
            let text = format!("centers = [\"{}\"]\nheartbeat = \"1s\"\n", way.address);
            std::fs::write(&settings, text).unwrap();
            std::fs::set_permissions(settings, PermissionsExt::from_mode(0o600)).unwrap();
            world.start_agent(agent);
            way
        });
        for agent in AGENTS {
            world.is_online(agent);
        }
        let book = world.work_name("book");
        let line = format!(
            "echo + $UCRON_RUN_ID $UCRON_AGENT >> {book}; sleep 0.5; echo - $UCRON_RUN_ID $UCRON_AGENT >> {book}"
        );
        world.add("web/alone", &["--rule", rule, "--target", "one"], &[&line]);
        let pair = Self { world, ways };
        pair.goes_on(1);
        pair
    }

    fn book(&self) -> Vec<Line> {
        let text = self.world.written("book");
        let lines = text.lines().map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let [sign, run_id, agent] = words[..] else {
                panic!("a torn line: {line:?}");
            };
            Line {
                begins: sign == "+",
                run_id: run_id.to_owned(),
                agent: agent.to_owned(),
            }
        });
        lines.collect()
    }

    /// Waits for so many further begins.
    fn goes_on(&self, more: usize) {
        let begins = || self.book().iter().filter(|line| line.begins).count();
        let before = begins();
        eventually("the task goes on", || begins() >= before + more);
    }

    /// The place of the agent that has the task now, and the other's.
    fn holder(&self) -> (usize, usize) {
        let last = found("it runs somewhere", || self.book().pop());
        let place = AGENTS.iter().position(|name| *name == last.agent).unwrap();
        (place, 1 - place)
    }

    /// The same, right after a run has ended and is told.
    fn rests(&self) -> (usize, usize) {
        self.goes_on(1);
        eventually("it has ended", || {
            let told = self.world.runs("web/alone");
            let told = told.iter().filter(|run| run.is("succeeded")).count();
            told * 2 == self.book().len()
        });
        self.holder()
    }

    /// Waits until the task runs on this agent.
    fn moves_to(&self, agent: usize) {
        eventually("the task runs on the other agent", || {
            self.book()
                .last()
                .is_some_and(|line| line.agent == AGENTS[agent])
        });
    }

    /// Never two at once, nothing twice, and one outcome for all that was started.
    fn was_never_two(&self) {
        self.world.must(&["stop", "--finish", "web/alone"]);
        let mut runs: Vec<Run> = Vec::new();
        eventually("every run has its outcome", || {
            runs = self.world.runs("web/alone");
            runs.iter().all(|run| run.outcome.is_some())
        });
        let book = self.book();
        let mut active: Option<&str> = None;
        let mut begun: BTreeSet<&str> = BTreeSet::new();
        for line in &book {
            if line.begins {
                assert_eq!(active, None, "{} begins meanwhile", line.run_id);
                assert!(begun.insert(&line.run_id), "{} begins twice", line.run_id);
                active = Some(&line.run_id);
            } else {
                assert_eq!(active, Some(line.run_id.as_str()), "it ends");
                active = None;
            }
        }
        assert_eq!(active, None);
        for run in &runs {
            let has_begun = begun.contains(run.run_id.as_str());
            assert_eq!(
                has_begun,
                run.is("succeeded") || run.is("lost") && has_begun,
                "{run:?}"
            );
        }
        tell(&format!("{} runs, {} begun", runs.len(), begun.len()));
    }
}

/// Due so often that a run is always handed out: while its agent is silent nobody knows whether it runs.
const OFTEN: &str = "* * * * * *";
/// Due so seldom that nothing is handed out when the last one has ended.
const SELDOM: &str = "@every 12s";

/// Waits until every lease is over that was given before: `lead`, 5 s, and the center's margin.
fn outlast_the_lease() {
    until(now() + 14_000);
}

#[test]
fn an_agent_that_is_stopped_and_goes_on_is_not_a_second_one() {
    let pair = Pair::start(OFTEN);
    let (holder, _) = pair.holder();
    let pid = pair.world.agent_pid(AGENTS[holder]);
    signal(pid, Signal::STOP);
    outlast_the_lease();
    signal(pid, Signal::CONT);
    pair.world.is_online(AGENTS[holder]);
    pair.goes_on(3);
    pair.was_never_two();
}

#[test]
fn a_task_whose_agent_is_stopped_goes_on_with_the_other() {
    let pair = Pair::start(SELDOM);
    let (holder, other) = pair.rests();
    let pid = pair.world.agent_pid(AGENTS[holder]);
    signal(pid, Signal::STOP);
    pair.moves_to(other);
    signal(pid, Signal::CONT);
    pair.world.is_online(AGENTS[holder]);
    pair.goes_on(1);
    pair.was_never_two();
}

#[test]
fn a_keeper_that_is_stopped_and_goes_on_starts_nothing_beside_another() {
    let pair = Pair::start(OFTEN);
    let (holder, _) = pair.holder();
    let pid = pair.world.keeper_pid(AGENTS[holder]);
    signal(pid, Signal::STOP);
    outlast_the_lease();
    signal(pid, Signal::CONT);
    pair.goes_on(3);
    pair.was_never_two();
}

#[test]
fn a_keeper_and_its_agent_that_are_stopped_start_nothing_when_they_go_on() {
    let pair = Pair::start(OFTEN);
    let (holder, _) = pair.holder();
    let keeper = pair.world.keeper_pid(AGENTS[holder]);
    let agent = pair.world.agent_pid(AGENTS[holder]);
    signal(keeper, Signal::STOP);
    // Runs are given to the keeper, which cannot read them, until the agent cannot either.
    until(now() + 2_000);
    signal(agent, Signal::STOP);
    outlast_the_lease();
    signal(keeper, Signal::CONT);
    until(now() + 1_000);
    signal(agent, Signal::CONT);
    pair.world.is_online(AGENTS[holder]);
    pair.goes_on(3);
    pair.was_never_two();
}

#[test]
fn an_agent_whose_link_is_dead_runs_nothing_beside_another() {
    let pair = Pair::start(OFTEN);
    let (holder, _) = pair.holder();
    pair.ways[holder].set(Weather::Dead);
    outlast_the_lease();
    pair.ways[holder].set(Weather::Fair);
    pair.world.is_online(AGENTS[holder]);
    pair.goes_on(3);
    pair.was_never_two();
}

#[test]
fn a_task_whose_agent_is_cut_off_goes_on_with_the_other() {
    let pair = Pair::start(SELDOM);
    let (holder, other) = pair.rests();
    pair.ways[holder].set(Weather::Cut);
    pair.moves_to(other);
    pair.ways[holder].set(Weather::Fair);
    pair.world.is_online(AGENTS[holder]);
    pair.goes_on(1);
    pair.was_never_two();
}

#[test]
fn a_center_that_is_started_anew_believes_every_lease() {
    let mut pair = Pair::start(OFTEN);
    for _ in 0..2 {
        pair.world.kill_center();
        pair.world.start_center();
        pair.goes_on(3);
    }
    let (holder, _) = pair.holder();
    let pid = pair.world.agent_pid(AGENTS[holder]);
    signal(pid, Signal::STOP);
    pair.world.kill_center();
    pair.world.start_center();
    outlast_the_lease();
    signal(pid, Signal::CONT);
    pair.world.is_online(AGENTS[holder]);
    pair.goes_on(3);
    pair.was_never_two();
}
