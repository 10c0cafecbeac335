//! Where open runs end or wait on: the look that each gets at its scheduled_at and after.

use std::collections::BTreeSet;
use std::time::Duration;

use super::core::Core;
use super::event::Now;
use super::events::{Audience, EventLog};
use super::runs::{Cancelled, OpenRun, Stage};
use super::views::hms;
use crate::model::{AgentId, Cause, Ending, Outcome, RunId, TaskId, UnixMs};
use crate::proto::view::RunView;
use crate::store::{RunRow, Write};

/// Outcomes of a task kept for its strip.
const RECENT: usize = 20;
/// How long a due run waits for an agent that is telling what it holds.
const CONNECTING: Duration = Duration::from_secs(1);
/// A clock that jumped may be set back by as much, or by what stood meanwhile, and runs that have ended be due again.
const SET_BACK: Duration = Duration::from_mins(2);
/// How often a run of target `one` on a silent agent is looked at.
const ONE_EVERY: Duration = Duration::from_secs(1);

impl Core {
    /// Looks at every run that wants it by now.
    pub(super) fn look_at_runs(&mut self, now: Now) {
        self.drop_silent(now);
        for id in self.open.take_looks(now.at) {
            self.expect_start(now, &id);
            self.look_at_run(now, &id);
        }
    }

    /// Decides about one run, if it is to be started by now.
    pub(super) fn look_at_run(&mut self, now: Now, id: &RunId) {
        let Some(run) = self.open.get(id) else { return };
        if run.row.run.fire_at() > now.at || run.stage.has_started() {
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
        let patient_until = run.row.run.fire_at().plus(CONNECTING);
        let session = run.row.agent.as_ref().and_then(|of| self.sessions.of(of));
        if session.is_some_and(|session| !session.reconciled) && now.at < patient_until {
            return self.open.look_at(id, patient_until);
        }
        let free = self.is_of_one(run) && !self.is_busy_elsewhere(now, run);
        if free && self.hand_out_late(now, id) {
            return;
        }
        let Some(run) = self.open.get(id) else { return };
        if free && !self.is_beside_others(run) && self.reassign(id) {
            return;
        }
        if self.may_catch_up(now, id) {
            return self.wait_to_catch_up(now, id);
        }
        if let Some(run) = self.open.get(id) {
            let why = self.why_unsent(run);
            self.miss_unsent(now, id, &why);
        }
    }

    /// A run of target `one` that was held back while two agents held runs of its task goes to its own agent, once no
    /// other holds any. Whether it went.
    fn hand_out_late(&mut self, now: Now, id: &RunId) -> bool {
        let Some(run) = self.open.get(id).filter(|run| run.refused.is_none()) else {
            return false;
        };
        if self.is_held_apart(run) {
            return false;
        }
        self.hand_to_agent(id);
        let handed = self.open.get(id).is_some_and(OpenRun::is_held);
        if handed {
            self.open.look_at(id, now.at.plus(ONE_EVERY));
        }
        handed
    }

    /// Whether a run that nobody has may still run late: its task catches up, in the revision that was due, somebody
    /// may still take it, and its grace is not over.
    fn may_catch_up(&self, now: Now, id: &RunId) -> bool {
        let Some(run) = self.open.get(id).filter(|run| run.cancelled.is_none()) else {
            return false;
        };
        let Some(entry) = self.fleet.tasks.get(&run.row.run.task) else {
            return false;
        };
        let same = entry.task.revision == run.row.run.revision;
        let is_member = |agent: &AgentId| self.fleet.agents.contains_key(agent);
        let somebody = run.row.agent.as_ref().is_some_and(is_member) || self.is_of_one(run);
        let of_rule = run.row.run.cause.is_of_rule();
        entry.task.spec.catch_up && same && somebody && of_rule && now.at < run.row.start_before
    }

    /// A run waits for its agent beyond its instant, the latest of its place only: those before it are missed.
    fn wait_to_catch_up(&mut self, now: Now, id: &RunId) {
        let mut waiting = self.overdue_beside(now, id);
        let latest = waiting.pop();
        for (_, older) in waiting {
            let why = self.open.get(&older).map(|run| self.why_unsent(run));
            self.miss_unsent(now, &older, &why.unwrap_or_default());
        }
        let Some((_, id)) = latest else { return };
        let Some(run) = self.open.get(&id) else {
            return;
        };
        let again_at = if self.is_of_one(run) {
            run.row.start_before.min(now.at.plus(ONE_EVERY))
        } else {
            run.row.start_before
        };
        self.open.look_at(&id, again_at);
        self.hand_out(&id);
    }

    /// The due runs of the rule that wait for the same target and slot as this one, itself among them, in order.
    fn overdue_beside(&self, now: Now, id: &RunId) -> Vec<(UnixMs, RunId)> {
        let Some(run) = self.open.get(id) else {
            return Vec::new();
        };
        let place = (&run.row.target, run.row.run.slot);
        let siblings = self.open.of_task(&run.row.run.task).into_iter();
        let waiting = siblings
            .filter_map(|id| self.open.get(&id))
            .filter(|other| {
                other.stage == Stage::Waiting
                    && other.cancelled.is_none()
                    && other.row.run.cause.is_of_rule()
                    && (&other.row.target, other.row.run.slot) == place
                    && other.row.run.fire_at() <= now.at
            });
        let mut waiting: Vec<_> = waiting
            .map(|run| (run.row.run.scheduled_at, run.id().clone()))
            .collect();
        waiting.sort();
        waiting
    }

    /// Whether another run of the task is active, or may be: overlap holds across agents.
    pub(super) fn is_busy_elsewhere(&self, now: Now, run: &OpenRun) -> bool {
        let siblings = self.open.of_task(&run.row.run.task).into_iter();
        siblings
            .filter(|id| id != run.id())
            .filter_map(|id| self.open.get(&id))
            .any(|other| {
                let due = self.since_due(now, other.row.run.fire_at()).is_some();
                other.is_held() && (due || other.stage.has_started())
            })
    }

    /// Whether the run's own agent holds another run of the task: given elsewhere, the two could be at once.
    fn is_beside_others(&self, run: &OpenRun) -> bool {
        let siblings = self.open.of_task(&run.row.run.task).into_iter();
        siblings
            .filter(|id| id != run.id())
            .filter_map(|id| self.open.get(&id))
            .any(|other| other.is_held() && other.row.agent == run.row.agent)
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
        if !self.fleet.agents.contains_key(&agent) {
            let removed = run.refused.clone();
            let removed = removed.unwrap_or_else(|| "its agent was removed".to_owned());
            if !self.give_away(now, id) {
                self.end_removed(now, id, &removed);
            }
            return;
        }
        if self.sessions.of(&agent).is_none() {
            if self.give_up_at(now, run) <= now.at {
                let name = self.fleet.agent_name(&agent);
                let since = self
                    .sessions
                    .offline_since(&agent)
                    .map_or_else(String::new, |at| format!(" since {}", hms(at)));
                let reason = format!("agent {name} silent{since}; it may have started");
                self.end_run(now, id, &Ending::unstarted(Outcome::Lost, reason, now.at));
                return;
            }
            if self.give_away(now, id) {
                return;
            }
        }
        let Some(run) = self.open.get(id) else { return };
        let soon = run.row.target.is_none() && now.at < run.row.start_before;
        let next = if soon {
            now.at.plus(ONE_EVERY)
        } else {
            self.give_up_at(now, run)
        };
        self.open.look_at(id, next.max(now.at.plus(ONE_EVERY)));
    }

    /// When a run of a silent agent is given up: while it may still start there nothing is known. What a center finds
    /// when it starts may have run for long, and its agent is about to connect.
    fn give_up_at(&self, now: Now, run: &OpenRun) -> UnixMs {
        let silent_for = run.row.agent.as_ref();
        let silent_for = silent_for.map_or(Duration::ZERO, |of| self.sessions.silent_for(of, now));
        let left = self.settings.lost_after.saturating_sub(silent_for);
        now.at.plus(left).max(run.row.start_before)
    }

    /// Gives a run of target `one` to another agent, if the lease of the silent one was certainly over when the
    /// run was due, so that it cannot have started there, and nothing else of the task may run. Whether it was.
    fn give_away(&mut self, now: Now, id: &RunId) -> bool {
        let Some(run) = self.open.get(id) else {
            return false;
        };
        let Some(from) = run.row.agent.clone().filter(|_| run.row.target.is_none()) else {
            return false;
        };
        let since_due = self.since_due(now, run.row.run.fire_at());
        let due = now.mono.saturating_sub(since_due.unwrap_or_default());
        let due = run.due_by.map_or(due, |by| by.min(due));
        let over = self.sessions.lease_over(&from, self.settings.lease()) < due;
        if !over || self.is_busy_elsewhere(now, run) || now.at >= run.row.start_before {
            return false;
        }
        let Some(to) = self.other_agent(run) else {
            return false;
        };
        let mut holders = self.holders_beside(run);
        holders.remove(&from);
        if holders.iter().any(|agent| *agent != to) {
            return false;
        }
        // What that agent holds for later goes along, lest two agents have runs of the task.
        let all = self.open.of_task(&run.row.run.task).into_iter();
        let of_it = |run: &OpenRun| {
            let unstarted = !run.stage.has_started();
            unstarted && run.row.agent.as_ref() == Some(&from) && run.row.target.is_none()
        };
        let all: Vec<RunId> = all
            .filter(|id| self.open.get(id).is_some_and(of_it))
            .collect();
        for id in &all {
            self.give_to(id, &to);
        }
        for id in &all {
            self.hand_to_agent(id);
        }
        true
    }

    /// Gives an unstarted run of target `one` to the best agent but the one that has it, unless yet another holds runs
    /// of the task, lest two are at once. Whether it was given.
    pub(super) fn reassign(&mut self, id: &RunId) -> bool {
        let Some(run) = self.open.get(id) else {
            return false;
        };
        let Some(to) = self.other_agent(run) else {
            return false;
        };
        if self.holders_beside(run).iter().any(|agent| *agent != to) {
            return false;
        }
        self.give_to(id, &to);
        self.hand_to_agent(id);
        true
    }

    /// The best agent for a run of target `one` but the one that has it.
    fn other_agent(&self, run: &OpenRun) -> Option<AgentId> {
        let entry = self.fleet.tasks.get(&run.row.run.task)?;
        self.pick_one(&entry.task, run.row.agent.as_ref())
    }

    /// The agents that hold other runs of the task.
    fn holders_beside(&self, run: &OpenRun) -> BTreeSet<AgentId> {
        let siblings = self.open.of_task(&run.row.run.task).into_iter();
        let siblings = siblings.filter(|id| id != run.id());
        let siblings = siblings.filter_map(|id| self.open.get(&id));
        let held = siblings.filter(|other| other.is_held() && other.row.target.is_none());
        held.filter_map(|other| other.row.agent.clone()).collect()
    }

    fn give_to(&mut self, id: &RunId, to: &AgentId) {
        let Some(run) = self.open.get_mut(id) else {
            return;
        };
        run.stage = Stage::Waiting;
        // One that shall not start is handed to nobody, and ends at the next look.
        if let Some(cancelled) = &mut run.cancelled {
            cancelled.confirmed = true;
        }
        let from = run.row.agent.clone();
        self.write(Write::ReassignRun {
            run_id: id.clone(),
            from,
            to: to.clone(),
        });
        self.open.give_to(id, to.clone());
    }

    /// Why a run was never handed to a link.
    fn why_unsent(&self, run: &OpenRun) -> String {
        if let Some(reason) = &run.refused {
            return reason.clone();
        }
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
            Some(_) if self.is_away_for_the_store(run, agent) => {
                let at = self.sessions.offline_since(agent);
                let at = at.map_or_else(String::new, |at| format!(" at {}", hms(at)));
                format!(
                    "the center could not write its store and let agent {name} go{at}; it was not back yet"
                )
            }
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

    /// Whether a run's agent may be away only because the center let it go while it could not write its store.
    fn is_away_for_the_store(&self, run: &OpenRun, agent: &AgentId) -> bool {
        let is_soon = run.row.run.fire_at() < self.watching.agents_by;
        is_soon && self.sessions.was_let_go(agent)
    }

    /// Ends a run of which it is certain that nothing was started.
    pub(super) fn end_missed(&mut self, now: Now, id: &RunId, reason: &str) {
        self.end_run(now, id, &Ending::unstarted(Outcome::Missed, reason, now.at));
    }

    /// An agent says that it will not start a run. The outcome waits for its instant: until then a change or a new
    /// link may give the run anew, and an outcome before it would be forgotten by the next center, which plans its
    /// window anew (seed 2933).
    pub(super) fn refused_by_agent(&mut self, now: Now, id: &RunId, reason: &str) {
        let Some(run) = self.open.get_mut(id) else {
            return;
        };
        if let Some(cancelled) = &mut run.cancelled {
            run.stage = Stage::Waiting;
            cancelled.confirmed = true;
            self.look_at_run(now, id);
        } else if run.row.run.fire_at() > now.at {
            run.stage = Stage::Waiting;
            run.refused = Some(reason.to_owned());
        } else {
            self.not_taken(now, id, reason);
        }
    }

    /// A due run that its agent has not started and will not: missed, unless there is time to give it anew.
    pub(super) fn not_taken(&mut self, now: Now, id: &RunId, reason: &str) {
        if !self.may_catch_up(now, id) {
            return self.end_missed(now, id, reason);
        }
        if let Some(run) = self.open.get_mut(id) {
            run.stage = Stage::Waiting;
            run.refused = Some(reason.to_owned());
            self.open.look_at(id, now.at.plus(ONE_EVERY));
        }
    }

    /// A run that has ended is not planned again by a change, neither before it is due nor after its clock was set
    /// back.
    pub(super) fn keep_from_planning(&mut self, now: Now, at: UnixMs, id: &RunId) {
        let oldest = now.at.minus(SET_BACK);
        while self.early.first().is_some_and(|(at, _)| *at <= oldest) {
            self.early.pop_first();
        }
        if at > oldest {
            self.early.insert((at, id.clone()));
        }
    }

    /// Gives an open run its outcome.
    pub(super) fn end_run(&mut self, now: Now, id: &RunId, ending: &Ending) {
        let Some(run) = self.open.remove(id) else {
            return;
        };
        if run.was_lost && ending.outcome == Outcome::Lost {
            return;
        }
        self.keep_from_planning(now, run.row.run.scheduled_at, id);
        match &run.row.agent {
            Some(agent) if run.was_lost && ending.attempt > 0 => {
                self.take_truth(now, agent, &run.row, ending);
            }
            _ => self.write(Write::EndRun {
                run_id: id.clone(),
                only_of: None,
                ending: Box::new(ending.clone()),
            }),
        }
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
        self.remember(&row.run.task, &view, row.run.cause == Cause::Daemon, 1);
        self.publish(Audience::Group(group), event);
        self.watch_end(now, row, ending);
        self.touch_ended(&view);
        // Misses are told by the row, of which one may be a span.
        if ending.outcome != Outcome::Missed {
            self.open.keep_ended(now.at, view);
        }
        self.settle_waits();
    }

    /// A task's last run and its strip: `count` runs have ended like this one.
    pub(super) fn remember(&mut self, task: &TaskId, view: &RunView, always: bool, count: usize) {
        if let Some(entry) = self.fleet.tasks.get_mut(task) {
            let newer = entry
                .last_run
                .as_ref()
                .is_none_or(|last| last.scheduled_at <= view.scheduled_at);
            if always || newer {
                entry.last_run = Some(view.clone());
            }
            let outcomes = std::iter::repeat_n(view.outcome, count.min(RECENT));
            entry.recent.extend(outcomes.flatten());
            while entry.recent.len() > RECENT {
                entry.recent.pop_front();
            }
        }
    }
}
