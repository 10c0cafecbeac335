//! What a frame of the dashboard costs in a large fleet: 5,000 tasks on 200 agents, beside the pause between two
//! frames. Nothing is started; state, update and view are pure.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a benchmark prints, reads the clock, and ends at the first thing that fails"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ucron::model::{
    AgentState, Cause, Epoch, Execute, Outcome, Revision, RunId, Slot, TaskSpec, UnixMs, Work,
};
use ucron::proto::request::Change;
use ucron::proto::view::{
    AgentCounts, AgentView, GroupView, Lateness, ProcessView, RunView, StatusView, TaskCounts,
    TaskView,
};
use ucron::rule::{Rule, Zone};
use ucron::tui::state::State;
use ucron::tui::update::{Input, update};
use ucron::tui::view::{Theme, draw};

/// 2026-11-22T16:50:00Z.
const NOW: UnixMs = UnixMs(1_795_366_200_000);
const TASKS: i64 = 5_000;
const AGENTS: i64 = 200;
const GROUPS: i64 = 20;
/// Runs that have ended, as many as are kept.
const RUNS: i64 = 2_000;
/// Frames of each measurement; the median counts.
const FRAMES: usize = 101;
/// The pause between two frames that no key asked for.
const PAUSE: Duration = Duration::from_millis(100);

fn main() {
    let mut state = State::new((200, 50), Zone::utc());
    let begun = Instant::now();
    for change in changes() {
        update(&mut state, NOW, Input::Change(Box::new(change)));
    }
    println!(
        "{TASKS} tasks, {AGENTS} agents, {RUNS} ended runs: taken in within {:?}",
        begun.elapsed()
    );
    for (view, name) in [
        ('1', "overview"),
        ('2', "tasks"),
        ('3', "runs"),
        ('5', "failures"),
    ] {
        press(&mut state, view);
        measure(
            &mut state,
            &format!("{name}, a task changed"),
            |state, at| {
                let changed = Change::Task(Box::new(task(i64::try_from(at).unwrap() % TASKS)));
                update(state, NOW, Input::Change(Box::new(changed)));
            },
        );
        measure(
            &mut state,
            &format!("{name}, nothing changed"),
            |state, _| {
                update(state, NOW, Input::Tick);
            },
        );
        measure(&mut state, &format!("{name}, down one row"), |state, _| {
            press(state, 'j');
        });
    }
    press(&mut state, '2');
    measure(&mut state, "tasks, a letter of the filter", |state, at| {
        press(state, if at % 2 == 0 { '/' } else { '7' });
    });
}

fn press(state: &mut State, key: char) {
    let key = KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE);
    update(state, NOW, Input::Key(key));
}

/// Input and frame together, the median of many, and what part of the pause it is.
fn measure(state: &mut State, what: &str, mut input: impl FnMut(&mut State, usize)) {
    let (width, height) = state.size;
    let mut spent: Vec<Duration> = (0..FRAMES)
        .map(|at| {
            let begun = Instant::now();
            input(state, at);
            let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
            draw(state, NOW, Theme { has_colors: true }, &mut buffer);
            black_box(&buffer);
            begun.elapsed()
        })
        .collect();
    spent.sort();
    let median = spent[FRAMES / 2];
    let part = 100.0 * median.as_secs_f64() / PAUSE.as_secs_f64();
    println!(
        "{what:<32} {:>8.2} ms a frame, {part:>5.1} % of the pause",
        median.as_secs_f64() * 1e3
    );
}

fn group(number: i64) -> String {
    format!("group-{:02}", number % GROUPS)
}

fn agent(number: i64) -> String {
    format!("host-{:03}", number % AGENTS)
}

fn path(number: i64) -> String {
    format!("{}/task-{number:04}", group(number))
}

fn changes() -> impl Iterator<Item = Change> {
    let groups = (0..GROUPS).map(|number| {
        let agents = (0..AGENTS).filter(move |agent| agent % GROUPS == number);
        Change::Group(GroupView {
            name: group(number).parse().unwrap(),
            agents: agents.map(|at| agent(at).parse().unwrap()).collect(),
            tasks: u64::try_from(TASKS / GROUPS).unwrap(),
            run_users: None,
            frozen_until: None,
            frozen: None,
        })
    });
    let agents = (0..AGENTS).map(|number| {
        Change::Agent(AgentView {
            name: agent(number).parse().unwrap(),
            groups: [group(number).parse().unwrap()].into(),
            state: AgentState::Online,
            version: Some("0.1.0".to_owned()),
            running: 3,
            skew_ms: Some(1),
            last_seen_at: Some(NOW),
            address: Some("10.0.0.1:40000".to_owned()),
        })
    });
    let status = std::iter::once(Change::Status(Box::new(status())));
    let tasks = (0..TASKS).map(|number| Change::Task(Box::new(task(number))));
    let processes = (0..AGENTS * 3).map(|number| Change::Process(process(number)));
    let runs = (0..RUNS).map(|number| Change::Run(Box::new(run(number))));
    status
        .chain(groups)
        .chain(agents)
        .chain(tasks)
        .chain(processes)
        .chain(std::iter::once(Change::Complete))
        .chain(runs)
}

fn status() -> StatusView {
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
            online: AGENTS.try_into().unwrap(),
            offline: 0,
            draining: 0,
        },
        tasks: TaskCounts {
            enabled: TASKS.try_into().unwrap(),
            stopped: 0,
        },
        running: 600,
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

fn task(number: i64) -> TaskView {
    let command = Execute::Shell(format!("/opt/{number} --all"));
    let work = Work::new(command, "www-data".parse().unwrap());
    let id = RunId::hash(path(number).as_bytes()).to_string();
    TaskView {
        id: id.parse().unwrap(),
        group: group(number).parse().unwrap(),
        task_name: format!("task-{number:04}").parse().unwrap(),
        revision: Revision(1),
        enabled: true,
        spec: TaskSpec::new(Rule::parse("*/5 * * * *").unwrap(), work),
        zone: Zone::utc(),
        next_at: Some(UnixMs(NOW.0 + 1000 * (number % 300))),
        last_run: Some(run(number)),
        recent: vec![Outcome::Succeeded; 20],
        running: 0,
        saved_at: NOW,
        changed_by: "admin".parse().unwrap(),
        changed_at: NOW,
    }
}

fn process(number: i64) -> ProcessView {
    ProcessView {
        run_id: Some(RunId::hash(format!("process {number}").as_bytes())),
        task: path(number).parse().unwrap(),
        group: group(number).parse().unwrap(),
        agent: agent(number).parse().unwrap(),
        slot: Slot(0),
        pid: Some(4000 + i32::try_from(number).unwrap()),
        state: "running".to_owned(),
        started_at: Some(UnixMs(NOW.0 - number)),
        since: None,
        next_at: None,
        reason: String::new(),
        restarts: 0,
        daemon: number % 3 == 0,
        revision: Revision(1),
    }
}

fn run(number: i64) -> RunView {
    let at = UnixMs(NOW.0 - number * 1000);
    let is_good = number % 10 > 0;
    RunView {
        run_id: RunId::hash(format!("run {number}").as_bytes()),
        task: path(number).parse().unwrap(),
        group: group(number).parse().unwrap(),
        agent: Some(agent(number).parse().unwrap()),
        slot: Slot(0),
        attempt: 1,
        cause: Cause::Rule,
        scheduled_at: UnixMs(at.0 - 2000),
        started_at: Some(UnixMs(at.0 - 1997)),
        finished_at: Some(at),
        late_ms: Some(3),
        outcome: Some(if is_good {
            Outcome::Succeeded
        } else {
            Outcome::Failed
        }),
        reason: format!("exited with code {}", i32::from(!is_good)),
        exit_code: Some(i32::from(!is_good)),
        signal: None,
        pid: Some(4711),
        output_bytes: Some(12),
        output_gap: None,
        output_cut: None,
        peak_memory_bytes: None,
        cpu_ms: None,
        revision: Revision(1),
        tail: None,
        span: None,
    }
}
