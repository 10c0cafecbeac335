//! The promises of DESIGN.md, section 4, on random rules, zones and instants from fixed seeds: a
//! brute-force matcher that asks every second or minute of the neighbourhood of a clock change,
//! and the oracle as a second opinion on plain calendars.

use std::collections::BTreeSet;

use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, ToSpan};

use super::super::parse::fields_of;
use super::super::zone::find;
use super::super::{Problem, Rule, Schedule, UnixMs, Zone, parse_duration, parse_time};
use super::oracle::Oracle;

const ZONES: [&str; 10] = [
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Antarctica/Troll",
    "Africa/Casablanca",
    "Asia/Tehran",
];

/// Knuth's 64-bit linear congruential generator, high bits.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    /// A rule that is not refused for naming days that never come (`LW * +SUN`).
    fn rule(&mut self) -> String {
        loop {
            let text = self.any_rule();
            if !matches!(Rule::parse(&text), Err(error) if error.problem == Problem::Never) {
                return text;
            }
        }
    }

    /// Minute and hour mostly near clock changes, days mostly open.
    fn any_rule(&mut self) -> String {
        let minute = self.one(&["*", "*/7", "*/30", "0", "30", "15,45", "0-59/20", "59", "7"]);
        let hour = self.one(&[
            "*", "*/2", "2", "1,2,3", "0-23", "0", "*/3", "23", "1-3/2", "3",
        ]);
        let day = self.one(&[
            "*",
            "*",
            "*",
            "*/2",
            "L",
            "LW",
            "15W",
            "1,31",
            "8-14",
            "?",
            "L,15W",
            "LW,L",
            "LW,3,15W",
            "1W,30W,31W",
            "*/1",
            "29,30",
        ]);
        let month = self.one(&["*", "*", "*", "3,4,10,11", "*/2", "MAR-NOV", "2"]);
        let weekday = self.one(&[
            "*", "*", "*", "SUN", "1-5", "+SUN", "0#1", "5L", "*/2", "?", "5-7,1#5", "+1-5", "*/1",
            "+6L,7#2",
        ]);
        format!("{minute} {hour} {day} {month} {weekday}")
    }
}

/// A matcher that knows no more of a rule than its fields, and of the zone only jiff's answers.
struct Brute {
    oracle: Oracle,
    zone: TimeZone,
}

impl Brute {
    fn new(rule: &Rule, zone: TimeZone) -> Self {
        let oracle = Oracle::new(&fields_of(rule.text()).unwrap());
        Self { oracle, zone }
    }

    fn is_match(&self, civil: jiff::civil::DateTime) -> bool {
        self.oracle
            .is_match(Offset::UTC.to_timestamp(civil).unwrap().as_second())
    }

    /// Every minute of the days around `middle`, by the rule's words: fixed rules in the first
    /// pass of a fold, at the end of a gap; wildcard rules wherever the clock shows the time.
    fn occurrences(&self, first: Timestamp, minutes: i64) -> BTreeSet<i64> {
        let mut due = BTreeSet::new();
        for minute in 0..minutes {
            let at = first + minute.minutes();
            let civil = self.zone.to_datetime(at);
            let is_first_pass = self.zone.to_ambiguous_timestamp(civil).earlier().ok() == Some(at);
            if self.is_match(civil) && (self.oracle.is_wildcard() || is_first_pass) {
                due.insert(at.as_millisecond());
            }
        }
        if !self.oracle.is_wildcard() {
            self.add_gaps(first, minutes, &mut due);
        }
        due
    }

    fn add_gaps(&self, first: Timestamp, minutes: i64, due: &mut BTreeSet<i64>) {
        let end = first + minutes.minutes();
        for change in self
            .zone
            .following(first)
            .take_while(|change| change.timestamp() < end)
        {
            let at = change.timestamp();
            let before = self.zone.to_offset(at - 1.second());
            let (from, to) = (before.to_datetime(at), change.offset().to_datetime(at));
            let width = change.offset().seconds() - before.seconds();
            let mut civil = from;
            while width <= 3 * 3600 && civil < to {
                if self.is_match(civil) {
                    due.insert(at.as_millisecond());
                }
                civil += 1.minute();
            }
        }
    }
}

fn check(seed: u64) {
    let mut dice = Dice(seed);
    for _ in 0..8 {
        dice.below(2);
    }
    let name = dice.one(&ZONES);
    let text = dice.rule();
    let Ok(rule) = Rule::parse(&text) else {
        panic!("seed {seed}: {text}");
    };
    let zone = find(name).unwrap();
    // Somewhere in 2005-2035, if possible around a clock change.
    let base =
        Timestamp::from_second(1_104_537_600 + i64::try_from(dice.below(946_000_000)).unwrap());
    let base = base.unwrap();
    let change = zone
        .following(base)
        .next()
        .map_or(base, |change| change.timestamp());
    let first = if dice.below(4) == 0 { base } else { change };
    // To the whole minute, so that every occurrence is looked at.
    let first =
        Timestamp::from_second((first.as_second() - 2 * 86_400).div_euclid(60) * 60).unwrap();
    let minutes = 4 * 24 * 60;
    let schedule = Schedule::new(rule.clone(), Zone::parse(name).unwrap());
    let expected = Brute::new(&rule, zone).occurrences(first, minutes);
    let from = UnixMs(first.as_millisecond() - 1);
    let end = first.as_millisecond() + minutes * 60_000;
    let found = within(&schedule, from, end);
    let expected: Vec<i64> = expected.into_iter().collect();
    assert_eq!(
        found, expected,
        "seed {seed}: `{text}` in {name} from {first}"
    );
    same_from_everywhere(&schedule, &found, &mut dice, seed);
}

/// All occurrences after `from` and before `end`, each strictly after the last.
fn within(schedule: &Schedule, from: UnixMs, end: i64) -> Vec<i64> {
    let mut found = Vec::new();
    let mut after = from;
    while let Some(due) = schedule.next_after(after).unwrap() {
        assert!(due > after, "{schedule:?}: {due} is not after {after}");
        if due.0 >= end {
            break;
        }
        found.push(due.0);
        after = due;
    }
    found
}

fn same_from_everywhere(schedule: &Schedule, found: &[i64], dice: &mut Dice, seed: u64) {
    for pair in found.windows(2) {
        let width = u64::try_from(pair[1] - pair[0]).unwrap();
        let tries = [
            0,
            width - 1,
            dice.below(width),
            dice.below(width),
            dice.below(width),
        ];
        for step in tries {
            let after = UnixMs(pair[0] + i64::try_from(step).unwrap());
            let due = schedule.next_after(after).unwrap();
            assert_eq!(
                due,
                Some(UnixMs(pair[1])),
                "seed {seed}: {schedule:?} from {after}"
            );
        }
    }
}

#[test]
fn random_rules_agree_with_brute_force_around_clock_changes() {
    for seed in 0..200 {
        check(seed);
    }
}

/// Goes through a random rule in UTC, which has no clock changes, beside the oracle.
fn check_calendar(seed: u64) {
    let mut dice = Dice(seed);
    let second = dice.one(&["0", "*/20", "5,7", "59", "0-59/70"]);
    let plain = dice.any_rule();
    let year = dice.one(&[
        "*",
        "*",
        "*/4",
        "1970-2999",
        "2027,2029",
        "1999",
        "2000-2040/3",
        "2999",
    ]);
    let text = format!("{second} {plain} {year}");
    let oracle = Oracle::new(&fields_of(&text).unwrap());
    let rule = match Rule::parse(&text) {
        Ok(rule) => rule,
        Err(error) => {
            assert_eq!(error.problem, Problem::Never, "{text}");
            assert!(!oracle.is_possible(), "seed {seed}: `{text}`");
            return;
        }
    };
    assert!(oracle.is_possible(), "seed {seed}: `{text}`");
    let schedule = Schedule::new(rule, Zone::utc());
    let mut second = i64::try_from(dice.below(3_000_000_000)).unwrap() - 1_000_000_000;
    for _ in 0..20 {
        let due = schedule.next_after(UnixMs(second * 1000)).ok().flatten();
        let expected = oracle.next(second);
        assert_eq!(
            due,
            expected.map(|second| UnixMs(second * 1000)),
            "seed {seed}: `{text}` after {second}"
        );
        // Now and then far ahead, to the end of the years.
        let step = if dice.below(4) == 0 {
            dice.below(10_000_000_000)
        } else {
            0
        };
        second = expected.unwrap_or(second) + i64::try_from(step).unwrap();
    }
}

#[test]
fn random_calendars_agree_with_the_oracle_where_no_clock_changes() {
    for seed in 1_000..3_000 {
        check_calendar(seed);
    }
}

#[test]
fn no_text_makes_a_reader_panic() {
    let pieces = [
        "*",
        "*/",
        "/",
        "-",
        ",",
        "?",
        "#",
        "L",
        "W",
        "LW",
        "+",
        "@",
        "@every ",
        "@at ",
        " ",
        " ",
        " ",
        "\t",
        "0",
        "1",
        "5",
        "31",
        "59",
        "99999999999",
        "FRI",
        "jan",
        "2027-01-31",
        "T",
        ":",
        "03:00",
        "Z",
        "ms",
        "1h",
        "é",
        "金",
        "\u{1b}",
        "\u{0}",
        "\u{202e}",
        ".",
        "d",
        "\n",
    ];
    for seed in 0..20_000 {
        let mut dice = Dice(seed);
        let count = 1 + dice.below(14);
        let text: String = (0..count).map(|_| dice.one(&pieces)).collect();
        if let Err(error) = Rule::parse(&text) {
            assert!(!error.to_string().contains(char::is_control), "{error}");
            assert!(!error.caret().is_empty());
            assert!(error.read().len() <= text.len());
        }
        // Only that they return is of interest.
        let _ = parse_time(&text, UnixMs(0), &Zone::utc());
        let _ = parse_duration(&text);
    }
}
