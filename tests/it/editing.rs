//! Tasks by hand: add, edit, stop, start, rm, run, and what each says and exits with.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use crate::world::{World, eventually, run_user};

const NEVER: [&str; 2] = ["--rule", "0 0 1 1 *"];

#[test]
fn add_prints_the_id_and_the_task_runs_at_once() {
    let world = World::small();
    let id = world.add("web/t", &["--rule", "@every 300ms"], &["true"]);
    let shown = world.json(&["show", "web/t"]);
    assert_eq!(shown["id"], id.as_str());
    assert_eq!(
        (&shown["gid"], &shown["group"]),
        (&serde_json::Value::Null, &"web".into())
    );
    assert!(world.ended("web/t").is("succeeded"));
    assert_eq!(world.json(&["show", &id])["task_name"], "t");
    assert_eq!(world.json(&["show", "t"])["id"], id.as_str());
}

#[test]
fn what_cannot_be_added_says_why_and_stores_nothing() {
    let world = World::small();
    let user = run_user();
    let check = |code: i32, args: &[&str], says: &str| {
        let base = ["add", "--name", "t", "--user", &user];
        let answer = world.ucron(&[&base[..], args].concat()).exits(code);
        assert!(answer.out.is_empty(), "{answer:?}");
        answer.says(says);
    };
    let work = ["--shell", "true"];
    let with = |args: &[&'static str]| [args, &work[..]].concat();
    check(2, &with(&["--group", "web", "--rule", "61 * * * *"]), "61");
    check(
        2,
        &with(&["--group", "web", "--rule", "* * * *"]),
        "* * * *",
    );
    check(2, &with(&["--group", "web"]), "--rule");
    check(2, &with(&["--group", "web", "--rule", "@always"]), "daemon");
    check(2, &["--group", "web", "--rule", "@daily"], "");
    check(
        3,
        &with(&["--group", "absent", "--rule", "@daily"]),
        "absent",
    );
    check(
        2,
        &with(&["--group", "web", "--rule", "@daily", "--tz", "Mars/Base"]),
        "Mars/Base",
    );
    check(
        2,
        &with(&["--group", "web", "--rule", "@daily", "--timeout", "soon"]),
        "soon",
    );
    check(
        2,
        &with(&["--group", "web", "--rule", "@daily", "--target", "one,a1"]),
        "",
    );
    check(
        2,
        &with(&["--group", "web", "--rule", "@daily", "--env", "UCRON_X=1"]),
        "UCRON_",
    );
    check(
        1,
        &with(&["--group", "web", "--rule", "@at 2020-01-01T00:00:00Z"]),
        "",
    );
    assert_eq!(world.json(&["ls"]).as_array().unwrap().len(), 0);
}

#[test]
fn a_taken_name_is_a_conflict_kept_or_replaced_as_asked() {
    let world = World::small();
    let id = world.add("web/t", &NEVER, &["true"]);
    let user = run_user();
    let add = |flags: &[&str], line: &str| {
        let flags = [&NEVER[..], flags].concat();
        world.ucron(&World::add_args("web/t", &flags, &[line], &user))
    };
    let revision = || world.json(&["show", "web/t"])["revision"].as_u64().unwrap();
    add(&[], "true").exits(5).says("web/t");
    assert_eq!(
        add(&["--if-exists", "keep"], "false").exits(0).out.trim(),
        id
    );
    assert_eq!(
        (
            revision(),
            world.json(&["show", "web/t"])["execute"].clone()
        ),
        (1, "true".into())
    );
    assert_eq!(
        add(&["--if-exists", "replace"], "true").exits(0).out.trim(),
        id
    );
    assert_eq!(revision(), 1, "nothing changes where nothing differs");
    assert_eq!(
        add(&["--if-exists", "replace"], "false")
            .exits(0)
            .out
            .trim(),
        id
    );
    assert_eq!(
        (
            revision(),
            world.json(&["show", "web/t"])["execute"].clone()
        ),
        (2, "false".into())
    );
}

#[test]
fn a_dry_run_does_nothing() {
    let world = World::small();
    let user = run_user();
    let flags = ["--rule", "@every 100ms", "--dry-run"];
    world
        .ucron(&World::add_args("web/t", &flags, &["true"], &user))
        .exits(0);
    assert_eq!(world.json(&["ls"]).as_array().unwrap().len(), 0);
    world.add("web/t", &NEVER, &["true"]);
    world
        .ucron(&["edit", "web/t", "--rule", "@every 100ms", "--dry-run"])
        .exits(0);
    assert_eq!(world.json(&["show", "web/t"])["revision"], 1);
}

#[test]
fn an_edit_takes_effect_from_the_next_occurrence() {
    let world = World::small();
    world.add("web/t", &["--rule", "@every 300ms"], &["exit 3"]);
    world.run_where("web/t", "the old text", |run| run.exit_code == Some(3));
    world.must(&["edit", "web/t", "--shell", "exit 4"]);
    assert_eq!(world.json(&["show", "web/t"])["revision"], 2);
    let new = world.run_where("web/t", "the new text", |run| run.exit_code == Some(4));
    let later = || {
        let runs = world.runs("web/t").into_iter();
        let mut codes: Vec<_> = runs
            .filter(|run| run.scheduled_at > new.scheduled_at)
            .filter_map(|run| run.exit_code)
            .collect();
        codes.dedup();
        codes
    };
    eventually("more of it", || !later().is_empty());
    assert_eq!(later(), [4]);
}

#[test]
fn edit_renames_moves_and_restores_defaults() {
    let world = World::new(&[("a1", "web"), ("a2", "db")]);
    let id = world.add(
        "web/t",
        &["--rule", "0 0 1 1 *", "--timeout", "5s"],
        &["true"],
    );
    world.must(&[
        "edit",
        "web/t",
        "--name",
        "u",
        "--group",
        "db",
        "--no-timeout",
        "--retries",
        "2",
    ]);
    let task = world.json(&["show", "db/u"]);
    assert_eq!(task["id"], id.as_str());
    assert_eq!(
        (&task["timeout_ms"], &task["retries"]),
        (&serde_json::Value::Null, &2.into())
    );
    world.ucron(&["show", "web/t"]).exits(3);
    assert_eq!(world.run_now("db/u").agent.as_deref(), Some("a2"));
    world
        .ucron(&["edit", "db/u", "--rule", "nonsense"])
        .exits(2);
    world
        .ucron(&["edit", "db/absent", "--retries", "1"])
        .exits(3);
}

#[test]
fn a_stopped_task_does_not_fire_and_a_started_one_does() {
    let mut world = World::small();
    world.add("web/t", &["--rule", "@every 200ms"], &["true"]);
    world.ended("web/t");
    world.ucron(&["stop", "web/t"]).exits(0).says("stopped");
    let open = |world: &World| world.runs("web/t").iter().any(|run| run.outcome.is_none());
    eventually("nothing of it is open", || !open(&world));
    let started = |world: &World| {
        world
            .runs("web/t")
            .iter()
            .filter(|run| run.started_at.is_some())
            .count()
    };
    let before = started(&world);
    world.kill_center();
    world.start_center();
    world.is_online("a1");
    world.ucron(&["stop", "web/t"]).exits(0).says("already");
    assert_eq!(world.json(&["show", "web/t"])["enabled"], false);
    // What runs by hand shows that the agent is served, and the rule still rests.
    assert!(world.run_now("web/t").is("succeeded"));
    assert_eq!(started(&world), before + 1);
    world.ucron(&["start", "web/t"]).exits(0);
    eventually("it fires again", || started(&world) > before + 2);
}

#[test]
fn a_removed_task_leaves_its_history_and_its_name() {
    let world = World::small();
    let old = world.add("web/t", &["--rule", "@every 200ms"], &["true"]);
    let run = world.ended("web/t").run_id;
    world.must(&["rm", "web/t"]);
    world.ucron(&["show", "web/t"]).exits(3);
    assert_eq!(world.json(&["show", &run])["outcome"], "succeeded");
    let new = world.add("web/t", &NEVER, &["true"]);
    assert_ne!(old, new);
    assert_eq!(world.json(&["show", "web/t"])["revision"], 1);
}

#[test]
fn rm_of_more_than_one_wants_yes() {
    let world = World::small();
    for task in ["web/t", "web/u"] {
        world.add(task, &NEVER, &["true"]);
    }
    world.ucron(&["rm", "web/t", "web/u"]).exits(2);
    world.ucron(&["rm", "--all"]).exits(2);
    assert_eq!(world.json(&["ls"]).as_array().unwrap().len(), 2);
    world
        .ucron(&["rm", "web/t", "web/absent", "--yes"])
        .exits(3);
    world.ucron(&["rm", "web/u", "--yes"]).exits(0);
    world.ucron(&["rm", "web/u"]).exits(3);
    assert_eq!(world.json(&["ls"]).as_array().unwrap().len(), 0);
}

#[test]
fn run_waits_for_the_outcome_and_says_it_by_its_exit_code() {
    let world = World::new(&[("a1", "web"), ("a2", "web")]);
    for (task, line) in [
        ("web/good", "true"),
        ("web/bad", "exit 3"),
        ("web/slow", "sleep 30"),
    ] {
        world.add(task, &[&NEVER[..], &["--disabled"]].concat(), &[line]);
    }
    assert_eq!(
        world
            .ucron(&["run", "--wait", "web/good"])
            .exits(0)
            .out
            .lines()
            .count(),
        2
    );
    world.ucron(&["run", "--wait", "web/bad"]).exits(1);
    let slow = ["run", "--wait", "--wait-timeout", "1s", "web/slow"];
    world.ucron(&slow).exits(124);
    world.ucron(&["run", "web/slow"]).exits(5).says("run");
    world.ucron(&["run", "web/absent"]).exits(3);
    let runs = world.runs("web/bad");
    assert!(
        runs.iter()
            .all(|run| run.is("failed") && run.exit_code == Some(3)),
        "{runs:?}"
    );
    assert!(runs.iter().all(|run| run.cause == "operator"), "{runs:?}");
    world.must(&["stop", "web/slow"]);
    for run in world.runs("web/slow") {
        world.run_where("web/slow", "stopped", |now| {
            now.run_id == run.run_id && now.is("stopped")
        });
    }
}

#[test]
fn names_are_found_by_every_way_and_ambiguous_ones_are_named() {
    let world = World::new(&[("a1", "web"), ("a2", "db")]);
    for task in ["web/t", "db/t", "web/u"] {
        world.add(task, &NEVER, &["true"]);
    }
    world.ucron(&["show", "t"]).exits(2).says("db/t");
    world.ucron(&["show", "u"]).exits(0);
    let run = world.run_now("web/u").run_id;
    let short = &run[run.len() - 8..];
    assert_eq!(world.json(&["show", short])["run_id"], run.as_str());
    world.ucron(&["show", "nothing"]).exits(3);
    let quiet = world.must(&["ls", "-q", "--group", "web"]);
    assert_eq!(quiet.lines().count(), 2);
}

#[test]
fn a_name_of_any_script_passes_and_control_characters_do_not() {
    let world = World::small();
    world.add("web/Größe-日本", &NEVER, &["true"]);
    assert!(world.run_now("web/Größe-日本").is("succeeded"));
    let user = run_user();
    for name in ["web/all", "web/.t", "web/a b", "web/a\u{7}", "web/-t"] {
        world
            .ucron(&World::add_args(name, &NEVER, &["true"], &user))
            .exits(2);
    }
}
