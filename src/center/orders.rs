//! Orders being put together: whatever one event decides for an agent goes in as few frames as possible, each
//! well under the frame limit, once the batch it belongs to is durable.

use std::collections::{BTreeMap, BTreeSet};

use super::changes::ChangeId;
use super::core::Core;
use super::event::{Effect, Now, Outstanding, SessionId};
use super::runs::{Cancelled, Stage};
use crate::model::{AgentId, RunId, TaskText};
use crate::proto::agent::{
    Cancel, Confirm, HeldAssignment, Kill, Order, PlannedRun, RestartSlots, ToAgent, Withdraw,
};

/// Runs in one frame at most: 1,000 × 300 bytes is under half the frame limit.
const MOST_RUNS: usize = 1_000;
/// Bytes of texts in one frame at most, likewise.
const MOST_TEXT: usize = 200 * 1024;

/// What is to be ordered of one agent.
#[derive(Debug, Default)]
pub struct Draft {
    /// Runs that shall not start.
    pub cancel: Vec<Cancel>,
    /// Runs to arm.
    pub plan: Vec<PlannedRun>,
    /// Daemons to keep alive.
    pub assign: Vec<HeldAssignment>,
    /// Daemons to end.
    pub withdraw: Vec<Withdraw>,
    /// Daemons to restart.
    pub restart: Vec<RestartSlots>,
    /// Signals.
    pub kill: Vec<Kill>,
    /// Changes that wait for the confirmation.
    changes: BTreeSet<ChangeId>,
}

/// Drafts of the event being handled.
#[derive(Debug, Default)]
pub struct Drafts {
    of: BTreeMap<AgentId, Draft>,
    /// The change being made: whatever is drafted now belongs to it.
    pub change: Option<ChangeId>,
}

impl Drafts {
    /// The draft for an agent.
    pub fn of(&mut self, agent: &AgentId) -> &mut Draft {
        let draft = self.of.entry(agent.clone()).or_default();
        draft.changes.extend(self.change);
        draft
    }

    /// Drops what was drafted for an agent whose link is gone.
    pub fn forget(&mut self, agent: &AgentId) {
        self.of.remove(agent);
    }

    fn take(&mut self) -> BTreeMap<AgentId, Draft> {
        std::mem::take(&mut self.of)
    }
}

impl Core {
    /// Turns the drafts into frames. Agents without a reconciled link get theirs by reconciliation.
    pub(super) fn send_orders(&mut self) {
        for (agent, mut draft) in self.drafts.take() {
            while self.sessions.is_linked(&agent) && self.send_order(&agent, &mut draft) {}
        }
    }

    /// One frame's worth of a draft; whether there may be more.
    fn send_order(&mut self, agent: &AgentId, draft: &mut Draft) -> bool {
        let head = |len: usize| len.min(MOST_RUNS);
        let mut order = Order {
            seq: 0,
            epoch: self.settings.epoch,
            texts: Vec::new(),
            cancel: draft.cancel.drain(..head(draft.cancel.len())).collect(),
            plan: Vec::new(),
            assign: Vec::new(),
            withdraw: std::mem::take(&mut draft.withdraw),
            restart: std::mem::take(&mut draft.restart),
            kill: std::mem::take(&mut draft.kill),
        };
        // A run that is cancelled and planned anew stays in one frame: cancels go first.
        if draft.cancel.is_empty() {
            self.fill(agent, draft, &mut order);
        }
        if is_empty(&order) {
            return false;
        }
        let Some(session) = self.sessions.of_mut(agent) else {
            return false;
        };
        session.seq += 1;
        order.seq = session.seq;
        let outstanding = Outstanding {
            planned: order
                .plan
                .iter()
                .map(|planned| planned.run.run_id.clone())
                .collect(),
            cancelled: order
                .cancel
                .iter()
                .map(|cancel| cancel.run_id.clone())
                .collect(),
        };
        session
            .outstanding
            .insert(order.seq, (outstanding, draft.changes.clone()));
        let (id, seq) = (session.id, order.seq);
        draft
            .changes
            .iter()
            .for_each(|change| self.changes.ordered(*change, agent, seq));
        self.later(Effect::ToAgent(id, Box::new(ToAgent::Order(order))));
        true
    }

    /// Plans and assignments with the texts they need, as many as fit.
    fn fill(&mut self, agent: &AgentId, draft: &mut Draft, order: &mut Order) {
        let mut bytes = 0;
        let mut planned = 0;
        for run in draft.plan.iter().take(MOST_RUNS) {
            if !self.carry(agent, &run.run.task, &mut order.texts, &mut bytes) {
                break;
            }
            planned += 1;
        }
        order.plan = draft.plan.drain(..planned).collect();
        let mut assigned = 0;
        for assignment in &draft.assign {
            if !self.carry(agent, &assignment.task, &mut order.texts, &mut bytes) {
                break;
            }
            assigned += 1;
        }
        order.assign = draft.assign.drain(..assigned).collect();
    }

    /// Sees to it that a task's text is on the link or in this frame; whether it fits.
    fn carry(
        &mut self,
        agent: &AgentId,
        task: &crate::model::TaskId,
        texts: &mut Vec<TaskText>,
        bytes: &mut usize,
    ) -> bool {
        // A task that is gone meanwhile: its runs are being cancelled, the agent needs no text.
        let Some(entry) = self.fleet.tasks.get(task) else {
            return true;
        };
        let key = (entry.task.id.clone(), entry.task.revision);
        let Some(session) = self.sessions.of_mut(agent) else {
            return true;
        };
        if session.texts.contains(&key) {
            return true;
        }
        let text = entry.task.text();
        let size = serde_json::to_vec(&text).map_or(0, |json| json.len());
        if *bytes > 0 && *bytes + size > MOST_TEXT {
            return false;
        }
        *bytes += size;
        session.texts.insert(key);
        texts.push(text);
        true
    }

    /// An agent has an order on its disk.
    pub(super) fn confirmed(&mut self, now: Now, id: SessionId, confirm: &Confirm) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let agent = session.agent.clone();
        let Some((outstanding, changes)) = session.outstanding.remove(&confirm.seq) else {
            return;
        };
        let later = self.asked_later(id);
        let again: BTreeSet<&RunId> = later.iter().chain(&outstanding.planned).collect();
        for run in &outstanding.cancelled {
            let had_started = confirm.started.contains(run);
            if had_started || !again.contains(run) {
                self.cancel_confirmed(now, run, had_started);
            }
            for change in &changes {
                self.changes.cancelled(*change, run, had_started);
            }
        }
        for refused in &confirm.refused {
            // A later order may have armed it; confirmations overtake one another where a disk fails in between.
            let open = self.open.get(&refused.run_id);
            let is_last_word = !later.contains(&refused.run_id)
                && open.is_some_and(|open| open.stage == Stage::Handed);
            if is_last_word {
                self.refused_by_agent(now, &refused.run_id, &refused.reason);
            }
        }
        for run in &outstanding.planned {
            if let Some(open) = self
                .open
                .get_mut(run)
                .filter(|open| open.stage == Stage::Handed)
            {
                open.stage = Stage::Armed;
            }
        }
        for change in &changes {
            self.changes.confirmed(*change, &agent, confirm.seq);
        }
    }

    /// Runs that orders not confirmed yet plan or cancel: what an earlier order did to them is not the last word.
    fn asked_later(&self, id: SessionId) -> BTreeSet<RunId> {
        let session = self.sessions.iter().filter(|session| session.id == id);
        session
            .flat_map(|session| session.outstanding.values())
            .flat_map(|(order, _)| order.planned.iter().chain(&order.cancelled))
            .cloned()
            .collect()
    }

    fn cancel_confirmed(&mut self, now: Now, id: &RunId, had_started: bool) {
        let Some(run) = self.open.get_mut(id) else {
            return;
        };
        if had_started {
            run.cancelled = None;
            return;
        }
        let Some(Cancelled { confirmed, .. }) = &mut run.cancelled else {
            return;
        };
        *confirmed = true;
        run.stage = Stage::Waiting;
        if run.row.run.scheduled_at <= now.at {
            self.look_at_run(now, id);
        }
    }
}

fn is_empty(order: &Order) -> bool {
    order.cancel.is_empty()
        && order.plan.is_empty()
        && order.assign.is_empty()
        && order.withdraw.is_empty()
        && order.restart.is_empty()
        && order.kill.is_empty()
}
