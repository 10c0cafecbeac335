//! The occurrences of a rule in a zone, and what a clock change does to them (DESIGN.md, section 4).
//!
//! Invariants: an occurrence is strictly after the instant asked for; it is the same from every
//! instant since the one before; no two fall on one instant.

use croner::errors::CronError;

use super::calendar::Calendar;
use super::definition::{At, Rule, Shape};
use super::instant::UnixMs;
use super::words;
use super::zone::Zone;

/// The last instant that is looked for: 2999-12-31T23:59:59.999Z.
const HORIZON: i64 = 32_503_679_999_999;

/// The first instant that is looked from: 1900-01-01T00:00:00Z.
const ORIGIN: i64 = -2_208_988_800_000;

/// A rule in its zone: what a task has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schedule {
    rule: Rule,
    zone: Zone,
}

/// Why no occurrence could be worked out although the rule is not over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ScheduleError {
    /// The rule goes on, but not within the years that ucron can count.
    #[error("no occurrence after {0} can be worked out: times end with the year 2999")]
    Horizon(UnixMs),
    /// The matcher failed. It is asked only where it has an answer, so this is a defect, but it must
    /// not look as if the rule were over.
    #[error("no occurrence after {0} can be worked out: the rule's fields cannot be searched")]
    Search(UnixMs),
}

/// What a clock change does to one occurrence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shift {
    /// Nothing.
    None,
    /// Its local time is left out that day; it is moved to the end of the gap.
    Gap,
    /// Its local time comes twice that day: a fixed rule fires in the first pass only, a wildcard
    /// rule in both.
    Fold,
}

impl Schedule {
    /// This rule in this zone.
    pub fn new(rule: Rule, zone: Zone) -> Self {
        Self { rule, zone }
    }

    /// The rule.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// The zone.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The first occurrence strictly after `after`; `None` when there are no more, and always for
    /// `@always` and `@reboot`, whose runs do not come from the calendar.
    pub fn next_after(&self, after: UnixMs) -> Result<Option<UnixMs>, ScheduleError> {
        let after = UnixMs(after.0.max(ORIGIN));
        match self.rule.shape() {
            Shape::Calendar(calendar) => self.next_of_calendar(calendar, after),
            Shape::Every(span) => {
                let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX).max(1);
                let due = (after.0.div_euclid(span))
                    .saturating_add(1)
                    .saturating_mul(span);
                within_horizon(due)
                    .map(Some)
                    .ok_or(ScheduleError::Horizon(after))
            }
            Shape::At(at) => Ok(self.instant_of(*at).filter(|due| *due > after)),
            Shape::Always | Shape::Reboot => Ok(None),
        }
    }

    /// Up to `count` occurrences strictly after `from`; fewer when the rule has no more.
    pub fn occurrences(&self, from: UnixMs, count: usize) -> Result<Vec<UnixMs>, ScheduleError> {
        let mut found = Vec::new();
        let mut after = from;
        while found.len() < count {
            let Some(due) = self.next_after(after)? else {
                break;
            };
            found.push(due);
            after = due;
        }
        Ok(found)
    }

    /// Whether `at`, which must be an occurrence, is touched by a clock change.
    pub fn shift(&self, at: UnixMs) -> Shift {
        let second = at.0.div_euclid(1000);
        match self.rule.shape() {
            Shape::Calendar(calendar) => self.shift_of_calendar(calendar, second),
            Shape::At(At::Local(local))
                if second + self.zone.offset_at(second) != local.seconds =>
            {
                Shift::Gap
            }
            Shape::At(At::Local(_)) if self.is_in_fold(second) => Shift::Fold,
            _ => Shift::None,
        }
    }

    /// How often the rule is due: "24 times a day", "once on each of its days", "once".
    pub fn per_day(&self) -> String {
        words::per_day(self)
    }

    fn instant_of(&self, at: At) -> Option<UnixMs> {
        let local = match at {
            At::Instant(at) => return Some(at),
            At::Local(local) => local,
        };
        let second = self.zone.instant_of(local.seconds)?;
        let is_moved = second + self.zone.offset_at(second) != local.seconds;
        let millis = if is_moved { 0 } else { local.millis };
        Some(UnixMs(second * 1000 + millis))
    }

    fn next_of_calendar(
        &self,
        calendar: &Calendar,
        after: UnixMs,
    ) -> Result<Option<UnixMs>, ScheduleError> {
        let due = next_second(calendar, &self.zone, after.0.div_euclid(1000))
            .map_err(|_| ScheduleError::Search(after))?
            .and_then(|second| within_horizon(second.saturating_mul(1000)));
        if due.is_none() && calendar.is_endless() {
            return Err(ScheduleError::Horizon(after));
        }
        Ok(due)
    }

    fn shift_of_calendar(&self, calendar: &Calendar, second: i64) -> Shift {
        let next = self.zone.next_change(second);
        let last = next.checked_sub(1).map(|last| self.zone.changes()[last]);
        let bridged = last.filter(|change| {
            change.at == second && change.is_bridged_gap() && !calendar.is_wildcard()
        });
        if let Some(gap) = bridged
            && calendar
                .next(gap.at + gap.before - 1)
                .is_ok_and(|local| local.is_some_and(|local| gap.skips(local)))
        {
            return Shift::Gap;
        }
        if self.is_in_fold(second) {
            Shift::Fold
        } else {
            Shift::None
        }
    }

    fn is_in_fold(&self, second: i64) -> bool {
        let next = self.zone.next_change(second);
        let local = second + self.zone.offset_before(next);
        let changes = self.zone.changes();
        let around = next.saturating_sub(1)..(next + 1).min(changes.len());
        changes[around].iter().any(|change| change.repeats(local))
    }
}

fn within_horizon(at: i64) -> Option<UnixMs> {
    (at <= HORIZON).then_some(UnixMs(at))
}

/// The first second strictly after `after` at which the calendar is due in the zone.
///
/// Goes from clock change to clock change; between two of them local time is instant plus offset.
fn next_second(calendar: &Calendar, zone: &Zone, after: i64) -> Result<Option<i64>, CronError> {
    let fixed = !calendar.is_wildcard();
    let mut search = Search::new(calendar);
    let mut from = after;
    let mut next = zone.next_change(after);
    loop {
        let offset = zone.offset_before(next);
        let mut local = from + offset;
        if fixed && let Some(last) = next.checked_sub(1) {
            // After a fold the local times of its second pass have been due already.
            let change = zone.changes()[last];
            local = local.max(change.at + change.before - 1);
        }
        let found = search.next(local)?;
        let Some(change) = zone.changes().get(next) else {
            return Ok(found.map(|local| local - offset));
        };
        match found {
            Some(local) if local - offset < change.at => return Ok(Some(local - offset)),
            Some(local) if fixed && change.is_bridged_gap() && change.skips(local) => {
                return Ok(Some(change.at));
            }
            // Nothing later on the wall; only a fold could bring the last local times again.
            None if change.after > change.before => return Ok(None),
            _ => {}
        }
        from = change.at - 1;
        next += 1;
    }
}

/// Searches a calendar, and remembers the last answer: between two occurrences of a rare rule lie
/// decades of clock changes, and all but those of a fold ask for the same one again.
struct Search<'a> {
    calendar: &'a Calendar,
    /// Asked after the first, found the second.
    known: Option<(i64, i64)>,
}

impl<'a> Search<'a> {
    fn new(calendar: &'a Calendar) -> Self {
        Self {
            calendar,
            known: None,
        }
    }

    fn next(&mut self, after: i64) -> Result<Option<i64>, CronError> {
        if let Some((asked, found)) = self.known
            && (asked..found).contains(&after)
        {
            return Ok(Some(found));
        }
        let found = self.calendar.next(after)?;
        self.known = found.map(|found| (after, found));
        Ok(found)
    }
}
