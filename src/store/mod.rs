//! The durable side of the center: one interface, SQLite and MySQL behind it. What is written is a closed list
//! ([`Write`]); a batch of them is one transaction that begins by renewing the lease. Knows no clock: `now` is given,
//! and leases are on the database's.

mod checksum;
mod copy;
mod error;
mod foreign;
mod mysql;
mod place;
mod rows;
mod span;
mod sqlite;
mod task_row;
#[cfg(test)]
mod tests;
mod truth;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::{Epoch, GroupName, UnixMs};

pub use copy::{CopyError, CopyHow, TableSum};
pub use error::{SchemaError, StoreError};
pub use foreign::{ForeignTable, read_table};
pub use place::{Database, Place, PlaceError, Secret, Tls};
pub use rows::{
    AgentRow, AnswerRow, AuditRow, GroupRow, Keep, Lead, LeaseGuard, OperatorRow, Pruned, RunQuery,
    RunRow, Snapshot, StoredRun, TokenFor, TokenRow, Write,
};
pub use span::{Folded, SpanRow};
pub use truth::{Truth, outcome_json};

use copy::Page;
use mysql::Mysql;
use sqlite::Sqlite;
use tokio::sync::mpsc;

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
    Mysql(Arc<Mysql>),
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

    /// Opens the store at `place`, makes it where there is none, and brings its schema up to date.
    pub async fn open(place: &Place, now: UnixMs) -> Result<Self, StoreError> {
        match place {
            Place::Sqlite(path) => Self::open_sqlite(path, now),
            Place::Mysql(database) => Ok(Self {
                engine: Engine::Mysql(Arc::new(Mysql::open(database, now).await?)),
            }),
        }
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        match &self.engine {
            Engine::Sqlite(sqlite) => Place::Sqlite(sqlite.path().to_owned()),
            Engine::Mysql(mysql) => Place::Mysql(Box::new(mysql.database().clone())),
        }
    }

    /// Takes the lead for `holder` (unique for each start of a center) with a new epoch, unless another holds it and
    /// its lease has not run out; whoever had it before can write nothing more. A SQLite file is one center's, who has
    /// its directory, so there the lead is always taken.
    pub async fn try_take_lead(&self, holder: &str) -> Result<Lead, StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.take_lead(holder).await.map(Lead::Taken),
            Engine::Mysql(mysql) => mysql.try_take_lead(holder).await,
        }
    }

    /// The same where nothing but the lead will do: [`StoreError::Held`] while another has it.
    pub async fn take_lead(&self, holder: &str) -> Result<LeaseGuard, StoreError> {
        match self.try_take_lead(holder).await? {
            Lead::Taken(guard) => Ok(guard),
            Lead::Held { holder, left, .. } => Err(StoreError::Held { holder, left }),
        }
    }

    /// Whether the lead ends by itself when it is not renewed.
    pub fn has_lease(&self) -> bool {
        matches!(self.engine, Engine::Mysql(_))
    }

    /// Renews the lease, to be called several times in its length: [`StoreError::NotLeader`] where another has taken
    /// it. A lease that ran out and was taken by nobody is good again.
    pub async fn renew(&self, guard: &LeaseGuard) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.renew(guard).await,
            Engine::Mysql(mysql) => mysql.renew(guard).await,
        }
    }

    /// Gives the lead back: another center may take it at once. Nothing where the guard is no longer the lease's.
    pub async fn release(&self, guard: &LeaseGuard) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.release(guard).await,
            Engine::Mysql(mysql) => mysql.release(guard).await,
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
            Engine::Mysql(mysql) => mysql.raise_epoch(guard, above).await,
        }
    }

    /// Everything a center needs in memory, as of one instant.
    pub async fn load(&self) -> Result<Snapshot, StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.load().await,
            Engine::Mysql(mysql) => mysql.load().await,
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
            Engine::Mysql(mysql) => mysql.commit(guard, &batch, now).await,
        }
    }

    /// The runs asked for, newest first by `scheduled_at`, then id; the occurrences of spans among them.
    pub async fn runs(&self, query: RunQuery) -> Result<Vec<StoredRun>, StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.runs(query).await,
            Engine::Mysql(mysql) => mysql.runs(query).await,
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
            Engine::Mysql(mysql) => mysql.audit(groups, limit).await,
        }
    }

    /// Deletes at most `step` ended runs, and as many spans, that need not be kept. The work of one call is bounded, so it
    /// is made again and again: soon until a round is over, then after some time. Under the guard where several centers
    /// share the store; a file is one center's.
    pub async fn prune(
        &self,
        guard: &LeaseGuard,
        keep: &Keep,
        now: UnixMs,
        step: usize,
    ) -> Result<Pruned, StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.prune(*keep, now, step).await,
            Engine::Mysql(mysql) => mysql.prune(guard, *keep, now, step).await,
        }
    }

    /// A value that belongs to the fleet as a whole, such as its id.
    pub async fn meta(&self, name: &str) -> Result<Option<String>, StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.meta(name).await,
            Engine::Mysql(mysql) => mysql.meta(name).await,
        }
    }

    /// All such values whose name begins so, by name.
    pub async fn metas(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.metas(prefix).await,
            Engine::Mysql(mysql) => mysql.metas(prefix).await,
        }
    }

    /// Sets such a value.
    pub async fn set_meta(&self, name: &str, value: &str) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.set_meta(name, value).await,
            Engine::Mysql(mysql) => mysql.set_meta(name, value).await,
        }
    }

    /// Writes a consistent copy, always a SQLite file (mode 0600), to `path` while the store is in use; a file there
    /// is replaced once the copy is complete.
    pub async fn backup(&self, path: impl AsRef<Path>, now: UnixMs) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.backup(path.as_ref()).await,
            Engine::Mysql(_) => self.backup_tables(path.as_ref(), now).await,
        }
    }

    /// Carries out what was asked before, closes the database and ends the store's threads. Other clones of
    /// the handle get [`StoreError::Closed`] from then on.
    pub async fn close(self) {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.close().await,
            Engine::Mysql(mysql) => mysql.close().await,
        }
    }
}

/// What copying from store to store is made of.
impl Store {
    async fn read_pages(&self, pages: mpsc::Sender<Page>) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.read_pages(pages).await,
            Engine::Mysql(mysql) => mysql.read_pages(pages).await,
        }
    }

    async fn write_page(&self, page: Page) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.write_page(page).await,
            Engine::Mysql(mysql) => mysql.write_page(page).await,
        }
    }

    async fn is_empty(&self) -> Result<bool, StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.is_empty().await,
            Engine::Mysql(mysql) => mysql.is_empty().await,
        }
    }

    async fn clear(&self, keep: &'static str) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.clear(keep).await,
            Engine::Mysql(mysql) => mysql.clear(keep).await,
        }
    }

    async fn remove_meta(&self, name: &str) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.remove_meta(name).await,
            Engine::Mysql(mysql) => mysql.remove_meta(name).await,
        }
    }

    async fn epoch(&self) -> Result<Epoch, StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.epoch().await,
            Engine::Mysql(mysql) => mysql.epoch().await,
        }
    }

    async fn raise_epoch_to(&self, epoch: Epoch) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.raise_epoch_to(epoch).await,
            Engine::Mysql(mysql) => mysql.raise_epoch_to(epoch).await,
        }
    }
}
