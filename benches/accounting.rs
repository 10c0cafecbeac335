//! The acceptance of firing, in full length: 10 tasks at `* * * * * *` on two agents for 60 s, undisturbed, with a
//! center killed twice, with an agent killed. Every occurrence has exactly one run per target, in the center's
//! history and in the file that the commands wrote, or the program ends with what differs. Prints how late they
//! were, beside a bare timer with as many spawns behind it.
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

use ledger::{Books, Load, spread};
use world::World;

const SECONDS: i64 = 60;
const TASKS: usize = 10;
const AGENTS: [&str; 2] = ["a1", "a2"];

fn main() {
    let bare = limit::lateness(10, TASKS * AGENTS.len());
    println!("late_ms, bare timer and spawns: {}", spread(&bare));
    let books = watch(|_, _| {});
    tell("undisturbed", &books);
    println!(
        "ratio to the bare timer: p50 {:.1}, p99 {:.1}",
        ratio(&books.lateness(), &bare, 500),
        ratio(&books.lateness(), &bare, 990)
    );
    let books = watch(|world, load| {
        for second in [10, 30] {
            load.until_second(second);
            world.kill_center();
            load.until_second(second + 4);
            world.start_center();
        }
    });
    tell("center killed twice, 4 s each", &books);
    let books = watch(|world, load| {
        let pids = world.daemon_pids("web/worker", 4);
        load.until_second(20);
        world.kill_agent("a1");
        load.until_second(22);
        world.start_agent("a1");
        world.is_online("a1");
        assert_eq!(world.daemon_pids("web/worker", 4), pids);
    });
    tell("agent killed, 2 s", &books);
}

fn watch(disturb: impl FnOnce(&mut World, &Load)) -> Books {
    let mut world = World::new(&AGENTS.map(|agent| (agent, "web")));
    let daemon = ["--daemon", "--processes", "2"];
    world.add("web/worker", &daemon, &["sleep", "10000"]);
    world.daemon_pids("web/worker", 4);
    let load = Load::begin(&world, TASKS, &AGENTS, SECONDS);
    disturb(&mut world, &load);
    load.close(&world)
}

fn tell(how: &str, books: &Books) {
    let others = books.agree();
    println!("late_ms, {how}: {}", spread(&books.lateness()));
    println!(
        "  {} due, each with one run; {} did not start{}",
        books.due.len(),
        others.len(),
        others
            .first()
            .map_or_else(String::new, |run| format!(", as {run:?}"))
    );
}

/// How many times later at this part of 1000; the finest that is told is 1 ms.
fn ratio(ours: &[i64], bare: &[i64], part: usize) -> f64 {
    let at = |sorted: &[i64]| {
        let value = sorted[(sorted.len() - 1) * part / 1000];
        f64::from(i32::try_from(value.max(1)).unwrap())
    };
    at(ours) / at(bare)
}
