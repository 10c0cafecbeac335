//! What center, agent and keeper take while nothing is due: memory and processor time, beside a process that waits
//! for a timer each second and does nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a benchmark prints, starts programs, and ends at the first thing that fails"
)]

mod limit;
#[path = "../tests/it/programs.rs"]
mod programs;
#[path = "../tests/it/world.rs"]
mod world;

use std::process::{Command, Stdio};
use std::time::Duration;

use world::{World, end};

/// Length of the watch.
const WATCH: Duration = Duration::from_secs(30);

fn main() {
    if std::env::args().any(|argument| argument == limit::WAIT) {
        limit::only_wait();
    }
    let mut bare = Command::new(std::env::current_exe().unwrap());
    let mut bare = bare.arg(limit::WAIT).stdin(Stdio::null()).spawn().unwrap();
    let world = World::small();
    println!("idle, no task:");
    watch(&world, bare.id());
    for number in 0..20 {
        let task = format!("web/yearly-{number}");
        world.add(&task, &["--rule", "0 0 1 1 *"], &["true"]);
    }
    world.add(
        "web/worker",
        &["--daemon", "--processes", "4"],
        &["sleep", "10000"],
    );
    world.daemon_pids("web/worker", 4);
    println!("idle, 20 tasks and 4 processes of a daemon:");
    watch(&world, bare.id());
    end(&mut bare);
}

fn watch(world: &World, bare: u32) {
    let programs = [
        ("center", world.center_pid()),
        ("agent", world.agent_pid("a1")),
        ("keeper", world.keeper_pid("a1")),
        ("bare", bare),
    ];
    // What was just done comes to rest first.
    std::thread::sleep(Duration::from_secs(3));
    let before = programs.map(|(_, pid)| used(pid));
    std::thread::sleep(WATCH);
    let limit = resident(bare);
    for ((name, pid), before) in programs.into_iter().zip(before) {
        println!(
            "  {name:7} {:6} KiB ({:.1} times bare), private {:6} KiB, {:.3} % of a processor",
            resident(pid),
            f64::from(resident(pid)) / f64::from(limit),
            private(pid),
            (used(pid) - before) / WATCH.as_secs_f64() * 100.0
        );
    }
}

/// Processor time so far of all threads, in seconds.
fn used(pid: u32) -> f64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let nanos = threads.map(|thread| {
        let text = std::fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
        let first = text.split(' ').next().unwrap();
        first.parse::<f64>().unwrap()
    });
    nanos.sum::<f64>() / 1e9
}

/// Resident memory in KiB.
fn resident(pid: u32) -> u32 {
    field(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// Memory in KiB that is this process's alone.
fn private(pid: u32) -> u32 {
    let file = format!("/proc/{pid}/smaps_rollup");
    field(&file, "Private_Dirty:") + field(&file, "Private_Clean:")
}

fn field(file: &str, name: &str) -> u32 {
    let text = std::fs::read_to_string(file).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
