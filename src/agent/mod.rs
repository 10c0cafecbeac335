//! The agent: holds the runs planned for its host, fires them on its own timer through the keeper, and tells the
//! center what happened. Imports `model`, `proto`, `exec`.
//!
//! Pure: `core`, `estimate`, `runs`, `record`, `event`. The rest is shell.

pub mod arguments;
pub mod core;
pub mod error;
pub mod estimate;
pub mod event;
pub mod home;
pub mod joining;
pub mod journal;
mod keepers;
pub mod record;
pub mod runs;
mod session;
mod shell;

pub use arguments::{Arguments, start};
pub use home::Home;
pub use joining::{Joining, Way, join};
pub use shell::{Reading, run};

#[cfg(test)]
mod scenario;
#[cfg(test)]
mod scenarios;
