//! Chance from a seed: the same seed, the same choices.

use std::ops::Range;
use std::time::Duration;

/// A generator of Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    pub fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }

    /// True so many times of a hundred.
    pub fn percent(&mut self, part: u64) -> bool {
        self.within(0..100) < part
    }

    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        let count = u64::try_from(all.len()).expect("a list in memory");
        let index = self.within(0..count);
        all[usize::try_from(index).expect("below the list's length")]
    }
}
