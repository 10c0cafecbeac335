//! What rules mean beyond the vectors: intervals, single instants, ends, marks, texts.

use std::time::Duration;

use super::super::{At, Rule, RuleKind, ScheduleError, Shift, UnixMs, Zone};
use super::{at, schedule};

fn check(rule: &str, zone: &str, from: &str, expected: &[&str]) {
    let found = schedule(rule, zone)
        .occurrences(at(from), expected.len() + 1)
        .unwrap();
    let expected: Vec<UnixMs> = expected.iter().map(|text| at(text)).collect();
    assert_eq!(
        found[..expected.len().min(found.len())],
        expected,
        "{rule} from {from}"
    );
}

/// The same, and nothing after that.
fn check_end(rule: &str, zone: &str, from: &str, expected: &[&str]) {
    let found = schedule(rule, zone)
        .occurrences(at(from), expected.len() + 1)
        .unwrap();
    let expected: Vec<UnixMs> = expected.iter().map(|text| at(text)).collect();
    assert_eq!(found, expected, "{rule} from {from}");
}

#[test]
fn intervals_are_aligned_to_the_epoch() {
    let from = "2026-01-01T00:00:00.100Z";
    check(
        "@every 250ms",
        "UTC",
        from,
        &["2026-01-01T00:00:00.250Z", "2026-01-01T00:00:00.500Z"],
    );
    check(
        "@EVERY 1h30m",
        "UTC",
        from,
        &["2026-01-01T01:30:00Z", "2026-01-01T03:00:00Z"],
    );
    check("@every 1ms", "UTC", from, &["2026-01-01T00:00:00.101Z"]);
    check(
        "@every 1h",
        "UTC",
        "1969-12-31T22:30:00Z",
        &["1969-12-31T23:00:00Z", "1970-01-01T00:00:00Z"],
    );
}

#[test]
fn milliseconds_of_the_instant_asked_for_change_nothing() {
    check(
        "* * * * * *",
        "UTC",
        "2026-01-01T00:00:00.999Z",
        &["2026-01-01T00:00:01Z"],
    );
    check(
        "* * * * * *",
        "UTC",
        "2026-01-01T00:00:01.000Z",
        &["2026-01-01T00:00:02Z"],
    );
    check(
        "0 0 * * *",
        "UTC",
        "2025-12-31T23:59:59.999Z",
        &["2026-01-01T00:00:00Z"],
    );
    check(
        "0 0 * * *",
        "UTC",
        "1969-12-31T23:59:59.999Z",
        &["1970-01-01T00:00:00Z"],
    );
}

#[test]
fn a_single_instant_is_due_once() {
    let before = "2026-01-01T00:00:00Z";
    check_end(
        "@at 2027-01-01T00:00:00+08:00",
        "UTC",
        before,
        &["2026-12-31T16:00:00Z"],
    );
    check_end(
        "@at 2027-01-01T00:00:00.250",
        "Asia/Tokyo",
        before,
        &["2026-12-31T15:00:00.250Z"],
    );
    check_end(
        "@at 2027-01-01 06:00",
        "UTC",
        before,
        &["2027-01-01T06:00:00Z"],
    );
    check_end("@at 2027-01-01", "UTC", "2027-01-01T00:00:00Z", &[]);
    // Gap: its end; fold: the first pass; a day that was left out: never.
    check_end(
        "@at 2027-03-14T02:30:00.250",
        "America/New_York",
        before,
        &["2027-03-14T07:00:00Z"],
    );
    check_end(
        "@at 2026-11-01T01:30",
        "America/New_York",
        before,
        &["2026-11-01T05:30:00Z"],
    );
    check_end(
        "@at 2011-12-30T12:00",
        "Pacific/Apia",
        "2011-01-01T00:00:00Z",
        &[],
    );
}

#[test]
fn daemons_and_boots_have_no_calendar() {
    check_end("@always", "UTC", "2026-01-01T00:00:00Z", &[]);
    check_end("@reboot", "UTC", "2026-01-01T00:00:00Z", &[]);
}

#[test]
fn a_last_year_ends_a_rule() {
    let from = "2026-06-01T00:00:00Z";
    check_end(
        "0 0 0 1 1 * 2027,2029",
        "UTC",
        from,
        &["2027-01-01T00:00:00Z", "2029-01-01T00:00:00Z"],
    );
    check_end("0 0 0 1 1 * 1999", "UTC", from, &[]);
    check(
        "0 0 0 1 1 * */4",
        "UTC",
        from,
        &["2030-01-01T00:00:00Z", "2034-01-01T00:00:00Z"],
    );
    // The last hour of the rule comes twice.
    check_end(
        "0 */30 1 1 11 * 2026",
        "America/New_York",
        "2026-11-01T05:15:00Z",
        &[
            "2026-11-01T05:30:00Z",
            "2026-11-01T06:00:00Z",
            "2026-11-01T06:30:00Z",
        ],
    );
}

#[test]
fn an_endless_rule_never_ends_silently() {
    let late = UnixMs(32_503_680_000_000);
    for rule in ["* * * * *", "@every 1s"] {
        let next = schedule(rule, "Europe/Berlin").next_after(late);
        assert_eq!(next, Err(ScheduleError::Horizon(late)), "{rule}");
        let extreme = schedule(rule, "UTC").next_after(UnixMs(i64::MAX));
        assert_eq!(
            extreme,
            Err(ScheduleError::Horizon(UnixMs(i64::MAX))),
            "{rule}"
        );
        assert!(
            schedule(rule, "UTC")
                .next_after(UnixMs(i64::MIN))
                .unwrap()
                .is_some()
        );
    }
}

#[test]
fn days_may_be_written_in_every_way() {
    let from = "2026-01-01T00:00:00Z";
    check(
        "0 0 LW * *",
        "UTC",
        from,
        &["2026-01-30T00:00:00Z", "2026-02-27T00:00:00Z"],
    );
    check("0 0 lw * *", "UTC", from, &["2026-01-30T00:00:00Z"]);
    check(
        "0 0 L,15w * *",
        "UTC",
        from,
        &["2026-01-15T00:00:00Z", "2026-01-31T00:00:00Z"],
    );
    // Both ends of January, which ends with a Saturday.
    check(
        "0 0 LW,L * *",
        "UTC",
        from,
        &[
            "2026-01-30T00:00:00Z",
            "2026-01-31T00:00:00Z",
            "2026-02-27T00:00:00Z",
            "2026-02-28T00:00:00Z",
            "2026-03-31T00:00:00Z",
            "2026-04-30T00:00:00Z",
        ],
    );
    // The last weekday is never a Sunday, and asks nothing of the rest.
    check("0 0 L,LW * +SUN", "UTC", from, &["2026-05-31T00:00:00Z"]);
    check("0 0 * * fri#l", "UTC", from, &["2026-01-30T00:00:00Z"]);
    check("0 0 * * FRIL", "UTC", from, &["2026-01-30T00:00:00Z"]);
    check(
        "0 0 * * 7#1",
        "UTC",
        from,
        &["2026-01-04T00:00:00Z", "2026-02-01T00:00:00Z"],
    );
    check(
        "0 0 ? * MON",
        "UTC",
        from,
        &["2026-01-05T00:00:00Z", "2026-01-12T00:00:00Z"],
    );
    check(
        "0 0 13 * ?",
        "UTC",
        from,
        &["2026-01-13T00:00:00Z", "2026-02-13T00:00:00Z"],
    );
    check("0 0 */1 * MON", "UTC", from, &["2026-01-05T00:00:00Z"]);
    check("0 0 30 2 MON", "UTC", from, &["2026-02-02T00:00:00Z"]);
    check(
        "*/20,7 0 * * *",
        "UTC",
        from,
        &["2026-01-01T00:07:00Z", "2026-01-01T00:20:00Z"],
    );
}

#[test]
fn a_rare_day_is_found_across_decades_of_clock_changes() {
    check(
        "0 2 29 2 +MON",
        "Europe/Berlin",
        "2072-03-01T00:00:00Z",
        &["2112-02-29T01:00:00Z", "2140-02-29T01:00:00Z"],
    );
}

#[test]
fn marks_what_a_clock_change_moves() {
    let mark = |rule: &str, due: &str| schedule(rule, "America/New_York").shift(at(due));
    assert_eq!(mark("30 2 * * *", "2026-03-08T07:00:00Z"), Shift::Gap);
    assert_eq!(mark("0 2,3 * * *", "2026-03-08T07:00:00Z"), Shift::Gap);
    assert_eq!(mark("0 3 * * *", "2026-03-08T07:00:00Z"), Shift::None);
    assert_eq!(mark("0 * * * *", "2026-03-08T07:00:00Z"), Shift::None);
    assert_eq!(mark("30 1 * * *", "2026-11-01T05:30:00Z"), Shift::Fold);
    assert_eq!(mark("30 * * * *", "2026-11-01T06:30:00Z"), Shift::Fold);
    assert_eq!(mark("30 2 * * *", "2026-11-01T07:30:00Z"), Shift::None);
    assert_eq!(
        mark("@at 2026-03-08T02:30", "2026-03-08T07:00:00Z"),
        Shift::Gap
    );
    assert_eq!(
        mark("@at 2026-11-01T01:30", "2026-11-01T05:30:00Z"),
        Shift::Fold
    );
    assert_eq!(mark("@every 1h", "2026-03-08T07:00:00Z"), Shift::None);
}

#[test]
fn a_rule_is_its_text() {
    let rule = Rule::parse("  0\t2  * * MON ").unwrap();
    assert_eq!(rule.text(), "0 2 * * MON");
    assert_eq!(serde_json::to_string(&rule).unwrap(), "\"0 2 * * MON\"");
    assert_eq!(
        serde_json::from_str::<Rule>("\"0 2 * * MON\"").unwrap(),
        rule
    );
    assert!(serde_json::from_str::<Rule>("\"0 2 * *\"").is_err());
    assert_ne!(rule, "0 2 * * 1".parse().unwrap());
}

#[test]
fn tells_its_kind() {
    let kind = |rule: &str| Rule::parse(rule).unwrap().kind();
    assert_eq!(kind("@Daily"), RuleKind::Calendar);
    assert_eq!(kind("@every 2s"), RuleKind::Every(Duration::from_secs(2)));
    assert_eq!(
        kind("@at 1970-01-01T00:00:01Z"),
        RuleKind::At(At::Instant(UnixMs(1000)))
    );
    assert_eq!(kind("@ALWAYS"), RuleKind::Always);
    assert_eq!(kind("@reboot"), RuleKind::Reboot);
}

#[test]
fn warns_of_what_crons_read_differently() {
    let count = |rule: &str, part: &str| {
        let warnings = Rule::parse(rule).unwrap().warnings();
        warnings
            .iter()
            .filter(|warning| warning.contains(part))
            .count()
    };
    for rule in ["0 0 */2 * MON", "0 0 1 * */2", "0 0 */2 * */3"] {
        assert_eq!(count(rule, "write `+`"), 1, "{rule}");
    }
    for rule in ["0 0 */2 * +MON", "0 0 13 * 5", "0 0 */2 * *", "*/2 * 1 * 1"] {
        assert_eq!(
            Rule::parse(rule).unwrap().warnings(),
            Vec::<String>::new(),
            "{rule}"
        );
    }
    assert_eq!(count("0 0 30 2 MON", "no year has that day"), 1);
    assert_eq!(count("0-59/70 * * * *", "step 70 is longer than 0-59"), 1);
    assert_eq!(count("*/60 * * * *", "only 0 is left"), 1);
    assert_eq!(count("0 0 * * */7", "only 0 is left"), 1);
}

#[test]
fn the_local_zone_is_a_zone() {
    assert!(Zone::parse(Zone::local().name()).is_ok());
}
