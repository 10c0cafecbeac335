//! What every database must do, written against [`Store`] alone: SQLite now, MySQL with its twin.

mod batches;
mod history;
mod lead;
pub(super) mod sample;
mod spans;

use tempfile::TempDir;

use super::{AuditRow, LeaseGuard, RunQuery, Snapshot, Store, StoredRun, Write};
use crate::model::UnixMs;

/// An empty store with the lead taken; its folder goes with it.
pub(super) struct World {
    pub(super) folder: TempDir,
    pub(super) store: Store,
    pub(super) guard: LeaseGuard,
}

/// The instant at which the samples are written.
pub(super) const NOW: UnixMs = UnixMs(1_800_000_000_000);

impl World {
    pub(super) async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let store = Store::open_sqlite(folder.path().join("center.db"), NOW).unwrap();
        let guard = store.take_lead("c1").await.unwrap();
        Self {
            folder,
            store,
            guard,
        }
    }

    /// A store in which the samples' groups, tasks, agents and operators are.
    pub(super) async fn with_fleet() -> Self {
        let world = Self::new().await;
        world.commit(sample::fleet()).await;
        world
    }

    pub(super) async fn commit(&self, batch: Vec<Write>) {
        self.store.commit(&self.guard, batch, NOW).await.unwrap();
    }

    pub(super) async fn all_runs(&self) -> Vec<StoredRun> {
        let query = RunQuery {
            open: true,
            ..RunQuery::default()
        };
        self.store.runs(query).await.unwrap()
    }

    /// Everything that can be read.
    async fn content(&self) -> (Snapshot, Vec<StoredRun>, Vec<AuditRow>) {
        (
            self.store.load().await.unwrap(),
            self.all_runs().await,
            self.store.audit(None, 0).await.unwrap(),
        )
    }
}
