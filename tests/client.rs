//! The client over more than one command: texts that are exported and edited, several fleets under one home, links
//! that break while output is followed. Real programs.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

#[path = "it/programs.rs"]
mod programs;
#[path = "it/world.rs"]
mod world;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use world::{Answer, CLIENT, World, ask, program};

const NEVER: [&str; 2] = ["--rule", "0 0 1 1 *"];

/// Edits with a shell script for an editor, `$1` being the file; temporary files are under `tmp`.
fn edit(world: &World, task: &str, script: &str) -> Answer {
    let editor = world.path("editor");
    fs::write(&editor, format!("#!/bin/sh\nset -eu\n{script}\n")).unwrap();
    fs::set_permissions(&editor, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(world.path("tmp")).unwrap();
    let mut command = program(CLIENT);
    command
        .env("EDITOR", format!("'{}' ", editor.display()))
        .env_remove("VISUAL")
        .env("TMPDIR", world.path("tmp"))
        .env("UCRON", CLIENT)
        .env("UCRON_HOME", world.path("center/admin"))
        .args(["edit", task]);
    ask(&mut command, "")
}

/// Files that edits have left behind.
fn kept(world: &World) -> Vec<PathBuf> {
    let dirs = fs::read_dir(world.path("tmp")).unwrap().flatten();
    let files = dirs.flat_map(|dir| fs::read_dir(dir.path()).unwrap().flatten());
    let mut files: Vec<PathBuf> = files.map(|file| file.path()).collect();
    files.sort();
    files
}

#[test]
fn an_export_is_what_an_edit_opens_and_what_it_leaves_is_saved() {
    let world = World::empty();
    world.must(&["group", "add", "web", "db"]);
    world.add("web/b", &NEVER, &["date"]);
    world.add(
        "web/a",
        &[
            "--rule",
            "30 2 * * *",
            "--tz",
            "Europe/Berlin",
            "--timeout",
            "90m",
        ],
        &["/bin/x", "a b"],
    );
    world.add("db/c", &["--daemon", "--env", "A=x y"], &["sleep 9"]);
    let all = world.must(&["export"]);
    let heads: Vec<&str> = all
        .lines()
        .filter(|line| line.starts_with("name"))
        .collect();
    assert_eq!(heads, ["name = \"c\"", "name = \"a\"", "name = \"b\""]);
    assert_eq!(world.must(&["export", "web/b", "a", "db/c", "web/a"]), all);
    let web = world.must(&["export", "--group", "web"]);
    assert!(all.ends_with(&web), "{web}");
    let user = world::run_user();
    assert!(
        web.starts_with(&format!(
            "[[task]]\ngroup = \"web\"\nname = \"a\"\n# at 02:30 Berlin time every day\nrule = \"30 2 * * *\"\n\
             tz = \"Europe/Berlin\"\nuser = \"{user}\"\nexecute = [\"/bin/x\", \"a b\"]\ntimeout = \"1h30m\"\n\n[[task]]"
        )),
        "{web}"
    );

    let opened = world.path("opened").display().to_string();
    let script = format!("cp \"$1\" {opened}");
    edit(&world, "web/a", &script)
        .exits(0)
        .says("nothing is changed");
    assert_eq!(
        fs::read_to_string(&opened).unwrap().trim_end(),
        world.must(&["export", "web/a"])
    );
    assert_eq!(world.json(&["show", "web/a"])["revision"], 1);
    edit(
        &world,
        "web/a",
        "sed -i -e s/1h30m/45m/ -e '$a disabled = true' \"$1\"",
    )
    .exits(0)
    .says("web/a changed and stopped");
    let shown = world.json(&["show", "web/a"]);
    assert_eq!(shown["timeout_ms"], 2_700_000);
    assert_eq!(shown["enabled"], false);
    edit(&world, "web/a", "sed -i /disabled/d \"$1\"")
        .exits(0)
        .says("web/a started");
    assert_eq!(world.json(&["show", "web/a"])["enabled"], true);
    world
        .ucron(&["edit", "web/a", "--disabled"])
        .exits(0)
        .says("web/a stopped");
    world
        .ucron(&["edit", "web/a", "--disabled"])
        .exits(0)
        .says("web/a is so already");
    world
        .ucron(&["edit", "web/a", "--no-disabled", "--note", "x", "--dry-run"])
        .exits(0)
        .says("web/a would be changed and started");
    assert_eq!(world.json(&["show", "web/a"])["enabled"], false);
    assert!(kept(&world).is_empty());
}

#[test]
fn a_wrong_text_is_kept_and_told_with_its_places() {
    let world = World::empty();
    world.must(&["group", "add", "web"]);
    world.add("web/a", &NEVER, &["date"]);
    let answer = edit(
        &world,
        "web/a",
        "printf 'grace = 5\\nretires = 2\\n' >> \"$1\"",
    )
    .exits(2);
    let files = kept(&world);
    let [file] = files.as_slice() else {
        panic!("{files:?}");
    };
    let shown = file.display();
    assert_eq!(
        answer.err,
        format!(
            "ucron: {shown}:8:9: this is a whole number; it wants a text in quotes\n  grace = 5\n          ^\n\
             {shown}:9:1: unknown key `retires`; did you mean `retries`?\n  retires = 2\n  ^\n\
             hint: your text is kept in `{shown}`\n"
        )
    );
    assert_eq!(
        fs::metadata(file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(world.json(&["show", "web/a"])["revision"], 1);
    edit(&world, "web/a", "echo x >> \"$1\"; exit 3")
        .exits(1)
        .says("the editor")
        .says("your text is kept in");
    edit(&world, "web/a", "exit 3")
        .exits(1)
        .says("exit status: 3");
    edit(&world, "web/a", "sed -i s/web/edge/ \"$1\"")
        .exits(3)
        .says("no group `edge`")
        .says("your text is kept in");
    edit(
        &world,
        "web/a",
        "cat \"$1\" >> \"$1.x\"; sed s/\\\"a\\\"/\\\"b\\\"/ \"$1.x\" >> \"$1\"; rm \"$1.x\"",
    )
    .exits(2)
    .says("the text has 2 tasks");
    assert_eq!(kept(&world).len(), 4);
}

#[test]
fn a_task_changed_meanwhile_is_a_conflict_with_both_versions_kept() {
    let world = World::empty();
    world.must(&["group", "add", "web"]);
    world.add("web/a", &NEVER, &["date"]);
    let script =
        "\"$UCRON\" edit web/a --note theirs 2>/dev/null; echo 'note = \"mine\"' >> \"$1\"";
    let answer = edit(&world, "web/a", script).exits(5);
    let files = kept(&world);
    let [present, mine] = files.as_slice() else {
        panic!("{files:?}");
    };
    assert_eq!(
        answer.err,
        format!(
            "web/a was changed meanwhile by admin\nhint: your text is kept in `{}`, the present one in `{}`\n",
            mine.display(),
            present.display()
        )
        .replace("web/a was", "ucron: web/a was")
    );
    assert!(fs::read_to_string(mine).unwrap().contains("mine"));
    assert!(fs::read_to_string(present).unwrap().contains("theirs"));
    assert_eq!(world.json(&["show", "web/a"])["note"], "theirs");
}

#[test]
fn one_home_knows_several_fleets() {
    let (one, two) = (World::empty(), World::empty());
    one.must(&["group", "add", "first"]);
    two.must(&["group", "add", "other"]);
    let home = one.path("home").display().to_string();
    let ucron =
        |args: &[&str], input: &str| ask(program(CLIENT).args(["--home", &home]).args(args), input);
    let log_in = |world: &World, flags: &[&str]| {
        let token = world.must(&["token", "operator", "ann"]);
        let address = world.address();
        let answer = ucron(&[&["login", &address], flags].concat(), &token);
        if answer.code == 0 {
            world.must(&["grant", "ann", "viewer"]);
        }
        answer
    };
    ucron(&["context", "ls"], "").exits(0).says("no contexts");
    log_in(&one, &[]).exits(0);
    log_in(&two, &[]).exits(5).says("is of another fleet");
    log_in(&two, &["--context", "second"]).exits(0);
    log_in(&two, &["--context", "second"]).exits(0);
    let groups = |flags: &[&str]| ucron(&[flags, &["groups", "-q"]].concat(), "").exits(0).out;
    assert_eq!(groups(&[]), "first\n");
    assert_eq!(groups(&["--context", "second"]), "other\n");
    ucron(&["context", "use", "second"], "")
        .exits(0)
        .says("context second is in use");
    assert_eq!(groups(&[]), "other\n");
    assert_eq!(groups(&["--context", "default"]), "first\n");
    let list = ucron(&["context", "ls", "-o", "json"], "").exits(0).json();
    let names: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["name"].as_str().unwrap(),
                row["in_use"].as_bool().unwrap(),
            )
        })
        .collect();
    assert_eq!(names, [("default", false), ("second", true)]);
    ucron(&["context", "rm", "default", "second"], "")
        .exits(2)
        .says("wants `--yes`");
    ucron(&["context", "rm", "second"], "")
        .exits(0)
        .says("it was in use");
    assert_eq!(groups(&[]), "first\n");
    ucron(&["context", "use", "second"], "").exits(3);
    ucron(&["context", "rm", "default"], "").exits(0);
    ucron(&["groups"], "").exits(1).says("no client home");
}

/// A run that writes 60 numbered lines within some seconds.
const COUNTS: &str = "i=0; while [ $i -lt 60 ]; do echo line $i; i=$((i+1)); sleep 0.1; done";

#[test]
fn output_is_followed_on_without_gap_or_repetition_when_the_center_is_killed() {
    let mut world = World::small();
    world.add("web/count", &NEVER, &[COUNTS]);
    let mut follow = world.spawn(&["run", "-f", "web/count", "--connect-timeout", "30s"]);
    follow.shows("line 3\n");
    let mut logs = world.spawn(&["logs", "-f", "web/count", "--connect-timeout", "30s"]);
    logs.shows("line 5\n");
    world.kill_center();
    world.start_center();
    let lines: Vec<String> = (0..60).map(|i| format!("line {i}")).collect();
    let wanted = format!("{}\n", lines.join("\n"));
    assert_eq!(follow.ended().code(), Some(0), "{}", follow.err());
    assert_eq!(follow.out(), wanted, "{}", follow.err());
    assert!(
        follow.err().contains("going on where it was"),
        "{}",
        follow.err()
    );
    assert_eq!(logs.ended().code(), Some(0), "{}", logs.err());
    assert_eq!(logs.out(), wanted, "{}", logs.err());
}

#[test]
fn a_center_that_stays_away_ends_a_wait_with_a_clear_line() {
    let mut world = World::small();
    world.add("web/count", &NEVER, &[COUNTS]);
    let mut wait = world.spawn(&["run", "--wait", "web/count", "--connect-timeout", "1s"]);
    world.run_where("web/count", "runs", |run| run.started_at.is_some());
    world.kill_center();
    assert_eq!(wait.ended().code(), Some(6), "{}", wait.err());
    assert!(
        wait.err().contains("no center reached within 1s"),
        "{}",
        wait.err()
    );
    assert!(
        wait.err().contains("hint: the runs go on"),
        "{}",
        wait.err()
    );
    world.start_center();
}

#[test]
fn a_login_waits_for_a_center_that_is_being_started() {
    let mut world = World::empty();
    let token = world.must(&["token", "operator", "ann"]);
    fs::write(world.path("token"), &token).unwrap();
    fs::set_permissions(world.path("token"), fs::Permissions::from_mode(0o600)).unwrap();
    let (address, home) = (world.address(), world.path("ann").display().to_string());
    let file = world.path("token").display().to_string();
    world.kill_center();
    let args = [
        "login",
        &address,
        "--token-file",
        &file,
        "--context",
        "x",
        "--home",
        &home,
        "--connect-timeout",
        "30s",
    ];
    let mut command = program(CLIENT);
    let child = command
        .args(args)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let mut login = world::Running::new(child.spawn().unwrap());
    world.start_center();
    assert_eq!(login.ended().code(), Some(0), "{}", login.err());
}

#[test]
fn status_with_check_says_what_is_wrong_in_every_form() {
    let mut world = World::small();
    world.ucron(&["status", "--check"]).exits(0);
    world.kill_agent("a1");
    world::eventually("the agent is seen to be away", || {
        world.ucron(&["status", "--check"]).code == 1
    });
    let answer = world.ucron(&["status", "--check"]).exits(1);
    assert!(answer.out.contains("problem  agent a1"), "{answer:?}");
    let answer = world.ucron(&["status", "--check", "-q"]).exits(1);
    assert!(answer.err.contains("problem: agent a1"), "{answer:?}");
    let answer = world.ucron(&["status", "--check", "-o", "json"]).exits(1);
    assert!(
        answer.json()["problems"][0]
            .as_str()
            .unwrap()
            .contains("a1")
    );
    world.ucron(&["status"]).exits(0);
}
