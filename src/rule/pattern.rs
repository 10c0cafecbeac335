//! One pattern of the crate `croner`, which matches local times; and what has to stand around it.
//!
//! It is given numbers only, written anew from fields that were read and checked here, for it reads
//! some texts otherwise than this house: years by step count from year 1, `*/1` restricts a day
//! field, a lone `,` is a field. It is asked only where it has an answer: it would walk on to the
//! year 5000 for a rule that is over, so the last match is known beforehand. And a pattern, 6 kB
//! with its table of years, is kept once for all rules that mean the same.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use croner::{Cron, Weekday};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::calendar::Fields;
use super::civil::{DAY_SECONDS, Date, FIRST_YEAR, LAST_YEAR, is_leap, month_length};
use super::error::Field;
use super::field::{Item, Items};

/// The second before the first local time of `FIRST_YEAR`.
const BEFORE_FIRST: i64 = -1;

static SHARED: LazyLock<Mutex<HashMap<String, Weak<Cron>>>> = LazyLock::new(Mutex::default);

/// A pattern that matches at one time at least. Cloning is cheap.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    cron: Arc<Cron>,
    /// The last matching local time, to `LAST_YEAR`.
    last: i64,
}

impl Pattern {
    /// The pattern of these fields; `None` if no year has a matching date.
    pub(super) fn new(fields: &Fields) -> Result<Option<Self>, CronError> {
        let cron = shared(&numbers(fields))?;
        if !is_possible(&cron)? {
            return Ok(None);
        }
        let end = Date {
            year: LAST_YEAR + 1,
            month: 1,
            day: 1,
        };
        let end = local_time(end.days() * DAY_SECONDS)?;
        let last = seconds(cron.find_previous_occurrence(&end, false)?)?;
        Ok(Some(Self { cron, last }))
    }

    /// The first matching local time strictly after `after`, from `FIRST_YEAR` to `LAST_YEAR`.
    pub(super) fn next(&self, after: i64) -> Result<Option<i64>, CronError> {
        if after >= self.last {
            return Ok(None);
        }
        let after = local_time(after.max(BEFORE_FIRST))?;
        let found = self.cron.find_next_occurrence(&after, false)?;
        seconds(found).map(Some)
    }
}

/// The pattern of this text, from memory while a rule uses it.
fn shared(text: &str) -> Result<Arc<Cron>, CronError> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(cron) = shared.get(text).and_then(Weak::upgrade) {
        return Ok(cron);
    }
    let parser = CronParser::builder()
        .seconds(Seconds::Required)
        .year(Year::Required)
        .build();
    let cron = Arc::new(parser.parse(text)?);
    if shared.len() == shared.capacity() {
        // Before it grows, what no rule uses any more goes.
        shared.retain(|_, cron| cron.strong_count() > 0);
    }
    shared.insert(text.to_owned(), Arc::downgrade(&cron));
    Ok(cron)
}

/// Whether any year has a matching date. Looks at each shape of a year once: croner alone would
/// walk through three thousand years to find nothing.
fn is_possible(cron: &Cron) -> Result<bool, CronError> {
    // A year is leap or not, and starts with one of seven weekdays.
    let mut seen = [false; 14];
    for year in FIRST_YEAR..=LAST_YEAR {
        if !cron.pattern.year_match(narrow(year))? {
            continue;
        }
        let start = Date {
            year,
            month: 1,
            day: 1,
        };
        let shape = start.weekday() as usize + if is_leap(year) { 7 } else { 0 };
        if !std::mem::replace(&mut seen[shape], true) && is_possible_in(cron, year)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_possible_in(cron: &Cron, year: i64) -> Result<bool, CronError> {
    for month in 1..=12 {
        if !cron.pattern.month_match(month)? {
            continue;
        }
        for day in 1..=month_length(year, month) {
            let weekday = Weekday::from_days_from_sunday(Date { year, month, day }.weekday());
            if cron.pattern.day_match(narrow(year), month, day, weekday)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn narrow(year: i64) -> i32 {
    i32::try_from(year).unwrap_or(i32::MAX)
}

fn local_time(seconds: i64) -> Result<DateTime, CronError> {
    let at = Timestamp::from_second(seconds).map_err(|_| CronError::InvalidTime)?;
    Ok(Offset::UTC.to_datetime(at))
}

fn seconds(local: DateTime) -> Result<i64, CronError> {
    let at = Offset::UTC.to_timestamp(local);
    Ok(at.map_err(|_| CronError::InvalidTime)?.as_second())
}

/// The fields in croner's words: seven of them, plain lists of numbers wherever it can be.
fn numbers(fields: &Fields) -> String {
    let and = if fields.day_of_week.and { "+" } else { "" };
    format!(
        "{} {} {} {} {} {and}{} {}",
        list(&fields.second, Field::Second),
        list(&fields.minute, Field::Minute),
        list(&fields.hour, Field::Hour),
        list(&fields.day_of_month, Field::DayOfMonth),
        list(&fields.month, Field::Month),
        list(&fields.day_of_week, Field::DayOfWeek),
        list(&fields.year, Field::Year),
    )
}

fn list(items: &Items, field: Field) -> String {
    if !items.is_restricted() {
        return "*".to_owned();
    }
    let values = items.values(field);
    let values = values.iter().map(ToString::to_string);
    let specials = items.list.iter().copied().filter_map(special);
    values.chain(specials).collect::<Vec<_>>().join(",")
}

fn special(item: Item) -> Option<String> {
    match item {
        Item::Star { .. } | Item::Span { .. } => None,
        Item::Last => Some("L".to_owned()),
        Item::LastWeekday => Some("LW".to_owned()),
        Item::Near(day) => Some(format!("{day}W")),
        Item::Nth { day, nth } => Some(format!("{day}#{nth}")),
        Item::LastOf(day) => Some(format!("{day}L")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::fields_of;
    use super::*;

    fn check(rule: &str, expected: &str) {
        assert_eq!(numbers(&fields_of(rule).unwrap()), expected, "{rule}");
    }

    #[test]
    fn is_written_in_plain_numbers() {
        check("*/20 * */1 * *", "0 0,20,40 * * * * *");
        check("0 0 ? JAN,MAR sun", "0 0 0 * 1,3 0 *");
        check("@weekly", "0 0 0 * * 0 *");
        check(
            "5-9/9 0 0 L,1-3,15w * fri-sun",
            "5 0 0 1,2,3,L,15W * 5,6,7 *",
        );
        check(
            "0 0 0 lw * +FRI#L,7#2,1L 1980-1990/4",
            "0 0 0 LW * +5L,0#2,1L 1980,1984,1988",
        );
        check("0 0 0 1 1 * */500", "0 0 0 1 1 * 1970,2470,2970");
    }

    #[test]
    fn is_kept_once_for_all_rules_that_mean_the_same() {
        let pattern = |rule: &str| Pattern::new(&fields_of(rule).unwrap()).unwrap().unwrap();
        let (one, other) = (pattern("7 5 * * MON"), pattern("0 7 5 ? * 1"));
        assert!(Arc::ptr_eq(&one.cron, &other.cron));
        assert!(!Arc::ptr_eq(&one.cron, &pattern("8 5 * * MON").cron));
    }
}
