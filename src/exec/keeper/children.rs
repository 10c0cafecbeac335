//! Running attempts as the shell holds them: starts that come back, deaths, emptied trees, signals.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::fs::inotify;
use tracing::warn;

use super::outputs::Watched;
use super::{DEATHS, DEATHS_WAIT, Keeper, SIZES_EVERY, Source};
use crate::exec::clock::boot_now;
use crate::exec::dir::{file_name, parse_file_name};
use crate::exec::error::KeeperError;
use crate::exec::failpoint::{self, Point};
use crate::exec::find::{exit_status, find_orphan};
use crate::exec::starter::{Child, Done, Job, wait_for};
use crate::exec::supervise::{Event, Exit, Key, Used};
use crate::exec::sys::Took;
use crate::exec::tree::{Tree, Trees, cgroup_of, kill_session};
use crate::exec::wire::BootMs;
use crate::exec::{cgroup, output, stub, sys};
use crate::model::StopSignal;

/// How long the parent of an adopted process may take to reap it.
const REAP_WAIT: Duration = Duration::from_secs(2);
/// How often it is looked at meanwhile.
const REAP_EVERY: Duration = Duration::from_millis(5);

/// When ended commands of rules are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pace {
    /// As they end.
    Even,
    /// Not before this, or before the starts under way are done.
    Wait(BootMs),
    /// As they end, beside starts that take long.
    Overdue,
}

/// A running attempt, or what is left of its tree.
#[derive(Debug)]
pub(super) struct Live {
    tree: Tree,
    /// The command's descriptor, until it has ended.
    pidfd: Option<OwnedFd>,
    token: Option<u64>,
    /// Whether its end is looked at before anything else: another process waits for it.
    urgent: bool,
    ended: bool,
    watch: Option<i32>,
    gave_up_reaping_at: Option<BootMs>,
    pub(super) output: Watched,
    /// What its parent, this keeper, was told of it.
    took: Option<Took>,
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
        let text = self.supervisor.text(&key.0);
        let urgent =
            matches!(child.tree, Tree::Stub { .. }) || text.is_none_or(|text| text.work.daemon);
        if let Some(pidfd) = watched {
            let data = epoll::EventData::new_u64(token);
            let set = if urgent { &self.poll } else { &self.deaths };
            if let Err(e) = epoll::add(set, pidfd, data, epoll::EventFlags::IN) {
                warn!(run = %file_name(&key), error = %e, "the keeper cannot watch a process");
            }
            self.sources.insert(token, Source::Child(key.clone()));
        }
        let live = Live {
            tree: child.tree,
            pidfd: child.pidfd,
            token: Some(token),
            urgent,
            ended,
            watch: None,
            gave_up_reaping_at: None,
            output: Watched::default(),
            took: None,
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

    /// Starts come first, for a while: a burst of them is not held up by what has ended meanwhile.
    pub(super) fn pace_deaths(&mut self) {
        let now = boot_now();
        let next = match self.deaths_pace {
            Pace::Even if self.in_flight > 0 => Pace::Wait(now.plus(DEATHS_WAIT)),
            Pace::Wait(_) | Pace::Overdue if self.in_flight == 0 => Pace::Even,
            Pace::Wait(until) if until <= now => Pace::Overdue,
            pace => pace,
        };
        let waits = |pace| matches!(pace, Pace::Wait(_));
        if waits(next) != waits(self.deaths_pace) {
            let flags = if waits(next) {
                epoll::EventFlags::empty()
            } else {
                epoll::EventFlags::IN
            };
            let data = epoll::EventData::new_u64(DEATHS);
            if let Err(e) = epoll::modify(&self.poll, &self.deaths, data, flags) {
                warn!(error = %e, "the keeper cannot let starts go first");
                return;
            }
        }
        self.deaths_pace = next;
    }

    pub(super) fn take_deaths(&mut self) {
        let mut ready: [MaybeUninit<epoll::Event>; 64] = [const { MaybeUninit::uninit() }; 64];
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let Ok((ready, _)) = epoll::wait(&self.deaths, &mut ready, Some(&at_once)) else {
            return;
        };
        for event in ready {
            if let Some(Source::Child(key)) = self.sources.get(&event.data.u64()).cloned() {
                self.child_ready(&key);
            }
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
        let exit = match sys::reap_ended(pidfd.as_fd()) {
            Ok(Some(reaped)) => {
                live.took = Some(reaped.took);
                reaped.code.map_or(Exit::Signal(reaped.signal), Exit::Code)
            }
            Ok(None) => return,
            Err(_) => {
                let pid = self.supervisor.process(key).map_or(0, |(pid, ..)| pid);
                let Some(exit) = exit_status(pid, pidfd) else {
                    self.reap_later(key);
                    return;
                };
                exit
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
            let set = if live.urgent {
                &self.poll
            } else {
                &self.deaths
            };
            let _ = epoll::delete(set, fd);
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
        failpoint::reach(Point::KeeperExitSeen);
        self.look_at_output(key, false);
        let wanted = self.supervisor.wants_tail(&key.0);
        let output = output::end(&self.workshop.output, key, wanted);
        self.count_output(output.bytes);
        let used = self.used(key);
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
            used,
        });
        if in_cgroup {
            self.watch_tree(key);
        }
        self.pump_run(&key.0);
    }

    /// What an attempt took until now, from whoever counts it here: its cgroup, its sub-reaper, else its parent.
    pub(super) fn used(&self, key: &Key) -> Used {
        let mut used = match &self.workshop.trees {
            Trees::Cgroup(base) => cgroup::used(&cgroup_of(base, key)),
            Trees::Stub => stub::read(&self.dir.stubs().join(file_name(key))).used,
        };
        if let Some(took) = self.children.get(key).and_then(|live| live.took) {
            used.peak_memory = used.peak_memory.or_else(|| took.peak_memory());
            used.cpu = used.cpu.or(Some(took.cpu));
        }
        used
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
            self.spent.push(self.dir.stubs().join(file_name(key)));
        }
        if let Some(watch) = live.watch {
            self.watched.remove(&watch);
            let _ = inotify::remove_watch(&self.watches, watch);
        }
        if let Tree::Cgroup(_) = &live.tree {
            self.hand_out(Job::Remove(live.tree));
        }
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
        self.end_orphan(key);
        self.command_ended(key, Exit::Unknown(why.to_owned()), true);
        self.tree_gone(key);
    }

    /// A command without its sub-reaper would run beside the next of its slot, and nobody could stop its tree.
    fn end_orphan(&self, key: &Key) {
        let Some((pid, ordered, alive_at)) = self.supervisor.process(key) else {
            return;
        };
        if let Some(pidfd) = find_orphan(key, ordered, (pid, alive_at)) {
            warn!(run = %file_name(key), pid, "a run's sub-reaper was ended by somebody; its command is ended too");
            kill_session(pid, &pidfd);
        }
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
}
