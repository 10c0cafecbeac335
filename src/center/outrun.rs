//! Agents that have obeyed another center: one with a higher epoch, or with the own one before this center told it.

use super::core::Core;
use super::event::{Effect, LogLevel, Now, SessionId};
use crate::model::{AgentId, Epoch};
use crate::proto::hello::LinkError;
use crate::store::AgentRow;

/// By how much an agent may raise the epoch. A store that lost transactions lost few takeovers; an agent that says
/// more is broken or lies, and must not use epochs up.
const EPOCH_JUMP: u64 = 1_000_000;

impl Core {
    /// Whether an agent has obeyed another center whose epoch is not below this one's. An epoch that is the own counts
    /// when this center has not told it yet: two have taken the lead with it.
    pub(super) fn is_outrun(&self, agent: &AgentId, seen: Epoch) -> bool {
        let own = self.settings.epoch;
        seen > own || (seen == own && !self.sessions.greeted.contains(agent))
    }

    /// An agent has obeyed a center of such an epoch, as when the store has lost its last transactions.
    pub(super) fn outrun(&mut self, now: Now, id: SessionId, row: &AgentRow, seen: Epoch) {
        let own = self.settings.epoch;
        let text = format!(
            "agent {} has seen epoch {seen}, this center leads with {own}",
            row.name
        );
        if seen.0 - own.0 <= EPOCH_JUMP {
            self.log(
                LogLevel::Warn,
                format!("{text}; the epoch is raised above it"),
            );
            self.now(Effect::RaiseEpoch(seen));
        }
        self.close_agent_link(now, id, LinkError::Epoch, text);
    }
}
