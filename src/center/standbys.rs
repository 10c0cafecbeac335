//! Whether the other centers stand by: each writes a row of itself every second, and one whose row stays as it was for
//! too long is down. Held against the leader's own boot-time clock, so that no center's wall clock matters; while the
//! rows cannot be read nobody grows silent.

use std::collections::BTreeMap;
use std::time::Duration;

use super::conditions::{Key, Place, Subject};
use super::core::Core;
use super::event::Now;
use super::roster::CenterRow;
use super::views::hms;
use crate::model::{ConditionKind, UnixMs};

/// A center whose row has been the same for so long does not stand by.
const SILENT: Duration = Duration::from_secs(15);
/// Where the rows were not read for so long, they say nothing of the time between.
const BLIND: Duration = Duration::from_secs(5);

/// What was read of the other centers.
#[derive(Debug, Default)]
pub(super) struct Standbys {
    read_at: Duration,
    /// By id.
    rows: BTreeMap<String, Seen>,
}

/// One center's row.
#[derive(Clone, Debug)]
struct Seen {
    /// When the center wrote it, by its own clock.
    written_at: UnixMs,
    /// Since when it is the same.
    same_since: Duration,
    /// Whether it was seen to change.
    lives: bool,
}

/// What is known of a center.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    /// It writes its row.
    Lives,
    /// It does not.
    Silent,
    /// It is not known yet.
    Unknown,
}

impl Standbys {
    /// Takes in what was read; what is known of each of these centers now.
    fn read(&mut self, now: Duration, others: &[CenterRow]) -> Vec<Standing> {
        let blind = now.saturating_sub(self.read_at) > BLIND;
        self.read_at = now;
        let before = std::mem::take(&mut self.rows);
        let look = |row: &CenterRow| {
            let new = Seen {
                written_at: row.seen_at,
                same_since: now,
                lives: false,
            };
            let seen = match before.get(&row.id) {
                Some(old) if old.written_at != row.seen_at => Seen { lives: true, ..new },
                Some(old) if !blind => old.clone(),
                _ => new,
            };
            self.rows.insert(row.id.clone(), seen.clone());
            match now.saturating_sub(seen.same_since) {
                same if same >= SILENT => Standing::Silent,
                _ if seen.lives => Standing::Lives,
                _ => Standing::Unknown,
            }
        };
        others.iter().map(look).collect()
    }
}

impl Core {
    /// The rows of the other centers were read.
    pub(super) fn watch_centers(&mut self, now: Now) {
        let others = self.roster.others.clone();
        let standings = self.watching.standbys.read(now.mono, &others);
        for (row, standing) in others.iter().zip(standings) {
            let key = Key {
                subject: Subject::Standby(row.id.clone()),
                kind: ConditionKind::Standby,
            };
            let place = row.addresses.first().unwrap_or(&row.id);
            match standing {
                Standing::Silent => {
                    let last = hms(row.seen_at);
                    let reason = format!("center {place} does not stand by, last heard {last}");
                    self.conditions.raise(now.at, &key, Place::Whole, reason);
                }
                Standing::Lives => {
                    let why = format!("center {place} stands by again");
                    self.conditions.clear(now.at, &key, &Place::Whole, &why);
                }
                Standing::Unknown => {}
            }
        }
        self.conditions.prune(now.at, |key, _| match &key.subject {
            Subject::Standby(id) if others.iter().all(|row| row.id != *id) => {
                Some("a center that did not stand by leads now, or was not heard for 7 days")
            }
            _ => None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Epoch;

    /// Reads the row of one center at these seconds, of which it wrote each at the second beside it.
    fn check(reads: &[(u64, i64)], wanted: Standing) {
        let mut all = Standbys::default();
        let mut last = Vec::new();
        for (at, seen_at) in reads {
            let row = CenterRow {
                id: "b".to_owned(),
                addresses: Vec::new(),
                epoch: Epoch(0),
                version: "0.1.0".to_owned(),
                seen_at: UnixMs(*seen_at),
            };
            last = all.read(Duration::from_secs(*at), &[row]);
        }
        assert_eq!(last, [wanted], "{reads:?}");
    }

    /// The same row, read every second.
    fn same(seconds: std::ops::RangeInclusive<u64>, seen_at: i64) -> Vec<(u64, i64)> {
        seconds.map(|at| (at, seen_at)).collect()
    }

    #[test]
    fn a_center_is_silent_when_its_row_stays_the_same_while_it_is_read() {
        check(&[(100, 7)], Standing::Unknown);
        check(&[(100, 7), (101, 8)], Standing::Lives);
        check(&same(100..=114, 7), Standing::Unknown);
        check(&same(100..=115, 7), Standing::Silent);
        let back = [same(100..=120, 7), vec![(121, 8)]].concat();
        check(&back, Standing::Lives);
        // The store was away for a minute: what it says then is old.
        let away = [same(100..=110, 7), same(170..=184, 7)].concat();
        check(&away, Standing::Unknown);
        let gone = [same(100..=110, 7), same(170..=185, 7)].concat();
        check(&gone, Standing::Silent);
    }
}
