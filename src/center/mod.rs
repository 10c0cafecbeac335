//! The center: `core` and what belongs to it decide (pure: `handle(now, event) → effects`), `shell` carries
//! out. One file per client request under `requests`. Imports rule, model, proto, store, auth.

mod accept;
mod adding;
mod args;
mod changes;
mod clients;
mod copy;
mod core;
mod dialling;
mod ends;
mod entropy;
mod event;
mod events;
mod fleet;
mod follow;
mod init;
mod join;
mod lateness;
mod lead;
mod logs;
mod orders;
mod place;
mod planner;
mod program;
mod reads;
mod reconcile;
mod reports;
mod requests;
mod run;
mod runs;
mod select;
mod sessions;
mod shell;
mod tasks;
mod views;
mod watch;

pub use self::core::{Core, CoreSettings};
pub use args::CenterArgs;
pub use event::{AddTrouble, Effect, Event, Issue, LogLevel, Now, SessionId, Ticket};
pub use program::main;
