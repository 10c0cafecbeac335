//! The tests of every database, on SQLite.

use tempfile::TempDir;

use super::Home;
pub(in crate::store) use super::{NOW, content, sample};
use crate::store::Place;

#[path = "../batches.rs"]
mod batches;
#[path = "../copies.rs"]
mod copies;
#[path = "../history.rs"]
mod history;
#[path = "../lead.rs"]
mod lead;

/// A store in a file.
pub(in crate::store) type World = super::World<TempDir>;

impl Home for TempDir {
    fn make() -> Self {
        Self::new().unwrap()
    }

    fn place(&self) -> Place {
        Place::Sqlite(self.path().join("center.db"))
    }
}
