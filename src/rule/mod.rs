//! Text to rule, rule to occurrences. Imports nobody.

mod instant;

pub use instant::UnixMs;
