//! The dashboard: the fleet live on a terminal. State, update and view are pure and apart; `run` is the thin shell
//! that owns the terminal and the session. Imports of `cli` the session, the argument table and what prints;
//! `model`, `rule` and `proto`.

pub mod keys;
mod run;
pub mod state;
pub mod text;
pub mod update;
pub mod view;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

pub use run::{Options, run};
