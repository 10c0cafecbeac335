//! Many runs due at one instant on one agent: how fast they are started, beside bare loops of spawns.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a benchmark prints, starts programs, and ends at the first thing that fails"
)]

#[path = "../tests/it/ledger.rs"]
mod ledger;
mod limit;
#[path = "../tests/it/programs.rs"]
mod programs;
#[path = "../tests/it/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use ledger::spread;
use world::{World, millis, within};

const TASKS: usize = 5;
const PROCESSES: usize = 100;
const BURSTS: usize = 3;

fn main() {
    let runs = TASKS * PROCESSES;
    let one = limit::spawns_per_second(runs, 1);
    let two = limit::spawns_per_second(runs, 2);
    println!("bare loop of {runs} spawns: {one:.0} per second, on two threads {two:.0}");
    let world = World::small();
    let rule = format!("@every {}s", 15);
    let processes = PROCESSES.to_string();
    for number in 0..TASKS {
        let flags = ["--rule", &rule, "--processes", &processes];
        world.add(&format!("web/burst-{number}"), &flags, &["/bin/true", "x"]);
    }
    let mut bursts: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    within(Duration::from_mins(5), "the bursts are over", || {
        bursts.clear();
        for run in world.runs_of(&[]).iter().filter(|run| run.is("succeeded")) {
            let at = millis(&run.scheduled_at);
            bursts.entry(at).or_default().push(run.late_ms.unwrap());
        }
        bursts.values().filter(|late| late.len() == runs).count() >= BURSTS
    });
    for late in bursts.values_mut().filter(|late| late.len() == runs) {
        late.sort_unstable();
        let last = Duration::from_millis(late[runs - 1].max(1).try_into().unwrap());
        let speed = limit::per_second(runs, last);
        println!(
            "{runs} runs at one instant: {speed:.0} starts per second (ratio to one bare loop {:.2}); late_ms {}",
            speed / one,
            spread(late)
        );
    }
}
