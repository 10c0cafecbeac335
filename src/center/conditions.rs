//! What is wrong now: a table of conditions, each of one kind and one subject, at one or more places. A condition
//! begins with its first place and ends with its last; what changed is taken from the table by the core, which
//! tells everybody. Owns no thresholds (see `watching.rs`), sends nothing (see `notices.rs`).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::{
    AgentId, AgentName, ConditionKind, GroupName, RunId, Slot, TaskId, TaskPath, UnixMs,
};

/// Whose condition it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The center's own.
    Center,
    /// Another center's, by its id.
    Standby(String),
    /// A group's: its notify command.
    Group(GroupName),
    /// An agent's.
    Agent(AgentId),
    /// A task's.
    Task(TaskId),
}

/// One kind of trouble of one subject.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Key {
    /// Whose.
    pub subject: Subject,
    /// What.
    pub kind: ConditionKind,
}

impl Key {
    /// A task's.
    pub fn task(id: &TaskId, kind: ConditionKind) -> Self {
        Self {
            subject: Subject::Task(id.clone()),
            kind,
        }
    }

    /// An agent's.
    pub fn agent(id: &AgentId, kind: ConditionKind) -> Self {
        Self {
            subject: Subject::Agent(id.clone()),
            kind,
        }
    }

    /// The center's.
    pub fn center(kind: ConditionKind) -> Self {
        Self {
            subject: Subject::Center,
            kind,
        }
    }
}

/// Where a subject is in trouble.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The subject as a whole.
    Whole,
    /// A task's slot on an agent; without one where the task has target `one`, or no agent.
    Slot(Option<AgentId>, Slot),
}

/// A subject by its name, and whom it concerns; known also when it is gone.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Label {
    /// A task's.
    pub task: Option<TaskPath>,
    /// An agent's.
    pub agent: Option<AgentName>,
    /// The groups that it concerns.
    pub groups: Vec<GroupName>,
}

/// Something wrong now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Condition {
    /// Since when.
    pub began_at: UnixMs,
    /// Why, as last said.
    pub reason: String,
    /// Where.
    pub places: BTreeSet<Place>,
    /// Whose, as last told.
    pub label: Label,
}

/// A condition that began or ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Turn {
    /// Which.
    pub key: Key,
    /// When it began.
    pub began_at: UnixMs,
    /// When it ended; none where it began.
    pub ended_at: Option<UnixMs>,
    /// Why it began, or ended.
    pub reason: String,
    /// The agents where it is, or last was.
    pub agents: BTreeSet<AgentId>,
    /// Whose, as last told.
    pub label: Label,
}

/// An instant at which something may be wrong if nothing was heard until then.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Deadline {
    /// A run has not started.
    Start(RunId),
    /// A run has not ended.
    End(RunId),
    /// An agent has not connected.
    Agent(AgentId),
    /// No copy of an agent was refused any more.
    Copy(AgentId),
}

/// The table.
#[derive(Debug, Default)]
pub struct Conditions {
    now: BTreeMap<Key, Condition>,
    /// Wrong runs in a row that are too few yet to be told.
    streaks: BTreeMap<(Key, Place), u16>,
    /// What changed since it was asked last.
    changed: BTreeSet<Key>,
    deadlines: BTreeSet<(UnixMs, Deadline)>,
    turns: Vec<Turn>,
}

impl Conditions {
    /// Something is wrong at a place.
    pub fn raise(&mut self, now: UnixMs, key: &Key, place: Place, reason: String) {
        if let Some(known) = self.now.get_mut(key) {
            if known.places.insert(place) {
                self.changed.insert(key.clone());
            }
            known.reason = reason;
            return;
        }
        self.changed.insert(key.clone());
        let begun = Condition {
            began_at: now,
            reason,
            places: BTreeSet::from([place]),
            label: Label::default(),
        };
        self.turns.push(turn(key, &begun, None));
        self.now.insert(key.clone(), begun);
    }

    /// Something is wrong at a place once more; told when it is so for the `most`th time in a row.
    pub fn count(&mut self, now: UnixMs, key: &Key, place: Place, most: u16, reason: String) {
        let at = (key.clone(), place);
        let is_known = self.is_at(key, &at.1);
        let streak = self.streaks.entry(at.clone()).or_default();
        *streak = streak.saturating_add(1);
        if is_known || *streak >= most {
            self.streaks.remove(&at);
            self.raise(now, key, at.1, reason);
        } else {
            self.changed.insert(key.clone());
        }
    }

    /// It is right again at a place.
    pub fn clear(&mut self, now: UnixMs, key: &Key, place: &Place, why: &str) {
        if self.streaks.remove(&(key.clone(), place.clone())).is_some() {
            self.changed.insert(key.clone());
        }
        self.clear_where(now, key, why, |held| held == place);
    }

    /// It is right again at all these places.
    pub fn clear_where(&mut self, now: UnixMs, key: &Key, why: &str, at: impl Fn(&Place) -> bool) {
        let Some(known) = self.now.get_mut(key) else {
            return;
        };
        let before = known.clone();
        known.places.retain(|place| !at(place));
        if known.places != before.places {
            self.changed.insert(key.clone());
        }
        if known.places.is_empty() {
            self.now.remove(key);
            let ended = Condition {
                reason: why.to_owned(),
                ..before
            };
            self.turns.push(turn(key, &ended, Some(now)));
        }
    }

    /// Keeps what still can be: the rest ends. `why` says of a place why it cannot be, or nothing.
    pub fn prune(&mut self, now: UnixMs, why: impl Fn(&Key, &Place) -> Option<&'static str>) {
        let gone: Vec<(Key, Place, &'static str)> = self
            .now
            .iter()
            .flat_map(|(key, held)| held.places.iter().map(move |place| (key, place)))
            .filter_map(|(key, place)| Some((key.clone(), place.clone(), why(key, place)?)))
            .collect();
        for (key, place, why) in gone {
            self.clear(now, &key, &place, why);
        }
        let changed = &mut self.changed;
        self.streaks.retain(|(key, place), _| {
            let stays = why(key, place).is_none();
            if !stays {
                changed.insert(key.clone());
            }
            stays
        });
    }

    /// Whether it is wrong at a place.
    pub fn is_at(&self, key: &Key, place: &Place) -> bool {
        self.now
            .get(key)
            .is_some_and(|known| known.places.contains(place))
    }

    /// Notes whose it is, for when that cannot be looked up any more.
    pub fn set_label(&mut self, key: &Key, label: Label) {
        if let Some(held) = self.now.get_mut(key) {
            held.label = label;
        }
    }

    /// All of them: the center's first, then other centers', groups', agents', tasks'.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Condition)> {
        self.now.iter()
    }

    /// Asks to be reminded.
    pub fn remind(&mut self, at: UnixMs, of: Deadline) {
        self.deadlines.insert((at, of));
    }

    /// The next reminder.
    pub fn next_deadline(&self) -> Option<UnixMs> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// One reminder that is due, with its instant.
    pub fn take_deadline(&mut self, now: UnixMs) -> Option<Deadline> {
        let (at, _) = self.deadlines.first()?;
        if *at > now {
            return None;
        }
        self.deadlines.pop_first().map(|(_, of)| of)
    }

    /// What began and ended since this was asked last.
    pub fn take_turns(&mut self) -> Vec<Turn> {
        std::mem::take(&mut self.turns)
    }

    /// Which conditions changed since this was asked last.
    pub fn take_changed(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.changed)
    }

    /// What is known of a condition: where it is wrong, and wrong runs in a row that are too few yet.
    pub fn known(&self, key: &Key) -> (Option<&Condition>, Vec<(Place, u16)>) {
        let all = self.streaks.range((key.clone(), Place::Whole)..);
        let own = all.take_while(|((of, _), _)| of == key);
        let streaks = own.map(|((_, place), number)| (place.clone(), *number));
        (self.now.get(key), streaks.collect())
    }

    /// All of which anything is known.
    pub fn keys(&self) -> BTreeSet<Key> {
        let counted = self.streaks.keys().map(|(key, _)| key);
        self.now.keys().chain(counted).cloned().collect()
    }

    /// Goes on with what a center before knew; nothing of it begins anew.
    pub fn recall(&mut self, key: &Key, held: Option<Condition>, streaks: Vec<(Place, u16)>) {
        if let Some(held) = held {
            self.now.entry(key.clone()).or_insert(held);
        }
        for (place, number) in streaks {
            self.streaks.insert((key.clone(), place), number);
        }
    }
}

fn turn(key: &Key, of: &Condition, ended_at: Option<UnixMs>) -> Turn {
    Turn {
        key: key.clone(),
        began_at: of.began_at,
        ended_at,
        reason: of.reason.clone(),
        agents: of.agents(),
        label: of.label.clone(),
    }
}

impl Condition {
    /// The agents where it is.
    pub fn agents(&self) -> BTreeSet<AgentId> {
        let agents = self.places.iter().filter_map(|place| match place {
            Place::Slot(agent, _) => agent.clone(),
            Place::Whole => None,
        });
        agents.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key {
            subject: Subject::Center,
            kind: ConditionKind::Store,
        }
    }

    fn at(slot: u16) -> Place {
        Place::Slot(None, Slot(slot))
    }

    /// Does this, and says what began and ended: `+reason`, `-reason`.
    fn check(conditions: &mut Conditions, deed: impl FnOnce(&mut Conditions), wanted: &[&str]) {
        deed(conditions);
        let turns = conditions.take_turns().into_iter();
        let said: Vec<String> = turns
            .map(|turn| {
                let sign = if turn.ended_at.is_some() { '-' } else { '+' };
                format!("{sign}{}", turn.reason)
            })
            .collect();
        assert_eq!(said, wanted);
    }

    #[test]
    fn it_begins_with_the_first_place_and_ends_with_the_last() {
        let mut all = Conditions::default();
        let raise = |slot: u16| {
            move |all: &mut Conditions| {
                all.raise(UnixMs(1), &key(), at(slot), format!("bad {slot}"));
            }
        };
        let clear =
            |slot: u16| move |all: &mut Conditions| all.clear(UnixMs(2), &key(), &at(slot), "good");
        check(&mut all, raise(0), &["+bad 0"]);
        check(&mut all, raise(1), &[]);
        assert_eq!(all.iter().next().unwrap().1.reason, "bad 1");
        check(&mut all, clear(0), &[]);
        check(&mut all, clear(7), &[]);
        check(&mut all, clear(1), &["-good"]);
        check(&mut all, clear(1), &[]);
    }

    #[test]
    fn it_is_told_when_it_is_so_often_enough_in_a_row() {
        let mut all = Conditions::default();
        let count = |all: &mut Conditions| all.count(UnixMs(1), &key(), at(0), 3, "bad".to_owned());
        check(&mut all, count, &[]);
        check(&mut all, count, &[]);
        check(
            &mut all,
            |all| all.clear(UnixMs(1), &key(), &at(0), "good"),
            &[],
        );
        check(&mut all, count, &[]);
        check(&mut all, count, &[]);
        check(&mut all, count, &["+bad"]);
        check(&mut all, count, &[]);
    }

    #[test]
    fn what_is_counted_is_known_and_goes_on_in_the_next_table() {
        let count = |all: &mut Conditions| all.count(UnixMs(1), &key(), at(0), 3, "bad".to_owned());
        let mut all = Conditions::default();
        check(&mut all, count, &[]);
        check(&mut all, count, &[]);
        let (held, streaks) = all.known(&key());
        assert_eq!((held, &streaks[..]), (None, &[(at(0), 2)][..]));
        let mut next = Conditions::default();
        next.recall(&key(), None, streaks);
        check(&mut next, count, &["+bad"]);
    }

    #[test]
    fn what_cannot_be_any_more_ends_and_what_was_known_before_does_not_begin_anew() {
        let mut all = Conditions::default();
        check(
            &mut all,
            |all| all.raise(UnixMs(1), &key(), at(0), "bad".to_owned()),
            &["+bad"],
        );
        assert_eq!(all.take_changed(), [key()].into());
        let held = serde_json::to_string(&all.known(&key()).0).unwrap();
        let mut next = Conditions::default();
        next.recall(&key(), serde_json::from_str(&held).unwrap(), Vec::new());
        check(
            &mut next,
            |all| all.raise(UnixMs(2), &key(), at(0), "bad".to_owned()),
            &[],
        );
        assert_eq!(next.iter().next().unwrap().1.began_at, UnixMs(1));
        check(&mut next, |all| all.prune(UnixMs(3), |_, _| None), &[]);
        check(
            &mut next,
            |all| all.prune(UnixMs(3), |_, _| Some("gone")),
            &["-gone"],
        );
    }
}
