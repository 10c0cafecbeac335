//! A rule in plain English, so that whoever wrote it sees what it means. The day part is in
//! `words/days.rs`, the time of day in `words/clock.rs`.

mod clock;
mod days;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::calendar::Fields;
use super::definition::{At, RuleKind, Shape};
use super::parse;
use super::schedule::Schedule;
use super::zone::Zone;

/// The rule in words: "every Friday that is the last of the month, at 17:00 New York time", "at
/// 02:30 UTC every day", "every 250 ms", "once, at 2027-01-01 00:00 UTC".
pub fn words(schedule: &Schedule) -> String {
    let rule = schedule.rule();
    match rule.kind() {
        RuleKind::Every(span) => format!("every {}", span_words(span)),
        RuleKind::At(at) => {
            let local = match at {
                At::Instant(at) => schedule.zone().local_time(at),
                At::Local(local) => local,
            };
            format!("once, at {local} {}", zone_words(schedule.zone()))
        }
        RuleKind::Always => "always: the processes are kept running".to_owned(),
        RuleKind::Reboot => "once after every boot of the host".to_owned(),
        RuleKind::Calendar => match parse::fields_of(rule.text()) {
            Some(fields) => calendar_words(&fields, schedule.zone()),
            None => rule.text().to_owned(),
        },
    }
}

/// How often the rule is due, in words.
pub(super) fn per_day(schedule: &Schedule) -> String {
    match schedule.rule().shape() {
        Shape::Calendar(calendar) => {
            let fields = parse::fields_of(schedule.rule().text());
            let every_day = fields.is_some_and(|fields| days::is_every_day(&fields));
            let times = times_words(calendar.times_per_day() as u128);
            if every_day {
                format!("{times} a day")
            } else {
                format!("{times} on each of its days")
            }
        }
        Shape::Every(span) => every_per_day(*span),
        Shape::At(_) => "once".to_owned(),
        Shape::Always => "all the time".to_owned(),
        Shape::Reboot => "once per boot".to_owned(),
    }
}

fn every_per_day(span: Duration) -> String {
    const DAY: u128 = 86_400_000;
    let span_millis = span.as_millis().max(1);
    match (DAY / span_millis, DAY % span_millis) {
        (0, _) => format!("once in {}", span_words(span)),
        (times, 0) => format!("{} a day", times_words(times)),
        (times, _) => format!("about {} a day", times_words(times)),
    }
}

fn times_words(times: u128) -> String {
    match times {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        times => format!("{times} times"),
    }
}

/// "30 seconds", "hour", "1 hour 30 minutes", "250 ms": what follows "every".
fn span_words(span: Duration) -> String {
    let units = [
        ("day", 86_400_000),
        ("hour", 3_600_000),
        ("minute", 60_000),
        ("second", 1_000),
    ];
    let mut rest = span.as_millis();
    let mut parts = Vec::new();
    for (unit, millis) in units {
        match rest / millis {
            0 => {}
            1 => parts.push(format!("1 {unit}")),
            count => parts.push(format!("{count} {unit}s")),
        }
        rest %= millis;
    }
    if rest > 0 {
        parts.push(format!("{rest} ms"));
    }
    match parts.as_slice() {
        [one] => one
            .strip_prefix("1 ")
            .filter(|unit| *unit != "ms")
            .unwrap_or(one)
            .to_owned(),
        parts => parts.join(" "),
    }
}

/// "UTC", "New York time"; names that are no places stay as they are.
fn zone_words(zone: &Zone) -> String {
    let name = zone.name();
    match name.rsplit_once('/') {
        Some((region, city)) if region != "Etc" => format!("{} time", city.replace('_', " ")),
        _ => name.to_owned(),
    }
}

fn calendar_words(fields: &Fields, zone: &Zone) -> String {
    let time = clock::phrase(fields);
    let zone = zone_words(zone);
    if days::is_every_day(fields) {
        return match time.place {
            clock::Place::Anywhere => time.text,
            clock::Place::Window => format!("{} {zone}, every day", time.text),
            clock::Place::Clock => format!("{} {zone} every day", time.text),
        };
    }
    let day = days::phrase(fields);
    match time.place {
        clock::Place::Anywhere => format!("{day}, {}, {zone}", time.text),
        clock::Place::Window | clock::Place::Clock => format!("{day}, {} {zone}", time.text),
    }
}

/// "a", "a and b", "a, b and c".
fn list<T: AsRef<str>>(items: &[T]) -> String {
    match items {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", first.join(", "), last.as_ref())
        }
    }
}

/// The values as a list in which three or more neighbours become a range: "1, 3 to 7 and 9".
fn runs(values: &[u16], name: impl Fn(u16) -> String) -> String {
    let mut items = Vec::new();
    for run in values.chunk_by(|a, b| a + 1 == *b) {
        match run {
            [first, _, .., last] => items.push(format!("{} to {}", name(*first), name(*last))),
            short => items.extend(short.iter().map(|value| name(*value))),
        }
    }
    list(&items)
}

/// "1st", "2nd", "3rd", "11th".
fn ordinal(value: u16) -> String {
    let ending = match (value % 10, value % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{value}{ending}")
}

/// The distance between values that lie evenly, two of them at least.
fn even_step(values: &[u16]) -> Option<u16> {
    let step = values.get(1)?.checked_sub(*values.first()?)?;
    values
        .windows(2)
        .all(|pair| pair[1] - pair[0] == step)
        .then_some(step)
}
