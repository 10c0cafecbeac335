//! The pure cores of center, agent and keeper together in one process on scripted time: scenarios
//! (`tests/scenarios/*.toml`) and histories from a seed, each step held against the promises of the design.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test stops where something is not as it must be, and tells what happened"
)]

mod center;
mod chance;
mod desk;
mod expect;
mod host;
mod keeper;
mod net;
mod random;
mod scenario;
mod store;
mod streams;
mod task;
mod truth;
mod world;

use std::path::{Path, PathBuf};

fn scenarios() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .collect();
    files.sort();
    files
}

/// `UCRON_SIM_SEED=7` plays that one (`UCRON_SIM_LOUD=1` tells everything), `UCRON_SIM_SEEDS=1000` so many, from
/// `UCRON_SIM_FROM=0` on.
#[test]
fn every_promise_holds_in_histories_of_chance() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    if let Some(seed) = number("UCRON_SIM_SEED") {
        return chance::play(seed);
    }
    let from: u64 = number("UCRON_SIM_FROM").unwrap_or(0);
    let count = number("UCRON_SIM_SEEDS").unwrap_or(SEEDS);
    for seed in from..from + count {
        let played = std::panic::catch_unwind(|| chance::play(seed));
        assert!(
            played.is_ok(),
            "seed {seed} failed; it is played again with UCRON_SIM_SEED={seed}"
        );
    }
}

/// Seeds that the test command plays.
const SEEDS: u64 = 100;

/// `UCRON_SCENARIO=part of a name` plays those only.
#[test]
fn every_scenario_ends_as_its_file_says() {
    let only = std::env::var("UCRON_SCENARIO").unwrap_or_default();
    let mut failed = Vec::new();
    for file in scenarios() {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        if !name.contains(&only) {
            continue;
        }
        eprintln!("scenario {name}");
        if std::panic::catch_unwind(|| scenario::play(&file)).is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "scenarios that failed: {failed:#?}");
}
