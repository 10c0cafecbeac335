//! `ucron dev`: a fleet by one command, and nothing of it afterwards.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::world::{CLIENT, Running, eventually, processes_with, program, signal};

/// A fleet in an empty directory.
fn dev(args: &[&str]) -> (TempDir, Running) {
    let dir = tempfile::Builder::new().prefix("ucron-it-dev").tempdir();
    let dir = dir.unwrap();
    let mut command = program(CLIENT);
    command.arg("dev").args(args);
    command
        .env("XDG_RUNTIME_DIR", dir.path())
        .env("HOME", dir.path());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = Running::new(child.spawn().unwrap());
    (dir, running)
}

/// The cgroup in which the fleet's keeper holds its runs, where it uses one; its log names it.
fn cgroup(dir: &Path) -> Option<PathBuf> {
    let fleet = std::fs::read_dir(dir).unwrap().next().unwrap().unwrap();
    let log = std::fs::read_to_string(fleet.path().join("agent/keeper.log")).unwrap();
    let (_, rest) = log.split_once("trees=Cgroup(\"")?;
    let path = PathBuf::from(rest.split('"').next().unwrap());
    assert!(path.is_dir(), "{}", path.display());
    Some(path)
}

fn ends_cleanly(with: Signal) {
    let (dir, mut running) = dev(&[]);
    eventually("a run ends well", || {
        let out = running.out();
        let mut lines = out.lines();
        lines.any(|line| line.contains("run_ended") && line.contains("succeeded"))
    });
    assert!(running.err().contains("UCRON_HOME="), "{}", running.err());
    let cgroup = cgroup(dir.path());
    signal(running.pid(), with);
    let status = running.ended();
    assert_eq!(status.code(), Some(0), "{}", running.err());
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(
        cgroup.is_none_or(|path| !path.exists()),
        "its cgroup is left"
    );
    let name = dir.path().display().to_string();
    assert_eq!(processes_with(&name), [] as [u32; 0]);
}

#[test]
fn shows_fires_and_leaves_nothing_after_int() {
    ends_cleanly(Signal::INT);
}

#[test]
fn shows_fires_and_leaves_nothing_after_term() {
    ends_cleanly(Signal::TERM);
}

#[test]
fn shows_fires_and_leaves_nothing_after_hup() {
    ends_cleanly(Signal::HUP);
}

#[test]
fn leaves_nothing_where_it_is_told_to_end_while_it_is_being_made() {
    let (dir, mut running) = dev(&[]);
    eventually("its directory is there", || {
        std::fs::read_dir(dir.path()).unwrap().count() > 0
    });
    signal(running.pid(), Signal::INT);
    running.ended();
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}: {}", running.err());
    let name = dir.path().display().to_string();
    eventually("no process of it is left", || {
        processes_with(&name).is_empty()
    });
}

#[test]
fn keeps_what_it_is_told_to_keep() {
    let outer = tempfile::tempdir().unwrap();
    let kept = outer.path().join("fleet").display().to_string();
    for _ in 0..2 {
        let (_dir, mut running) = dev(&["--keep", &kept]);
        eventually("a run ends well", || running.out().contains(" succeeded "));
        signal(running.pid(), Signal::TERM);
        assert!(running.ended().success(), "{}", running.err());
        assert_eq!(processes_with(&kept), [] as [u32; 0]);
    }
}
