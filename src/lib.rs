//! ucron: one center that knows every task, agents that run them, keepers that hold their processes,
//! and one terminal client. This file is the table of contents; ARCHITECTURE.md is the map.

pub mod agent;
pub mod auth;
pub mod center;
pub mod cli;
pub mod clock;
pub mod config;
pub mod exec;
pub mod files;
pub mod model;
pub mod proto;
pub mod rule;
pub mod store;
pub mod tui;
pub mod workers;
