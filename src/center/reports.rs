//! What agents report of runs and daemons' slots, taken in idempotently; acknowledged once it is durable.

use super::core::Core;
use super::event::{Effect, Now, SessionId};
use super::events::{Audience, EventLog};
use super::runs::{SlotKey, Stage};
use crate::model::{AgentId, Cause, Ending, OperatorName, RunId, RunKey, RunRef, TaskPath, UnixMs};
use crate::proto::agent::{Acknowledge, Report, RunEvent, SlotReport, ToAgent};
use crate::proto::view::EventView;
use crate::store::{AuditRow, RunRow, Truth, Write, outcome_json};

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
            RunEvent::Slot(slot) => self.slot_changed(now, agent, &slot),
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
        self.caught_up(run);
        if attempt == 1 {
            self.watch_start(now, &run.run_id, started_at);
        }
        if attempt == 1
            && run.cause == Cause::Rule // What is caught up is late on purpose.
            && let Some(path) = self.path_of(run)
        {
            self.lateness
                .push(now.at, path.group, late(run, started_at));
        }
        self.publish_run(run, event);
    }

    /// Notes that a run was started late because its task catches up, which only its agent can say.
    fn caught_up(&mut self, run: &RunRef) {
        let open = self.open.get_mut(&run.run_id);
        let Some(open) = open.filter(|open| open.row.run.cause != run.cause) else {
            return;
        };
        if run.cause == Cause::CatchUp {
            open.row.run.cause = run.cause;
            let run_id = run.run_id.clone();
            self.write(Write::CatchUpRun { run_id });
        }
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
        } else if !self.may_speak(agent, run, ending) {
            // Given to another agent meanwhile, which says how it ends.
        } else if let Some(open) = self.open.get(&run.run_id) {
            if open.row.run.revision != run.revision {
                let revise = Write::ReviseRun {
                    run_id: run.run_id.clone(),
                    revision: run.revision,
                    delay: run.delay,
                    start_before: open.row.start_before,
                };
                self.write(revise);
            }
            self.caught_up(run);
            self.end_run(now, &run.run_id, ending);
        } else if let Some(row) = row_of(now, agent, run).filter(|_| ending.attempt > 0) {
            // A report repeated, or the truth about a run that was given up: the store knows which.
            self.take_truth(now, agent, &row, ending);
        } else {
            self.write(Write::EndRun {
                run_id: run.run_id.clone(),
                only_of: (ending.attempt == 0).then(|| agent.clone()),
                ending: Box::new(ending.clone()),
            });
        }
    }

    /// How a run ended that is not open, or that was given up and is alive: what ran has run, whatever the store says.
    pub(super) fn take_truth(&mut self, now: Now, agent: &AgentId, row: &RunRow, ending: &Ending) {
        let run = &row.run;
        if run.cause.is_of_rule() {
            self.cut_spans(row);
            self.keep_from_planning(now, run.scheduled_at, &run.run_id);
        }
        let path = self.path_of(run);
        let name = path.as_ref().map_or_else(String::new, TaskPath::to_string);
        let audit = AuditRow {
            at: now.at,
            operator: OperatorName::parse("agent").expect("a plain word is a name"),
            address: self.fleet.agent_name(agent),
            deed: "truth".to_owned(),
            subject: format!("{name} {}", run.run_id).trim_start().to_owned(),
            group: path.map(|path| path.group),
            before: None,
            after: Some(outcome_json(ending.outcome, &ending.reason)),
        };
        self.write(Write::TakeTruth(Box::new(Truth {
            row: row.clone(),
            ending: ending.clone(),
            audit,
        })));
        let view = self.ended_view(row, ending);
        let entry = self.fleet.tasks.get_mut(&run.task);
        let last = entry.and_then(|entry| entry.last_run.as_mut());
        if let Some(last) = last.filter(|last| last.run_id == run.run_id) {
            *last = view;
        }
    }

    /// Whether an agent's word ends a run: who started it knows; who did not speaks for its own runs only.
    fn may_speak(&self, agent: &AgentId, run: &RunRef, ending: &Ending) -> bool {
        let open = self.open.get(&run.run_id);
        ending.attempt > 0 || open.is_none_or(|open| open.row.agent.as_ref() == Some(agent))
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
        // A plan that is under way to it is answered by its confirmation; this is about an older one.
        if run.row.agent.as_ref() != Some(agent) || self.is_under_way(agent, id) {
            return;
        }
        if self.is_stopped_since(id) {
            return self.refused_by_agent(now, id, reason);
        }
        let Some(run) = self.open.get(id) else { return };
        if !self.is_of_one(run) {
            // An order under way that gives it anew has the last word.
            if !self.is_on_its_way(agent, id) {
                self.refused_by_agent(now, id, reason);
            }
            return;
        }
        let elsewhere = now.at < run.row.start_before && !self.is_held_elsewhere(run);
        if !elsewhere || !self.reassign(id) {
            self.not_taken(now, id, reason);
        }
    }

    fn slot_changed(&mut self, now: Now, agent: &AgentId, slot: &SlotReport) {
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
        self.watch_slot(now, agent, slot);
        let task = slot.task.clone();
        if stopped {
            self.slots.remove(&key);
        } else {
            self.slots.insert(key.clone(), slot.clone());
            self.roll_on(now, agent, &task, slot);
            // Left to finish once, then stopped for good while the agent's keeper was away.
            if matches!(slot.state.as_str(), "starting" | "running") && self.is_stopped(&task) {
                self.withdraw(agent, &task, "no longer assigned to this agent");
            }
        }
        self.follow_slot(&key);
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

/// The row of a run that an agent has, of which nothing else is known: its id says whether it was planned for that agent
/// or for one of several.
pub(super) fn row_of(now: Now, agent: &AgentId, run: &RunRef) -> Option<RunRow> {
    let planned = match run.cause {
        Cause::CatchUp => Cause::Rule,
        cause => cause,
    };
    let is_for = |target: &Option<AgentId>| {
        let key = RunKey {
            task: run.task.clone(),
            scheduled_at: run.scheduled_at,
            target: target.clone(),
            slot: run.slot,
            cause: planned,
        };
        RunId::of(&key) == run.run_id
    };
    let target = [Some(agent.clone()), None].into_iter().find(is_for)?;
    Some(RunRow {
        run: run.clone(),
        target,
        agent: Some(agent.clone()),
        start_before: now.at,
    })
}

fn late(run: &RunRef, started_at: UnixMs) -> i64 {
    started_at.0 - run.fire_at().0
}
