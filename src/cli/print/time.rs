//! Instants and spans for people, and for scripts where a zone's offset is wanted.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::Offset;

use crate::rule::{UnixMs, Zone, format_duration};

/// Ages under this are relative.
const DAY: Duration = Duration::from_hours(24);

fn offset(at: UnixMs, zone: &Zone) -> Offset {
    let seconds = i32::try_from(zone.offset_at(at.0.div_euclid(1000))).unwrap_or(0);
    Offset::from_seconds(seconds).unwrap_or(Offset::UTC)
}

fn local(at: UnixMs, zone: &Zone) -> jiff::civil::DateTime {
    let stamp = Timestamp::from_millisecond(at.0).unwrap_or(Timestamp::UNIX_EPOCH);
    offset(at, zone).to_datetime(stamp)
}

/// `2026-11-22 17:50:00`.
pub fn stamp(at: UnixMs, zone: &Zone) -> String {
    local(at, zone).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// `17:50:00.250`.
pub fn clock(at: UnixMs, zone: &Zone) -> String {
    let time = local(at, zone).strftime("%H:%M:%S");
    format!("{time}.{:03}", at.0.rem_euclid(1000))
}

/// `Sun 2026-11-22 17:50:00`, with milliseconds only where there are some.
pub fn stamp_day(at: UnixMs, zone: &Zone) -> String {
    let time = local(at, zone).strftime("%a %Y-%m-%d %H:%M:%S");
    match at.0.rem_euclid(1000) {
        0 => time.to_string(),
        ms => format!("{time}.{ms:03}"),
    }
}

/// RFC 3339 with the zone's offset, `2026-11-22T17:50:00+01:00`; milliseconds only where there are some.
pub fn rfc3339(at: UnixMs, zone: &Zone) -> String {
    let time = local(at, zone).strftime("%Y-%m-%dT%H:%M:%S");
    let seconds = offset(at, zone).seconds();
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    let ms = match at.0.rem_euclid(1000) {
        0 => String::new(),
        ms => format!(".{ms:03}"),
    };
    format!("{time}{ms}{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

/// `5s ago`, `in 2h`, where it is less than a day away.
pub fn relative(at: UnixMs, now: UnixMs) -> Option<String> {
    let (ago, ahead) = (now.since(at), at.since(now));
    if ago >= DAY || ahead >= DAY {
        return None;
    }
    Some(match (coarse(ago), coarse(ahead)) {
        (None, None) => "now".to_owned(),
        (Some(span), _) => format!("{span} ago"),
        (None, Some(span)) => format!("in {span}"),
    })
}

/// The two largest units, whole seconds; none below one.
fn coarse(span: Duration) -> Option<String> {
    let seconds = span.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match seconds {
        0 => None,
        1..60 => Some(format!("{seconds}s")),
        60..600 => Some(format!("{minutes}m{:02}s", seconds % 60)),
        600..3600 => Some(format!("{minutes}m")),
        _ => Some(format!("{hours}h{minutes:02}m")),
    }
}

/// A signed number of milliseconds: `7ms`, `-1s250ms`, `2h`.
pub fn millis(ms: i64) -> String {
    match ms {
        0 => "0ms".to_owned(),
        ms => {
            let sign = if ms < 0 { "-" } else { "" };
            format!(
                "{sign}{}",
                format_duration(Duration::from_millis(ms.unsigned_abs()))
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: UnixMs = UnixMs(1_795_366_200_250);

    #[test]
    fn instants_are_shown_in_a_zone_or_relative() {
        let zone = Zone::parse("Asia/Kolkata").unwrap();
        assert_eq!(stamp(AT, &zone), "2026-11-22 22:20:00");
        assert_eq!(rfc3339(AT, &zone), "2026-11-22T22:20:00.250+05:30");
        assert_eq!(
            rfc3339(UnixMs(AT.0 - 250), &Zone::utc()),
            "2026-11-22T16:50:00+00:00"
        );
        let new_york = Zone::parse("America/New_York").unwrap();
        assert_eq!(
            rfc3339(UnixMs(AT.0 - 250), &new_york),
            "2026-11-22T11:50:00-05:00"
        );
    }

    #[test]
    fn ages_under_a_day_are_relative() {
        for (seconds, wanted) in [
            (0, Some("now")),
            (5, Some("5s ago")),
            (-5, Some("in 5s")),
            (65, Some("1m05s ago")),
            (1200, Some("20m ago")),
            (-3661, Some("in 1h01m")),
            (86_400, None),
            (-90_000, None),
        ] {
            let got = relative(UnixMs(AT.0 - seconds * 1000), AT);
            assert_eq!(got.as_deref(), wanted, "{seconds}");
        }
        assert_eq!(millis(-1250), "-1s250ms");
    }
}
