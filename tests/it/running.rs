//! One run: its outcome, its account and environment, timeout, retries, output, targets.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use std::collections::BTreeMap;

use crate::world::{World, ask, eventually, millis, needs_root, program, run_uid, run_user};

const NEVER: [&str; 2] = ["--rule", "0 0 1 1 *"];

#[test]
fn an_outcome_tells_how_the_command_ended() {
    let world = World::small();
    let check =
        |name: &str, flags: &[&str], work: &[&str], expected: (&str, Option<i32>, Option<i32>)| {
            let task = format!("web/{name}");
            world.add(&task, &[&NEVER[..], flags].concat(), work);
            let run = world.run_now(&task);
            let got = (run.outcome.as_deref().unwrap(), run.exit_code, run.signal);
            assert_eq!(got, expected, "{run:?}");
            run
        };
    check("good", &[], &["true"], ("succeeded", Some(0), None));
    check("bad", &[], &["exit 3"], ("failed", Some(3), None));
    check(
        "allowed",
        &["--success-codes", "0,3"],
        &["exit 3"],
        ("succeeded", Some(3), None),
    );
    check("killed", &[], &["kill -9 $$"], ("failed", None, Some(9)));
    let run = check(
        "absent",
        &[],
        &["/no/such/program", "x"],
        ("failed", Some(127), None),
    );
    assert!(run.reason.starts_with("exec: "), "{run:?}");
    let run = check(
        "closed",
        &[],
        &["/etc/passwd", "x"],
        ("failed", Some(126), None),
    );
    assert!(run.reason.starts_with("exec: "), "{run:?}");
    let run = check(
        "elsewhere",
        &["--cwd", "/no/such/place"],
        &["true"],
        ("failed", None, None),
    );
    assert!(run.reason.starts_with("setup: "), "{run:?}");
    let run = check(
        "cut",
        &["--timeout", "300ms"],
        &["exec sleep 60"],
        ("timed_out", None, Some(15)),
    );
    assert!(run.reason.contains("300ms"), "{run:?}");
    // No percent sign means anything, and no word is split twice.
    check(
        "plain",
        &[],
        &["sh", "-c", "test \"$1\" = '50% a  b'", "-", "50% a  b"],
        ("succeeded", Some(0), None),
    );
}

#[test]
fn an_unknown_user_and_one_that_the_host_refuses_fail_with_words() {
    let world = World::small();
    let add = |task: &str, user: &str| {
        world.must(&World::add_args(task, &NEVER, &["true"], user));
        let run = world.run_now(task);
        assert!(run.is("failed") && run.pid.is_none(), "{run:?}");
        run.reason
    };
    let reason = add("web/unknown", "no-such-user");
    assert!(reason.contains("no-such-user"), "{reason}");
    if needs_root("a root keeper without a policy refuses root") {
        let reason = add("web/root", "root");
        assert!(
            reason.starts_with("refused: ") && reason.contains("root"),
            "{reason}"
        );
        world.allow_users("a1", &["root"]);
        assert!(world.run_now("web/root").is("succeeded"));
    }
}

#[test]
fn a_failed_attempt_is_tried_again_and_the_run_has_one_outcome() {
    let world = World::small();
    let flags = [
        "--retries",
        "3",
        "--backoff",
        "50ms..100ms",
        "--output=tail",
    ];
    let count = world.work_name("count");
    let line =
        format!("echo attempt $UCRON_ATTEMPT; echo x >>{count}; test $(wc -l <{count}) -ge 3");
    world.add("web/t", &[&NEVER[..], &flags].concat(), &[&line]);
    let run = world.run_now("web/t");
    assert!(run.is("succeeded"), "{run:?}");
    assert_eq!((run.attempt, world.tail(&run).as_str()), (3, "attempt 3\n"));
    assert_eq!(world.runs("web/t").len(), 1);
    world.add(
        "web/never",
        &[&NEVER[..], &["--retries", "2", "--backoff", "10ms"]].concat(),
        &["exit 7"],
    );
    let run = world.run_now("web/never");
    assert_eq!(
        (run.attempt, run.exit_code, run.is("failed")),
        (3, Some(7), true),
        "{run:?}"
    );
}

#[test]
fn a_command_runs_with_the_accounts_groups_and_a_clean_environment() {
    let world = World::small();
    world.add(
        "web/t",
        &[&NEVER[..], &["--output=tail", "--env", "EXTRA=a b"]].concat(),
        &["id; pwd; env"],
    );
    let run = world.run_now("web/t");
    let tail = world.tail(&run);
    let mut lines = tail.lines();
    let mut id = program("id");
    let mine = ask(id.arg(run_user()), "").exits(0);
    assert_eq!(lines.next(), Some(mine.out.trim()));
    let cwd = lines.next().unwrap();
    let env: BTreeMap<_, _> = lines.filter_map(|line| line.split_once('=')).collect();
    let home = if std::path::Path::new(env["HOME"]).is_dir() {
        env["HOME"]
    } else {
        "/"
    };
    assert_eq!(cwd, home);
    let check =
        |name: &str, value: &str| assert_eq!(env.get(name), Some(&value), "{name} in {tail}");
    for name in ["USER", "LOGNAME"] {
        check(name, &run_user());
    }
    check("SHELL", "/bin/sh");
    check("PATH", "/usr/local/bin:/usr/bin:/bin");
    check("LANG", "C.UTF-8");
    check("EXTRA", "a b");
    check("UCRON_TASK", "t");
    check("UCRON_GROUP", "web");
    check("UCRON_AGENT", "a1");
    check("UCRON_RUN_ID", &run.run_id);
    check("UCRON_SLOT", "0");
    check("UCRON_PROCESSES", "1");
    check("UCRON_ATTEMPT", "1");
    check("UCRON_SCHEDULED_AT", &run.scheduled_at);
    check("UCRON_CAUSE", "operator");
    check("UCRON_REVISION", "1");
    let known = [
        "HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "EXTRA", "PWD", "OLDPWD", "_", "SHLVL",
    ];
    let stray: Vec<_> = env
        .keys()
        .filter(|name| !name.starts_with("UCRON_") && !known.contains(name))
        .collect();
    assert!(stray.is_empty(), "{stray:?}");
}

#[test]
fn a_command_inherits_nothing_and_has_no_terminal() {
    let world = World::small();
    let check = |name: &str, work: &[&str], expected: &str| {
        let task = format!("web/{name}");
        world.add(&task, &[&NEVER[..], &["--output=tail"]].concat(), work);
        assert_eq!(world.tail(&world.run_now(&task)), expected);
    };
    // Standard input, output, error, and the directory that is read.
    check("fds", &["ls", "/proc/self/fd"], "0\n1\n2\n3\n");
    check("stdin", &["readlink", "/proc/self/fd/0"], "/dev/null\n");
    check("umask", &["umask"], "0022\n");
    let none = "0000000000000000";
    check(
        "signals",
        &["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"],
        &format!("SigBlk:\t{none}\nSigIgn:\t{none}\n"),
    );
    // The session is its own; the terminal's number is 0.
    check(
        "session",
        &["set -- $(cat /proc/self/stat); test $6 = $$ && echo $7"],
        "0\n",
    );
}

#[test]
fn settings_of_a_task_reach_its_command() {
    let world = World::small();
    let file = world.work_name("env");
    std::fs::write(&file, "# more\nFROM_FILE=yes\nEXTRA=file\n").unwrap();
    let cwd = world.work_name("");
    let flags = [
        "--output=tail",
        "--cwd",
        &cwd,
        "--umask",
        "027",
        "--nice",
        "5",
        "--limit",
        "nofile=77",
        "--env-file",
        &file,
    ];
    let line = "pwd; umask; nice; ulimit -n; echo $FROM_FILE";
    world.add("web/t", &[&NEVER[..], &flags].concat(), &[line]);
    let tail = world.tail(&world.run_now("web/t"));
    let lines: Vec<_> = tail.lines().collect();
    assert_eq!(lines[0].trim_end_matches('/'), cwd.trim_end_matches('/'));
    assert_eq!(lines[1..], ["0027", "5", "77", "yes"], "{tail}");
}

#[test]
fn a_rule_of_milliseconds_fires_on_its_grid_and_never_before() {
    let world = World::small();
    let note = world.note_flags();
    let flags: Vec<&str> = note
        .iter()
        .map(String::as_str)
        .chain(["--rule", "@every 250ms", "--overlap", "allow"])
        .collect();
    world.add("web/t", &flags, &[". $NOTE"]);
    eventually("twelve fires", || {
        world.written("ledger").lines().count() >= 12
    });
    world.must(&["stop", "web/t"]);
    let mut instants = Vec::new();
    for line in world.written("ledger").lines() {
        let words: Vec<_> = line.split(' ').collect();
        let (scheduled, started): (i64, i64) = (millis(words[3]), words[4].parse().unwrap());
        assert_eq!(scheduled % 250, 0, "{line}");
        assert!(started >= scheduled, "fired before its time: {line}");
        assert_eq!(words[6], run_uid().to_string());
        instants.push(scheduled);
    }
    instants.sort_unstable();
    for pair in instants.windows(2) {
        assert_eq!(pair[1] - pair[0], 250, "{instants:?}");
    }
}

#[test]
fn target_one_runs_on_one_agent_and_named_targets_on_theirs() {
    let world = World::new(&[("a1", "web"), ("a2", "web"), ("a3", "web")]);
    world.add(
        "web/single",
        // What is run by hand waits for a run of the rule.
        &[
            "--rule",
            "@every 300ms",
            "--target",
            "one",
            "--overlap",
            "queue",
        ],
        &["true"],
    );
    world.add(
        "web/named",
        &["--rule", "@every 300ms", "--target", "a1,a3"],
        &["true"],
    );
    let ended = |task: &str| {
        let mut by_time: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for run in world
            .runs(task)
            .into_iter()
            .filter(|run| run.is("succeeded"))
        {
            by_time
                .entry(run.scheduled_at)
                .or_default()
                .push(run.agent.unwrap());
        }
        by_time
    };
    eventually("both ran often", || {
        ended("web/single").len() > 5 && ended("web/named").len() > 5
    });
    assert!(ended("web/single").values().all(|agents| agents.len() == 1));
    for mut agents in ended("web/named").into_values().take(4) {
        agents.sort();
        assert_eq!(agents, ["a1", "a3"]);
    }
    let runs = world.ucron(&["run", "--wait", "web/single"]).exits(0);
    assert_eq!(runs.out.lines().count(), 1);
}

#[test]
fn a_group_without_agents_misses_its_occurrences_with_the_reason() {
    let world = World::small();
    world.must(&["group", "add", "empty"]);
    let user = run_user();
    let args = World::add_args("empty/t", &["--rule", "@every 500ms"], &["true"], &user);
    let added = world.ucron(&args).exits(0);
    assert!(added.err.contains("agent"), "warns: {added:?}");
    let run = world.ended("empty/t");
    assert!(
        run.is("missed") && run.reason.starts_with("no agent"),
        "{run:?}"
    );
    assert_eq!((run.agent, run.exit_code), (None, None));
}
