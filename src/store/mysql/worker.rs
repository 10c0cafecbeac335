//! One thread that owns one session with the database server and carries out what it is sent, in order, on a
//! runtime of its own: a call once made is carried out even if its future is dropped. Ends when the last sender
//! is gone or when it is told to.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use tokio::sync::{mpsc, oneshot};

use super::session::Session;
use crate::store::StoreError;

/// Calls that may wait before callers wait themselves.
const QUEUE: usize = 64;

type Work<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;
type Job = Box<dyn for<'a> FnOnce(&'a mut Session) -> Work<'a> + Send>;

enum Order {
    Do(Job),
    Stop,
}

/// The sending side of such a thread.
pub(super) struct Worker {
    orders: mpsc::Sender<Order>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    /// Starts the thread `name` (at most 15 bytes, as the kernel shows them); the session connects when needed.
    pub(super) fn start(name: &str, session: Session) -> Result<Self, StoreError> {
        let fault = |what: &str, e: std::io::Error| StoreError::Statement {
            cause: format!("cannot start {what} `{name}`: {e}"),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| fault("the runtime of", e))?;
        let (orders, inbox) = mpsc::channel(QUEUE);
        let thread = Builder::new()
            .name(name.to_owned())
            .spawn(move || runtime.block_on(serve(session, inbox)))
            .map_err(|e| fault("the thread", e))?;
        Ok(Self {
            orders,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Has `job` carried out in the session, and waits for what it returns.
    pub(super) async fn call<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: AsyncFnOnce(&mut Session) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, wait) = oneshot::channel();
        let job: Job = Box::new(move |session| {
            Box::pin(async move {
                // The caller may have gone; the work counts all the same.
                let _ = answer.send(job(session).await);
            })
        });
        let sent = self.orders.send(Order::Do(job)).await;
        sent.map_err(|_| StoreError::Closed)?;
        wait.await.map_err(|_| StoreError::Closed)?
    }

    /// Whether it was ended.
    pub(super) fn is_stopped(&self) -> bool {
        self.orders.is_closed()
    }

    /// Ends the thread after what was sent before; returns when it is gone.
    pub(super) async fn stop(&self) {
        // An error means that it has ended already.
        let _ = self.orders.send(Order::Stop).await;
        self.orders.closed().await;
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // A panic of the thread was reported by its hook; callers got `Closed`.
            let _ = thread.join();
        }
    }
}

async fn serve(mut session: Session, mut inbox: mpsc::Receiver<Order>) {
    while let Some(Order::Do(job)) = inbox.recv().await {
        job(&mut session).await;
    }
    session.close().await;
    // The inbox goes last: whoever waits for its end finds the connection closed.
    drop(inbox);
}
