//! The processes of one attempt. Where a cgroup v2 hierarchy can be written, an attempt's own cgroup; elsewhere
//! a sub-reaper: a small process that inherits whatever the command leaves behind. Either way one attempt's
//! escaped processes are never mistaken for another's, and signals go through pidfds.

use std::collections::{HashMap, HashSet};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::dir::file_name;
use super::supervise::Key;

/// Rounds in which the descendants of a sub-reaper are looked for, so that what forks meanwhile is found too.
const ROUNDS: usize = 20;

/// How trees are held together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Trees {
    /// A cgroup per attempt, under this one.
    Cgroup(PathBuf),
    /// A sub-reaper per attempt.
    Stub,
}

/// Which way to hold trees together.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum TreeKind {
    /// Cgroups where they can be written, else sub-reapers.
    #[default]
    Auto,
    /// Cgroups or nothing.
    Cgroup,
    /// Sub-reapers.
    Stub,
}

impl Trees {
    /// Decides for this host; `dir` is the state directory, which names this keeper's cgroup.
    pub fn choose(kind: TreeKind, dir: &Path) -> io::Result<Self> {
        if kind == TreeKind::Stub {
            return Ok(Self::Stub);
        }
        match cgroup_base(dir) {
            Ok(base) => Ok(Self::Cgroup(base)),
            Err(e) if kind == TreeKind::Cgroup => Err(e),
            Err(_) => Ok(Self::Stub),
        }
    }
}

/// `MOUNT/ucron.slice` where systemd made that, else `MOUNT/ucron`; in it one cgroup per state directory.
fn cgroup_base(dir: &Path) -> io::Result<PathBuf> {
    let mount = cgroup_mount()?;
    let slice = mount.join("ucron.slice");
    let parent = if slice.is_dir() {
        slice
    } else {
        mount.join("ucron")
    };
    let sum = super::journal::checksum(dir.as_os_str().as_encoded_bytes());
    let base = parent.join(format!("{sum:016x}"));
    DirBuilder::new().recursive(true).create(&base)?;
    let probe = base.join("probe");
    let made = DirBuilder::new().create(&probe);
    let can_kill = probe.join("cgroup.kill").exists();
    // A leftover probe of a killed keeper is as good as a new one.
    let made = made.or_else(|e| if probe.is_dir() { Ok(()) } else { Err(e) });
    drop(std::fs::remove_dir(&probe));
    made?;
    if can_kill {
        Ok(base)
    } else {
        Err(io::Error::other("the kernel has no cgroup.kill"))
    }
}

fn cgroup_mount() -> io::Result<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    mounts
        .lines()
        .find_map(|line| {
            let (place, kind) = line.split_once(" - ")?;
            let mount = place.split(' ').nth(4)?;
            kind.starts_with("cgroup2 ").then(|| PathBuf::from(mount))
        })
        .ok_or_else(|| io::Error::other("no cgroup v2 hierarchy is mounted"))
}

/// The tree of one attempt.
#[derive(Debug)]
pub(super) enum Tree {
    /// The attempt's cgroup.
    Cgroup(PathBuf),
    /// The attempt's sub-reaper.
    Stub {
        /// Its pid.
        pid: i32,
        /// Its descriptor.
        pidfd: OwnedFd,
    },
}

/// The cgroup of an attempt.
pub(super) fn cgroup_of(base: &Path, key: &Key) -> PathBuf {
    base.join(file_name(key))
}

/// Makes a cgroup, or takes the empty one that is there. Somebody may have tidied its parent away.
pub(super) fn make_cgroup(path: &Path) -> io::Result<OwnedFd> {
    DirBuilder::new().recursive(true).create(path)?;
    Ok(File::open(path)?.into())
}

impl Tree {
    /// Sends a signal to every process of the tree.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        match self {
            Self::Cgroup(path) if signal == libc::SIGKILL => {
                std::fs::write(path.join("cgroup.kill"), "1")
            }
            Self::Cgroup(path) => signal_cgroup(path, signal),
            Self::Stub { pid, pidfd } => {
                signal_descendants(*pid, pidfd, signal);
                Ok(())
            }
        }
    }

    /// Whether no process is left.
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Cgroup(path) => !is_populated(path),
            Self::Stub { pidfd, .. } => has_ended(pidfd),
        }
    }

    /// Takes away what held the tree; it is gone.
    pub fn remove(&self) {
        if let Self::Cgroup(path) = self
            && let Err(e) = std::fs::remove_dir(path)
            && e.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(cgroup = %path.display(), error = %e, "cannot remove a run's cgroup");
        }
    }
}

/// Whether a cgroup has living processes.
pub(super) fn is_populated(path: &Path) -> bool {
    std::fs::read_to_string(path.join("cgroup.events"))
        .is_ok_and(|text| text.lines().any(|line| line == "populated 1"))
}

/// Whether the process behind a pidfd has ended.
pub(super) fn has_ended(pidfd: &OwnedFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}

/// Opens a pidfd.
pub(super) fn open_pid(pid: i32) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

fn send(pidfd: &OwnedFd, signal: i32) {
    if let Some(signal) = Signal::from_named_raw(signal) {
        // An error means that it has ended already.
        let _ = pidfd_send_signal(pidfd, signal);
    }
}

fn pids_in(path: &Path) -> io::Result<HashSet<i32>> {
    let text = std::fs::read_to_string(path.join("cgroup.procs"))?;
    Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
}

/// A pid read from the cgroup may be another process by the time its pidfd is open; what is still in the cgroup
/// afterwards, under the same pid, is the process behind the pidfd or a later one, never a bystander.
fn signal_cgroup(path: &Path, signal: i32) -> io::Result<()> {
    let opened: Vec<(i32, OwnedFd)> = pids_in(path)?
        .into_iter()
        .filter_map(|pid| Some((pid, open_pid(pid).ok()?)))
        .collect();
    let still = pids_in(path)?;
    for (pid, pidfd) in opened {
        if still.contains(&pid) {
            send(&pidfd, signal);
        }
    }
    Ok(())
}

/// A line of `/proc/PID/stat`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stat {
    pub parent: i32,
    pub session: i32,
    /// Ticks after boot.
    pub start: u64,
    pub zombie: bool,
}

/// Reads `/proc/PID/stat`.
pub(super) fn stat(pid: i32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, `)` too.
    let (_, rest) = text.rsplit_once(") ")?;
    let words: Vec<&str> = rest.split(' ').collect();
    Some(Stat {
        zombie: matches!(words.first(), Some(&"Z" | &"X")),
        parent: words.get(1)?.parse().ok()?,
        session: words.get(3)?.parse().ok()?,
        start: words.get(19)?.parse().ok()?,
    })
}

fn all_stats() -> HashMap<i32, Stat> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return HashMap::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?)))
        .collect()
}

/// Everything below a process, zombies left out.
fn descendants(of: i32) -> Vec<(i32, Stat)> {
    let stats = all_stats();
    let is_below = |mut pid: i32| {
        for _ in 0..stats.len() {
            match stats.get(&pid) {
                Some(stat) if stat.parent == of => return true,
                Some(stat) => pid = stat.parent,
                None => return false,
            }
        }
        false
    };
    stats
        .iter()
        .filter(|(pid, stat)| !stat.zombie && is_below(**pid))
        .map(|(pid, stat)| (*pid, *stat))
        .collect()
}

/// Signals what is below a sub-reaper, in rounds: each process once, KILL until none is left. A process that was
/// seen below it and still has the same start time behind its pidfd is one of the tree.
fn signal_descendants(stub: i32, stub_pidfd: &OwnedFd, signal: i32) {
    let mut done: HashSet<(i32, u64)> = HashSet::new();
    for _ in 0..ROUNDS {
        let found = descendants(stub);
        if has_ended(stub_pidfd) {
            return;
        }
        let fresh: Vec<_> = found
            .into_iter()
            .filter(|(pid, stat)| done.insert((*pid, stat.start)))
            .collect();
        if fresh.is_empty() {
            return;
        }
        for (pid, seen) in fresh {
            let Ok(pidfd) = open_pid(pid) else { continue };
            if stat(pid).is_some_and(|now| now.start == seen.start) {
                send(&pidfd, signal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_finds_itself_in_proc() {
        let own = i32::try_from(std::process::id()).unwrap();
        let found = stat(own).unwrap();
        assert!(!found.zombie && found.start > 0);
        assert!(descendants(found.parent).iter().any(|(pid, _)| *pid == own));
        assert!(stat(i32::MAX).is_none());
    }
}
