//! Two centers on one MariaDB: the leader is killed, stopped and asked to step down, and the fleet goes on. Short
//! here; `UCRON_TAKEOVERS=20 UCRON_FIRES=500` is the long form, with `UCRON_JITTER=990ms` not all at one instant.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::database::Server;
use crate::ledger::{Load, now, spread};
use crate::notifying::{add_job, script, told};
use crate::world::{Answer, CENTER, World, ask, end, eventually, program, signal, tell, within};

/// Longest wait for a takeover: the machine may be slow, the lease is 3 s.
const TAKEOVER: Duration = Duration::from_mins(1);

/// A fleet with two centers.
pub struct Pair {
    pub world: World,
    /// The second center; the world's is the first.
    second: Second,
    /// Where each answers.
    addresses: [String; 2],
}

/// Two centers on one server.
struct OneServer {
    pair: Pair,
    _passwords: tempfile::TempDir,
    server: Server,
}

impl std::ops::Deref for OneServer {
    type Target = Pair;

    fn deref(&self) -> &Pair {
        &self.pair
    }
}

impl std::ops::DerefMut for OneServer {
    fn deref_mut(&mut self) -> &mut Pair {
        &mut self.pair
    }
}

impl OneServer {
    /// Two centers that run, and these agents in the group `web`; none where MariaDB is missing.
    fn start(agents: &[&str]) -> Option<Self> {
        let Some(server) = Server::start() else {
            tell("skipped, needs the packages mariadb-server-core and mariadb-client-core");
            return None;
        };
        let passwords = tempfile::tempdir().unwrap();
        let flags = crate::storing::flags(&server, passwords.path());
        Some(Self {
            pair: Pair::on([&flags, &flags], agents),
            _passwords: passwords,
            server,
        })
    }
}

impl Pair {
    /// Two centers that run, each with its flags for the store, and these agents in the group `web`.
    pub fn on(stores: [&[String]; 2], agents: &[&str]) -> Self {
        let [first, flags] =
            stores.map(|flags| flags.iter().map(String::as_str).collect::<Vec<_>>());
        let world = World::made(&first);
        let token = world.must(&["token", "center"]);
        let mut join = program(CENTER);
        join.args([
            "join",
            "--center",
            &world.address(),
            "--listen",
            "127.0.0.1:0",
        ]);
        join.arg("--state").arg(world.path("second")).args(&flags);
        join.arg("--ca-key-file").arg(world.path("second.key"));
        ask(&mut join, &token).exits(0);
        let authority = std::fs::read_to_string(world.path("second/ca/authority.pem")).unwrap();
        assert!(!authority.contains("PRIVATE KEY"), "it is not sealed");
        let used = ask(
            program(CENTER)
                .args([
                    "join",
                    "--center",
                    &world.address(),
                    "--listen",
                    "127.0.0.1:0",
                ])
                .arg("--state")
                .arg(world.path("third"))
                .args(&flags),
            &token,
        );
        used.exits(1).says("was used");
        let first = world.address();
        let mut pair = Self {
            world,
            second: Second(None),
            addresses: [first, String::new()],
        };
        pair.run_second();
        let second = std::fs::read_to_string(pair.address_file()).unwrap();
        second.trim().clone_into(&mut pair.addresses[1]);
        eventually("the leader knows of the other", || {
            pair.world.json(&["status"])["standbys"]
                .as_array()
                .unwrap()
                .len()
                == 1
        });
        let named: Vec<(&str, &str)> = agents.iter().map(|name| (*name, "web")).collect();
        pair.world = pair.world.with(&named);
        pair
    }

    fn address_file(&self) -> PathBuf {
        self.world.path("second/center.addr")
    }

    fn run_second(&mut self) {
        let _ = std::fs::remove_file(self.address_file());
        let log = std::fs::File::options()
            .append(true)
            .create(true)
            .open(self.world.path("second.log"))
            .unwrap();
        let child = program(CENTER)
            .args(["run", "--state"])
            .arg(self.world.path("second"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.second.0 = Some(child);
        let file = self.address_file();
        eventually("the second center answers", || file.exists());
    }

    /// The place in `addresses` of the center that leads, once one does.
    pub fn leader(&self) -> usize {
        let mut leads = None;
        within(TAKEOVER, "a center leads", || {
            let answer = self.world.ucron(&["status", "-o", "json"]);
            if answer.code != 0 {
                return false;
            }
            let status = answer.json();
            let center = status["center"].as_str().unwrap_or_default().to_owned();
            leads = self.addresses.iter().position(|address| *address == center);
            status["role"] == "leader"
        });
        leads.unwrap()
    }

    pub fn epoch(&self) -> u64 {
        self.world.json(&["status"])["epoch"].as_u64().unwrap()
    }

    fn pid(&self, center: usize) -> u32 {
        match center {
            0 => self.world.center_pid(),
            _ => self.second.0.as_ref().unwrap().id(),
        }
    }

    fn kill(&mut self, center: usize) {
        if center == 0 {
            return self.world.kill_center();
        }
        let mut second = self.second.0.take().unwrap();
        second.kill().unwrap();
        second.wait().unwrap();
    }

    fn run(&mut self, center: usize) {
        match center {
            0 => self.world.start_center(),
            _ => self.run_second(),
        }
    }

    fn step_down(&self, state: &str) -> Answer {
        let mut command = program(CENTER);
        command
            .args(["step-down", "--state"])
            .arg(self.world.path(state));
        ask(&mut command, "")
    }
}

/// The process of the second center, which ends with the test.
struct Second(Option<Child>);

impl Drop for Second {
    fn drop(&mut self) {
        if let Some(second) = &mut self.0 {
            end(second);
        }
    }
}

fn setting(name: &str, default: usize) -> usize {
    let said = std::env::var(name).ok();
    said.and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn no_occurrence_is_missed_or_fired_twice_while_leaders_are_killed() {
    let takeovers = setting("UCRON_TAKEOVERS", 2);
    let fires = setting("UCRON_FIRES", 12);
    let agents = ["a1", "a2", "a3"];
    let Some(mut pair) = OneServer::start(&agents) else {
        return;
    };
    let seconds = i64::try_from(takeovers * 12 + 6).unwrap();
    let load = Load::begin(&pair.world, fires.div_ceil(agents.len()), &agents, seconds);
    load.until_second(2);
    let mut took = Vec::new();
    for number in 1..=takeovers {
        let leader = pair.leader();
        let epoch = pair.epoch();
        pair.kill(leader);
        let began = Instant::now();
        let next = pair.leader();
        took.push(i64::try_from(began.elapsed().as_millis()).unwrap());
        assert_ne!(leader, next, "nobody else took the lead");
        assert!(pair.epoch() > epoch);
        pair.run(leader);
        load.until_second(i64::try_from(2 + number * 12).unwrap());
    }
    let books = load.close(&pair.world);
    let others = books.agree();
    took.sort_unstable();
    tell(&format!(
        "takeovers, as a client sees them: {} ms; lateness: {} ms; not succeeded: {}",
        spread(&took),
        spread(&books.lateness()),
        others.len()
    ));
    for run in &others {
        // Only what a slow machine could not plan in time; never in the long form's acceptance.
        assert!(run.is("missed"), "{run:?}");
    }
    if std::env::var_os("UCRON_TAKEOVERS").is_some() {
        assert!(others.is_empty(), "{others:?}");
        assert!(books.lateness().last().is_none_or(|worst| *worst < 250));
    }
}

#[test]
fn a_leader_that_was_stopped_past_its_lease_does_nothing_when_it_goes_on() {
    let Some(pair) = OneServer::start(&["a1"]) else {
        return;
    };
    let load = Load::begin(&pair.world, 3, &["a1"], 25);
    load.until_second(3);
    let (leader, epoch) = (pair.leader(), pair.epoch());
    signal(pair.pid(leader), Signal::STOP);
    let next = pair.leader();
    assert_ne!(leader, next);
    let taken = pair.epoch();
    assert!(taken > epoch);
    pair.world.must(&["group", "add", "later"]);
    signal(pair.pid(leader), Signal::CONT);
    load.until_second(20);
    let log = ["center.log", "second.log"][leader];
    eventually("it says that it leads no more", || {
        std::fs::read_to_string(pair.world.path(log))
            .unwrap()
            .contains("leads no more")
    });
    assert_eq!(pair.leader(), next);
    assert_eq!(pair.epoch(), taken, "the lead was taken again");
    for run in load.close(&pair.world).agree() {
        assert!(run.is("missed"), "{run:?}");
    }
}

#[test]
fn the_lead_is_handed_over_on_request() {
    let Some(mut pair) = OneServer::start(&["a1"]) else {
        return;
    };
    let load = Load::begin(&pair.world, 3, &["a1"], 12);
    load.until_second(2);
    let leader = pair.leader();
    let states = ["center", "second"];
    pair.step_down(states[1 - leader])
        .exits(1)
        .says("does not lead");
    let began = now();
    let told = pair.step_down(states[leader]).exits(0);
    assert!(told.out.contains("leads with epoch"), "{told:?}");
    tell(&format!("the hand-over took {} ms", now() - began));
    assert_ne!(pair.leader(), leader);
    for run in load.close(&pair.world).agree() {
        assert!(run.is("missed"), "{run:?}");
    }
    // Clients and agents that know the first center's address only have learnt the other's.
    for home in ["center/admin", "a1"] {
        let known = std::fs::read_to_string(pair.world.path(home).join("centers")).unwrap();
        assert!(
            pair.addresses.iter().all(|address| known.contains(address)),
            "{home}: {known}"
        );
    }
    let rest = pair.leader();
    pair.kill(1 - rest);
    pair.step_down(states[rest]).exits(1);
}

#[test]
fn a_database_that_rests_deposes_nobody_for_good() {
    let Some(pair) = OneServer::start(&["a1"]) else {
        return;
    };
    let load = Load::begin(&pair.world, 3, &["a1"], 25);
    load.until_second(2);
    pair.server.pause();
    load.until_second(10);
    pair.server.go_on();
    pair.leader();
    eventually("the fleet can be changed again", || {
        pair.world.ucron(&["group", "add", "later"]).code == 0
    });
    let before = pair.epoch();
    // An asynchronous replica that was promoted: the last takeovers are not in it.
    pair.server.sql(&format!(
        "UPDATE fleet{}.lease SET epoch = 1, expires_at = 0 WHERE name = 'center'",
        pair.database()
    ));
    eventually("the epoch is above all that agents have seen", || {
        let status = pair.world.ucron(&["status", "-o", "json"]);
        status.code == 0 && status.json()["epoch"].as_u64().unwrap() > before
    });
    pair.world.is_online("a1");
    for run in load.close(&pair.world).agree() {
        assert!(run.is("missed"), "{run:?}");
    }
}

/// Where each center's notices go.
const NOTICES: [&str; 2] = ["first.json", "second.json"];

impl Pair {
    /// Has both centers tell what is wrong, each into a file of its own.
    fn tell_all(&self) {
        for (center, state) in ["center", "second"].into_iter().enumerate() {
            let lines = format!("cat >> {}", self.world.work_name(NOTICES[center]));
            let note = script(&self.world, &format!("{state}.sh"), &lines);
            let settings = self.world.path(state).join("center.toml");
            let before = std::fs::read_to_string(&settings).unwrap();
            std::fs::write(&settings, format!("notify = ['{note}']\n{before}")).unwrap();
            signal(self.pid(center), Signal::HUP);
            let log = ["center.log", "second.log"][center];
            eventually("the settings are read again", || {
                let log = std::fs::read_to_string(self.world.path(log)).unwrap();
                log.contains("the settings were read again")
            });
        }
    }

    fn told(&self, center: usize) -> Vec<String> {
        told(&self.world, NOTICES[center])
    }
}

#[test]
fn only_the_leader_tells_and_a_takeover_tells_nothing_twice() {
    let Some(mut pair) = OneServer::start(&["a1"]) else {
        return;
    };
    pair.tell_all();
    add_job(&pair.world);
    let leader = pair.leader();
    pair.world.ucron(&["run", "--wait", "web/job"]).exits(1);
    eventually("the leader tells", || pair.told(leader) == ["began failed"]);
    pair.kill(leader);
    let next = pair.leader();
    assert_ne!(leader, next);
    pair.world.is_online("a1");
    let check = pair.world.ucron(&["status", "--check"]).exits(1);
    assert!(
        check.out.contains("task web/job failed on a1"),
        "the new leader knows what is wrong: {check:?}"
    );
    pair.world.ucron(&["run", "--wait", "web/job"]).exits(1);
    pair.run(leader);
    std::fs::write(pair.world.work("good"), "").unwrap();
    pair.world.ucron(&["run", "--wait", "web/job"]).exits(0);
    eventually("the new leader tells the end", || {
        !pair.told(next).is_empty()
    });
    assert_eq!(pair.told(next), ["ended failed"]);
    assert_eq!(pair.told(leader), ["began failed"]);
}

#[test]
fn a_database_that_rests_is_told_by_the_leader_and_so_is_its_end() {
    let Some(pair) = OneServer::start(&["a1"]) else {
        return;
    };
    pair.tell_all();
    let leader = pair.leader();
    pair.server.pause();
    eventually("the leader tells", || pair.told(leader) == ["began store"]);
    pair.server.go_on();
    eventually("its end is told, whoever leads then", || {
        pair.told(leader) == ["began store", "ended store"]
    });
    assert_eq!(pair.told(1 - leader), [""; 0]);
}

impl Pair {
    /// The number of the database.
    fn database(&self) -> String {
        let text = std::fs::read_to_string(self.world.path("center/center.toml")).unwrap();
        let (_, after) = text.split_once("/fleet").unwrap();
        after.chars().take_while(char::is_ascii_digit).collect()
    }
}
