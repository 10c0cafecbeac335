//! How late runs started, over the last ten minutes.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::{GroupName, UnixMs};
use crate::proto::view::Lateness;

const WINDOW: Duration = Duration::from_mins(10);
/// At most so many are kept: a fleet at 500 starts per second fills it in three minutes, 100,000 × 40 bytes.
const MOST: usize = 100_000;

/// Start minus schedule of recent runs, per group.
#[derive(Debug, Default)]
pub struct Latenesses {
    starts: VecDeque<(UnixMs, GroupName, i64)>,
}

impl Latenesses {
    /// Takes one start in.
    pub fn push(&mut self, at: UnixMs, group: GroupName, late_ms: i64) {
        self.starts.push_back((at, group, late_ms));
        let oldest = at.minus(WINDOW);
        while self.starts.len() > MOST || self.starts.front().is_some_and(|(at, ..)| *at < oldest) {
            self.starts.pop_front();
        }
    }

    /// Percentiles over the starts in the groups that the asker sees.
    pub fn percentiles(&self, now: UnixMs, sees: impl Fn(&GroupName) -> bool) -> Lateness {
        let oldest = now.minus(WINDOW);
        let recent = self
            .starts
            .iter()
            .filter(|(at, group, _)| *at >= oldest && sees(group));
        let mut sorted: Vec<i64> = recent.map(|(.., late)| *late).collect();
        sorted.sort_unstable();
        let at = |percent: usize| {
            sorted
                .get((sorted.len().saturating_sub(1)) * percent / 100)
                .copied()
        };
        Lateness {
            p50: at(50),
            p99: at(99),
            max: sorted.last().copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_over_what_the_asker_sees() {
        let (web, db) = (
            GroupName::parse("web").unwrap(),
            GroupName::parse("db").unwrap(),
        );
        let mut late = Latenesses::default();
        (0..100).for_each(|i| late.push(UnixMs(1000), web.clone(), i));
        late.push(UnixMs(1000), db, 5000);
        let recent = late.percentiles(UnixMs(2000), |group| *group == web);
        assert_eq!(
            (recent.p50, recent.p99, recent.max),
            (Some(49), Some(98), Some(99))
        );
        assert_eq!(
            late.percentiles(UnixMs(2000), |_| false),
            Lateness::default()
        );
    }
}
