//! A rule in plain English, so that whoever wrote it sees what it means. The day part is in
//! `words/days.rs`, the time of day in `words/clock.rs`.

mod clock;
mod days;

use std::time::Duration;

use super::calendar::Fields;
use super::civil::LocalTime;
use super::definition::{At, RuleKind, Shape};
use super::instant::UnixMs;
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
                At::Instant(at) => local_of(at, schedule.zone()),
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
            let times = times_words(u128::from(calendar.times_per_day()));
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

fn local_of(at: UnixMs, zone: &Zone) -> LocalTime {
    let second = at.0.div_euclid(1000);
    LocalTime {
        seconds: second + zone.offset_at(second),
        millis: at.0.rem_euclid(1000),
    }
}

/// "UTC", "New York time"; names that are no places stay as they are.
fn zone_words(zone: &Zone) -> String {
    let name = zone.name();
    match name.rsplit_once('/') {
        Some(("Etc", _)) => name.to_owned(),
        Some((_, city)) => format!("{} time", city.replace('_', " ")),
        None => name.to_owned(),
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

#[cfg(test)]
mod tests {
    use super::super::definition::Rule;
    use super::*;

    fn check(rule: &str, zone: &str, expected: &str) {
        let zone = Zone::parse(zone).unwrap();
        let rule = Rule::parse(rule).unwrap();
        assert_eq!(
            words(&Schedule::new(rule.clone(), zone)),
            expected,
            "{rule}"
        );
    }

    #[test]
    fn says_times_of_day() {
        check("30 2 * * *", "UTC", "at 02:30 UTC every day");
        check("@daily", "Asia/Tokyo", "at 00:00 Tokyo time every day");
        check(
            "0 9,13,17 * * *",
            "UTC",
            "at 09:00, 13:00 and 17:00 UTC every day",
        );
        check("0,30 8 * * *", "UTC", "at 08:00 and 08:30 UTC every day");
        check("15 30 2 * * *", "UTC", "at 02:30:15 UTC every day");
        check(
            "0 9-12 * * *",
            "UTC",
            "at 09:00, 10:00, 11:00 and 12:00 UTC every day",
        );
        check(
            "0 8-18 * * *",
            "UTC",
            "every hour from 08:00 to 18:00 UTC, every day",
        );
        check(
            "30 8-20/2 * * *",
            "UTC",
            "every 2 hours from 08:30 to 20:30 UTC, every day",
        );
        check(
            "* 9-17 * * *",
            "America/New_York",
            "every minute from 09:00 to 17:59 New York time, every day",
        );
        check(
            "*/5 2 * * *",
            "UTC",
            "every 5 minutes from 02:00 to 02:55 UTC, every day",
        );
        check(
            "* 0,12 * * *",
            "UTC",
            "every minute of the hours 00 and 12 UTC, every day",
        );
        check(
            "5,25,46 1,7,20 * * *",
            "UTC",
            "at minutes 5, 25 and 46 of the hours 01, 07 and 20 UTC, every day",
        );
    }

    #[test]
    fn says_intervals() {
        check("* * * * *", "Asia/Tokyo", "every minute");
        check("* * * * * *", "UTC", "every second");
        check("*/20 * * * * *", "UTC", "every 20 seconds");
        check("*/5 * * * *", "Europe/Berlin", "every 5 minutes");
        check("0-59/5 * * * *", "Europe/Berlin", "every 5 minutes");
        check(
            "*/7 * * * *",
            "UTC",
            "every 7 minutes from the start of every hour",
        );
        check(
            "2-59/15 * * * *",
            "UTC",
            "at 2, 17, 32 and 47 minutes past every hour",
        );
        check("@hourly", "UTC", "every hour");
        check("30 * * * *", "UTC", "at 30 minutes past every hour");
        check("1 * * * *", "UTC", "at 1 minute past every hour");
        check(
            "10-20 * * * *",
            "UTC",
            "at 10 to 20 minutes past every hour",
        );
        check(
            "0 */2 * * *",
            "UTC",
            "every 2 hours from 00:00 to 22:00 UTC, every day",
        );
        check(
            "0 */5 * * *",
            "UTC",
            "at 00:00, 05:00, 10:00, 15:00 and 20:00 UTC every day",
        );
        check("5 * * * * *", "UTC", "at second 5 of every minute");
        check(
            "0,30 */5 * * * *",
            "UTC",
            "every 30 seconds of every 5th minute",
        );
        check(
            "* 0 * * * *",
            "UTC",
            "every second of minute 0 of every hour",
        );
        check("@every 250ms", "UTC", "every 250 ms");
        check("@every 1ms", "UTC", "every 1 ms");
        check("@every 1h", "UTC", "every hour");
        check("@every 1h30m", "UTC", "every 1 hour 30 minutes");
        check("@every 2d", "UTC", "every 2 days");
    }

    #[test]
    fn says_days() {
        let new_york = "America/New_York";
        check(
            "0 17 * * 5L",
            new_york,
            "every Friday that is the last of the month, at 17:00 New York time",
        );
        check(
            "0 17 * * FRI#L",
            "UTC",
            "every Friday that is the last of the month, at 17:00 UTC",
        );
        check(
            "0 0 * * 5#2",
            "UTC",
            "every Friday that is the second of the month, at 00:00 UTC",
        );
        check(
            "0 0 * * 1#1,1#3",
            "UTC",
            "every Monday that is the first or third of the month, at 00:00 UTC",
        );
        check(
            "0 22 * * 1-5",
            "UTC",
            "every Monday to Friday, at 22:00 UTC",
        );
        check(
            "0 22 * * SAT,SUN",
            "UTC",
            "every Saturday and Sunday, at 22:00 UTC",
        );
        check(
            "0 22 * * 1,3,5",
            "UTC",
            "every Monday, Wednesday and Friday, at 22:00 UTC",
        );
        check("0 0 * * 5-7", "UTC", "every Friday to Sunday, at 00:00 UTC");
        check("@weekly", "UTC", "every Sunday, at 00:00 UTC");
        check("@monthly", "UTC", "the 1st of every month, at 00:00 UTC");
        check("@yearly", "UTC", "1 January of every year, at 00:00 UTC");
        check(
            "0 0 29 2 *",
            "UTC",
            "29 February of every leap year, at 00:00 UTC",
        );
        check(
            "0 0 1,15 * *",
            "UTC",
            "the 1st and 15th of every month, at 00:00 UTC",
        );
        check(
            "0 0 1-7 * *",
            "UTC",
            "the 1st to 7th of every month, at 00:00 UTC",
        );
        check(
            "0 0 */2 * *",
            "UTC",
            "every 2nd day from the 1st of every month, at 00:00 UTC",
        );
        check(
            "0 0 L * *",
            "UTC",
            "the last day of every month, at 00:00 UTC",
        );
        check(
            "0 0 LW * *",
            "UTC",
            "the last weekday of every month, at 00:00 UTC",
        );
        check(
            "0 0 15W * *",
            "UTC",
            "the weekday nearest to the 15th of every month, at 00:00 UTC",
        );
        check(
            "0 0 1,L * *",
            "UTC",
            "the 1st and the last day of every month, at 00:00 UTC",
        );
        check(
            "0 0 * JAN,jul *",
            "UTC",
            "every day in January and July, at 00:00 UTC",
        );
        check(
            "0 0 1 */3 *",
            "UTC",
            "the 1st of January, April, July and October, at 00:00 UTC",
        );
        check(
            "0 0 * 6-8 1",
            "UTC",
            "every Monday in June to August, at 00:00 UTC",
        );
        check(
            "0 0 13 * 5",
            "UTC",
            "the 13th of every month and also every Friday, at 00:00 UTC",
        );
        check(
            "0 0 13 * +FRI",
            "UTC",
            "every Friday that is also the 13th of the month, at 00:00 UTC",
        );
        check(
            "0 0 13 3 +FRI",
            "UTC",
            "every Friday that is also the 13th of March, at 00:00 UTC",
        );
        check("0 0 0 1 1 * 2027", "UTC", "1 January 2027, at 00:00 UTC");
        check(
            "0 0 0 * * * 2027-2030",
            "UTC",
            "every day in 2027 to 2030, at 00:00 UTC",
        );
        check(
            "0 0 0 1 * * */2",
            "UTC",
            "the 1st of every month in every 2nd year, at 00:00 UTC",
        );
        check(
            "*/5 * * * 1",
            "Europe/Paris",
            "every Monday, every 5 minutes, Paris time",
        );
    }

    #[test]
    fn says_what_is_no_calendar() {
        check(
            "@at 2027-01-01T00:00:00+08:00",
            "Asia/Shanghai",
            "once, at 2027-01-01 00:00 Shanghai time",
        );
        check(
            "@at 2027-01-01T00:00:00+08:00",
            "UTC",
            "once, at 2026-12-31 16:00 UTC",
        );
        check(
            "@at 2027-01-01T00:00:05.250",
            "Etc/GMT+8",
            "once, at 2027-01-01 00:00:05.250 Etc/GMT+8",
        );
        check("@always", "UTC", "always: the processes are kept running");
        check("@Reboot", "UTC", "once after every boot of the host");
    }

    #[test]
    fn says_how_often() {
        let check = |rule: &str, expected: &str| {
            let schedule = Schedule::new(Rule::parse(rule).unwrap(), Zone::utc());
            assert_eq!(schedule.per_day(), expected, "{rule}");
        };
        check("@daily", "once a day");
        check("@hourly", "24 times a day");
        check("0 6,18 * * *", "twice a day");
        check("* * * * * *", "86400 times a day");
        check("0 */6 * * 1", "4 times on each of its days");
        check("@every 250ms", "345600 times a day");
        check("@every 7m", "about 205 times a day");
        check("@every 36h", "once in 1 day 12 hours");
        check("@at 2027-01-01", "once");
        check("@reboot", "once per boot");
    }
}
