//! The session's worker: owns the link, numbers the requests, hands answers and items to those who wait.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::dial::{self, Dial};
use super::wire::{Broken, Wire};
use crate::cli::fault::{Fault, FaultCode};
use crate::model::RequestId;
use crate::proto::client::{Cancel, Credit, FromClient, RequestFrame, ToClient};
use crate::proto::hello::Welcome;
use crate::proto::request::{Answer, Item, Request};

/// What the session's handles want.
#[derive(Debug)]
pub(super) enum Order {
    /// Ask, and send the answer there.
    Ask(Box<Request>, oneshot::Sender<Result<Answer, Fault>>),
    /// Open a stream, send its items there and its number to the last.
    Open(
        Box<Request>,
        mpsc::UnboundedSender<Result<Item, Fault>>,
        oneshot::Sender<u64>,
    ),
    /// So many items of this stream were taken.
    Credit(u64, u64),
    /// Nobody reads this stream any more.
    Cancel(u64),
}

/// A request that is not answered yet.
struct Question {
    frame: RequestFrame,
    reply: oneshot::Sender<Result<Answer, Fault>>,
    /// Whether it was sent over an earlier link already.
    repeated: bool,
}

/// The worker's state.
pub(super) struct Pump {
    dial: Box<dyn Dial>,
    timeout: Duration,
    inbox: mpsc::UnboundedReceiver<Order>,
    wire: Option<Wire>,
    next_id: u64,
    questions: BTreeMap<u64, Question>,
    streams: BTreeMap<u64, mpsc::UnboundedSender<Result<Item, Fault>>>,
}

enum Event {
    Order(Option<Order>),
    Frame(Result<ToClient, Broken>),
}

impl Pump {
    /// Dials for the first time.
    pub(super) async fn connect(
        dial: Box<dyn Dial>,
        timeout: Duration,
        inbox: mpsc::UnboundedReceiver<Order>,
    ) -> Result<(Self, Welcome), Fault> {
        let (wire, welcome) = dial::reach(dial.as_ref(), timeout).await?;
        let pump = Self {
            dial,
            timeout,
            inbox,
            wire: Some(wire),
            next_id: 1,
            questions: BTreeMap::new(),
            streams: BTreeMap::new(),
        };
        Ok((pump, welcome))
    }

    /// Runs until all handles of the session are gone.
    pub(super) async fn run(mut self) {
        loop {
            match self.wait().await {
                Event::Order(None) => return,
                Event::Order(Some(order)) => self.obey(order).await,
                Event::Frame(Ok(frame)) => self.deliver(frame),
                Event::Frame(Err(broken)) => self.recover(broken).await,
            }
        }
    }

    async fn wait(&mut self) -> Event {
        match &mut self.wire {
            None => Event::Order(self.inbox.recv().await),
            Some(wire) => tokio::select! {
                order = self.inbox.recv() => Event::Order(order),
                frame = wire.receive() => Event::Frame(frame),
            },
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Ask(request, reply) => {
                let frame = self.number(*request);
                let id = frame.id;
                let repeated = false;
                self.questions.insert(
                    id,
                    Question {
                        frame,
                        reply,
                        repeated,
                    },
                );
                self.send_question(id).await;
            }
            Order::Open(request, items, number) => {
                let frame = self.number(*request);
                let _ = number.send(frame.id);
                self.streams.insert(frame.id, items);
                self.send(FromClient::Request(Box::new(frame))).await;
            }
            Order::Credit(id, items) if self.streams.contains_key(&id) => {
                self.send(FromClient::Credit(Credit { id, items })).await;
            }
            Order::Cancel(id) if self.streams.remove(&id).is_some() => {
                self.send(FromClient::Cancel(Cancel { id })).await;
            }
            Order::Credit(..) | Order::Cancel(_) => {}
        }
    }

    fn number(&mut self, ask: Request) -> RequestFrame {
        let id = self.next_id;
        self.next_id += 1;
        let request_id = if ask.is_change() { request_id() } else { None };
        RequestFrame {
            id,
            request_id,
            ask,
        }
    }

    async fn send_question(&mut self, id: u64) {
        if let Some(question) = self.questions.get(&id) {
            let frame = FromClient::Request(Box::new(question.frame.clone()));
            self.send(frame).await;
        }
    }

    /// Sends over the link, dialling first where there is none.
    async fn send(&mut self, frame: FromClient) {
        if self.wire.is_none() && !self.redial().await {
            return;
        }
        if let Some(wire) = &mut self.wire
            && let Err(broken) = wire.send(&frame).await
        {
            Box::pin(self.recover(broken)).await;
        }
    }

    async fn redial(&mut self) -> bool {
        match dial::reach(self.dial.as_ref(), self.timeout).await {
            Ok((wire, _)) => {
                self.wire = Some(wire);
                true
            }
            Err(fault) => {
                self.fail_all(&fault);
                false
            }
        }
    }

    /// The link is of no use: streams end, questions are asked once more over a new one.
    async fn recover(&mut self, broken: Broken) {
        self.wire = None;
        let is_final = matches!(broken, Broken::Final(_));
        let fault = broken.fault();
        for (_, items) in std::mem::take(&mut self.streams) {
            let _ = items.send(Err(fault.clone()));
        }
        let asked = std::mem::take(&mut self.questions);
        let (again, failed): (BTreeMap<_, _>, BTreeMap<_, _>) = asked
            .into_iter()
            .partition(|(_, question)| !question.repeated && !is_final);
        for (_, question) in failed {
            let _ = question.reply.send(Err(fault.clone()));
        }
        self.questions = again;
        for question in self.questions.values_mut() {
            question.repeated = true;
        }
        let ids: Vec<u64> = self.questions.keys().copied().collect();
        for id in ids {
            self.send_question(id).await;
        }
    }

    fn fail_all(&mut self, fault: &Fault) {
        for (_, question) in std::mem::take(&mut self.questions) {
            let _ = question.reply.send(Err(fault.clone()));
        }
        for (_, items) in std::mem::take(&mut self.streams) {
            let _ = items.send(Err(fault.clone()));
        }
    }

    /// Hands a frame to whom it is for; one that nobody waits for any more is dropped.
    fn deliver(&mut self, frame: ToClient) {
        match frame {
            ToClient::Answer(frame) => self.reply(frame.id, Ok(frame.answer)),
            ToClient::Refused(frame) => self.refuse(frame.id, frame.refusal.into()),
            ToClient::Item(frame) => {
                if let Some(items) = self.streams.get(&frame.id) {
                    let _ = items.send(Ok(frame.item));
                }
            }
            ToClient::End(frame) => {
                if let (Some(items), Some(refusal)) =
                    (self.streams.remove(&frame.id), frame.refusal)
                {
                    let _ = items.send(Err(refusal.into()));
                }
            }
            ToClient::Welcome(_) | ToClient::Error(_) => {}
        }
    }

    fn refuse(&mut self, id: u64, fault: Fault) {
        match self.streams.remove(&id) {
            Some(items) => drop(items.send(Err(fault))),
            None => self.reply(id, Err(fault)),
        }
    }

    fn reply(&mut self, id: u64, answer: Result<Answer, Fault>) {
        if let Some(question) = self.questions.remove(&id) {
            let _ = question.reply.send(answer);
        } else if let Some(items) = self.streams.remove(&id) {
            let _ = items.send(Err(answer.err().unwrap_or_else(|| {
                Fault::new(
                    FaultCode::Protocol,
                    "the center answered where a stream was asked for",
                )
            })));
        }
    }
}

fn request_id() -> Option<RequestId> {
    ulid::Ulid::generate().to_string().parse().ok()
}
