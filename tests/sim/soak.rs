//! Which histories are played, on all processors, and what is told of them. The environment says: `UCRON_SIM_SEED=7`
//! that one (`UCRON_SIM_LOUD=1` tells everything), `UCRON_SIM_SEEDS=1000` so many from `UCRON_SIM_FROM=0` on,
//! `UCRON_SIM_MINUTES=10` for so long, from `UCRON_SIM_FROM` or from where the clock says.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::chance::{self, Played};
use crate::plant::Plant;

/// Seeds that are played in every run of the tests, and so many more that the clock picks.
const FIXED: u64 = 100;
const FRESH: u64 = 8;
/// Of so many seeds one at least finds a planted bug.
const PLANTED: u64 = 100;
/// How often a long run tells how far it is.
const TELL: Duration = Duration::from_mins(1);

/// Plays what the environment says; panics with the seeds that failed.
pub fn play() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let Some(seed) = number("UCRON_SIM_SEED") {
        eprintln!("{:?}", chance::play(seed, None));
        return;
    }
    let from: Option<u64> = number("UCRON_SIM_FROM");
    if let Some(minutes) = number("UCRON_SIM_MINUTES") {
        let end = Instant::now() + Duration::from_secs(60 * minutes);
        return Soak::until(end).play(from.unwrap_or_else(fresh), u64::MAX);
    }
    if let Some(count) = number("UCRON_SIM_SEEDS") {
        return Soak::default().play(from.unwrap_or(0), count);
    }
    Soak::default().play(0, FIXED);
    let fresh = fresh();
    eprintln!("fresh seeds from {fresh}");
    Soak::default().play(fresh, FRESH);
}

/// A seed that hardly anybody has played.
fn fresh() -> u64 {
    ucron::clock::now().0.unsigned_abs() * 1_000
}

/// Whether one of some histories breaks a promise with this bug in it.
pub fn catches(plant: Plant) -> bool {
    (0..PLANTED).any(|seed| {
        let caught = catch_unwind(|| chance::play(seed, Some(plant)));
        // It is the bug that breaks a promise, not the history.
        let caught = caught.is_err() && catch_unwind(|| chance::play(seed, None)).is_ok();
        if caught {
            eprintln!("{plant:?} is caught by seed {seed}");
        }
        caught
    })
}

/// Histories being played.
#[derive(Default)]
struct Soak {
    end: Option<Instant>,
    next: AtomicU64,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    seeds: u64,
    sum: Played,
    failed: Vec<u64>,
    last: Option<Instant>,
}

impl Soak {
    fn until(end: Instant) -> Self {
        Self {
            end: Some(end),
            ..Self::default()
        }
    }

    fn play(&self, from: u64, count: u64) {
        let began = Instant::now();
        let players = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..players {
                scope.spawn(|| while self.play_next(from, count, began) {});
            }
        });
        let told = self.told.lock().unwrap();
        eprintln!("{}", told.line(from, began));
        let replays: Vec<String> = told.failed.iter().map(|seed| replay(*seed)).collect();
        assert!(replays.is_empty(), "seeds that failed: {replays:#?}");
    }

    fn play_next(&self, from: u64, count: u64, began: Instant) -> bool {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if number >= count || self.end.is_some_and(|end| Instant::now() >= end) {
            return false;
        }
        let seed = from + number;
        let played = catch_unwind(AssertUnwindSafe(|| chance::play(seed, None)));
        let mut told = self.told.lock().unwrap();
        if let Ok(played) = played {
            told.sum.add(played);
        } else {
            let replay = replay(seed);
            eprintln!("seed {seed} failed; it is played again with {replay}");
            told.failed.push(seed);
        }
        told.seeds += 1;
        let last = *told.last.get_or_insert(began);
        if last.elapsed() >= TELL {
            told.last = Some(Instant::now());
            eprintln!("{}", told.line(from, began));
        }
        true
    }
}

impl Told {
    fn line(&self, from: u64, began: Instant) -> String {
        let seconds = began.elapsed().as_secs_f64();
        let Played {
            occurrences,
            runs,
            starts,
        } = self.sum;
        format!(
            "{} seeds from {from}: {occurrences} occurrences, {runs} runs, {starts} starts in {seconds:.0} s; \
             {} failed",
            self.seeds,
            self.failed.len()
        )
    }
}

impl Played {
    fn add(&mut self, other: Self) {
        self.occurrences += other.occurrences;
        self.runs += other.runs;
        self.starts += other.starts;
    }
}

fn replay(seed: u64) -> String {
    format!("UCRON_SIM_SEED={seed} cargo test --test sim chance")
}
