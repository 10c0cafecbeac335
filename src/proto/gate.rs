//! Limits how many connections may be in their handshake at once. When there are more, the oldest goes first:
//! whoever opens connections and says nothing pushes out its own, good peers are through long before.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// Unfinished handshakes at most; each costs a descriptor and some 20 KiB.
pub const MAX_UNFINISHED: usize = 256;

/// The gate. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate {
    limit: usize,
    waiting: Arc<Mutex<VecDeque<(u64, CancellationToken)>>>,
    count: Arc<std::sync::atomic::AtomicU64>,
}

impl Gate {
    /// A gate for so many at once.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            waiting: Arc::default(),
            count: Arc::default(),
        }
    }

    /// Lets one more in; where that is one too many, the oldest is told to go.
    pub fn enter(&self) -> Pass {
        let id = self
            .count
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let token = CancellationToken::new();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push_back((id, token.clone()));
        if waiting.len() > self.limit
            && let Some((_, oldest)) = waiting.pop_front()
        {
            oldest.cancel();
        }
        Pass {
            id,
            token,
            gate: self.clone(),
        }
    }
}

/// One unfinished handshake; dropping it makes room.
#[derive(Debug)]
pub struct Pass {
    id: u64,
    token: CancellationToken,
    gate: Gate,
}

impl Pass {
    /// Does the handshake, unless this one has to go; then none.
    pub async fn through<T>(self, handshake: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.token.cancelled() => None,
            done = handshake => Some(done),
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut waiting = self
            .gate
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|(id, _)| *id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_goes_first_and_the_rest_do_not_notice() {
        let gate = Gate::new(2);
        let (one, two) = (gate.enter(), gate.enter());
        drop(gate.enter());
        assert_eq!(one.through(std::future::pending::<()>()).await, None);
        assert_eq!(two.through(async { 2 }).await, Some(2));
        let three = gate.enter();
        assert_eq!(three.through(async { 3 }).await, Some(3));
        assert!(gate.waiting.lock().unwrap().is_empty());
    }
}
