//! An agent that is not root beside a keeper that is: started as another account, through sudo, or as root on a
//! directory that belongs to another account.
#![allow(
    clippy::unwrap_used,
    reason = "what a test's helper cannot do fails the test"
)]

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use crate::world::{
    AGENT, KEEPER, World, ask, eventually, found, is_alive, needs_root, processes_with, program,
    signal, tell,
};

/// The agents' account: `daemon`, which every Linux has.
const AGENTS: (&str, u32) = ("daemon", 1);

/// A fleet with one agent that has joined and whose directory is the agents' account's.
fn world() -> World {
    let mut world = World::empty();
    world.must(&["group", "add", "web"]);
    world.join("a1", "web");
    give(&world.path("a1"));
    world
}

fn give(path: &Path) {
    chown(path, Some(AGENTS.1), Some(AGENTS.1)).unwrap();
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path());
        }
    }
}

/// The agent and the keeper where the agents' account can execute them.
fn installed(world: &World) -> PathBuf {
    let dir = world.path("bin");
    std::fs::create_dir(&dir).unwrap();
    std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).unwrap();
    for built in [AGENT, KEEPER] {
        let to = dir.join(Path::new(built).file_name().unwrap());
        if std::fs::hard_link(built, &to).is_err() {
            std::fs::copy(built, &to).unwrap();
        }
    }
    dir
}

/// A program as the agents' account.
fn as_agents(path: &Path) -> Command {
    let mut command = program("setpriv");
    let (uid, gid) = (
        format!("--reuid={}", AGENTS.1),
        format!("--regid={}", AGENTS.1),
    );
    command.args([&uid, &gid]).arg("--clear-groups").arg(path);
    command
}

/// Real, effective, saved and file system's user.
fn uids(pid: u32) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:\t"));
    line.unwrap_or_default().replace('\t', " ")
}

/// Keepers of the agent's directory that were started with this verb.
fn keepers(world: &World, verb: &str) -> Vec<u32> {
    let state = world.path("a1").display().to_string();
    let is_it = |pid: &u32| {
        let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let words: Vec<&str> = text.split('\0').collect();
        words[0].ends_with("ucron-keeper") && words.get(1) == Some(&verb)
    };
    processes_with(&state).into_iter().filter(is_it).collect()
}

fn keeper(world: &World) -> u32 {
    found("the keeper", || keepers(world, "run").first().copied())
}

/// What holds however the two came to be.
fn check_separation(world: &World) {
    world.is_online("a1");
    assert_eq!(uids(world.agent_pid("a1")), "1 1 1 1");
    assert_eq!(uids(keeper(world)), "0 0 0 0");
    world.add("web/who", &["--rule", "@yearly", "--output"], &["id -un"]);
    let run = world.run_now("web/who");
    assert!(run.is("succeeded"), "{run:?}");
    assert_eq!(world.tail(&run), "nobody\n");
    assert_eq!(world.must(&["logs", "web/who"]), "nobody");
    check_files(world);
    // The agent's own account runs nothing, root only by name, and both are told when the task is added.
    for (user, why) in [
        (AGENTS.0, "`daemon` is the agent's own account"),
        ("root", "the policy of this host does not allow user `root`"),
    ] {
        let task = format!("web/as-{user}");
        let flags = ["--rule", "@yearly"];
        let args = World::add_args(&task, &flags, &["id"], user);
        let said = world.ucron(&args).exits(0);
        let warning = format!("agent a1 refuses this task: {why}");
        assert!(said.err.contains(&warning), "{said:?}");
        let run = world.run_now(&task);
        assert!(run.is("failed"), "{run:?}");
        assert!(
            run.reason.starts_with(&format!("refused: {why}")),
            "{run:?}"
        );
    }
}

/// The output is the keeper's, and comes to the agent through it alone.
fn check_files(world: &World) {
    let state = world.path("a1");
    for (name, uid) in [
        ("keeper.sock", AGENTS.1),
        ("identity.pem", AGENTS.1),
        ("keeper", 0),
        ("output", 0),
    ] {
        let meta = std::fs::metadata(state.join(name)).unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o077), (uid, 0), "{name}");
    }
    let mut list = as_agents(Path::new("ls"));
    ask(list.arg(state.join("output")), "").exits(2);
}

#[test]
fn an_agent_started_by_root_becomes_its_directorys_owner() {
    if !needs_root("an agent that steps down") {
        return;
    }
    let mut world = world();
    world.start_agent("a1");
    check_separation(&world);
    // A keeper that is gone is started again, as root, by what stayed root.
    let first = keeper(&world);
    signal(first, Signal::KILL);
    eventually("there is another keeper", || {
        let is_next = |pid: &u32| *pid != first && uids(*pid) == "0 0 0 0";
        keepers(&world, "run").iter().any(is_next)
    });
    eventually("runs go on", || world.run_now("web/who").is("succeeded"));
    // The attendant ends with its agent, however that ends.
    let attendants = keepers(&world, "attend");
    assert_eq!(attendants.len(), 1);
    assert_eq!(uids(attendants[0]), "0 0 0 0");
    world.kill_agent("a1");
    eventually("the attendant is gone", || !is_alive(attendants[0]));
    world.start_agent("a1");
    world.is_online("a1");
    assert!(world.run_now("web/who").is("succeeded"));
}

#[test]
fn a_host_joins_as_its_directorys_owner() {
    if !needs_root("joining for another account") {
        return;
    }
    let mut world = World::empty();
    world.must(&["group", "add", "web"]);
    let token = world.must(&["token", "agent", "--group", "web"]);
    let state = world.path("a1");
    std::fs::create_dir(&state).unwrap();
    std::fs::set_permissions(&state, PermissionsExt::from_mode(0o700)).unwrap();
    give(&state);
    // A token that root alone can read.
    let path = world.path("token");
    std::fs::write(&path, token).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let mut join = program(AGENT);
    join.args(["join", &world.address(), "--name", "a1", "--token-file"]);
    join.arg(path).arg("--state").arg(&state);
    ask(&mut join, "").exits(0);
    for entry in std::fs::read_dir(&state).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().uid(), AGENTS.1, "{entry:?}");
    }
    world.start_agent("a1");
    world.is_online("a1");
}

/// What `sudo` is asked to run.
fn keeper_command(world: &World, bin: &Path) -> String {
    let (bin, state) = (bin.display(), world.path("a1"));
    format!(
        "{bin}/ucron-keeper run --state {} --detach",
        state.display()
    )
}

#[test]
fn the_keeper_alone_goes_through_sudo() {
    if !needs_root("an agent of another account") {
        return;
    }
    let mut world = world();
    let bin = installed(&world);
    // A `sudo` that changes nothing but writes down what it runs.
    let log = world.work_name("sudo.log");
    let script = format!("#!/bin/sh\nprintf '%s\n' \"$*\" >> {log}\nshift 2\nexec \"$@\"\n");
    let sudo = bin.join("sudo");
    std::fs::write(&sudo, script).unwrap();
    std::fs::set_permissions(&sudo, PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = as_agents(&bin.join("ucron-agent"));
    command.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    world.start_agent_through("a1", command, &["--sudo"]);
    world.is_online("a1");
    let wanted = format!("-n -- {}\n", keeper_command(&world, &bin));
    assert_eq!(uids(keeper(&world)), "1 1 1 1");
    assert_eq!(world.written("sudo.log"), wanted);
}

#[test]
fn sudo_makes_the_keeper_root_and_nothing_else() {
    if !needs_root("an agent of another account") {
        return;
    }
    if program("sudo").arg("--version").output().is_err() {
        tell("skipped, needs sudo: a keeper that is started through it");
        return;
    }
    let mut world = world();
    let bin = installed(&world);
    // What an administrator writes, in a mount namespace of this agent's own.
    let command = keeper_command(&world, &bin);
    let rule = format!("daemon ALL=(root) NOPASSWD: {command}\n");
    let sudoers = world.path("sudoers");
    std::fs::write(&sudoers, rule).unwrap();
    std::fs::set_permissions(&sudoers, PermissionsExt::from_mode(0o440)).unwrap();
    let script = "mount --bind \"$0\" /etc/sudoers && exec \"$@\"";
    let mut command = program("unshare");
    command.args(["-m", "sh", "-c", script]).arg(sudoers);
    let agent = as_agents(&bin.join("ucron-agent"));
    command.arg(agent.get_program()).args(agent.get_args());
    world.start_agent_through("a1", command, &["--sudo"]);
    check_separation(&world);
}
