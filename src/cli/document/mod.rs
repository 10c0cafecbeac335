//! Tasks as a text that people keep and edit: TOML, a `[[task]]` each, the flags' names as keys. What is not
//! written has its default. `export` and `edit` write it, `edit` reads it. Pure.

mod keys;
mod read;
#[cfg(test)]
mod tests;
mod write;

use super::args::TaskFlags;
use crate::model::{GroupName, TaskName, TaskSpec};

pub use read::read;
pub use write::{HIDDEN, write};

/// A task as the text says it shall be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its group.
    pub group: GroupName,
    /// Its name in the group.
    pub name: TaskName,
    /// Whether it is on.
    pub enabled: bool,
    /// What it is.
    pub spec: TaskSpec,
}

/// A `[[task]]` while it is read.
#[derive(Default)]
struct Draft {
    group: Option<GroupName>,
    name: Option<TaskName>,
    disabled: bool,
    flags: TaskFlags,
}
