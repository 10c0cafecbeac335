//! The built programs together: every test makes a real fleet in a directory of its own.

mod accounting;
mod daemons;
mod dev;
mod editing;
mod installing;
mod ledger;
mod logs;
mod membership;
mod missing;
mod overlapping;
mod programs;
mod running;
mod stopping;
mod terminal;
mod workload;
mod world;
