//! One thread that owns one connection and carries out what it is sent, in order. It ends when the last
//! sender is gone or when it is told to.

use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::store::StoreError;

/// Calls that may wait before callers wait themselves.
const QUEUE: usize = 64;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

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
    /// Starts the thread `name` (at most 15 bytes, as the kernel shows them) on this connection.
    pub(super) fn start(name: &str, connection: Connection) -> Result<Self, StoreError> {
        let (orders, inbox) = mpsc::channel(QUEUE);
        let thread = Builder::new()
            .name(name.to_owned())
            .spawn(move || serve(connection, inbox))
            .map_err(|e| StoreError::Statement {
                cause: format!("cannot start the thread `{name}`: {e}"),
            })?;
        Ok(Self {
            orders,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Has `job` carried out on the connection, and waits for what it returns.
    pub(super) async fn call<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, wait) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // The caller may have gone; the work counts all the same.
            let _ = answer.send(job(connection));
        });
        let sent = self.orders.send(Order::Do(job)).await;
        sent.map_err(|_| StoreError::Closed)?;
        wait.await.map_err(|_| StoreError::Closed)?
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

fn serve(mut connection: Connection, mut inbox: mpsc::Receiver<Order>) {
    while let Some(Order::Do(job)) = inbox.blocking_recv() {
        job(&mut connection);
    }
    // The inbox goes last: whoever waits for its end finds the database closed.
    drop(connection);
    drop(inbox);
}
