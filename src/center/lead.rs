//! The lead of a store that several centers can share: waited for before a center begins, renewed while it runs.

use std::time::Duration;

use tracing::{info, warn};

use super::event::Event;
use super::shell::{Inbox, Incoming};
use crate::store::{Lead, LeaseGuard, Store, StoreError};
use crate::workers::Workers;

/// Longest pause between two looks at a lease that another holds: it may be given back before its time.
const LOOK: Duration = Duration::from_millis(500);
/// Failed renewals after which planning pauses. One alone may be the database's restart.
const SILENT: u32 = 2;

/// Takes the lead as soon as nobody else has it; none when the workers are told to stop before.
pub(super) async fn wait_for_lead(
    store: &Store,
    holder: &str,
    workers: &Workers,
) -> Result<Option<LeaseGuard>, StoreError> {
    let mut told = false;
    loop {
        let (other, left) = match store.try_take_lead(holder).await? {
            Lead::Taken(guard) => return Ok(Some(guard)),
            Lead::Held { holder, left, .. } => (holder, left),
        };
        if !told {
            info!(
                holder = other,
                "another center has the lead; waiting for it"
            );
            told = true;
        }
        let pause = tokio::time::sleep(left.min(LOOK));
        if workers.token().run_until_cancelled(pause).await.is_none() {
            return Ok(None);
        }
    }
}

/// Renews the lease for as long as the center runs, where leases run out, and tells the loop when the lead is lost or
/// the store silent.
pub(super) fn keep_lead(
    workers: &Workers,
    store: &Store,
    guard: &LeaseGuard,
    inbox: &Inbox,
    every: Duration,
) {
    if !store.has_lease() {
        return;
    }
    let (store, guard, inbox) = (store.clone(), guard.clone(), inbox.clone());
    let stop = workers.token().clone();
    workers.spawn("lease", async move {
        let mut failed = 0;
        let pause = || stop.run_until_cancelled(tokio::time::sleep(every));
        while pause().await.is_some() {
            let news = match store.renew(&guard).await {
                Ok(()) => {
                    failed = 0;
                    continue;
                }
                Err(StoreError::NotLeader) => Incoming::Deposed,
                Err(fault) => {
                    failed += 1;
                    if failed == 1 {
                        warn!("the lease was not renewed: {fault}");
                    }
                    if failed < SILENT {
                        continue;
                    }
                    Incoming::Event(Event::StoreSilent(fault.to_string()))
                }
            };
            // Where the loop is gone the center is stopping.
            let _ = inbox.send(news).await;
        }
    });
}
