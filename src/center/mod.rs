//! The center: `core` and what belongs to it decide (pure: `handle(now, event) → effects`), `shell` carries
//! out. One file per client request under `requests`. Imports rule, model, proto, store, auth.

mod accept;
mod adding;
mod args;
mod changes;
mod clients;
mod conditions;
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
mod logs;
mod notices;
mod notify;
mod orders;
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
mod telling;
mod views;
mod watch;
mod watching;

pub use self::core::{Core, CoreSettings};
pub use args::CenterArgs;
pub use event::{AddTrouble, Effect, Event, Issue, LogLevel, Now, SessionId, Ticket};
pub use notices::Route;
pub use program::main;
