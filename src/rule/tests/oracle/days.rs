//! Which days of a month match: the two day fields, their specials, AND and OR.

use super::super::super::civil::{Date, month_length};
use super::super::super::error::Field;
use super::super::super::field::{Item, Items};

const SUNDAY: u32 = 0;
const SATURDAY: u32 = 6;

/// The days that a rule names, ready to be matched against a month.
pub(super) struct Days {
    of_month: Option<MonthDays>,
    of_week: Option<WeekDays>,
    /// Both fields have to match where both restrict.
    both: bool,
}

/// Bits 1-31 are days.
#[derive(Clone, Copy, Default)]
struct MonthDays {
    days: u32,
    near: u32,
    last: bool,
    last_weekday: bool,
}

/// Bits 0-6 are Sunday to Saturday.
#[derive(Clone, Copy, Default)]
struct WeekDays {
    every: u8,
    nth: [u8; 5],
    last: u8,
}

impl Days {
    /// The days that these two fields mean; an unrestricted field leaves all to the other.
    pub(super) fn new(of_month: &Items, of_week: &Items) -> Self {
        Self {
            of_month: of_month.is_restricted().then(|| MonthDays::new(of_month)),
            of_week: of_week.is_restricted().then(|| WeekDays::new(of_week)),
            both: of_week.and,
        }
    }

    /// The matching days of a month, bits 1-31.
    pub(super) fn in_month(&self, year: i64, month: u32) -> u32 {
        let shape = Month::new(year, month);
        match (&self.of_month, &self.of_week) {
            (None, None) => shape.all(),
            (Some(days), None) => days.matching(shape),
            (None, Some(days)) => days.matching(shape),
            (Some(days), Some(week)) if self.both => days.matching(shape) & week.matching(shape),
            (Some(days), Some(week)) => days.matching(shape) | week.matching(shape),
        }
    }
}

/// What matching needs to know of a month.
#[derive(Clone, Copy)]
struct Month {
    length: u32,
    /// The weekday of its first day.
    first: u32,
}

impl Month {
    fn new(year: i64, month: u32) -> Self {
        Self {
            length: month_length(year, month),
            first: Date {
                year,
                month,
                day: 1,
            }
            .weekday(),
        }
    }

    fn all(self) -> u32 {
        // At most bit 31, so the sum stays in 64 bits before it is cut to 32.
        u32::MAX >> (31 - self.length) & !1
    }

    fn weekday(self, day: u32) -> u32 {
        (self.first + day - 1) % 7
    }

    fn last_weekday(self) -> u32 {
        match self.weekday(self.length) {
            SATURDAY => self.length - 1,
            SUNDAY => self.length - 2,
            _ => self.length,
        }
    }

    /// Quartz' `W`: Saturday goes back, Sunday goes on, but never out of the month.
    fn nearest_weekday(self, day: u32) -> u32 {
        match self.weekday(day) {
            SATURDAY if day == 1 => 3,
            SATURDAY => day - 1,
            SUNDAY if day == self.length => day - 2,
            SUNDAY => day + 1,
            _ => day,
        }
    }
}

impl MonthDays {
    fn new(items: &Items) -> Self {
        let mut days = Self::default();
        for value in items.values(Field::DayOfMonth) {
            days.days |= 1 << value;
        }
        for item in &items.list {
            match *item {
                Item::Last => days.last = true,
                Item::LastWeekday => days.last_weekday = true,
                Item::Near(day) => days.near |= 1 << day,
                _ => {}
            }
        }
        days
    }

    fn matching(self, month: Month) -> u32 {
        let mut found = self.days & month.all();
        if self.last {
            found |= 1 << month.length;
        }
        if self.last_weekday {
            found |= 1 << month.last_weekday();
        }
        for day in (1..=month.length).filter(|day| self.near & (1 << day) != 0) {
            found |= 1 << month.nearest_weekday(day);
        }
        found
    }
}

impl WeekDays {
    fn new(items: &Items) -> Self {
        let mut week = Self::default();
        for value in items.values(Field::DayOfWeek) {
            week.every |= 1 << (value % 7);
        }
        for item in &items.list {
            match *item {
                Item::Nth { day, nth } => week.nth[usize::from(nth) - 1] |= 1 << day,
                Item::LastOf(day) => week.last |= 1 << day,
                _ => {}
            }
        }
        week
    }

    fn matching(self, month: Month) -> u32 {
        let mut found = 0;
        for day in 1..=month.length {
            let nth = self.nth[(day as usize - 1) / 7];
            let last = if day + 7 > month.length { self.last } else { 0 };
            if (self.every | nth | last) & (1 << month.weekday(day)) != 0 {
                found |= 1 << day;
            }
        }
        found
    }
}
