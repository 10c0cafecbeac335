//! What the center believes of its wall clock. A step forward that the boot-time clock does not share would make
//! everything of that span overdue at once, and may be taken back a second later: it is believed only when it has
//! stood for a while, or takes back a step backward that was a moment ago. A step backward is believed at once, since nothing is planned twice for it. Reads no clock.

use std::time::Duration;

use super::event::Now;
use crate::model::UnixMs;
use crate::store::Snapshot;

/// A forward step of at most so much is believed at once: clocks are set right by little all the time.
const STEP: Duration = Duration::from_mins(1);
/// How long a longer one must stand.
const STANDS: Duration = Duration::from_secs(30);

/// For how long a step backward may be taken back and be believed at once.
const TAKEN_BACK: Duration = Duration::from_mins(5);

/// The last instant believed, and a step that is doubted.
#[derive(Debug, Default)]
pub struct Steady {
    last: Option<Now>,
    doubted_since: Option<Duration>,
    /// What it was before a long step backward.
    before: Option<Now>,
}

impl Steady {
    /// The instant that both clocks make believable.
    pub fn believe(&mut self, shown: Now) -> Now {
        let mono = shown.mono;
        let expected = self.last.map_or(shown.at, |last| {
            last.at.plus(mono.saturating_sub(last.mono))
        });
        if shown.at.plus(STEP) < expected {
            self.before = Some(Now { at: expected, mono });
        }
        let stepped = shown.at > expected.plus(STEP) && !self.takes_back(shown);
        let since = self.doubted_since.filter(|_| stepped).unwrap_or(mono);
        let doubted = stepped && mono < since + STANDS;
        self.doubted_since = doubted.then_some(since);
        let at = if doubted { expected } else { shown.at };
        let now = Now { at, mono };
        self.last = Some(now);
        now
    }

    /// Whether the clock is again what it was before a step backward.
    fn takes_back(&self, shown: Now) -> bool {
        self.before.is_some_and(|before| {
            let since = shown.mono.saturating_sub(before.mono);
            let was = before.at.plus(since);
            since <= TAKEN_BACK && shown.at <= was.plus(STEP) && was <= shown.at.plus(STEP)
        })
    }

    /// The last instant believed.
    pub fn last(&self) -> Option<UnixMs> {
        self.last.map(|last| last.at)
    }

    /// What the clock shows when it shall be this late by what is believed now.
    pub fn shown(&self, at: UnixMs, shown: Now) -> UnixMs {
        let believed = self.last.map_or(shown.at, |last| last.at);
        UnixMs(at.0 + (shown.at.0 - believed.0))
    }

    /// Whether the clock shows what is not believed.
    pub fn doubts(&self) -> bool {
        self.doubted_since.is_some()
    }

    /// How long until a doubted step is believed.
    pub fn until_believed(&self, now: Now) -> Option<Duration> {
        let since = self.doubted_since?;
        Some((since + STANDS).saturating_sub(now.mono))
    }
}

/// The latest instant that a store tells of: a clock that shows less was set back since.
pub fn latest_stamp(snapshot: &Snapshot, lead: Duration) -> Option<UnixMs> {
    let ended = snapshot.last_runs.iter().filter_map(|stored| {
        // Times in an ending are its host's, which may know the center's clock badly.
        let attempt = stored.ending.as_ref()?.attempt;
        let of_rule = stored.row.run.cause.is_of_rule() && attempt > 0;
        of_rule.then_some(stored.row.run.scheduled_at)
    });
    let open = snapshot.open_runs.iter().map(|row| row.run.scheduled_at);
    let planned = snapshot.cursors.values().copied().chain(open);
    let planned = planned.map(|at| at.minus(lead));
    let seen = snapshot.agents.iter().filter_map(|row| row.last_seen_at);
    let changed = snapshot.tasks.iter().map(|task| task.changed_at);
    ended.chain(planned).chain(seen).chain(changed).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of seconds by the boot-time clock, milliseconds shown by the wall clock, milliseconds believed.
    fn check(lines: &[(u64, i64, i64)]) {
        let mut steady = Steady::default();
        for (mono, shown, believed) in lines {
            let now = steady.believe(Now {
                at: UnixMs(*shown),
                mono: Duration::from_secs(*mono),
            });
            assert_eq!(now.at, UnixMs(*believed), "at {mono} s");
        }
    }

    #[test]
    fn a_long_step_forward_is_believed_when_it_has_stood_for_half_a_minute() {
        check(&[(0, 0, 0), (1, 1_000, 1_000), (2, 62_000, 62_000)]);
        check(&[
            (0, 0, 0),
            (1, 601_000, 1_000),
            (30, 630_000, 30_000),
            (31, 631_000, 631_000),
            (32, 632_000, 632_000),
        ]);
        check(&[
            (0, 0, 0),
            (1, 601_000, 1_000),
            (2, 2_000, 2_000),
            (40, 640_000, 40_000),
        ]);
        check(&[(100, 100_000, 100_000), (101, 1_000, 1_000)]);
    }

    #[test]
    fn a_step_backward_that_is_taken_back_soon_is_over_at_once() {
        check(&[
            (1_000, 1_000_000, 1_000_000),
            (1_001, 401_000, 401_000),
            (1_002, 1_002_000, 1_002_000),
        ]);
        check(&[
            (1_000, 1_000_000, 1_000_000),
            (1_001, 401_000, 401_000),
            (1_002, 1_302_000, 402_000),
        ]);
        check(&[
            (1_000, 1_000_000, 1_000_000),
            (1_001, 401_000, 401_000),
            (1_400, 1_400_000, 800_000),
        ]);
    }

    #[test]
    fn a_suspend_is_no_step() {
        check(&[(0, 0, 0), (3_600, 3_600_000, 3_600_000)]);
    }
}
