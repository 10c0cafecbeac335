//! A store that does not take what the core has decided: all of it is taken back, and memory is read anew once the
//! store answers. See the core for what waits for a batch.

use std::time::Duration;

use super::core::Core;
use super::event::{Effect, LogLevel, Now, SessionId};
use crate::model::AgentId;
use crate::proto::hello::{ErrorFrame, LinkError};
use crate::store::Snapshot;

/// Whether the store takes writes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// It does.
    Well,
    /// It did not; memory is being read anew.
    Reloading {
        /// What it said.
        trouble: String,
    },
}

/// What became of a batch that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It changed nothing.
    Unchanged,
    /// It is written whole or not at all.
    Open,
}

/// How often a store that failed is tried again.
const RELOAD_EVERY: Duration = Duration::from_secs(1);

impl Core {
    /// The batch under way is not known to be durable: all that depended on it is taken back.
    pub(super) fn fail(&mut self, now: Now, trouble: &str, fate: Fate) {
        let under_way = self.in_flight.take().unwrap_or_default();
        let held = std::mem::take(&mut self.held);
        self.writes.clear();
        self.health = Health::Reloading {
            trouble: trouble.to_owned(),
        };
        self.log(LogLevel::Warn, trouble.to_owned());
        self.take_back(under_way, trouble, fate);
        self.take_back(held, trouble, Fate::Unchanged);
        self.refuse_changes(trouble);
        self.close_agents(now, trouble);
        self.retry_at = Some(now.mono + RELOAD_EVERY);
        self.watch_store(now);
    }

    /// A batch under way tells its own end; without one nothing else would say that nothing can be written, or why it
    /// still cannot.
    pub(super) fn store_silent(&mut self, now: Now, trouble: &str) {
        match &mut self.health {
            Health::Well if self.in_flight.is_none() => self.fail(now, trouble, Fate::Unchanged),
            Health::Well => {}
            Health::Reloading { trouble: told } => {
                trouble.clone_into(told);
                self.watch_store(now);
            }
        }
    }

    /// The lease has run out by this center's own clock: another may lead by now, so nothing that waits for the store
    /// is said any more, whatever comes of the batch under way. Clients look for who leads.
    pub(super) fn lapse(&mut self, now: Now, trouble: &str) {
        if self.roster.has_others() {
            self.doubt_store(now);
            self.close_clients(trouble);
        }
        self.fail(now, trouble, Fate::Open);
    }

    /// Lets go of every link: agents reconcile when the store can be written again. What still comes on them is
    /// not heard: it would be decided on memory that is thrown away, and written beside what is read anew.
    pub(super) fn close_agents(&mut self, now: Now, trouble: &str) {
        let all = self.sessions.iter();
        let all: Vec<(SessionId, AgentId)> = all
            .map(|session| (session.id, session.agent.clone()))
            .collect();
        for (id, agent) in all {
            self.sessions.let_go.insert(agent);
            let message = trouble.to_owned();
            self.now(Effect::Close(
                id,
                ErrorFrame {
                    code: LinkError::Internal,
                    message,
                },
            ));
            self.agent_down(now, id, trouble);
        }
    }

    pub(super) fn retry_store(&mut self, now: Now) {
        if self.retry_at.is_some_and(|at| at <= now.mono) {
            self.retry_at = None;
            self.now(Effect::Load);
        }
    }

    pub(super) fn reload(&mut self, now: Now, result: Result<Box<Snapshot>, String>) {
        match result {
            Ok(snapshot) => {
                self.adopt(&snapshot);
                self.remember_anew(&snapshot);
                // A batch of nothing but the lease's renewal: a full disk can be read, and is not well for that.
                self.in_flight = Some(Vec::new());
                self.now(Effect::Commit(Vec::new()));
            }
            Err(trouble) => {
                self.health = Health::Reloading { trouble };
                self.retry_at = Some(now.mono + RELOAD_EVERY);
                self.watch_store(now);
            }
        }
    }
}
