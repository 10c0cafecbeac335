//! What is wrong is told to programs: the center's notify commands, and the one that a keeper starts when no center
//! is heard.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;
use serde_json::Value;

use crate::programs::run_user;
use crate::world::{World, eventually, processes_with, signal};

/// A program that a center or an agent may start.
pub fn script(world: &World, name: &str, lines: &str) -> String {
    let path = world.work(name);
    std::fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// Adds to a program's settings.
fn set(world: &World, file: &str, lines: &str) {
    let mut file = std::fs::File::options()
        .append(true)
        .create(true)
        .open(world.path(file))
        .unwrap();
    file.write_all(lines.as_bytes()).unwrap();
}

/// Adds to the center's settings while it runs.
fn set_center(world: &World, lines: &str) {
    set(world, "center/center.toml", lines);
    signal(world.center_pid(), Signal::HUP);
    eventually("the settings are read again", || {
        let log = std::fs::read_to_string(world.path("center.log")).unwrap();
        log.contains("the settings were read again")
    });
}

/// A task that fails until its file is there.
pub fn add_job(world: &World) {
    let line = format!("test -e {}", world.work_name("good"));
    world.add("web/job", &["--rule", "0 0 1 1 *"], &[&line]);
}

/// The notices in a file, `began failed`, in order.
pub fn told(world: &World, file: &str) -> Vec<String> {
    let text = world.written(file);
    let notices = text.lines().map(|line| {
        let notice: Value = serde_json::from_str(line).unwrap();
        let word = |name: &str| notice[name].as_str().unwrap().to_owned();
        format!("{} {}", word("event"), word("condition"))
    });
    notices.collect()
}

fn wait_told(world: &World, file: &str, wanted: &[&str]) {
    eventually("the notice is written", || {
        told(world, file).len() >= wanted.len()
    });
    assert_eq!(told(world, file), wanted);
}

#[test]
fn a_failing_task_is_told_when_it_begins_to_and_when_it_succeeds_again() {
    let mut world = World::small();
    let (all, web, db) = ("all.json", "web.json", "db.json");
    let cat = |file: &str| {
        let lines = format!("cat >> {}", world.work_name(file));
        script(&world, &format!("{file}.sh"), &lines)
    };
    let lines = format!(
        "notify = ['{}']\nnotify_group = {{ web = ['{}'], db = ['{}'] }}\n",
        cat(all),
        cat(web),
        cat(db)
    );
    set_center(&world, &lines);
    add_job(&world);
    world.ucron(&["status", "--check"]).exits(0);
    world.ucron(&["run", "--wait", "web/job"]).exits(1);
    wait_told(&world, all, &["began failed"]);
    wait_told(&world, web, &["began failed"]);
    let line = world.written(all);
    let notice: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(notice["task"], "web/job");
    assert_eq!(notice["agents"], serde_json::json!(["a1"]));
    assert_eq!(notice["ended_at"], Value::Null);
    let status = world.ucron(&["status", "--check"]).exits(1);
    assert!(
        status.out.contains("task web/job failed on a1"),
        "{status:?}"
    );
    let status = world.json(&["status"]);
    assert_eq!(status["conditions"][0]["condition"], "failed");
    let events = world.must(&["events"]);
    assert!(
        events.contains("condition_began web/job a1 - condition=failed"),
        "{events}"
    );

    // The next center knows what was told.
    world.kill_center();
    world.start_center();
    world.is_online("a1");
    let status = world.ucron(&["status", "--check"]).exits(1);
    assert!(
        status.out.contains("task web/job failed on a1"),
        "{status:?}"
    );
    std::fs::write(world.work("good"), "").unwrap();
    world.ucron(&["run", "--wait", "web/job"]).exits(0);
    wait_told(&world, all, &["began failed", "ended failed"]);
    wait_told(&world, web, &["began failed", "ended failed"]);
    assert_eq!(world.written(db), "", "another group is told nothing");
    world.ucron(&["status", "--check"]).exits(0);
}

#[test]
fn a_task_that_should_write_and_does_not_is_told() {
    let world = World::small();
    let work = format!("cat {} 2>&-; true", world.work_name("text"));
    let flags = [
        "--rule",
        "0 0 1 1 *",
        "--expect-output",
        "--min-duration",
        "1ms",
    ];
    world.add("web/report", &flags, &[&work]);
    world.must(&["run", "--wait", "web/report"]);
    eventually("the empty output is seen", || {
        let status = world.ucron(&["status", "--check"]);
        status.out.contains("web/report has no output on a1")
    });
    std::fs::write(world.work("text"), "x\n").unwrap();
    world.must(&["run", "--wait", "web/report"]);
    eventually("it is over", || {
        world.ucron(&["status", "--check"]).code == 0
    });
}

#[test]
fn a_notify_command_that_fails_or_hangs_is_seen_in_status() {
    let world = World::small();
    let fails = script(&world, "fails.sh", "echo no paper >&2; exit 3");
    let hangs = script(&world, "hangs.sh", "sleep 98765 & wait");
    let lines = format!(
        "notify = ['{fails}']\nnotify_group = {{ web = ['{hangs}'] }}\nnotify_timeout = '2s'\n"
    );
    set_center(&world, &lines);
    add_job(&world);
    world.ucron(&["run", "--wait", "web/job"]).exits(1);
    for wanted in [
        "the center cannot notify: its notify command exited with code 3: no paper",
        "group web cannot notify: its notify command took more than 2s and was ended",
    ] {
        eventually("the failure is in status", || {
            world.ucron(&["status", "--check"]).out.contains(wanted)
        });
    }
    eventually("what hung is gone", || processes_with("98765").is_empty());
}

#[test]
fn a_host_is_told_when_no_center_is_heard_and_when_one_is_again() {
    let mut world = World::empty();
    world.must(&["group", "add", "web"]);
    world.join("a1", "web");
    let user = run_user();
    world.allow_users("a1", &[&user]);
    let note = format!(
        "echo \"$UCRON_CONDITION $UCRON_CONDITION_EVENT $UCRON_AGENT\" >> {}",
        world.work_name("silence")
    );
    let note = script(&world, "silence.sh", &note);
    let lines = format!(
        "heartbeat = '200ms'\ncenter_silent_after = '2s'\non_center_silent = ['{note}']\non_center_silent_user = '{user}'\n"
    );
    set(&world, "a1/agent.toml", &lines);
    world.start_agent("a1");
    world.is_online("a1");
    world.kill_center();
    eventually("the silence is told", || {
        world.written("silence") == "silent began a1\n"
    });
    world.start_center();
    eventually("its end is told", || {
        world.written("silence") == "silent began a1\nsilent ended a1\n"
    });
    let runs = world.json(&["runs"]);
    assert_eq!(runs, serde_json::json!([]), "no center knows of it");
    let out = world.ucron(&["status", "--check"]);
    assert_eq!(out.code, 0, "{out:?}");
}

#[test]
fn an_agent_that_is_stopped_is_late_then_silent_then_misses_and_each_is_told_once() {
    let world = World::small();
    let file = "notices";
    let note = script(
        &world,
        "note.sh",
        &format!("cat >> {}", world.work_name(file)),
    );
    set_center(&world, &format!("notify = ['{note}']\n"));
    let flags = ["--rule", "@every 1s", "--warn-late", "1s", "--warn-missed"];
    world.add("web/tick", &[&flags[..], &["3"]].concat(), &["true"]);
    world.add(
        "web/calm",
        &[&flags[..2], &["--warn-late", "never", "--warn-missed", "0"]].concat(),
        &["true"],
    );
    world.run_where("web/tick", "it runs", |run| run.is("succeeded"));
    signal(world.agent_pid("a1"), Signal::STOP);
    let wrong = ["began late", "began silent", "began missed"];
    let all = |wanted: &[&str]| {
        let told = told(&world, file);
        wanted
            .iter()
            .all(|wanted| told.iter().any(|told| told == wanted))
    };
    eventually("it is late, silent and missed", || all(&wrong));
    let status = world.ucron(&["status", "--check"]).exits(1);
    for wanted in [
        "task web/tick was missed on a1",
        "agent a1 is offline, last heard",
    ] {
        assert!(status.out.contains(wanted), "{status:?}");
    }
    signal(world.agent_pid("a1"), Signal::CONT);
    eventually("all of it is over", || {
        all(&["ended late", "ended silent", "ended missed"])
            && world.ucron(&["status", "--check"]).code == 0
    });
    let mut told = told(&world, file);
    told.sort_unstable();
    assert_eq!(told.len(), 6, "{told:?}");
    let text = world.written(file);
    assert!(!text.contains("calm"), "{text}");
    let events = world.must(&["events"]);
    for wanted in ["condition_began - a1 ", "condition_ended - a1 "] {
        assert!(events.contains(wanted), "{events}");
    }
}

#[test]
fn a_run_that_takes_too_long_or_not_long_enough_is_told() {
    let world = World::small();
    let good = world.work_name("good");
    let rule = ["--rule", "0 0 1 1 *"];
    let line = format!("test -e {good} || exec sleep 1000");
    world.add(
        "web/long",
        &[&rule[..], &["--max-duration", "1s"]].concat(),
        &[&line],
    );
    let line = format!("test ! -e {good} || sleep 1.5");
    world.add(
        "web/short",
        &[&rule[..], &["--min-duration", "1s"]].concat(),
        &[&line],
    );
    let line = format!("test -e {good}");
    world.add(
        "web/twice",
        &[&rule[..], &["--warn-failures", "2"]].concat(),
        &[&line],
    );
    world.must(&["run", "web/long"]);
    world.must(&["run", "--wait", "web/short"]);
    world.ucron(&["run", "--wait", "web/twice"]).exits(1);
    let says = |wanted: &str| {
        let status = world.ucron(&["status", "--check"]);
        status.out.contains(wanted)
    };
    eventually("it takes too long while it runs", || {
        says("task web/long takes too long on a1: has been running for more than 1s")
    });
    eventually("the other ended too soon", || {
        says("task web/short ended too soon on a1")
    });
    assert!(!says("web/twice"), "one failure is not two");
    world.ucron(&["run", "--wait", "web/twice"]).exits(1);
    eventually("two failures are", || says("task web/twice failed on a1"));
    std::fs::write(world.work("good"), "").unwrap();
    let run = world.run_where("web/long", "it runs", |run| run.outcome.is_none());
    world.must(&["kill", &run.run_id]);
    eventually("it ended", || {
        world.ucron(&["run", "--wait", "web/long"]).code == 0
    });
    for task in ["web/short", "web/twice"] {
        world.must(&["run", "--wait", task]);
    }
    eventually("nothing is wrong any more", || {
        world.ucron(&["status", "--check"]).code == 0
    });
}
