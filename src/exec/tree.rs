//! The processes of one attempt. Where a cgroup v2 hierarchy can be written, an attempt's own cgroup; elsewhere
//! a sub-reaper: a small process that inherits whatever the command leaves behind. Either way one attempt's
//! escaped processes are never mistaken for another's, and signals go through pidfds.

use std::collections::{HashMap, HashSet};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
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
    let opened: Vec<(i32, OwnedFd)> = elders_first(pids_in(path)?)
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

/// In the order in which they began, so that a shell is told to end before what it waits for: told after, it might go
/// on with its next command.
fn elders_first(pids: HashSet<i32>) -> Vec<i32> {
    let mut pids: Vec<i32> = pids.into_iter().collect();
    pids.sort_by_cached_key(|pid| (stat(*pid).map(|stat| stat.start), *pid));
    pids
}

/// A line of `/proc/PID/stat`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stat {
    pub parent: i32,
    pub session: i32,
    /// Ticks after boot.
    pub start: u64,
    pub zombie: bool,
    /// The wait status of a zombie, where [`exit_of_zombie`] says that this may be seen.
    status: i32,
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
        status: words.get(49)?.trim_end().parse().ok()?,
    })
}

/// The wait status of an ended process that its parent, somebody else, has not reaped yet (proc_pid_stat(5), field
/// 52). To those who may not see it the kernel shows 0 there; the same permission is asked by a link of `/proc`.
pub(super) fn exit_of_zombie(pid: i32, pidfd: &OwnedFd) -> Option<i32> {
    std::fs::read_link(format!("/proc/{pid}/ns/user")).ok()?;
    let stat = stat(pid).filter(|stat| stat.zombie)?;
    // It held its pid all the time, so that was its own.
    is_unreaped(pid, pidfd).then_some(stat.status)
}

/// Whether a descriptor's process still has its pid.
pub(super) fn is_unreaped(pid: i32, pidfd: &OwnedFd) -> bool {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let shown = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    shown.and_then(|shown| shown.trim().parse().ok()) == Some(pid)
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

/// The children of a process; none where it has ended or the kernel does not list them.
fn children(of: i32) -> Option<Vec<i32>> {
    let threads = std::fs::read_dir(format!("/proc/{of}/task")).ok()?;
    let mut children = Vec::new();
    for thread in threads.flatten() {
        let text = std::fs::read_to_string(thread.path().join("children")).ok()?;
        children.extend(text.split(' ').filter_map(|pid| pid.parse::<i32>().ok()));
    }
    Some(children)
}

/// Everything below a process, zombies left out: from child to child where the kernel lists them, which takes a
/// fraction of the time in which a chain of processes, each of which starts the next and ends, runs on.
fn descendants(of: i32) -> Vec<(i32, Stat)> {
    let Some(mut open) = children(of) else {
        return descendants_in_proc(of);
    };
    let mut found = HashMap::new();
    while let Some(pid) = open.pop() {
        let Some(stat) = stat(pid).filter(|_| !found.contains_key(&pid)) else {
            continue;
        };
        open.extend(children(pid).unwrap_or_default());
        found.insert(pid, stat);
    }
    found.retain(|_, stat| !stat.zombie);
    found.into_iter().collect()
}

fn descendants_in_proc(of: i32) -> Vec<(i32, Stat)> {
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
        let mut fresh: Vec<_> = found
            .into_iter()
            .filter(|(pid, stat)| done.insert((*pid, stat.start)))
            .collect();
        // As in a cgroup: a shell before what it waits for.
        fresh.sort_unstable_by_key(|(pid, stat)| (stat.start, *pid));
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

/// Kills a command whose sub-reaper is gone, and what has stayed in its session. The session's number belongs to it
/// while its leader lives, whose descriptor this is; what has left the session is nobody's to find any more. All of it
/// stops first: nothing goes on with what a killed child did not give it.
pub(super) fn kill_session(leader: i32, pidfd: &OwnedFd) {
    send(pidfd, libc::SIGSTOP);
    for _ in 0..ROUNDS {
        let members = members(leader);
        if members.is_empty() || has_ended(pidfd) {
            break;
        }
        for signal in [libc::SIGSTOP, libc::SIGKILL] {
            for member in &members {
                send(member, signal);
            }
        }
    }
    send(pidfd, libc::SIGKILL);
}

/// The processes of a session, its leader and zombies left out.
fn members(leader: i32) -> Vec<OwnedFd> {
    let is_member = |pid: i32, stat: &Stat| stat.session == leader && pid != leader && !stat.zombie;
    all_stats()
        .into_iter()
        .filter(|(pid, seen)| is_member(*pid, seen))
        .filter_map(|(pid, seen)| {
            let pidfd = open_pid(pid).ok()?;
            // The same one is behind the descriptor.
            let same = stat(pid).is_some_and(|now| now.start == seen.start && is_member(pid, &now));
            same.then_some(pidfd)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_told_before_their_children() {
        let own = i32::try_from(std::process::id()).unwrap();
        let parent = stat(own).unwrap().parent;
        assert_eq!(elders_first(HashSet::from([own, parent])), [parent, own]);
    }

    #[test]
    fn a_process_finds_itself_in_proc() {
        let own = i32::try_from(std::process::id()).unwrap();
        let found = stat(own).unwrap();
        assert!(!found.zombie && found.start > 0);
        for below in [descendants, descendants_in_proc] {
            assert!(below(found.parent).iter().any(|(pid, _)| *pid == own));
        }
        assert!(stat(i32::MAX).is_none());
    }

    #[test]
    fn the_status_of_a_zombie_is_read_until_it_is_reaped() {
        #[allow(clippy::disallowed_methods, reason = "a test needs a process")]
        let mut child = std::process::Command::new("sh")
            .args(["-c", "exit 7"])
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let pidfd = open_pid(pid).unwrap();
        while !has_ended(&pidfd) {
            std::thread::yield_now();
        }
        assert_eq!(exit_of_zombie(pid, &pidfd), Some(7 << 8));
        child.wait().unwrap();
        assert_eq!(exit_of_zombie(pid, &pidfd), None);
    }
}
