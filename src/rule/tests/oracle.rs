//! An own matcher of calendar rules, the tests' second opinion on what the rules match. It shares
//! the parsed fields with the rules, and nothing that searches.

mod days;

use super::super::calendar::Fields;
use super::super::civil::{DAY_SECONDS, Date, FIRST_YEAR, LAST_YEAR, is_leap};
use super::super::error::Field;
use super::super::field::{Item, Items};
use days::Days;

/// The fields as sets, made for searching.
pub(super) struct Oracle {
    seconds: u64,
    minutes: u64,
    hours: u64,
    days: Days,
    months: u64,
    years: Vec<YearSpan>,
    wildcard: bool,
}

#[derive(Clone, Copy)]
struct YearSpan {
    low: i64,
    high: i64,
    step: i64,
}

impl YearSpan {
    /// The first year of the span that is not before `year`.
    fn next(self, year: i64) -> Option<i64> {
        let steps = (year - self.low + self.step - 1)
            .div_euclid(self.step)
            .max(0);
        let found = self.low + steps * self.step;
        (found <= self.high).then_some(found)
    }
}

impl Oracle {
    pub(super) fn new(fields: &Fields) -> Self {
        Self {
            seconds: bits(&fields.second, Field::Second),
            minutes: bits(&fields.minute, Field::Minute),
            hours: bits(&fields.hour, Field::Hour),
            days: Days::new(&fields.day_of_month, &fields.day_of_week),
            months: bits(&fields.month, Field::Month),
            years: year_spans(&fields.year),
            wildcard: [&fields.second, &fields.minute, &fields.hour]
                .iter()
                .any(|items| items.starred),
        }
    }

    /// A rule with `*` before the day: it skips gaps and fires in both passes of a fold.
    pub(super) fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    /// Whether the rule is due at this local time.
    pub(super) fn is_match(&self, local: i64) -> bool {
        let Date { year, month, day } = Date::from_days(local.div_euclid(DAY_SECONDS));
        self.next_year(year) == Some(year)
            && self.has_month(month)
            && self.days.in_month(year, month) & (1 << day) != 0
            && self.next_time(local.rem_euclid(DAY_SECONDS)) == Some(local.rem_euclid(DAY_SECONDS))
    }

    /// Whether any year has a matching date.
    pub(super) fn is_possible(&self) -> bool {
        // A year is one of 14 shapes: leap or not, and the weekday it starts with.
        let mut seen = [false; 14];
        let mut year = FIRST_YEAR;
        while let Some(found) = self.next_year(year) {
            let start = Date {
                year: found,
                month: 1,
                day: 1,
            }
            .weekday();
            let shape = start as usize + if is_leap(found) { 7 } else { 0 };
            if !std::mem::replace(&mut seen[shape], true)
                && (1..=12)
                    .any(|month| self.has_month(month) && self.days.in_month(found, month) != 0)
            {
                return true;
            }
            year = found + 1;
        }
        false
    }

    fn has_month(&self, month: u32) -> bool {
        self.months & (1 << month) != 0
    }

    fn next_year(&self, year: i64) -> Option<i64> {
        self.years.iter().filter_map(|span| span.next(year)).min()
    }

    /// The first matching local time strictly after `after`, to `LAST_YEAR`.
    pub(super) fn next(&self, after: i64) -> Option<i64> {
        let from = after + 1;
        let day = from.div_euclid(DAY_SECONDS);
        let found = self.next_day(day)?;
        if found > day {
            return Some(found * DAY_SECONDS + self.next_time(0)?);
        }
        match self.next_time(from.rem_euclid(DAY_SECONDS)) {
            Some(second) => Some(day * DAY_SECONDS + second),
            None => Some(self.next_day(day + 1)? * DAY_SECONDS + self.next_time(0)?),
        }
    }

    /// The first matching day that is not before `day`.
    fn next_day(&self, day: i64) -> Option<i64> {
        let mut date = Date::from_days(day);
        loop {
            let year = self.next_year(date.year)?;
            if year > date.year {
                date = Date {
                    year,
                    month: 1,
                    day: 1,
                };
            }
            let Some(month) = next_bit(self.months, date.month) else {
                date = Date {
                    year: year + 1,
                    month: 1,
                    day: 1,
                };
                continue;
            };
            if month > date.month {
                date = Date {
                    year,
                    month,
                    day: 1,
                };
            }
            let days = u64::from(self.days.in_month(year, month));
            if let Some(day) = next_bit(days, date.day) {
                return Some(Date { year, month, day }.days());
            }
            // Month 13 has no bit and leads to the next year.
            date = Date {
                year,
                month: month + 1,
                day: 1,
            };
        }
    }

    /// The first matching second of a day that is not before `from`.
    fn next_time(&self, from: i64) -> Option<i64> {
        let from = u32::try_from(from).ok()?;
        let (mut hour, mut minute, mut second) = (from / 3600, from / 60 % 60, from % 60);
        loop {
            let next_hour = next_bit(self.hours, hour)?;
            if next_hour > hour {
                (hour, minute, second) = (next_hour, 0, 0);
            }
            let Some(next_minute) = next_bit(self.minutes, minute) else {
                (hour, minute, second) = (hour + 1, 0, 0);
                continue;
            };
            if next_minute > minute {
                (minute, second) = (next_minute, 0);
            }
            if let Some(second) = next_bit(self.seconds, second) {
                return Some(i64::from(hour * 3600 + minute * 60 + second));
            }
            (minute, second) = (minute + 1, 0);
        }
    }
}

fn bits(items: &Items, field: Field) -> u64 {
    items
        .values(field)
        .iter()
        .fold(0, |bits, value| bits | 1 << value)
}

/// The lowest set bit that is not below `from`.
fn next_bit(bits: u64, from: u32) -> Option<u32> {
    let left = bits.checked_shr(from)?;
    (left != 0).then(|| from + left.trailing_zeros())
}

fn year_spans(items: &Items) -> Vec<YearSpan> {
    items
        .list
        .iter()
        .filter_map(|item| match *item {
            Item::Star { step } => Some((FIRST_YEAR, LAST_YEAR, step)),
            Item::Span { low, high, step } => Some((i64::from(low), i64::from(high), step)),
            _ => None,
        })
        .map(|(low, high, step)| YearSpan {
            low,
            high,
            step: i64::from(step),
        })
        .collect()
}
