//! What became of the attempts that a former keeper of this boot had under way. A process is ours when boot, pid
//! and start time fit what was recorded and it is in the attempt's own tree; a file that merely names a pid is
//! not enough.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::dir::file_name;
use super::mark::{Marked, Marks};
use super::stub;
use super::supervise::{Attempt, Exit, Key};
use super::sys::{self, Stage};
use super::tree::{
    Tree, cgroup_of, exit_of_zombie, has_ended, is_populated, is_unreaped, open_pid, stat,
};
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
    /// Nothing says that it was executed, but something cannot be read.
    Doubtful(String),
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
        /// The command itself, where it lives and nothing holds its tree together any more.
        orphan: Option<OwnedFd>,
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
    pub base: Option<PathBuf>,
    /// Records of sub-reapers.
    pub stubs: PathBuf,
    /// Marks of children.
    pub marks: &'a Marks,
}

impl Search<'_> {
    /// Finds out about one attempt.
    pub fn find(&self, attempt: &Attempt) -> Found {
        let record = self.stubs.join(file_name(&attempt.key));
        let marked = match self.marks.get(&attempt.key) {
            Some(Marked::Failed { errno }) => return Found::Failed(Stage::Exec, errno),
            Some(Marked::Started { pid, boot_ns }) => Some((pid, BootMs(boot_ns / 1_000_000))),
            None => None,
        };
        let started = marked.or(attempt.started);
        if record.exists() {
            return self.find_under_stub(&record, attempt, started);
        }
        match started {
            Some(started) => self.find_in_cgroup(attempt, started),
            None => self.not_executed(false),
        }
    }

    /// Processes that carry an attempt's name, whether or not anything is known of it.
    pub fn trees(&self, key: &Key) -> Vec<Tree> {
        let cgroup = self.base.as_ref().map(|base| cgroup_of(base, key));
        let cgroup = cgroup.filter(|path| is_populated(path)).map(Tree::Cgroup);
        let record = stub::read(&self.stubs.join(file_name(key)));
        let stub = record
            .stub
            .and_then(|(pid, start)| find_stub(pid, start, key));
        cgroup.into_iter().chain(stub).collect()
    }

    /// Every child marks itself before its execve: one without a mark did not come so far, unless a mark is lost.
    fn not_executed(&self, torn: bool) -> Found {
        if torn || self.marks.torn {
            Found::Doubtful(
                "the keeper's record of starts is damaged; it may have started".to_owned(),
            )
        } else {
            Found::NotExecuted
        }
    }

    fn find_in_cgroup(&self, attempt: &Attempt, started: (i32, BootMs)) -> Found {
        let cgroup = self.base.as_ref().map(|base| cgroup_of(base, &attempt.key));
        let tree = cgroup
            .as_ref()
            .filter(|path| is_populated(path))
            .map(|path| Tree::Cgroup(path.clone()));
        let pidfd = cgroup.and_then(|path| {
            let pidfd = find_process(attempt.not_before, started)?;
            is_inside(started.0, &path).then_some(pidfd)
        });
        match (pidfd, tree) {
            (Some(pidfd), Some(tree)) if !has_ended(&pidfd) => Found::Runs {
                started,
                pidfd: Some(pidfd),
                tree,
            },
            (pidfd, tree) => Found::Ended {
                started,
                exit: pidfd
                    .and_then(|pidfd| exit_status(started.0, &pidfd))
                    .unwrap_or_else(|| {
                        Exit::Unknown("it ended while no keeper was there to see how".to_owned())
                    }),
                tree,
                orphan: None,
            },
        }
    }

    fn find_under_stub(
        &self,
        path: &Path,
        attempt: &Attempt,
        started: Option<(i32, BootMs)>,
    ) -> Found {
        let record = stub::read(path);
        if let Some((stage, errno)) = record.failed {
            return Found::Failed(stage, errno);
        }
        let Some(started) = record.started.or(started) else {
            return self.not_executed(record.torn);
        };
        let tree = record
            .stub
            .and_then(|(pid, start)| find_stub(pid, start, &attempt.key));
        match (record.exit, tree) {
            (Some(exit), tree) => Found::Ended {
                started,
                exit,
                tree,
                orphan: None,
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
                orphan: find_orphan(&attempt.key, attempt.not_before, started),
            },
        }
    }
}

/// The process, alive or not yet reaped, if it is the one that was started: same pid, started between order and mark,
/// leader of its own session, which a process cannot leave once it leads one.
fn find_process(not_before: BootMs, (pid, alive_at): (i32, BootMs)) -> Option<OwnedFd> {
    let pidfd = open_pid(pid).ok()?;
    let stat = stat(pid)?;
    let started_at = stat.start * 1000 / TICKS;
    let fits = started_at + SLACK_MS >= not_before.0
        && started_at <= alive_at.0 + SLACK_MS
        && stat.session == pid;
    // It still has its pid after all that was read of it.
    (fits && is_unreaped(pid, &pidfd)).then_some(pidfd)
}

/// How a process ended that is not this one's child: the kernel tells that until its parent has reaped it in one way,
/// and after that (since 6.15) in another.
pub(super) fn exit_status(pid: i32, pidfd: &OwnedFd) -> Option<Exit> {
    let status = exit_of_zombie(pid, pidfd).or_else(|| sys::exit_status(pidfd.as_fd()));
    status.map(Exit::of_status)
}

/// The command of a sub-reaper that is gone. Nothing holds it in a tree any more, so it must also carry the run's id in
/// its environment, as it was executed.
pub(super) fn find_orphan(
    key: &Key,
    not_before: BootMs,
    started: (i32, BootMs),
) -> Option<OwnedFd> {
    let pidfd = find_process(not_before, started)?;
    let environ = std::fs::read(format!("/proc/{}/environ", started.0)).ok()?;
    let wanted = format!("UCRON_RUN_ID={}", key.0);
    let named = environ
        .split(|byte| *byte == 0)
        .any(|variable| variable == wanted.as_bytes());
    (named && !has_ended(&pidfd)).then_some(pidfd)
}

fn is_inside(pid: i32, cgroup: &Path) -> bool {
    let place = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let name = cgroup.file_name().and_then(|name| name.to_str());
    place
        .lines()
        .filter_map(|line| line.strip_prefix("0::"))
        .any(|path| path.split('/').any(|part| Some(part) == name))
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
