//! Where the pure core gets ids and secrets from: SHA-256 over the shell's 256 random bits and a counter. The
//! same seed gives the same ids, so that a simulation replays; a real seed makes them unguessable.

use sha2::{Digest, Sha256};
use ulid::Ulid;

use crate::model::UnixMs;

/// The source. `Debug` shows no seed.
pub struct Entropy {
    seed: [u8; 32],
    drawn: u64,
}

impl Entropy {
    /// A source from 256 random bits.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed, drawn: 0 }
    }

    /// 256 bits that were never drawn before.
    pub fn bytes(&mut self) -> [u8; 32] {
        self.drawn += 1;
        let mut digest = Sha256::new();
        digest.update(self.seed);
        digest.update(self.drawn.to_be_bytes());
        digest.finalize().into()
    }

    /// A new id that sorts by `at`.
    pub fn id(&mut self, at: UnixMs) -> Ulid {
        let mut random = [0; 16];
        random.copy_from_slice(&self.bytes()[..16]);
        Ulid::from_parts(at.0.max(0).unsigned_abs(), u128::from_be_bytes(random))
    }
}

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Entropy {{ drawn: {}, .. }}", self.drawn)
    }
}
