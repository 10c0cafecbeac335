//! Dates and times of day as text: RFC 3339 and its parts, with or without an offset. Gives
//! numbers; zones and "now" are the callers' matter.

use super::civil::{DAY_SECONDS, Date, FIRST_YEAR, LAST_YEAR, LocalTime, month_length};
use super::duration::quoted;

/// Why a text is not a time.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MomentError {
    /// Not of the form of a time.
    #[error(
        "`{0}` is not a time; write it like 2027-01-31T03:00:00+08:00, 2027-01-31T03:00 or 2027-01-31"
    )]
    Shape(String),
    /// A part that no date or clock has.
    #[error("`{text}` has {part} `{read}`, which is not in {low}-{high}")]
    Part {
        /// The whole text.
        text: String,
        /// The wrong part's name.
        part: &'static str,
        /// The wrong part.
        read: i64,
        /// The smallest that is allowed.
        low: i64,
        /// The largest that is allowed.
        high: i64,
    },
    /// More digits than milliseconds.
    #[error("`{0}` is finer than a millisecond")]
    TooFine(String),
    /// Nothing was written.
    #[error(
        "a time is missing; write it like 2027-01-31T03:00:00+08:00, 2027-01-31T03:00 or 2027-01-31"
    )]
    Empty,
}

/// A time that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Moment {
    pub(super) local: LocalTime,
    /// Seconds east of UTC, where written.
    pub(super) offset: Option<i64>,
    /// There was something below the millisecond, which `local` no longer has.
    pub(super) is_finer: bool,
}

/// Reads `2027-01-31[T03:00[:05[.250]][offset]]`; a space may stand for the `T`.
pub(super) fn parse_moment(text: &str) -> Result<Moment, MomentError> {
    let mut reader = Reader::new(text);
    let year = reader.number(4)?;
    reader.expect('-')?;
    let month = reader.number(2)?;
    reader.expect('-')?;
    let day = reader.number(2)?;
    reader.within("year", year, FIRST_YEAR, LAST_YEAR)?;
    reader.within("month", month, 1, 12)?;
    let month = u32::try_from(month).unwrap_or_default();
    reader.within("day", day, 1, i64::from(month_length(year, month)))?;
    let day = u32::try_from(day).unwrap_or_default();
    let midnight = Date { year, month, day }.days() * DAY_SECONDS;
    let mut moment = Moment {
        local: LocalTime {
            seconds: midnight,
            millis: 0,
        },
        offset: None,
        is_finer: false,
    };
    if reader.rest.is_empty() {
        return Ok(moment);
    }
    if !reader.take(['T', 't', ' ']) {
        return Err(reader.shape());
    }
    let clock = reader.clock()?;
    moment.local.seconds += clock.second;
    moment.local.millis = clock.millis;
    moment.is_finer = clock.is_finer;
    moment.offset = reader.offset()?;
    reader.end()?;
    Ok(moment)
}

/// Reads `03:00[:05]` as seconds of the day; `None` where the text has not that form at all.
pub(super) fn parse_clock(text: &str) -> Result<Option<i64>, MomentError> {
    if text.find(':').is_none_or(|colon| colon > 2) {
        return Ok(None);
    }
    let mut reader = Reader::new(text);
    let clock = reader.clock()?;
    reader.end()?;
    Ok(Some(clock.second))
}

struct Clock {
    second: i64,
    millis: i64,
    is_finer: bool,
}

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, rest: text }
    }

    fn shape(&self) -> MomentError {
        if self.text.is_empty() {
            return MomentError::Empty;
        }
        MomentError::Shape(quoted(self.text))
    }

    /// Exactly `digits` ASCII digits.
    fn number(&mut self, digits: usize) -> Result<i64, MomentError> {
        let number = self
            .rest
            .get(..digits)
            .filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
        let number = number.ok_or_else(|| self.shape())?;
        self.rest = &self.rest[digits..];
        number.parse().map_err(|_| self.shape())
    }

    fn take<const N: usize>(&mut self, any: [char; N]) -> bool {
        match self.rest.strip_prefix(any) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, c: char) -> Result<(), MomentError> {
        if self.take([c]) {
            Ok(())
        } else {
            Err(self.shape())
        }
    }

    fn end(&self) -> Result<(), MomentError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.shape())
        }
    }

    fn within(
        &self,
        part: &'static str,
        read: i64,
        low: i64,
        high: i64,
    ) -> Result<(), MomentError> {
        if (low..=high).contains(&read) {
            return Ok(());
        }
        Err(MomentError::Part {
            text: quoted(self.text),
            part,
            read,
            low,
            high,
        })
    }

    /// `03:00[:05[.250]]`.
    fn clock(&mut self) -> Result<Clock, MomentError> {
        let hour = self.number(2)?;
        self.expect(':')?;
        let minute = self.number(2)?;
        let mut clock = Clock {
            second: 0,
            millis: 0,
            is_finer: false,
        };
        if self.take([':']) {
            clock.second = self.number(2)?;
            if self.take(['.']) {
                self.fraction(&mut clock)?;
            }
        }
        self.within("hour", hour, 0, 23)?;
        self.within("minute", minute, 0, 59)?;
        self.within("second", clock.second, 0, 59)?;
        clock.second += hour * 3600 + minute * 60;
        Ok(clock)
    }

    fn fraction(&mut self, clock: &mut Clock) -> Result<(), MomentError> {
        let digits = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return Err(self.shape());
        }
        let (fraction, rest) = self.rest.split_at(digits);
        for (place, digit) in [100, 10, 1].into_iter().zip(fraction.bytes()) {
            clock.millis += place * i64::from(digit - b'0');
        }
        clock.is_finer = fraction.bytes().skip(3).any(|digit| digit != b'0');
        self.rest = rest;
        Ok(())
    }

    /// `Z`, `+08:00`, `-05:00`, or nothing.
    fn offset(&mut self) -> Result<Option<i64>, MomentError> {
        if self.take(['Z', 'z']) {
            return Ok(Some(0));
        }
        let sign = match () {
            () if self.take(['+']) => 1,
            () if self.take(['-']) => -1,
            () => return Ok(None),
        };
        let hours = self.number(2)?;
        self.expect(':')?;
        let minutes = self.number(2)?;
        self.within("offset hour", hours, 0, 23)?;
        self.within("offset minute", minutes, 0, 59)?;
        Ok(Some(sign * (hours * 3600 + minutes * 60)))
    }
}
