//! The commands, one file per family: arguments in, requests out, answers printed.

pub mod agents;
pub mod audit;
pub mod context;
pub mod edit;
pub mod events;
pub mod export;
pub mod groups;
pub mod import;
pub mod login;
pub mod logs;
pub mod next;
pub mod operators;
pub mod run;
pub mod runs;
pub mod save;
pub mod status;
pub mod tasks;
pub mod why;
