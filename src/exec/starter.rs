//! Starting: a few threads take orders, look up what a start needs and start it, so that a slow account
//! directory or a hanging file system holds up the one start and not the keeper.

use std::collections::HashSet;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

use rustix::fs::MemfdFlags;

use super::account::Accounts;
use super::armed::{Armed, Ready, lift};
use super::cgroup;
use super::clock::boot_now;
use super::dir::{file_name, open_append};
use super::failpoint::{self, Point};
use super::jobs::Jobs;
use super::launch::{self, Host, Launch};
use super::mark::{Marked, Marks};
use super::output::{self, Retention};
use super::policy::{PolicyFile, Question};
use super::stub;
use super::supervise::{Failure, Key, Order};
use super::sys::{self, Spawn, Stage};
use super::tree::{Tree, Trees, cgroup_of, make_cgroup};
use super::wire::{BootMs, HOOK_TASK, HOOK_VARIABLES};
use crate::model::{AgentName, SpecError, TaskText};

/// What a starter does.
#[derive(Debug)]
pub(super) enum Job {
    /// Makes output file and cgroup of a first attempt.
    Arm(Key),
    /// Takes them away again.
    Disarm(Key),
    /// Starts an attempt.
    Launch(Box<Order>),
    /// Takes an emptied tree's cgroup away, after the starts that are due.
    Remove(Tree),
    /// Takes old output away, but for these attempts.
    Sweep(HashSet<Key>),
    /// Waits until a journal's file is on the disk.
    Sync(u64, Arc<File>),
}

/// What a starter has done.
#[derive(Debug)]
pub(super) enum Done {
    /// An attempt runs since then.
    Launched(Key, BootMs, Child),
    /// An attempt does not.
    Failed(Key, Failure),
    /// Everything up to this number is on the disk, or not.
    Synced(u64, io::Result<()>),
}

/// A running attempt.
#[derive(Debug)]
pub(super) struct Child {
    /// The command's pid.
    pub pid: i32,
    /// The command's descriptor; a sub-reaper's command is watched through its sub-reaper.
    pub pidfd: Option<OwnedFd>,
    /// Its tree.
    pub tree: Tree,
}

/// What all starters share.
#[derive(Debug)]
pub(super) struct Workshop {
    pub output: PathBuf,
    pub stubs: PathBuf,
    pub lock: OwnedFd,
    pub marks: File,
    pub null: File,
    pub policy: PolicyFile,
    pub accounts: Accounts,
    pub trees: Trees,
    pub host: Host,
    pub retention: Retention,
    pub stub_command: Vec<OsString>,
    /// The last agent's name; none before the first.
    pub agent: Mutex<Option<AgentName>>,
    pub agent_uids: Mutex<Vec<u32>>,
    /// Runs that are ready before they are due.
    pub armed: Armed,
}

/// What the shell gives to a workshop.
#[derive(Debug)]
pub(super) struct Parts {
    pub output: PathBuf,
    pub stubs: PathBuf,
    pub lock: OwnedFd,
    pub marks: File,
    pub policy: PolicyFile,
    pub trees: Trees,
    pub host: Host,
    pub retention: Retention,
    pub stub_command: Vec<OsString>,
    pub agent: Option<AgentName>,
    pub agent_uids: Vec<u32>,
}

/// Where starters put what they have done.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    pub sender: Sender<Done>,
    pub bell: Arc<OwnedFd>,
}

impl Outbox {
    fn put(&self, done: Done) {
        // The keeper is ending when nobody reads.
        drop(self.sender.send(done));
        let _ = rustix::io::write(&*self.bell, &1u64.to_ne_bytes());
    }
}

impl Workshop {
    pub fn new(parts: Parts) -> io::Result<Self> {
        Ok(Self {
            output: parts.output,
            stubs: parts.stubs,
            lock: parts.lock,
            marks: parts.marks,
            null: File::open("/dev/null")?,
            policy: parts.policy,
            accounts: Accounts::default(),
            trees: parts.trees,
            host: parts.host,
            retention: parts.retention,
            stub_command: parts.stub_command,
            agent: Mutex::new(parts.agent),
            agent_uids: Mutex::new(parts.agent_uids),
            armed: Armed::default(),
        })
    }

    /// A starter's life: until the keeper takes no more orders.
    pub fn work(&self, jobs: &Jobs, outbox: &Outbox) {
        while let Some(job) = jobs.next() {
            self.carry_out(job, outbox);
        }
    }

    fn carry_out(&self, job: Job, outbox: &Outbox) {
        match job {
            Job::Arm(key) => self.arm(&key),
            Job::Disarm(key) => self.disarm(&key),
            Job::Launch(order) => {
                let key = (order.run.run_id.clone(), order.attempt);
                outbox.put(match self.launch(&key, &order) {
                    Ok(child) => Done::Launched(key, boot_now(), child),
                    Err(failure) => Done::Failed(key, failure),
                });
            }
            Job::Remove(tree) => tree.remove(),
            Job::Sweep(mut keep) => {
                keep.extend(self.armed.keys());
                let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
                output::sweep(&self.output, &keep, self.retention, now);
            }
            Job::Sync(number, file) => outbox.put(Done::Synced(number, file.sync_data())),
        }
    }

    fn arm(&self, key: &Key) {
        if !self.armed.is_wanted(key) {
            return;
        }
        // What fails here fails again, and is told, when the run starts.
        let ready = self.make_ready(key).ok();
        if self.armed.put(key, ready) {
            self.unmake(key);
        }
    }

    fn disarm(&self, key: &Key) {
        if self.armed.give_up(key) {
            self.unmake(key);
        }
    }

    fn unmake(&self, key: &Key) {
        output::remove(&self.output, key);
        if let Trees::Cgroup(base) = &self.trees {
            Tree::Cgroup(cgroup_of(base, key)).remove();
        }
    }

    fn make_ready(&self, key: &Key) -> Result<Ready, Failure> {
        let output =
            output::create(&self.output, key).map_err(|e| host("making its output file", &e))?;
        let cgroup = match &self.trees {
            Trees::Cgroup(base) => {
                let made = make_cgroup(&cgroup_of(base, key));
                Some(made.map_err(|e| host("making its cgroup", &e))?)
            }
            Trees::Stub => None,
        };
        Ok(Ready { output, cgroup })
    }

    fn launch(&self, key: &Key, order: &Order) -> Result<Child, Failure> {
        let launch = self.prepare(order);
        let armed = self.armed.take(key);
        let launch = launch?;
        let ready = match armed {
            Some(ready) => ready,
            None => self.make_ready(key)?,
        };
        if order.not_after.is_some_and(|limit| limit < boot_now()) {
            return Err(Failure::Lease);
        }
        failpoint::reach(Point::KeeperBeforeClone);
        match &self.trees {
            Trees::Cgroup(base) => {
                let limits = order.text.work.limits.iter();
                let kept = limits.filter(|of| self.host.controllers.keep(of.kind));
                let started = cgroup::limit(&cgroup_of(base, key), kept)
                    .map_err(|e| Failure::Setup(format!("limiting its cgroup: {e}")))
                    .and_then(|()| self.start_in_cgroup(&launch, &ready));
                let tree = Tree::Cgroup(cgroup_of(base, key));
                if started.is_err() {
                    tree.remove();
                }
                let (pid, pidfd) = started?;
                failpoint::reach(Point::KeeperCloned);
                Ok(Child {
                    pid,
                    pidfd: Some(pidfd),
                    tree,
                })
            }
            Trees::Stub => self.start_under_stub(key, &launch, &ready),
        }
    }

    fn prepare(&self, order: &Order) -> Result<Launch, Failure> {
        let work = &order.text.work;
        // Whatever the agent has become: a text that no center would take is not run.
        check(&order.text).map_err(|fault| Failure::Refused(fault.to_string()))?;
        let account = self
            .accounts
            .find(work.run_user.as_str())
            .map_err(Failure::Setup)?;
        let agents = self
            .agent_uids
            .lock()
            .map(|uids| uids.clone())
            .unwrap_or_default();
        let question = Question {
            account: &account,
            agents: &agents,
            group: &order.text.group,
            work,
            raised: launch::raised(&work.limits, &self.host),
        };
        self.policy.check(&question).map_err(Failure::Refused)?;
        let agent = self
            .agent
            .lock()
            .ok()
            .and_then(|agent| agent.clone())
            .ok_or_else(|| Failure::Setup("no agent has connected yet".to_owned()))?;
        launch::prepare(order, &agent, &account, &self.host)
    }

    fn start_in_cgroup(&self, launch: &Launch, ready: &Ready) -> Result<(i32, OwnedFd), Failure> {
        let cgroup = ready.cgroup.as_ref().map(AsFd::as_fd);
        let spawn = launch.spawn(
            self.null.as_fd(),
            ready.output.as_fd(),
            self.marks.as_fd(),
            self.lock.as_fd(),
            cgroup,
        );
        let spawned = sys::spawn(&spawn).map_err(|e| child(launch, e.stage, &e.error))?;
        Ok((spawned.pid, lift(spawned.pidfd)))
    }

    fn start_under_stub(
        &self,
        key: &Key,
        launch: &Launch,
        ready: &Ready,
    ) -> Result<Child, Failure> {
        let setup = |e: io::Error| host("starting its sub-reaper", &e);
        let text = stub_input(launch).map_err(setup)?;
        let record_path = self.stubs.join(file_name(key));
        // One of an attempt that was recorded and not executed says nothing.
        drop(std::fs::remove_file(&record_path));
        let record = open_append(&record_path, 0o600).map_err(setup)?;
        let (from_stub, report) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|e| setup(e.into()))?;
        let fds = [
            text.as_fd(),
            ready.output.as_fd(),
            record.as_fd(),
            self.marks.as_fd(),
            self.lock.as_fd(),
            report.as_fd(),
        ];
        let spawned = sys::spawn(&self.stub_spawn(key, fds)).map_err(|e| setup(e.error))?;
        drop(report);
        let mut line = String::new();
        File::from(from_stub)
            .read_to_string(&mut line)
            .map_err(setup)?;
        let pid = match serde_json::from_str(&line) {
            Ok(stub::Line::Started { pid, .. }) => Ok(pid),
            Ok(stub::Line::Failed { stage, errno }) => Err((stage, errno)),
            // It was ended by somebody; whether it came to start the command is in the marks.
            _ => match self.marked(key) {
                Some(Marked::Started { pid, .. }) => Ok(pid),
                Some(Marked::Failed { errno }) => Err((Stage::Exec, errno)),
                None => {
                    wait_for(&spawned.pidfd);
                    drop(std::fs::remove_file(record_path));
                    let why = "its sub-reaper was ended by somebody before the command";
                    return Err(Failure::Setup(why.to_owned()));
                }
            },
        };
        failpoint::reach(Point::KeeperCloned);
        match pid {
            Ok(pid) => Ok(Child {
                pid,
                pidfd: None,
                tree: Tree::Stub {
                    pid: spawned.pid,
                    pidfd: lift(spawned.pidfd),
                },
            }),
            Err((stage, errno)) => {
                wait_for(&spawned.pidfd);
                drop(std::fs::remove_file(record_path));
                let error = io::Error::from_raw_os_error(errno);
                Err(child(launch, stage, &error))
            }
        }
    }

    fn marked(&self, key: &Key) -> Option<Marked> {
        let path = format!("/proc/self/fd/{}", self.marks.as_raw_fd());
        let marks = std::fs::read(path).unwrap_or_default();
        Marks::read(&marks).get(key)
    }

    fn stub_spawn<'a>(&'a self, key: &Key, fds: [BorrowedFd<'a>; 6]) -> Spawn<'a> {
        let mut argv: Vec<OsString> = vec!["ucron-keeper".into()];
        argv.extend(self.stub_command.iter().cloned());
        argv.push(file_name(key).into());
        argv.extend(
            fds.iter()
                .map(|fd| OsString::from(fd.as_raw_fd().to_string())),
        );
        Spawn {
            files: vec![c"/proc/self/exe".to_owned()],
            argv: argv
                .into_iter()
                .filter_map(|arg| CString::new(arg.into_vec()).ok())
                .collect(),
            envp: stub_environment(),
            identity: None,
            directory: None,
            umask: 0o077,
            nice: None,
            limits: Vec::new(),
            stdin: self.null.as_fd(),
            stdout: self.null.as_fd(),
            stderr: self.null.as_fd(),
            keep: fds.to_vec(),
            until_exec: Vec::new(),
            cgroup: None,
            mark: None,
        }
    }
}

/// Whether a center would take this text, or an agent's own command has it.
fn check(text: &TaskText) -> Result<(), SpecError> {
    if text.task.as_str() != HOOK_TASK {
        return text.work.check();
    }
    let mut work = text.work.clone();
    work.env
        .retain(|name, _| !HOOK_VARIABLES.contains(&name.as_str()));
    work.check()
}

/// What the keeper itself could not do for a start.
fn host(what: &str, e: &io::Error) -> Failure {
    let why = format!("{what}: {e}");
    if is_host_full(e) {
        Failure::Unrecorded(why)
    } else {
        Failure::Setup(why)
    }
}

/// What a child could not do; before it is the task's, and where its record is written, it is the host that fails.
fn child(launch: &Launch, stage: Stage, e: &io::Error) -> Failure {
    if matches!(stage, Stage::Clone | Stage::Mark) && is_host_full(e) {
        return host(stage.words(), e);
    }
    launch::failure(launch, stage, e)
}

/// None; in debug builds where a test's failpoints are.
fn stub_environment() -> Vec<CString> {
    #[cfg(debug_assertions)]
    return super::failpoint::environment();
    #[cfg(not(debug_assertions))]
    Vec::new()
}

/// Whether the host, not the task, is what fails.
fn is_host_full(e: &io::Error) -> bool {
    let full = [
        libc::ENOSPC,
        libc::EDQUOT,
        libc::EROFS,
        libc::EIO,
        libc::EMFILE,
        libc::ENFILE,
        libc::ENOMEM,
        libc::EAGAIN,
    ];
    e.raw_os_error().is_some_and(|errno| full.contains(&errno))
}

/// The start as the sub-reaper reads it, in memory.
fn stub_input(launch: &Launch) -> io::Result<File> {
    let mut file: File = rustix::fs::memfd_create("ucron-launch", MemfdFlags::CLOEXEC)?.into();
    file.write_all(&serde_json::to_vec(launch)?)?;
    file.rewind()?;
    Ok(file)
}

/// Reaps a child that is about to end.
pub(super) fn wait_for(pidfd: &OwnedFd) {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
}
