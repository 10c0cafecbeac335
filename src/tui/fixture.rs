//! A fixed fleet for tests: every part of the overview has rows, names are wide and long, texts are hostile.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::state::{Link, State};
use super::update::{Effect, Input, update};
use crate::model::{
    AgentState, Cause, ConditionKind, Epoch, Execute, Outcome, Revision, RunId, Slot, TaskSpec,
    UnixMs, UserName, Work,
};
use crate::proto::request::Change;
use crate::proto::view::{
    AgentCounts, AgentView, ConditionView, EventView, FreezeView, GroupView, Lateness, ProcessView,
    RunView, StatusView, TaskCounts, TaskView,
};
use crate::rule::{Rule, Zone};

/// 2026-11-22T16:50:00Z.
pub const NOW: UnixMs = UnixMs(1_795_366_200_000);

/// Text as a hostile job or peer would write it.
pub const HOSTILE: &str = "exit\u{1b}[2J\u{1b}]0;owned\u{7} code\n 3 \u{202e}备份\u{0}";

/// A task; its id comes from its name.
pub fn task(group: &str, name: &str, rule: &str) -> TaskView {
    let command = Execute::Shell(format!("/opt/{name} --all"));
    let work = Work::new(command, UserName::parse("www-data").unwrap());
    let id = RunId::hash(format!("{group}/{name}").as_bytes()).to_string();
    TaskView {
        id: id.parse().unwrap(),
        group: group.parse().unwrap(),
        task_name: name.parse().unwrap(),
        revision: Revision(3),
        enabled: true,
        spec: TaskSpec::new(Rule::parse(rule).unwrap(), work),
        zone: Zone::utc(),
        next_at: None,
        last_run: None,
        recent: Vec::new(),
        running: 0,
        saved_at: UnixMs(NOW.0 - 7_200_000),
        changed_by: "admin".parse().unwrap(),
        changed_at: UnixMs(NOW.0 - 7_200_000),
    }
}

/// A run that ended so many seconds ago.
pub fn run(task: &str, agent: &str, ago: i64, outcome: Outcome, reason: &str) -> RunView {
    let at = UnixMs(NOW.0 - ago * 1000);
    RunView {
        run_id: RunId::hash(format!("{task}{agent}{ago}").as_bytes()),
        task: task.parse().unwrap(),
        group: task.split('/').next().unwrap().parse().unwrap(),
        agent: Some(agent.parse().unwrap()),
        slot: Slot(0),
        attempt: 1,
        cause: Cause::Rule,
        scheduled_at: UnixMs(at.0 - 2000),
        started_at: Some(UnixMs(at.0 - 1997)),
        finished_at: Some(at),
        late_ms: Some(3),
        outcome: Some(outcome),
        reason: reason.to_owned(),
        exit_code: Some(3),
        signal: None,
        pid: Some(4711),
        output_bytes: Some(12),
        output_gap: None,
        output_cut: None,
        peak_memory_bytes: Some(9 << 20),
        cpu_ms: Some(31),
        revision: Revision(3),
        tail: Some(format!("one\n{HOSTILE}\nlast")),
        span: None,
    }
}

/// A process that began so many seconds ago.
pub fn process(task: &str, agent: &str, slot: u16, ago: i64, daemon: bool) -> ProcessView {
    ProcessView {
        run_id: Some(RunId::hash(format!("{task}{agent}{slot}").as_bytes())),
        task: task.parse().unwrap(),
        group: task.split('/').next().unwrap().parse().unwrap(),
        agent: agent.parse().unwrap(),
        slot: Slot(slot),
        pid: Some(4000 + i32::from(slot)),
        state: "running".to_owned(),
        started_at: Some(UnixMs(NOW.0 - ago * 1000)),
        since: None,
        next_at: None,
        reason: String::new(),
        restarts: if daemon { 2 } else { 0 },
        daemon,
        revision: Revision(3),
    }
}

fn agent(name: &str, groups: &[&str], state: AgentState) -> AgentView {
    AgentView {
        name: name.parse().unwrap(),
        groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
        state,
        version: Some(HOSTILE.to_owned()),
        running: 2,
        skew_ms: Some(-2),
        last_seen_at: Some(UnixMs(NOW.0 - 1000)),
        address: Some("10.0.0.1:40000".to_owned()),
    }
}

fn group(name: &str, agents: &[&str], tasks: u64) -> GroupView {
    GroupView {
        name: name.parse().unwrap(),
        agents: agents.iter().map(|agent| agent.parse().unwrap()).collect(),
        tasks,
        run_users: None,
        frozen_until: None,
        frozen: None,
    }
}

/// The fleet at a glance.
pub fn status() -> StatusView {
    StatusView {
        center: "10.0.0.9:9502".to_owned(),
        role: "leader".to_owned(),
        epoch: Epoch(2),
        centers: vec!["10.0.0.9:9502".to_owned()],
        standbys: Vec::new(),
        lease_age_ms: None,
        version: "0.1.0".to_owned(),
        now: NOW,
        timezone: Zone::utc(),
        agents: AgentCounts {
            online: 2,
            offline: 1,
            draining: 1,
        },
        tasks: TaskCounts {
            enabled: 5,
            stopped: 1,
        },
        running: 4,
        lateness_ms: Lateness {
            p50: Some(1),
            p99: Some(4),
            max: Some(9),
        },
        problems: vec![format!("agent b2 is offline since 16:40 {HOSTILE}")],
        conditions: vec![condition("web/probe", ConditionKind::Failed)],
        freezes: vec![FreezeView {
            group: "db".parse().unwrap(),
            from: UnixMs(NOW.0 - 60_000),
            until: UnixMs(NOW.0 + 3_600_000),
            by: "admin".parse().unwrap(),
            reason: HOSTILE.to_owned(),
        }],
    }
}

/// Something wrong with a task.
pub fn condition(task: &str, condition: ConditionKind) -> ConditionView {
    ConditionView {
        condition,
        task: Some(task.parse().unwrap()),
        agent: None,
        agents: vec!["a1".parse().unwrap()],
        began_at: UnixMs(NOW.0 - 300_000),
        reason: HOSTILE.to_owned(),
        text: format!("task {task} {condition} on a1: {HOSTILE}"),
    }
}

/// An event.
pub fn event(number: u32) -> EventView {
    EventView {
        cursor: format!("2-{number}"),
        at: UnixMs(NOW.0 - 1000 * i64::from(number)),
        event: "run_ended".to_owned(),
        task: Some("web/probe".parse().unwrap()),
        agent: Some("a1".parse().unwrap()),
        run_id: Some(run("web/probe", "a1", 5, Outcome::Failed, "").run_id),
        slot: Some(Slot(0)),
        outcome: Some(Outcome::Failed),
        late_ms: Some(3),
        condition: None,
        operator: None,
        reason: HOSTILE.to_owned(),
    }
}

fn tasks() -> Vec<TaskView> {
    let mut probe = task("web", "probe", "*/5 * * * *");
    probe.next_at = Some(UnixMs(NOW.0 + 300_000));
    probe.recent = vec![Outcome::Succeeded, Outcome::Failed, Outcome::Failed];
    probe.last_run = Some(run("web/probe", "a1", 5, Outcome::Failed, HOSTILE));
    let mut long = task("production-west", "abcdefghijklmnopqrstuvwx", "@every 10s");
    long.next_at = Some(UnixMs(NOW.0 + 7_000));
    long.recent = Outcome::ALL.repeat(2);
    long.last_run = Some(run(
        "production-west/abcdefghijklmnopqrstuvwx",
        "b2",
        3,
        Outcome::Succeeded,
        "",
    ));
    let mut wide = task("web", "备份数据库每天晚上", "30 3 * * *");
    wide.next_at = Some(UnixMs(NOW.0 + 90_000_000));
    let mut stopped = task("db", "dump", "0 4 * * *");
    stopped.enabled = false;
    stopped.recent = vec![Outcome::Succeeded; 20];
    stopped.spec.note = Some(HOSTILE.to_owned());
    let mut worker = task("web", "worker", "@always");
    worker.spec.work.daemon = true;
    worker.spec.work.processes = 2;
    worker.running = 2;
    let mut report = task("db", "report", "@hourly");
    report.next_at = Some(UnixMs(NOW.0 + 600_000));
    report.running = 1;
    vec![probe, long, wide, stopped, worker, report]
}

fn runs() -> Vec<RunView> {
    let mut runs = Vec::new();
    for ago in [5, 305, 605] {
        runs.push(run("web/probe", "a1", ago, Outcome::Failed, HOSTILE));
    }
    runs.push(run(
        "web/probe",
        "a2",
        40,
        Outcome::TimedOut,
        "longer than 30s",
    ));
    runs.push(run(
        "production-west/abcdefghijklmnopqrstuvwx",
        "b2",
        3,
        Outcome::Succeeded,
        "exited with code 0",
    ));
    runs.push(run(
        "db/dump",
        "a1",
        100_000,
        Outcome::Missed,
        "agent was down",
    ));
    runs.push(run(
        "db/dump",
        "a1",
        60,
        Outcome::Lost,
        "the host was booted",
    ));
    runs
}

/// What a center tells of the fleet.
pub fn changes() -> Vec<Change> {
    let mut changes = vec![
        Change::Group(GroupView {
            frozen_until: Some(UnixMs(NOW.0 + 3_600_000)),
            frozen: Some(format!("by admin: {HOSTILE}")),
            ..group("db", &["a1"], 2)
        }),
        Change::Group(group("production-west", &["b2", "c3"], 1)),
        Change::Group(group("web", &["a1", "a2"], 3)),
        Change::Agent(agent("a1", &["web", "db"], AgentState::Online)),
        Change::Agent(agent("a2", &["web"], AgentState::Draining)),
        Change::Agent(agent("b2", &["production-west"], AgentState::Offline)),
        Change::Agent(agent("宿主机", &["production-west"], AgentState::Online)),
    ];
    changes.extend(tasks().into_iter().map(|task| Change::Task(Box::new(task))));
    let mut failing = process("web/worker", "a2", 1, 4, true);
    failing.state = "backoff".to_owned();
    failing.pid = None;
    failing.started_at = None;
    failing.since = Some(UnixMs(NOW.0 - 4000));
    failing.next_at = Some(UnixMs(NOW.0 + 3000));
    failing.reason = "exited with code 7 (2 failed starts in a row)".to_owned();
    changes.push(Change::Process(process("web/worker", "a1", 0, 9000, true)));
    changes.push(Change::Process(failing));
    changes.push(Change::Process(process("db/report", "a1", 0, 65, false)));
    changes.push(Change::Status(Box::new(status())));
    changes.push(Change::Complete);
    changes.extend(runs().into_iter().map(|run| Change::Run(Box::new(run))));
    changes
}

/// The dashboard with that fleet, on a terminal of this size.
pub fn state(width: u16, height: u16) -> State {
    let mut state = State::new((width, height), Zone::utc());
    for change in changes() {
        update(&mut state, NOW, Input::Change(Box::new(change)));
    }
    assert_eq!(state.link, Link::Live);
    state.asked.clear();
    for number in [3, 2, 1] {
        update(&mut state, NOW, Input::Event(Box::new(event(number))));
    }
    state
}

/// The key of a name (`Enter`, `Esc`, `Tab`, `C-s`, `Up`, `Space` …), or of a character.
pub fn key(name: &str) -> KeyEvent {
    let code = match name {
        "Enter" => KeyCode::Enter,
        "Esc" => KeyCode::Esc,
        "Tab" => KeyCode::Tab,
        "BackTab" => KeyCode::BackTab,
        "Up" => KeyCode::Up,
        "Down" => KeyCode::Down,
        "Left" => KeyCode::Left,
        "Right" => KeyCode::Right,
        "PgDn" => KeyCode::PageDown,
        "PgUp" => KeyCode::PageUp,
        "Backspace" => KeyCode::Backspace,
        "Space" => KeyCode::Char(' '),
        control if control.starts_with("C-") => {
            let c = control.chars().nth(2).unwrap();
            return KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL);
        }
        character => {
            assert_eq!(character.chars().count(), 1, "`{character}` is no key");
            KeyCode::Char(character.chars().next().unwrap())
        }
    };
    KeyEvent::new(code, KeyModifiers::NONE)
}

/// Presses keys one after the other; what the outside must do of the last one.
pub fn press(state: &mut State, keys: &[&str]) -> Vec<Effect> {
    let mut effects = Vec::new();
    for name in keys {
        effects = update(state, NOW, Input::Key(key(name)));
    }
    effects
}

/// Types a text.
pub fn type_in(state: &mut State, text: &str) {
    for c in text.chars() {
        let c = c.to_string();
        press(state, &[if c == " " { "Space" } else { &c }]);
    }
}
