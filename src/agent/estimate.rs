//! The agent's estimate of the center's clock: pure, from the time stamps of heartbeats.
//!
//! Center time = boot-time clock + offset. The error of one exchange is half its round trip (RFC 5905, section
//! 8, gives the same bound for NTP's on-wire protocol); the best recent exchange wins. The offset in use only
//! moves by more than its error, so that timers rest.

use std::collections::VecDeque;
use std::time::Duration;

use crate::exec::wire::BootMs;
use crate::model::UnixMs;

use super::event::Now;

/// Exchanges remembered.
const SAMPLES: usize = 8;
/// How old the best one may be: two minutes of a bad crystal (100 ppm) are 12 ms.
const SAMPLE_AGE: Duration = Duration::from_mins(2);
/// One millisecond of error is added per this many of age: 100 ppm, twice what a bad crystal drifts.
const DRIFT: u64 = 10_000;
/// An estimate that may be wrong by more milliseconds than this makes a run late rather than early.
const UNSURE: u64 = 250;
/// Between clocks that differ less than this, a run waits for both.
const NEAR: i64 = 1_000;
/// For how long a jump back may be taken back and be believed at once.
const TAKEN_BACK: Duration = Duration::from_mins(5);
/// A jump forward of more than this ...
const FORWARD: i64 = 60_000;
/// ... is believed only when it has lasted so long.
const FORWARD_LASTS: Duration = Duration::from_secs(30);

/// One heartbeat, there and back.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// The agent's boot-time clock when it was sent.
    pub sent: BootMs,
    /// The center's clock when it came there.
    pub received_at: UnixMs,
    /// The center's clock when the answer was sent.
    pub answered_at: UnixMs,
    /// The agent's boot-time clock when the answer came.
    pub back: BootMs,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: BootMs,
    offset: i64,
    error: u64,
}

impl Sample {
    fn of(exchange: Exchange) -> Self {
        let there = exchange.received_at.0 - signed(exchange.sent);
        let back = exchange.answered_at.0 - signed(exchange.back);
        let around = millis(exchange.back.since(exchange.sent));
        let inside = millis(exchange.answered_at.since(exchange.received_at));
        Self {
            at: exchange.back,
            offset: there.midpoint(back),
            // Both clocks are cut to whole milliseconds.
            error: around.saturating_sub(inside).div_ceil(2) + 1,
        }
    }

    fn error_at(&self, at: BootMs) -> u64 {
        self.error + millis(at.since(self.at)) / DRIFT
    }
}

/// What the agent believes of the center's clock.
#[derive(Debug, Default)]
pub struct Estimate {
    samples: VecDeque<Sample>,
    used: Option<(i64, u64)>,
    jump: Option<Sample>,
    /// When the center's clock was set far back, and the offset before that.
    before: Option<(BootMs, i64)>,
}

impl Estimate {
    /// Takes up an offset of the same boot, read from the journal.
    pub fn restore(&mut self, offset_ms: i64, error_ms: u64) {
        self.used = Some((offset_ms, error_ms));
    }

    /// The offset in use and its error, milliseconds.
    pub fn offset(&self) -> Option<(i64, u64)> {
        self.used
    }

    /// Takes in one exchange with the leader; whether the offset in use has moved.
    pub fn learn(&mut self, exchange: Exchange) -> bool {
        let sample = Sample::of(exchange);
        if let Some((offset, error)) = self.used
            && (sample.offset - offset).unsigned_abs() > sample.error + error
        {
            if !self.believes(sample, offset) {
                return false;
            }
            self.samples.clear();
        } else {
            self.jump = None;
        }
        self.keep(sample);
        self.choose(sample.at)
    }

    /// Whether a jump is believed: back and small ones at once, far ahead only when it lasts, or takes a jump back that
    /// was a moment ago.
    fn believes(&mut self, sample: Sample, offset: i64) -> bool {
        if offset - sample.offset > FORWARD {
            self.before = Some((sample.at, offset));
        }
        if sample.offset - offset <= FORWARD || self.takes_back(sample) {
            return true;
        }
        match self.jump {
            Some(first) if (first.offset - sample.offset).abs() < FORWARD => {
                sample.at.since(first.at) >= FORWARD_LASTS
            }
            _ => {
                self.jump = Some(sample);
                false
            }
        }
    }

    fn takes_back(&self, sample: Sample) -> bool {
        self.before.is_some_and(|(at, offset)| {
            sample.at.since(at) <= TAKEN_BACK && (sample.offset - offset).abs() < FORWARD
        })
    }

    fn keep(&mut self, sample: Sample) {
        self.jump = None;
        self.samples
            .retain(|old| sample.at.since(old.at) <= SAMPLE_AGE);
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    fn choose(&mut self, at: BootMs) -> bool {
        let Some(best) = self.samples.iter().min_by_key(|s| s.error_at(at)) else {
            return false;
        };
        let (wanted, error) = (best.offset, best.error_at(at));
        let moved = self
            .used
            .is_none_or(|(offset, _)| (wanted - offset).unsigned_abs() > error);
        let offset = if moved {
            wanted
        } else {
            self.used.map_or(wanted, |(o, _)| o)
        };
        self.used = Some((offset, error));
        moved
    }

    /// The center's time; the host's where no center was ever heard.
    pub fn center(&self, now: Now) -> UnixMs {
        self.used
            .map_or(now.wall, |(offset, _)| UnixMs(signed(now.boot) + offset))
    }

    /// The host's wall clock less the center's.
    pub fn skew(&self, now: Now) -> Option<i64> {
        self.used.map(|_| now.wall.0 - self.center(now).0)
    }

    /// Whether the host's clock is so far off that the center's alone decides.
    pub fn is_far(&self, now: Now) -> bool {
        let near = self.used.map_or(NEAR, |(_, error)| {
            NEAR.max(i64::try_from(error).unwrap_or(NEAR))
        });
        self.skew(now).is_some_and(|skew| skew.abs() > near)
    }

    /// The boot-time instant that the center's clock calls `at`.
    pub fn boot(&self, at: UnixMs, now: Now) -> BootMs {
        let ahead = at.0.saturating_sub(self.center(now).0);
        BootMs(now.boot.0.saturating_add_signed(ahead))
    }

    /// When a run to be started at `at` starts: when both clocks have reached it, or the center's alone where
    /// they are far apart.
    pub fn fire_at(&self, at: UnixMs, now: Now) -> BootMs {
        let by_center = self.boot(at, now);
        if self.is_far(now) {
            // Never before, also where the first words of a link took long.
            let error = self.used.map_or(0, |(_, error)| error);
            let unsure = Duration::from_millis(if error > UNSURE { error } else { 0 });
            return by_center.plus(unsure);
        }
        let ahead = at.0.saturating_sub(now.wall.0);
        by_center.max(BootMs(now.boot.0.saturating_add_signed(ahead)))
    }
}

fn signed(boot: BootMs) -> i64 {
    i64::try_from(boot.0).unwrap_or(i64::MAX)
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exchanges as (sent, way there, way back) on the boot-time clock with the center `offset` ahead.
    fn exchange(sent: u64, there: u64, back: u64, offset: i64) -> Exchange {
        let center = UnixMs(i64::try_from(sent + there).unwrap() + offset);
        Exchange {
            sent: BootMs(sent),
            received_at: center,
            answered_at: center,
            back: BootMs(sent + there + back),
        }
    }

    fn check(exchanges: &[(u64, u64, u64, i64)], wanted: (i64, u64)) {
        let mut estimate = Estimate::default();
        for (sent, there, back, offset) in exchanges {
            estimate.learn(exchange(*sent, *there, *back, *offset));
        }
        assert_eq!(estimate.offset(), Some(wanted), "{exchanges:?}");
    }

    #[test]
    fn the_best_recent_round_trip_gives_offset_and_error() {
        check(&[(0, 5, 5, 1000)], (1000, 6));
        check(&[(0, 40, 0, 1000)], (1020, 21));
        check(&[(0, 400, 0, 1000), (3000, 2, 2, 1000)], (1000, 3));
        check(&[(0, 2, 2, 1000), (3000, 400, 0, 1000)], (1000, 3));
    }

    #[test]
    fn a_move_within_the_error_is_no_move() {
        check(&[(0, 5, 5, 1000), (3000, 5, 5, 1003)], (1000, 6));
    }

    #[test]
    fn a_step_back_is_believed_at_once_and_a_far_step_ahead_when_it_lasts() {
        check(&[(0, 1, 1, 1000), (3000, 1, 1, -500_000)], (-500_000, 2));
        check(&[(0, 1, 1, 1000), (3000, 1, 1, 21_000)], (21_000, 2));
        let steps = [(0, 1, 1, 1000), (3000, 1, 1, 601_000)];
        check(&steps, (1000, 2));
        check(&[steps[0], steps[1], (6000, 1, 1, 1000)], (1000, 2));
        check(&[steps[0], steps[1], (33_000, 1, 1, 601_000)], (601_000, 2));
    }

    #[test]
    fn a_step_back_that_is_taken_back_soon_is_over_at_once() {
        let steps = [(0, 1, 1, 601_000), (3000, 1, 1, 1000)];
        check(&[steps[0], steps[1], (6000, 1, 1, 601_000)], (601_000, 2));
        check(&[steps[0], steps[1], (6000, 1, 1, 901_000)], (1000, 2));
        check(&[steps[0], steps[1], (400_000, 1, 1, 601_000)], (1000, 2));
    }

    #[test]
    fn a_run_waits_for_both_clocks_unless_they_are_far_apart() {
        let mut estimate = Estimate::default();
        let fire = |estimate: &Estimate, wall| {
            let now = Now {
                boot: BootMs(1000),
                wall: UnixMs(wall),
            };
            estimate.fire_at(UnixMs(10_000), now).0
        };
        assert_eq!(fire(&estimate, 5_000), 6_000);
        estimate.restore(4_000, 2);
        assert_eq!(fire(&estimate, 5_000), 6_000, "equal");
        assert_eq!(fire(&estimate, 4_500), 6_500, "the host is behind");
        assert_eq!(fire(&estimate, 5_500), 6_000, "the host is ahead");
        assert_eq!(fire(&estimate, 905_000), 6_000, "the host is far ahead");
        assert_eq!(fire(&estimate, 0), 6_000, "the host is far behind");
    }
}
