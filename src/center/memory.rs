//! What a restart of the center, or a takeover by another, must not forget of conditions: what is wrong, and what of
//! it was told. One memory a condition, written to the store with the batch of what caused it. What is wrong with the
//! store itself cannot be kept there, and is this center's own: that goes into a file beside it.

use serde::{Deserialize, Serialize};

use super::conditions::{Condition, Key, Place};
use super::core::Core;
use super::event::{Effect, Now};
use super::failing::Health;
use super::notices::{Notice, Told};
use crate::model::{ConditionKind, Fingerprint, FleetId, GroupName, UnixMs};
use crate::store::{Snapshot, Write};

/// What another center makes of it; fields may be added, for centers of two versions may share a store.
#[derive(Serialize, Deserialize)]
struct Memory {
    key: Key,
    held: Option<Condition>,
    streaks: Vec<(Place, u16)>,
    told: Option<Told>,
}

/// Whether it is this center's own.
fn is_local(key: &Key) -> bool {
    *key == Key::center(ConditionKind::Store)
}

/// Under which name a condition is remembered.
fn name(key: &Key) -> String {
    let text = serde_json::to_string(key).unwrap_or_default();
    let digest = Fingerprint::of(text.as_bytes()).to_string();
    digest.chars().take(32).collect()
}

/// The notice that a store which was told to be out of this center's reach is within it again, for a center that stands
/// by meanwhile, and the groups that were told; none where nothing was.
pub(super) fn reached_again(
    kept: &str,
    now: UnixMs,
    fleet: &FleetId,
    center: String,
) -> Option<(Vec<GroupName>, String)> {
    let memory: Memory = serde_json::from_str(kept).ok()?;
    let turn = memory.told.as_ref()?.standing()?;
    let reason = "another center leads";
    let notice = Notice {
        version: 1,
        event: "ended",
        condition: turn.key.kind,
        task: None,
        agent: None,
        agents: Vec::new(),
        groups: turn.label.groups.clone(),
        began_at: turn.began_at,
        ended_at: Some(now),
        reason: reason.to_owned(),
        times: 0,
        text: format!("the center: {} is over: {reason}", turn.key.kind),
        fleet: fleet.to_string(),
        center,
    };
    let text = serde_json::to_string(&notice).ok()?;
    Some((notice.groups, text))
}

impl Core {
    /// Goes on with what the leader before has remembered.
    pub(super) fn recall_all(&mut self, now: Now, snapshot: &Snapshot) {
        let freezes = super::freezes::MEMORY;
        let memories = snapshot.memories.iter();
        for (name, text) in memories.filter(|(name, _)| *name != freezes) {
            if !self.recall(now, text) {
                // Of another version; nobody else would take it away.
                let (name, text) = (name.clone(), None);
                self.write(Write::Remember { name, text });
            }
        }
    }

    /// Goes on with one condition, as [`Effect::Keep`] gave it or the store holds it. Text that is none counts as
    /// nothing.
    pub fn recall(&mut self, now: Now, text: &str) -> bool {
        let Ok(memory) = serde_json::from_str::<Memory>(text) else {
            return false;
        };
        self.conditions
            .recall(&memory.key, memory.held, memory.streaks);
        let is_local = is_local(&memory.key);
        if let Some(told) = memory.told {
            self.notices.recall(now.at, memory.key, told);
        }
        if is_local {
            self.watch_store(now);
        }
        true
    }

    /// The store may not hold what was written last: all is written again.
    pub(super) fn remember_anew(&mut self, snapshot: &Snapshot) {
        let stored = snapshot.memories.values();
        let stored = stored.filter_map(|text| serde_json::from_str::<Memory>(text).ok());
        self.watching
            .unremembered
            .extend(stored.map(|memory: Memory| memory.key));
        self.watching
            .unremembered
            .append(&mut self.conditions.keys());
        self.watching
            .unremembered
            .extend(self.notices.keys().cloned());
    }

    /// At the end of each event: what changed is written, now or when the store can be.
    pub(super) fn keep_memories(&mut self) {
        self.watching
            .unremembered
            .append(&mut self.conditions.take_changed());
        self.watching
            .unremembered
            .append(&mut self.notices.take_changed());
        let local = Key::center(ConditionKind::Store);
        if self.watching.unremembered.remove(&local) {
            let text = self.memory(&local).unwrap_or_default();
            self.now(Effect::Keep(text));
        }
        if self.health != Health::Well {
            return;
        }
        for key in std::mem::take(&mut self.watching.unremembered) {
            let (name, text) = (name(&key), self.memory(&key));
            self.write(Write::Remember { name, text });
        }
    }

    /// A condition's memory; none where there is nothing to remember.
    fn memory(&self, key: &Key) -> Option<String> {
        let (held, streaks) = self.conditions.known(key);
        let memory = Memory {
            key: key.clone(),
            held: held.cloned(),
            streaks,
            told: self.notices.told(key).cloned(),
        };
        if memory.held.is_none() && memory.told.is_none() && memory.streaks.is_empty() {
            return None;
        }
        // Nothing in it has a form that JSON has not.
        serde_json::to_string(&memory).ok()
    }
}
