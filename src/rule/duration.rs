//! Durations as people write them: `250ms`, `1h30m`, `2d`. One way in, one way out.

use std::fmt::Write as _;
use std::time::Duration;

/// The units, largest first, with their milliseconds.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Longer than any real duration, so that an endless text is not repeated in full.
const MAX_CHARS: usize = 40;

/// Why a text is not a duration.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DurationError {
    /// Nothing was written.
    #[error("a duration is missing; write it like 250ms, 30s, 1h30m or 2d")]
    Empty,
    /// A number without a unit.
    #[error("`{0}` has no unit; write it like 250ms, 30s, 1h30m or 2d")]
    NoUnit(String),
    /// A unit that does not exist.
    #[error("`{unit}` in `{text}` is not a unit; the units are d, h, m, s and ms")]
    UnknownUnit {
        /// The whole text.
        text: String,
        /// The wrong part.
        unit: String,
    },
    /// Not digits where a number has to stand.
    #[error(
        "`{0}` is not a duration; write whole numbers with units, like 250ms, 30s, 1h30m or 2d"
    )]
    NotANumber(String),
    /// Units twice or from small to large.
    #[error("`{0}` is out of order; write each unit once, the largest first, like 1h30m")]
    OutOfOrder(String),
    /// Zero, where that means nothing.
    #[error("`{0}` is zero; the shortest duration is 1ms")]
    Zero(String),
    /// More than can be counted.
    #[error("`{0}` is too long a duration")]
    TooLong(String),
}

/// Reads a duration that is at least one millisecond.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let span = parse_duration_or_zero(text)?;
    if span.is_zero() {
        return Err(DurationError::Zero(quoted(text)));
    }
    Ok(span)
}

/// Reads a duration for a setting in which zero has a meaning; `0s` is zero, a bare `0` is not.
pub fn parse_duration_or_zero(text: &str) -> Result<Duration, DurationError> {
    let text = text.trim();
    let mut rest = text;
    let mut total: u64 = 0;
    let mut units_left = &UNITS[..];
    if rest.is_empty() {
        return Err(DurationError::Empty);
    }
    while !rest.is_empty() {
        let (number, after) = split_where(rest, |c| !c.is_ascii_digit());
        let (unit, after) = split_where(after, |c| c.is_ascii_digit());
        let place = unit_place(text, number, unit, units_left)?;
        let span = number
            .parse::<u64>()
            .ok()
            .and_then(|count| count.checked_mul(units_left[place].1));
        total = span
            .and_then(|span| total.checked_add(span))
            .filter(|total| i64::try_from(*total).is_ok())
            .ok_or_else(|| DurationError::TooLong(quoted(text)))?;
        units_left = &units_left[place + 1..];
        rest = after;
    }
    Ok(Duration::from_millis(total))
}

fn unit_place(
    text: &str,
    number: &str,
    unit: &str,
    units_left: &[(&str, u64)],
) -> Result<usize, DurationError> {
    if number.is_empty() {
        return Err(DurationError::NotANumber(quoted(text)));
    }
    if unit.is_empty() {
        return Err(DurationError::NoUnit(quoted(text)));
    }
    if let Some(place) = units_left.iter().position(|(name, _)| *name == unit) {
        return Ok(place);
    }
    if UNITS.iter().any(|(name, _)| *name == unit) {
        return Err(DurationError::OutOfOrder(quoted(text)));
    }
    if unit.contains(['.', ',', ' ', '-', '+']) {
        return Err(DurationError::NotANumber(quoted(text)));
    }
    Err(DurationError::UnknownUnit {
        text: quoted(text),
        unit: quoted(unit),
    })
}

fn split_where(text: &str, stop: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(stop).unwrap_or(text.len()))
}

/// A piece of foreign text, short and without control characters, ready to stand in a message.
pub(super) fn quoted(text: &str) -> String {
    let mut shown = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == MAX_CHARS {
            shown.push('…');
            break;
        }
        super::error::push_visible(&mut shown, c);
    }
    shown
}

/// Writes a duration in the form that `parse_duration` reads, each unit at most once: `1h30m`,
/// `2d`, `1s500ms`; `0s` for zero. Parts below a millisecond are cut off.
pub fn format_duration(span: Duration) -> String {
    let mut rest = span.as_millis();
    let mut text = String::new();
    for (name, millis) in UNITS {
        let count = rest / u128::from(millis);
        rest %= u128::from(millis);
        if count > 0 {
            // Writing into a String cannot fail.
            let _ = write!(text, "{count}{name}");
        }
    }
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(u64, &str), &str>) {
        let read = parse_duration(text);
        match expected {
            Ok((millis, canonical)) => {
                assert_eq!(read, Ok(Duration::from_millis(millis)), "{text}");
                assert_eq!(format_duration(Duration::from_millis(millis)), canonical);
                assert_eq!(parse_duration(canonical), Ok(Duration::from_millis(millis)));
            }
            Err(part) => {
                let error = read.expect_err(text).to_string();
                assert!(error.contains(part), "{text}: {error}");
            }
        }
    }

    #[test]
    fn reads_and_writes_durations() {
        check("250ms", Ok((250, "250ms")));
        check("1s", Ok((1_000, "1s")));
        check("30m", Ok((1_800_000, "30m")));
        check("1h30m", Ok((5_400_000, "1h30m")));
        check("90m", Ok((5_400_000, "1h30m")));
        check("2d", Ok((172_800_000, "2d")));
        check("1d1h1m1s1ms", Ok((90_061_001, "1d1h1m1s1ms")));
        check(" 1500ms ", Ok((1_500, "1s500ms")));
    }

    #[test]
    fn refuses_what_is_no_duration_and_says_why() {
        check("", Err("missing"));
        check("10", Err("no unit"));
        check("1h30", Err("no unit"));
        check("5x", Err("not a unit"));
        check("5M", Err("not a unit"));
        check("ms", Err("whole numbers"));
        check("-5s", Err("whole numbers"));
        check("1.5h", Err("whole numbers"));
        check("1h 30m", Err("whole numbers"));
        check("30m1h", Err("largest first"));
        check("1s1s", Err("largest first"));
        check("0s", Err("zero"));
        check("99999999999999999999s", Err("too long"));
        check("99999999999999999d", Err("too long"));
        check("5\u{1b}[31m", Err("not a unit"));
        assert!(
            parse_duration("5\u{1b}")
                .unwrap_err()
                .to_string()
                .find('\u{1b}')
                .is_none()
        );
    }

    #[test]
    fn zero_is_read_where_the_caller_allows_it() {
        assert_eq!(parse_duration_or_zero("0s"), Ok(Duration::ZERO));
        assert_eq!(format_duration(Duration::ZERO), "0s");
        assert!(parse_duration_or_zero("0").is_err());
    }
}
