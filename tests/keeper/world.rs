//! What the tests share: a keeper in a directory of its own, an agent that speaks to it, runs.
#![allow(
    clippy::unwrap_used,
    reason = "what a test's helper cannot do fails the test"
)]

use std::cell::RefCell;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Program, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;
use ucron::exec::wire::{Command, Event, RunState, SlotState, SlotStatus, Start};
use ucron::exec::{KeeperLink, LinkEvent};
use ucron::model::{
    AgentName, Cause, Ending, Epoch, Execute, Outcome, Output, Revision, RunId, RunRef, Slot,
    TaskId, TaskName, TaskText, UnixMs, UserName, Work,
};

/// A program of the host.
#[allow(clippy::disallowed_methods, reason = "tests start the built programs")]
pub fn program(name: &str) -> Program {
    Program::new(name)
}

/// Longest wait for anything; reached only when a test fails.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub fn is_root() -> bool {
    geteuid().is_root()
}

/// True as root; otherwise says what is not checked.
pub fn needs_root(what: &str) -> bool {
    if !is_root() {
        drop(writeln!(std::io::stderr(), "skipped, needs root: {what}"));
    }
    is_root()
}

pub fn own_name() -> String {
    nix::unistd::User::from_uid(nix::unistd::geteuid())
        .unwrap()
        .unwrap()
        .name
}

/// The account of the runs.
pub fn run_user() -> String {
    if is_root() {
        "nobody".to_owned()
    } else {
        own_name()
    }
}

pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A keeper in a directory of its own. Its end ends every process that it holds.
pub struct World {
    pub dir: TempDir,
    pub keeper: Option<Child>,
    pub trees: &'static str,
}

impl World {
    pub fn new(trees: &'static str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("ucron-keeper")
            .tempdir()
            .unwrap();
        let mut world = Self {
            dir,
            keeper: None,
            trees,
        };
        // The runs' account writes beside the state directory.
        std::fs::set_permissions(world.dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        for (name, mode) in [("state", 0o700), ("work", 0o777)] {
            let path = world.dir.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        }
        world.start();
        world
    }

    /// Every way to hold trees together that this account can use.
    pub fn each(test: impl Fn(&mut World)) {
        for trees in ["subreaper", "cgroup"] {
            if trees == "cgroup" && !needs_root("cgroups") {
                continue;
            }
            test(&mut Self::new(trees));
        }
    }

    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub fn work(&self, name: &str) -> PathBuf {
        self.dir.path().join("work").join(name)
    }

    pub fn start(&mut self) {
        let child = program(env!("CARGO_BIN_EXE_ucron-keeper"))
            .args(["run", "--tree", self.trees, "--log", "warn", "--state"])
            .arg(self.state())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        self.keeper = Some(child);
        eventually("the keeper answers", || {
            ucron::exec::is_running(&self.state())
        });
    }

    pub fn keeper_pid(&self) -> i32 {
        i32::try_from(self.keeper.as_ref().unwrap().id()).unwrap()
    }

    /// Ends the keeper by a signal and waits for its end.
    pub fn end_keeper(&mut self, signal: Signal) {
        kill(self.keeper_pid(), signal);
        self.keeper.take().unwrap().wait().unwrap();
    }

    pub fn agent(&self) -> Agent {
        Agent::connect(&self.state())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.keeper.is_none() {
            // The next keeper finds what is left, and ends it.
            self.start();
        }
        drop(ucron::exec::stop(&self.state(), false));
        if let Some(mut keeper) = self.keeper.take() {
            let deadline = Instant::now() + DEADLINE;
            while keeper.try_wait().unwrap().is_none() {
                if Instant::now() > deadline {
                    drop(keeper.kill());
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

pub fn kill(pid: i32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
}

pub fn is_alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|text| !text.rsplit_once(") ").unwrap().1.starts_with(['Z', 'X']))
}

pub struct Agent {
    pub link: KeeperLink,
    pub events: Receiver<LinkEvent>,
    /// Events that were passed over, for those who come for them later.
    pub passed: RefCell<Vec<Event>>,
}

impl Agent {
    pub fn connect(state: &Path) -> Self {
        let (sender, events) = channel();
        let name = AgentName::parse("a1").unwrap();
        let link =
            KeeperLink::connect(state, &name, move |event| drop(sender.send(event))).unwrap();
        Self {
            link,
            events,
            passed: RefCell::default(),
        }
    }

    #[allow(clippy::needless_pass_by_value, reason = "tests read better")]
    pub fn send(&self, command: Command) {
        self.link.send(&command).unwrap();
    }

    /// The first event that is wanted; others are kept.
    pub fn wait<T>(&self, what: &str, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let mut passed = self.passed.borrow_mut();
        if let Some(at) = passed.iter().position(|event| wanted(event).is_some()) {
            return wanted(&passed.remove(at)).unwrap();
        }
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(LinkEvent::Event(event)) => match wanted(&event) {
                    Some(found) => return found,
                    None => passed.push(*event),
                },
                Ok(LinkEvent::Closed) => panic!("the link was closed before: {what}"),
                Err(e) => panic!("not in time: {what}: {e}"),
            }
        }
    }

    pub fn started(&self, run: &RunId) -> i32 {
        self.wait("a start", |event| match event {
            Event::Started { run: of, pid, .. } if of.run_id == *run => Some(*pid),
            Event::Ended { run: of, ending } if of.run_id == *run => panic!("ended: {ending:?}"),
            _ => None,
        })
    }

    pub fn ended(&self, run: &RunId) -> Ending {
        self.wait("an end", |event| match event {
            Event::Ended { run: of, ending } if of.run_id == *run => Some(ending.clone()),
            Event::Known {
                run: of,
                state: RunState::Ended(ending),
            } if of.run_id == *run => Some(ending.as_ref().clone()),
            _ => None,
        })
    }

    pub fn slot(&self, slot: u16, state: SlotState) -> SlotStatus {
        self.wait("a slot's state", |event| match event {
            Event::Slot(status) if status.slot == Slot(slot) && status.state == state => {
                Some(status.clone())
            }
            _ => None,
        })
    }

    pub fn run(&self, work: Work) -> Ending {
        let start = start(work);
        let run = start.run.run_id.clone();
        self.send(Command::Start(Box::new(start)));
        self.ended(&run)
    }
}

pub fn shell(line: impl Into<String>) -> Work {
    Work::new(
        Execute::Shell(line.into()),
        UserName::parse(&run_user()).unwrap(),
    )
}

pub fn vector(words: &[&str]) -> Work {
    let mut work = shell("");
    work.execute = Execute::Vector(words.iter().map(|word| (*word).to_owned()).collect());
    work
}

pub fn text(work: Work) -> TaskText {
    TaskText {
        task: "01hzzzzzzzzzzzzzzzzzzzzzzz".parse::<TaskId>().unwrap(),
        revision: Revision(1),
        group: "g".parse().unwrap(),
        name: TaskName::parse("dump").unwrap(),
        one: false,
        work,
    }
}

pub fn start(work: Work) -> Start {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::SeqCst);
    let mut text = text(work);
    // A text is sent once per revision; each of these tests' runs has its own.
    text.revision = Revision(u32::try_from(count).unwrap() + 1);
    Start {
        run: RunRef {
            run_id: RunId::hash(format!("{}-{count}", std::process::id()).as_bytes()),
            task: text.task.clone(),
            revision: text.revision,
            slot: Slot(0),
            cause: Cause::Rule,
            scheduled_at: UnixMs(1_795_366_200_007),
        },
        text,
        epoch: Epoch(7),
        start_before: None,
        not_after: None,
        replaces: None,
    }
}

pub fn with_tail(mut work: Work) -> Work {
    work.output = Output::Tail;
    work
}

/// Runs it and returns what it printed.
pub fn output(agent: &Agent, work: Work) -> String {
    let ending = agent.run(with_tail(work));
    assert_eq!(ending.outcome, Outcome::Succeeded, "{ending:?}");
    ending.tail.unwrap()
}

/// Whether a file below has this many bytes.
pub fn has_bytes(dir: &Path, bytes: u64) -> bool {
    std::fs::read_dir(dir).unwrap().flatten().any(|entry| {
        let meta = entry.metadata().unwrap();
        if meta.is_dir() {
            has_bytes(&entry.path(), bytes)
        } else {
            meta.len() >= bytes
        }
    })
}

/// Files below a directory.
pub fn count_files(dir: &Path) -> usize {
    std::fs::read_dir(dir)
        .unwrap()
        .flatten()
        .map(|entry| {
            if entry.metadata().unwrap().is_dir() {
                count_files(&entry.path())
            } else {
                1
            }
        })
        .sum()
}
