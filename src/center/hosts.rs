//! What is wrong with agents and their hosts: silence, clocks, and what they say of themselves.

use std::time::Duration;

use super::conditions::{Deadline, Key, Place};
use super::core::Core;
use super::event::{LogLevel, Now};
use super::views::hms;
use super::watching::LOOK_AGAIN;
use crate::model::{AgentId, ConditionKind};
use crate::proto::agent::Trouble;
use crate::rule::format_duration;

/// A copy that was not heard for so long is gone: the rarest that an agent dials is each 30 s.
pub(super) const COPY_GONE: Duration = Duration::from_secs(90);
/// A clock further off than this is wrong; the design's limit for small offsets.
const SKEW: u64 = 1_000;
/// It is right again below this, so that one at the limit does not come and go.
const SKEW_RIGHT: u64 = 500;

impl Core {
    /// An agent has no link any more.
    pub(super) fn watch_gone(&mut self, now: Now, agent: &AgentId) {
        self.conditions.remind(
            now.at.plus(self.settings.silent),
            Deadline::Agent(agent.clone()),
        );
    }

    pub(super) fn should_have_come(&mut self, now: Now, agent: &AgentId) {
        let Some(row) = self.fleet.agents.get(agent) else {
            return;
        };
        if row.draining || self.sessions.of(agent).is_some() {
            return;
        }
        if self.is_too_early(now, Some(agent)) {
            let later = self.watching.agents_by.max(now.at.plus(LOOK_AGAIN));
            let of = Deadline::Agent(agent.clone());
            return self.conditions.remind(later, of);
        }
        if let Some(since) = self.sessions.offline_since(agent) {
            let due = since.plus(self.settings.silent);
            if due > now.at {
                // It came and went meanwhile.
                return self.conditions.remind(due, Deadline::Agent(agent.clone()));
            }
        }
        let last = row.last_seen_at.map_or("it joined".to_owned(), hms);
        let key = Key::agent(agent, ConditionKind::Silent);
        let reason = format!("offline, last heard {last}");
        self.conditions.raise(now.at, &key, Place::Whole, reason);
        for kind in [
            ConditionKind::Clock,
            ConditionKind::Journal,
            ConditionKind::Keeper,
            ConditionKind::Disk,
        ] {
            let key = Key::agent(agent, kind);
            self.conditions
                .clear(now.at, &key, &Place::Whole, "the agent is silent");
        }
    }

    /// An agent has connected.
    pub(super) fn watch_back(&mut self, now: Now, agent: &AgentId) {
        let key = Key::agent(agent, ConditionKind::Silent);
        self.conditions
            .clear(now.at, &key, &Place::Whole, "the agent is back");
    }

    /// A copy of an agent, or an older state of it, was refused.
    pub(super) fn watch_copy(&mut self, now: Now, agent: &AgentId, from: &str, why: &str) {
        let live = self.sessions.of(agent);
        let live = live.map_or(String::new(), |live| format!(" at {}", live.address));
        let reason = format!("one at {from} was refused: {why}{live}");
        let key = Key::agent(agent, ConditionKind::Copied);
        if !self.conditions.is_at(&key, &Place::Whole) {
            self.log(LogLevel::Warn, reason.clone());
            let by = now.at.plus(COPY_GONE);
            self.conditions.remind(by, Deadline::Copy(agent.clone()));
        }
        self.conditions.raise(now.at, &key, Place::Whole, reason);
        self.sessions.copy_heard(agent, now.mono);
    }

    pub(super) fn should_be_gone(&mut self, now: Now, agent: &AgentId) {
        let key = Key::agent(agent, ConditionKind::Copied);
        let silent = self.sessions.copy_silent_for(agent, now.mono);
        let rest = COPY_GONE.saturating_sub(silent);
        if self.conditions.is_at(&key, &Place::Whole) && !rest.is_zero() {
            let of = Deadline::Copy(agent.clone());
            return self.conditions.remind(now.at.plus(rest), of);
        }
        let why = "the copy does not call any more";
        self.conditions.clear(now.at, &key, &Place::Whole, why);
    }

    /// What an agent says of itself.
    pub(super) fn watch_beat(
        &mut self,
        now: Now,
        agent: &AgentId,
        skew_ms: Option<i64>,
        troubles: &[Trouble],
    ) {
        self.watch_clock(now, agent, skew_ms);
        self.watch_problems(now, agent);
        for kind in [
            ConditionKind::Journal,
            ConditionKind::Keeper,
            ConditionKind::Disk,
        ] {
            let key = Key::agent(agent, kind);
            match troubles
                .iter()
                .find(|trouble| trouble.kind.condition() == kind)
            {
                Some(trouble) => {
                    let reason = trouble.reason.clone();
                    self.conditions.raise(now.at, &key, Place::Whole, reason);
                }
                None => {
                    self.conditions.clear(
                        now.at,
                        &key,
                        &Place::Whole,
                        "the agent says that it is over",
                    );
                }
            }
        }
    }

    /// What an agent says of journals that lie aside.
    pub(super) fn watch_problems(&mut self, now: Now, agent: &AgentId) {
        let Some(session) = self.sessions.of(agent) else {
            return;
        };
        let key = Key::agent(agent, ConditionKind::Damaged);
        if !session.problems.is_empty() {
            let reason = session.problems.join("; ");
            self.conditions.raise(now.at, &key, Place::Whole, reason);
        } else if session.reconciled {
            // It says so together with what it holds, or not at all.
            self.conditions
                .clear(now.at, &key, &Place::Whole, "nothing lies aside any more");
        }
    }

    fn watch_clock(&mut self, now: Now, agent: &AgentId, skew_ms: Option<i64>) {
        let Some(skew) = skew_ms else { return };
        let key = Key::agent(agent, ConditionKind::Clock);
        let off = skew.unsigned_abs();
        if off > SKEW {
            let span = format_duration(Duration::from_millis(off - off % 100));
            let way = if skew > 0 { "ahead of" } else { "behind" };
            let reason = format!("{span} {way} the center's");
            self.conditions.raise(now.at, &key, Place::Whole, reason);
        } else if off < SKEW_RIGHT {
            self.conditions
                .clear(now.at, &key, &Place::Whole, "its clock is right again");
        }
    }
}
