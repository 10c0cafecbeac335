//! A client's session with its centers: questions and orders go out, answers and items come back, several at a
//! time over one link. Commands and the dashboard use nothing else of the network.
//!
//! A link that breaks is dialled again when it is needed. What was asked and not answered then is asked once
//! more: changing requests carry an id by which the center knows them again. Streams end; whoever reads one
//! opens it anew from where it was.

mod dial;
mod pump;
mod wire;

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::fault::{Fault, FaultCode};
use crate::proto::client::ITEM_WINDOW;
use crate::proto::hello::Welcome;
use crate::proto::request::{Answer, Item, Request};
use crate::workers::Workers;

pub use dial::{Centers, Dial, Duplex, Opening};
use pump::{Order, Pump};

/// A session. Clones are handles to the same one; the link is closed when the last is gone.
#[derive(Clone, Debug)]
pub struct Session {
    orders: mpsc::UnboundedSender<Order>,
    welcome: Welcome,
}

impl Session {
    /// Dials all centers, takes the first that leads (else the first that answers) within `timeout`.
    pub async fn connect(
        dial: impl Dial + 'static,
        timeout: Duration,
        workers: &Workers,
    ) -> Result<Self, Fault> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let (pump, welcome) = Pump::connect(Box::new(dial), timeout, inbox).await?;
        workers.spawn("session", pump.run());
        Ok(Self { orders, welcome })
    }

    /// What the center said when the session began.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Asks now; the answer may be awaited later, so that several questions are under way at once.
    pub fn begin(&self, request: Request) -> Pending {
        let (reply, answer) = oneshot::channel();
        // Where the pump is gone, the reply's end is dropped and the answer says so.
        let _ = self.orders.send(Order::Ask(Box::new(request), reply));
        Pending(answer)
    }

    /// Asks and waits for the answer.
    pub async fn ask(&self, request: Request) -> Result<Answer, Fault> {
        self.begin(request).answer().await
    }

    /// Opens a stream: `LogRead` or `Events`. Dropping it tells the center that nobody reads any more.
    pub fn stream(&self, request: Request) -> Items {
        let (sender, inbox) = mpsc::unbounded_channel();
        let (number, id) = oneshot::channel();
        let _ = self
            .orders
            .send(Order::Open(Box::new(request), sender, number));
        Items {
            inbox,
            orders: self.orders.clone(),
            number: Some(id),
            id: None,
            taken: 0,
        }
    }
}

/// An answer under way.
#[derive(Debug)]
pub struct Pending(oneshot::Receiver<Result<Answer, Fault>>);

impl Pending {
    /// Waits for it.
    pub async fn answer(self) -> Result<Answer, Fault> {
        self.0.await.unwrap_or_else(|_| Err(gone()))
    }
}

fn gone() -> Fault {
    Fault::new(FaultCode::Unavailable, "the session is over")
}

/// Items taken before the center hears of it. Of output eight pieces are under way at most, so that this must be
/// less.
const CREDIT_AFTER: u64 = ITEM_WINDOW / 16;

/// A stream of items.
#[derive(Debug)]
pub struct Items {
    /// At most [`ITEM_WINDOW`] items wait here: the center sends no more without credit.
    inbox: mpsc::UnboundedReceiver<Result<Item, Fault>>,
    orders: mpsc::UnboundedSender<Order>,
    number: Option<oneshot::Receiver<u64>>,
    id: Option<u64>,
    taken: u64,
}

impl Items {
    /// The next item; none when the stream is over. After an error there is none. Dropping the future loses
    /// nothing.
    pub async fn next(&mut self) -> Option<Result<Item, Fault>> {
        let item = self.inbox.recv().await;
        self.taken += 1;
        if self.taken >= CREDIT_AFTER {
            self.give_credit();
        }
        item
    }

    fn give_credit(&mut self) {
        if let Some(id) = self.id() {
            let _ = self.orders.send(Order::Credit(id, self.taken));
            self.taken = 0;
        }
    }

    fn id(&mut self) -> Option<u64> {
        if self.id.is_none() {
            self.id = self
                .number
                .as_mut()
                .and_then(|number| number.try_recv().ok());
        }
        self.id
    }
}

impl Drop for Items {
    fn drop(&mut self) {
        if let Some(id) = self.id() {
            let _ = self.orders.send(Order::Cancel(id));
        }
    }
}

#[cfg(test)]
mod tests;
