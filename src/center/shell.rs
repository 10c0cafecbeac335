//! The one loop of the center: sockets, timer and store become events; effects are carried out. Owns the links
//! and the core; decides nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::core::Core;
use super::dialling::Dialling;
use super::event::{Effect, Event, Issue, LogLevel, SessionId};
use super::notify::Notifier;
use super::run::{RunError, now};
use crate::auth::Authority;
use crate::clock::{self, Alarm};
use crate::model::{Epoch, PeerUri, UnixMs};
use crate::proto::agent::ToAgent;
use crate::proto::client::ToClient;
use crate::proto::hello::{ErrorFrame, LinkError};
use crate::proto::join::{Joined, ToJoiner};
use crate::proto::link::{LinkSender, SendFault};
use crate::store::{LeaseGuard, Store, StoreError, Write};
use crate::workers::Workers;

/// Events that wait for the loop at most; links that bring more wait.
const INBOX: usize = 4096;

/// The sending end of a connection.
#[derive(Debug)]
pub(super) enum Outlet {
    /// To an agent.
    Agent(LinkSender<ToAgent>),
    /// To a client.
    Client(LinkSender<ToClient>),
    /// To a joiner, who gets one answer.
    Joiner(oneshot::Sender<ToJoiner>),
}

/// What comes into the loop.
#[derive(Debug)]
pub(super) enum Incoming {
    /// An event for the core.
    Event(Event),
    /// A new connection, and the event that tells of it.
    Connected(SessionId, Outlet, Event),
    /// The lead is lost.
    Deposed,
}

/// Where everything that happens is sent.
pub(super) type Inbox = mpsc::Sender<Incoming>;

/// The loop's state.
pub(super) struct Shell {
    core: Core,
    store: Store,
    guard: LeaseGuard,
    authority: Authority,
    addresses: Vec<String>,
    workers: Workers,
    links: BTreeMap<SessionId, Outlet>,
    inbox: Inbox,
    incoming: mpsc::Receiver<Incoming>,
    alarm: Alarm,
    dialling: Option<Dialling>,
    notifier: Option<Notifier>,
}

impl Shell {
    pub(super) fn new(
        core: Core,
        store: Store,
        guard: LeaseGuard,
        authority: Authority,
        addresses: Vec<String>,
        workers: Workers,
    ) -> Result<(Self, Inbox), RunError> {
        let (inbox, incoming) = mpsc::channel(INBOX);
        let alarm = Alarm::new().map_err(|source| RunError::System {
            attempt: "make a timer",
            source,
        })?;
        let links = BTreeMap::new();
        let shell = Self {
            core,
            store,
            guard,
            authority,
            addresses,
            workers,
            links,
            inbox: inbox.clone(),
            incoming,
            alarm,
            dialling: None,
            notifier: None,
        };
        Ok((shell, inbox))
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.guard.epoch
    }

    /// Runs until told to stop; dials agents and starts notify commands meanwhile.
    pub(super) async fn run(
        mut self,
        dialling: Dialling,
        notifier: Notifier,
    ) -> Result<(), RunError> {
        self.dialling = Some(dialling);
        self.notifier = Some(notifier);
        let stop = self.workers.token().clone();
        self.handle(Event::Wake);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                rung = self.alarm.wait() => {
                    rung.map_err(|source| RunError::System { attempt: "wait for a timer", source })?;
                    self.handle(Event::Wake);
                }
                incoming = self.incoming.recv() => match incoming {
                    None => return Ok(()),
                    Some(Incoming::Event(event)) => self.handle(event),
                    Some(Incoming::Connected(session, outlet, event)) => {
                        self.links.insert(session, outlet);
                        self.handle(event);
                    }
                    Some(Incoming::Deposed) => {
                        error!("another center has taken the lead in this store");
                        return Err(RunError::Deposed);
                    }
                },
            }
        }
    }

    fn handle(&mut self, event: Event) {
        if let Event::AgentDown(session, _) | Event::ClientDown(session) = &event {
            self.links.remove(session);
        }
        for effect in self.core.handle(now(), event) {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Commit(writes) => self.commit(writes),
            Effect::Load => {
                let store = self.store.clone();
                self.ask_store("load", async move {
                    Event::Loaded(
                        store
                            .load()
                            .await
                            .map(Box::new)
                            .map_err(|fault| fault.to_string()),
                    )
                });
            }
            Effect::ReadRuns(ticket, query) => {
                let store = self.store.clone();
                self.ask_store("read runs", async move {
                    Event::RunsRead(
                        ticket,
                        store.runs(query).await.map_err(|fault| fault.to_string()),
                    )
                });
            }
            Effect::ReadAudit(ticket, groups, limit) => {
                let store = self.store.clone();
                self.ask_store("read audit", async move {
                    Event::AuditRead(
                        ticket,
                        store
                            .audit(groups, limit)
                            .await
                            .map_err(|fault| fault.to_string()),
                    )
                });
            }
            Effect::ToAgent(session, frame) => self.send_agent(session, &frame),
            Effect::ToClient(session, frame) => self.send_client(session, &frame),
            Effect::Close(session, frame) => self.close(session, frame),
            Effect::Issue(session, issue) => self.issue(session, &issue),
            Effect::Add(ticket, address, key) => {
                if let Some(dialling) = &self.dialling {
                    dialling.add(ticket, &address, key);
                }
            }
            Effect::Dial(agents) => {
                if let Some(dialling) = &mut self.dialling {
                    dialling.set(agents);
                }
            }
            Effect::Notify(route, notice) => {
                if let Some(notifier) = &mut self.notifier {
                    notifier.notify(route, notice);
                }
            }
            Effect::Keep(text) => {
                if let Some(notifier) = &self.notifier {
                    notifier.keep(text);
                }
            }
            Effect::Alarm(at) => self.set_alarm(at),
            Effect::Log(LogLevel::Info, text) => info!("{text}"),
            Effect::Log(LogLevel::Warn, text) => warn!("{text}"),
        }
    }

    fn commit(&mut self, writes: Vec<Write>) {
        let (store, guard, inbox) = (self.store.clone(), self.guard.clone(), self.inbox.clone());
        self.workers.spawn("commit", async move {
            let done = match store.commit(&guard, writes, clock::now()).await {
                Err(StoreError::NotLeader) => Incoming::Deposed,
                other => {
                    Incoming::Event(Event::Committed(other.map_err(|fault| fault.to_string())))
                }
            };
            // Where the loop is gone the center is stopping.
            let _ = inbox.send(done).await;
        });
    }

    fn ask_store(
        &self,
        what: &'static str,
        question: impl Future<Output = Event> + Send + 'static,
    ) {
        let inbox = self.inbox.clone();
        self.workers.spawn(what, async move {
            let answer = question.await;
            // Where the loop is gone nobody waits for the answer.
            let _ = inbox.send(Incoming::Event(answer)).await;
        });
    }

    fn send_agent(&mut self, session: SessionId, frame: &ToAgent) {
        if let Some(Outlet::Agent(link)) = self.links.get(&session) {
            note(link.try_send(frame));
        }
    }

    fn send_client(&mut self, session: SessionId, frame: &ToClient) {
        if let Some(Outlet::Client(link)) = self.links.get(&session) {
            note(link.try_send(frame));
        }
    }

    fn close(&mut self, session: SessionId, frame: ErrorFrame) {
        match self.links.remove(&session) {
            Some(Outlet::Agent(link)) => link.close(Some(frame)),
            Some(Outlet::Client(link)) => link.close(Some(frame)),
            // A joiner that is gone needs no answer.
            Some(Outlet::Joiner(answer)) => drop(answer.send(ToJoiner::Error(frame))),
            None => {}
        }
    }

    fn issue(&mut self, session: SessionId, issue: &Issue) {
        let fleet = self.core.fleet_id().clone();
        let uri = PeerUri {
            fleet: fleet.clone(),
            role: issue.role,
            id: issue.id.clone(),
        };
        let answer = match self.authority.issue(&issue.request, &uri, clock::now()) {
            Ok(issued) => ToJoiner::Joined(Joined {
                fleet: fleet.to_string(),
                name: issue.name.clone(),
                certificate: issued.certificate,
                centers: self.addresses.clone(),
            }),
            Err(fault) => ToJoiner::Error(ErrorFrame {
                code: LinkError::UnknownMessage,
                message: fault.to_string(),
            }),
        };
        if let Some(Outlet::Joiner(joiner)) = self.links.remove(&session) {
            // As above.
            drop(joiner.send(answer));
        }
    }

    fn set_alarm(&self, at: UnixMs) {
        let now = now();
        let ahead = Duration::from_millis((at.0 - now.at.0).max(0).unsigned_abs());
        if let Err(fault) = self.alarm.set(Some(now.mono + ahead)) {
            error!("cannot set the timer: {fault}");
        }
    }
}

/// A message that cannot be sent is our own fault; a link that is closed tells of itself.
fn note(sent: Result<(), SendFault>) {
    if let Err(SendFault::Message(fault)) = sent {
        error!("a message was not sent: {fault}");
    }
}
