//! A time as people write it on the command line (CLI.md, section 4): RFC 3339, a date, a clock
//! time, `now`, or a duration back or ahead.

use std::time::Duration;

use super::civil::DAY_SECONDS;
use super::duration::{DurationError, parse_duration_or_zero, quoted};
use super::instant::UnixMs;
use super::moment::{MomentError, parse_clock, parse_moment};
use super::zone::Zone;

/// Why a text is not a time.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TimeError {
    /// None of the forms.
    #[error(
        "`{0}` is not a time; write 2027-01-31T03:00:00+08:00, 2027-01-31, 2027-01-31T03:00, 03:00, now, or a duration like 1h30m"
    )]
    Shape(String),
    /// A date or clock time with a part that does not exist.
    #[error(transparent)]
    Moment(#[from] MomentError),
    /// A duration that cannot be read.
    #[error(transparent)]
    Duration(#[from] DurationError),
    /// A local time on a day that the zone left out.
    #[error("`{text}` does not exist in {zone}: that day was left out there")]
    LeftOut {
        /// What was read.
        text: String,
        /// The zone's name.
        zone: String,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Back,
    Ahead,
}

/// Reads a time; a duration counts back from `now`, a bare `03:00` is the latest one that is not
/// after `now`. Without an offset a time is in `zone`, through a clock change as a fixed rule is.
pub fn parse_time(text: &str, now: UnixMs, zone: &Zone) -> Result<UnixMs, TimeError> {
    parse(text, now, zone, Direction::Back)
}

/// The same for `--until`: a duration counts ahead from `now`, a bare `03:00` is the first one
/// that is after `now`.
pub fn parse_time_ahead(text: &str, now: UnixMs, zone: &Zone) -> Result<UnixMs, TimeError> {
    parse(text, now, zone, Direction::Ahead)
}

fn parse(text: &str, now: UnixMs, zone: &Zone, way: Direction) -> Result<UnixMs, TimeError> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("now") {
        return Ok(now);
    }
    if let Some(second) = parse_clock(text)? {
        return clock_time(second, now, zone, way).ok_or_else(|| left_out(text, zone));
    }
    if looks_like_a_date(text) {
        return date_time(text, zone);
    }
    match parse_duration_or_zero(text) {
        Ok(span) => Ok(moved(now, span, way)),
        Err(error) if is_nearly_a_duration(&error) => Err(error.into()),
        Err(_) => Err(TimeError::Shape(quoted(text))),
    }
}

fn moved(now: UnixMs, span: Duration, way: Direction) -> UnixMs {
    match way {
        Direction::Back => now.minus(span),
        Direction::Ahead => now.plus(span),
    }
}

/// Digits and then a dash.
fn looks_like_a_date(text: &str) -> bool {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    rest.len() < text.len() && rest.starts_with('-')
}

/// Errors that speak of durations only help where a duration was meant.
fn is_nearly_a_duration(error: &DurationError) -> bool {
    !matches!(error, DurationError::NotANumber(_) | DurationError::Empty)
}

fn date_time(text: &str, zone: &Zone) -> Result<UnixMs, TimeError> {
    let moment = parse_moment(text)?;
    let second = match moment.offset {
        Some(offset) => Some(moment.local.seconds - offset),
        None => zone.instant_of(moment.local.seconds),
    };
    let second = second.ok_or_else(|| left_out(text, zone))?;
    Ok(UnixMs(second * 1000 + moment.local.millis))
}

fn left_out(text: &str, zone: &Zone) -> TimeError {
    TimeError::LeftOut {
        text: quoted(text),
        zone: zone.name().to_owned(),
    }
}

/// The nearest day's clock time in the wanted direction.
fn clock_time(second: i64, now: UnixMs, zone: &Zone, way: Direction) -> Option<UnixMs> {
    let now_second = now.0.div_euclid(1000);
    let today = (now_second + zone.offset_at(now_second)).div_euclid(DAY_SECONDS);
    // One day more on each side: a clock change or a left-out day may lie between.
    let mut days = (today - 2..=today + 2).filter_map(|day| {
        let at = zone.instant_of(day * DAY_SECONDS + second)?;
        Some(UnixMs(at * 1000))
    });
    match way {
        Direction::Back => days.rfind(|at| *at <= now),
        Direction::Ahead => days.find(|at| *at > now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-22T12:00:00.500+01:00";

    fn check(text: &str, back: Result<&str, &str>, ahead: &str) {
        let zone = Zone::parse("Europe/Berlin").unwrap();
        let now = NOW.parse().unwrap();
        match (parse_time(text, now, &zone), back) {
            (Ok(at), Ok(expected)) => assert_eq!(at, expected.parse().unwrap(), "{text}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{text}: {error}"),
            (read, _) => panic!("{text}: {read:?}"),
        }
        if !ahead.is_empty() {
            let at = parse_time_ahead(text, now, &zone).unwrap();
            assert_eq!(at, ahead.parse().unwrap(), "{text}");
        }
    }

    #[test]
    fn reads_every_form_of_a_time() {
        check("now", Ok(NOW), NOW);
        check(
            "2027-01-31T03:00:05+08:00",
            Ok("2027-01-30T19:00:05Z"),
            "2027-01-30T19:00:05Z",
        );
        check(
            "2027-01-31T03:00:05.25Z",
            Ok("2027-01-31T03:00:05.250Z"),
            "",
        );
        check(
            "2027-01-31T03:00:05.123456789z",
            Ok("2027-01-31T03:00:05.123Z"),
            "",
        );
        check(
            "2027-01-31T03:00",
            Ok("2027-01-31T02:00:00Z"),
            "2027-01-31T02:00:00Z",
        );
        check("2027-01-31 03:00:05", Ok("2027-01-31T02:00:05Z"), "");
        check("2027-07-01", Ok("2027-06-30T22:00:00Z"), "");
        check("03:00", Ok("2026-11-22T02:00:00Z"), "2026-11-23T02:00:00Z");
        check("23:00", Ok("2026-11-21T22:00:00Z"), "2026-11-22T22:00:00Z");
        check("12:00", Ok("2026-11-22T11:00:00Z"), "2026-11-23T11:00:00Z");
        check(
            "12:00:01",
            Ok("2026-11-21T11:00:01Z"),
            "2026-11-22T11:00:01Z",
        );
        check(
            "1h30m",
            Ok("2026-11-22T09:30:00.500Z"),
            "2026-11-22T12:30:00.500Z",
        );
        check("0s", Ok(NOW), NOW);
        // In a gap: its end; in a fold: the first pass.
        check("2027-03-28T02:30", Ok("2027-03-28T01:00:00Z"), "");
        check("2026-10-25T02:30", Ok("2026-10-25T00:30:00Z"), "");
    }

    #[test]
    fn refuses_what_is_no_time_and_says_why() {
        check("", Err("is not a time"), "");
        check("yesterday", Err("is not a time"), "");
        check("tomorrow 3pm", Err("is not a time"), "");
        check("2027-02-29", Err("not in 1-28"), "");
        check("2027-13-01", Err("not in 1-12"), "");
        check("2027-1-1", Err("is not a time"), "");
        check("24:00", Err("not in 0-23"), "");
        check("3:00", Err("is not a time"), "");
        check("12:60", Err("not in 0-59"), "");
        check("2027-01-01T00:00+25:00", Err("not in 0-23"), "");
        check("2027-01-01T00:00+08", Err("is not a time"), "");
        check("-1h", Err("is not a time"), "");
        check("90", Err("no unit"), "");
        check("1h 30m", Err("is not a time"), "");
        check("2027-01-31T03:00:00\u{1b}[2J", Err("␛"), "");
    }

    #[test]
    fn a_left_out_day_is_no_time() {
        let zone = Zone::parse("Pacific/Apia").unwrap();
        let error = parse_time("2011-12-30T12:00", UnixMs(0), &zone).unwrap_err();
        assert!(
            error.to_string().contains("does not exist in Pacific/Apia"),
            "{error}"
        );
    }
}
