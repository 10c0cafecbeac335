//! What a database can do to a fleet, a kind of trouble each: planning pauses, `status` says so, all goes on by itself,
//! nothing runs twice, and everything is accounted for. That the server is killed is in `storing.rs`, and several
//! centers are in `standby.rs`.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use crate::database::Server;
use crate::ledger::{Load, ledger, now, until};
use crate::proxy::Proxy;
use crate::world::{World, eventually, tell, within};

/// Tasks that are due each second.
const TASKS: usize = 3;
/// The begin of what is told of a store that cannot be written.
const SILENT: &str = "lease was not renewed in time";

/// A fleet on a server of its own.
struct Fleet {
    world: World,
    server: Server,
    proxy: Proxy,
    database: String,
    _passwords: tempfile::TempDir,
}

impl Fleet {
    /// A center and an agent; none where MariaDB is missing.
    fn start() -> Option<Self> {
        let Some(server) = Server::start() else {
            tell("skipped, needs the packages mariadb-server-core and mariadb-client-core");
            return None;
        };
        Some(Self::on(server))
    }

    fn on(server: Server) -> Self {
        let passwords = tempfile::tempdir().unwrap();
        let proxy = Proxy::to(server.port);
        let mut flags = crate::storing::flags(&server, passwords.path());
        let way = format!(":{}/", proxy.port);
        flags[1] = flags[1].replace(&format!(":{}/", server.port), &way);
        let database = flags[1].rsplit('/').next().unwrap().to_owned();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let world = World::made(&flags).with(&[("a1", "web")]);
        Self {
            world,
            server,
            proxy,
            database,
            _passwords: passwords,
        }
    }

    fn problems(&self) -> String {
        self.world.json(&["status"])["problems"].to_string()
    }

    /// Waits until `status` says why nothing is planned.
    fn says(&self, why: &str) {
        eventually("status says why nothing is planned", || {
            self.problems().contains(why)
        });
        eventually("and so does its check", || {
            self.world.ucron(&["status", "--check"]).code == 1
        });
    }

    /// Waits until the store takes changes again; `status` says nothing of trouble then.
    fn goes_on(&self) {
        eventually("the fleet can be changed again", || {
            self.world.ucron(&["group", "add", "later"]).code == 0
        });
        self.world.is_online("a1");
        eventually("status has no trouble any more", || {
            let told = self.problems();
            [SILENT, "cannot be written", "cannot reach the database"]
                .iter()
                .all(|trouble| !told.contains(trouble))
        });
    }

    /// Nothing ran twice, every occurrence has its one outcome, and what did not succeed is missed and says so.
    fn balances(&self, load: &Load) {
        let others = load.close(&self.world).agree();
        for run in &others {
            assert!(run.is("missed") && !run.reason.is_empty(), "{run:?}");
        }
        tell(&format!("{} missed", others.len()));
    }
}

/// How long a trouble lasts that is to outlive every time limit; the reader's, a minute, where the variable says so.
fn rest() -> i64 {
    let said = std::env::var("UCRON_REST").ok();
    said.and_then(|text| text.parse().ok()).unwrap_or(12)
}

#[test]
fn a_database_that_is_stopped_for_longer_than_every_limit() {
    let Some(fleet) = Fleet::start() else { return };
    let load = Load::begin(&fleet.world, TASKS, &["a1"], rest() + 18);
    load.until_second(2);
    fleet.server.pause();
    let begun = now();
    fleet.says(SILENT);
    let refused = fleet.world.ucron(&["group", "add", "early"]);
    assert_ne!(refused.code, 0, "{refused:?}");
    until(begun + rest() * 1000);
    fleet.server.go_on();
    fleet.goes_on();
    fleet.balances(&load);
}

#[test]
fn a_database_that_is_read_only_for_a_while() {
    let Some(fleet) = Fleet::start() else { return };
    let load = Load::begin(&fleet.world, TASKS, &["a1"], 22);
    load.until_second(2);
    fleet.server.sql("SET GLOBAL read_only = 1");
    fleet.says("cannot be written");
    assert!(
        fleet.problems().contains("read-only"),
        "{}",
        fleet.problems()
    );
    load.until_second(8);
    fleet.server.sql("SET GLOBAL read_only = 0");
    fleet.goes_on();
    fleet.balances(&load);
}

/// The server waits for room, a minute at a time, and answers nobody who commits.
#[test]
fn a_database_whose_disk_is_full() {
    let Some(server) = Server::start_on_small_disk() else {
        tell("skipped, needs root and the packages mariadb-server-core and mariadb-client-core");
        return;
    };
    let fleet = Fleet::on(server);
    let load = Load::begin(&fleet.world, TASKS, &["a1"], 110);
    load.until_second(2);
    fleet.server.fill();
    fleet.says(SILENT);
    let refused = fleet.world.ucron(&["group", "add", "early"]);
    assert_ne!(refused.code, 0, "{refused:?}");
    fleet.server.clear();
    let cleared = now();
    within(Duration::from_mins(3), "the store takes changes", || {
        fleet.world.ucron(&["group", "add", "room"]).code == 0
    });
    tell(&format!(
        "changes {} ms after there was room",
        now() - cleared
    ));
    fleet.goes_on();
    fleet.balances(&load);
}

#[test]
fn a_database_whose_connections_are_all_taken() {
    let Some(fleet) = Fleet::start() else { return };
    let load = Load::begin(&fleet.world, TASKS, &["a1"], 22);
    load.until_second(2);
    // Of one session, for a further one would be refused like all others.
    let kill = "KILL USER ucron; DO SLEEP(1);".repeat(9);
    let all = format!(
        "SET GLOBAL max_connections = 10; {kill} SET GLOBAL max_connections = 200; KILL USER crowd"
    );
    let mut crowds = vec![fleet.server.crowd(2)];
    std::thread::scope(|scope| {
        scope.spawn(|| fleet.server.sql(&all));
        eventually("every connection is taken", || {
            // What the center had goes to whoever comes first.
            crowds.push(fleet.server.crowd(4));
            fleet.problems().contains("Too many connections")
        });
    });
    drop(crowds);
    fleet.goes_on();
    fleet.balances(&load);
}

#[test]
fn a_lock_that_somebody_keeps() {
    let Some(fleet) = Fleet::start() else { return };
    let load = Load::begin(&fleet.world, TASKS, &["a1"], 45);
    load.until_second(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            fleet.server.sql(&format!(
                "USE {}; BEGIN; SELECT epoch FROM lease FOR UPDATE; SELECT SLEEP(25); ROLLBACK",
                fleet.database
            ))
        });
        fleet.says("locked by another program");
    });
    fleet.goes_on();
    fleet.balances(&load);
}

#[test]
fn deadlocks_cost_nothing() {
    let Some(fleet) = Fleet::start() else { return };
    let load = Load::begin(&fleet.world, TASKS, &["a1"], 20);
    load.until_second(2);
    let deadlocks = || {
        let sql = "SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'";
        let said = fleet.server.sql(sql);
        said.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    let tasks = format!(
        "USE {}; BEGIN; SELECT COUNT(*) FROM task FOR UPDATE; SELECT COUNT(*) FROM run FOR UPDATE;
         SELECT SLEEP(0.3); SELECT epoch FROM lease FOR UPDATE; COMMIT",
        fleet.database
    );
    eventually("there was a deadlock", || {
        // It may itself be the one that is told to try again.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            fleet.server.sql(&tasks);
        }));
        drop(done);
        deadlocks() > 0
    });
    fleet.goes_on();
    fleet.balances(&load);
}

#[test]
fn a_database_that_is_slow_and_then_too_slow() {
    let Some(fleet) = Fleet::start() else { return };
    let load = Load::begin(&fleet.world, TASKS, &["a1"], 28);
    load.until_second(2);
    fleet.proxy.delay(Duration::from_millis(150));
    load.until_second(8);
    assert!(!fleet.problems().contains(SILENT), "{}", fleet.problems());
    fleet.proxy.delay(Duration::from_millis(1500));
    fleet.says(SILENT);
    fleet.proxy.delay(Duration::ZERO);
    fleet.goes_on();
    fleet.balances(&load);
}

#[test]
fn commits_whose_answers_are_lost() {
    let Some(fleet) = Fleet::start() else { return };
    let load = Load::begin(&fleet.world, TASKS, &["a1"], 20);
    load.until_second(2);
    fleet.proxy.cut_commits(true);
    let doubtful = fleet.world.ucron(&["group", "add", "doubt"]);
    eventually("commits were cut", || fleet.proxy.cut() > 3);
    fleet.proxy.cut_commits(false);
    fleet.goes_on();
    let groups = fleet.world.must(&["groups"]);
    let changed = groups.contains("doubt");
    if doubtful.code == 0 {
        assert!(changed, "{groups}");
    } else if doubtful.err.contains("this request changed nothing") {
        assert!(!changed, "{doubtful:?}: {groups}");
    } else {
        assert!(doubtful.err.contains("is not known"), "{doubtful:?}");
    }
    fleet.balances(&load);
}

#[test]
fn a_database_that_has_lost_its_last_transactions() {
    let Some(mut fleet) = Fleet::start() else {
        return;
    };
    let end = fleet.world.work_name("end");
    let waits = format!("until [ -e {end} ]; do sleep 0.1; done");
    fleet.world.add("web/long", &[], &[&waits]);
    let load = Load::begin(&fleet.world, TASKS, &["a1"], 45);
    load.until_second(3);
    fleet.server.kill();
    fleet.server.keep();
    fleet.server.restart();
    eventually("the fleet can be changed again", || {
        fleet.world.ucron(&["group", "add", "lost"]).code == 0
    });
    // A run that the copy does not know, and that goes on.
    eventually("a run begins", || {
        fleet.world.ucron(&["run", "web/long"]).code == 0
    });
    eventually("it is alive", || {
        fleet.world.ucron(&["ps"]).out.contains("web/long")
    });
    // A takeover that the copy does not know.
    fleet.world.kill_center();
    fleet.world.start_center();
    fleet.world.is_online("a1");
    let epoch = |world: &World| {
        let status = world.ucron(&["status", "-o", "json"]);
        (status.code == 0).then(|| status.json()["epoch"].as_u64().unwrap())
    };
    let seen = epoch(&fleet.world).unwrap();
    fleet.server.kill();
    fleet.server.rewind();
    fleet.server.restart();
    eventually("the epoch is above what the agent has seen", || {
        epoch(&fleet.world).is_some_and(|epoch| epoch > seen)
    });
    fleet.goes_on();
    let groups = fleet.world.must(&["groups"]);
    assert!(
        !groups.contains("lost"),
        "the copy is not what counts: {groups}"
    );
    std::fs::write(&end, "").unwrap();
    eventually("the run is in the history again, as it ended", || {
        let runs = fleet.world.ucron(&["runs", "--task", "web/long"]);
        runs.out.contains("succeeded")
    });
    until(load.to + 1000);
    let mut times: BTreeMap<(String, i64), usize> = BTreeMap::new();
    for line in ledger(&fleet.world) {
        *times.entry((line.task, line.scheduled_at)).or_default() += 1;
    }
    let twice: Vec<_> = times.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let last = times.keys().map(|(_, at)| *at).max().unwrap();
    assert!(last >= load.to - 5_000, "it does not go on");
}
