//! The lead of a store that several centers can share: contended for while a center stands by, renewed while it
//! leads, given back when it ends or is asked to. One worker does it; the loop obeys. Also the row by which centers
//! know of each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::event::Event;
use super::roster::{CenterRow, PREFIX, Roster, STEP_DOWN};
use super::shell::{Inbox, Incoming};
use crate::clock;
use crate::model::Epoch;
use crate::store::{Lead, LeaseGuard, Snapshot, Store, StoreError, Write};
use crate::workers::Workers;

/// Longest pause between two looks at a lease that another holds: it may be given back before its time.
const LOOK: Duration = Duration::from_millis(300);
/// Pause after a store that did not answer.
const AGAIN: Duration = Duration::from_secs(1);
/// Failed renewals after which planning pauses. One alone may be the database's restart.
const SILENT: u32 = 2;

/// Until when this center may act as the leader, by its own boot-time clock: counted from when the last renewal that
/// succeeded was sent, less a margin, so that it ends before the lease does on the database's clock. Clones are the
/// same.
#[derive(Clone, Debug)]
pub(super) struct Tenure {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// The lease; none where it does not run out.
    lease: Option<Duration>,
    /// This process, for the lease.
    holder: String,
    renewed: AtomicU64,
    epoch: AtomicU64,
    seen: AtomicU64,
}

impl Tenure {
    /// Of a center that does not lead.
    pub(super) fn new(lease: Option<Duration>, holder: String) -> Self {
        let inner = Inner {
            lease,
            holder,
            renewed: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            seen: AtomicU64::new(0),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// A renewal that was sent then has succeeded.
    pub(super) fn renewed(&self, sent: Duration) {
        let sent = u64::try_from(sent.as_millis()).unwrap_or(u64::MAX);
        self.inner.renewed.fetch_max(sent, Ordering::Relaxed);
    }

    fn set_epoch(&self, epoch: Epoch) {
        self.inner.epoch.store(epoch.0, Ordering::Relaxed);
        self.see(epoch);
    }

    /// A center has led with this epoch.
    fn see(&self, epoch: Epoch) {
        self.inner.seen.fetch_max(epoch.0, Ordering::Relaxed);
    }

    /// The highest epoch with which a center has led while this one ran. A database that lost its last transactions
    /// may give it again.
    fn seen(&self) -> Epoch {
        Epoch(self.inner.seen.load(Ordering::Relaxed))
    }

    fn epoch(&self) -> Epoch {
        Epoch(self.inner.epoch.load(Ordering::Relaxed))
    }

    /// When the lease was renewed last; none where it does not run out.
    fn last(&self) -> Option<Duration> {
        self.inner.lease?;
        Some(Duration::from_millis(
            self.inner.renewed.load(Ordering::Relaxed),
        ))
    }

    /// When the leader stops by itself: a sixth of the lease early, for clocks that run at different speeds and for
    /// what is under way.
    pub(super) fn ends(&self) -> Option<Duration> {
        let lease = self.inner.lease?;
        Some(self.last()? + lease * 5 / 6)
    }

    /// Under what this center may write, while it leads and may.
    pub(super) fn guard(&self, now: Duration) -> Option<LeaseGuard> {
        let epoch = self.epoch();
        let leads = epoch > Epoch(0) && !self.is_over(now);
        leads.then(|| LeaseGuard {
            epoch,
            holder: self.inner.holder.clone(),
        })
    }

    /// Writes a batch, which renews the lease; what came of it, none where another center leads.
    pub(super) async fn commit(
        &self,
        store: &Store,
        guard: &LeaseGuard,
        writes: Vec<Write>,
    ) -> Option<Event> {
        let sent = clock::boot_time();
        Some(match store.commit(guard, writes, clock::now()).await {
            Ok(()) => {
                self.renewed(sent);
                Event::Committed(Ok(()))
            }
            Err(StoreError::NotLeader) => return None,
            Err(fault @ StoreError::Unknown { .. }) => Event::InDoubt(fault.to_string()),
            Err(fault) => Event::Committed(Err(fault.to_string())),
        })
    }

    /// Whether nothing may be said as the leader any more.
    pub(super) fn is_over(&self, now: Duration) -> bool {
        self.ends().is_some_and(|end| now >= end)
    }
}

/// What a leader says whose lease is over by its own clock, and why where that is known.
pub(super) fn lapsed(cause: Option<&str>) -> String {
    let cause = cause.map(|cause| format!(": {cause}"));
    let cause = cause.unwrap_or_default();
    format!("the center's lease was not renewed in time{cause}")
}

/// What the loop tells the worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Told {
    /// The store said that another leads.
    Deposed,
    /// An agent has seen this epoch.
    Raise(Epoch),
    /// An operator wants another center to lead.
    StepDown,
}

/// How a center contends.
pub(super) struct Seat {
    /// The store.
    pub store: Store,
    /// Shared with the loop.
    pub tenure: Tenure,
    /// The loop.
    pub inbox: Inbox,
    /// How often the lease is renewed.
    pub every: Duration,
    /// What other centers are told of this one.
    pub row: CenterRow,
}

/// Why a center leads no more.
enum End {
    Stopped,
    Lost,
    SteppedDown(Epoch),
}

impl Seat {
    /// Contends and leads for as long as the center runs.
    pub(super) fn start(self, workers: &Workers) -> mpsc::Sender<Told> {
        let (tell, told) = mpsc::channel(16);
        let stop = workers.token().clone();
        let seat = Arc::new(self);
        if seat.store.has_lease() {
            let (this, stop) = (Arc::clone(&seat), stop.clone());
            workers.spawn("tenure", async move {
                stop.run_until_cancelled(this.watch_clock()).await;
            });
            let this = Arc::clone(&seat);
            let (tell, stop) = (tell.clone(), workers.token().clone());
            workers.spawn("roster", async move {
                stop.run_until_cancelled(this.keep_roster(tell)).await;
            });
        }
        workers.spawn("lease", async move { seat.contend(told, stop).await });
        tell
    }

    async fn contend(&self, mut told: mpsc::Receiver<Told>, stop: CancellationToken) {
        while let Some(Some(guard)) = stop.run_until_cancelled(self.take()).await {
            let end = self.lead(guard, &mut told, &stop).await;
            self.tenure.set_epoch(Epoch(0));
            if matches!(end, End::Stopped) {
                return;
            }
            self.tell(Incoming::Deposed).await;
            if let End::SteppedDown(epoch) = end {
                let resting = tokio::time::timeout(self.every * 5, self.see_higher(epoch));
                // Where nobody takes it this center tries again.
                if stop.run_until_cancelled(resting).await.is_none() {
                    return;
                }
            }
        }
    }

    /// Waits until another center has taken the lead that this one gave up.
    async fn see_higher(&self, epoch: Epoch) {
        loop {
            let rows = rows(&self.store).await.unwrap_or_default();
            if rows.iter().any(|row| row.epoch > epoch) {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits for the lead; none where the store will never give it.
    async fn take(&self) -> Option<LeaseGuard> {
        let mut told = String::new();
        loop {
            let sent = clock::boot_time();
            let pause = match self.store.try_take_lead(&self.tenure.inner.holder).await {
                Ok(Lead::Taken(guard)) => {
                    self.tenure.renewed(sent);
                    return Some(guard);
                }
                Ok(Lead::Held { holder, left, .. }) => {
                    if told != holder {
                        info!(holder, "another center has the lead; standing by");
                        told = holder;
                        self.tell(Incoming::StandsBy).await;
                    }
                    left.clamp(LOOK / 30, LOOK)
                }
                Err(fault) if !self.store.has_lease() => {
                    self.tell(Incoming::Fatal(fault)).await;
                    return None;
                }
                Err(fault) => {
                    let text = fault.to_string();
                    if told != text {
                        warn!("the lead cannot be asked for: {text}");
                        self.tell(Incoming::StandsBy).await;
                        told.clone_from(&text);
                    }
                    self.tell(Incoming::Event(Event::StoreSilent(text))).await;
                    AGAIN
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Leads from here on. The loop hears of it with what the store holds, read under the new lead.
    async fn lead(
        &self,
        guard: LeaseGuard,
        told: &mut mpsc::Receiver<Told>,
        stop: &CancellationToken,
    ) -> End {
        let Some(mut guard) = self.above_seen(guard).await else {
            return End::Lost;
        };
        loop {
            let snapshot = match self.load(&guard).await {
                Ok(snapshot) => Box::new(snapshot),
                Err(fault) if !self.store.has_lease() => {
                    self.tell(Incoming::Fatal(fault)).await;
                    return End::Stopped;
                }
                Err(fault) => {
                    warn!("the lead was taken, but the store cannot be read: {fault}");
                    self.release(&guard).await;
                    return End::Lost;
                }
            };
            self.tenure.set_epoch(guard.epoch);
            let leads = Incoming::Leads(guard.clone(), snapshot);
            self.tell(leads).await;
            match self.keep(&guard, told, stop).await {
                Ok(end) => return end,
                Err(above) => match self.raise(&guard, above).await {
                    Some(raised) => guard = raised,
                    None => return End::Lost,
                },
            }
        }
    }

    /// The lead with an epoch above all that this center knows of; none where it is lost.
    async fn above_seen(&self, guard: LeaseGuard) -> Option<LeaseGuard> {
        let seen = self.tenure.seen();
        if guard.epoch > seen {
            return Some(guard);
        }
        warn!(
            epoch = guard.epoch.0,
            seen = seen.0,
            "the database has forgotten a lead"
        );
        self.raise(&guard, seen).await
    }

    async fn raise(&self, guard: &LeaseGuard, above: Epoch) -> Option<LeaseGuard> {
        match self.store.raise_epoch(guard, above).await {
            Ok(raised) => Some(raised),
            Err(fault) => {
                warn!("the epoch was not raised above {above}: {fault}");
                self.release(guard).await;
                None
            }
        }
    }

    /// Reads the store, and renews the lease meanwhile.
    async fn load(&self, guard: &LeaseGuard) -> Result<Snapshot, StoreError> {
        let mut loading = Box::pin(self.store.load());
        loop {
            match tokio::time::timeout(self.every, &mut loading).await {
                Ok(loaded) => return loaded,
                Err(_elapsed) => self.renew(guard).await?,
            }
        }
    }

    async fn renew(&self, guard: &LeaseGuard) -> Result<(), StoreError> {
        let sent = clock::boot_time();
        self.store.renew(guard).await?;
        self.tenure.renewed(sent);
        Ok(())
    }

    /// Renews until the lead ends, or has to be taken above an epoch.
    async fn keep(
        &self,
        guard: &LeaseGuard,
        told: &mut mpsc::Receiver<Told>,
        stop: &CancellationToken,
    ) -> Result<End, Epoch> {
        let mut failed = 0;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.release(guard).await;
                    return Ok(End::Stopped);
                }
                Some(said) = told.recv() => match said {
                    Told::Deposed => return Ok(End::Lost),
                    Told::Raise(above) if above >= guard.epoch => return Err(above),
                    Told::Raise(_) => continue,
                    Told::StepDown => {
                        // First the loop, so that nothing is planned that could not be written.
                        self.tell(Incoming::Deposed).await;
                        self.release(guard).await;
                        return Ok(End::SteppedDown(guard.epoch));
                    }
                },
                () = tokio::time::sleep(self.every) => {}
            }
            if !self.store.has_lease() {
                continue;
            }
            match self.renew(guard).await {
                Ok(()) => failed = 0,
                Err(StoreError::NotLeader) => return Ok(End::Lost),
                Err(fault) => {
                    failed += 1;
                    if failed == 1 {
                        warn!("the lease was not renewed: {fault}");
                    }
                    if failed >= SILENT || self.tenure.is_over(clock::boot_time()) {
                        let silent = Event::StoreSilent(fault.to_string());
                        self.tell(Incoming::Event(silent)).await;
                    }
                }
            }
        }
    }

    async fn release(&self, guard: &LeaseGuard) {
        // Where the store does not answer the lease ends by itself.
        if let Err(fault) = self.store.release(guard).await {
            warn!("the lead was not given back: {fault}");
        }
    }

    /// Wakes the loop when the lease has run out by the own clock, whatever else waits.
    async fn watch_clock(&self) {
        loop {
            let now = clock::boot_time();
            match self.tenure.ends() {
                Some(end) if end > now => {
                    tokio::time::sleep(end.saturating_sub(now)).await;
                }
                _ => {
                    if self.tenure.epoch() > Epoch(0) {
                        self.tell(Incoming::Look).await;
                    }
                    tokio::time::sleep(self.every).await;
                }
            }
        }
    }

    /// Writes the own row, reads those of all, and hears when this center is asked to give up the lead.
    async fn keep_roster(&self, tell: mpsc::Sender<Told>) {
        loop {
            if let Err(fault) = self.meet(&tell).await {
                // That the store does not answer is said where the lead is renewed.
                tracing::debug!("the other centers were not looked at: {fault}");
            }
            tokio::time::sleep(self.every).await;
        }
    }

    async fn meet(&self, tell: &mpsc::Sender<Told>) -> Result<(), StoreError> {
        let epoch = self.tenure.epoch();
        let own = CenterRow {
            epoch,
            seen_at: clock::now(),
            ..self.row.clone()
        };
        put_row(&self.store, &own).await?;
        let rows = rows(&self.store).await?;
        for row in &rows {
            self.tenure.see(row.epoch);
        }
        let renewed = self.tenure.last().filter(|_| epoch > Epoch(0));
        let roster = Roster::new(&own, rows, renewed);
        self.tell(Incoming::Event(Event::Centers(Box::new(roster))))
            .await;
        let asked = self.store.meta(STEP_DOWN).await?;
        if epoch > Epoch(0) && asked == Some(step_down_text(&own.id, epoch)) {
            info!("asked to give up the lead");
            // Where the worker is gone the center is stopping.
            let _ = tell.send(Told::StepDown).await;
        }
        Ok(())
    }

    async fn tell(&self, incoming: Incoming) {
        // Where the loop is gone the center is stopping.
        let _ = self.inbox.send(incoming).await;
    }
}

/// What is written to ask a center to give up the lead that it has with this epoch.
pub(super) fn step_down_text(id: &str, epoch: Epoch) -> String {
    format!("{id} {epoch}")
}

/// Writes what a center says of itself.
async fn put_row(store: &Store, row: &CenterRow) -> Result<(), StoreError> {
    let text = serde_json::to_string(row).unwrap_or_default();
    store.set_meta(&format!("{PREFIX}{}", row.id), &text).await
}

/// What all centers say of themselves; a row of another program's version that cannot be read is left out.
pub(super) async fn rows(store: &Store) -> Result<Vec<CenterRow>, StoreError> {
    let found = store.metas(PREFIX).await?;
    let read = |(_, text): &(String, String)| serde_json::from_str(text).ok();
    Ok(found.iter().filter_map(read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_stops_before_its_lease_ends() {
        let tenure = Tenure::new(Some(Duration::from_secs(3)), "c1".to_owned());
        tenure.renewed(Duration::from_secs(10));
        tenure.renewed(Duration::from_secs(9));
        assert!(!tenure.is_over(Duration::from_millis(12_499)));
        assert!(tenure.is_over(Duration::from_millis(12_500)));
        assert_eq!(tenure.guard(Duration::from_secs(12)), None);
        tenure.set_epoch(Epoch(4));
        let guard = tenure.guard(Duration::from_secs(12));
        assert_eq!(guard.map(|guard| guard.epoch), Some(Epoch(4)));
        assert_eq!(tenure.guard(Duration::from_secs(13)), None);
        assert!(!Tenure::new(None, String::new()).is_over(Duration::from_secs(99)));
    }
}
