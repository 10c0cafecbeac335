//! Occurrences in a stretch of time: how many, the last one. For accounting of what was not run, where a stretch may
//! hold millions of them: `@every` is counted by arithmetic, a calendar step by step, as far as the caller allows.

use std::time::Duration;

use super::definition::RuleKind;
use super::instant::UnixMs;
use super::schedule::Schedule;

/// How far a stretch was counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counted {
    /// Occurrences found.
    pub count: u64,
    /// The last one found; where counting goes on when it is not done.
    pub last: Option<UnixMs>,
    /// Whether there are no more in the stretch.
    pub done: bool,
}

impl Schedule {
    /// Whether it is due at exactly this instant.
    pub fn is_due_at(&self, at: UnixMs) -> bool {
        self.first_in(before(at), at) == Some(at)
    }

    /// The first occurrence after `after` up to and including `until`. What cannot be worked out is none.
    pub fn first_in(&self, after: UnixMs, until: UnixMs) -> Option<UnixMs> {
        let next = self.next_after(after).unwrap_or_default();
        next.filter(|at| *at <= until)
    }

    /// The last occurrence after `after` up to and including `until`; found by halving, whatever lies between.
    pub fn last_in(&self, after: UnixMs, until: UnixMs) -> Option<UnixMs> {
        if let RuleKind::Every(span) = self.rule().kind() {
            let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX).max(1);
            let last = UnixMs(until.0.div_euclid(span).saturating_mul(span));
            return Some(last).filter(|last| *last > after);
        }
        let mut last = self.first_in(after, until)?;
        let mut end = until;
        while let Some(next) = self.first_in(last, end) {
            let middle = UnixMs(next.0.midpoint(end.0));
            if let Some(later) = self.first_in(middle, end) {
                last = later;
            } else {
                // Nothing after the middle: the last one lies from `next` up to it.
                (last, end) = (next, middle);
            }
        }
        Some(last)
    }

    /// Counts the occurrences after `after` up to and including `until`, `most` of a calendar's.
    pub fn count_in(&self, after: UnixMs, until: UnixMs, most: u64) -> Counted {
        if let RuleKind::Every(span) = self.rule().kind() {
            let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX).max(1);
            let count = until.0.div_euclid(span) - after.0.div_euclid(span);
            return Counted {
                count: count.max(0).unsigned_abs(),
                last: self.last_in(after, until),
                done: true,
            };
        }
        let mut counted = Counted {
            count: 0,
            last: None,
            done: false,
        };
        while counted.count < most {
            let Some(at) = self.first_in(counted.last.unwrap_or(after), until) else {
                counted.done = true;
                break;
            };
            counted.count += 1;
            counted.last = Some(at);
        }
        counted
    }

    /// The newest occurrences after `after` up to and including `until`, newest first, at most `most`.
    pub fn newest_in(&self, after: UnixMs, until: UnixMs, most: usize) -> Vec<UnixMs> {
        if let RuleKind::Every(_) = self.rule().kind() {
            let earlier = |at: &UnixMs| self.last_in(after, before(*at));
            let newest = std::iter::successors(self.last_in(after, until), earlier);
            return newest.take(most).collect();
        }
        let from = self.reach_back(after, until, most);
        let later = |at: &UnixMs| self.first_in(*at, until);
        let found = std::iter::successors(self.first_in(from, until), later);
        let mut newest: Vec<UnixMs> = found.collect();
        newest.reverse();
        newest.truncate(most);
        newest
    }

    /// An instant so far back that `most` occurrences lie between it and `until`, or `after`.
    fn reach_back(&self, after: UnixMs, until: UnixMs, most: usize) -> UnixMs {
        let mut width = Duration::from_secs(1);
        loop {
            let from = until.minus(width).max(after);
            let enough = self.count_in(from, until, most as u64).count >= most as u64;
            if enough || from == after {
                return from;
            }
            width = width.saturating_mul(2);
        }
    }
}

/// The last instant before this one.
fn before(at: UnixMs) -> UnixMs {
    UnixMs(at.0.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use crate::rule::{Rule, Schedule, UnixMs, Zone};

    /// Compares with going through all occurrences one by one.
    fn check(rule: &str, after: i64, until: i64) {
        let schedule = Schedule::new(Rule::parse(rule).unwrap(), Zone::utc());
        let (after, until) = (UnixMs(after), UnixMs(until));
        let next = |at: UnixMs| schedule.next_after(at).unwrap().filter(|at| *at <= until);
        let all: Vec<UnixMs> = std::iter::successors(next(after), |at| next(*at)).collect();
        assert_eq!(
            schedule.last_in(after, until),
            all.last().copied(),
            "{rule}"
        );
        let counted = schedule.count_in(after, until, u64::MAX);
        assert_eq!(counted.count, all.len() as u64, "{rule}");
        assert_eq!(counted.last, all.last().copied(), "{rule}");
        assert!(counted.done, "{rule}");
        let newest: Vec<UnixMs> = all.iter().rev().take(3).copied().collect();
        assert_eq!(schedule.newest_in(after, until, 3), newest, "{rule}");
        if let Some(first) = all.first() {
            assert!(
                schedule.is_due_at(*first) && !schedule.is_due_at(UnixMs(first.0 + 1))
                    || rule.contains("1ms")
            );
        }
    }

    #[test]
    fn a_stretch_is_counted_as_its_occurrences_one_by_one() {
        let day = 86_400_000;
        check("* * * * * *", -500, 61_000);
        check("* 3 * * *", 0, day);
        check("* 3 * * *", day / 2, day);
        check("15 2 29 2 *", 0, 10 * 365 * day);
        check("0 0 1 * *", 17, 400 * day);
        check("@every 1ms", 5, 900);
        check("@every 7s", 6_999, 21_000);
        check("@every 7s", 7_000, 7_001);
        check("@at 1970-01-01T00:01:00Z", 0, day);
        check("@at 1970-01-01T00:01:00Z", 60_000, day);
    }

    #[test]
    fn counting_stops_where_it_is_told_and_goes_on_from_there() {
        let schedule = Schedule::new(Rule::parse("* * * * * *").unwrap(), Zone::utc());
        let first = schedule.count_in(UnixMs(0), UnixMs(10_000), 4);
        assert_eq!(
            (first.count, first.last, first.done),
            (4, Some(UnixMs(4_000)), false)
        );
        let rest = schedule.count_in(UnixMs(4_000), UnixMs(10_000), 100);
        assert_eq!(
            (rest.count, rest.last, rest.done),
            (6, Some(UnixMs(10_000)), true)
        );
    }
}
