//! What a start costs: 1,000 runs of a static `true` at one instant through the keeper against a bare loop of
//! vfork and exec as the same user, also with a keeper of 256 MiB; the time from a start's order to its command; and
//! what the keeper takes while it idles. Prints; as root the runs are `nobody`'s.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a benchmark prints, starts programs, and ends at the first thing that fails"
)]

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command as Program, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use ucron::exec::wire::{BootMs, Command, Event, Start};
use ucron::exec::{KeeperLink, KeeperProgram, LinkEvent};
use ucron::model::{
    AgentName, Cause, Epoch, Execute, Output, Revision, RunId, RunRef, Slot, TaskId, TaskName,
    TaskText, UnixMs, UserName, Work,
};

const RUNS: usize = 1000;
const ORDERS: usize = 200;

/// Argument with which this program starts itself again as the bare loop.
const BARE: &str = "bare-loop";
/// Bytes that a keeper is filled with.
const HEAP: usize = 256 << 20;
/// Bytes of a text that fills it, under the 64 KiB that one may have.
const FILLING: usize = 60 * 1024;

fn main() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some(BARE) {
        println!("{}", spawn_all(Path::new(&args.next().unwrap())).as_nanos());
        return;
    }
    let root = rustix::process::geteuid().is_root();
    let own = nix::unistd::User::from_uid(nix::unistd::geteuid())
        .unwrap()
        .unwrap()
        .name;
    let user = if root { "nobody".to_owned() } else { own };
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let open = tempfile::tempdir().unwrap();
    std::fs::set_permissions(open.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let program = static_true(open.path());
    let keeper = KeeperProgram::new(env!("CARGO_BIN_EXE_ucron-keeper").into(), Vec::new());
    keeper.start(dir.path()).unwrap();
    idle(dir.path(), "fresh");
    let (sender, events) = channel();
    let name = AgentName::parse("bench").unwrap();
    let link =
        KeeperLink::connect(dir.path(), &name, move |event| drop(sender.send(event))).unwrap();
    let bench = Bench {
        link,
        events,
        user,
        root,
        dir: dir.path().to_owned(),
        program,
    };
    bench.burst("small");
    bench.burst("small again");
    bench.orders(false);
    bench.orders(true);
    idle(dir.path(), "after the runs");
    bench.fill();
    bench.burst("256 MiB");
    memory(dir.path(), "filled");
    ucron::exec::stop(dir.path(), false).unwrap();
}

/// A program that only ends, without a loader or a library: what is measured is the start.
fn static_true(dir: &Path) -> PathBuf {
    const CODE: [u8; 9] = [0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05];
    const BASE: u64 = 0x40_0000;
    if !cfg!(target_arch = "x86_64") {
        return "/bin/true".into();
    }
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    for word in [BASE + 120, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 1, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    for word in [1u32, 5] {
        file.extend(word.to_le_bytes());
    }
    let size = 120 + CODE.len() as u64;
    for word in [0, BASE, BASE, size, size, 4096] {
        file.extend(word.to_le_bytes());
    }
    file.extend(CODE);
    let path = dir.join("true");
    std::fs::write(&path, file).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path
}

/// Spawn and wait, one after the other; without an account to change the standard library does it by vfork.
fn spawn_all(program: &Path) -> Duration {
    let begun = Instant::now();
    for _ in 0..RUNS {
        let mut program = Program::new(program);
        assert!(program.stdin(Stdio::null()).status().unwrap().success());
    }
    begun.elapsed()
}

fn start(user: &str, words: &[&str], name: &str, output: Output) -> Start {
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    let mut work = Work::new(Execute::Vector(words), UserName::parse(user).unwrap());
    work.output = output;
    let text = TaskText {
        task: "01hzzzzzzzzzzzzzzzzzzzzzzz".parse::<TaskId>().unwrap(),
        revision: Revision(u32::from(output == Output::Tail)),
        group: "g".parse().unwrap(),
        name: TaskName::parse("bench").unwrap(),
        one: false,
        work,
    };
    Start {
        run: RunRef {
            run_id: RunId::hash(name.as_bytes()),
            task: text.task.clone(),
            revision: text.revision,
            slot: Slot(0),
            cause: Cause::Rule,
            scheduled_at: UnixMs(0),
            delay: Duration::ZERO,
        },
        text,
        epoch: Epoch(1),
        start_before: None,
        not_after: None,
        replaces: None,
    }
}

fn next(events: &Receiver<LinkEvent>) -> Event {
    match events.recv_timeout(Duration::from_mins(1)).unwrap() {
        LinkEvent::Event(event) => *event,
        LinkEvent::Closed => panic!("the keeper is gone"),
    }
}

struct Bench {
    link: KeeperLink,
    events: Receiver<LinkEvent>,
    user: String,
    root: bool,
    dir: PathBuf,
    program: PathBuf,
}

impl Bench {
    fn order(&self, name: &str) -> Start {
        let program = self.program.display().to_string();
        start(&self.user, &[&program], name, Output::None)
    }

    fn send(&self, command: &Command) {
        self.link.send(command).unwrap();
    }

    /// The bare loop as the runs' user.
    fn bare(&self) -> Duration {
        let mut program = Program::new(std::env::current_exe().unwrap());
        if self.root {
            // The benchmark itself may lie where nobody else comes.
            let copy = self.program.with_file_name("bench");
            std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
            program = Program::new(copy);
            program.uid(65534).gid(65534);
        }
        let said = program.arg(BARE).arg(&self.program).output().unwrap();
        let text = String::from_utf8(said.stdout).unwrap();
        Duration::from_nanos(text.trim().parse().unwrap())
    }

    /// All at once, armed as an agent does it: until the last has started, until the last has ended on the disk.
    fn burst(&self, keeper: &str) {
        let bare = self.bare().min(self.bare());
        let starts: Vec<Start> = (0..RUNS)
            .map(|count| self.order(&format!("{keeper} {count}")))
            .collect();
        for start in &starts {
            let run = start.run.clone();
            self.send(&Command::Arm { run });
        }
        let own: HashSet<RunId> = starts.iter().map(|of| of.run.run_id.clone()).collect();
        // As long before they are due as the lead gives.
        std::thread::sleep(Duration::from_secs(10));
        let begun = Instant::now();
        for start in starts {
            self.send(&Command::Start(Box::new(start)));
        }
        let (mut started, mut ended) = (0, 0);
        let mut all_started = Duration::ZERO;
        while ended < RUNS {
            match next(&self.events) {
                Event::Started { run, .. } if own.contains(&run.run_id) => started += 1,
                Event::Ended { run, ending } if own.contains(&run.run_id) => {
                    assert_eq!(ending.exit_code, Some(0), "{ending:?}");
                    ended += 1;
                }
                _ => {}
            }
            if started == RUNS && all_started.is_zero() {
                all_started = begun.elapsed();
            }
        }
        let all = begun.elapsed();
        let bare = bare.min(self.bare());
        println!("keeper {keeper}: {RUNS} starts {all_started:?}, ended and on the disk {all:?}");
        println!("keeper {keeper}: bare loop, best of 3: {bare:?}");
        let ratio = |span: Duration| span.as_secs_f64() / bare.as_secs_f64();
        println!(
            "keeper {keeper}: ratio to the bare loop: starts {:.2} (limit 1.3), to the end {:.2}",
            ratio(all_started),
            ratio(all)
        );
    }

    fn executed_at(&self, run_id: &RunId) -> u128 {
        let marks = std::fs::read_to_string(self.dir.join("keeper/started")).unwrap();
        let mark = marks
            .lines()
            .find(|line| line.contains(run_id.as_str()))
            .unwrap();
        mark.split(' ').nth(4).unwrap().parse().unwrap()
    }

    /// Runs that came too late, each with a long text: what the keeper must remember of them fills it.
    fn fill(&self) {
        let count = HEAP / FILLING;
        for number in 0..count {
            let mut start = self.order(&format!("filling {number}"));
            start.text.revision = Revision(2_000_000 + u32::try_from(number).unwrap());
            start.run.revision = start.text.revision;
            start.start_before = Some(BootMs(1));
            let value = "x".repeat(FILLING);
            start.text.work.env.insert("FILLING".to_owned(), value);
            self.send(&Command::Start(Box::new(start)));
        }
        let mut missed = 0;
        while missed < count {
            missed += usize::from(matches!(next(&self.events), Event::Ended { .. }));
        }
    }

    /// One at a time: from the order to the mark that the child makes just before execve.
    fn orders(&self, armed: bool) {
        let mut spans = Vec::new();
        for count in 0..ORDERS {
            let start = self.order(&format!("order {count} {armed}"));
            let run_id = start.run.run_id.clone();
            if armed {
                let run = start.run.clone();
                self.send(&Command::Arm { run });
                std::thread::sleep(Duration::from_millis(5));
            }
            let begun = boot_nanos();
            self.send(&Command::Start(Box::new(start)));
            while !matches!(next(&self.events), Event::Ended { .. }) {}
            spans.push(self.executed_at(&run_id) - begun);
        }
        println!(
            "order to execve, median of {ORDERS}, armed {armed}: {:?}",
            median(spans)
        );
    }
}

fn boot_nanos() -> u128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u128::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u128::try_from(now.tv_nsec).unwrap()
}

fn median(mut spans: Vec<u128>) -> Duration {
    spans.sort_unstable();
    Duration::from_nanos(u64::try_from(spans[spans.len() / 2]).unwrap())
}

fn keeper_pid(dir: &Path) -> i32 {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .find(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let dir = dir.as_os_str().as_encoded_bytes();
            line.windows(dir.len()).any(|part| part == dir)
        })
        .unwrap()
}

fn memory(dir: &Path, when: &str) {
    let pid = keeper_pid(dir);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    for name in ["VmRSS", "RssAnon", "RssFile"] {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        println!("{when}: {}", line.replace('\t', " "));
    }
}

/// Resident memory, and processor time over ten seconds of nothing.
fn idle(dir: &Path, when: &str) {
    memory(dir, when);
    let pid = keeper_pid(dir);
    let before = cpu(pid);
    std::thread::sleep(Duration::from_secs(10));
    let after = cpu(pid);
    println!(
        "{when}: {} ns of processor time in 10 s of idling",
        after - before
    );
}

fn cpu(pid: i32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .flatten();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
        .sum()
}
