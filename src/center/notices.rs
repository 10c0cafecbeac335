//! Who is told of conditions, and how often: of each condition at most one beginning and one end in five minutes;
//! what came and went meanwhile is folded into the next. Pure; the programs are started by `notify.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::conditions::{Key, Turn};
use crate::model::{AgentName, ConditionKind, GroupName, TaskPath, UnixMs};

/// At most one notice of a kind (begin, end) of one condition in this time.
const PAUSE: Duration = Duration::from_mins(5);

/// Whom to tell: the center's command, or that of a group.
pub type Route = Option<GroupName>;

/// A condition as it shall be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Due {
    /// What happened last.
    pub turn: Turn,
    /// How often the condition has begun since the last notice of a beginning, this time included.
    pub times: u32,
}

/// What was told of one condition; a restart of the center must not forget it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Told {
    /// Whether the last notice was of a beginning.
    begun: bool,
    begin_at: Option<UnixMs>,
    end_at: Option<UnixMs>,
    times: u32,
    last: Turn,
}

/// What was told.
#[derive(Debug, Default)]
pub struct Notices {
    told: BTreeMap<Key, Told>,
    /// When to look at which again.
    due: BTreeSet<(UnixMs, Key)>,
    /// What changed since it was asked last.
    changed: BTreeSet<Key>,
}

impl Told {
    /// The beginning that was told, if its end was not.
    pub fn standing(&self) -> Option<&Turn> {
        self.begun.then_some(&self.last)
    }
}

impl Notices {
    /// A condition began or ended.
    pub fn note(&mut self, now: UnixMs, turn: Turn) {
        let begins = turn.ended_at.is_none();
        let key = turn.key.clone();
        let told = self.told.entry(key.clone()).or_insert_with(|| Told {
            begun: !begins,
            begin_at: None,
            end_at: None,
            times: 0,
            last: turn.clone(),
        });
        told.times += u32::from(begins);
        told.last = turn;
        self.changed.insert(key.clone());
        self.due.insert((now, key));
    }

    /// What is to be told now.
    pub fn take(&mut self, now: UnixMs) -> Vec<Due> {
        let mut all = Vec::new();
        while let Some((at, key)) = self.due.pop_first() {
            if at > now {
                self.due.insert((at, key));
                break;
            }
            all.extend(self.look(now, &key));
        }
        all
    }

    fn look(&mut self, now: UnixMs, key: &Key) -> Option<Due> {
        let told = self.told.get_mut(key)?;
        let begins = told.last.ended_at.is_none();
        let last_at = if begins { told.begin_at } else { told.end_at };
        let next = last_at.map(|at| at.plus(PAUSE)).filter(|at| *at > now);
        if told.begun == begins {
            self.forget(now, key);
            return None;
        }
        if let Some(next) = next {
            self.due.insert((next, key.clone()));
            return None;
        }
        self.changed.insert(key.clone());
        told.begun = begins;
        if begins {
            told.begin_at = Some(now);
        } else {
            told.end_at = Some(now);
            // So that what is over is forgotten one day.
            self.due.insert((now.plus(PAUSE), key.clone()));
        }
        let times = told.times.max(1);
        told.times = if begins { 0 } else { told.times };
        Some(Due {
            turn: told.last.clone(),
            times,
        })
    }

    /// What is over and was told long enough ago is like new.
    fn forget(&mut self, now: UnixMs, key: &Key) {
        let is_old = |told: &Told| {
            let last = told.begin_at.max(told.end_at);
            !told.begun && last.is_none_or(|at| at.plus(PAUSE) <= now)
        };
        if self.told.get(key).is_some_and(is_old) {
            self.told.remove(key);
            self.changed.insert(key.clone());
        }
    }

    /// Of which conditions what was told has changed since this was asked last.
    pub fn take_changed(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.changed)
    }

    /// What was told of a condition.
    pub fn told(&self, key: &Key) -> Option<&Told> {
        self.told.get(key)
    }

    /// All of which anything was told.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.told.keys()
    }

    /// Goes on with what a center before told.
    pub fn recall(&mut self, now: UnixMs, key: Key, told: Told) {
        self.due.insert((now, key.clone()));
        self.told.insert(key, told);
    }

    /// When [`Self::take`] is next wanted.
    pub fn next(&self) -> Option<UnixMs> {
        self.due.first().map(|(at, _)| *at)
    }
}

/// What a notify command reads, one line of JSON; documented in ucron-center(8). Fields may be added.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Notice {
    /// Of this form; 1.
    pub version: u32,
    /// `began` or `ended`.
    pub event: &'static str,
    /// What is, or was, wrong.
    pub condition: ConditionKind,
    /// The task, if it is a task's.
    pub task: Option<TaskPath>,
    /// The agent, if it is an agent's.
    pub agent: Option<AgentName>,
    /// Where a task is in trouble: names of agents.
    pub agents: Vec<AgentName>,
    /// The groups that it concerns.
    pub groups: Vec<GroupName>,
    /// Since when.
    pub began_at: UnixMs,
    /// Until when; null where it goes on.
    pub ended_at: Option<UnixMs>,
    /// Why it began, or ended.
    pub reason: String,
    /// How often it has begun since the notice of a beginning before.
    pub times: u32,
    /// All of it in one sentence.
    pub text: String,
    /// The fleet's id.
    pub fleet: String,
    /// The center's address.
    pub center: String,
}

#[cfg(test)]
mod tests {
    use super::super::conditions::Subject;
    use super::*;

    fn turn(at: i64, ended: bool) -> Turn {
        Turn {
            key: Key {
                subject: Subject::Center,
                kind: ConditionKind::Store,
            },
            began_at: UnixMs(at * 1000),
            ended_at: ended.then_some(UnixMs(at * 1000)),
            reason: String::new(),
            agents: BTreeSet::new(),
            label: super::super::conditions::Label::default(),
        }
    }

    /// Turns as `(second, ended)`; what is told as `second begin|end times`.
    fn check(turns: &[(i64, bool)], until: i64, wanted: &[&str]) {
        let mut notices = Notices::default();
        let mut said = Vec::new();
        let mut turns = turns.iter().peekable();
        for second in 0..=until {
            let now = UnixMs(second * 1000);
            while let Some((_, ended)) = turns.next_if(|(at, _)| *at == second) {
                notices.note(now, turn(second, *ended));
            }
            said.extend(notices.take(now).into_iter().map(|due| {
                let word = due.turn.ended_at.map_or("begin", |_| "end");
                format!("{second} {word} {}", due.times)
            }));
        }
        assert_eq!(said, wanted);
    }

    #[test]
    fn a_beginning_and_its_end_are_told_at_once() {
        check(
            &[(10, false), (20, true)],
            1000,
            &["10 begin 1", "20 end 1"],
        );
    }

    #[test]
    fn what_comes_and_goes_is_folded() {
        let flaps = [
            (10, false),
            (20, true),
            (30, false),
            (40, true),
            (50, false),
            (60, true),
        ];
        check(&flaps, 2000, &["10 begin 1", "20 end 1"]);
        check(
            &flaps[..5],
            2000,
            &["10 begin 1", "20 end 1", "310 begin 2"],
        );
        let long = [(10, false), (20, true), (30, false), (315, true)];
        check(
            &long,
            2000,
            &["10 begin 1", "20 end 1", "310 begin 1", "320 end 1"],
        );
    }

    #[test]
    fn what_was_over_long_ago_is_told_at_once_again() {
        let turns = [(10, false), (20, true), (400, false)];
        check(&turns, 2000, &["10 begin 1", "20 end 1", "400 begin 1"]);
    }

    #[test]
    fn what_goes_on_is_told_once() {
        check(&[(10, false)], 5000, &["10 begin 1"]);
    }

    /// The line in ucron-center(8), put together.
    #[test]
    fn a_notice_has_the_form_of_the_page() {
        let notice = Notice {
            version: 1,
            event: "began",
            condition: ConditionKind::Failed,
            task: Some("web/dump".parse().unwrap()),
            agent: None,
            agents: vec!["a1".parse().unwrap()],
            groups: vec!["web".parse().unwrap()],
            began_at: UnixMs(1_795_366_202_320),
            ended_at: None,
            reason: "exited with code 3".to_owned(),
            times: 1,
            text: "task web/dump failed on a1: exited with code 3".to_owned(),
            fleet: "01kb3kxxq2m4n6p8r0s2t4v6w8".to_owned(),
            center: "192.0.2.10:9502".to_owned(),
        };
        let page = include_str!("../../man/ucron-center.8");
        let from = page.find("{\"version\":1").unwrap();
        let block = &page[from..][..page[from..].find(".Ed").unwrap()];
        let shown: String = block.lines().map(str::trim_start).collect();
        assert_eq!(serde_json::to_string(&notice).unwrap(), shown);
    }

    #[test]
    fn what_was_over_leaves_nothing() {
        let mut notices = Notices::default();
        notices.note(UnixMs(0), turn(0, false));
        notices.take(UnixMs(0));
        notices.note(UnixMs(1), turn(0, true));
        notices.take(UnixMs(1));
        notices.take(UnixMs(1_000_000));
        assert!(notices.told.is_empty() && notices.due.is_empty());
    }
}
