//! Changes that wait for agents to confirm before their answer is given: 5 s for connected agents, not at all
//! for others; the answer names those that may still fire, and until when. Also clients that wait for runs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::clients::Asker;
use super::core::Core;
use super::event::{Effect, Now, SessionId, Ticket};
use super::reads::{Reading, unreadable};
use crate::model::{AgentId, RequestId, RunId, TaskId, UnixMs};
use crate::proto::client::{AnswerFrame, ToClient};
use crate::proto::request::{Answer, Changed, RunPage, Saved, Unconfirmed};
use crate::proto::view::RunView;
use crate::store::{RunQuery, StoredRun};

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
    /// Under which it may be asked for again, over another link.
    request_id: Option<RequestId>,
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
            request_id: None,
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

    /// The change that this request began may be asked for again under this id.
    pub fn set_request_id(&mut self, session: SessionId, request: u64, id: &RequestId) {
        for change in self.open.values_mut() {
            if (change.session, change.request) == (session, request) {
                change.request_id = Some(id.clone());
            }
        }
    }

    /// A request is repeated while its change still waits: the answer goes to where it was asked last. Whether
    /// one waits.
    pub fn follow(&mut self, id: &RequestId, session: SessionId, request: u64) -> bool {
        let waiting = self.open.values_mut();
        let same = |change: &&mut Change| change.request_id.as_ref() == Some(id);
        let Some(change) = waiting.into_iter().find(same) else {
            return false;
        };
        (change.session, change.request) = (session, request);
        true
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

    /// A client is gone: nobody waits for its answers, unless it may come back and ask again.
    pub fn client_gone(&mut self, session: SessionId) {
        self.open
            .retain(|_, change| change.session != session || change.request_id.is_some());
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

/// A client that waits for runs to end. When all have, they are read from the store, which knows also those that
/// ended before the question came; what it does not know, or the asker may not see, is left out.
#[derive(Debug)]
pub struct RunWaiter {
    /// The client and its request.
    pub asker: Asker,
    /// What it waits for.
    pub runs: Vec<RunId>,
    /// Reads under way; none while a run is open.
    reads: BTreeSet<Ticket>,
    /// What was read.
    found: Vec<RunView>,
}

impl RunWaiter {
    /// Somebody who waits for these.
    pub fn new(asker: Asker, runs: Vec<RunId>) -> Self {
        Self {
            asker,
            runs,
            reads: BTreeSet::new(),
            found: Vec::new(),
        }
    }
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
            if let Some(id) = &change.request_id {
                self.keep_final(id, &answer);
            }
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

    /// Reads the runs of those who have nothing left to wait for, once their endings are durable.
    pub(super) fn settle_waits(&mut self) {
        let mut waits = std::mem::take(&mut self.waits);
        let ripe = |core: &Self, waiter: &RunWaiter| {
            waiter.reads.is_empty() && !waiter.runs.iter().any(|id| core.is_open(id))
        };
        for waiter in &mut waits {
            if !ripe(self, waiter) {
                continue;
            }
            for id in waiter.runs.clone() {
                waiter.reads.insert(self.read_waited(&waiter.asker, &id));
            }
        }
        self.waits = waits;
    }

    fn read_waited(&mut self, asker: &Asker, id: &RunId) -> Ticket {
        let ticket = self.ticket();
        let query = RunQuery {
            id_suffix: Some(id.to_string()),
            limit: 1,
            ..RunQuery::default()
        };
        self.reading.insert(ticket, Reading::Waited(asker.clone()));
        self.later(Effect::ReadRuns(ticket, query));
        ticket
    }

    /// A run that somebody waited for was read; the last one brings the answer.
    pub(super) fn waited_read(
        &mut self,
        asker: &Asker,
        ticket: Ticket,
        runs: Result<Vec<StoredRun>, String>,
    ) {
        let of = |waiter: &RunWaiter| waiter.reads.contains(&ticket);
        let Some(at) = self.waits.iter().position(of) else {
            return;
        };
        let runs = match runs {
            Ok(runs) => runs,
            Err(trouble) => {
                self.waits.remove(at);
                return self.answer_now(asker, Err(unreadable(&trouble)));
            }
        };
        let seen = runs.iter().map(|run| self.stored_view(run));
        let seen: Vec<RunView> = seen.filter(|view| asker.access.sees(&view.group)).collect();
        let waiter = &mut self.waits[at];
        waiter.reads.remove(&ticket);
        waiter.found.extend(seen);
        if waiter.reads.is_empty() {
            let RunWaiter { asker, found, .. } = self.waits.remove(at);
            let page = RunPage {
                runs: found,
                more: false,
            };
            self.answer_later(asker.session, asker.request, Answer::Runs(page));
        }
    }

    /// Memory was read anew: reads that waited for the batch that failed were never made.
    pub(super) fn wait_anew(&mut self) {
        self.reading
            .retain(|_, reading| !matches!(reading, Reading::Waited(_)));
        for waiter in &mut self.waits {
            waiter.reads.clear();
            waiter.found.clear();
        }
        self.settle_waits();
    }
}
