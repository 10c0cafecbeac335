//! What became of the attempts that a former keeper of this boot had under way. A process is ours when boot, pid
//! and start time fit what was recorded and it is in the attempt's own tree; a file that merely names a pid is
//! not enough.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::Path;

use super::dir::file_name;
use super::mark::Marked;
use super::stub;
use super::supervise::{Attempt, Exit, Key};
use super::sys::Stage;
use super::tree::{Tree, cgroup_of, has_ended, is_populated, open_pid, stat};
use super::wire::BootMs;

/// Ticks of `/proc/PID/stat` in a second: fixed in Linux's interface to programs.
const TICKS: u64 = 100;
/// Times of two sources differ by their rounding.
const SLACK_MS: u64 = 20;

/// What became of an attempt.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing was executed.
    NotExecuted,
    /// execve, or what comes before it under a sub-reaper, failed.
    Failed(Stage, i32),
    /// The command ended.
    Ended {
        /// Its pid and when it was alive.
        started: (i32, BootMs),
        /// How.
        exit: Exit,
        /// What may be left.
        tree: Option<Tree>,
    },
    /// The command runs.
    Runs {
        /// Its pid and when it was executed.
        started: (i32, BootMs),
        /// Its descriptor, where it is watched itself.
        pidfd: Option<OwnedFd>,
        /// Its tree.
        tree: Tree,
    },
}

/// Where to look.
#[derive(Debug)]
pub(super) struct Search<'a> {
    /// The keeper's cgroup, where there is one.
    pub base: Option<&'a Path>,
    /// Records of sub-reapers.
    pub stubs: &'a Path,
    /// Marks of children.
    pub marks: &'a HashMap<Key, Marked>,
}

impl Search<'_> {
    /// Finds out about one attempt.
    pub fn find(&self, attempt: &Attempt) -> Found {
        let record = self.stubs.join(file_name(&attempt.key));
        if record.exists() {
            return find_under_stub(&record, &attempt.key);
        }
        let marked = match self.marks.get(&attempt.key) {
            Some(Marked::Failed { errno }) => return Found::Failed(Stage::Exec, *errno),
            Some(Marked::Started { pid, boot_ns }) => Some((*pid, BootMs(boot_ns / 1_000_000))),
            None => None,
        };
        let Some(started) = marked.or(attempt.started) else {
            return Found::NotExecuted;
        };
        let cgroup = self.base.map(|base| cgroup_of(base, &attempt.key));
        let tree = cgroup
            .as_ref()
            .filter(|path| is_populated(path))
            .map(|path| Tree::Cgroup(path.clone()));
        let pidfd = cgroup.and_then(|path| find_process(attempt, started, &path));
        match (pidfd, tree) {
            (Some(pidfd), Some(tree)) => Found::Runs {
                started,
                pidfd: Some(pidfd),
                tree,
            },
            (_, tree) => Found::Ended {
                started,
                exit: Exit::Unknown("it ended while no keeper was there to see how".to_owned()),
                tree,
            },
        }
    }
}

/// The process, if it is the one that was started: same pid, started between order and mark, leader of its own
/// session (which a process cannot leave once it leads one), and in the attempt's cgroup.
fn find_process(attempt: &Attempt, started: (i32, BootMs), cgroup: &Path) -> Option<OwnedFd> {
    let (pid, alive_at) = started;
    let pidfd = open_pid(pid).ok()?;
    let stat = stat(pid).filter(|stat| !stat.zombie)?;
    let started_at = stat.start * 1000 / TICKS;
    let fits = started_at + SLACK_MS >= attempt.not_before.0
        && started_at <= alive_at.0 + SLACK_MS
        && stat.session == pid;
    let place = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let name = cgroup.file_name()?.to_str()?;
    let inside = place
        .lines()
        .filter_map(|line| line.strip_prefix("0::"))
        .any(|path| path.split('/').any(|part| part == name));
    // Still the same process after all that was read of it.
    (fits && inside && !has_ended(&pidfd)).then_some(pidfd)
}

fn find_under_stub(path: &Path, key: &Key) -> Found {
    let record = stub::read(path);
    if let Some((stage, errno)) = record.failed {
        return Found::Failed(stage, errno);
    }
    let Some(started) = record.started else {
        return Found::NotExecuted;
    };
    let tree = record
        .stub
        .and_then(|(pid, start)| find_stub(pid, start, key));
    match (record.exit, tree) {
        (Some(exit), tree) => Found::Ended {
            started,
            exit,
            tree,
        },
        (None, Some(tree)) => Found::Runs {
            started,
            pidfd: None,
            tree,
        },
        (None, None) => Found::Ended {
            started,
            exit: Exit::Unknown("its sub-reaper ended before it".to_owned()),
            tree: None,
        },
    }
}

/// The sub-reaper, if it lives: same pid and start time, and its arguments name the attempt.
fn find_stub(pid: i32, start: u64, key: &Key) -> Option<Tree> {
    let pidfd = open_pid(pid).ok()?;
    let same = stat(pid).is_some_and(|stat| stat.start == start && !stat.zombie);
    let args = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let name = file_name(key);
    let named = args
        .split(|byte| *byte == 0)
        .any(|arg| arg == name.as_bytes());
    (same && named && !has_ended(&pidfd)).then_some(Tree::Stub { pid, pidfd })
}
