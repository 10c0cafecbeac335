//! The keeper: policy, spawn, process trees, supervision, output files, its socket and the agent's side of
//! it. Imports `model`. No network, no TLS, no async runtime, no store.

mod account;
pub mod arguments;
mod armed;
mod attend;
mod cgroup;
mod client;
mod clock;
mod connection;
mod dir;
mod error;
pub mod failpoint;
mod find;
mod jobs;
pub mod journal;
pub mod keeper;
mod launch;
mod mark;
mod notes;
mod output;
mod policy;
mod program;
mod space;
mod starter;
mod stream;
mod stub;
pub mod supervise;
mod sys;
mod tree;
pub mod wire;
mod words;

pub use attend::{become_owner, is_root, read_instead_of_stdin, steps_down};
pub use client::{KeeperLink, LinkEvent, is_running, stop};
pub use error::KeeperError;
pub use output::Retention;
pub use program::KeeperProgram;
pub use space::free_space;
pub use stub::run as run_stub;
pub use tree::TreeKind;
