//! Two centers on different nodes of a Galera cluster of three: the leader's node is killed, then so many that no quorum
//! is left; then they are back.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use crate::database::{ask_root, free_ports, hold, is_installed, new_dir};
use crate::ledger::{Load, now};
use crate::standby::Pair;
use crate::world::{World, eventually, tell, within};

/// Where distributions keep Galera's library.
const LIBRARIES: [&str; 3] = [
    "/usr/lib/galera/libgalera_smm.so",
    "/usr/lib64/galera-4/libgalera_smm.so",
    "/usr/lib/libgalera_smm.so",
];
/// Ports of a node.
const PORTS: usize = 4;
/// Longest wait for what nodes do among one another, which takes them seconds.
const PATIENCE: Duration = Duration::from_mins(2);

/// Three nodes, which end with it.
struct Cluster {
    dir: PathBuf,
    ports: Vec<u16>,
    script: Child,
    said: std::io::BufReader<std::process::ChildStdout>,
}

impl Cluster {
    /// Starts one; none where the packages are missing.
    fn start() -> Option<Self> {
        let library = LIBRARIES.into_iter().find(|path| Path::new(path).is_file());
        let Some(library) = library.filter(|_| is_installed()) else {
            tell(
                "skipped, needs the packages mariadb-server-core, mariadb-client-core and galera-4",
            );
            return None;
        };
        let (dir, ports) = (new_dir(), free_ports(3 * PORTS));
        let mut args = vec![dir.display().to_string(), library.to_owned()];
        args.extend(ports.iter().map(u16::to_string));
        let (script, said) = hold(include_str!("../database/galera.sh"), &args, &[]);
        let mut cluster = Self {
            dir,
            ports,
            script,
            said,
        };
        assert_eq!(cluster.hear(), "ready", "no Galera cluster");
        for node in 0..3 {
            cluster.is_synced(node);
        }
        cluster.sql(
            0,
            "CREATE USER ucron@'%' IDENTIFIED BY 'se:cret'; GRANT ALL ON `fleet%`.* TO ucron@'%'; CREATE DATABASE fleet",
        );
        Some(cluster)
    }

    /// The flags of a center on this node.
    fn flags(&self, node: usize, password: &Path) -> Vec<String> {
        let url = format!("mysql://ucron@127.0.0.1:{}/fleet", self.ports[node * PORTS]);
        let words = [
            "--store",
            &url,
            "--store-password-file",
            password.to_str().unwrap(),
        ];
        words.map(str::to_owned).to_vec()
    }

    fn ask(&self, node: usize, sql: &str) -> Result<String, String> {
        ask_root(&self.dir.join(format!("s{node}")), sql)
    }

    fn sql(&self, node: usize, sql: &str) -> String {
        self.ask(node, sql).unwrap()
    }

    /// Waits until a node has all that the others have, and takes writes.
    fn is_synced(&self, node: usize) {
        within(PATIENCE, &format!("node {node} is synced"), || {
            let said = self.ask(node, "SHOW STATUS LIKE 'wsrep_local_state_comment'");
            said.is_ok_and(|said| said.contains("Synced"))
        });
    }

    fn kill(&mut self, node: usize) {
        self.tell(&format!("kill {node}"));
    }

    /// Starts a node that was killed.
    fn restart(&mut self, node: usize) {
        self.tell(&format!("start {node}"));
    }

    fn tell(&mut self, words: &str) {
        let stdin = self.script.stdin.as_mut().unwrap();
        writeln!(stdin, "{words}").unwrap();
        assert_eq!(self.hear(), "done");
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The end of its stdin ends the script, and that the nodes.
        drop(self.script.stdin.take());
        // Where it is gone already there is nothing to wait for.
        let _ = self.script.wait();
    }
}

/// Waits until the fleet takes changes, and everything is as it was.
fn goes_on(world: &World, group: &str) {
    within(PATIENCE, "the fleet can be changed again", || {
        world.ucron(&["group", "add", group]).code == 0
    });
    world.is_online("a1");
}

#[test]
fn nodes_that_are_killed_cost_no_fire_twice_and_none_that_is_not_told() {
    let Some(mut cluster) = Cluster::start() else {
        return;
    };
    let passwords = tempfile::tempdir().unwrap();
    let password = passwords.path().join("password");
    std::fs::write(&password, "se:cret").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&password, mode).unwrap();
    let flags = [0, 1].map(|node| cluster.flags(node, &password));
    let pair = Pair::on([&flags[0], &flags[1]], &["a1"]);
    let load = Load::begin(&pair.world, 3, &["a1"], 75);
    load.until_second(3);

    // Center 0 is on node 0, center 1 on node 1.
    let (leader, epoch) = (pair.leader(), pair.epoch());
    cluster.kill(leader);
    let began = now();
    within(PATIENCE, "the other center leads", || {
        pair.leader() != leader
    });
    assert!(pair.epoch() > epoch, "the other leads with the same epoch");
    goes_on(&pair.world, "taken");
    tell(&format!(
        "a node less: changes again after {} ms",
        now() - began
    ));
    assert!(pair.world.must(&["groups"]).contains("taken"));
    cluster.restart(leader);
    cluster.is_synced(leader);

    let leader = pair.leader();
    cluster.kill(2);
    cluster.kill(1 - leader);
    eventually("status says why nothing is planned", || {
        let told = pair.world.json(&["status"])["problems"].to_string();
        told.contains("without a quorum")
    });
    let refused = pair.world.ucron(&["group", "add", "early"]);
    assert_ne!(refused.code, 0, "{refused:?}");

    cluster.restart(2);
    cluster.restart(1 - leader);
    for node in 0..3 {
        cluster.is_synced(node);
    }
    let healed = now();
    goes_on(&pair.world, "healed");
    tell(&format!(
        "a quorum again: changes after {} ms",
        now() - healed
    ));
    let others = load.close(&pair.world).agree();
    for run in &others {
        assert!(run.is("missed") && !run.reason.is_empty(), "{run:?}");
    }
    tell(&format!("{} missed", others.len()));
}
