//! The agent's program with its keeper against a center of the test's own, over the real TLS link.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "this test starts and stops the programs that it tests, and fails where they cannot be"
)]

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpListener;
use ucron::auth::{Authority, make_token};
use ucron::clock;
use ucron::model::{
    Cause, Ending, Epoch, Execute, FleetId, GroupName, Outcome, PeerRole, PeerUri, Revision, RunId,
    RunRef, SessionLease, Slot, TaskId, TaskName, TaskText, UnixMs, UserName, Work,
};
use ucron::proto::agent::{
    Acknowledge, Cancel, FromAgent, HeartbeatAck, HeldAssignment, Order, PlannedRun, ReadLog,
    Report, RunEvent, State, ToAgent,
};
use ucron::proto::handshake::{FIRST_LIMIT, accept, dial, first_hello, first_join};
use ucron::proto::hello::{AgentHello, Welcome};
use ucron::proto::identity::{Identity, PeerIdentity, PrivateKey, store_centers};
use ucron::proto::join::{Joined, ToJoiner};
use ucron::proto::link::{Bounds, Link};
use ucron::proto::tls::{client_config, server_config};

const PATIENCE: Duration = Duration::from_secs(30);
const AGENT: &str = env!("CARGO_BIN_EXE_ucron-agent");
const KEEPER: &str = env!("CARGO_BIN_EXE_ucron-keeper");

/// A center, and a state directory that has joined it.
struct World {
    home: tempfile::TempDir,
    authority: Authority,
    fleet: FleetId,
    identity: Identity,
    listener: TcpListener,
    user: UserName,
    agent: Option<Child>,
}

impl World {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let fleet: FleetId = "f1".parse().unwrap();
        let ca = home.path().join("ca");
        Authority::create(&ca, &fleet, clock::now(), None).unwrap();
        let authority = Authority::load(&ca, None).unwrap();
        let member = |role, id: &str| {
            let key = PrivateKey::make().unwrap();
            let request = key.request().unwrap();
            let uri = PeerUri {
                fleet: fleet.clone(),
                role,
                id: id.to_owned(),
            };
            let issued = authority.issue(&request, &uri, clock::now()).unwrap();
            Identity::new(key, &issued.certificate, authority.certificate()).unwrap()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dir = home.path().join("agent");
        member(PeerRole::Agent, "01hzzzzzzzzzzzzzzzzzzzzzzz")
            .store(&dir)
            .unwrap();
        let address = listener.local_addr().unwrap().to_string();
        store_centers(&dir, &[address]).unwrap();
        ucron::files::write_private(&dir.join("agent.name"), b"a1\n").unwrap();
        let work = home.path().join("work");
        std::fs::create_dir(&work).unwrap();
        open_to_all(home.path());
        open_to_all(&work);
        Self {
            identity: member(PeerRole::Center, "01haaaaaaaaaaaaaaaaaaaaaaa"),
            authority,
            fleet,
            home,
            listener,
            user: run_user(),
            agent: None,
        }
    }

    fn dir(&self) -> PathBuf {
        self.home.path().join("agent")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join("work").join(name)
    }

    /// Starts the agent and answers its hello.
    async fn start(&mut self) -> Peer {
        self.agent = Some(spawn_agent(&self.dir(), &[]));
        self.meet().await
    }

    /// Takes the agent's call.
    async fn meet(&self) -> Peer {
        let meeting = async {
            let (tcp, _) = self.listener.accept().await.unwrap();
            tcp.set_nodelay(true).unwrap();
            let config = server_config(&self.identity).unwrap();
            let accepted = accept(tcp, &config, FIRST_LIMIT).await.unwrap();
            let peer = accepted.peer.unwrap();
            let link = Link::new(accepted.stream, Bounds::default());
            Peer::greet(link, &peer, accepted.deadline).await
        };
        tokio::time::timeout(PATIENCE, meeting).await.unwrap()
    }

    /// Calls an agent that waits.
    async fn call(&self, address: &str) -> Peer {
        let config = client_config(&self.identity).unwrap();
        let calling = async {
            loop {
                if let Ok(dialled) = dial(address, &config).await {
                    let link = Link::new(dialled.stream, Bounds::default());
                    return Peer::greet(link, &dialled.peer, dialled.deadline).await;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, calling).await.unwrap()
    }

    /// Ends the agent as a crash does.
    fn kill(&mut self) {
        let mut agent = self.agent.take().unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    fn text(&self, name: &str, line: &str) -> TaskText {
        let mut work = Work::new(Execute::Shell(line.to_owned()), self.user.clone());
        work.cwd = Some(self.file("").display().to_string());
        TaskText {
            task: id(name).as_str().parse::<TaskId>().unwrap(),
            revision: Revision(1),
            group: GroupName::parse("g").unwrap(),
            name: TaskName::parse(name).unwrap(),
            one: false,
            work,
        }
    }
}

impl Drop for World {
    #[allow(clippy::print_stderr, reason = "what a failed test leaves to read")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            for file in ["agent.journal", "keeper.log", "keeper/journal"] {
                let text = std::fs::read_to_string(self.dir().join(file));
                eprintln!("--- {file}\n{}", text.unwrap_or_default());
            }
        }
        if let Some(mut agent) = self.agent.take() {
            drop(agent.kill());
            drop(agent.wait());
        }
        stop_quietly(&self.dir());
    }
}

fn spawn_agent(dir: &Path, more: &[&str]) -> Child {
    let mut agent = Command::new(AGENT);
    agent.args(["run", "--state"]).arg(dir).args(more);
    agent.spawn().unwrap()
}

fn open_to_all(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(dir, mode).unwrap();
}

/// A root keeper runs everybody but root, another one its own user only.
fn run_user() -> UserName {
    let asked = Command::new("id").arg("-un").output().unwrap();
    let own = String::from_utf8(asked.stdout).unwrap();
    let user = if own.trim() == "root" {
        "nobody"
    } else {
        own.trim()
    };
    UserName::parse(user).unwrap()
}

fn id(name: &str) -> RunId {
    RunId::hash(name.as_bytes())
}

/// The agent as its center sees it.
struct Peer {
    link: Link<ToAgent, FromAgent>,
    hello: AgentHello,
    seq: u64,
    state: State,
    events: VecDeque<RunEvent>,
}

impl Peer {
    /// Welcomes an agent and takes its state.
    async fn greet(
        link: Link<ToAgent, FromAgent>,
        peer: &PeerIdentity,
        deadline: tokio::time::Instant,
    ) -> Self {
        let (link, hello, protocol) = first_hello(link, peer, deadline).await.unwrap();
        let mut peer = Self {
            link,
            hello: hello.agent.unwrap(),
            seq: 0,
            state: State::default(),
            events: VecDeque::new(),
        };
        peer.send(ToAgent::Welcome(Welcome {
            protocol,
            version: "1".into(),
            fleet: "f1".into(),
            agent: Some("a1".parse().unwrap()),
            epoch: Epoch(1),
            now: clock::now(),
            centers: Vec::new(),
        }))
        .await;
        peer.take_state().await;
        peer
    }

    async fn send(&mut self, frame: ToAgent) {
        self.link.send(&frame).await.unwrap();
    }

    /// The next frame that is no heartbeat; those are answered.
    async fn next(&mut self) -> FromAgent {
        let next = async {
            loop {
                match self.link.next().await.unwrap().expect("the link lives") {
                    FromAgent::Heartbeat(beat) => {
                        let ack = HeartbeatAck {
                            sent_boot_ms: beat.sent_boot_ms,
                            received_at: clock::now(),
                            sent_at: clock::now(),
                            epoch: Epoch(1),
                            lease: SessionLease {
                                length: Duration::from_secs(15),
                            },
                        };
                        self.send(ToAgent::HeartbeatAck(ack)).await;
                    }
                    // It comes whenever the keeper has said it, among everything else.
                    FromAgent::Policy(_) => {}
                    frame => return frame,
                }
            }
        };
        tokio::time::timeout(PATIENCE, next)
            .await
            .expect("the agent says something")
    }

    async fn take_state(&mut self) {
        while !self.state.last {
            let FromAgent::State(part) = self.next().await else {
                panic!("the state comes first");
            };
            self.state.last = part.last;
            self.state.armed.extend(part.armed);
            self.state.running.extend(part.running);
            self.state.ended.extend(part.ended);
            self.state.assigned.extend(part.assigned);
        }
    }

    async fn order(&mut self, fill: impl FnOnce(&mut Order)) {
        self.seq += 1;
        let mut order = Order {
            seq: self.seq,
            epoch: Epoch(1),
            texts: Vec::new(),
            cancel: Vec::new(),
            plan: Vec::new(),
            assign: Vec::new(),
            withdraw: Vec::new(),
            restart: Vec::new(),
            kill: Vec::new(),
        };
        fill(&mut order);
        self.send(ToAgent::Order(order)).await;
    }

    /// Plans a run of a text so far ahead, and waits until that is confirmed.
    async fn plan(&mut self, name: &str, text: TaskText, ahead: Duration) -> UnixMs {
        let at = clock::now().plus(ahead);
        self.order(|order| {
            order.plan = vec![PlannedRun {
                run: RunRef {
                    run_id: id(name),
                    task: text.task.clone(),
                    revision: text.revision,
                    slot: Slot(0),
                    cause: Cause::Rule,
                    scheduled_at: at,
                    delay: Duration::ZERO,
                },
                start_before: at.plus(Duration::from_mins(1)),
                catch_up: false,
            }];
            order.texts = vec![text];
        })
        .await;
        self.confirmed().await;
        at
    }

    /// The runs that had started, of the last order's cancels. Reports that come first are kept: a run that is
    /// due at once starts before its plan is on disk.
    async fn confirmed(&mut self) -> Vec<RunId> {
        loop {
            match self.next().await {
                FromAgent::Confirm(confirm) => {
                    assert_eq!(confirm.seq, self.seq);
                    assert_eq!(confirm.refused, []);
                    return confirm.started;
                }
                FromAgent::Report(report) => self.take_report(report).await,
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    async fn take_report(&mut self, report: Report) {
        let seq = report.seq;
        self.events.extend(report.events);
        self.send(ToAgent::Acknowledge(Acknowledge { seq })).await;
    }

    /// Takes reports until one says this.
    async fn reported<T>(&mut self, wanted: impl Fn(&RunEvent) -> Option<T>) -> T {
        loop {
            while let Some(event) = self.events.pop_front() {
                if let Some(found) = wanted(&event) {
                    return found;
                }
            }
            if let FromAgent::Report(report) = self.next().await {
                self.take_report(report).await;
            }
        }
    }

    async fn started(&mut self, name: &str) -> (i32, UnixMs) {
        let run_id = id(name);
        self.reported(|event| match event {
            RunEvent::Started {
                run,
                pid,
                started_at,
                ..
            } if run.run_id == run_id => Some((*pid, *started_at)),
            _ => None,
        })
        .await
    }

    async fn ended(&mut self, name: &str) -> Ending {
        let run_id = id(name);
        self.reported(|event| match event {
            RunEvent::Ended { run, ending } if run.run_id == run_id => Some(ending.clone()),
            _ => None,
        })
        .await
    }
}

fn is_alive(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_planned_run_fires_at_its_instant_and_is_reported_once() {
    let mut world = World::new().await;
    let mut peer = world.start().await;
    let agent = world.agent.as_ref().unwrap().id().to_string();
    let mut reread = Command::new("kill");
    reread.args(["-HUP", &agent]).status().unwrap();
    let text = world.text("t1", "echo hello; echo $UCRON_RUN_ID >> fired");
    let at = peer.plan("r1", text, Duration::from_millis(700)).await;
    let (_, started_at) = peer.started("r1").await;
    let late = started_at.0 - at.0;
    eprintln!("late by {late} ms");
    assert!((0..1000).contains(&late), "late by {late} ms");
    let ending = peer.ended("r1").await;
    assert_eq!(
        (ending.outcome, ending.exit_code),
        (Outcome::Succeeded, Some(0))
    );

    peer.send(ToAgent::ReadLog(ReadLog {
        stream: 1,
        run_id: id("r1"),
        attempt: None,
        lines: None,
        follow: false,
        since: None,
        place: None,
    }))
    .await;
    let FromAgent::Log(chunk) = peer.next().await else {
        panic!("the output comes");
    };
    assert_eq!(chunk.data, "aGVsbG8K");
    assert!(matches!(peer.next().await, FromAgent::LogEnd(end) if end.error.is_none()));

    drop(peer);
    let peer = world.meet().await;
    let state = State {
        last: true,
        ..State::default()
    };
    assert_eq!(peer.state, state, "what is acknowledged is forgotten");
    let fired = std::fs::read_to_string(world.file("fired")).unwrap();
    assert_eq!(fired.trim(), id("r1").as_str());
}

#[tokio::test]
async fn an_agent_that_is_killed_keeps_its_runs_and_its_processes() {
    let mut world = World::new().await;
    let mut peer = world.start().await;
    let first = peer.hello.incarnation;
    let sleeper = world.text("sleeper", "sleep 60");
    peer.plan("r1", sleeper, Duration::ZERO).await;
    let (pid, _) = peer.started("r1").await;
    let text = world.text("t2", "echo $UCRON_RUN_ID >> fired");
    peer.plan("r2", text, Duration::from_secs(2)).await;
    let daemon = world.text("web", "sleep 60");
    let (daemon_pid, mut peer) = {
        let mut daemon = daemon;
        daemon.work.daemon = true;
        peer.order(|order| {
            order.assign = vec![HeldAssignment {
                task: daemon.task.clone(),
                revision: daemon.revision,
            }];
            order.texts = vec![daemon];
        })
        .await;
        let pid = peer
            .reported(|event| match event {
                RunEvent::Started { run, pid, .. } if run.cause == Cause::Daemon => Some(*pid),
                _ => None,
            })
            .await;
        (pid, peer)
    };

    world.kill();
    drop(std::mem::replace(&mut peer, world.start().await));
    assert_eq!(peer.hello.incarnation.count(), first.count() + 1);
    let armed: Vec<_> = peer.state.armed.iter().map(|held| &held.run_id).collect();
    let running: Vec<_> = peer.state.running.iter().map(|held| held.pid).collect();
    assert_eq!(peer.state.assigned.len(), 1);
    assert!(running.contains(&Some(pid)) && running.contains(&Some(daemon_pid)));
    assert!(armed.is_empty() || armed == [&id("r2")]);
    peer.ended("r2").await;
    assert!(is_alive(pid) && is_alive(daemon_pid));
    let fired = std::fs::read_to_string(world.file("fired")).unwrap();
    assert_eq!(fired.lines().count(), 1);

    peer.order(|order| {
        order.cancel = vec![Cancel {
            run_id: id("r1"),
            stop: true,
            reason: "stopped by admin".into(),
        }];
    })
    .await;
    assert_eq!(peer.confirmed().await, [id("r1")]);
    let ending = peer.ended("r1").await;
    assert_eq!(ending.outcome, Outcome::Stopped);
    assert_eq!(ending.reason, "stopped by admin");
}

#[tokio::test]
async fn an_agent_asked_to_end_does_and_leaves_keeper_and_processes() {
    let mut world = World::new().await;
    let mut peer = world.start().await;
    let text = world.text("sleeper", "sleep 60");
    peer.plan("r1", text, Duration::ZERO).await;
    let (pid, _) = peer.started("r1").await;
    let mut agent = world.agent.take().unwrap();
    let mut kill = Command::new("kill");
    kill.arg(agent.id().to_string()).status().unwrap();
    let ended = std::time::Instant::now();
    assert!(
        matches!(peer.link.next().await, Err(fault) if fault.to_string().contains("shuts down"))
    );
    let status = tokio::task::spawn_blocking(move || agent.wait()).await;
    assert!(status.unwrap().unwrap().success());
    assert!(ended.elapsed() < Duration::from_secs(10));
    assert!(is_alive(pid));
    let peer = world.start().await;
    assert_eq!(peer.state.running.len(), 1);
    world.kill();
    drop(peer);
    assert!(stop_quietly(&world.dir()).success());
    eventually("the process ends with its keeper", || !is_alive(pid)).await;
}

#[tokio::test]
async fn two_agents_cannot_share_a_state_directory() {
    let mut world = World::new().await;
    let _peer = world.start().await;
    let mut second = Command::new(AGENT);
    second.args(["run", "--state"]).arg(world.dir());
    let output = second.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(text.contains("another agent is running on"), "{text}");
}

#[test]
fn a_directory_that_has_not_joined_says_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let mut agent = Command::new(AGENT);
    agent.args(["run", "--state"]).arg(home.path());
    let output = agent.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("run `ucron-agent join"), "{text}");
}

#[tokio::test]
async fn an_agent_that_waits_is_called_by_its_center_and_the_newest_call_counts() {
    let mut world = World::new().await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    world.agent = Some(spawn_agent(&world.dir(), &["--listen", &address]));
    let mut first = world.call(&address).await;
    let mut peer = world.call(&address).await;
    let ended = tokio::time::timeout(PATIENCE, first.link.next()).await;
    assert!(!matches!(ended, Ok(Ok(Some(FromAgent::State(_))))));
    let text = world.text("t1", "true");
    peer.plan("r1", text, Duration::from_millis(100)).await;
    assert_eq!(peer.ended("r1").await.outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn a_host_joins_with_a_token_from_a_file_and_runs() {
    let mut world = World::new().await;
    let dir = world.home.path().join("joined");
    let token = make_token(PeerRole::Agent, world.authority.pin()).unwrap();
    let file = world.home.path().join("token");
    std::fs::write(&file, format!("{}\n", token.text())).unwrap();
    let address = world.listener.local_addr().unwrap().to_string();
    let mut join = Command::new(AGENT);
    join.args(["join", &address, "--name", "web-1", "--state"])
        .arg(&dir);
    join.arg("--token-file").arg(&file).stderr(Stdio::piped());
    let mut joining = join.spawn().unwrap();

    let (tcp, _) = world.listener.accept().await.unwrap();
    let config = server_config(&world.identity).unwrap();
    let accepted = accept(tcp, &config, FIRST_LIMIT).await.unwrap();
    let link = Link::new(accepted.stream, Bounds::default());
    let (mut link, asked) = first_join(link, accepted.deadline).await.unwrap();
    assert_eq!(asked.token, token.text());
    let uri = PeerUri {
        fleet: world.fleet.clone(),
        role: PeerRole::Agent,
        id: "01hyyyyyyyyyyyyyyyyyyyyyyy".to_owned(),
    };
    let issued = world.authority.issue(&asked.request, &uri, clock::now());
    link.send(&ToJoiner::Joined(Joined {
        fleet: world.fleet.to_string(),
        name: asked.name.unwrap().to_string(),
        certificate: issued.unwrap().certificate,
        centers: vec![address],
        authority: None,
    }))
    .await
    .unwrap();
    let status = tokio::task::spawn_blocking(move || joining.wait()).await;
    assert!(status.unwrap().unwrap().success());
    assert_eq!(
        std::fs::read_to_string(dir.join("agent.name")).unwrap(),
        "web-1\n"
    );

    world.agent = Some(spawn_agent(&dir, &[]));
    let peer = world.meet().await;
    assert_eq!(peer.hello.incarnation.count(), 1);
    world.kill();
    eventually("the keeper of the joined host ends", || {
        stop_quietly(&dir).success()
    })
    .await;
}

fn stop_quietly(dir: &Path) -> std::process::ExitStatus {
    let mut stop = Command::new(KEEPER);
    stop.args(["stop", "--state"]).arg(dir);
    stop.stderr(Stdio::null()).status().unwrap()
}

/// The keeper of a state directory, found by its command line.
fn keeper_pid(dir: &Path) -> Option<u32> {
    let dir = dir.display().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find(|pid| {
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline"));
            let line = line.unwrap_or_default();
            let mut words = line.split('\0');
            words.next() == Some(KEEPER) && words.any(|word| word == dir)
        })
}

#[tokio::test]
async fn a_killed_keeper_is_started_again_and_its_process_lives_on() {
    let mut world = World::new().await;
    let mut peer = world.start().await;
    let text = world.text("sleeper", "sleep 60");
    peer.plan("r1", text, Duration::ZERO).await;
    let (pid, _) = peer.started("r1").await;
    let keeper = keeper_pid(&world.dir()).unwrap();
    let text = world.text("t2", "true");
    peer.plan("r2", text, Duration::from_secs(1)).await;
    let mut kill = Command::new("kill");
    kill.args(["-9", &keeper.to_string()]).status().unwrap();
    assert_eq!(peer.ended("r2").await.outcome, Outcome::Succeeded);
    assert!(is_alive(pid));
    assert_ne!(keeper_pid(&world.dir()), Some(keeper));
    peer.order(|order| {
        order.cancel = vec![Cancel {
            run_id: id("r1"),
            stop: true,
            reason: "stopped by admin".into(),
        }];
    })
    .await;
    assert_eq!(peer.confirmed().await, [id("r1")]);
    assert_eq!(peer.ended("r1").await.outcome, Outcome::Stopped);
}

#[tokio::test]
async fn no_run_is_lost_or_doubled_while_the_agent_is_killed_again_and_again() {
    const TASKS: usize = 6;
    const SECONDS: usize = 4;
    let mut world = World::new().await;
    let mut peer = world.start().await;
    let mut open = std::collections::BTreeSet::new();
    for second in 0..SECONDS {
        for task in 0..TASKS {
            let name = format!("r{task}-{second}");
            let text = world.text(&format!("t{task}"), "echo $UCRON_RUN_ID >> fired");
            let ahead = Duration::from_millis(600)
                + Duration::from_secs(1) * u32::try_from(second).unwrap();
            peer.plan(&name, text, ahead).await;
            open.insert(id(&name));
        }
    }
    let mut next_kill = tokio::time::Instant::now() + Duration::from_millis(500);
    while !open.is_empty() {
        let ended = peer.reported(|event| match event {
            RunEvent::Ended { run, ending } => Some((run.run_id.clone(), ending.clone())),
            _ => None,
        });
        if let Ok((run_id, ending)) = tokio::time::timeout_at(next_kill, ended).await {
            assert_eq!(ending.outcome, Outcome::Succeeded, "{ending:?}");
            open.remove(&run_id);
        } else {
            world.kill();
            peer = world.start().await;
            next_kill = tokio::time::Instant::now() + Duration::from_millis(570);
        }
    }
    let fired = std::fs::read_to_string(world.file("fired")).unwrap();
    let runs: std::collections::BTreeSet<&str> = fired.lines().collect();
    assert_eq!(runs.len(), TASKS * SECONDS);
    assert_eq!(fired.lines().count(), TASKS * SECONDS, "each exactly once");
}
