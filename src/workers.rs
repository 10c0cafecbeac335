//! Workers: the only caller of `tokio::spawn`. Every spawned future has a name, shares one stop token, and is
//! drained at the end. A panic ends only the worker it happened in.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

/// All workers of one program. Clones are handles to the same set.
#[derive(Clone, Debug, Default)]
pub struct Workers {
    tracker: TaskTracker,
    stop: CancellationToken,
    live: Arc<Mutex<Live>>,
}

#[derive(Debug, Default)]
struct Live {
    next: u64,
    named: BTreeMap<u64, (String, Option<AbortHandle>)>,
}

impl Workers {
    /// No workers yet. Spawning needs a runtime around it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a worker. It should end soon after [`Workers::token`] is cancelled. A panic is logged with the
    /// worker's name and ends it alone.
    pub fn spawn(
        &self,
        name: impl Into<String>,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Worker {
        let name = name.into();
        let entry = self.enter(name.clone());
        let id = entry.id;
        let guarded = async move {
            let _entry = entry;
            if let Err(panic) = Unwinding(Box::pin(work)).await {
                error!(
                    worker = name,
                    panic = text_of(panic.as_ref()),
                    "a worker panicked"
                );
            }
        };
        #[allow(
            clippy::disallowed_methods,
            reason = "this file is the one that spawns"
        )]
        let handle = tokio::spawn(self.tracker.track_future(guarded)).abort_handle();
        if let Some((_, abort)) = lock(&self.live).named.get_mut(&id) {
            *abort = Some(handle.clone());
        }
        Worker { handle }
    }

    fn enter(&self, name: String) -> Entry {
        let mut live = lock(&self.live);
        let id = live.next;
        live.next += 1;
        live.named.insert(id, (name, None));
        Entry {
            id,
            live: Arc::clone(&self.live),
        }
    }

    /// Cancelled when all workers shall end; take a child of it for a part of them.
    pub fn token(&self) -> &CancellationToken {
        &self.stop
    }

    /// Returns once [`Workers::stop`] was called.
    pub async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    /// Tells all workers to end.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Stops and waits until all have ended; after `limit` warns once, naming those left, and ends them where
    /// they wait. Returns whether all ended by themselves.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.stop();
        self.tracker.close();
        if tokio::time::timeout(limit, self.tracker.wait())
            .await
            .is_ok()
        {
            return true;
        }
        let left: Vec<_> = lock(&self.live).named.values().cloned().collect();
        let names: Vec<_> = left.iter().map(|(name, _)| name.as_str()).collect();
        warn!(
            workers = names.join(", "),
            ?limit,
            "workers did not end in time"
        );
        left.iter()
            .filter_map(|(_, abort)| abort.as_ref())
            .for_each(AbortHandle::abort);
        false
    }
}

/// One worker's handle; dropping it changes nothing.
#[derive(Debug, Clone)]
pub struct Worker {
    handle: AbortHandle,
}

impl Worker {
    /// Ends the worker where it waits.
    pub fn abort(&self) {
        self.handle.abort();
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }
}

/// A worker's place in the table; leaves it however the worker ends.
struct Entry {
    id: u64,
    live: Arc<Mutex<Live>>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        lock(&self.live).named.remove(&self.id);
    }
}

fn lock(live: &Mutex<Live>) -> MutexGuard<'_, Live> {
    // Nothing in here panics half-way, so a poisoned table is still whole.
    live.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a future and returns its panic instead of passing it on.
struct Unwinding<F>(Pin<Box<F>>);

impl<F: Future<Output = ()>> Future for Unwinding<F> {
    type Output = Result<(), Box<dyn Any + Send>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // After a panic the future is never polled again, so nobody sees what it broke.
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(context))) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_panic_ends_only_its_own_worker() {
        let workers = Workers::new();
        let token = workers.token().clone();
        workers.spawn("bad", async { panic!("on purpose") });
        let good = workers.spawn("good", async move { token.cancelled().await });
        assert!(!good.is_finished());
        assert!(workers.drain(SOON).await);
        assert!(lock(&workers.live).named.is_empty());
    }

    #[tokio::test]
    async fn a_worker_that_does_not_end_is_named_and_ended() {
        let workers = Workers::new();
        let stuck = workers.spawn("stuck", std::future::pending());
        assert!(!workers.drain(Duration::from_millis(10)).await);
        tokio::time::timeout(SOON, workers.tracker.wait())
            .await
            .unwrap();
        assert!(stuck.is_finished());
    }
}
