//! What a start costs: 1,000 runs of `true` at one instant through the keeper against a bare loop of spawns, the
//! time from a start's order to its command, and what the keeper takes while it idles. Prints; as root the runs
//! are `nobody`'s.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a benchmark prints, starts programs, and ends at the first thing that fails"
)]

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command as Program, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use ucron::exec::wire::{Command, Event, Start};
use ucron::exec::{KeeperLink, KeeperProgram, LinkEvent};
use ucron::model::{
    AgentName, Cause, Epoch, Execute, Output, Revision, RunId, RunRef, Slot, TaskId, TaskName,
    TaskText, UnixMs, UserName, Work,
};

const RUNS: usize = 1000;
const ORDERS: usize = 200;

fn main() {
    let root = rustix::process::geteuid().is_root();
    let own = nix::unistd::User::from_uid(nix::unistd::geteuid())
        .unwrap()
        .unwrap()
        .name;
    let user = if root { "nobody".to_owned() } else { own };
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let program = KeeperProgram::new(env!("CARGO_BIN_EXE_ucron-keeper").into(), Vec::new());
    program.start(dir.path()).unwrap();
    idle(dir.path(), "fresh");
    let (sender, events) = channel();
    let name = AgentName::parse("bench").unwrap();
    let link =
        KeeperLink::connect(dir.path(), &name, move |event| drop(sender.send(event))).unwrap();
    burst(&link, &events, &user, root);
    orders(&link, &events, &user, dir.path(), false);
    orders(&link, &events, &user, dir.path(), true);
    idle(dir.path(), "after the runs");
    ucron::exec::stop(dir.path(), false).unwrap();
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

/// All at once: until the last has started, until the last has ended on the disk.
fn burst(link: &KeeperLink, events: &Receiver<LinkEvent>, user: &str, root: bool) {
    let bare = bare_loop(root);
    let begun = Instant::now();
    for count in 0..RUNS {
        let start = start(user, &["/bin/true"], &format!("run {count}"), Output::None);
        link.send(&Command::Start(Box::new(start))).unwrap();
    }
    let (mut started, mut ended) = (0, 0);
    let mut all_started = Duration::ZERO;
    while ended < RUNS {
        match next(events) {
            Event::Started { .. } => started += 1,
            Event::Ended { ending, .. } => {
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
    println!("{RUNS} starts: {all_started:?}, ended and on the disk {all:?}");
    println!("starts per second: {:.0}", per_second(all_started));
    println!(
        "bare loop, one thread: {bare:?}, {:.0} per second",
        per_second(bare)
    );
    println!(
        "ratio (whole run to bare loop): {:.2}",
        all.as_secs_f64() / bare.as_secs_f64()
    );
}

fn per_second(span: Duration) -> f64 {
    1000.0 / span.as_secs_f64()
}

/// Spawn and wait, one after the other, as the same user.
fn bare_loop(root: bool) -> Duration {
    let begun = Instant::now();
    for _ in 0..RUNS {
        let mut program = Program::new("/bin/true");
        if root {
            program.uid(65534).gid(65534);
        }
        assert!(program.stdin(Stdio::null()).status().unwrap().success());
    }
    begun.elapsed()
}

fn boot_nanos() -> u128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u128::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u128::try_from(now.tv_nsec).unwrap()
}

/// One at a time: from the order to the mark that the child makes just before execve.
fn orders(link: &KeeperLink, events: &Receiver<LinkEvent>, user: &str, dir: &Path, armed: bool) {
    let mut spans = Vec::new();
    for count in 0..ORDERS {
        let start = start(
            user,
            &["/bin/true"],
            &format!("order {count} {armed}"),
            Output::None,
        );
        let run_id = start.run.run_id.clone();
        if armed {
            link.send(&Command::Arm {
                run: start.run.clone(),
            })
            .unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
        let begun = boot_nanos();
        link.send(&Command::Start(Box::new(start))).unwrap();
        while !matches!(next(events), Event::Ended { .. }) {}
        let marks = std::fs::read_to_string(dir.join("keeper/started")).unwrap();
        let mark = marks
            .lines()
            .find(|line| line.contains(run_id.as_str()))
            .unwrap();
        let executed: u128 = mark.split(' ').nth(4).unwrap().parse().unwrap();
        spans.push(executed - begun);
    }
    println!(
        "order to execve, median of {ORDERS}, armed {armed}: {:?}",
        median(spans)
    );
}

fn median(mut spans: Vec<u128>) -> Duration {
    spans.sort_unstable();
    Duration::from_nanos(u64::try_from(spans[spans.len() / 2]).unwrap())
}

/// Resident memory, and processor time over ten seconds of nothing.
fn idle(dir: &Path, when: &str) {
    let pid = std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .find(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let dir = dir.as_os_str().as_encoded_bytes();
            line.windows(dir.len()).any(|part| part == dir)
        })
        .unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    for name in ["VmRSS", "RssAnon", "RssFile"] {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        println!("{when}: {}", line.replace('\t', " "));
    }
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
