//! The pure cores of center, agent and keeper together in one process on scripted time: scenarios
//! (`tests/scenarios/*.toml`) and histories from a seed, each step held against the promises of the design.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test stops where something is not as it must be, and tells what happened"
)]

mod behaviour;
mod center;
mod chance;
mod desk;
mod expect;
mod faults;
mod frost;
mod host;
mod keeper;
mod net;
mod pause;
mod plant;
mod random;
mod scenario;
mod soak;
mod store;
mod streams;
mod task;
mod truth;
mod why;
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

/// Some seeds that are always the same, and some that never were; see `soak.rs` for what the environment may say.
#[test]
fn every_promise_holds_in_histories_of_chance() {
    soak::play();
}

/// The simulation is worth what it finds: each planted bug, in histories that hold without it.
#[test]
fn every_planted_bug_is_caught() {
    for plant in plant::Plant::ALL {
        assert!(soak::catches(plant), "nothing in {plant:?} was found");
    }
}

#[test]
fn why_gives_the_right_reason_in_every_situation() {
    why::play_all();
}

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
