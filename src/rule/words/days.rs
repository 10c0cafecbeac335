//! The days of a calendar rule in words.

use super::super::calendar::Fields;
use super::super::error::Field;
use super::super::field::{Item, Items};
use super::{even_step, list, ordinal, runs};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const NTH: [&str; 5] = ["first", "second", "third", "fourth", "fifth"];

/// Whether no field restricts the days.
pub(super) fn is_every_day(fields: &Fields) -> bool {
    let fields = [
        &fields.day_of_month,
        &fields.month,
        &fields.day_of_week,
        &fields.year,
    ];
    !fields.iter().any(|items| items.is_restricted())
}

/// The days in words.
pub(super) fn phrase(fields: &Fields) -> String {
    if let Some(date) = one_date(fields) {
        return date;
    }
    let months = month_words(fields);
    let in_months = months
        .as_ref()
        .map_or(String::new(), |months| format!(" in {months}"));
    let of_months = months.clone().unwrap_or_else(|| "every month".to_owned());
    let dates = fields
        .day_of_month
        .is_restricted()
        .then(|| date_words(&fields.day_of_month));
    let weekdays = fields
        .day_of_week
        .is_restricted()
        .then(|| weekday_words(&fields.day_of_week));
    let days = match (dates, weekdays) {
        (None, None) => format!("every day{in_months}"),
        (Some(dates), None) => format!("{dates} of {of_months}"),
        (None, Some(weekdays)) => format!("{weekdays}{in_months}"),
        (Some(dates), Some(weekdays)) if fields.day_of_week.and => {
            let months = months.unwrap_or_else(|| "the month".to_owned());
            format!("{weekdays} that is also {dates} of {months}")
        }
        (Some(dates), Some(weekdays)) => {
            format!("{dates} of {of_months} and also {weekdays}{in_months}")
        }
    };
    match year_words(fields) {
        Some(years) if days.contains(" in ") => format!("{days}, in {years}"),
        Some(years) => format!("{days} in {years}"),
        None => days,
    }
}

/// "1 January of every year", "1 January 2027": a single date needs no list.
fn one_date(fields: &Fields) -> Option<String> {
    if fields.day_of_week.is_restricted() || !is_plain(&fields.day_of_month) {
        return None;
    }
    let days = fields.day_of_month.values(Field::DayOfMonth);
    let months = fields.month.values(Field::Month);
    let ([day], [month]) = (days.as_slice(), months.as_slice()) else {
        return None;
    };
    let date = format!("{day} {}", month_name(*month));
    Some(match year_words(fields) {
        Some(years) if fields.year.values(Field::Year).len() == 1 => format!("{date} {years}"),
        Some(years) => format!("{date} in {years}"),
        None if (*day, *month) == (29, 2) => format!("{date} of every leap year"),
        None => format!("{date} of every year"),
    })
}

fn is_plain(items: &Items) -> bool {
    items
        .list
        .iter()
        .all(|item| matches!(item, Item::Star { .. } | Item::Span { .. }))
}

fn month_name(month: u16) -> String {
    let name = MONTHS.get(usize::from(month).wrapping_sub(1));
    name.copied().unwrap_or_default().to_owned()
}

fn weekday_name(day: u16) -> String {
    WEEKDAYS[usize::from(day % 7)].to_owned()
}

/// `None` for every month.
fn month_words(fields: &Fields) -> Option<String> {
    let months = fields.month.values(Field::Month);
    (months.len() < 12).then(|| runs(&months, month_name))
}

/// `None` for every year.
fn year_words(fields: &Fields) -> Option<String> {
    match fields.year.list.as_slice() {
        [Item::Star { step: 1 }] => None,
        [Item::Star { step }] => Some(format!("every {} year", ordinal(*step))),
        _ => Some(runs(&fields.year.values(Field::Year), |year| {
            year.to_string()
        })),
    }
}

/// "the 1st and 15th", "the last day".
fn date_words(items: &Items) -> String {
    let mut parts = Vec::new();
    if let [Item::Star { step }] = items.list.as_slice() {
        parts.push(format!("every {} day from the 1st", ordinal(*step)));
    } else if !plain_dates(items).is_empty() {
        parts.push(format!("the {}", plain_dates(items)));
    }
    for item in &items.list {
        match item {
            Item::Last => parts.push("the last day".to_owned()),
            Item::LastWeekday => parts.push("the last weekday".to_owned()),
            Item::Near(day) => {
                parts.push(format!("the weekday nearest to the {}", ordinal(*day)));
            }
            _ => {}
        }
    }
    list(&parts)
}

fn plain_dates(items: &Items) -> String {
    let days = items.values(Field::DayOfMonth);
    match even_step(&days) {
        Some(step) if step > 1 && days.len() > 5 => {
            let (first, last) = (ordinal(days[0]), ordinal(days[days.len() - 1]));
            format!("{first} to {last} in steps of {step}")
        }
        _ => runs(&days, ordinal),
    }
}

/// "every Monday to Friday", "every Friday that is the last of the month".
fn weekday_words(items: &Items) -> String {
    let mut parts = Vec::new();
    let plain = plain_weekdays(items);
    if !plain.is_empty() {
        parts.push(format!("every {}", runs(&plain, weekday_name)));
    }
    for day in 0..7 {
        let which = which_of_month(items, day);
        if !which.is_empty() {
            let which = which.join(" or ");
            parts.push(format!(
                "every {} that is the {which} of the month",
                weekday_name(day)
            ));
        }
    }
    list(&parts)
}

/// The weekdays from Monday on, Sunday as 7: people start the week there. Sunday stays in front
/// where it begins a run (`0-2`) and does not end one.
fn plain_weekdays(items: &Items) -> Vec<u16> {
    let days: Vec<u16> = items
        .values(Field::DayOfWeek)
        .iter()
        .map(|day| day % 7)
        .collect();
    let has = |day| days.contains(&day);
    let sunday = if has(0) && has(1) && !has(6) { 0 } else { 7 };
    let mut days: Vec<u16> = days
        .iter()
        .map(|day| if *day == 0 { sunday } else { *day })
        .collect();
    days.sort_unstable();
    days.dedup();
    days
}

fn which_of_month(items: &Items, weekday: u16) -> Vec<&'static str> {
    let mut which: Vec<(u16, &'static str)> = items
        .list
        .iter()
        .filter_map(|item| match *item {
            Item::Nth { day, nth } if day == weekday => Some((nth, NTH[usize::from(nth) - 1])),
            Item::LastOf(day) if day == weekday => Some((6, "last")),
            _ => None,
        })
        .collect();
    which.sort_unstable();
    which.dedup();
    which.into_iter().map(|(_, name)| name).collect()
}
