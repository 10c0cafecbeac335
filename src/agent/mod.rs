//! The agent: holds the runs planned for its host, fires them on its own timer through the keeper, and tells the
//! center what happened. Imports `model`, `proto`, `exec`.

pub mod core;
pub mod estimate;
pub mod event;
pub mod journal;
pub mod record;
pub mod redial;
pub mod runs;

#[cfg(test)]
mod scenario;
#[cfg(test)]
mod scenarios;
