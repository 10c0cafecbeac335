//! What is refused, in which words, and where the carets stand.

use std::time::{Duration, Instant};

use super::super::{Field, Problem, Rule};

fn check(rule: &str, expected: &str) {
    let error = Rule::parse(rule).expect_err(rule);
    assert_eq!(error.to_string(), expected, "{rule:?}");
    assert!(!error.allowed().is_empty());
    assert!(rule.len() > 1024 || error.text == rule);
}

#[test]
fn names_the_field_what_was_read_and_what_is_allowed() {
    check("60 * * * *", "minute: `60` is not in 0-59");
    check(
        "99999999999999999999 * * * *",
        "minute: `99999999999999999999` is not in 0-59",
    );
    check("60 * * * * *", "second: `60` is not in 0-59");
    check("* 24 * * *", "hour: `24` is not in 0-23");
    check("* * 0 * *", "day of month: `0` is not in 1-31");
    check("* * 32 * *", "day of month: `32` is not in 1-31");
    check("* * * 13 *", "month: `13` is not in 1-12");
    check("* * * * 8", "day of week: `8` is not in 0-7");
    check("0 * * * * * 1969", "year: `1969` is not in 1970-2999");
    check(
        "* * * foo *",
        "month: `foo` is neither a number nor one of JAN-DEC",
    );
    check(
        "* * * january *",
        "month: `january` is neither a number nor one of JAN-DEC",
    );
    check(
        "* * * * FRX",
        "day of week: `FRX` is neither a number nor one of SUN-SAT",
    );
    check("1.5 * * * *", "minute: `1.5` is not a number");
    check("١ * * * *", "minute: `١` is not a number");
    check("0x1 * * * *", "minute: `0x1` is not a number");
    check("** * * * *", "minute: `**` is not a number");
    check("1,60,3 * * * *", "minute: `60` is not in 0-59");
}

#[test]
fn names_what_is_wrong_with_lists_ranges_and_steps() {
    check(", * * * *", "minute: `,` has an empty list item");
    check("1,,2 * * * *", "minute: `1,,2` has an empty list item");
    check(
        "*,5 * * * *",
        "minute: `*` already means every value; write it alone",
    );
    check(
        "0 22-2 * * *",
        "hour: `22-2` is reversed; write the smaller end first, or two ranges in a list",
    );
    check(
        "0 0 * * FRI-MON",
        "day of week: `FRI-MON` is reversed; write the smaller end first, or two ranges in a list",
    );
    check(
        "1- * * * *",
        "minute: `1-` is not a range; write it like 1-5",
    );
    check(
        "-5 * * * *",
        "minute: `-5` is not a range; write it like 1-5",
    );
    check(
        "1-2-3 * * * *",
        "minute: `1-2-3` is not a range; write it like 1-5",
    );
    check(
        "*/0 * * * *",
        "minute: `*/0` has step 0; a step is 1 or more",
    );
    check(
        "1-5/ * * * *",
        "minute: `1-5/` has no whole number as its step; write it like */5 or 10-40/5",
    );
    check(
        "1/2/3 * * * *",
        "minute: `1/2/3` has no whole number as its step; write it like */5 or 10-40/5",
    );
    check(
        "*/-2 * * * *",
        "minute: `*/-2` has no whole number as its step; write it like */5 or 10-40/5",
    );
    check(
        "5/15 * * * *",
        "minute: `5/15` has a step without a range; write `5-59/15`",
    );
}

#[test]
fn names_what_is_wrong_with_days() {
    check(
        "0 0 * * L",
        "day of week: `L` is not a day here; say which day is the last one, like 5L; the last day of a month is L in day of month",
    );
    check(
        "0 0 LL * *",
        "day of month: `LL` is not a day here; write L, LW, or one day and W, like 15W",
    );
    check(
        "0 0 1-15W * *",
        "day of month: `1-15W` is not a day here; write L, LW, or one day and W, like 15W",
    );
    check("0 0 32W * *", "day of month: `32` is not in 1-31");
    check(
        "0 0 * * 1#6",
        "day of week: `1#6` is not a day here; after # comes 1 to 5, or L for the last",
    );
    check(
        "0 0 * * 1#2#3",
        "day of week: `1#2#3` is not a day here; after # comes 1 to 5, or L for the last",
    );
    check(
        "? 12 * * *",
        "minute: `?` may stand only alone, in day of month or day of week",
    );
    check(
        "0 12 ?,1 * *",
        "day of month: `?` may stand only alone, in day of month or day of week",
    );
    check(
        "0 12 +1 * MON",
        "day of month: `+1` may not start with `+`; that belongs before the day of week",
    );
    check(
        "0 12 1 * +",
        "day of week: `+` may not start with `+`; that belongs before the day of week",
    );
    check(
        "0 0 L-3 * *",
        "day of month: `L-3` is not a day here; write L, LW, or one day and W, like 15W",
    );
}

#[test]
fn refuses_dates_that_no_year_has() {
    check(
        "0 0 30 2 *",
        "day of month: `30 2 *` never comes: no year has such a date",
    );
    check(
        "0 0 31 4,6,9,11 *",
        "day of month: `31 4,6,9,11 *` never comes: no year has such a date",
    );
    check(
        "0 0 31W 2 *",
        "day of month: `31W 2 *` never comes: no year has such a date",
    );
    check(
        "0 0 30 2 +MON",
        "day of month: `30 2 +MON` never comes: no year has such a date",
    );
    check(
        "0 0 8 * +1#1",
        "day of month: `8 * +1#1` never comes: no year has such a date",
    );
    check(
        "0 0 0 29 2 * 2027",
        "day of month: `29 2 * 2027` never comes: no year has such a date",
    );
    check(
        "0 0 0 29 2 +MON 2026-2043",
        "day of month: `29 2 +MON 2026-2043` never comes: no year has such a date",
    );
    assert!(Rule::parse("0 0 0 29 2 +MON 2044").is_ok());
}

#[test]
fn tells_a_crontab_line_from_a_field_with_a_mistake() {
    let command = |rule: &str, expected: &str| {
        let error = Rule::parse(rule).expect_err(rule);
        assert_eq!(error.problem, Problem::Command, "{rule}");
        assert_eq!(error.read(), expected, "{rule}");
    };
    check(
        "*/5 * * * * /usr/bin/foo",
        "rule: `/usr/bin/foo` is a command and no part of the rule, which says only when; give it as the command to execute",
    );
    command("*/5 * * * * /usr/bin/foo -x 1", "/usr/bin/foo -x 1");
    command(
        "0 2 * * 1-5 root /usr/bin/foo >/dev/null",
        "root /usr/bin/foo >/dev/null",
    );
    command("0 2 * * * php artisan", "php artisan");
    command("0 2 * * * $HOME/bin/foo", "$HOME/bin/foo");
    command("0 2 * * * ~/foo", "~/foo");
    command("0 2 * * * ls -l /tmp", "ls -l /tmp");
    command("@daily /usr/bin/foo", "/usr/bin/foo");
    command("@reboot ./foo --now", "./foo --now");
    check(
        "0 0 0 * * friday",
        "day of week: `friday` is neither a number nor one of SUN-SAT",
    );
    check(
        "0 0 0 * * FRX",
        "day of week: `FRX` is neither a number nor one of SUN-SAT",
    );
    check("60 * * * * /usr/bin/foo", "minute: `60` is not in 0-59");
}

#[test]
fn refuses_within_50_ms() {
    let long = format!("0 0 30,31 2 {}", "1,".repeat(400));
    for rule in [
        "0 0 30 2 *",
        "0 0 0 31W 2 +1-5 1970-2999",
        "0 0 0 29 2 * 1971-2999/4",
        &long,
    ] {
        // The best of some tries: the machine may be busy with something else.
        let tries = (0..5).map(|_| {
            let begun_at = Instant::now();
            assert!(Rule::parse(rule).is_err(), "{rule}");
            begun_at.elapsed()
        });
        assert!(tries.min() < Some(Duration::from_millis(50)), "{rule}");
    }
}

#[test]
fn names_what_is_wrong_with_the_whole() {
    check("", "rule: nothing is written");
    check(" \t ", "rule: nothing is written");
    check(
        "* * * *",
        "rule: `* * * *` has 4 fields; a rule has 5, 6 (seconds first) or 7 (year last)",
    );
    check(
        "*",
        "rule: `*` has 1 field; a rule has 5, 6 (seconds first) or 7 (year last)",
    );
    check(
        "* * * * * * * *",
        "rule: `* * * * * * * *` has 8 fields; a rule has 5, 6 (seconds first) or 7 (year last)",
    );
    check(
        "@fortnightly",
        "rule: `@fortnightly` is not known; known are @yearly @annually @monthly @weekly @daily @midnight @hourly @every @at @always @reboot",
    );
    check(
        "@dayly",
        "rule: `@dayly` is not known; did you mean @daily?",
    );
    check(
        "@daily 0 0 * * *",
        "rule: `0 0 * * *` is too much; nothing may follow @daily",
    );
    check(
        "@always 5",
        "rule: `5` is too much; nothing may follow @always",
    );
    check(
        "@every",
        "@every: a duration is missing; write it like 250ms, 30s, 1h30m or 2d",
    );
    check(
        "@every 5",
        "@every: `5` has no unit; write it like 250ms, 30s, 1h30m or 2d",
    );
    check(
        "@every 0s",
        "@every: `0s` is zero; the shortest duration is 1ms",
    );
    check("@every 3661d", "@every: `3661d` is more than 3660d");
    check(
        "@at",
        "@at: a time is missing; write it like 2027-01-31T03:00:00+08:00, 2027-01-31T03:00 or 2027-01-31",
    );
    check(
        "@at 2027-02-30",
        "@at: `2027-02-30` has day `30`, which is not in 1-28",
    );
    check(
        "@at 2027-01-01T00:00:00.0001Z",
        "@at: `2027-01-01T00:00:00.0001Z` is finer than a millisecond",
    );
    check(
        "@at 03:00",
        "@at: `03:00` is not a time; write it like 2027-01-31T03:00:00+08:00, 2027-01-31T03:00 or 2027-01-31",
    );
    let long = "1,".repeat(100_000);
    assert!(
        Rule::parse(&long)
            .unwrap_err()
            .to_string()
            .ends_with("is longer than 1024 bytes")
    );
}

#[test]
fn carets_stand_under_the_wrong_part_as_a_terminal_shows_it() {
    let caret = |rule: &str| {
        let text = Rule::parse(rule).unwrap_err().caret();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[3].starts_with("allowed: "), "{text}");
        format!("{}|{}", lines[0], lines[1])
    };
    assert_eq!(caret("0 60 * * * *"), "0 60 * * * *|  ^^");
    assert_eq!(caret("5,61 * * * *"), "5,61 * * * *|  ^^");
    assert_eq!(caret("* * *\t* mo"), "* * * * mo|        ^^");
    assert_eq!(caret("金 * * * *"), "金 * * * *|^^");
    assert_eq!(caret("\u{1b}[2J * * * *"), "␛[2J * * * *|^^^^");
    assert_eq!(caret("*\u{202e} * * * *"), "*\\u{202e} * * * *|^^^^^^^^^");
    assert_eq!(caret("0 0 30 2 *"), "0 0 30 2 *|    ^^^^^^");
    assert_eq!(caret(""), "|^");
}

#[test]
fn errors_carry_their_parts() {
    let error = Rule::parse("0 0 99 * *").unwrap_err();
    assert_eq!(
        (error.field, error.read(), error.span.clone()),
        (Field::DayOfMonth, "99", 4..6)
    );
}

#[test]
fn control_characters_never_reach_the_terminal() {
    for rule in [
        "\u{1b}]0;x\u{7} * * * *",
        "@\u{1b}[31m",
        "@every 5\u{1b}",
        "@at \u{9b}31m",
    ] {
        let error = Rule::parse(rule).unwrap_err();
        assert!(!error.to_string().contains(char::is_control), "{error}");
        let caret = error.caret();
        assert!(
            !caret.contains(|c: char| c.is_control() && c != '\n'),
            "{caret}"
        );
    }
}
