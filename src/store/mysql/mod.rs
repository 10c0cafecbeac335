//! The store in a database of a MySQL or MariaDB server: a thread that writes, a thread that reads beside it, and
//! what each call does there. Its twin is `sqlite`: the same calls, tables and columns, held to the same tests.

mod audit;
mod copy;
mod fault;
pub(super) mod foreign;
mod lease;
mod load;
mod migrate;
#[cfg(test)]
mod plans;
mod prune;
mod row;
mod runs;
mod script;
mod session;
mod spans;
#[cfg(test)]
pub(super) mod tests;
mod truth;
mod worker;
mod write;
mod write_run;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mysql_async::prelude::Queryable;
use tokio::sync::{Mutex, mpsc};

use super::copy::Page;
use super::{
    AuditRow, Database, Keep, Lead, LeaseGuard, Pruned, RunQuery, Snapshot, StoreError, StoredRun,
    Truth, Write,
};
use crate::model::{Epoch, GroupName, UnixMs};
use fault::told;
use prune::Position;
use script::Script;
use session::{Kind, Session};
use worker::Worker;

/// A database and two threads with a session each.
pub(super) struct Mysql {
    database: Database,
    writer: Worker,
    reader: Worker,
    /// Where pruning goes on; held while it works, so that two calls never meet.
    pruning: Arc<Mutex<Position>>,
}

impl Mysql {
    pub(super) async fn open(database: &Database, now: UnixMs) -> Result<Self, StoreError> {
        mover(database, async move |session: &mut Session| {
            let database = session.database().clone();
            session
                .run(async |conn| migrate::migrate(conn, &database, migrate::MIGRATIONS, now).await)
                .await
        })
        .await?;
        Ok(Self {
            database: database.clone(),
            writer: Worker::start("store-writer", Session::new(database, Kind::Writer))?,
            reader: Worker::start("store-reader", Session::new(database, Kind::Reader))?,
            pruning: Arc::default(),
        })
    }

    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    pub(super) async fn try_take_lead(&self, holder: &str) -> Result<Lead, StoreError> {
        let (holder, lease) = (holder.to_owned(), self.database.lease);
        self.writer
            .call(async move |session: &mut Session| {
                session
                    .run(async |conn| lease::try_take(conn, &holder, lease).await)
                    .await
            })
            .await
    }

    pub(super) async fn renew(&self, guard: &LeaseGuard) -> Result<(), StoreError> {
        let (guard, lease) = (guard.clone(), self.database.lease);
        self.writer
            .call(async move |session: &mut Session| {
                session
                    .run(async |conn| lease::renew(conn, &guard, lease).await)
                    .await
            })
            .await
    }

    pub(super) async fn release(&self, guard: &LeaseGuard) -> Result<(), StoreError> {
        let guard = guard.clone();
        self.writer
            .call(async move |session: &mut Session| {
                session
                    .run(async |conn| lease::release(conn, &guard).await)
                    .await
            })
            .await
    }

    pub(super) async fn raise_epoch(
        &self,
        guard: &LeaseGuard,
        above: Epoch,
    ) -> Result<LeaseGuard, StoreError> {
        let guard = guard.clone();
        self.writer
            .call(async move |session: &mut Session| {
                session
                    .run(async |conn| lease::raise(conn, &guard, above).await)
                    .await
            })
            .await
    }

    /// On a session of its own: a takeover must not wait for a question whose connection is dead and does not know it.
    pub(super) async fn load(&self) -> Result<Snapshot, StoreError> {
        if self.reader.is_stopped() {
            return Err(StoreError::Closed);
        }
        let job = async |session: &mut Session| session.run(load::load).await;
        aside(&self.database, Kind::Reader, job).await
    }

    /// A batch whose answer was lost is written again: all of it is idempotent, and the lease's row lets the second
    /// only through when the first has ended. Where that fails too, what is true is not known.
    pub(super) async fn commit(
        &self,
        guard: &LeaseGuard,
        batch: &[Write],
        now: UnixMs,
    ) -> Result<(), StoreError> {
        let mut script = Script::default();
        for change in batch {
            write::write(&mut script, change, now)?;
        }
        let truths = batch.iter().filter_map(|change| match change {
            Write::TakeTruth(truth) => Some((**truth).clone()),
            _ => None,
        });
        let truths: Vec<Truth> = truths.collect();
        let packets = script.packets(if truths.is_empty() { "COMMIT" } else { "" });
        let (guard, lease) = (guard.clone(), self.database.lease);
        self.writer
            .call(async move |session: &mut Session| {
                commit(session, &guard, lease, (&packets, &truths)).await
            })
            .await
    }

    pub(super) async fn runs(&self, query: RunQuery) -> Result<Vec<StoredRun>, StoreError> {
        self.reader
            .call(async move |session: &mut Session| {
                session
                    .run(async |conn| runs::runs(conn, &query).await)
                    .await
            })
            .await
    }

    pub(super) async fn audit(
        &self,
        groups: Option<BTreeSet<GroupName>>,
        limit: u32,
    ) -> Result<Vec<AuditRow>, StoreError> {
        self.reader
            .call(async move |session: &mut Session| {
                session
                    .run(async |conn| audit::read(conn, groups.as_ref(), limit).await)
                    .await
            })
            .await
    }

    /// Looks for runs to delete on the reading thread, deletes on the writing one: the search delays no commit.
    pub(super) async fn prune(
        &self,
        guard: &LeaseGuard,
        keep: Keep,
        now: UnixMs,
        step: usize,
    ) -> Result<Pruned, StoreError> {
        let (guard, lease) = (guard.clone(), self.database.lease);
        let mut position = Arc::clone(&self.pruning).lock_owned().await;
        let from = position.clone();
        let search = async move |session: &mut Session| {
            session
                .run(async |conn| prune::search(conn, from.clone(), keep, now, step).await)
                .await
        };
        // The position stays locked until the runs found are gone.
        let (found, next) = self.reader.call(search).await?;
        *position = next;
        self.writer
            .call(async move |session: &mut Session| {
                session
                    .run(async |conn| prune::delete(conn, &guard, lease, &found).await)
                    .await
            })
            .await
    }

    pub(super) async fn meta(&self, name: &str) -> Result<Option<String>, StoreError> {
        let name = name.to_owned();
        self.reader
            .call(async move |session: &mut Session| {
                session
                    .run(async |conn| {
                        let select = "SELECT value FROM meta WHERE name = ?";
                        Ok(conn.exec_first(select, (name.as_str(),)).await?)
                    })
                    .await
            })
            .await
    }

    pub(super) async fn metas(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        let prefix = prefix.to_owned();
        self.reader
            .call(async move |session: &mut Session| {
                session
                    .run(async |conn| {
                        let select = "SELECT name, value FROM meta
                            WHERE LEFT(name, CHAR_LENGTH(?)) = ? ORDER BY name";
                        let values = (prefix.as_str(), prefix.as_str());
                        Ok(conn.exec(select, values).await?)
                    })
                    .await
            })
            .await
    }

    pub(super) async fn set_meta(&self, name: &str, value: &str) -> Result<(), StoreError> {
        const PUT: &str = "INSERT INTO meta (name, value) VALUES (?, ?)
            ON DUPLICATE KEY UPDATE value = VALUES(value)";
        self.execute(PUT, vec![name.to_owned(), value.to_owned()])
            .await
    }

    pub(super) async fn remove_meta(&self, name: &str) -> Result<(), StoreError> {
        self.execute("DELETE FROM meta WHERE name = ?", vec![name.to_owned()])
            .await
    }

    async fn execute(&self, sql: &'static str, values: Vec<String>) -> Result<(), StoreError> {
        self.writer
            .call(async move |session: &mut Session| {
                session
                    .run(async |conn| Ok(conn.exec_drop(sql, values.clone()).await?))
                    .await
            })
            .await
    }

    /// On a session of its own, so that neither reads nor writes wait for it.
    pub(super) async fn read_pages(&self, pages: mpsc::Sender<Page>) -> Result<(), StoreError> {
        mover(&self.database, async move |session: &mut Session| {
            session
                .run_once(async |conn| copy::read(conn, &pages).await)
                .await
        })
        .await
    }

    pub(super) async fn write_page(&self, page: Page) -> Result<(), StoreError> {
        self.writer
            .call(async move |session: &mut Session| {
                session
                    .run_once(async |conn| copy::write(conn, &page).await)
                    .await
            })
            .await
    }

    pub(super) async fn is_empty(&self) -> Result<bool, StoreError> {
        self.reader
            .call(async |session: &mut Session| session.run(copy::is_empty).await)
            .await
    }

    pub(super) async fn clear(&self, keep: &'static str) -> Result<(), StoreError> {
        mover(&self.database, async move |session: &mut Session| {
            session
                .run(async |conn| copy::clear(conn, keep).await)
                .await
        })
        .await
    }

    pub(super) async fn epoch(&self) -> Result<Epoch, StoreError> {
        self.reader
            .call(async |session: &mut Session| session.run(copy::epoch).await)
            .await
    }

    pub(super) async fn raise_epoch_to(&self, epoch: Epoch) -> Result<(), StoreError> {
        self.writer
            .call(async move |session: &mut Session| {
                session
                    .run(async |conn| copy::raise_epoch_to(conn, epoch).await)
                    .await
            })
            .await
    }

    pub(super) async fn close(&self) {
        self.reader.stop().await;
        self.writer.stop().await;
    }
}

/// Does something long on a session of its own.
async fn mover<T, F>(database: &Database, job: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: AsyncFnOnce(&mut Session) -> Result<T, StoreError> + Send + 'static,
{
    aside(database, Kind::Mover, job).await
}

/// Does something on a session of its own.
async fn aside<T, F>(database: &Database, kind: Kind, job: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: AsyncFnOnce(&mut Session) -> Result<T, StoreError> + Send + 'static,
{
    let worker = Worker::start("store-aside", Session::new(database, kind))?;
    let done = worker.call(job).await;
    worker.stop().await;
    done
}

async fn commit(
    session: &mut Session,
    guard: &LeaseGuard,
    lease: std::time::Duration,
    (packets, truths): (&[String], &[Truth]),
) -> Result<(), StoreError> {
    let asked = AtomicBool::new(false);
    let job = async |conn: &mut mysql_async::Conn| {
        lease::begin(conn, guard, lease).await?;
        for (index, packet) in packets.iter().enumerate() {
            if index + 1 == packets.len() {
                asked.store(true, Ordering::Relaxed);
            }
            conn.query_drop(packet.as_str()).await?;
        }
        for truth in truths {
            truth::take(conn, truth).await?;
        }
        if !truths.is_empty() {
            asked.store(true, Ordering::Relaxed);
            conn.query_drop("COMMIT").await?;
        }
        Ok(())
    };
    let first = session.attempt(&job).await;
    let open = |fault: &fault::Fault| fault.is_open() && asked.load(Ordering::Relaxed);
    let (unknown, last) = match first {
        Err(fault) if fault.passes() => (open(&fault), session.attempt(&job).await),
        other => (false, other),
    };
    match last {
        Ok(()) => Ok(()),
        Err(fault) if unknown || open(&fault) => Err(StoreError::Unknown {
            cause: told(fault, session.database()).to_string(),
        }),
        Err(fault) => Err(told(fault, session.database())),
    }
}
