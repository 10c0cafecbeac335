//! Output of runs: opened, followed from run to run, searched.

use crossterm::event::{KeyCode, KeyEvent};

use super::Effect;
use crate::cli::fault::Fault;
use crate::model::{RunId, TaskPath, UnixMs};
use crate::proto::request::{Change, LogRead};
use crate::proto::view::LogView;
use crate::tui::keys::Action;
use crate::tui::state::{Field, Grade, LogPane, Overlay, State, Thing, path_of};

/// Lines read of what was written before.
const LINES: u64 = 500;

fn read(of: String, follow: bool) -> LogRead {
    LogRead {
        of,
        attempt: None,
        agent: None,
        lines: Some(LINES),
        follow,
        since: None,
        after: Vec::new(),
    }
}

fn pane(state: &mut State) -> Option<&mut LogPane> {
    state
        .overlays
        .iter_mut()
        .rev()
        .find_map(|overlay| match overlay {
            Overlay::Log(pane) => Some(pane.as_mut()),
            _ => None,
        })
}

/// Opens the output of what is selected.
pub(super) fn open(state: &mut State, now: UnixMs) -> Vec<Effect> {
    let Some(thing) = state.current() else {
        state.say(now, Grade::Trouble, "logs: select a task or a run first");
        return Vec::new();
    };
    let run = match &thing {
        Thing::Run(id) => Some(id.clone()),
        Thing::Process(key) => key.run_id.clone(),
        Thing::Failures(key) => last_failure(state, key),
        Thing::Event(cursor) => {
            let event = state
                .fleet
                .events
                .iter()
                .find(|event| event.cursor == *cursor);
            event.and_then(|event| event.run_id.clone())
        }
        _ => None,
    };
    let task = state
        .task_of(&thing)
        .map(|task| (task.id.to_string(), path_of(task)));
    match (run, task) {
        (Some(run), task) => {
            let of = task.map_or_else(String::new, |(_, path)| format!(" of {path}"));
            let title = format!("run {}{of}", run.short());
            open_pane(state, title, None, run.to_string())
        }
        (None, Some((id, path))) => open_pane(state, path.to_string(), Some(&path), id),
        (None, None) => {
            state.say(now, Grade::Trouble, "logs: select a task or a run first");
            Vec::new()
        }
    }
}

fn last_failure(state: &State, key: &crate::tui::state::CauseKey) -> Option<RunId> {
    let failures = state.fleet.failures();
    let found = failures.into_iter().find(|failures| failures.key == *key);
    found.map(|failures| failures.last_run)
}

/// Opens the output of what a command names.
pub(super) fn open_pane(
    state: &mut State,
    title: String,
    task: Option<&TaskPath>,
    of: String,
) -> Vec<Effect> {
    let stream = state.number();
    let mut pane = LogPane::new(stream, title, task.cloned());
    if let Some(path) = task {
        let live = state.fleet.processes_of(path);
        pane.runs = live.filter_map(|process| process.run_id.clone()).collect();
        let ended = state.fleet.runs_of(path);
        pane.runs.extend(ended.map(|run| run.run_id.clone()));
    }
    pane.open = 1;
    pane.of.clone_from(&of);
    state.overlays.push(Overlay::Log(Box::new(pane)));
    vec![Effect::OpenLog(stream, Box::new(read(of, true)))]
}

/// The center is back: what broke is read anew.
pub(super) fn reopen(state: &mut State) -> Option<Effect> {
    let pane = pane(state).filter(|pane| pane.is_broken)?;
    pane.restart();
    let read = read(pane.of.clone(), true);
    Some(Effect::OpenLog(pane.stream, Box::new(read)))
}

/// A task's output goes on with its next run.
pub(super) fn follow(state: &mut State, change: &Change) -> Vec<Effect> {
    let is_snapshot = state.incoming.is_some();
    let Some(pane) = pane(state) else {
        return Vec::new();
    };
    let (task, run, place) = match change {
        Change::Process(process) => (
            &process.task,
            process.run_id.clone().filter(|_| process.pid.is_some()),
            format!("{}/{}", process.agent, process.slot),
        ),
        Change::Run(run) => {
            let outcome = run.outcome.map_or("is open", crate::model::Outcome::as_str);
            let reason = crate::tui::text::line(&run.reason);
            let colon = if reason.is_empty() { "" } else { ": " };
            let ended = format!("{outcome}{colon}{reason}");
            let is_known = pane.runs.contains(&run.run_id);
            if is_known || (run.started_at.is_none() && pane.task.as_ref() == Some(&run.task)) {
                pane.remark(&format!("run {} {ended}", run.run_id.short()));
            }
            let agent = run.agent.as_ref().map_or("", |agent| agent.as_str());
            (
                &run.task,
                run.started_at.map(|_| run.run_id.clone()),
                format!("{agent}/{}: {ended}", run.slot),
            )
        }
        _ => return Vec::new(),
    };
    match run {
        Some(run) if pane.task.as_ref() == Some(task) && !pane.runs.contains(&run) => {
            pane.runs.push(run.clone());
            if is_snapshot {
                return Vec::new();
            }
            pane.remark(&format!("run {} on {place}", run.short()));
            // A daemon's output goes on with its next process by itself.
            if matches!(change, Change::Process(process) if process.daemon) && pane.open > 0 {
                return Vec::new();
            }
            pane.open += 1;
            vec![Effect::OpenLog(
                pane.stream,
                Box::new(read(run.to_string(), true)),
            )]
        }
        _ => Vec::new(),
    }
}

/// Output has come.
pub(super) fn take(state: &mut State, stream: u64, chunk: &LogView) {
    if let Some(pane) = pane(state).filter(|pane| pane.stream == stream) {
        pane.take(chunk);
    }
}

/// A stream is over.
pub(super) fn over(state: &mut State, stream: u64, fault: Option<&Fault>) {
    let Some(pane) = pane(state).filter(|pane| pane.stream == stream) else {
        return;
    };
    pane.open = pane.open.saturating_sub(1);
    match fault {
        Some(fault) => pane.end(&crate::tui::text::line(&fault.message)),
        None if pane.open == 0 => pane.finish(),
        None => {}
    }
}

/// A key of the output's own.
pub(super) fn act(state: &mut State, now: UnixMs, action: Action) {
    let height = state.page();
    let Some(pane) = pane(state) else {
        return;
    };
    match action {
        Action::Search => pane.prompt = Some(Field::new("")),
        Action::Follow => {
            pane.top = pane.first_shown(height);
            pane.is_following = !pane.is_following;
        }
        _ => {
            if !pane.search_on(action == Action::SearchNext, height) {
                let text = match pane.search.as_str() {
                    "" => "nothing is searched for yet; / searches".to_owned(),
                    search => format!("no line has `{search}`"),
                };
                state.say(now, Grade::Trouble, &text);
            }
        }
    }
}

/// A key while what to search for is typed.
pub(super) fn search(state: &mut State, now: UnixMs, key: KeyEvent) -> Vec<Effect> {
    let Some(pane) = pane(state) else {
        return Vec::new();
    };
    match (key.code, pane.prompt.as_mut()) {
        (KeyCode::Esc, _) => pane.prompt = None,
        (KeyCode::Enter, Some(field)) => {
            pane.search = field.text();
            pane.prompt = None;
            act(state, now, Action::SearchNext);
        }
        (_, Some(field)) => drop(field.key(key)),
        (_, None) => {}
    }
    Vec::new()
}
