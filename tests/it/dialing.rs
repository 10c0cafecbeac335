//! Agents that only the center can dial: joining, working, coming back; and who gets nothing at their port.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use rustix::process::Signal;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use ucron::proto::identity::Identity;

use crate::world::{
    AGENT, CENTER, PATIENCE, Running, World, ask, eventually, found, program, signal,
};

/// A host that waits to join, and the command that it prints.
struct Waiting {
    host: Running,
    add: Vec<String>,
}

impl Waiting {
    fn with_token(world: &World, agent: &str, token: &str) -> Self {
        let path = world.path(&format!("{agent}.token"));
        std::fs::write(&path, token).unwrap();
        let mut join = program(AGENT);
        join.args([
            "join",
            "--listen",
            "127.0.0.1:0",
            "--name",
            agent,
            "--state",
        ]);
        join.arg(world.path(agent)).arg("--token-file").arg(path);
        let child = join.stdout(Stdio::piped()).stderr(Stdio::piped());
        let host = Running::new(child.spawn().unwrap());
        let line = found("the command to run next", || {
            let out = host.out();
            out.ends_with('\n').then_some(out)
        });
        let add = line.split_whitespace().skip(1).map(str::to_owned);
        Self {
            add: add.collect(),
            host,
        }
    }

    fn new(world: &World, agent: &str) -> Self {
        let token = world.must(&["token", "agent", "--group", "web"]);
        Self::with_token(world, agent, &token)
    }

    fn words(&self) -> Vec<&str> {
        self.add.iter().map(String::as_str).collect()
    }

    fn address(&self) -> &str {
        &self.add[3]
    }

    /// Does what the host says; where it listens from now on.
    fn join(mut self, world: &World) -> String {
        world.must(&self.words());
        assert_eq!(self.host.ended().code(), Some(0), "{}", self.host.err());
        self.address().to_owned()
    }
}

/// A fleet with one agent that the center dials, and its address.
fn dialled() -> (World, String) {
    let mut world = World::empty();
    world.must(&["group", "add", "web"]);
    let address = Waiting::new(&world, "a1").join(&world);
    world.start_agent("a1");
    world.is_online("a1");
    (world, address)
}

#[test]
fn an_agent_that_the_center_dials_works_as_any_other() {
    let (mut world, address) = dialled();
    assert_eq!(world.agent("a1")["address"], address.as_str());
    assert_eq!(world.agent("a1")["groups"][0], "web");
    let settings = std::fs::read_to_string(world.path("a1/agent.toml")).unwrap();
    assert_eq!(settings, format!("listen = \"{address}\"\n"));
    world.add("web/t", &["--rule", "0 0 1 1 *"], &["true"]);
    assert!(world.run_now("web/t").is("succeeded"));

    world.kill_center();
    world.start_center();
    world.is_online("a1");
    assert!(world.run_now("web/t").is("succeeded"));

    world.kill_agent("a1");
    eventually("the center notices", || {
        world.agent("a1")["state"] == "offline"
    });
    assert_eq!(world.agent("a1")["address"], address.as_str());
    world.start_agent("a1");
    world.is_online("a1");
    assert!(world.run_now("web/t").is("succeeded"));
    let audit = world.json(&["audit"]);
    let deeds = audit.as_array().unwrap().iter();
    assert!(
        deeds
            .clone()
            .any(|row| row["deed"] == "agent add" && row["subject"] == "a1"),
        "{audit}"
    );
}

#[test]
fn an_agent_that_hangs_is_given_up_and_comes_back_when_it_goes_on() {
    let (world, _) = dialled();
    let pid = world.agent_pid("a1");
    signal(pid, Signal::STOP);
    eventually("the center gives it up", || {
        world.agent("a1")["state"] == "offline"
    });
    signal(pid, Signal::CONT);
    world.is_online("a1");
    world.add("web/t", &["--rule", "0 0 1 1 *"], &["true"]);
    assert!(world.run_now("web/t").is("succeeded"));
}

#[test]
fn a_removed_agent_is_dialled_no_more_and_its_place_is_free() {
    let (mut world, address) = dialled();
    world.must(&["agent", "rm", "a1"]);
    world.end_agent("a1");
    // The port is free for somebody else, to whom the center would come if it went on.
    let listener = std::net::TcpListener::bind(&address).unwrap();
    listener.set_nonblocking(true).unwrap();
    let second = Waiting::new(&world, "a2");
    second.join(&world);
    world.start_agent("a2");
    world.is_online("a2");
    assert!(
        listener.accept().is_err(),
        "the center still dials a removed agent"
    );
    drop(listener);
}

#[test]
fn a_wrong_fingerprint_is_refused_and_the_right_one_taken_afterwards() {
    let world = World::empty();
    world.must(&["group", "add", "web"]);
    let waiting = Waiting::new(&world, "a1");
    let wrong = "0".repeat(64);
    let mut words = waiting.words();
    *words.last_mut().unwrap() = &wrong;
    let answer = world.ucron(&words).exits(1);
    let what = format!(
        "the agent at {} does not have the key with the fingerprint {wrong}",
        waiting.address()
    );
    answer.says(&what).says("somebody else answers");
    assert_eq!(world.json(&["agents"]).as_array().unwrap().len(), 0);
    waiting.join(&world);
    let add = ["agent", "add", "a1", "127.0.0.1:1", "--fingerprint", &wrong];
    let answer = world.ucron(&add).exits(5);
    answer.says("an agent named a1 is there already");
}

#[test]
fn a_token_that_is_no_longer_good_ends_both_sides_with_words() {
    let world = World::empty();
    let token = world.must(&["token", "agent", "--ttl", "1ms"]);
    let mut waiting = Waiting::with_token(&world, "a1", &token);
    let answer = world.ucron(&waiting.words()).exits(1);
    answer.says("this token has expired").says("new token");
    assert_eq!(waiting.host.ended().code(), Some(1));
    assert!(waiting.host.err().contains("this token has expired"));
    assert!(!world.path("a1/identity.pem").exists());
}

#[test]
fn a_host_with_a_token_of_another_fleet_takes_no_center_but_its_own() {
    let (ours, theirs) = (World::empty(), World::empty());
    let token = theirs.must(&["token", "agent"]);
    let waiting = Waiting::with_token(&ours, "a1", &token);
    let answer = ours.ucron(&waiting.words()).exits(1);
    answer.says("does not take this center");
    let mut host = waiting.host;
    assert!(!host.has_ended());
    theirs.must(&waiting.add.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(host.ended().code(), Some(0), "{}", host.err());
}

#[test]
fn an_agent_that_has_joined_is_not_added_again() {
    let (world, _) = dialled();
    let agent = world.agent("a1");
    let address = agent["address"].as_str().unwrap();
    let key = "1".repeat(64);
    let add = ["agent", "add", "a9", address, "--fingerprint", &key];
    let answer = world.ucron(&add).exits(5);
    answer.says(&format!("agent a1 is at {address} already"));
    // Even with its true key: it waits for its center, and not to join.
    world.must(&["agent", "rm", "a1"]);
    let key = Identity::load(&world.path("a1")).unwrap().peer().key;
    let key = key.to_string();
    let add = ["agent", "add", "a1", address, "--fingerprint", &key];
    world.ucron(&add).exits(1).says("does not wait to join");
    // A center of another fleet does not get as far as a hello.
    let other = World::empty();
    other.ucron(&add).exits(1).says("does not take this center");
}

/// Takes whatever the other side shows, as an attacker would.
#[derive(Debug)]
struct Gullible(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// What an attacker with this identity, or with none, connects with.
fn attack(identity: Option<&Path>) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible(provider)));
    let Some(path) = identity else {
        return Arc::new(builder.with_no_client_auth());
    };
    let text = std::fs::read(path.join("identity.pem")).unwrap();
    let chain = CertificateDer::pem_slice_iter(&text).map(Result::unwrap);
    let key = PrivateKeyDer::from_pem_slice(&text).unwrap();
    let config = builder.with_client_auth_cert(chain.collect(), key);
    Arc::new(config.unwrap())
}

/// Asserts that whoever comes with this identity reads not one byte, whatever it says.
fn gets_nothing(address: &str, identity: Option<&Path>) {
    let name = ServerName::try_from("nobody").unwrap();
    let connection = ClientConnection::new(attack(identity), name).unwrap();
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = StreamOwned::new(connection, socket);
    let said = b"{\"kind\":\"welcome\"}\r\n";
    let _ = stream.write_all(said).and_then(|()| stream.flush());
    let mut read = Vec::new();
    let ended = stream.read_to_end(&mut read);
    assert!(read.is_empty(), "{identity:?} reads {read:?}");
    let error = ended.expect_err("the link is cut, not closed in peace");
    let waited = error.kind() == std::io::ErrorKind::WouldBlock;
    assert!(!waited, "{identity:?} is not cut off");
}

/// Identities that are no center's of the fleet: none, an operator's, and a center's of another fleet.
fn strangers(world: &World) -> [Option<PathBuf>; 3] {
    let other = world.path("other");
    let mut init = program(CENTER);
    init.args(["init", "--listen", "127.0.0.1:0", "--state"]);
    ask(init.arg(&other), "").exits(0);
    [None, Some(world.path("center/admin")), Some(other)]
}

#[test]
fn a_stranger_at_an_agents_port_gets_nothing() {
    let mut world = World::empty();
    world.must(&["group", "add", "web"]);
    let strangers = strangers(&world);
    let waiting = Waiting::new(&world, "a1");
    for stranger in &strangers {
        gets_nothing(waiting.address(), stranger.as_deref());
    }
    let address = waiting.join(&world);
    world.start_agent("a1");
    world.is_online("a1");
    for stranger in &strangers {
        gets_nothing(&address, stranger.as_deref());
    }
    // One that says nothing is in nobody's way.
    let _silent = TcpStream::connect(&address).unwrap();
    world.add("web/t", &["--rule", "0 0 1 1 *"], &["true"]);
    assert!(world.run_now("web/t").is("succeeded"));
    world.kill_center();
    world.start_center();
    world.is_online("a1");
}

/// Inodes of the TCP sockets that listen, of any process.
fn listening() -> BTreeSet<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(std::fs::read_to_string);
    let lines = tables.iter().flatten().flat_map(|table| table.lines());
    let fields = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    // The fourth is the state, 0A listens; the tenth the inode (proc(5)).
    let listen = fields.filter(|fields| fields.get(3) == Some(&"0A"));
    listen.map(|fields| fields[9].to_owned()).collect()
}

fn open_ports(pid: u32) -> usize {
    let all = listening();
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let targets = files.flatten().map(|file| std::fs::read_link(file.path()));
    let names = targets.flatten().map(|target| target.display().to_string());
    names
        .filter(|name| {
            let inode = name.strip_prefix("socket:[");
            inode.is_some_and(|rest| all.contains(rest.trim_end_matches(']')))
        })
        .count()
}

#[test]
fn an_agent_that_dials_opens_no_port() {
    let world = World::small();
    assert_eq!(open_ports(world.center_pid()), 1);
    assert_eq!(open_ports(world.agent_pid("a1")), 0);
    assert_eq!(open_ports(world.keeper_pid("a1")), 0);
    let (world, _) = dialled();
    assert_eq!(open_ports(world.agent_pid("a1")), 1);
    assert_eq!(open_ports(world.keeper_pid("a1")), 0);
}

#[test]
fn a_host_that_is_killed_while_it_waits_can_wait_again() {
    let world = World::empty();
    world.must(&["group", "add", "web"]);
    let token = world.must(&["token", "agent", "--group", "web"]);
    let first = Waiting::with_token(&world, "a1", &token);
    let old = first.add.clone();
    drop(first);
    let old: Vec<&str> = old.iter().map(String::as_str).collect();
    let answer = world.ucron(&old).exits(1);
    answer.says("cannot be reached").says("running there");
    Waiting::with_token(&world, "a1", &token).join(&world);
}

#[test]
fn settings_that_a_host_has_stay_and_are_not_contradicted() {
    let world = World::empty();
    let token = world.must(&["token", "agent"]);
    let settings = |agent: &str, text: &str| {
        let dir = world.path(agent);
        std::fs::create_dir(&dir).unwrap();
        std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o700)).unwrap();
        std::fs::write(dir.join("agent.toml"), text).unwrap();
    };
    settings("a1", "listen = \"127.0.0.1:7777\"\n");
    let mut join = program(AGENT);
    join.args(["join", "--listen", "127.0.0.1:0", "--state"]);
    let answer = ask(join.arg(world.path("a1")), &token).exits(1);
    answer.says("say `listen = \"127.0.0.1:7777\"`; join with `--listen 127.0.0.1:7777`");

    settings("a2", "# ours\nlog = \"debug\"\n");
    let address = Waiting::with_token(&world, "a2", &token).join(&world);
    let text = std::fs::read_to_string(world.path("a2/agent.toml")).unwrap();
    assert_eq!(
        text,
        format!("listen = \"{address}\"\n# ours\nlog = \"debug\"\n")
    );
}
