//! A fleet whose store is a MariaDB server, which dies and is stopped like everything else; and its way there and back.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use std::os::unix::fs::OpenOptionsExt;

use crate::database::Server;
use crate::ledger::Load;
use crate::world::{CENTER, World, ask, eventually, program, tell};

/// Length of a watch.
const SECONDS: i64 = 30;

/// A server of this test's own, for it is killed.
fn server() -> Option<Server> {
    let server = Server::start();
    if server.is_none() {
        tell("skipped, needs the packages mariadb-server-core and mariadb-client-core");
    }
    server
}

/// A database on it, its password in a file of `dir`: the flags of `init`.
pub fn flags(server: &Server, dir: &std::path::Path) -> Vec<String> {
    let path = dir.join("password");
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600);
    std::io::Write::write_all(&mut file.open(&path).unwrap(), b"se:cret").unwrap();
    let url = format!(
        "mysql://ucron@127.0.0.1:{}/{}",
        server.port,
        server.new_database()
    );
    let words = [
        "--store",
        &url,
        "--store-password-file",
        path.to_str().unwrap(),
    ];
    words.map(str::to_owned).to_vec()
}

fn fleet(server: &Server, dir: &std::path::Path) -> World {
    let flags = flags(server, dir);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    World::made(&flags).with(&[("a1", "web")])
}

/// Whether `status` names this trouble.
fn says(world: &World, text: &str) -> bool {
    let problems = world.json(&["status"])["problems"].to_string();
    problems.contains(text)
}

#[test]
fn a_fleet_on_mariadb_outlives_its_center_and_its_database() {
    let Some(server) = server() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut world = fleet(&server, dir.path());
    let load = Load::begin(&world, 5, &["a1"], SECONDS);
    load.until_second(4);
    world.kill_center();
    world.start_center();
    load.until_second(9);
    server.kill();
    eventually("status tells that the database is gone", || {
        says(&world, "cannot reach the database server")
    });
    let refused = world.ucron(&["group", "add", "later"]);
    assert_ne!(refused.code, 0, "{refused:?}");
    server.restart();
    eventually("status has no trouble any more", || {
        !says(&world, "database server")
    });
    world.must(&["group", "add", "later"]);
    let books = load.close(&world);
    // Nothing twice and nothing without an outcome is what `agree` asserts; what a slow machine could not plan in time
    // is missed, and says so.
    for run in books.agree() {
        assert!(run.is("missed"), "{run:?}");
    }
}

#[test]
fn a_fleet_moves_to_mariadb_and_back_and_goes_on() {
    let Some(server) = server() else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::small();
    world.add("web/tick", &["--rule", "@every 200ms"], &["true"]);
    world.ended("web/tick");
    let state = world.path("center");
    let center = |args: &[&str]| {
        let mut command = program(CENTER);
        let (words, rest) = args.split_at(if args[0] == "store" { 2 } else { 1 });
        command.args(words).arg("--state").arg(&state).args(rest);
        ask(&mut command, "")
    };
    let backup = dir.path().join("backup.db");
    let backup = backup.to_str().unwrap();
    center(&["backup", backup]).exits(0);
    let flags = flags(&server, dir.path());
    let (url, password) = (flags[1].as_str(), flags[3].as_str());
    let file = format!("sqlite:{}", state.join("center.db").display());
    center(&["store", "copy", &file, url])
        .exits(1)
        .says("another center runs");

    world.kill_center();
    let settings = state.join("center.toml");
    let before = std::fs::read_to_string(&settings).unwrap();
    let with = format!("{before}store_password_file = \"{password}\"\n");
    std::fs::write(&settings, &with).unwrap();
    center(&["store", "copy", &file, url]).exits(0);
    center(&["store", "copy", &file, url])
        .exits(1)
        .says("holds a fleet already");
    std::fs::write(&settings, format!("{with}store = \"{url}\"\n")).unwrap();
    world.start_center();
    world.is_online("a1");
    let ran = world.runs("web/tick").len();
    eventually("it goes on", || world.runs("web/tick").len() > ran);

    world.kill_center();
    eventually("the lease of the killed center has run out", || {
        let refused = center(&["restore", backup]).exits(1);
        refused.err.contains("holds a fleet already")
    });
    center(&["restore", "--replace", backup]).exits(0);
    world.start_center();
    world.is_online("a1");
    eventually("the restored fleet goes on", || {
        world.runs("web/tick").len() > 2
    });
}
