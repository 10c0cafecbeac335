//! Deeds: what each key would hit, the questions before what is destructive, the requests.

use std::collections::BTreeSet;

use super::{Effect, ask};
use crate::cli::print::time;
use crate::model::{AgentName, GroupName, UnixMs};
use crate::proto::request::{Changed, Request, RunKill, TaskRemove, TaskRun, TaskStart, TaskStop};
use crate::proto::view::{ProcessView, TaskView};
use crate::tui::keys::{self, Action};
use crate::tui::state::{
    Asked, Batch, Choice, Confirm, Deed, Form, Grade, Overlay, State, Thing, path_of, target,
};

const STOPPED: Deed = Deed {
    done: "stopped",
    already: "is stopped already",
};
const STARTED: Deed = Deed {
    done: "started",
    already: "is on already",
};
const DELETED: Deed = Deed {
    done: "deleted",
    already: "is deleted already",
};
const KILLED: Deed = Deed {
    done: "killed",
    already: "has ended already",
};
const RUNNING: Deed = Deed {
    done: "runs now",
    already: "has no agent to run it",
};

/// Sends the requests of one deed.
pub(super) fn send(state: &mut State, deed: Deed, requests: Vec<(String, Request)>) -> Vec<Effect> {
    let batch = state.number();
    let entry = Batch {
        deed,
        sent: requests.len(),
        done: Vec::new(),
        already: Vec::new(),
        refused: Vec::new(),
        hit: Changed::default(),
        started: 0,
    };
    state.batches.insert(batch, entry);
    requests
        .into_iter()
        .map(|(name, request)| ask(state, Asked::Deed(batch, name), request))
        .collect()
}

/// The tasks a deed is for, each by its name and what the center is told; none where nothing fits.
fn tasks(state: &mut State, now: UnixMs, verb: &str) -> Vec<TaskView> {
    let tasks: Vec<TaskView> = state.target_tasks().into_iter().cloned().collect();
    if tasks.is_empty() {
        state.say(
            now,
            Grade::Trouble,
            &format!("{verb}: select a task first (view 2 lists them)"),
        );
    }
    tasks
}

fn requests(tasks: &[TaskView], request: impl Fn(String) -> Request) -> Vec<(String, Request)> {
    tasks
        .iter()
        .map(|task| (path_of(task).to_string(), request(task.id.to_string())))
        .collect()
}

/// Opens the form.
pub(super) fn write(state: &mut State, now: UnixMs, action: Action) {
    let form = if action == Action::Add {
        let group = group_at(state);
        Form::add(group.as_ref())
    } else {
        let task = state
            .current()
            .and_then(|thing| state.task_of(&thing).cloned());
        let Some(task) = task else {
            state.say(
                now,
                Grade::Trouble,
                "edit: select a task first (view 2 lists them)",
            );
            return;
        };
        Form::edit(&task)
    };
    state.overlays.push(Overlay::Form(Box::new(form)));
}

/// The group that a new task most likely belongs to: that of what is selected, or the only one.
fn group_at(state: &State) -> Option<GroupName> {
    // A row that nobody chose says nothing.
    let is_page = |overlay: &Overlay| matches!(overlay, Overlay::Detail(_) | Overlay::Why(_));
    let is_chosen =
        state.overlays.iter().any(is_page) || state.selections.contains_key(&state.screen);
    let chosen = state.current().filter(|_| is_chosen);
    let selected = chosen.and_then(|thing| match &thing {
        Thing::Group(name) => Some(name.clone()),
        thing => state.task_of(thing).map(|task| task.group.clone()),
    });
    let mut groups = state.fleet.groups.keys();
    let only = groups.next().filter(|_| groups.next().is_none());
    selected.or_else(|| only.cloned())
}

/// A form that was opened before the fleet was known gets its group now, where none was typed.
pub(super) fn fill_group(state: &mut State) {
    let group = group_at(state);
    if let (Some(Overlay::Form(form)), Some(group)) = (state.overlays.last_mut(), group) {
        form.fill_group(&group);
    }
}

/// Runs now; asks only where it is more than one task.
pub(super) fn run(state: &mut State, now: UnixMs) -> Vec<Effect> {
    let tasks = tasks(state, now, "run");
    let requests = requests(&tasks, |task| Request::TaskRun(TaskRun { task }));
    if requests.len() < 2 {
        return send(state, RUNNING, requests);
    }
    let lines = tasks
        .iter()
        .map(|task| format!("{}: {}", path_of(task), places(state, task)));
    let confirm = Confirm {
        title: format!("run {} tasks now", tasks.len()),
        lines: lines.collect(),
        choices: vec![Choice {
            key: 'y',
            label: "run".to_owned(),
            requests,
            deed: RUNNING,
        }],
    };
    state.overlays.push(Overlay::Confirm(Box::new(confirm)));
    Vec::new()
}

/// Stops what is on; where nothing of it is, starts it.
pub(super) fn stop_or_start(state: &mut State, now: UnixMs) -> Vec<Effect> {
    let tasks = tasks(state, now, "stop or start");
    let (on, off): (Vec<_>, Vec<_>) = tasks.into_iter().partition(|task| task.enabled);
    if on.is_empty() {
        let requests = requests(&off, |task| Request::TaskStart(TaskStart { task }));
        return if requests.is_empty() {
            Vec::new()
        } else {
            send(state, STARTED, requests)
        };
    }
    let choices = confirm_keys(Action::StopStart).map(|(key, label)| Choice {
        key,
        label: label.to_owned(),
        requests: requests(&on, |task| {
            let finish = key == 'f';
            Request::TaskStop(TaskStop { task, finish })
        }),
        deed: STOPPED,
    });
    let confirm = Confirm {
        title: format!("stop {}", names(&on)),
        choices: choices.collect(),
        lines: on.iter().flat_map(|task| hit(state, now, task)).collect(),
    };
    state.overlays.push(Overlay::Confirm(Box::new(confirm)));
    Vec::new()
}

/// Asks whether to delete.
pub(super) fn delete(state: &mut State, now: UnixMs) -> Vec<Effect> {
    let tasks = tasks(state, now, "delete");
    if tasks.is_empty() {
        return Vec::new();
    }
    let choices = confirm_keys(Action::Delete).map(|(key, label)| Choice {
        key,
        label: label.to_owned(),
        requests: requests(&tasks, |task| Request::TaskRemove(TaskRemove { task })),
        deed: DELETED,
    });
    let mut lines: Vec<String> = tasks
        .iter()
        .flat_map(|task| hit(state, now, task))
        .collect();
    lines.push("the history stays; a new task of that name has a new id".to_owned());
    let confirm = Confirm {
        title: format!("delete {}", names(&tasks)),
        choices: choices.collect(),
        lines,
    };
    state.overlays.push(Overlay::Confirm(Box::new(confirm)));
    Vec::new()
}

/// Asks whether to end runs.
pub(super) fn kill(state: &mut State, now: UnixMs) -> Vec<Effect> {
    let processes: Vec<ProcessView> = state.target_processes().into_iter().cloned().collect();
    if processes.is_empty() {
        state.say(
            now,
            Grade::Trouble,
            "kill: nothing of what is selected runs now",
        );
        return Vec::new();
    }
    let request = |process: &ProcessView| {
        let run = process.run_id.as_ref()?;
        let name = format!("run {} of {}", run.short(), process.task);
        let run = run.to_string();
        Some((name, Request::RunKill(RunKill { run, signal: None })))
    };
    let requests: Vec<_> = processes.iter().filter_map(request).collect();
    let choices = confirm_keys(Action::Kill).map(|(key, label)| Choice {
        key,
        label: label.to_owned(),
        requests: requests.clone(),
        deed: KILLED,
    });
    let title = match processes.as_slice() {
        [one] => format!("kill a run of {}", one.task),
        many => format!("kill {} runs", many.len()),
    };
    let confirm = Confirm {
        title,
        choices: choices.collect(),
        lines: processes
            .iter()
            .flat_map(|process| ended(process, now))
            .collect(),
    };
    state.overlays.push(Overlay::Confirm(Box::new(confirm)));
    Vec::new()
}

fn ended(process: &ProcessView, now: UnixMs) -> Vec<String> {
    let id = process.run_id.as_ref().map_or("", |run| run.short());
    let pid = process
        .pid
        .map_or_else(String::new, |pid| format!(", pid {pid}"));
    let since = process
        .started_at
        .and_then(|at| time::relative(at, now))
        .map_or_else(String::new, |ago| format!(", started {ago}"));
    let after = if process.daemon {
        "  a daemon: its slot is started again as its policy says"
    } else {
        "  the schedule goes on; no retry follows"
    };
    vec![
        format!(
            "{} run {id} on {}/{}{pid}{since}",
            process.task, process.agent, process.slot
        ),
        after.to_owned(),
    ]
}

fn confirm_keys(action: Action) -> impl Iterator<Item = (char, &'static str)> {
    keys::row(action)
        .map_or(&[][..], |row| row.confirm)
        .iter()
        .copied()
}

fn names(tasks: &[TaskView]) -> String {
    match tasks {
        [task] => path_of(task).to_string(),
        many => format!("{} tasks", many.len()),
    }
}

/// What runs of a task, and what of it is yet to come.
fn hit(state: &State, now: UnixMs, task: &TaskView) -> Vec<String> {
    let path = path_of(task);
    let live: Vec<&ProcessView> = state
        .fleet
        .processes_of(&path)
        .filter(|process| process.pid.is_some())
        .collect();
    let running = match live.len() {
        0 => "nothing of it runs now".to_owned(),
        1 => format!("1 process runs on {}", agents(&live)),
        count => format!("{count} processes run on {}", agents(&live)),
    };
    let next = match task.next_at {
        Some(at) => {
            let when = time::relative(at, now).unwrap_or_else(|| time::stamp(at, &state.zone));
            format!("; due next {when} on {}", places(state, task))
        }
        None => String::new(),
    };
    vec![format!("{path}: {running}{next}")]
}

fn agents(processes: &[&ProcessView]) -> String {
    let names: BTreeSet<&AgentName> = processes.iter().map(|process| &process.agent).collect();
    some(names.iter().map(|name| name.as_str()))
}

/// The first names, and how many more.
fn some<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 4;
    let names: Vec<&str> = names.collect();
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Where a task runs, in words.
fn places(state: &State, task: &TaskView) -> String {
    let agents: Vec<&str> = state
        .fleet
        .agents_of(&task.group)
        .map(|agent| agent.name.as_str())
        .collect();
    match target(&task.spec.target).as_str() {
        "all" if agents.is_empty() => format!("no agent: {} has none", task.group),
        "all" => some(agents.into_iter()),
        "one" => format!("one agent of {}", task.group),
        named => some(named.split(',')),
    }
}
