//! What may be asked of a keeper by whoever reaches its socket, and what becomes of its files where DIR belongs to
//! an agent that has turned against it.
#![allow(
    clippy::unwrap_used,
    reason = "what a test's helper cannot do fails the test"
)]

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;

use rustix::process::Signal;
use ucron::exec::wire::{Assignment, Command, Event, KEEPER_PROTOCOL, LogFrom};
use ucron::model::{AgentName, Epoch, Outcome, RunId, TaskId, UserName, Work};

use crate::world::{
    Agent, World, count_files, eventually, is_root, needs_root, output, program, run_user, shell,
    start, text,
};

/// Says lines at the socket; what the keeper answers until it closes the link.
fn say(state: &Path, lines: &[&str]) -> String {
    let mut stream = UnixStream::connect(state.join("keeper.sock")).unwrap();
    for line in lines {
        // A link that is closed meanwhile is what is looked for.
        let _ = stream.write_all(line.as_bytes());
        let _ = stream.write_all(b"\n");
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn json(command: &Command) -> String {
    serde_json::to_string(command).unwrap()
}

fn hello() -> String {
    json(&Command::Hello {
        protocol: KEEPER_PROTOCOL,
        agent: AgentName::parse("evil").unwrap(),
    })
}

#[test]
fn what_is_no_command_closes_the_link_and_harms_nobody() {
    let world = World::new("subreaper");
    let state = world.state();
    let agent = world.agent();
    let long = start(shell("exec sleep 300"));
    let run = long.run.run_id.clone();
    agent.send(Command::Start(Box::new(long)));
    let pid = agent.started(&run);
    let check = |lines: &[&str]| {
        let answer = say(&state, lines);
        assert!(!answer.contains("error"), "{answer}");
        assert!(crate::world::is_alive(pid));
        assert!(ucron::exec::is_running(&state));
    };
    // Before the hello nothing is obeyed but the word to end, which is the owner's.
    check(&[r#"{"kind":"forget","run_id":"5h2nq8c1v7w3x9y4z6a0b2d5e8"}"#]);
    check(&[&json(&Command::Kill {
        run_id: run.clone(),
        signal: 9,
        reason: "x".to_owned(),
    })]);
    for bad in [
        "",
        "GET / HTTP/1.1",
        "[]",
        "null",
        r#"{"kind":"exec","command":"/bin/sh"}"#,
        r#"{"kind":"hello","protocol":1,"agent":"../../etc"}"#,
        r#"{"kind":"hello","protocol":1,"agent":"a1","uid":0}"#,
        "\u{0}\u{0}\u{0}",
    ] {
        check(&[bad]);
    }
    let deep = "[".repeat(100_000);
    check(&[&deep]);
    let long = "x".repeat(3 * 1024 * 1024);
    check(&[&long]);
    // Forged ids never become paths.
    for id in [
        "../../../etc/passwd",
        "/etc/passwd",
        "",
        "5h2nq8c1v7w3x9y4z6a0b2d5e8/..",
    ] {
        let read = format!(
            r#"{{"kind":"read_log","stream":1,"run_id":"{id}","attempt":1,"from":{{"offset":0}},"follow":false}}"#
        );
        check(&[&hello(), &read]);
    }
    let agent = world.agent();
    assert_eq!(agent.run(shell("true")).outcome, Outcome::Succeeded);
}

#[test]
fn unknown_runs_and_endless_readers_are_answered() {
    let world = World::new("subreaper");
    let agent = world.agent();
    let forged = RunId::hash(b"forged");
    for command in [
        Command::Stop {
            run_id: forged.clone(),
            reason: "x".to_owned(),
        },
        Command::Kill {
            run_id: forged.clone(),
            signal: 9,
            reason: "x".to_owned(),
        },
        Command::Forget {
            run_id: forged.clone(),
        },
        Command::Disarm {
            run_id: forged.clone(),
        },
    ] {
        agent.send(command);
    }
    let read = |stream, run_id: &RunId, follow| {
        agent.send(Command::ReadLog {
            stream,
            run_id: run_id.clone(),
            attempt: None,
            from: LogFrom::Offset(0),
            follow,
        });
    };
    let refusal = |stream| {
        agent.wait("an answer", |event| match event {
            Event::LogEnd {
                stream: of,
                error: Some(error),
            } if *of == stream => Some(error.clone()),
            _ => None,
        })
    };
    read(1, &forged, true);
    assert!(refusal(1).contains("no output of run"));
    let long = start(shell("exec sleep 300"));
    let run = long.run.run_id.clone();
    agent.send(Command::Start(Box::new(long)));
    agent.started(&run);
    for stream in 10..10 + 300 {
        read(stream, &run, true);
    }
    assert!(refusal(309).contains("readers of output are served already"));
    assert_eq!(agent.run(shell("true")).outcome, Outcome::Succeeded);
}

#[test]
fn a_text_that_no_center_takes_is_refused() {
    let world = World::new("subreaper");
    let agent = world.agent();
    let check = |change: &dyn Fn(&mut Work), wanted: &str| {
        let mut work = shell("true");
        change(&mut work);
        let ending = agent.run(work);
        assert_eq!(ending.outcome, Outcome::Failed);
        assert!(ending.reason.starts_with("refused: "), "{ending:?}");
        assert!(ending.reason.contains(wanted), "{ending:?}");
    };
    let own = |work: &mut Work| drop(work.env.insert("UCRON_X".to_owned(), "1".to_owned()));
    check(&own, "UCRON_X");
    let two = |work: &mut Work| drop(work.env.insert("A=B".to_owned(), "1".to_owned()));
    check(&two, "A=B");
    check(&|work| work.cwd = Some("etc".to_owned()), "absolute");
    check(&|work| work.env_file = Some("../x".to_owned()), "absolute");
    check(&|work| work.umask = 0o7_777, "umask");
    if is_root() {
        check(
            &|work| work.run_user = UserName::parse("root").unwrap(),
            "root",
        );
    }
    let mut many = text(shell("exec sleep 300"));
    many.work.daemon = true;
    many.work.processes = u16::MAX;
    agent.send(Command::Assign(Box::new(Assignment {
        text: many,
        epoch: Epoch(7),
    })));
    // The next in line is obeyed, and nothing of the daemon is in the set at connect.
    assert_eq!(agent.run(shell("true")).outcome, Outcome::Succeeded);
    let again = world.agent();
    let assigned: Option<TaskId> = again.wait("the set", |event| match event {
        Event::Assigned { task, .. } => Some(Some(task.clone())),
        Event::SetEnd => Some(None),
        _ => None,
    });
    assert_eq!(assigned, None);
}

#[test]
fn other_accounts_are_turned_away() {
    if !needs_root("a peer of another account") {
        return;
    }
    let world = World::new("subreaper");
    let stop = world.work("stop");
    std::fs::copy(env!("CARGO_BIN_EXE_ucron-keeper"), &stop).unwrap();
    let as_nobody = || {
        let mut command = program("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.arg(&stop).args(["stop", "--state"]);
        let said = command.arg(world.state()).output().unwrap();
        assert!(!said.status.success());
        assert!(ucron::exec::is_running(&world.state()));
        String::from_utf8(said.stderr).unwrap()
    };
    assert!(as_nobody().contains("Permission denied"));
    // Even where the modes would let it in.
    let open = PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(world.state(), open).unwrap();
    let open = PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(world.state().join("keeper.sock"), open).unwrap();
    as_nobody();
}

/// A root keeper in a directory of `nobody`'s; runs are `daemon`'s.
fn separated() -> World {
    let mut world = World::new("subreaper");
    world.end_keeper(Signal::TERM);
    std::fs::remove_dir_all(world.state()).unwrap();
    std::fs::create_dir(world.state()).unwrap();
    std::fs::set_permissions(world.state(), PermissionsExt::from_mode(0o700)).unwrap();
    chown(world.state(), Some(65_534), Some(65_534)).unwrap();
    world
}

fn of_daemon(line: &str) -> Work {
    let mut work = shell(line);
    work.run_user = UserName::parse("daemon").unwrap();
    work
}

/// Owner and mode.
fn owned(path: &Path) -> (u32, u32) {
    let meta = std::fs::symlink_metadata(path).unwrap();
    (meta.uid(), meta.mode() & 0o7777)
}

#[test]
fn in_an_agents_directory_root_keeps_what_is_roots() {
    if !needs_root("a keeper in a directory of another account") {
        return;
    }
    let mut world = separated();
    let state = world.state();
    // What the agent writes for its keeper is not believed, were it the head of a secret file.
    symlink("/etc/shadow", state.join("keeper.toml")).unwrap();
    world.start();
    assert_eq!(owned(&state.join("keeper.sock")), (65_534, 0o600));
    for own in ["keeper", "output"] {
        assert_eq!(owned(&state.join(own)), (0, 0o700), "{own}");
    }
    let agent = world.agent();
    assert_eq!(output(&agent, of_daemon("id -un")), "daemon\n");
    let refused = agent.run(shell("true"));
    assert_eq!(run_user(), "nobody");
    assert!(
        refused.reason.contains("agent's own account"),
        "{refused:?}"
    );
    // The agent gives root's names to places of its choice.
    let victim = world.work("victim");
    std::fs::create_dir(&victim).unwrap();
    for own in ["output", "keeper"] {
        std::fs::rename(state.join(own), state.join(format!("{own}.old"))).unwrap();
        symlink(&victim, state.join(own)).unwrap();
    }
    assert_eq!(output(&agent, of_daemon("echo kept")), "kept\n");
    assert_eq!(count_files(&victim), 0);
    assert!(count_files(&state.join("output.old")) >= 2);
    // The next keeper follows no link of the agent's.
    world.end_keeper(Signal::TERM);
    let next = program(env!("CARGO_BIN_EXE_ucron-keeper"))
        .args(["run", "--state"])
        .arg(&state)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let words = String::from_utf8(next.stderr).unwrap();
    assert!(
        !next.status.success() && words.contains("cannot open"),
        "{words}"
    );
    for own in ["output", "keeper"] {
        std::fs::remove_file(state.join(own)).unwrap();
        std::fs::rename(state.join(format!("{own}.old")), state.join(own)).unwrap();
    }
    world.start();
}

#[test]
fn a_policy_in_an_agents_directory_outlives_its_removal() {
    if !needs_root("a keeper in a directory of another account") {
        return;
    }
    let mut world = separated();
    let policy = world.state().join("policy.toml");
    std::fs::write(&policy, "users = [\"bin\"]\n").unwrap();
    world.start();
    let agent = world.agent();
    let check = |agent: &Agent| {
        let reason = agent.run(of_daemon("true")).reason;
        assert!(reason.contains("does not allow user `daemon`"), "{reason}");
    };
    check(&agent);
    std::fs::remove_file(&policy).unwrap();
    check(&agent);
    // One that the agent writes itself counts for nothing, and stops everything.
    std::fs::write(&policy, "users = [\"daemon\", \"root\"]\n").unwrap();
    chown(&policy, Some(65_534), Some(65_534)).unwrap();
    let reason = agent.run(of_daemon("true")).reason;
    assert!(reason.contains("nobody else can write"), "{reason}");
}

#[test]
fn the_policy_is_read_again_and_told() {
    let mut world = World::new("subreaper");
    let policy = world.state().join("policy.toml");
    let user = run_user();
    let told = |agent: &Agent, shell: Option<bool>| {
        agent.wait("the policy", |event| match event {
            Event::Policy(policy) => {
                let rules = policy.rules.as_ref();
                (rules.and_then(|rules| rules.shell) == shell).then_some(())
            }
            _ => None,
        });
    };
    let agent = world.agent();
    told(&agent, None);
    let write = |more: &str| std::fs::write(&policy, format!("users = [\"{user}\"]\n{more}"));
    write("commands = [[\"/bin/echo\", \"-n\"]]\nshell = false\n").unwrap();
    crate::world::kill(world.keeper_pid(), Signal::HUP);
    told(&agent, Some(false));
    let reason = agent.run(shell("true")).reason;
    let wanted = format!(
        "refused: the policy of this host does not allow shell lines; to allow them, write `shell = true` in `{}`",
        policy.display()
    );
    assert_eq!(reason, wanted);
    let words = |words: &[&str]| agent.run(crate::world::vector(words));
    assert_eq!(words(&["/bin/echo", "-n", "x"]).outcome, Outcome::Succeeded);
    assert!(
        words(&["/bin/echo", "x"])
            .reason
            .contains("the command `/bin/echo x`")
    );
    // A typo leaves what counted, and is shown with its line.
    write("commands = [[\"/bin/echo\", \"-n\"]]\nshel = true\n").unwrap();
    crate::world::kill(world.keeper_pid(), Signal::HUP);
    assert_eq!(words(&["/bin/echo", "-n", "x"]).outcome, Outcome::Succeeded);
    assert_eq!(agent.run(shell("true")).reason, wanted);
    write("groups = [\"other\"]\n").unwrap();
    assert!(words(&["/bin/true"]).reason.contains("tasks of group `g`"));
    write("groups = [\"g\"]\n").unwrap();
    assert_eq!(agent.run(shell("true")).outcome, Outcome::Succeeded);
    // At its start a keeper has no former policy: what it cannot understand allows nothing.
    write("shel = true\n").unwrap();
    world.end_keeper(Signal::TERM);
    world.start();
    let reason = world.agent().run(shell("true")).reason;
    assert!(
        reason.contains("policy.toml:2:1: unknown field `shel`"),
        "{reason}"
    );
    write("").unwrap();
    eventually("it is read", || {
        world.agent().run(shell("true")).outcome == Outcome::Succeeded
    });
}
