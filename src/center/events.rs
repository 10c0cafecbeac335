//! What happened, as clients see it: a ring of the last events, and who follows it. A follower that is slow
//! costs nothing: it reads from the ring at its own pace until it falls out of it.

use std::collections::VecDeque;

use crate::model::{Epoch, GroupName, UnixMs};
use crate::proto::view::EventView;

/// Events kept, a few megabytes.
const KEPT: usize = 10_000;

/// Who may see an event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Audience {
    /// Whoever sees this group.
    Group(GroupName),
    /// Whoever sees one of these groups; admins on all groups always.
    AnyOf(Vec<GroupName>),
}

/// The ring.
#[derive(Debug)]
pub struct EventLog {
    epoch: Epoch,
    first: u64,
    ring: VecDeque<(Audience, EventView)>,
}

impl EventLog {
    /// An empty log of this epoch.
    pub fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            first: 1,
            ring: VecDeque::new(),
        }
    }

    /// An event of this kind, all else empty.
    pub fn blank(at: UnixMs, event: &str) -> EventView {
        EventView {
            cursor: String::new(),
            at,
            event: event.to_owned(),
            task: None,
            agent: None,
            run_id: None,
            slot: None,
            outcome: None,
            late_ms: None,
            condition: None,
            operator: None,
            reason: String::new(),
        }
    }

    /// Adds an event and gives it its cursor.
    pub fn push(&mut self, audience: Audience, mut event: EventView) {
        event.cursor = self.cursor(self.end());
        self.ring.push_back((audience, event));
        if self.ring.len() > KEPT {
            self.ring.pop_front();
            self.first += 1;
        }
    }

    /// The number that the next event will get.
    pub fn end(&self) -> u64 {
        self.first + self.ring.len() as u64
    }

    /// The number of the oldest event kept.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The event with this number, if it is kept.
    pub fn get(&self, number: u64) -> Option<&(Audience, EventView)> {
        let index = number.checked_sub(self.first)?;
        self.ring.get(usize::try_from(index).ok()?)
    }

    fn cursor(&self, number: u64) -> String {
        format!("{:x}-{number:x}", self.epoch.0)
    }

    /// The number after a cursor: where to go on. A cursor of another epoch, or one whose events are gone,
    /// goes on with the oldest kept; `None` for what is no cursor.
    pub fn after(&self, cursor: &str) -> Option<u64> {
        let (epoch, number) = cursor.split_once('-')?;
        let epoch = u64::from_str_radix(epoch, 16).ok()?;
        let number = u64::from_str_radix(number, 16).ok()?;
        let known = epoch == self.epoch.0 && (self.first..self.end()).contains(&number);
        Some(if known { number + 1 } else { self.first })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(events: u64) -> EventLog {
        let mut log = EventLog::new(Epoch(7));
        for i in 0..events {
            log.push(
                Audience::AnyOf(vec![]),
                EventLog::blank(UnixMs(i.cast_signed()), "slot"),
            );
        }
        log
    }

    #[test]
    fn a_cursor_goes_on_after_its_event() {
        let log = log(3);
        assert_eq!(log.after("7-2"), Some(3));
        assert_eq!(log.get(3).unwrap().1.cursor, "7-3");
        assert_eq!(log.after("7-3"), Some(log.end()));
    }

    #[test]
    fn a_cursor_that_is_gone_goes_on_with_the_oldest_kept() {
        let log = log(KEPT as u64 + 5);
        assert_eq!(log.first(), 6);
        assert_eq!(log.after("7-2"), Some(6));
        assert_eq!(log.after("6-99"), Some(6));
        assert_eq!(log.after("nonsense"), None);
    }
}
