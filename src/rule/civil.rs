//! Local ("civil") times as plain numbers: what a calendar on the wall shows, without zone or
//! offset. Proleptic Gregorian; the day arithmetic is Howard Hinnant's `days_from_civil`.

use std::fmt;

/// Seconds of a day; local days have no leap seconds and no clock changes.
pub(super) const DAY_SECONDS: i64 = 86_400;

/// The first year that rules and times may name.
pub(super) const FIRST_YEAR: i64 = 1970;

/// The last year that rules and times may name: far enough for every plan, near enough that all
/// clock changes until then fit into a small table per zone.
pub(super) const LAST_YEAR: i64 = 2999;

/// A date on the wall calendar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Date {
    pub(super) year: i64,
    /// 1 to 12.
    pub(super) month: u32,
    /// 1 to 31.
    pub(super) day: u32,
}

impl Date {
    /// The date that is `days` after 1970-01-01.
    pub(super) fn from_days(days: i64) -> Self {
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 {
            march_month + 3
        } else {
            march_month - 9
        };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month: small(month),
            day: small(day_of_year - (153 * march_month + 2) / 5 + 1),
        }
    }

    /// Days from 1970-01-01 to this date.
    pub(super) fn days(self) -> i64 {
        let (month, day) = (i64::from(self.month), i64::from(self.day));
        let year = self.year - i64::from(month <= 2);
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        era * 146_097 + day_of_era - 719_468
    }

    /// 0 for Sunday to 6 for Saturday.
    pub(super) fn weekday(self) -> u32 {
        // 1970-01-01 was a Thursday.
        small((self.days() + 4).rem_euclid(7))
    }
}

/// How many days a month has.
pub(super) fn month_length(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Whether the year has a 29 February.
pub(super) fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn small(value: i64) -> u32 {
    u32::try_from(value).unwrap_or_default()
}

/// A local time without zone, to the millisecond: seconds since 1970-01-01T00:00 on the wall, and
/// the milliseconds on top.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalTime {
    pub(super) seconds: i64,
    pub(super) millis: i64,
}

impl LocalTime {
    /// `2027-01-01T00:00:00[.250]`: RFC 3339 up to the offset.
    pub(super) fn rfc3339(self) -> String {
        let whole = Self {
            seconds: self.seconds - self.seconds.rem_euclid(60),
            millis: 0,
        };
        let minute = whole.to_string().replace(' ', "T");
        let second = self.seconds.rem_euclid(60);
        match self.millis {
            0 => format!("{minute}:{second:02}"),
            millis => format!("{minute}:{second:02}.{millis:03}"),
        }
    }
}

impl fmt::Display for LocalTime {
    /// `2027-01-01 00:00`, with seconds and milliseconds only where they are not zero.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = Date::from_days(self.seconds.div_euclid(DAY_SECONDS));
        let second = self.seconds.rem_euclid(DAY_SECONDS);
        write!(f, "{:04}-{:02}-{:02} ", date.year, date.month, date.day)?;
        write!(f, "{:02}:{:02}", second / 3600, second / 60 % 60)?;
        if second % 60 != 0 || self.millis != 0 {
            write!(f, ":{:02}", second % 60)?;
        }
        if self.millis != 0 {
            write!(f, ".{:03}", self.millis)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_inverse_over_eleven_centuries() {
        let mut weekday = Date::from_days(-30_000).weekday();
        for days in -30_000..400_000 {
            let date = Date::from_days(days);
            assert_eq!(date.days(), days);
            assert_eq!(date.weekday(), weekday, "{date:?}");
            assert!(date.day <= month_length(date.year, date.month), "{date:?}");
            weekday = (weekday + 1) % 7;
        }
        let epoch = Date {
            year: 1970,
            month: 1,
            day: 1,
        };
        assert_eq!((epoch.days(), epoch.weekday()), (0, 4));
    }
}
