//! ucron in scripts: a deployment of about a hundred calls, as CI does it, against a real fleet.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

#[path = "it/programs.rs"]
mod programs;
#[path = "it/world.rs"]
mod world;

use std::path::Path;

use world::{CLIENT, World, ask, program, run_user, tell};

/// The script reads JSON with it.
fn has_python() -> bool {
    let found = program("sh").args(["-c", "command -v python3"]).output();
    found.is_ok_and(|found| found.status.success())
}

#[test]
fn a_hundred_calls_leave_the_fleet_as_intended() {
    if !has_python() {
        return tell("skipped, needs python3: the script of a hundred calls");
    }
    let world = World::new(&[("a1", "web"), ("a2", "db")]);
    let path = std::env::var("PATH").unwrap();
    let beside = Path::new(CLIENT).parent().unwrap().display();
    let mut script = program("sh");
    script
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/script/ci.sh"))
        .env("PATH", format!("{beside}:{path}"))
        .env("UCRON_HOME", world.path("center/admin"))
        .env("RUN_AS", run_user());
    let done = ask(&mut script, "");
    assert_eq!(done.code, 0, "{}", done.err);
    let calls = done.out.trim().strip_suffix(" calls").unwrap();
    assert!(calls.parse::<u32>().unwrap() >= 100, "{calls}");
}
