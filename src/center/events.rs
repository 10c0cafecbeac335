//! What happened, as clients see it: a ring of the last events, and who follows it. A follower that is slow
//! costs nothing: it reads from the ring at its own pace until it falls out of it.

use std::collections::VecDeque;

use crate::model::{Epoch, GroupName, UnixMs};
use crate::proto::view::EventView;

/// Events kept, a few megabytes.
const KEPT: usize = 10_000;

/// Every kind of event; ucron(1) says what each has.
pub const KINDS: [&str; 17] = [
    "run_started",
    "run_ended",
    "runs_missed",
    "attempt_ended",
    "slot",
    "restart_stopped",
    "task_saved",
    "task_stopped",
    "task_started",
    "task_removed",
    "group_frozen",
    "group_thawed",
    "agent_online",
    "agent_offline",
    "condition_began",
    "condition_ended",
    GAP,
];
/// What a follower is told first whose cursor is of events that are no longer kept.
pub const GAP: &str = "gap";

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
        debug_assert!(KINDS.contains(&event), "{event} is no kind of event");
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
        event.cursor = self.cursor(self.end(), event.at);
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

    fn cursor(&self, number: u64, at: UnixMs) -> String {
        format!("{:x}-{number:x}-{:x}", self.epoch.0, at.0)
    }

    /// Where to go on after a cursor; `None` for what is no cursor. A cursor of another epoch, or one after which
    /// events are gone, goes on with the oldest kept, behind an event that says since when there is a gap.
    pub fn after(&self, cursor: &str, now: UnixMs) -> Option<(u64, Option<EventView>)> {
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        let mut parts = cursor.split('-');
        let (epoch, number) = (hex(parts.next()?)?, hex(parts.next()?)?);
        let at = UnixMs(i64::from_str_radix(parts.next()?, 16).ok()?);
        if parts.next().is_some() {
            return None;
        }
        if epoch == self.epoch.0 && (self.first - 1..self.end()).contains(&number) {
            return Some((number + 1, None));
        }
        let mut gap = Self::blank(now, GAP);
        gap.cursor = self.cursor(self.first - 1, at);
        gap.reason = format!(
            "what happened since {at} is not all kept; `ucron runs --since {at}` has how runs ended"
        );
        Some((self.first, Some(gap)))
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

    fn check(log: &EventLog, cursor: &str, goes_on: Option<(u64, bool)>) {
        let found = log.after(cursor, UnixMs(99));
        let found = found.map(|(number, gap)| (number, gap.is_some()));
        assert_eq!(found, goes_on, "{cursor}");
    }

    #[test]
    fn a_cursor_goes_on_after_its_event() {
        let log = log(3);
        assert_eq!(log.get(3).unwrap().1.cursor, "7-3-2");
        check(&log, "7-2-1", Some((3, false)));
        check(&log, "7-3-2", Some((log.end(), false)));
        for wrong in ["nonsense", "7-2", "7-2-1-0", "x-2-1", ""] {
            check(&log, wrong, None);
        }
    }

    #[test]
    fn a_cursor_whose_events_are_gone_goes_on_with_the_oldest_kept_and_says_so() {
        let log = log(KEPT as u64 + 5);
        assert_eq!(log.first(), 6);
        check(&log, "7-2-0", Some((6, true)));
        check(&log, "7-5-0", Some((6, false)));
        check(&log, "6-99-0", Some((6, true)));
        check(&log, "7-ffffff-0", Some((6, true)));
        let (_, gap) = log.after("6-99-0", UnixMs(99)).unwrap();
        let gap = gap.unwrap();
        check(&log, &gap.cursor, Some((6, false)));
        assert!(gap.reason.contains("--since 1970-01-01T00:00:00.000Z"));
    }

    #[test]
    fn the_page_says_what_every_kind_of_event_has() {
        let page = include_str!("../../man/src/ucron.1");
        let events = page.split_once(".Sh EVENTS").unwrap().1;
        let events = events.split_once("\n.Sh ").unwrap().0;
        let told = events
            .lines()
            .filter_map(|line| line.strip_prefix(".It Li "));
        let mut told: Vec<&str> = told.collect();
        let mut kinds = KINDS.to_vec();
        told.sort_unstable();
        kinds.sort_unstable();
        assert_eq!(told, kinds);
    }
}
