//! Running attempts as the shell holds them: starts that come back, deaths, emptied trees, signals.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll;
use rustix::fs::inotify;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use tracing::warn;

use super::{Keeper, SIZES_EVERY, Source};
use crate::exec::clock::boot_now;
use crate::exec::dir::{file_name, parse_file_name};
use crate::exec::error::KeeperError;
use crate::exec::starter::{Child, Done, wait_for};
use crate::exec::supervise::{Event, Exit, Key};
use crate::exec::tree::Tree;
use crate::exec::wire::BootMs;
use crate::exec::{output, stub, sys};
use crate::model::StopSignal;

/// How long the parent of an adopted process may take to reap it.
const REAP_WAIT: Duration = Duration::from_secs(2);
/// How often it is looked at meanwhile.
const REAP_EVERY: Duration = Duration::from_millis(5);

/// A running attempt, or what is left of its tree.
#[derive(Debug)]
pub(super) struct Live {
    tree: Tree,
    /// The command's descriptor, until it has ended.
    pidfd: Option<OwnedFd>,
    token: Option<u64>,
    ended: bool,
    watch: Option<i32>,
    gave_up_reaping_at: Option<BootMs>,
}

impl Keeper {
    pub(super) fn take_done(&mut self) {
        let mut count = [0u8; 8];
        let _ = rustix::io::read(&*self.bell, &mut count);
        while let Ok(done) = self.done.try_recv() {
            match done {
                Done::Launched(key, at, child) => {
                    self.in_flight = self.in_flight.saturating_sub(1);
                    let pid = child.pid;
                    // Known before it can end.
                    let launched = Event::Launched {
                        key: key.clone(),
                        pid,
                        at,
                    };
                    self.hold(key.clone(), child, false);
                    self.tell(launched);
                    self.look_at(&key);
                }
                Done::Failed(key, failure) => {
                    self.in_flight = self.in_flight.saturating_sub(1);
                    self.tell(Event::NotLaunched { key, failure });
                }
                Done::Synced(number, result) => self.synced(number, result),
            }
        }
    }

    /// Takes over an attempt of a former keeper.
    pub(super) fn adopt(&mut self, key: &Key, child: Child, ended: bool) {
        self.hold(key.clone(), child, ended);
        self.look_at(key);
    }

    fn hold(&mut self, key: Key, child: Child, ended: bool) {
        let token = self.next_token;
        self.next_token += 1;
        let watched = match (&child.pidfd, &child.tree) {
            (Some(pidfd), _) | (None, Tree::Stub { pidfd, .. }) => Some(pidfd),
            (None, Tree::Cgroup(_)) => None,
        };
        if let Some(pidfd) = watched {
            let data = epoll::EventData::new_u64(token);
            if let Err(e) = epoll::add(&self.poll, pidfd, data, epoll::EventFlags::IN) {
                warn!(run = %file_name(&key), error = %e, "the keeper cannot watch a process");
            }
            self.sources.insert(token, Source::Child(key.clone()));
        }
        let live = Live {
            tree: child.tree,
            pidfd: child.pidfd,
            token: Some(token),
            ended,
            watch: None,
            gave_up_reaping_at: None,
        };
        self.children.insert(key, live);
        if self.next_sizes.is_none() {
            self.next_sizes = Some(boot_now().plus(SIZES_EVERY));
        }
    }

    /// Looks at what may have happened before it was watched.
    fn look_at(&mut self, key: &Key) {
        let Some(live) = self.children.get(key) else {
            return;
        };
        match &live.tree {
            Tree::Stub { .. } => self.read_stub(key),
            Tree::Cgroup(_) if live.ended => self.watch_tree(key),
            Tree::Cgroup(_) => {}
        }
    }

    /// A pidfd is readable: the command, or its sub-reaper, has ended.
    pub(super) fn child_ready(&mut self, key: &Key) {
        let Some(live) = self.children.get(key) else {
            return;
        };
        match &live.tree {
            Tree::Stub { .. } => {
                self.read_stub(key);
                self.stub_gone(key);
            }
            Tree::Cgroup(_) => self.reap(key),
        }
    }

    fn reap(&mut self, key: &Key) {
        let Some(live) = self.children.get_mut(key) else {
            return;
        };
        let Some(pidfd) = &live.pidfd else {
            return;
        };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let exit = match waitid(WaitId::PidFd(pidfd.as_fd()), options) {
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Exit::Code(code),
                (None, signal) => Exit::Signal(signal.unwrap_or(0)),
            },
            Ok(None) => return,
            Err(_) => {
                let Some(status) = sys::exit_status(pidfd.as_fd()) else {
                    self.reap_later(key);
                    return;
                };
                decode(status)
            }
        };
        self.command_ended(key, exit, false);
    }

    /// An adopted process has ended and its parent has not reaped it yet; until then the kernel does not tell.
    fn reap_later(&mut self, key: &Key) {
        let now = boot_now();
        let Some(live) = self.children.get_mut(key) else {
            return;
        };
        let limit = *live.gave_up_reaping_at.get_or_insert(now.plus(REAP_WAIT));
        let token = live.token;
        self.unwatch(key, token);
        if limit <= now {
            let why = "the kernel does not tell how it ended, and the keeper was not its parent";
            self.command_ended(key, Exit::Unknown(why.to_owned()), false);
        } else {
            self.unreaped.push((key.clone(), now.plus(REAP_EVERY)));
        }
    }

    pub(super) fn check_unreaped(&mut self, now: BootMs) {
        let (due, later) = std::mem::take(&mut self.unreaped)
            .into_iter()
            .partition(|(_, at)| *at <= now);
        self.unreaped = later;
        let due: Vec<(Key, BootMs)> = due;
        for (key, _) in due {
            self.reap(&key);
        }
    }

    fn unwatch(&mut self, key: &Key, token: Option<u64>) {
        let Some(token) = token else { return };
        self.sources.remove(&token);
        let Some(live) = self.children.get_mut(key) else {
            return;
        };
        live.token = None;
        let fd = match (&live.pidfd, &live.tree) {
            (Some(pidfd), _) | (None, Tree::Stub { pidfd, .. }) => Some(pidfd),
            (None, Tree::Cgroup(_)) => None,
        };
        if let Some(fd) = fd {
            // It is closed soon, which takes it out too.
            let _ = epoll::delete(&self.poll, fd);
        }
    }

    fn command_ended(&mut self, key: &Key, exit: Exit, alone: bool) {
        let in_cgroup = {
            let Some(live) = self.children.get_mut(key) else {
                return;
            };
            if std::mem::replace(&mut live.ended, true) {
                return;
            }
            matches!(live.tree, Tree::Cgroup(_))
        };
        if in_cgroup {
            let token = self.children.get(key).and_then(|live| live.token);
            self.unwatch(key, token);
            if let Some(live) = self.children.get_mut(key) {
                live.pidfd = None;
            }
        }
        let wanted = self.supervisor.wants_tail(&key.0);
        let output = output::end(&self.workshop.output, key, wanted);
        // Said before the end where nothing is left, so that no stop sequence begins.
        if alone
            || self
                .children
                .get(key)
                .is_some_and(|live| live.tree.is_gone())
        {
            self.tree_gone(key);
        }
        self.tell(Event::Exited {
            key: key.clone(),
            exit,
            output,
        });
        if in_cgroup {
            self.watch_tree(key);
        }
        self.pump_run(&key.0);
    }

    fn tree_gone(&mut self, key: &Key) {
        let token = self.children.get(key).and_then(|live| live.token);
        self.unwatch(key, token);
        let Some(live) = self.children.remove(key) else {
            return;
        };
        if let Tree::Stub { pidfd, .. } = &live.tree {
            // It ends by itself now; where it is another's child this fails, and its parent does it.
            wait_for(pidfd);
            drop(std::fs::remove_file(self.dir.stubs().join(file_name(key))));
        }
        if let Some(watch) = live.watch {
            self.watched.remove(&watch);
            let _ = inotify::remove_watch(&self.watches, watch);
        }
        live.tree.remove();
        self.tell(Event::TreeGone { key: key.clone() });
    }

    /// The kernel says when the last process leaves a cgroup.
    fn watch_tree(&mut self, key: &Key) {
        let Some(live) = self.children.get_mut(key) else {
            return;
        };
        if let Tree::Cgroup(path) = &live.tree {
            let events = path.join("cgroup.events");
            if let Ok(watch) =
                inotify::add_watch(&self.watches, &events, inotify::WatchFlags::MODIFY)
            {
                live.watch = Some(watch);
                self.watched.insert(watch, key.clone());
            }
            if live.tree.is_gone() {
                self.tree_gone(key);
            }
        }
    }

    /// Watches the records that sub-reapers write.
    pub(super) fn watch_stubs(&mut self) -> Result<(), KeeperError> {
        inotify::add_watch(&self.watches, self.dir.stubs(), inotify::WatchFlags::MODIFY)
            .map(drop)
            .map_err(KeeperError::system("watch the records of sub-reapers"))
    }

    pub(super) fn take_watches(&mut self) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut keys = Vec::new();
        let mut reader = inotify::Reader::new(&self.watches, &mut buffer);
        while let Ok(event) = reader.next() {
            match event.file_name().and_then(|name| name.to_str().ok()) {
                Some(name) => keys.extend(parse_file_name(name)),
                None => keys.extend(self.watched.get(&event.wd()).cloned()),
            }
            if reader.is_buffer_empty() {
                break;
            }
        }
        for key in keys {
            match self.children.get(&key).map(|live| &live.tree) {
                Some(Tree::Stub { .. }) => self.read_stub(&key),
                Some(tree) if tree.is_gone() => self.tree_gone(&key),
                _ => {}
            }
        }
    }

    fn read_stub(&mut self, key: &Key) {
        let record = stub::read(&self.dir.stubs().join(file_name(key)));
        if let Some(exit) = record.exit {
            self.command_ended(key, exit, record.alone);
        }
    }

    fn stub_gone(&mut self, key: &Key) {
        let Some(live) = self.children.get(key) else {
            return;
        };
        if !live.tree.is_gone() {
            return;
        }
        let why = "its sub-reaper was ended by somebody before it";
        self.command_ended(key, Exit::Unknown(why.to_owned()), true);
        self.tree_gone(key);
    }

    pub(super) fn signal(&mut self, key: &Key, signal: i32) {
        let Some(live) = self.children.get(key) else {
            return;
        };
        if let Err(e) = live.tree.signal(signal) {
            warn!(run = %file_name(key), signal, error = %e, "the keeper cannot signal a run");
        }
        // A stopped process takes its stop signal only when it goes on.
        let continues = [
            StopSignal::TERM.number(),
            libc::SIGINT,
            libc::SIGHUP,
            libc::SIGQUIT,
        ];
        if continues.contains(&signal) {
            drop(live.tree.signal(libc::SIGCONT));
        }
    }

    /// Keeps the cap of active outputs; nothing is looked at while nothing runs.
    pub(super) fn look_at_sizes(&mut self, now: BootMs) {
        self.next_sizes = (!self.children.is_empty()).then(|| now.plus(SIZES_EVERY));
        for key in self.children.keys() {
            let kept = output::keep_cap(&self.workshop.output, key, self.settings.output_cap);
            if let Err(e) = kept
                && e.kind() != std::io::ErrorKind::NotFound
            {
                warn!(run = %file_name(key), error = %e, "the cap of a run's output cannot be kept");
            }
        }
    }
}

/// A wait status as the kernel stores it.
fn decode(status: i32) -> Exit {
    match status & 0x7f {
        0 => Exit::Code(status >> 8 & 0xff),
        signal => Exit::Signal(signal),
    }
}
