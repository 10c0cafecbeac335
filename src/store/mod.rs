//! The durable side of the center: one interface, SQLite behind it now, MySQL later. What is written is a
//! closed list ([`Write`]); a batch of them is one transaction that begins by renewing the lease. Knows no
//! clock: `now` is given.

mod error;
mod rows;
mod span;
mod sqlite;
mod task_row;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::{Epoch, GroupName, UnixMs};

pub use error::{SchemaError, StoreError};
pub use rows::{
    AgentRow, AnswerRow, AuditRow, GroupRow, Keep, LeaseGuard, OperatorRow, RunQuery, RunRow,
    Snapshot, StoredRun, TokenFor, TokenRow, Write,
};
pub use span::{Folded, SpanRow};

use sqlite::Sqlite;

/// A handle to the store; clones are the same store. Calls are carried out in the order in which they are
/// made, reads beside writes. A call once made is carried out even if its future is dropped.
#[derive(Clone)]
pub struct Store {
    engine: Engine,
}

/// The databases behind the interface.
#[derive(Clone)]
enum Engine {
    Sqlite(Arc<Sqlite>),
}

impl Store {
    /// Opens the SQLite file at `path`, makes it (mode 0600) where there is none, and brings its schema up to
    /// date; a file of an older schema is copied to `PATH.before-VERSION` first. Blocks its thread meanwhile.
    pub fn open_sqlite(path: impl Into<PathBuf>, now: UnixMs) -> Result<Self, StoreError> {
        let sqlite = Sqlite::open(path.into(), now)?;
        Ok(Self {
            engine: Engine::Sqlite(Arc::new(sqlite)),
        })
    }

    /// Takes the lead for `holder` (unique for each start of a center) with a new epoch; whoever had it
    /// before can write nothing more.
    pub async fn take_lead(&self, holder: &str) -> Result<LeaseGuard, StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.take_lead(holder).await,
        }
    }

    /// Raises the epoch of the lead held above one that an agent has seen; the guard to use from now on. One
    /// that is above it already is returned as it is.
    pub async fn raise_epoch(
        &self,
        guard: &LeaseGuard,
        above: Epoch,
    ) -> Result<LeaseGuard, StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.raise_epoch(guard, above).await,
        }
    }

    /// Everything a center needs in memory, as of one instant.
    pub async fn load(&self) -> Result<Snapshot, StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.load().await,
        }
    }

    /// Writes a batch, all of it or nothing, durably. [`StoreError::NotLeader`] where the guard is no longer
    /// that of the lease; an empty batch only asks that.
    pub async fn commit(
        &self,
        guard: &LeaseGuard,
        batch: Vec<Write>,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.commit(guard, batch, now).await,
        }
    }

    /// The runs asked for, newest first by `scheduled_at`, then id; the occurrences of spans among them.
    pub async fn runs(&self, query: RunQuery) -> Result<Vec<StoredRun>, StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.runs(query).await,
        }
    }

    /// The audit log, newest first, at most `limit` entries (0 = all): every entry without `groups`, else
    /// those about one of them.
    pub async fn audit(
        &self,
        groups: Option<BTreeSet<GroupName>>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.audit(groups, limit).await,
        }
    }

    /// Deletes at most `step` ended runs, and as many spans, that need not be kept, and says how many. The work of one call is
    /// bounded, so it is made again and again: at once after a full step, else after some time.
    pub async fn prune(&self, keep: &Keep, now: UnixMs, step: usize) -> Result<usize, StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.prune(*keep, now, step).await,
        }
    }

    /// A value that belongs to the fleet as a whole, such as its id.
    pub async fn meta(&self, name: &str) -> Result<Option<String>, StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.meta(name).await,
        }
    }

    /// Sets such a value.
    pub async fn set_meta(&self, name: &str, value: &str) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.set_meta(name, value).await,
        }
    }

    /// Writes a consistent copy (mode 0600) to `path` while the store is in use; a file there is replaced
    /// once the copy is complete.
    pub async fn backup(&self, path: impl AsRef<Path>) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.backup(path.as_ref()).await,
        }
    }

    /// Carries out what was asked before, closes the database and ends the store's threads. Other clones of
    /// the handle get [`StoreError::Closed`] from then on.
    pub async fn close(self) {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.close().await,
        }
    }
}
