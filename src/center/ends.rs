//! Where open runs end or wait on: the look that each gets at its scheduled_at and after.

use std::time::Duration;

use super::core::Core;
use super::event::Now;
use super::events::{Audience, EventLog};
use super::runs::{Cancelled, OpenRun, Stage};
use super::views::hms;
use crate::model::{Cause, Ending, Outcome, RunId};
use crate::store::{RunRow, Write};

/// Outcomes of a task kept for its strip.
const RECENT: usize = 20;
/// How long a due run waits for an agent that is telling what it holds.
const CONNECTING: Duration = Duration::from_secs(1);
/// How often a run of target `one` on a silent agent is looked at.
const ONE_EVERY: Duration = Duration::from_secs(1);

impl Core {
    /// Looks at every run that wants it by now.
    pub(super) fn look_at_runs(&mut self, now: Now) {
        self.drop_silent(now);
        for id in self.open.take_looks(now.at) {
            self.look_at_run(now, &id);
        }
    }

    /// Decides about one run, if it is due.
    pub(super) fn look_at_run(&mut self, now: Now, id: &RunId) {
        let Some(run) = self.open.get(id) else { return };
        if run.row.run.scheduled_at > now.at || run.stage.has_started() {
            return;
        }
        match &run.cancelled {
            Some(Cancelled {
                reason,
                confirmed: true,
            }) => {
                let ending = Ending::unstarted(Outcome::Skipped, reason.clone(), now.at);
                self.end_run(now, id, &ending);
            }
            None if run.stage == Stage::Waiting => self.look_at_waiting(now, id),
            _ => self.look_at_handed(now, id),
        }
    }

    /// A run that is due and was never handed to a link: missed, unless its agent is just connecting, or target
    /// `one` has another one.
    fn look_at_waiting(&mut self, now: Now, id: &RunId) {
        let Some(run) = self.open.get(id) else { return };
        let patient_until = run.row.run.scheduled_at.plus(CONNECTING);
        let session = run.row.agent.as_ref().and_then(|of| self.sessions.of(of));
        if session.is_some_and(|session| !session.reconciled) && now.at < patient_until {
            return self.open.look_at(id, patient_until);
        }
        if self.is_of_one(run) && !self.is_busy_elsewhere(now, run) && self.reassign(id) {
            return;
        }
        if let Some(run) = self.open.get(id) {
            let why = self.why_unsent(run);
            self.end_missed(now, id, &why);
        }
    }

    /// Whether another run of the task is active, or may be: overlap holds across agents.
    pub(super) fn is_busy_elsewhere(&self, now: Now, run: &OpenRun) -> bool {
        let siblings = self.open.of_task(&run.row.run.task).into_iter();
        siblings
            .filter(|id| id != run.id())
            .filter_map(|id| self.open.get(&id))
            .any(|other| {
                let due = other.row.run.scheduled_at <= now.at;
                other.is_held() && (due || other.stage.has_started())
            })
    }

    /// Whether an agent holds another run of the task, due or not: overlap holds across agents.
    pub(super) fn is_held_elsewhere(&self, run: &OpenRun) -> bool {
        let siblings = self.open.of_task(&run.row.run.task).into_iter();
        siblings
            .filter(|id| id != run.id())
            .filter_map(|id| self.open.get(&id))
            .any(OpenRun::is_held)
    }

    /// A run that an agent may have: open until the agent answers, or has been silent for too long.
    fn look_at_handed(&mut self, now: Now, id: &RunId) {
        let Some(run) = self.open.get(id) else { return };
        let Some(agent) = run.row.agent.clone() else {
            return;
        };
        if self.sessions.of(&agent).is_none() {
            let give_up_at = run.row.run.scheduled_at.plus(self.settings.lost_after);
            if give_up_at <= now.at {
                let name = self.fleet.agent_name(&agent);
                let since = self
                    .sessions
                    .offline_since(&agent)
                    .map_or_else(String::new, |at| format!(" since {}", hms(at)));
                let reason = format!("agent {name} silent{since}; it may have started");
                self.end_run(now, id, &Ending::unstarted(Outcome::Lost, reason, now.at));
                return;
            }
            if run.row.target.is_none() && self.give_away(now, id) {
                return;
            }
        }
        let Some(run) = self.open.get(id) else { return };
        let soon = run.row.target.is_none() && now.at < run.row.start_before;
        let next = if soon {
            now.at.plus(ONE_EVERY)
        } else {
            run.row.run.scheduled_at.plus(self.settings.lost_after)
        };
        self.open.look_at(id, next.max(now.at.plus(ONE_EVERY)));
    }

    /// Gives a run of target `one` to another agent, if the lease of the silent one was certainly over when the
    /// run was due, so that it cannot have started there, and nothing else of the task may run. Whether it was.
    fn give_away(&mut self, now: Now, id: &RunId) -> bool {
        let Some(run) = self.open.get(id) else {
            return false;
        };
        let Some(from) = run.row.agent.clone() else {
            return false;
        };
        let since_due = now.at.since(run.row.run.scheduled_at);
        let over = self.sessions.lease_over(&from, self.settings.lease()) + since_due < now.mono;
        if !over || self.is_busy_elsewhere(now, run) || now.at >= run.row.start_before {
            return false;
        }
        // What that agent holds for later goes along, lest two agents have runs of the task.
        let task = run.row.run.task.clone();
        let given = self.reassign(id);
        for other in self.open.of_task(&task) {
            let run = self.open.get(&other);
            if given && run.is_some_and(|run| run.row.agent.as_ref() == Some(&from)) {
                self.reassign(&other);
            }
        }
        given
    }

    /// Gives an unstarted run of target `one` to the best agent but the one that has it; whether there is one.
    pub(super) fn reassign(&mut self, id: &RunId) -> bool {
        let Some(run) = self.open.get(id) else {
            return false;
        };
        let Some(entry) = self.fleet.tasks.get(&run.row.run.task) else {
            return false;
        };
        let (task, from) = (entry.task.clone(), run.row.agent.clone());
        let Some(to) = self.pick_one(&task, from.as_ref()) else {
            return false;
        };
        self.write(Write::ReassignRun {
            run_id: id.clone(),
            from,
            to: to.clone(),
        });
        self.open.give_to(id, to);
        if let Some(run) = self.open.get_mut(id) {
            run.stage = Stage::Waiting;
        }
        self.hand_to_agent(id);
        true
    }

    /// Why a run was never handed to a link.
    fn why_unsent(&self, run: &OpenRun) -> String {
        let Some(agent) = &run.row.agent else {
            let group = self
                .fleet
                .tasks
                .get(&run.row.run.task)
                .map(|entry| entry.task.group.to_string());
            return format!(
                "no agent of group {} could take it",
                group.unwrap_or_default()
            );
        };
        let name = self.fleet.agent_name(agent);
        match self.fleet.agents.get(agent) {
            None => format!("agent {name} was removed"),
            Some(row) if row.draining => format!("draining: agent {name} takes no new runs"),
            Some(row) => match (self.sessions.offline_since(agent), row.last_seen_at) {
                (Some(at), _) => format!("agent {name} offline since {}", hms(at)),
                (None, Some(at)) => format!(
                    "agent {name} offline: not connected since this center started, last at {}",
                    hms(at)
                ),
                (None, None) => format!("agent {name} has never connected"),
            },
        }
    }

    /// Ends a run of which it is certain that nothing was started.
    pub(super) fn end_missed(&mut self, now: Now, id: &RunId, reason: &str) {
        self.end_run(now, id, &Ending::unstarted(Outcome::Missed, reason, now.at));
    }

    /// An agent says that it will not start a run.
    pub(super) fn refused_by_agent(&mut self, now: Now, id: &RunId, reason: &str) {
        self.end_missed(now, id, reason);
    }

    /// Gives an open run its outcome.
    pub(super) fn end_run(&mut self, now: Now, id: &RunId, ending: &Ending) {
        let Some(run) = self.open.remove(id) else {
            return;
        };
        self.early.retain(|(at, _)| *at > now.at);
        if run.row.run.scheduled_at > now.at {
            self.early.insert((run.row.run.scheduled_at, id.clone()));
        }
        self.write(Write::EndRun {
            run_id: id.clone(),
            ending: Box::new(ending.clone()),
        });
        self.tell_ended(now, &run.row, ending);
    }

    /// What everybody learns when a run has ended: the task's last run, events, those who wait.
    pub(super) fn tell_ended(&mut self, now: Now, row: &RunRow, ending: &Ending) {
        let view = self.ended_view(row, ending);
        let mut event = EventLog::blank(now.at, "run_ended");
        event.task = Some(view.task.clone());
        event.agent.clone_from(&view.agent);
        event.run_id = Some(view.run_id.clone());
        event.slot = Some(view.slot);
        event.outcome = view.outcome;
        event.late_ms = view.late_ms;
        event.reason.clone_from(&view.reason);
        let group = view.group.clone();
        if let Some(entry) = self.fleet.tasks.get_mut(&row.run.task) {
            let newer = entry
                .last_run
                .as_ref()
                .is_none_or(|last| last.scheduled_at <= view.scheduled_at);
            let told = row.run.cause == Cause::Daemon || newer;
            if told {
                entry.last_run = Some(view.clone());
            }
            entry.recent.push_back(ending.outcome);
            if entry.recent.len() > RECENT {
                entry.recent.pop_front();
            }
        }
        self.publish(Audience::Group(group), event);
        self.touch_ended(&view);
        self.settle_waits();
    }
}
