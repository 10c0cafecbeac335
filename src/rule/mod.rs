//! Text to rule, rule to occurrences. Imports nobody.

mod instant;
mod placeholder;

pub use instant::UnixMs;
pub use placeholder::*;
