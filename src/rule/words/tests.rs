//! Rules and their words, line by line.

use super::super::definition::Rule;
use super::super::schedule::Schedule;
use super::super::zone::Zone;
use super::words;

/// Rule, zone, words.
type Line = (&'static str, &'static str, &'static str);

fn check(lines: &[Line]) {
    for (rule, zone, expected) in lines {
        let schedule = Schedule::new(Rule::parse(rule).unwrap(), Zone::parse(zone).unwrap());
        assert_eq!(words(&schedule), *expected, "{rule}");
    }
}

const TIMES_OF_DAY: &[Line] = &[
    ("30 2 * * *", "UTC", "at 02:30 UTC every day"),
    ("@daily", "Asia/Tokyo", "at 00:00 Tokyo time every day"),
    (
        "0 9,13,17 * * *",
        "UTC",
        "at 09:00, 13:00 and 17:00 UTC every day",
    ),
    ("0,30 8 * * *", "UTC", "at 08:00 and 08:30 UTC every day"),
    ("15 30 2 * * *", "UTC", "at 02:30:15 UTC every day"),
    (
        "0 9-12 * * *",
        "UTC",
        "at 09:00, 10:00, 11:00 and 12:00 UTC every day",
    ),
    (
        "0 8-18 * * *",
        "UTC",
        "every hour from 08:00 to 18:00 UTC, every day",
    ),
    (
        "30 8-20/2 * * *",
        "UTC",
        "every 2 hours from 08:30 to 20:30 UTC, every day",
    ),
    (
        "* 9-17 * * *",
        "America/New_York",
        "every minute from 09:00 to 17:59 New York time, every day",
    ),
    (
        "*/5 2 * * *",
        "UTC",
        "every 5 minutes from 02:00 to 02:55 UTC, every day",
    ),
    (
        "* 0,12 * * *",
        "UTC",
        "every minute of the hours 00 and 12 UTC, every day",
    ),
    (
        "5,25,46 1,7,20 * * *",
        "UTC",
        "at minutes 5, 25 and 46 of the hours 01, 07 and 20 UTC, every day",
    ),
];

#[test]
fn says_times_of_day() {
    check(TIMES_OF_DAY);
}

const INTERVALS: &[Line] = &[
    ("* * * * *", "Asia/Tokyo", "every minute"),
    ("* * * * * *", "UTC", "every second"),
    ("*/20 * * * * *", "UTC", "every 20 seconds"),
    ("*/5 * * * *", "Europe/Berlin", "every 5 minutes"),
    ("0-59/5 * * * *", "Europe/Berlin", "every 5 minutes"),
    (
        "*/7 * * * *",
        "UTC",
        "every 7 minutes from the start of every hour",
    ),
    (
        "2-59/15 * * * *",
        "UTC",
        "at 2, 17, 32 and 47 minutes past every hour",
    ),
    ("@hourly", "UTC", "every hour"),
    ("30 * * * *", "UTC", "at 30 minutes past every hour"),
    ("1 * * * *", "UTC", "at 1 minute past every hour"),
    (
        "10-20 * * * *",
        "UTC",
        "at 10 to 20 minutes past every hour",
    ),
    (
        "0 */2 * * *",
        "UTC",
        "every 2 hours from 00:00 to 22:00 UTC, every day",
    ),
    (
        "0 */5 * * *",
        "UTC",
        "at 00:00, 05:00, 10:00, 15:00 and 20:00 UTC every day",
    ),
    ("5 * * * * *", "UTC", "at second 5 of every minute"),
    (
        "0,30 */5 * * * *",
        "UTC",
        "every 30 seconds of every 5th minute",
    ),
    (
        "* 0 * * * *",
        "UTC",
        "every second of minute 0 of every hour",
    ),
    ("@every 250ms", "UTC", "every 250 ms"),
    ("@every 1ms", "UTC", "every 1 ms"),
    ("@every 1h", "UTC", "every hour"),
    ("@every 1h30m", "UTC", "every 1 hour 30 minutes"),
    ("@every 2d", "UTC", "every 2 days"),
];

#[test]
fn says_intervals() {
    check(INTERVALS);
}

const DAYS: &[Line] = &[
    (
        "0 0 */20,3 * *",
        "UTC",
        "the 1st, 3rd and 21st of every month, at 00:00 UTC",
    ),
    (
        "0 0 1-31/3 * *",
        "UTC",
        "the 1st to 31st in steps of 3 of every month, at 00:00 UTC",
    ),
    (
        "0 0 * * 0-2",
        "UTC",
        "every Sunday to Tuesday, at 00:00 UTC",
    ),
    (
        "0 0 * 6 2#1",
        "UTC",
        "every Tuesday that is the first of the month in June, at 00:00 UTC",
    ),
    (
        "0 17 * * 5L",
        "America/New_York",
        "every Friday that is the last of the month, at 17:00 New York time",
    ),
    (
        "0 17 * * FRI#L",
        "UTC",
        "every Friday that is the last of the month, at 17:00 UTC",
    ),
    (
        "0 0 * * 5#2",
        "UTC",
        "every Friday that is the second of the month, at 00:00 UTC",
    ),
    (
        "0 0 * * 1#1,1#3",
        "UTC",
        "every Monday that is the first or third of the month, at 00:00 UTC",
    ),
    (
        "0 22 * * 1-5",
        "UTC",
        "every Monday to Friday, at 22:00 UTC",
    ),
    (
        "0 22 * * SAT,SUN",
        "UTC",
        "every Saturday and Sunday, at 22:00 UTC",
    ),
    (
        "0 22 * * 1,3,5",
        "UTC",
        "every Monday, Wednesday and Friday, at 22:00 UTC",
    ),
    ("0 0 * * 5-7", "UTC", "every Friday to Sunday, at 00:00 UTC"),
    ("@weekly", "UTC", "every Sunday, at 00:00 UTC"),
    ("@monthly", "UTC", "the 1st of every month, at 00:00 UTC"),
    ("@yearly", "UTC", "1 January of every year, at 00:00 UTC"),
    (
        "0 0 29 2 *",
        "UTC",
        "29 February of every leap year, at 00:00 UTC",
    ),
    (
        "0 0 1,15 * *",
        "UTC",
        "the 1st and 15th of every month, at 00:00 UTC",
    ),
    (
        "0 0 1-7 * *",
        "UTC",
        "the 1st to 7th of every month, at 00:00 UTC",
    ),
    (
        "0 0 */2 * *",
        "UTC",
        "every 2nd day from the 1st of every month, at 00:00 UTC",
    ),
    (
        "0 0 L * *",
        "UTC",
        "the last day of every month, at 00:00 UTC",
    ),
    (
        "0 0 LW * *",
        "UTC",
        "the last weekday of every month, at 00:00 UTC",
    ),
    (
        "0 0 15W * *",
        "UTC",
        "the weekday nearest to the 15th of every month, at 00:00 UTC",
    ),
    (
        "0 0 1,L * *",
        "UTC",
        "the 1st and the last day of every month, at 00:00 UTC",
    ),
    (
        "0 0 * JAN,jul *",
        "UTC",
        "every day in January and July, at 00:00 UTC",
    ),
    (
        "0 0 1 */3 *",
        "UTC",
        "the 1st of January, April, July and October, at 00:00 UTC",
    ),
    (
        "0 0 * 6-8 1",
        "UTC",
        "every Monday in June to August, at 00:00 UTC",
    ),
    (
        "0 0 13 * 5",
        "UTC",
        "the 13th of every month and also every Friday, at 00:00 UTC",
    ),
    (
        "0 0 13 * +FRI",
        "UTC",
        "every Friday that is also the 13th of the month, at 00:00 UTC",
    ),
    (
        "0 0 13 3 +FRI",
        "UTC",
        "every Friday that is also the 13th of March, at 00:00 UTC",
    ),
    ("0 0 0 1 1 * 2027", "UTC", "1 January 2027, at 00:00 UTC"),
    (
        "0 0 0 * * * 2027-2030",
        "UTC",
        "every day in 2027 to 2030, at 00:00 UTC",
    ),
    (
        "0 0 0 1 * * */2",
        "UTC",
        "the 1st of every month in every 2nd year, at 00:00 UTC",
    ),
    (
        "*/5 * * * 1",
        "Europe/Paris",
        "every Monday, every 5 minutes, Paris time",
    ),
];

#[test]
fn says_days() {
    check(DAYS);
}

const WHAT_IS_NO_CALENDAR: &[Line] = &[
    (
        "@at 2027-01-01T00:00:00+08:00",
        "Asia/Shanghai",
        "once, at 2027-01-01 00:00 Shanghai time",
    ),
    (
        "@at 2027-01-01T00:00:00+08:00",
        "UTC",
        "once, at 2026-12-31 16:00 UTC",
    ),
    (
        "@at 2027-01-01T00:00:05.250",
        "Etc/GMT+8",
        "once, at 2027-01-01 00:00:05.250 Etc/GMT+8",
    ),
    ("@always", "UTC", "always: the processes are kept running"),
    ("@Reboot", "UTC", "once after every boot of the host"),
];

#[test]
fn says_what_is_no_calendar() {
    check(WHAT_IS_NO_CALENDAR);
}

#[test]
fn says_how_often() {
    let lines = [
        ("@daily", "once a day"),
        ("@hourly", "24 times a day"),
        ("0 6,18 * * *", "twice a day"),
        ("* * * * * *", "86400 times a day"),
        ("0 */6 * * 1", "4 times on each of its days"),
        ("@every 250ms", "345600 times a day"),
        ("@every 7m", "about 205 times a day"),
        ("@every 36h", "once in 1 day 12 hours"),
        ("@at 2027-01-01", "once"),
        ("@reboot", "once per boot"),
    ];
    for (rule, expected) in lines {
        let schedule = Schedule::new(Rule::parse(rule).unwrap(), Zone::utc());
        assert_eq!(schedule.per_day(), expected, "{rule}");
    }
}
