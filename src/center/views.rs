//! Rows to what clients see.

use super::core::Core;
use super::runs::{OpenRun, Stage};
use crate::auth::Access;
use crate::model::{
    AgentId, AgentName, AgentState, Cause, Ending, GroupName, Role, RunRef, TaskName, TaskPath,
    UnixMs,
};
use crate::proto::agent::SlotReport;
use crate::proto::view::{AgentView, ProcessView, RunView, TaskView};
use crate::store::{AgentRow, RunRow, StoredRun};

use super::fleet::TaskEntry;
use super::runs::SlotKey;

/// An instant in a reason, to the second, in UTC.
pub(super) fn hms(at: UnixMs) -> String {
    let text = at.to_string();
    text.split_once('.')
        .map_or(text.clone(), |(seconds, _)| format!("{seconds}Z"))
}

impl Core {
    /// A task as the asker sees it.
    pub(super) fn task_view(&self, entry: &TaskEntry, access: &Access) -> TaskView {
        let task = &entry.task;
        let mut spec = task.spec.clone();
        if access.role_in(&task.group) < Some(Role::Operator) {
            spec.work
                .env
                .values_mut()
                .for_each(|value| "***".clone_into(value));
        }
        TaskView {
            id: task.id.clone(),
            group: task.group.clone(),
            task_name: task.name.clone(),
            revision: task.revision,
            enabled: task.enabled,
            zone: spec
                .timezone
                .clone()
                .unwrap_or_else(|| self.settings.zone.clone()),
            spec,
            next_at: self.next_of(entry),
            last_run: entry.last_run.clone(),
            recent: entry.recent.iter().copied().collect(),
            running: self.running_of(entry),
            saved_at: task.saved_at,
            changed_by: task.changed_by.clone(),
            changed_at: task.changed_at,
        }
    }

    /// The next occurrence: the first of those planned and not started, else the next to be planned.
    fn next_of(&self, entry: &TaskEntry) -> Option<UnixMs> {
        let pending = self
            .open
            .of_task(&entry.task.id)
            .into_iter()
            .filter_map(|id| self.open.get(&id));
        let planned = pending.filter(|run| run.is_pending() && run.cancelled.is_none());
        let first = planned.map(|run| run.row.run.scheduled_at).min();
        first.into_iter().chain(entry.next_at).min()
    }

    fn running_of(&self, entry: &TaskEntry) -> u64 {
        let runs = self
            .open
            .of_task(&entry.task.id)
            .into_iter()
            .filter_map(|id| self.open.get(&id));
        let running = runs
            .filter(|run| matches!(run.stage, Stage::Running { .. }))
            .count();
        (running + self.live_slots(&entry.task.id).len()) as u64
    }

    /// An agent, with those of its groups that the asker sees.
    pub(super) fn agent_view(&self, row: &AgentRow, access: &Access) -> AgentView {
        let session = self.sessions.of(&row.id);
        let state = match session {
            Some(_) if row.draining => AgentState::Draining,
            Some(_) => AgentState::Online,
            None => AgentState::Offline,
        };
        let slots = self
            .slots
            .iter()
            .filter(|(key, slot)| key.agent == row.id && slot.pid.is_some())
            .count();
        AgentView {
            name: row.name.clone(),
            groups: row
                .groups
                .iter()
                .filter(|group| access.sees(group))
                .cloned()
                .collect(),
            state,
            version: row.version.clone(),
            running: self.open.running_on(&row.id) + slots as u64,
            skew_ms: session.and_then(|session| session.skew_ms),
            last_seen_at: row.last_seen_at,
            address: session
                .map(|session| session.address.clone())
                .or_else(|| row.dial_address.as_ref().map(ToString::to_string)),
        }
    }

    fn path_or_id(&self, run: &RunRef) -> TaskPath {
        self.fleet
            .tasks
            .get(&run.task)
            .map_or_else(|| removed_path(run), |entry| entry.task.path())
    }

    fn name_of(&self, agent: Option<&AgentId>) -> Option<AgentName> {
        self.fleet.agents.get(agent?).map(|row| row.name.clone())
    }

    /// A run without outcome.
    pub(super) fn open_view(&self, run: &OpenRun) -> RunView {
        let mut view = bare(
            &run.row,
            self.path_or_id(&run.row.run),
            self.name_of(run.row.agent.as_ref()),
        );
        view.reason = self.state_of(run);
        if let Stage::Running {
            attempt,
            pid,
            started_at,
        } = &run.stage
        {
            view.attempt = *attempt;
            view.pid = *pid;
            view.started_at = Some(*started_at);
            view.late_ms = Some(started_at.0 - view.scheduled_at.0);
        }
        view
    }

    fn state_of(&self, run: &OpenRun) -> String {
        let agent = run
            .row
            .agent
            .as_ref()
            .map(|id| self.fleet.agent_name(id))
            .unwrap_or_default();
        let silent = run
            .row
            .agent
            .as_ref()
            .and_then(|id| self.sessions.offline_since(id));
        match (&run.cancelled, &run.stage, silent) {
            (Some(cancelled), ..) => cancelled.reason.clone(),
            (
                None,
                Stage::Running {
                    pid: None, attempt, ..
                },
                _,
            ) => format!("waits for attempt {attempt} on {agent}"),
            (None, Stage::Running { .. } | Stage::Ending, None) => format!("runs on {agent}"),
            (None, Stage::Waiting, _) => format!("waits for agent {agent}"),
            (None, _, Some(since)) => format!("agent {agent} silent since {}", hms(since)),
            (None, Stage::Handed, None) => format!("on its way to {agent}"),
            (None, Stage::Armed, None) => format!("armed on {agent}"),
        }
    }

    /// A run that has just ended.
    pub(super) fn ended_view(&self, row: &RunRow, ending: &Ending) -> RunView {
        let mut view = bare(
            row,
            self.path_or_id(&row.run),
            self.name_of(row.agent.as_ref()),
        );
        close(&mut view, ending);
        view
    }

    /// A run as the store has it; what is in memory is newer.
    pub(super) fn stored_view(&self, stored: &StoredRun) -> RunView {
        if let (None, Some(open)) = (&stored.ending, self.open.get(&stored.row.run.run_id)) {
            return self.open_view(open);
        }
        let mut view = bare(&stored.row, stored.path.clone(), stored.agent_name.clone());
        if let Some(ending) = &stored.ending {
            close(&mut view, ending);
        }
        view
    }

    /// A daemon's process that runs now, as a run.
    pub(super) fn slot_run_view(&self, key: &SlotKey, slot: &SlotReport) -> Option<RunView> {
        let run = RunRef {
            run_id: slot.run_id.clone()?,
            task: key.task.clone(),
            revision: slot.revision,
            slot: key.slot,
            cause: Cause::Daemon,
            scheduled_at: slot.since,
        };
        let agent = Some(key.agent.clone());
        let row = RunRow {
            run,
            target: agent.clone(),
            agent,
            start_before: slot.since,
        };
        let mut view = bare(
            &row,
            self.path_or_id(&row.run),
            self.name_of(row.agent.as_ref()),
        );
        view.attempt = 1;
        view.pid = slot.pid;
        view.started_at = Some(slot.since);
        view.reason.clone_from(&slot.state);
        Some(view)
    }

    /// A daemon's slot as a process.
    pub(super) fn slot_view(&self, key: &SlotKey, slot: &SlotReport) -> Option<ProcessView> {
        let entry = self.fleet.tasks.get(&key.task)?;
        Some(ProcessView {
            run_id: slot.run_id.clone(),
            task: entry.task.path(),
            group: entry.task.group.clone(),
            agent: self.name_of(Some(&key.agent))?,
            slot: key.slot,
            pid: slot.pid,
            state: slot.state.clone(),
            started_at: slot.pid.map(|_| slot.since),
            restarts: slot.restarts,
            daemon: true,
            revision: slot.revision,
        })
    }

    /// A run under way as a process.
    pub(super) fn run_process_view(&self, run: &OpenRun) -> Option<ProcessView> {
        let Stage::Running {
            pid, started_at, ..
        } = &run.stage
        else {
            return None;
        };
        let entry = self.fleet.tasks.get(&run.row.run.task)?;
        Some(ProcessView {
            run_id: Some(run.id().clone()),
            task: entry.task.path(),
            group: entry.task.group.clone(),
            agent: self.name_of(run.row.agent.as_ref())?,
            slot: run.row.run.slot,
            pid: *pid,
            state: if pid.is_some() { "running" } else { "waiting" }.to_owned(),
            started_at: Some(*started_at),
            restarts: 0,
            daemon: false,
            revision: run.row.run.revision,
        })
    }
}

/// What stands for the path of a task that is gone from memory.
fn removed_path(run: &RunRef) -> TaskPath {
    let fallback = "removed";
    let group = GroupName::parse(fallback).expect("a plain word is a name");
    let name = TaskName::parse(run.task.as_str()).expect("an id has the form of a name");
    TaskPath { group, name }
}

fn bare(row: &RunRow, task: TaskPath, agent: Option<AgentName>) -> RunView {
    RunView {
        run_id: row.run.run_id.clone(),
        group: task.group.clone(),
        task,
        agent,
        slot: row.run.slot,
        attempt: 0,
        cause: row.run.cause,
        scheduled_at: row.run.scheduled_at,
        started_at: None,
        finished_at: None,
        late_ms: None,
        outcome: None,
        reason: String::new(),
        exit_code: None,
        signal: None,
        pid: None,
        output_bytes: None,
        revision: row.run.revision,
        tail: None,
    }
}

fn close(view: &mut RunView, ending: &Ending) {
    view.attempt = ending.attempt;
    view.started_at = ending.started_at;
    view.finished_at = Some(ending.finished_at);
    view.late_ms = ending.started_at.map(|at| at.0 - view.scheduled_at.0);
    view.outcome = Some(ending.outcome);
    view.reason.clone_from(&ending.reason);
    view.exit_code = ending.exit_code;
    view.signal = ending.signal;
    view.pid = ending.pid;
    view.output_bytes = ending.output_bytes;
}
