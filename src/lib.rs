//! ucron: one center that knows every task, agents that run them, keepers that hold their processes,
//! and one terminal client. This file is the table of contents; ARCHITECTURE.md is the map.

pub mod agent;
pub mod exec;
pub mod model;
pub mod proto;
pub mod rule;
pub mod store;
