//! When a lost link is dialled again, whoever dials it: pure but for the dice.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The first wait after the immediate try.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait of the first minutes.
const LONGEST: Duration = Duration::from_secs(2);
/// After so long without a link ...
const LONG_GONE: Duration = Duration::from_mins(5);
/// ... the waits are this long.
const RARE: Duration = Duration::from_secs(30);

/// Waits between tries, since the last link.
#[derive(Debug, Default)]
pub struct Redial {
    tries: u32,
    waited: Duration,
}

impl Redial {
    /// How long to wait before the next try: not at all, then 0.1 s doubling to 2 s, 30 s after five minutes.
    /// `dice` (any number) shortens each wait by up to a quarter, so that a fleet does not come back as one.
    pub fn next(&mut self, dice: u64) -> Duration {
        let wait = match self.tries {
            0 => Duration::ZERO,
            _ if self.waited >= LONG_GONE => RARE,
            tries => FIRST.saturating_mul(1 << (tries - 1).min(10)).min(LONGEST),
        };
        self.tries = self.tries.saturating_add(1);
        self.waited = self.waited.saturating_add(wait);
        let quarter = u32::try_from(dice % 250).unwrap_or(0);
        wait * (1000 - quarter) / 1000
    }
}

/// A number that no other host draws; jitter needs no better.
pub fn dice() -> u64 {
    RandomState::new().hash_one(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_link_is_dialled_at_once_then_ever_more_rarely() {
        let mut redial = Redial::default();
        let waits: Vec<u128> = (0..8).map(|_| redial.next(0).as_millis()).collect();
        assert_eq!(waits, [0, 100, 200, 400, 800, 1600, 2000, 2000]);
        for _ in 0..200 {
            redial.next(0);
        }
        assert_eq!(redial.next(0), RARE);
        assert!(redial.next(999) < RARE);
        assert!(redial.next(999) > RARE / 2);
    }
}
