//! What every database must do, written against [`Store`] alone. The files are compiled once for SQLite and once
//! for MySQL, each time with a [`World`] of that kind beside them.

pub(super) mod mysql;
pub(super) mod sample;
pub(super) mod sqlite;

use super::{AuditRow, LeaseGuard, Place, RunQuery, Snapshot, Store, StoredRun, Write};
use crate::model::{Outcome, RunId, UnixMs};

/// An empty store with the lead taken, in a home that goes with it.
pub(super) struct World<H> {
    pub(super) folder: H,
    pub(super) store: Store,
    pub(super) guard: LeaseGuard,
}

/// Where the store of a test lives.
pub(super) trait Home: Sized {
    /// A new one in which there is nothing.
    fn make() -> Self;

    /// The store's place.
    fn place(&self) -> Place;

    /// Opens the store there; any number of times.
    async fn open(&self) -> Store {
        Store::open(&self.place(), NOW).await.unwrap()
    }
}

/// The instant at which the samples are written.
pub(super) const NOW: UnixMs = UnixMs(1_800_000_000_000);

impl<H: Home> World<H> {
    pub(super) async fn new() -> Self {
        let folder = H::make();
        let store = folder.open().await;
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

    /// Tests may take longer than a lease, and nobody else wants it.
    pub(super) async fn commit(&self, batch: Vec<Write>) {
        self.store.renew(&self.guard).await.unwrap();
        self.store.commit(&self.guard, batch, NOW).await.unwrap();
    }

    pub(super) async fn all_runs(&self) -> Vec<StoredRun> {
        all_runs(&self.store).await
    }

    /// Everything that can be read.
    pub(super) async fn content(&self) -> (Snapshot, Vec<StoredRun>, Vec<AuditRow>) {
        content(&self.store).await
    }
}

async fn all_runs(store: &Store) -> Vec<StoredRun> {
    let query = RunQuery {
        open: true,
        ..RunQuery::default()
    };
    store.runs(query).await.unwrap()
}

/// Everything that can be read of a store.
pub(super) async fn content(store: &Store) -> (Snapshot, Vec<StoredRun>, Vec<AuditRow>) {
    (
        store.load().await.unwrap(),
        all_runs(store).await,
        store.audit(None, 0).await.unwrap(),
    )
}

/// Every combination of the parts of a question.
pub(super) fn every_query() -> Vec<RunQuery> {
    let outcomes = [None, Some(Outcome::Succeeded), Some(Outcome::Failed)];
    let mut queries = Vec::new();
    for bits in 0..128 {
        for outcome in outcomes {
            let has = |bit: u32| bits >> bit & 1 == 1;
            queries.push(RunQuery {
                task: has(0).then(|| sample::task_id(1)),
                groups: has(1).then(|| [sample::group_name("web")].into()),
                agent: has(2).then(|| sample::agent_id(1)),
                outcome,
                until: has(6).then_some(NOW),
                since: has(3).then_some(UnixMs(NOW.0 - 86_400_000)),
                after: has(6).then(|| (NOW, RunId::lowest())),
                missed_until: has(6).then_some(NOW),
                fold: false,
                id_suffix: has(4).then(|| "abc".into()),
                open: has(5),
                limit: 50,
            });
        }
    }
    queries
}
