//! What agents report of runs and daemons' slots, taken in idempotently; acknowledged once it is durable.

use super::core::Core;
use super::event::{Effect, Now, SessionId};
use super::events::{Audience, EventLog};
use super::runs::{SlotKey, Stage};
use crate::model::{AgentId, Cause, Ending, RunId, RunRef, TaskPath, UnixMs};
use crate::proto::agent::{Acknowledge, Report, RunEvent, SlotReport, ToAgent};
use crate::proto::view::EventView;
use crate::store::{RunRow, Write};

impl Core {
    /// Takes one report in.
    pub(super) fn reported(&mut self, now: Now, id: SessionId, report: Report) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let agent = session.agent.clone();
        for event in report.events {
            self.run_event(now, &agent, event);
        }
        let acknowledge = Acknowledge { seq: report.seq };
        self.later(Effect::ToAgent(
            id,
            Box::new(ToAgent::Acknowledge(acknowledge)),
        ));
    }

    fn run_event(&mut self, now: Now, agent: &AgentId, event: RunEvent) {
        match event {
            RunEvent::Started {
                run,
                attempt,
                pid,
                started_at,
            } => {
                self.started(now, agent, &run, attempt, pid, started_at);
            }
            RunEvent::AttemptEnded { run, ending, .. } => {
                self.attempt_ended(now, agent, &run, &ending);
            }
            RunEvent::Ended { run, ending } => self.ended(now, agent, &run, &ending),
            RunEvent::NotStarted { run_id, reason } => {
                self.not_started(now, agent, &run_id, &reason);
            }
            RunEvent::Slot(slot) => self.slot_changed(now, agent, slot),
        }
    }

    fn started(
        &mut self,
        now: Now,
        agent: &AgentId,
        run: &RunRef,
        attempt: u16,
        pid: i32,
        started_at: UnixMs,
    ) {
        let mut event = self.event_of(now, "run_started", agent, run);
        event.late_ms = (attempt == 1).then(|| late(run, started_at));
        event.reason = format!("attempt {attempt}, pid {pid}");
        if let Some(open) = self.open.get_mut(&run.run_id) {
            open.stage = Stage::Running {
                attempt,
                pid: Some(pid),
                started_at,
            };
            open.row.run.revision = run.revision;
        }
        if attempt == 1
            && run.cause == Cause::Rule
            && let Some(path) = self.path_of(run)
        {
            self.lateness
                .push(now.at, path.group, late(run, started_at));
        }
        self.publish_run(run, event);
    }

    fn attempt_ended(&mut self, now: Now, agent: &AgentId, run: &RunRef, ending: &Ending) {
        let mut event = self.event_of(now, "attempt_ended", agent, run);
        event.outcome = Some(ending.outcome);
        event.reason = format!(
            "attempt {}: {}; another follows",
            ending.attempt, ending.reason
        );
        if let Some(open) = self.open.get_mut(&run.run_id) {
            let started_at = ending.started_at.unwrap_or(now.at);
            open.stage = Stage::Running {
                attempt: ending.attempt + 1,
                pid: None,
                started_at,
            };
        }
        self.publish_run(run, event);
    }

    fn ended(&mut self, now: Now, agent: &AgentId, run: &RunRef, ending: &Ending) {
        if run.cause == Cause::Daemon {
            self.daemon_ended(now, agent, run, ending);
        } else if let Some(open) = self.open.get(&run.run_id) {
            if open.row.run.revision != run.revision {
                let (run_id, revision) = (run.run_id.clone(), run.revision);
                self.write(Write::ReviseRun { run_id, revision });
            }
            self.end_run(now, &run.run_id, ending);
        } else {
            // A report repeated, or the truth about a run given up as lost: the store knows which.
            let (run_id, ending) = (run.run_id.clone(), Box::new(ending.clone()));
            self.write(Write::EndRun { run_id, ending });
        }
    }

    fn daemon_ended(&mut self, now: Now, agent: &AgentId, run: &RunRef, ending: &Ending) {
        let row = RunRow {
            run: run.clone(),
            target: Some(agent.clone()),
            agent: Some(agent.clone()),
            start_before: run.scheduled_at,
        };
        self.write(Write::RecordRun {
            row: Box::new(row.clone()),
            ending: Box::new(ending.clone()),
        });
        self.tell_ended(now, &row, ending);
    }

    /// Nothing was started and nothing will be: target `one` goes to another agent while there is time.
    fn not_started(&mut self, now: Now, agent: &AgentId, id: &RunId, reason: &str) {
        let Some(run) = self.open.get(id) else { return };
        if run.row.agent.as_ref() != Some(agent) {
            return;
        }
        let elsewhere = now.at < run.row.start_before && !self.is_held_elsewhere(run);
        if !elsewhere || !self.reassign(id) {
            self.end_missed(now, id, reason);
        }
    }

    fn slot_changed(&mut self, now: Now, agent: &AgentId, slot: SlotReport) {
        let key = SlotKey {
            agent: agent.clone(),
            task: slot.task.clone(),
            slot: slot.slot,
        };
        let stopped = slot.state == "stopped";
        if let Some(path) = self
            .fleet
            .tasks
            .get(&slot.task)
            .map(|entry| entry.task.path())
        {
            let mut event = EventLog::blank(now.at, "slot");
            event.agent = self.fleet.agents.get(agent).map(|row| row.name.clone());
            event.slot = Some(slot.slot);
            event.run_id.clone_from(&slot.run_id);
            event.reason = if slot.reason.is_empty() {
                slot.state.clone()
            } else {
                format!("{}: {}", slot.state, slot.reason)
            };
            event.task = Some(path.clone());
            self.publish(Audience::Group(path.group), event);
        }
        let task = slot.task.clone();
        if stopped {
            self.slots.remove(&key);
        } else {
            self.slots.insert(key, slot);
        }
        let any_left = self
            .slots
            .keys()
            .any(|key| key.agent == *agent && key.task == task);
        if stopped && !any_left {
            self.holder_stopped(agent, &task);
        }
    }

    fn path_of(&self, run: &RunRef) -> Option<TaskPath> {
        self.fleet
            .tasks
            .get(&run.task)
            .map(|entry| entry.task.path())
    }

    fn event_of(&self, now: Now, kind: &str, agent: &AgentId, run: &RunRef) -> EventView {
        let mut event = EventLog::blank(now.at, kind);
        event.task = self.path_of(run);
        event.agent = self.fleet.agents.get(agent).map(|row| row.name.clone());
        event.run_id = Some(run.run_id.clone());
        event.slot = Some(run.slot);
        event
    }

    fn publish_run(&mut self, run: &RunRef, event: EventView) {
        if let Some(path) = self.path_of(run) {
            self.publish(Audience::Group(path.group), event);
        }
    }
}

fn late(run: &RunRef, started_at: UnixMs) -> i64 {
    started_at.0 - run.scheduled_at.0
}
