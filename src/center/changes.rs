//! Changes that wait for agents to confirm before their answer is given: 5 s for connected agents, not at all
//! for others; the answer names those that may still fire, and until when. Also clients that wait for runs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::core::Core;
use super::event::{Effect, Now, SessionId};
use crate::model::{AgentId, RunId, TaskId, UnixMs};
use crate::proto::client::{AnswerFrame, ToClient};
use crate::proto::request::{Answer, Changed, RunPage, Saved, Unconfirmed};
use crate::proto::view::RunView;

/// How long an answer waits for connected agents.
const WAIT: Duration = Duration::from_secs(5);

/// Names a change that waits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChangeId(u64);

/// A change that waits.
#[derive(Debug)]
struct Change {
    session: SessionId,
    request: u64,
    task: Option<TaskId>,
    deadline: UnixMs,
    pending: BTreeSet<(AgentId, u64)>,
    /// Agents that hold something of it and cannot be asked now.
    away: BTreeSet<AgentId>,
    hit: Changed,
    saved: Option<Box<Saved>>,
    counted: BTreeSet<RunId>,
}

/// All changes that wait.
#[derive(Debug, Default)]
pub struct Changes {
    last: u64,
    open: BTreeMap<ChangeId, Change>,
}

impl Changes {
    /// A change begins: what is drafted from now on belongs to it.
    pub fn begin(
        &mut self,
        now: UnixMs,
        session: SessionId,
        request: u64,
        task: Option<TaskId>,
    ) -> ChangeId {
        self.last += 1;
        let id = ChangeId(self.last);
        let change = Change {
            session,
            request,
            task,
            deadline: now.plus(WAIT),
            pending: BTreeSet::new(),
            away: BTreeSet::new(),
            hit: Changed::default(),
            saved: None,
            counted: BTreeSet::new(),
        };
        self.open.insert(id, change);
        id
    }

    /// What the answer will say, once it is given.
    pub fn tell(&mut self, id: ChangeId, hit: Changed, saved: Option<Saved>) {
        if let Some(change) = self.open.get_mut(&id) {
            change.hit = hit;
            change.saved = saved.map(Box::new);
        }
    }

    /// An agent without a link holds something of this change.
    pub fn away(&mut self, id: ChangeId, agent: AgentId) {
        if let Some(change) = self.open.get_mut(&id) {
            change.away.insert(agent);
        }
    }

    /// An order of this change is on its way.
    pub fn ordered(&mut self, id: ChangeId, agent: &AgentId, seq: u64) {
        if let Some(change) = self.open.get_mut(&id) {
            change.pending.insert((agent.clone(), seq));
        }
    }

    /// An order of this change is on the agent's disk.
    pub fn confirmed(&mut self, id: ChangeId, agent: &AgentId, seq: u64) {
        if let Some(change) = self.open.get_mut(&id) {
            change.pending.remove(&(agent.clone(), seq));
        }
    }

    /// A run of this change was cancelled, or had started.
    pub fn cancelled(&mut self, id: ChangeId, run: &RunId, had_started: bool) {
        let Some(change) = self.open.get_mut(&id) else {
            return;
        };
        // Counted as cancelled when the change was made; the agent knows better.
        if had_started && change.counted.insert(run.clone()) {
            change.hit.cancelled = change.hit.cancelled.saturating_sub(1);
            change.hit.stopped += 1;
        }
    }

    /// Runs that were counted as stopped when the change was made.
    pub fn counted(&mut self, id: ChangeId, runs: impl IntoIterator<Item = RunId>) {
        if let Some(change) = self.open.get_mut(&id) {
            change.counted.extend(runs);
        }
    }

    /// The link to an agent is gone before it confirmed.
    pub fn agent_gone(&mut self, id: ChangeId, agent: &AgentId) {
        let Some(change) = self.open.get_mut(&id) else {
            return;
        };
        let before = change.pending.len();
        change.pending.retain(|(pending, _)| pending != agent);
        if change.pending.len() < before {
            change.away.insert(agent.clone());
        }
    }

    /// A client is gone: nobody waits for its answers.
    pub fn client_gone(&mut self, session: SessionId) {
        self.open.retain(|_, change| change.session != session);
    }

    /// Throws all away; the requests that wait.
    pub fn clear(&mut self) -> Vec<(SessionId, u64)> {
        std::mem::take(&mut self.open)
            .into_values()
            .map(|change| (change.session, change.request))
            .collect()
    }

    /// When the first answer must be given whatever is confirmed.
    pub fn next_deadline(&self) -> Option<UnixMs> {
        self.open.values().map(|change| change.deadline).min()
    }

    fn take_settled(&mut self, now: UnixMs) -> Vec<Change> {
        let settled = |change: &Change| change.pending.is_empty() || change.deadline <= now;
        let ids: Vec<ChangeId> = self
            .open
            .iter()
            .filter(|(_, change)| settled(change))
            .map(|(id, _)| *id)
            .collect();
        ids.iter().filter_map(|id| self.open.remove(id)).collect()
    }
}

/// A client that waits for runs to end.
#[derive(Debug)]
pub struct RunWaiter {
    /// The client.
    pub session: SessionId,
    /// Its request.
    pub request: u64,
    /// Runs that have not ended.
    pub waiting: BTreeSet<RunId>,
    /// Those that have.
    pub ended: Vec<RunView>,
}

impl Core {
    /// Gives the answers of changes that need wait no longer.
    pub(super) fn settle_changes(&mut self, now: Now) {
        for change in self.changes.take_settled(now.at) {
            let unconfirmed = self.unconfirmed(&change);
            let mut hit = change.hit;
            hit.unconfirmed = unconfirmed;
            let answer = match change.saved {
                Some(mut saved) => {
                    saved.hit = hit;
                    Answer::Saved(saved)
                }
                None => Answer::Changed(Box::new(hit)),
            };
            self.answer_later(change.session, change.request, answer);
        }
    }

    fn unconfirmed(&self, change: &Change) -> Vec<Unconfirmed> {
        let mut agents = change.away.clone();
        agents.extend(change.pending.iter().map(|(agent, _)| agent.clone()));
        let until = |agent: &AgentId| self.may_fire_until(change.task.as_ref(), agent);
        let named = agents
            .iter()
            .filter_map(|id| self.fleet.agents.get(id).map(|row| (id, row.name.clone())));
        named
            .map(|(id, agent)| Unconfirmed {
                agent,
                may_fire_until: until(id),
            })
            .collect()
    }

    /// Until when an agent may start what it holds of a task.
    fn may_fire_until(&self, task: Option<&TaskId>, agent: &AgentId) -> Option<UnixMs> {
        let runs = self
            .open
            .of_task(task?)
            .into_iter()
            .filter_map(|id| self.open.get(&id));
        let held =
            runs.filter(|run| run.row.agent.as_ref() == Some(agent) && !run.stage.has_started());
        held.map(|run| run.row.start_before).max()
    }

    /// Answers a request once everything decided so far is durable.
    pub(super) fn answer_later(&mut self, session: SessionId, id: u64, answer: Answer) {
        let frame = ToClient::Answer(Box::new(AnswerFrame { id, answer }));
        self.later(Effect::ToClient(session, Box::new(frame)));
    }

    /// A run has ended that somebody may wait for.
    pub(super) fn run_waited_for(&mut self, view: &RunView) {
        for waiter in &mut self.waits {
            if waiter.waiting.remove(&view.run_id) {
                waiter.ended.push(view.clone());
            }
        }
        self.settle_waits();
    }

    /// Answers those who have nothing left to wait for.
    pub(super) fn settle_waits(&mut self) {
        let done: Vec<RunWaiter> = self
            .waits
            .extract_if(.., |waiter| waiter.waiting.is_empty())
            .collect();
        for waiter in done {
            let page = RunPage {
                runs: waiter.ended,
                more: false,
            };
            self.answer_later(waiter.session, waiter.request, Answer::Runs(page));
        }
    }
}
