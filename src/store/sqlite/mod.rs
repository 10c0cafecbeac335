//! The store in one SQLite file: a thread that writes, a thread that reads beside it (write-ahead log), and
//! what each call does there. SQL stays in this folder.

mod audit;
mod copy;
mod fault;
pub(super) mod file;
mod lease;
mod load;
mod migrate;
#[cfg(test)]
mod plans;
mod prune;
mod row;
mod runs;
mod spans;
#[cfg(test)]
mod tests;
mod truth;
mod worker;
mod write;
mod write_run;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{OptionalExtension, TransactionBehavior, params};
use tokio::sync::{Mutex, mpsc};

use super::copy::Page;
use super::{AuditRow, Keep, LeaseGuard, Pruned, RunQuery, Snapshot, StoreError, StoredRun, Write};
use crate::model::{Epoch, GroupName, UnixMs};
use prune::Position;
use worker::Worker;

/// An open file and its two threads.
pub(super) struct Sqlite {
    path: PathBuf,
    writer: Worker,
    reader: Worker,
    /// Where pruning goes on; held while it works, so that two calls never meet.
    pruning: Arc<Mutex<Position>>,
}

impl Sqlite {
    pub(super) fn open(path: PathBuf, now: UnixMs) -> Result<Self, StoreError> {
        file::prepare(&path)?;
        let mut writing = file::open_writer(&path)?;
        migrate::migrate(&mut writing, &path, migrate::MIGRATIONS, now)?;
        let reading = file::open_reader(&path)?;
        Ok(Self {
            path,
            writer: Worker::start("store-writer", writing)?,
            reader: Worker::start("store-reader", reading)?,
            pruning: Arc::default(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) async fn take_lead(&self, holder: &str) -> Result<LeaseGuard, StoreError> {
        let holder = holder.to_owned();
        self.writer
            .call(move |connection| lease::take(connection, holder))
            .await
    }

    pub(super) async fn renew(&self, guard: &LeaseGuard) -> Result<(), StoreError> {
        let guard = guard.clone();
        self.writer
            .call(move |connection| lease::hold(connection, &guard))
            .await
    }

    pub(super) async fn release(&self, guard: &LeaseGuard) -> Result<(), StoreError> {
        let guard = guard.clone();
        self.writer
            .call(move |connection| lease::release(connection, &guard))
            .await
    }

    pub(super) async fn raise_epoch(
        &self,
        guard: &LeaseGuard,
        above: Epoch,
    ) -> Result<LeaseGuard, StoreError> {
        let guard = guard.clone();
        self.writer
            .call(move |connection| lease::raise(connection, guard, above))
            .await
    }

    pub(super) async fn load(&self) -> Result<Snapshot, StoreError> {
        self.reader.call(load::load).await
    }

    pub(super) async fn commit(
        &self,
        guard: &LeaseGuard,
        batch: Vec<Write>,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        let guard = guard.clone();
        let job = move |connection: &mut rusqlite::Connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            lease::renew(&transaction, &guard, now)?;
            for change in &batch {
                write::write(&transaction, change, now)?;
            }
            Ok(transaction.commit()?)
        };
        self.writer.call(job).await
    }

    pub(super) async fn runs(&self, query: RunQuery) -> Result<Vec<StoredRun>, StoreError> {
        self.reader
            .call(move |connection| runs::runs(connection, &query))
            .await
    }

    pub(super) async fn audit(
        &self,
        groups: Option<BTreeSet<GroupName>>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, StoreError> {
        self.reader
            .call(move |connection| audit::read(connection, groups.as_ref(), limit))
            .await
    }

    /// Looks for runs to delete on the reading thread, deletes on the writing one: the search delays no commit.
    pub(super) async fn prune(
        &self,
        keep: Keep,
        now: UnixMs,
        step: usize,
    ) -> Result<Pruned, StoreError> {
        let mut position = Arc::clone(&self.pruning).lock_owned().await;
        let search = move |connection: &mut rusqlite::Connection| {
            prune::search(connection, &mut position, keep, now, step).map(|found| (found, position))
        };
        // The position stays locked until the runs found are gone.
        let (found, _position) = self.reader.call(search).await?;
        if found.is_empty() {
            return Ok(found.pruned(0));
        }
        self.writer
            .call(move |connection| prune::delete(connection, &found))
            .await
    }

    pub(super) async fn meta(&self, name: &str) -> Result<Option<String>, StoreError> {
        let name = name.to_owned();
        self.reader
            .call(move |connection| {
                let mut select =
                    connection.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
                Ok(select.query_row([name], |row| row.get(0)).optional()?)
            })
            .await
    }

    pub(super) async fn metas(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        let prefix = prefix.to_owned();
        self.reader
            .call(move |connection| {
                let mut select = connection.prepare_cached(
                    "SELECT name, value FROM meta WHERE substr(name, 1, length(?1)) = ?1 ORDER BY name",
                )?;
                let rows = select.query_map([prefix], |row| Ok((row.get(0)?, row.get(1)?)))?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .await
    }

    pub(super) async fn set_meta(&self, name: &str, value: &str) -> Result<(), StoreError> {
        const PUT: &str = "INSERT INTO meta (name, value) VALUES (?1, ?2)
            ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        let (name, value) = (name.to_owned(), value.to_owned());
        self.writer
            .call(move |connection| {
                connection
                    .prepare_cached(PUT)?
                    .execute(params![name, value])?;
                Ok(())
            })
            .await
    }

    pub(super) async fn remove_meta(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.writer
            .call(move |connection| {
                connection.execute("DELETE FROM meta WHERE name = ?1", [name])?;
                Ok(())
            })
            .await
    }

    /// On a thread of its own, as [`Sqlite::backup`] does.
    pub(super) async fn read_pages(&self, pages: mpsc::Sender<Page>) -> Result<(), StoreError> {
        let copier = Worker::start("store-mover", file::open_reader(&self.path)?)?;
        copier
            .call(move |connection| copy::read(connection, &pages))
            .await
    }

    pub(super) async fn write_page(&self, page: Page) -> Result<(), StoreError> {
        self.writer
            .call(move |connection| copy::write(connection, &page))
            .await
    }

    pub(super) async fn is_empty(&self) -> Result<bool, StoreError> {
        self.reader.call(copy::is_empty).await
    }

    pub(super) async fn clear(&self, keep: &'static str) -> Result<(), StoreError> {
        self.writer
            .call(move |connection| copy::clear(connection, keep))
            .await
    }

    pub(super) async fn epoch(&self) -> Result<Epoch, StoreError> {
        self.reader.call(copy::epoch).await
    }

    pub(super) async fn raise_epoch_to(&self, epoch: Epoch) -> Result<(), StoreError> {
        self.writer
            .call(move |connection| copy::raise_epoch_to(connection, epoch))
            .await
    }

    /// Copies on a thread of its own: a large file delays neither reads nor writes.
    pub(super) async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        let (from, to) = (self.path.clone(), to.to_owned());
        let copier = Worker::start("store-backup", file::open_reader(&self.path)?)?;
        copier.call(move |_| file::copy(&from, &to)).await
    }

    pub(super) async fn close(&self) {
        self.reader.stop().await;
        self.writer.stop().await;
    }
}
