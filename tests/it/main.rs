//! The built programs together: every test makes a real fleet in a directory of its own.

mod accounting;
mod daemons;
#[path = "../database/mod.rs"]
mod database;
mod dev;
mod dialing;
mod editing;
mod examples;
mod installing;
mod ledger;
mod logs;
mod membership;
mod overlapping;
mod page;
mod programs;
mod running;
mod separation;
mod stopping;
mod storing;
mod story;
mod terminal;
mod workload;
mod world;
