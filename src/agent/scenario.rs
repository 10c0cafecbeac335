//! Scenarios for the agent's core: a script of lines, each a time in seconds and an event, with the effects that
//! an operator would care for after `=>`. Time, disk, center and keeper are scripted; center and host agree on
//! the time unless a line says otherwise. Wakes asked for happen by themselves; heartbeats are answered.

use std::collections::HashMap;
use std::time::Duration;

use super::core::AgentCore;
use super::event::{Effect, Event, LinkId, Now, Ticket};
use super::record::Record;
use crate::exec::wire::{self, BootMs, Command, RunState};
use crate::model::{
    Cause, Ending, Epoch, Execute, GroupName, Incarnation, Outcome, Overlap, Revision, RunId,
    RunRef, SessionLease, Slot, TaskId, TaskName, TaskText, UnixMs, UserName, Work,
};
use crate::proto::agent::{
    Acknowledge, Cancel, Confirm, FromAgent, HeartbeatAck, HeldAssignment, Kill, Order, PlannedRun,
    ReadLog, RunEvent, State, ToAgent, Withdraw,
};
use crate::proto::hello::Welcome;

/// The center's time when a scenario begins.
const BEGIN: i64 = 1_800_000_000_000;
/// Between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// The boot-time clock then.
const UP: u64 = 500_000;

struct Scenario {
    core: AgentCore,
    /// Milliseconds since the scenario began.
    time: u64,
    /// The boot-time clock when it began.
    up: u64,
    boots: u32,
    lives: u64,
    wall_off: i64,
    wake: Option<BootMs>,
    disk: Vec<Record>,
    disk_state: Disk,
    unsynced: Vec<(Ticket, Vec<Record>)>,
    link: u64,
    epoch: u64,
    mute: bool,
    lends: bool,
    orders: Vec<Order>,
    reports: Vec<u64>,
    names: HashMap<RunId, String>,
    runs: HashMap<String, RunRef>,
    seen: Vec<String>,
}

#[derive(PartialEq)]
enum Disk {
    Fast,
    Slow,
    Full,
}

/// Plays a script; panics at the first line whose effects are others.
pub fn play(script: &str) {
    let mut scenario = Scenario::new();
    for line in script.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (step, wanted) = line.split_once("=>").unwrap_or((line, ""));
        let (time, event) = step.trim().split_once(' ').expect("a time and an event");
        scenario.until(millis(time));
        let words: Vec<&str> = event.split_whitespace().collect();
        scenario.step(&words);
        let seen = std::mem::take(&mut scenario.seen).join("; ");
        assert_eq!(seen, wanted.trim(), "at the line `{line}`");
    }
}

fn millis(text: &str) -> u64 {
    let span: f64 = text.parse().expect("seconds");
    u64::try_from(Duration::from_secs_f64(span).as_millis()).unwrap()
}

impl Scenario {
    fn new() -> Self {
        let mut scenario = Self {
            core: AgentCore::new(HEARTBEAT, 1 << 20),
            time: 0,
            up: UP,
            boots: 1,
            lives: 0,
            wall_off: 0,
            wake: None,
            disk: Vec::new(),
            disk_state: Disk::Fast,
            unsynced: Vec::new(),
            link: 0,
            epoch: 1,
            mute: false,
            lends: true,
            orders: Vec::new(),
            reports: Vec::new(),
            names: HashMap::new(),
            runs: HashMap::new(),
            seen: Vec::new(),
        };
        scenario.begin();
        scenario
    }

    /// A new life of the agent on what is on disk.
    fn begin(&mut self) {
        self.core = AgentCore::new(HEARTBEAT, 1 << 20);
        self.wake = None;
        self.unsynced.clear();
        self.reports.clear();
        self.lives += 1;
        self.disk.push(Record::Opened {
            incarnation: Incarnation(self.lives),
            boot_id: format!("boot-{}", self.boots).parse().unwrap(),
        });
        self.feed(Event::Loaded(self.disk.clone()));
    }

    fn now(&self) -> Now {
        let wall = self.center().0 + self.wall_off;
        Now {
            boot: BootMs(self.up + self.time),
            wall: UnixMs(wall),
        }
    }

    fn center(&self) -> UnixMs {
        UnixMs(BEGIN + i64::try_from(self.time).unwrap())
    }

    fn until(&mut self, time: u64) {
        while let Some(wake) = self.wake.filter(|wake| wake.0 <= self.up + time) {
            self.time = self.time.max(wake.0.saturating_sub(self.up));
            self.wake = None;
            self.feed(Event::Wake);
        }
        self.time = time;
    }

    fn feed(&mut self, event: Event) {
        let effects = self.core.handle(self.now(), event);
        // What is carried out may be answered at once, by which the core wants to be woken at another time.
        let (wakes, others): (Vec<_>, Vec<_>) = effects
            .into_iter()
            .partition(|effect| matches!(effect, Effect::WakeAt(_)));
        for effect in wakes.into_iter().chain(others) {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Journal {
                ticket, records, ..
            } => self.append(ticket, records),
            Effect::Compact(records) => self.disk = records,
            Effect::Send { frame, .. } => self.sent(*frame),
            Effect::CloseLink { error, .. } => self.see(format!("close: {}", error.message)),
            Effect::Keeper(command) => self.told(*command),
            Effect::WakeAt(wake) => self.wake = wake,
            Effect::Warn(text) => self.see(format!("warn {text}")),
        }
    }

    fn append(&mut self, ticket: Ticket, records: Vec<Record>) {
        match self.disk_state {
            Disk::Fast => {
                self.disk.extend(records);
                self.feed(Event::Synced(ticket));
            }
            Disk::Slow => self.unsynced.push((ticket, records)),
            Disk::Full => self.feed(Event::NotWritten {
                ticket,
                records,
                reason: "no space".into(),
            }),
        }
    }

    fn see(&mut self, text: String) {
        let mut text = text;
        for (id, name) in &self.names {
            text = text.replace(id.as_str(), name);
        }
        self.seen.push(text);
    }

    fn name(&self, id: &RunId) -> String {
        self.names
            .get(id)
            .cloned()
            .unwrap_or_else(|| id.to_string())
    }

    fn names(&self, ids: &[RunId]) -> String {
        let mut names: Vec<String> = ids.iter().map(|id| self.name(id)).collect();
        names.sort();
        names.join(",")
    }

    fn sent(&mut self, frame: FromAgent) {
        match frame {
            FromAgent::Heartbeat(beat) if !self.mute => {
                let at = self.center();
                self.frame(ToAgent::HeartbeatAck(HeartbeatAck {
                    sent_boot_ms: beat.sent_boot_ms,
                    received_at: at,
                    sent_at: at,
                    epoch: Epoch(self.epoch),
                    lease: SessionLease {
                        length: Duration::from_secs(if self.lends { 15 } else { 0 }),
                    },
                }));
            }
            FromAgent::State(state) => self.see(self.show_state(&state)),
            FromAgent::Confirm(confirm) => self.see(self.show_confirm(&confirm)),
            FromAgent::Report(report) => {
                self.reports.push(report.seq);
                for event in report.events {
                    self.see(format!("report {}", self.show(event)));
                }
            }
            FromAgent::LogEnd(end) => {
                self.see(format!("log end: {}", end.error.unwrap_or_default()));
            }
            _ => {}
        }
    }

    fn show_state(&self, state: &State) -> String {
        let mut text = "state".to_owned();
        let armed: Vec<_> = state.armed.iter().map(|r| r.run_id.clone()).collect();
        let running: Vec<_> = state.running.iter().map(|r| r.run.run_id.clone()).collect();
        for (what, ids) in [
            ("armed", &armed),
            ("running", &running),
            ("ended", &state.ended),
        ] {
            if !ids.is_empty() {
                text = format!("{text} {what} {}", self.names(ids));
            }
        }
        if !state.assigned.is_empty() {
            text = format!("{text} daemons {}", state.assigned.len());
        }
        text
    }

    fn show_confirm(&self, confirm: &Confirm) -> String {
        let mut text = format!("confirm {}", confirm.seq);
        if !confirm.started.is_empty() {
            text = format!("{text} started {}", self.names(&confirm.started));
        }
        for refused in &confirm.refused {
            let name = self.name(&refused.run_id);
            text = format!("{text} refused {name} ({})", refused.reason);
        }
        text
    }

    fn show(&self, event: RunEvent) -> String {
        match event {
            RunEvent::Started { run, .. } => format!("{} started", self.name(&run.run_id)),
            RunEvent::AttemptEnded { run, .. } => format!("{} retries", self.name(&run.run_id)),
            RunEvent::Ended { run, ending } => {
                let name = self.name(&run.run_id);
                format!("{name} {}: {}", ending.outcome, ending.reason)
            }
            RunEvent::NotStarted { run_id, reason } => {
                format!("{} not started: {reason}", self.name(&run_id))
            }
            RunEvent::Slot(slot) => format!("slot {} {}", slot.slot, slot.state),
        }
    }

    fn told(&mut self, command: Command) {
        let text = match command {
            Command::Start(start) => {
                let mut text = format!("start {}", self.name(&start.run.run_id));
                if let Some(replaced) = &start.replaces {
                    text = format!("{text} replacing {}", self.name(replaced));
                }
                if let Some(end) = start.not_after {
                    let end = end.0 - self.up;
                    text = format!("{text} until {}", end / 1000);
                }
                text
            }
            Command::Stop { run_id, reason } => format!("stop {} ({reason})", self.name(&run_id)),
            Command::Kill { run_id, signal, .. } => format!("kill {} {signal}", self.name(&run_id)),
            Command::Assign(a) => format!("assign {} r{}", a.text.name, a.text.revision),
            Command::Withdraw { reason, .. } => format!("withdraw ({reason})"),
            Command::Restart { .. } => "restart".to_owned(),
            Command::Forget { run_id } => format!("forget {}", self.name(&run_id)),
            Command::ReadLog { run_id, .. } => format!("read {}", self.name(&run_id)),
            _ => return,
        };
        self.see(text);
    }

    fn frame(&mut self, frame: ToAgent) {
        let link = LinkId(self.link);
        let frame = Box::new(frame);
        self.feed(Event::Frame { link, frame });
    }

    fn keeper(&mut self, event: wire::Event) {
        self.feed(Event::Keeper(Box::new(event)));
    }

    fn order(&mut self, fill: impl FnOnce(&mut Order)) {
        let mut order = Order {
            seq: self.orders.last().map_or(1, |last| last.seq + 1),
            epoch: Epoch(self.epoch),
            texts: Vec::new(),
            cancel: Vec::new(),
            plan: Vec::new(),
            assign: Vec::new(),
            withdraw: Vec::new(),
            restart: Vec::new(),
            kill: Vec::new(),
        };
        fill(&mut order);
        self.orders.push(order.clone());
        self.frame(ToAgent::Order(order));
    }

    fn step(&mut self, words: &[&str]) {
        match words {
            ["wait"] => {}
            ["follow", name] => {
                let read = ReadLog {
                    stream: 1,
                    run_id: self.runs[*name].run_id.clone(),
                    attempt: None,
                    lines: None,
                    follow: true,
                    since: None,
                    place: None,
                };
                self.frame(ToAgent::ReadLog(read));
            }
            ["link", "up"] => self.link_up(),
            ["refused"] => self.feed(Event::Refused {
                reason: "a copy".to_owned(),
            }),
            ["link", "down"] => self.feed(Event::LinkDown {
                link: LinkId(self.link),
            }),
            ["center", "mute"] => self.mute = true,
            ["center", "speaks"] => self.mute = false,
            ["center", "lends", what] => self.lends = *what == "leases",
            ["epoch", epoch] => self.epoch = epoch.parse().unwrap(),
            ["wall", shift] => self.wall_off = shift.parse().unwrap(),
            ["disk", "slow"] => self.disk_state = Disk::Slow,
            ["disk", "full"] => self.disk_state = Disk::Full,
            ["disk", "fast"] => self.disk_fast(),
            ["crash" | "starts"] => self.begin(),
            ["dies"] => self.wake = None,
            ["journal", "is", "short"] => assert!(self.disk.len() < 1000, "{}", self.disk.len()),
            ["reboot"] => self.reboot(),
            ["plan", rest @ ..] => self.plan(rest),
            ["cancel", run, rest @ ..] => self.cancel(run, rest == ["stop"]),
            ["change", run] => self.change(run),
            ["kill", run] => self.kill(run),
            ["again"] => self.again(false),
            ["anew"] => self.again(true),
            ["ack"] => self.ack(),
            ["assign", name] => self.assign(name),
            ["withdraw", name] => self.withdraw(name),
            ["keeper", rest @ ..] => self.keeper_step(rest),
            other => panic!("unknown step {other:?}"),
        }
    }

    fn link_up(&mut self) {
        self.link += 1;
        self.orders.clear();
        let welcome = Welcome {
            protocol: 1,
            version: "1".into(),
            fleet: "f".into(),
            agent: None,
            epoch: Epoch(self.epoch),
            now: self.center(),
            centers: Vec::new(),
        };
        self.feed(Event::LinkUp {
            link: LinkId(self.link),
            welcome: Box::new(welcome),
            hello_sent: self.now().boot,
        });
    }

    fn disk_fast(&mut self) {
        self.disk_state = Disk::Fast;
        for (ticket, records) in std::mem::take(&mut self.unsynced) {
            self.append(ticket, records);
        }
    }

    fn reboot(&mut self) {
        self.boots += 1;
        self.up = 20_000u64.saturating_sub(self.time);
        self.begin();
    }

    fn run(&mut self, name: &str, task: &str, at: u64) -> RunRef {
        let run = RunRef {
            run_id: RunId::hash(name.as_bytes()),
            task: task_id(task),
            revision: Revision(1),
            slot: Slot(0),
            cause: Cause::Rule,
            scheduled_at: UnixMs(BEGIN + i64::try_from(at).unwrap()),
            delay: Duration::ZERO,
        };
        self.names.insert(run.run_id.clone(), name.to_owned());
        self.runs.insert(name.to_owned(), run.clone());
        run
    }

    /// `plan RUN TASK AT [before T]`; the task is named by its overlap, or is `one`.
    fn plan(&mut self, words: &[&str]) {
        let [name, task, at, rest @ ..] = words else {
            panic!("plan RUN TASK AT [before T]");
        };
        let run = self.run(name, task, millis(at));
        let before = match rest {
            ["before", time] => UnixMs(BEGIN + i64::try_from(millis(time)).unwrap()),
            _ => run.scheduled_at.plus(Duration::from_mins(1)),
        };
        let text = text(task, 1);
        self.order(|order| {
            order.texts = vec![text];
            order.plan = vec![PlannedRun {
                run,
                start_before: before,
                catch_up: false,
            }];
        });
    }

    /// One frame that cancels the run and arms it in the next revision.
    fn change(&mut self, name: &str) {
        let mut run = self.runs[name].clone();
        run.revision = run.revision.next();
        let text = TaskText {
            revision: run.revision,
            ..text("skip", 1)
        };
        let cancel = cancel(&run.run_id, false);
        self.order(|order| {
            order.texts = vec![text];
            order.cancel = vec![cancel];
            order.plan = vec![PlannedRun {
                start_before: run.scheduled_at.plus(Duration::from_mins(1)),
                catch_up: false,
                run,
            }];
        });
    }

    fn cancel(&mut self, name: &str, stop: bool) {
        let cancel = cancel(&RunId::hash(name.as_bytes()), stop);
        self.order(|order| order.cancel = vec![cancel]);
    }

    fn kill(&mut self, name: &str) {
        let kill = Kill {
            run_id: RunId::hash(name.as_bytes()),
            signal: None,
            reason: "killed by admin".into(),
        };
        self.order(|order| order.kill = vec![kill]);
    }

    fn again(&mut self, anew: bool) {
        let mut order = self.orders.last().expect("an order before").clone();
        if anew {
            order.seq += 1;
            self.orders.push(order.clone());
        }
        self.frame(ToAgent::Order(order));
    }

    fn ack(&mut self) {
        for seq in std::mem::take(&mut self.reports) {
            self.frame(ToAgent::Acknowledge(Acknowledge { seq }));
        }
    }

    fn assign(&mut self, name: &str) {
        let mut text = text(name, 1);
        text.work.daemon = true;
        self.order(|order| {
            order.assign = vec![HeldAssignment {
                task: text.task.clone(),
                revision: text.revision,
            }];
            order.texts = vec![text];
        });
    }

    fn withdraw(&mut self, name: &str) {
        let withdraw = Withdraw {
            finish: false,
            task: task_id(name),
            reason: "stopped by admin".into(),
        };
        self.order(|order| order.withdraw = vec![withdraw]);
    }

    fn keeper_step(&mut self, words: &[&str]) {
        let at = self.center();
        match words {
            ["up"] => self.feed(Event::KeeperUp),
            ["down"] => self.feed(Event::KeeperDown {
                reason: "killed".into(),
            }),
            ["ready"] => {
                self.feed(Event::KeeperUp);
                self.keeper(wire::Event::SetEnd);
            }
            ["set", "end"] => self.keeper(wire::Event::SetEnd),
            ["has", name] => self.keeper(wire::Event::Assigned {
                task: task_id(name),
                revision: Revision(1),
            }),
            ["knows", name, "running"] => {
                let run = self.runs[*name].clone();
                let state = RunState::Running {
                    attempt: 1,
                    pid: 7,
                    started_at: at,
                };
                self.keeper(wire::Event::Known { run, state });
            }
            ["knows", name, "ended"] => {
                let run = self.runs[*name].clone();
                let state = RunState::Ended(Box::new(succeeded(at)));
                self.keeper(wire::Event::Known { run, state });
            }
            ["started", name] => self.keeper(wire::Event::Started {
                run: self.runs[*name].clone(),
                attempt: 1,
                pid: 7,
                started_at: at,
            }),
            ["retries", name] => self.keeper(wire::Event::AttemptEnded {
                run: self.runs[*name].clone(),
                ending: succeeded(at),
                next_at: at,
            }),
            ["ended", name] => self.keeper(wire::Event::Ended {
                run: self.runs[*name].clone(),
                ending: succeeded(at),
            }),
            ["refuses", name] => self.keeper(wire::Event::NotStarted {
                run_id: self.runs[*name].run_id.clone(),
                reason: "the lease was over".into(),
            }),
            other => panic!("unknown keeper step {other:?}"),
        }
    }
}

fn cancel(run_id: &RunId, stop: bool) -> Cancel {
    Cancel {
        run_id: run_id.clone(),
        stop,
        reason: "stopped by admin".into(),
    }
}

fn succeeded(at: UnixMs) -> Ending {
    Ending {
        attempt: 1,
        exit_code: Some(0),
        started_at: Some(at),
        ..Ending::unstarted(Outcome::Succeeded, "exit 0", at)
    }
}

fn task_id(name: &str) -> TaskId {
    RunId::hash(name.as_bytes()).as_str().parse().unwrap()
}

fn text(name: &str, revision: u32) -> TaskText {
    let user = UserName::parse("nobody").unwrap();
    let mut work = Work::new(Execute::Vector(vec!["true".into()]), user);
    work.overlap = match name {
        "queue" => Overlap::Queue,
        "replace" => Overlap::Replace,
        "allow" => Overlap::Allow,
        _ => Overlap::Skip,
    };
    TaskText {
        task: task_id(name),
        revision: Revision(revision),
        group: GroupName::parse("g").unwrap(),
        name: TaskName::parse(name)
            .or_else(|_| TaskName::parse("single"))
            .unwrap(),
        one: name == "one",
        work,
    }
}
