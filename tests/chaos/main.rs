//! Chaos on real processes: a fleet works on a mix of tasks while its programs are killed and stopped at random and
//! its links cut, held, delayed, throttled and half-closed. Every command writes what it does into one file, and that
//! file and the center's history must agree both ways. A history comes from a seed, as far as machines allow that.
//!
//! `./chaos.sh SECONDS [SEED]` does the same for as long as asked. What a broken history leaves is named when it fails.

mod books;
mod chance;
mod checking;
mod faults;
mod fleet;
mod justice;
#[path = "../it/ledger.rs"]
mod ledger;
#[path = "../it/programs.rs"]
mod programs;
mod proxy;
#[path = "../it/world.rs"]
mod world;

use std::time::Duration;

use fleet::Fleet;

/// How long the test's own history lasts.
const SHORT: u64 = 25;
/// Its seed.
const SEED: u64 = 2;

/// A number that the caller may set.
fn asked(name: &str, otherwise: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(otherwise, |text| text.parse().expect("a number"))
}

#[test]
fn no_run_is_lost_or_doubled_whatever_befalls_programs_and_links() {
    let seed = asked("UCRON_CHAOS_SEED", SEED);
    let length = Duration::from_secs(asked("UCRON_CHAOS_SECONDS", SHORT));
    let mut fleet = Fleet::new(seed);
    let span = fleet.endure(length);
    let healed = fleet.heals();
    let books = fleet.close();
    let faults = checking::check(&books, &span, fleet.fault_log());
    fleet.tell(&books, healed, &faults);
    assert!(faults.is_empty(), "{}", fleet.verdict(&faults));
}
