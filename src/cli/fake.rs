//! Things for tests: views as a center would send them, and a center that answers from a table over a stream
//! in memory, with the frames of the real one.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::args::{self, Parsed};
use super::client::Input;
use super::fault::Fault;
use super::print::Out;
use super::print::style_tests::{NOW, style};
use super::session::{Dial, Duplex, Opening, Session};
use crate::model::{
    AgentState, Cause, Epoch, Execute, Outcome, Revision, RunId, Slot, TaskSpec, UnixMs, UserName,
    Work,
};
use crate::proto::client::{
    AnswerFrame, End, FromClient, ItemFrame, RefusedFrame, RequestFrame, ToClient,
};
use crate::proto::hello::{PROTOCOL, Welcome};
use crate::proto::link::{Bounds, Link};
use crate::proto::request::{
    Answer, Changed, Frozen, FrozenTask, Item, Refusal, RefusalCode, Request,
};
use crate::proto::view::{
    AgentCounts, AgentView, EventView, GroupView, Lateness, LogView, ProcessView, RunView,
    StatusView, TaskCounts, TaskView,
};
use crate::rule::{Rule, Zone};
use crate::workers::Workers;

/// An id of a task.
pub const TASK_ID: &str = "01hzzzzzzzzzzzzzzzzzzzzzzz";
/// An id of a run.
pub const RUN_ID: &str = "00000000000000000zzzzzzzzz";

/// A task with every policy at its default.
pub fn task(group: &str, name: &str) -> TaskView {
    let words = vec!["/opt/probe".to_owned(), "--all".to_owned()];
    let work = Work::new(Execute::Vector(words), UserName::parse("www-data").unwrap());
    TaskView {
        id: TASK_ID.parse().unwrap(),
        group: group.parse().unwrap(),
        task_name: name.parse().unwrap(),
        revision: Revision(3),
        enabled: true,
        spec: TaskSpec::new(Rule::parse("*/5 * * * *").unwrap(), work),
        zone: Zone::utc(),
        next_at: Some(UnixMs(NOW.0 + 300_000)),
        last_run: Some(run(group, name)),
        recent: vec![Outcome::Failed],
        running: 0,
        saved_at: UnixMs(NOW.0 - 1000),
        changed_by: "admin".parse().unwrap(),
        changed_at: UnixMs(NOW.0 - 1000),
    }
}

/// A run that failed with exit code 3.
pub fn run(group: &str, name: &str) -> RunView {
    RunView {
        run_id: RUN_ID.parse().unwrap(),
        task: format!("{group}/{name}").parse().unwrap(),
        group: group.parse().unwrap(),
        agent: Some("a1".parse().unwrap()),
        slot: Slot(0),
        attempt: 1,
        cause: Cause::Rule,
        scheduled_at: UnixMs(NOW.0 - 60_000),
        started_at: Some(UnixMs(NOW.0 - 59_997)),
        finished_at: Some(UnixMs(NOW.0 - 58_000)),
        late_ms: Some(3),
        outcome: Some(Outcome::Failed),
        reason: "exit code 3".to_owned(),
        exit_code: Some(3),
        signal: None,
        pid: Some(4711),
        output_bytes: Some(12),
        output_gap: None,
        output_cut: None,
        peak_memory_bytes: Some(9 << 20),
        cpu_ms: Some(31),
        revision: Revision(3),
        tail: None,
        span: None,
    }
}

/// A daemon's process.
pub fn process() -> ProcessView {
    ProcessView {
        run_id: Some(RUN_ID.parse().unwrap()),
        task: "web/worker".parse().unwrap(),
        group: "web".parse().unwrap(),
        agent: "a1".parse().unwrap(),
        slot: Slot(1),
        pid: Some(4711),
        state: "running".to_owned(),
        started_at: Some(UnixMs(NOW.0 - 5000)),
        since: None,
        next_at: None,
        reason: String::new(),
        restarts: 2,
        daemon: true,
        revision: Revision(3),
    }
}

/// An agent with a link.
pub fn agent(name: &str) -> AgentView {
    AgentView {
        name: name.parse().unwrap(),
        groups: ["web".parse().unwrap(), "db".parse().unwrap()].into(),
        state: AgentState::Online,
        version: Some("0.1.0".to_owned()),
        running: 1,
        skew_ms: Some(-2),
        last_seen_at: Some(UnixMs(NOW.0 - 1000)),
        address: Some("10.0.0.1:40000".to_owned()),
    }
}

/// A group with one agent.
pub fn group(name: &str) -> GroupView {
    GroupView {
        name: name.parse().unwrap(),
        agents: ["a1".parse().unwrap()].into(),
        tasks: 2,
        run_users: None,
        frozen_until: None,
        frozen: None,
    }
}

/// A freeze with one task.
pub fn frozen(done: bool) -> Frozen {
    let task = FrozenTask {
        task: "web/probe".parse().unwrap(),
        occurrences: 2,
        at_least: false,
        first_at: NOW,
        next_at: None,
    };
    Frozen {
        group: "web".parse().unwrap(),
        from: NOW,
        until: NOW.plus(Duration::from_hours(2)),
        reason: "move".to_owned(),
        done,
        count: 1,
        occurrences: 2,
        at_least: false,
        tasks: vec![task],
        hit: Changed::default(),
    }
}

/// A fleet in order.
pub fn status() -> StatusView {
    StatusView {
        center: "127.0.0.1:9502".to_owned(),
        role: "leader".to_owned(),
        epoch: Epoch(2),
        centers: vec!["127.0.0.1:9502".to_owned()],
        standbys: Vec::new(),
        lease_age_ms: None,
        version: "0.1.0".to_owned(),
        now: NOW,
        timezone: Zone::utc(),
        agents: AgentCounts {
            online: 1,
            ..AgentCounts::default()
        },
        tasks: TaskCounts {
            enabled: 2,
            stopped: 0,
        },
        running: 1,
        lateness_ms: Lateness {
            p50: Some(1),
            p99: Some(4),
            max: Some(9),
        },
        problems: Vec::new(),
        conditions: Vec::new(),
        freezes: Vec::new(),
    }
}

/// The end of a run.
pub fn event() -> EventView {
    EventView {
        cursor: "7".to_owned(),
        at: UnixMs(NOW.0 + 3),
        event: "run_ended".to_owned(),
        task: Some("web/probe".parse().unwrap()),
        agent: Some("a1".parse().unwrap()),
        run_id: Some(RUN_ID.parse().unwrap()),
        slot: Some(Slot(0)),
        outcome: Some(Outcome::Failed),
        late_ms: Some(3),
        condition: None,
        operator: None,
        reason: "exit code 3".to_owned(),
    }
}

/// A piece of output.
pub fn chunk(agent: &str, offset: u64, text: &str) -> Item {
    chunk_at(agent, offset, None, text)
}

/// A piece of output, written by then.
pub fn chunk_at(agent: &str, offset: u64, at: Option<i64>, text: &str) -> Item {
    use base64::Engine as _;
    Item::Log(LogView {
        run_id: RunId::hash(agent.as_bytes()),
        agent: agent.parse().unwrap(),
        slot: Slot(0),
        attempt: 1,
        offset,
        at: at.map(UnixMs),
        data: base64::engine::general_purpose::STANDARD.encode(text),
    })
}

/// What the center does with a request.
pub enum Reply {
    /// Answers.
    Answer(Answer),
    /// Refuses.
    Refuse(RefusalCode, &'static str),
    /// Streams these, then ends.
    Items(Vec<Item>),
    /// Streams these, then closes the link.
    Broken(Vec<Item>),
    /// Closes the link.
    Hang,
    /// Says nothing.
    Silence,
}

type Answers = Arc<dyn Fn(usize, &Request) -> Reply + Send + Sync>;

/// A center in memory: answers by a table and keeps what it was asked.
#[derive(Clone)]
pub struct Center {
    answers: Answers,
    pub asked: Arc<Mutex<Vec<RequestFrame>>>,
    addresses: Vec<String>,
    workers: Workers,
}

impl Center {
    /// Answers with what this gives for the n-th request, from 0.
    pub fn new(answers: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        Self {
            answers: Arc::new(answers),
            asked: Arc::default(),
            addresses: vec!["fake:1".to_owned()],
            workers: Workers::new(),
        }
    }

    /// A session with it.
    pub async fn session(&self) -> Result<Session, Fault> {
        Session::connect(self.clone(), Duration::from_secs(10), &self.workers).await
    }

    /// Answers on this stream until it ends.
    pub async fn serve(self, stream: impl Duplex) {
        let mut link: Link<ToClient, FromClient> = Link::new(stream, Bounds::default());
        while let Ok(Some(frame)) = link.next().await {
            let replies = match frame {
                FromClient::Hello(_) => vec![Some(ToClient::Welcome(welcome()))],
                FromClient::Request(frame) => self.reply(*frame),
                _ => vec![],
            };
            for reply in replies {
                match reply {
                    Some(reply) if link.send(&reply).await.is_ok() => {}
                    _ => return,
                }
            }
        }
    }

    /// The frames to send; none among them closes the link.
    fn reply(&self, frame: RequestFrame) -> Vec<Option<ToClient>> {
        let id = frame.id;
        let mut asked = self.asked.lock().unwrap();
        let reply = (self.answers)(asked.len(), &frame.ask);
        asked.push(frame);
        let stream = |items: Vec<Item>, last| {
            let items = items
                .into_iter()
                .map(|item| ToClient::Item(ItemFrame { id, item }));
            items.map(Some).chain([last]).collect()
        };
        match reply {
            Reply::Answer(answer) => {
                vec![Some(ToClient::Answer(Box::new(AnswerFrame { id, answer })))]
            }
            Reply::Refuse(code, message) => {
                let refusal = Refusal {
                    code,
                    message: message.to_owned(),
                    hint: None,
                };
                vec![Some(ToClient::Refused(RefusedFrame { id, refusal }))]
            }
            Reply::Items(items) => stream(items, Some(ToClient::End(End { id, refusal: None }))),
            Reply::Broken(items) => stream(items, None),
            Reply::Hang => vec![None],
            Reply::Silence => vec![],
        }
    }
}

fn welcome() -> Welcome {
    Welcome {
        protocol: PROTOCOL,
        version: "0.1.0".to_owned(),
        fleet: "fleet".to_owned(),
        agent: None,
        epoch: Epoch(1),
        now: NOW,
        centers: Vec::new(),
    }
}

impl Dial for Center {
    fn addresses(&self) -> &[String] {
        &self.addresses
    }

    fn open(&self, _: &str) -> Opening {
        let center = self.clone();
        Box::pin(async move {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            let workers = center.workers.clone();
            workers.spawn("fake center", center.serve(theirs));
            Ok(Box::new(ours) as Box<dyn Duplex>)
        })
    }
}

/// A buffer that two can hold.
#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    /// What was written.
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// What came of a command.
#[derive(Debug)]
pub struct Done {
    pub exit: u8,
    pub stdout: String,
    pub stderr: String,
    pub asked: Vec<Request>,
}

/// Runs a command line against a center in memory, as the main would.
pub async fn ucron(
    args: &[&str],
    stdin: &'static str,
    answers: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static,
) -> Done {
    let center = Center::new(answers);
    let (stdout, stderr) = (Shared::default(), Shared::default());
    let words = ["ucron"].iter().chain(args).copied();
    let mut out = Out::new(Box::new(stdout.clone()), Box::new(stderr.clone()), style());
    let exit = match args::parse(words) {
        Parsed::Command(parsed) => {
            out.style = super::print::Style::new(&parsed.global, None, || NOW);
            if parsed.global.timezone.is_none() {
                out.style.zone = Zone::utc();
            }
            let mut input = Input::new(Box::new(stdin.as_bytes()), false);
            let reach = async || center.session().await;
            let command = parsed.command.expect("tests give commands");
            super::perform(&parsed.global, command, &mut out, &mut input, reach)
                .await
                .0
        }
        Parsed::Wrong(fault) => {
            out.fault(&fault);
            fault.code.exit_code()
        }
        Parsed::Help(text) => {
            out.line(&text).unwrap();
            0
        }
    };
    let asked = center
        .asked
        .lock()
        .unwrap()
        .iter()
        .map(|frame| frame.ask.clone())
        .collect();
    Done {
        exit,
        stdout: stdout.text(),
        stderr: stderr.text(),
        asked,
    }
}
