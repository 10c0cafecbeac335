//! State directories that are not what they were: cloned with the disk they are on, or put back as they were some runs
//! ago; and a store that was. Noticed, shown, and nothing runs twice.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use std::path::Path;

use crate::database::Server;
use crate::ledger::{Load, now, until};
use crate::world::{
    AGENT, CENTER, Run, Running, World, ask, end_keeper, eventually, found, millis, program, tell,
};

/// Tasks that are due each second.
const TASKS: usize = 2;

fn copy(from: &Path, to: &Path) {
    let mut copy = program("cp");
    ask(copy.arg("-a").arg(from).arg(to), "").exits(0);
}

/// Ends an agent and its keeper.
fn end(world: &mut World, agent: &str) {
    world.end_agent(agent);
    end_keeper(&world.path(agent));
}

/// Puts a directory back as it was copied.
fn put_back(world: &World, agent: &str, copied: &str) {
    std::fs::rename(world.path(agent), world.path("wrong")).unwrap();
    std::fs::rename(world.path(copied), world.path(agent)).unwrap();
}

fn reset(world: &World, agent: &str) {
    let mut reset = program(AGENT);
    ask(reset.args(["reset", "--state"]).arg(world.path(agent)), "").exits(0);
}

/// How often the program of this directory was told that it is refused.
fn refusals(world: &World, agent: &str) -> usize {
    let log = std::fs::read_to_string(world.path(&format!("{agent}.log")));
    log.unwrap().matches("cloned or rolled back").count()
}

fn follow(world: &World) -> Running {
    world.spawn(&["events", "-f", "-o", "jsonl"])
}

/// Waits for a moment between two instants at which the center knows of all that was started; what it does not know
/// nobody can know when the directory is put back.
fn until_all_is_told(world: &World, load: &Load) {
    let is_due = |run: &Run| millis(&run.scheduled_at) <= now();
    eventually("all that was started is told", || {
        let mut runs = world.runs_of(&[]).into_iter().filter(is_due);
        let last = (now() / 1000 - load.from / 1000) * 1000 + load.from;
        let told = runs
            .clone()
            .filter(|run| millis(&run.scheduled_at) == last)
            .count()
            == TASKS;
        told && runs.all(|run| run.outcome.is_some()) && (200..700).contains(&(now() % 1000))
    });
}

/// `status`, its check and the events show it.
fn is_shown(world: &World, events: &Running) {
    let status = found("status shows the copy", || {
        let answer = world.ucron(&["status", "-o", "json"]);
        answer.out.contains("\"copied\"").then_some(answer.out)
    });
    assert!(status.contains("cloned or rolled back"), "{status}");
    let checked = world.ucron(&["status", "--check"]);
    assert_eq!(checked.code, 1, "{checked:?}");
    events.shows("\"copied\"");
}

/// What did not succeed was late or may have been started, and says so.
fn costs_only_the_outage(others: &[Run]) {
    for run in others {
        let is_said = [
            "agent was down",
            "it may have started",
            "offline since",
            "too late",
        ];
        assert!(
            is_said.iter().any(|why| run.reason.contains(why)),
            "{run:?}"
        );
    }
    tell(&format!("{} not run", others.len()));
}

#[test]
fn of_a_directory_and_its_copy_one_is_refused_and_nothing_runs_twice() {
    let mut world = World::small();
    let events = follow(&world);
    let load = Load::begin(&world, TASKS, &["a1"], 14);
    load.until_second(3);
    end(&mut world, "a1");
    copy(&world.path("a1"), &world.path("copy"));
    world.start_agent("a1");
    world.start_agent("copy");
    let both = ["a1", "copy"];
    let refused = found("one of them is refused", || {
        both.into_iter().find(|name| refusals(&world, name) > 0)
    });
    is_shown(&world, &events);
    // One that is started again and again comes to count no more than the other.
    for _ in 0..2 {
        let before = refusals(&world, refused);
        world.kill_agent(refused);
        world.start_agent(refused);
        eventually("it is refused again", || refusals(&world, refused) > before);
    }
    let other = both.into_iter().find(|name| *name != refused).unwrap();
    assert_eq!(refusals(&world, other), 0, "only one is refused");
    costs_only_the_outage(&load.close(&world).agree());
    assert_eq!(refusals(&world, other), 0, "only one is refused");
    end(&mut world, refused);
}

#[test]
fn a_directory_put_back_from_an_older_life_runs_nothing_until_it_is_reset() {
    let mut world = World::small();
    let events = follow(&world);
    let daemon = world.add("web/worker", &["--daemon"], &["sleep", "10000"]);
    world.daemon_pids("web/worker", 1);
    let load = Load::begin(&world, TASKS, &["a1"], 20);
    load.until_second(3);
    end(&mut world, "a1");
    copy(&world.path("a1"), &world.path("before"));
    world.start_agent("a1");
    world.is_online("a1");
    load.until_second(9);
    end(&mut world, "a1");
    put_back(&world, "a1", "before");
    world.start_agent("a1");
    eventually("it is refused", || refusals(&world, "a1") > 0);
    is_shown(&world, &events);
    eventually("it keeps no daemon alive", || {
        let journal = std::fs::read_to_string(world.path("a1/keeper/journal")).unwrap();
        journal
            .lines()
            .any(|line| line.contains("withdrawn") && line.contains(&daemon))
    });
    end(&mut world, "a1");
    reset(&world, "a1");
    world.start_agent("a1");
    world.is_online("a1");
    world.daemon_pids("web/worker", 1);
    costs_only_the_outage(&load.close(&world).agree());
}

#[test]
fn a_directory_put_back_within_its_life_runs_nothing_again() {
    let mut world = World::small();
    let load = Load::begin(&world, TASKS, &["a1"], 16);
    // Between two instants nothing is being started.
    load.until_second(3);
    until(load.from + 3_500);
    copy(&world.path("a1"), &world.path("before"));
    load.until_second(7);
    until_all_is_told(&world, &load);
    world.kill_agent("a1");
    end_keeper(&world.path("a1"));
    put_back(&world, "a1", "before");
    world.start_agent("a1");
    world.is_online("a1");
    assert_eq!(refusals(&world, "a1"), 0);
    costs_only_the_outage(&load.close(&world).agree());
}

/// A store that is put back as it was some seconds ago: the same runs are planned again, and the agent says how they
/// ended.
fn store_put_back(mut world: World) {
    let load = Load::begin(&world, TASKS, &["a1"], 16);
    load.until_second(3);
    let backup = world.path("backup.db");
    let center = |words: &[&str]| {
        let mut command = program(CENTER);
        command.args(words).arg(&backup);
        ask(command.arg("--state").arg(world.path("center")), "")
    };
    center(&["backup"]).exits(0);
    load.until_second(8);
    let known = world.runs_of(&["--outcome", "succeeded"]).len();
    world.kill_center();
    let center = |words: &[&str]| {
        let mut command = program(CENTER);
        command.args(words).arg(&backup);
        ask(command.arg("--state").arg(world.path("center")), "")
    };
    eventually("the lease of the killed center has run out", || {
        center(&["restore", "--replace"]).code == 0
    });
    world.start_center();
    world.is_online("a1");
    eventually("what was forgotten is known again", || {
        world.runs_of(&["--outcome", "succeeded"]).len() > known
    });
    let others = load.close(&world).agree();
    for run in &others {
        assert!(run.is("missed"), "{run:?}");
    }
    tell(&format!("{} missed", others.len()));
}

#[test]
fn a_store_put_back_learns_from_the_agent_what_was_done_since() {
    store_put_back(World::small());
}

#[test]
fn a_store_on_mariadb_put_back_learns_from_the_agent_what_was_done_since() {
    let Some(server) = Server::start() else {
        tell("skipped, needs the packages mariadb-server-core and mariadb-client-core");
        return;
    };
    let passwords = tempfile::tempdir().unwrap();
    let flags = crate::storing::flags(&server, passwords.path());
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    store_put_back(World::made(&flags).with(&[("a1", "web")]));
}
