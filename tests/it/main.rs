//! The built programs together: every test makes a real fleet in a directory of its own.

mod accounting;
mod alone;
mod clocks;
mod crashing;
mod daemons;
mod damaged;
#[path = "../database/mod.rs"]
mod database;
mod dev;
mod dialing;
mod editing;
mod enduring;
mod examples;
mod galera;
mod hardship;
mod identity;
mod importing;
mod installing;
mod ledger;
mod logs;
mod membership;
mod missing;
mod notifying;
mod overlapping;
mod page;
mod programs;
mod proxy;
mod running;
mod separation;
mod slots;
mod standby;
mod stopping;
mod storing;
mod story;
mod terminal;
mod trouble;
mod upgrading;
#[path = "../chaos/proxy.rs"]
#[allow(dead_code, reason = "shared with the chaos; each uses a part")]
mod way;
mod workload;
mod world;
