//! A calendar rule and the local times that it matches. Knows no zone and no clock change; a local
//! time is a number of seconds on the wall (see `civil`). The matching itself is `pattern`'s.

use croner::errors::CronError;

use super::error::Field;
use super::field::{Item, Items};
use super::pattern::Pattern;

/// The seven fields as they were read.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    pub(super) second: Items,
    pub(super) minute: Items,
    pub(super) hour: Items,
    pub(super) day_of_month: Items,
    pub(super) month: Items,
    pub(super) day_of_week: Items,
    pub(super) year: Items,
}

impl Fields {
    /// Whether the day of month, taken alone, ever comes in the rule's months and years.
    pub(super) fn is_date_possible(&self) -> Result<bool, CronError> {
        let fields = Self {
            day_of_week: Items::every(),
            ..self.clone()
        };
        Ok(!patterns(&fields)?.is_empty())
    }

    /// How many times a matching day has, by the wall.
    fn times_per_day(&self) -> usize {
        self.hour.values(Field::Hour).len()
            * self.minute.values(Field::Minute).len()
            * self.second.values(Field::Second).len()
    }
}

/// A calendar rule, made for searching. It matches at one time at least.
#[derive(Clone, Debug)]
pub(super) struct Calendar {
    /// The rule matches where one of these does.
    patterns: Vec<Pattern>,
    times_per_day: usize,
    wildcard: bool,
    endless: bool,
}

impl Calendar {
    /// The calendar of these fields; `None` if no year has a matching date.
    pub(super) fn new(fields: &Fields) -> Result<Option<Self>, CronError> {
        let patterns = patterns(fields)?;
        if patterns.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            patterns,
            times_per_day: fields.times_per_day(),
            wildcard: [&fields.second, &fields.minute, &fields.hour]
                .iter()
                .any(|items| items.starred),
            endless: fields.year.starred,
        }))
    }

    /// A rule with `*` before the day: it skips gaps and fires in both passes of a fold.
    pub(super) fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    /// Whether no last year is written.
    pub(super) fn is_endless(&self) -> bool {
        self.endless
    }

    /// How many times a matching day has, by the wall.
    pub(super) fn times_per_day(&self) -> usize {
        self.times_per_day
    }

    /// The first matching local time strictly after `after`, from `FIRST_YEAR` to `LAST_YEAR`.
    pub(super) fn next(&self, after: i64) -> Result<Option<i64>, CronError> {
        let mut first = None;
        for pattern in &self.patterns {
            if let Some(found) = pattern.next(after)? {
                first = Some(first.map_or(found, |first: i64| first.min(found)));
            }
        }
        Ok(first)
    }
}

/// The patterns that together mean these fields; those that never match are left out.
fn patterns(fields: &Fields) -> Result<Vec<Pattern>, CronError> {
    day_lists(&fields.day_of_month)
        .into_iter()
        .filter_map(|day_of_month| {
            let fields = Fields {
                day_of_month,
                ..fields.clone()
            };
            Pattern::new(&fields).transpose()
        })
        .collect()
}

/// The days of the month as one list, or two where croner would misread one: it keeps `L` and `LW`
/// as flags of the whole list, and with both of them set the last day itself is lost.
fn day_lists(days: &Items) -> Vec<Items> {
    let is_mixed = days.list.contains(&Item::Last) && days.list.contains(&Item::LastWeekday);
    if !is_mixed {
        return vec![days.clone()];
    }
    let (last_weekday, rest) = days
        .list
        .iter()
        .partition(|item| **item == Item::LastWeekday);
    [last_weekday, rest]
        .into_iter()
        .map(|list| Items {
            list,
            ..days.clone()
        })
        .collect()
}
