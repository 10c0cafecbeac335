//! The keeper: one loop, one owner of the state. It sleeps until something happens: a peer, a death (pidfd), an
//! emptied tree (inotify), a finished start, a signal, or a time that the supervisor named. It is never awake
//! for nothing; only while runs with output are active does it look at their sizes once a second.

mod children;
mod outputs;
mod peers;
mod records;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::fs::inotify;
use tracing::{info, warn};

use self::children::{Live, Pace};
use super::cgroup::Controllers;
use super::clock::{Clock, boot_now};
use super::connection::Connection;
use super::dir::{StateDir, open_append};
use super::error::KeeperError;
use super::jobs::Jobs;
use super::journal::Journal;
use super::launch::{Host, raise_nofile};
use super::mark::Marks;
use super::output::Retention;
use super::policy::PolicyFile;
use super::starter::{Done, Job, Outbox, Parts, Workshop};
use super::stream::Stream;
use super::supervise::{Effect, Event, Key, Record, Supervisor};
use super::sys;
use super::tree::{TreeKind, Trees};
use super::wire::{self, BootMs};
use crate::model::BootId;

/// What a keeper is told at its start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The state directory; it exists.
    pub dir: PathBuf,
    /// Whether it leaves the session of who started it.
    pub detach: bool,
    /// How trees are held together.
    pub trees: TreeKind,
    /// Bytes of one attempt's output on the disk, more or less.
    pub output_cap: u64,
    /// What of ended runs' output stays.
    pub retention: Retention,
    /// The file of the policy; where none is given, as the state directory and the host have it.
    pub policy: Option<PathBuf>,
    /// This program's arguments that start a sub-reaper: `stub`, or `keeper stub`.
    pub stub_command: Vec<OsString>,
}

impl Settings {
    /// The defaults for a state directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            detach: false,
            trees: TreeKind::Auto,
            output_cap: 1 << 30,
            retention: Retention {
                bytes: 1 << 30,
                age: Duration::from_hours(7 * 24),
            },
            policy: None,
            stub_command: vec!["stub".into()],
        }
    }
}

/// What wakes the loop beside peers and children.
const LISTENER: u64 = 0;
const SIGNALS: u64 = 1;
const BELL: u64 = 2;
const WATCHES: u64 = 3;
const DEATHS: u64 = 4;
/// The first token of peers and children.
const FIRST_TOKEN: u64 = 16;
/// Readers that follow are looked after this often; a process's write is no event.
const FOLLOW_EVERY: Duration = Duration::from_millis(100);
/// Sizes of outputs are looked at this often while runs are active.
const SIZES_EVERY: Duration = Duration::from_secs(1);
/// Old output is taken away this often.
const SWEEP_EVERY: Duration = Duration::from_hours(1);
/// Output that was written meanwhile makes it sooner, not more often than this.
const SWEEP_AGAIN: Duration = Duration::from_secs(10);
/// A record or sync that failed is tried again this often.
const AGAIN_EVERY: Duration = Duration::from_secs(1);
/// Bytes of stack of a starter.
const STARTER_STACK: usize = 256 * 1024;
/// Starters at least and at most; one a core between.
const STARTERS: (usize, usize) = (2, 4);

/// While starts are under way, commands that ended wait this long at most: what is due goes first.
const DEATHS_WAIT: Duration = Duration::from_millis(200);

/// What a token of the poll set stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Source {
    Peer,
    Child(Key),
}

/// Whether the loop goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Course {
    On,
    /// Everything has ended.
    End,
    /// The processes are left to the next keeper.
    Leave,
}

struct Keeper {
    dir: StateDir,
    settings: Settings,
    boot_id: BootId,
    clock: Clock,
    supervisor: Supervisor,
    /// Sub-reapers' records of trees that are gone; taken away once what they say is in the journal.
    spent: Vec<PathBuf>,
    course: Course,
    poll: OwnedFd,
    /// The part of the poll set in which the commands of rules are.
    deaths: OwnedFd,
    deaths_pace: Pace,
    listener: UnixListener,
    signals: SignalFd,
    bell: Arc<OwnedFd>,
    watches: OwnedFd,
    /// Watched `cgroup.events` files.
    watched: HashMap<i32, Key>,
    sources: HashMap<u64, Source>,
    next_token: u64,
    peers: BTreeMap<u64, Connection>,
    agent: Option<u64>,
    /// The state of the policy that the agent was told.
    told_policy: u64,
    children: HashMap<Key, Live>,
    streams: HashMap<u64, Stream>,
    workshop: Arc<Workshop>,
    jobs: Arc<Jobs>,
    syncs: Arc<Jobs>,
    done: Receiver<Done>,
    threads: Vec<JoinHandle<()>>,
    /// Launches handed out and not yet reported.
    in_flight: usize,
    journal: Journal<Record>,
    /// Records that could not be written yet.
    backlog: Vec<Record>,
    written: u64,
    synced: u64,
    syncing: bool,
    snapshot_size: u64,
    /// Events that wait until the records up to a number are on the disk.
    held: VecDeque<(u64, wire::Event)>,
    /// The children whose parent has not yet reaped them, for their exit status.
    unreaped: Vec<(Key, BootMs)>,
    next_follow: Option<BootMs>,
    next_sizes: Option<BootMs>,
    next_sweep: BootMs,
    next_again: Option<BootMs>,
    /// When peers are let in again, where there was no descriptor for one.
    next_accept: Option<BootMs>,
    /// Bytes of output since old output was last taken away.
    written_output: u64,
    /// Whether the file system of the output can give back the middle of a file.
    punches: bool,
}

/// Serves one state directory until TERM, INT, or a peer's word.
pub fn run(settings: Settings) -> Result<(), KeeperError> {
    sys::close_inherited_on_exec();
    if settings.detach {
        // It fails where this program leads a session already, which is as good.
        let _ = rustix::process::setsid();
    }
    let signals = block_signals()?;
    let dir = StateDir::open(&settings.dir)?;
    let lock = dir.lock()?;
    let mut keeper = Keeper::new(settings, dir, lock, signals)?;
    info!(dir = %keeper.dir.path().display(), trees = ?keeper.workshop.trees, "the keeper is ready");
    keeper.serve()?;
    keeper.close();
    Ok(())
}

/// TERM, INT and HUP come as events; blocked before any thread starts.
fn block_signals() -> Result<SignalFd, KeeperError> {
    let system = KeeperError::system::<std::io::Error>;
    let mut set = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        set.add(signal);
    }
    set.thread_block()
        .map_err(|e| system("block signals")(e.into()))?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .map_err(|e| system("take signals")(e.into()))
}

fn boot_id() -> Result<BootId, KeeperError> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(path).map_err(KeeperError::io("read", path))?;
    let bad = |_| KeeperError::io("read", path)(std::io::ErrorKind::InvalidData.into());
    text.trim().parse().map_err(bad)
}

impl Keeper {
    fn new(
        settings: Settings,
        dir: StateDir,
        lock: OwnedFd,
        signals: SignalFd,
    ) -> Result<Self, KeeperError> {
        let boot_id = boot_id()?;
        let clock = Clock::default();
        let (journal, found) = Journal::open(&dir.journal())?;
        let is_damaged = found.damage.is_some();
        let mut records = found.records;
        if is_damaged {
            records.push(Record::Damaged { at: boot_now() });
        }
        let marks_path = dir.marks();
        let marks =
            open_append(&marks_path, 0o600).map_err(KeeperError::io("open", &marks_path))?;
        let marked = std::fs::read(&marks_path).map_err(KeeperError::io("read", &marks_path))?;
        let marked = Marks::read(&marked);
        let workshop = Arc::new(workshop(&settings, &dir, lock, marks)?);
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(KeeperError::system("make an eventfd"))?;
        let (sender, done) = channel();
        let bell = Arc::new(bell);
        let outbox = Outbox {
            sender,
            bell: Arc::clone(&bell),
        };
        let mut threads = Vec::new();
        let jobs = start_starters(&workshop, &outbox, &mut threads)?;
        let syncs = start_workers(&workshop, &outbox, 1, "sync", &mut threads)?;
        let mut recovered = Supervisor::recover(records, &boot_id, clock.now());
        recovered
            .supervisor
            .set_place(dir.path().display().to_string());
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        let listener = dir.listen()?;
        let mut keeper = Self {
            listener,
            dir,
            settings,
            boot_id,
            clock,
            supervisor: recovered.supervisor,
            spent: Vec::new(),
            course: Course::On,
            poll: epoll::create(epoll::CreateFlags::CLOEXEC)
                .map_err(KeeperError::system("make a poll set"))?,
            deaths: epoll::create(epoll::CreateFlags::CLOEXEC)
                .map_err(KeeperError::system("make a poll set"))?,
            deaths_pace: Pace::Even,
            signals,
            bell,
            watches: inotify::init(flags).map_err(KeeperError::system("watch files"))?,
            watched: HashMap::new(),
            sources: HashMap::new(),
            next_token: FIRST_TOKEN,
            peers: BTreeMap::new(),
            agent: None,
            told_policy: 0,
            children: HashMap::new(),
            streams: HashMap::new(),
            workshop,
            jobs,
            syncs,
            done,
            threads,
            in_flight: 0,
            journal,
            backlog: Vec::new(),
            written: 0,
            synced: 0,
            syncing: false,
            snapshot_size: 0,
            held: VecDeque::new(),
            unreaped: Vec::new(),
            next_follow: None,
            next_sizes: None,
            next_sweep: boot_now(),
            next_again: None,
            next_accept: None,
            written_output: 0,
            punches: true,
        };
        keeper.watch_all()?;
        keeper.try_punching();
        if is_damaged {
            keeper.outlive_damage(&recovered.attempts)?;
        }
        keeper.recover(recovered.effects, recovered.attempts, &marked)?;
        Ok(keeper)
    }

    fn watch_all(&mut self) -> Result<(), KeeperError> {
        let fds = [
            (self.listener.as_fd(), LISTENER),
            (self.signals.as_fd(), SIGNALS),
            (self.bell.as_fd(), BELL),
            (self.watches.as_fd(), WATCHES),
            (self.deaths.as_fd(), DEATHS),
        ];
        for (fd, token) in fds {
            let data = epoll::EventData::new_u64(token);
            epoll::add(&self.poll, fd, data, epoll::EventFlags::IN)
                .map_err(KeeperError::system("fill the poll set"))?;
        }
        if self.workshop.trees == Trees::Stub {
            self.watch_stubs()?;
        }
        Ok(())
    }

    fn serve(&mut self) -> Result<(), KeeperError> {
        let mut ready: Vec<epoll::Event> = Vec::with_capacity(256);
        while self.course == Course::On {
            self.do_what_is_due();
            self.remove_spent();
            if self.course != Course::On {
                break;
            }
            self.pace_deaths();
            let timeout = self.next_wake().map(|at| timespec(at.since(boot_now())));
            ready.clear();
            let spare = rustix::buffer::spare_capacity(&mut ready);
            match epoll::wait(&self.poll, spare, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(KeeperError::system("wait for events")(e)),
            }
            for event in &ready {
                let flags = event.flags;
                self.dispatch(event.data.u64(), flags);
            }
            self.remove_spent();
        }
        Ok(())
    }

    fn dispatch(&mut self, token: u64, flags: epoll::EventFlags) {
        match token {
            LISTENER => self.accept(),
            SIGNALS => self.take_signals(),
            BELL => self.take_done(),
            WATCHES => self.take_watches(),
            DEATHS => self.take_deaths(),
            token => match self.sources.get(&token).cloned() {
                Some(Source::Peer) => self.serve_peer(token, flags),
                Some(Source::Child(key)) => self.child_ready(&key),
                None => {}
            },
        }
    }

    fn take_signals(&mut self) {
        while let Ok(Some(info)) = self.signals.read_signal() {
            let number = i32::try_from(info.ssi_signo).unwrap_or(0);
            if number == libc::SIGHUP {
                self.workshop.policy.read_again();
                self.tell_policy();
                continue;
            }
            info!(
                signal = number,
                "the keeper ends and leaves its processes to the next one"
            );
            self.course = Course::Leave;
        }
    }

    /// Everything that a time asks for.
    fn do_what_is_due(&mut self) {
        let now = boot_now();
        let due = |at: Option<BootMs>| at.is_some_and(|at| at <= now);
        if due(self.supervisor.next_wake()) {
            self.tell(Event::Wake);
        }
        if due(self.next_follow) {
            self.pump_followers(now);
        }
        if due(self.next_sizes) {
            self.look_at_sizes(now);
        }
        if due(self.next_again) {
            self.next_again = None;
            self.write_backlog();
            self.start_sync();
        }
        self.tell_policy();
        if due(self.next_accept) {
            self.accept_again();
        }
        if self.next_sweep <= now {
            self.next_sweep = now.plus(SWEEP_EVERY);
            self.written_output = 0;
            let keep = self.children.keys().cloned().collect();
            self.hand_out(Job::Sweep(keep));
        }
        self.check_unreaped(now);
    }

    fn next_wake(&mut self) -> Option<BootMs> {
        [
            self.supervisor.next_wake(),
            self.next_follow,
            self.next_sizes,
            self.next_again,
            self.next_accept,
            match self.deaths_pace {
                Pace::Wait(until) => Some(until),
                Pace::Even | Pace::Overdue => None,
            },
            Some(self.next_sweep),
            self.unreaped.iter().map(|(_, at)| *at).min(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Brings an event to the supervisor and carries out what it decides.
    fn tell(&mut self, event: Event) {
        let now = self.clock.now();
        let effects = self.supervisor.handle(now, event);
        self.carry_out(effects);
    }

    fn remove_spent(&mut self) {
        for path in self.spent.drain(..) {
            drop(std::fs::remove_file(path));
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        let (records, effects): (Vec<_>, Vec<_>) = effects
            .into_iter()
            .partition(|effect| matches!(effect, Effect::Record(_)));
        let records = records.into_iter().filter_map(|effect| match effect {
            Effect::Record(record) => Some(record),
            _ => None,
        });
        let recorded = self.write(records.collect());
        for effect in effects {
            match effect {
                Effect::Record(_) => {}
                Effect::Launch(order) => match &recorded {
                    Ok(()) => {
                        self.in_flight += 1;
                        self.hand_out(Job::Launch(order));
                    }
                    Err(why) => self.refuse_unrecorded(&order, why),
                },
                Effect::Signal { key, signal } => self.signal(&key, signal),
                Effect::Say(event) => self.say(&event),
                Effect::SayRecorded(event) => self.say_recorded(event),
                Effect::End => self.course = Course::End,
            }
        }
    }

    fn hand_out(&self, job: Job) {
        self.jobs.push(job);
    }

    /// The end: starts under way are waited for and recorded, so the next keeper finds what runs.
    fn close(&mut self) {
        self.jobs.close();
        for thread in self.threads.drain(..self.threads.len().saturating_sub(1)) {
            drop(thread.join());
        }
        self.take_done();
        self.syncs.close();
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
        self.write_backlog();
        match self.journal.sync() {
            Ok(()) => {
                self.synced = self.written;
                self.release_held();
            }
            Err(e) => warn!(error = %e, "the last records may not be on the disk"),
        }
        for peer in self.peers.values_mut() {
            peer.finish();
        }
        if let Trees::Cgroup(base) = &self.workshop.trees {
            // Those of runs that were armed and never started; where processes are left, they stay.
            for name in records::names(base) {
                drop(std::fs::remove_dir(base.join(name)));
            }
            drop(std::fs::remove_dir(base));
        }
    }
}

fn timespec(span: Duration) -> Timespec {
    // The kernel would be a part of a millisecond early, and the loop would turn once for nothing.
    let span = span + Duration::from_micros(500);
    Timespec {
        tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(span.subsec_nanos()),
    }
}

fn workshop(
    settings: &Settings,
    dir: &StateDir,
    lock: OwnedFd,
    marks: File,
) -> Result<Workshop, KeeperError> {
    let root = dir.uid == 0;
    let kind = match settings.trees {
        TreeKind::Auto if !root => TreeKind::Stub,
        kind => kind,
    };
    let trees = Trees::choose(kind, dir.path())
        .map_err(KeeperError::system("make a cgroup for the runs"))?;
    Workshop::new(Parts {
        output: dir.output(),
        stubs: dir.stubs(),
        lock,
        marks,
        policy: PolicyFile::open(dir, settings.policy.as_deref()),
        host: Host {
            controllers: match &trees {
                Trees::Cgroup(base) => Controllers::turn_on(base),
                Trees::Stub => Controllers::default(),
            },
            root,
            nofile: raise_nofile(root),
        },
        trees,
        retention: settings.retention,
        stub_command: settings.stub_command.clone(),
        agent_uids: peers::last_agent(dir)
            .map_or(vec![dir.owner], |agent| vec![dir.owner, agent.uid]),
        agent: peers::last_agent(dir).map(|agent| agent.name),
    })
    .map_err(KeeperError::io("open", "/dev/null"))
}

fn start_starters(
    workshop: &Arc<Workshop>,
    outbox: &Outbox,
    threads: &mut Vec<JoinHandle<()>>,
) -> Result<Arc<Jobs>, KeeperError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let count = cores.clamp(STARTERS.0, STARTERS.1);
    start_workers(workshop, outbox, count, "start", threads)
}

fn start_workers(
    workshop: &Arc<Workshop>,
    outbox: &Outbox,
    count: usize,
    name: &str,
    threads: &mut Vec<JoinHandle<()>>,
) -> Result<Arc<Jobs>, KeeperError> {
    let jobs = Arc::new(Jobs::default());
    for _ in 0..count {
        let (workshop, outbox, jobs) = (Arc::clone(workshop), outbox.clone(), Arc::clone(&jobs));
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STARTER_STACK)
            .spawn(move || workshop.work(&jobs, &outbox))
            .map_err(KeeperError::system("start a thread"))?;
        threads.push(thread);
    }
    Ok(jobs)
}
