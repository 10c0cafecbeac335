//! How soon a daemon's dead process is replaced: from its kill to the execve of the next one, as the keeper sees
//! it by events, against a bare loop of kill, waitpid and spawn in the same run, and against the 5 ms that it may
//! take at the median. Prints medians, 99th percentiles and their ratios, for every way to hold trees together; as
//! root the processes are `nobody`'s.
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
use std::process::{Child, Command as Program, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use ucron::exec::wire::{Assignment, Command, Event};
use ucron::exec::{KeeperLink, LinkEvent};
use ucron::model::{
    AgentName, Epoch, Execute, Restart, Revision, RunId, TaskId, TaskName, TaskText, UserName, Work,
};

const DEATHS: usize = 200;
const WARM_UP: usize = 10;
/// The median that a machine with nothing else to do must not exceed.
const LIMIT: Duration = Duration::from_millis(5);

fn main() {
    let root = rustix::process::geteuid().is_root();
    let bare = Spans::new((0..DEATHS).map(|_| bare_death(root)).collect());
    println!("bare kill, waitpid, spawn: {bare}");
    for trees in ["subreaper", "cgroup"] {
        if trees == "cgroup" && !root {
            println!("cgroup: not measured, needs root");
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o700)).unwrap();
        let mut keeper = keeper(dir.path(), trees);
        let spans = deaths(dir.path(), root);
        println!("{trees}: {spans}");
        println!(
            "{trees}, ratio to the bare loop: median {:.2}, p99 {:.2}; to the limit of {LIMIT:?}: median {:.2}",
            spans.median.as_secs_f64() / bare.median.as_secs_f64(),
            spans.p99.as_secs_f64() / bare.p99.as_secs_f64(),
            spans.median.as_secs_f64() / LIMIT.as_secs_f64(),
        );
        ucron::exec::stop(dir.path(), false).unwrap();
        keeper.wait().unwrap();
    }
}

struct Spans {
    median: Duration,
    p99: Duration,
}

impl Spans {
    fn new(mut spans: Vec<u128>) -> Self {
        spans.sort_unstable();
        let at = |index: usize| Duration::from_nanos(u64::try_from(spans[index]).unwrap());
        Self {
            median: at(spans.len() / 2),
            p99: at(spans.len() * 99 / 100),
        }
    }
}

impl std::fmt::Display for Spans {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "median {:?}, p99 {:?} of {DEATHS}",
            self.median, self.p99
        )
    }
}

fn keeper(dir: &Path, trees: &str) -> Child {
    let mut keeper = Program::new(env!("CARGO_BIN_EXE_ucron-keeper"));
    keeper.args(["run", "--tree", trees, "--log", "warn", "--state"]);
    let child = keeper.arg(dir).stdin(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while !ucron::exec::is_running(dir) {
        assert!(begun.elapsed() < Duration::from_mins(1), "no keeper");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

fn sleeper(root: bool) -> Child {
    let mut program = Program::new("/bin/sleep");
    if root {
        program.uid(65534).gid(65534);
    }
    let program = program.arg("1000").stdin(Stdio::null());
    program.spawn().unwrap()
}

/// One death in the barest of supervisors.
fn bare_death(root: bool) -> u128 {
    let mut child = sleeper(root);
    let begun = boot_nanos();
    child.kill().unwrap();
    child.wait().unwrap();
    let mut next = sleeper(root);
    let span = boot_nanos() - begun;
    next.kill().unwrap();
    next.wait().unwrap();
    span
}

fn boot_nanos() -> u128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u128::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u128::try_from(now.tv_nsec).unwrap()
}

fn assignment(root: bool) -> Assignment {
    let own = nix::unistd::User::from_uid(nix::unistd::geteuid());
    let own = own.unwrap().unwrap().name;
    let user = if root { "nobody" } else { own.as_str() };
    let words = ["/bin/sleep", "1000"].map(str::to_owned).to_vec();
    let mut work = Work::new(Execute::Vector(words), UserName::parse(user).unwrap());
    work.daemon = true;
    work.restart = Restart::Always;
    work.start_seconds = Duration::from_millis(1);
    let text = TaskText {
        task: "01hzzzzzzzzzzzzzzzzzzzzzzz".parse::<TaskId>().unwrap(),
        revision: Revision(1),
        group: "g".parse().unwrap(),
        name: TaskName::parse("bench").unwrap(),
        one: false,
        work,
    };
    Assignment {
        text,
        epoch: Epoch(1),
    }
}

fn started(events: &Receiver<LinkEvent>) -> (RunId, i32) {
    loop {
        match events.recv_timeout(Duration::from_mins(1)).unwrap() {
            LinkEvent::Event(event) => {
                if let Event::Started { run, pid, .. } = *event {
                    return (run.run_id, pid);
                }
            }
            LinkEvent::Closed => panic!("the keeper is gone"),
        }
    }
}

/// From each kill to the mark that the next process makes just before its execve.
fn deaths(dir: &Path, root: bool) -> Spans {
    let (sender, events) = channel();
    let name = AgentName::parse("bench").unwrap();
    let link = KeeperLink::connect(dir, &name, move |event| drop(sender.send(event))).unwrap();
    link.send(&Command::Assign(Box::new(assignment(root))))
        .unwrap();
    let (_, mut pid) = started(&events);
    let mut killed = Vec::new();
    for _ in 0..DEATHS + WARM_UP {
        // Past its start_seconds: each death is the first in a row.
        std::thread::sleep(Duration::from_millis(5));
        let begun = boot_nanos();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        let (run_id, next) = started(&events);
        killed.push((begun, run_id));
        pid = next;
    }
    let marks = std::fs::read_to_string(dir.join("keeper/started")).unwrap();
    let executed = |run_id: &RunId| -> u128 {
        let line = marks.lines().find(|line| line.contains(run_id.as_str()));
        line.unwrap().split(' ').nth(4).unwrap().parse().unwrap()
    };
    let spans = killed.iter().skip(WARM_UP);
    let spans = spans.map(|(begun, run_id)| executed(run_id) - begun);
    Spans::new(spans.collect())
}
