//! Connections coming in: TLS, the first message, and the reader of each. Unfinished handshakes are bounded in
//! number: the oldest goes first, never by address, so that nobody can be shut out by a neighbour.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::event::{Event, SessionId};
use super::shell::{Inbox, Incoming, Outlet};
use crate::model::{AgentId, OperatorId, PeerRole};
use crate::proto::agent::{FromAgent, ToAgent};
use crate::proto::client::{FromClient, ToClient};
use crate::proto::handshake::{self, FIRST_LIMIT, Greets, Welcomes, first_hello, first_join};
use crate::proto::hello::Hello;
use crate::proto::identity::PeerIdentity;
use crate::proto::link::{Bounds, Link, LinkFault, LinkReader};
use crate::workers::{Worker, Workers};

/// Handshakes under way at most.
const UNFINISHED: usize = 256;
/// A pause after an accept that failed (no descriptors left), so that it does not spin.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections. Clones are handles to the same.
#[derive(Clone)]
pub(super) struct Accept {
    config: Arc<ServerConfig>,
    inbox: Inbox,
    bounds: Bounds,
    workers: Workers,
    next: Arc<AtomicU64>,
    unfinished: Arc<Mutex<VecDeque<(u64, Worker)>>>,
}

impl Accept {
    pub(super) fn new(
        config: Arc<ServerConfig>,
        inbox: Inbox,
        max_frame: usize,
        workers: Workers,
    ) -> Self {
        Self {
            config,
            inbox,
            bounds: Bounds {
                max_frame,
                ..Bounds::default()
            },
            workers,
            next: Arc::new(AtomicU64::new(1)),
            unfinished: Arc::default(),
        }
    }

    /// Accepts on one address until the workers are told to stop.
    pub(super) fn listen(&self, listener: TcpListener) {
        let accept = self.clone();
        let stop = self.workers.token().clone();
        self.workers.spawn("listen", async move {
            while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
                match accepted {
                    Ok((stream, address)) => accept.begin(stream, address.to_string()),
                    Err(fault) => {
                        warn!("cannot accept a connection: {fault}");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        });
    }

    fn begin(&self, stream: TcpStream, address: String) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let accept = self.clone();
        let stop = self.workers.token().clone();
        let worker = self.workers.spawn(format!("link {address}"), async move {
            if let Some(Err(fault)) = stop
                .run_until_cancelled(accept.serve(id, stream, &address))
                .await
            {
                debug!(address, "{fault}");
            }
            accept.finished(id);
        });
        let mut unfinished = self
            .unfinished
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        unfinished.retain(|(_, worker)| !worker.is_finished());
        unfinished.push_back((id, worker));
        if unfinished.len() > UNFINISHED {
            if let Some((_, oldest)) = unfinished.pop_front() {
                oldest.abort();
            }
        }
    }

    fn finished(&self, id: u64) {
        let mut unfinished = self
            .unfinished
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        unfinished.retain(|(other, _)| *other != id);
    }

    async fn serve(&self, id: u64, stream: TcpStream, address: &str) -> Result<(), LinkFault> {
        // Frames are small and wanted at once; where that cannot be set they come a little later.
        let _ = stream.set_nodelay(true);
        let accepted = match handshake::accept(stream, &self.config, FIRST_LIMIT).await {
            Ok(accepted) => accepted,
            Err(fault) => {
                info!(address, "a connection was refused: {fault}");
                return Err(fault);
            }
        };
        match accepted.peer {
            None => {
                self.joiner(
                    id,
                    Link::new(accepted.stream, self.bounds),
                    accepted.deadline,
                    address,
                )
                .await
            }
            Some(peer) if peer.uri.role == PeerRole::Agent => {
                let link = Link::new(accepted.stream, self.bounds);
                self.agent(id, link, &peer, accepted.deadline, address)
                    .await
            }
            Some(peer) => {
                let link = Link::new(accepted.stream, self.bounds);
                self.client(id, link, &peer, accepted.deadline, address)
                    .await
            }
        }
    }

    async fn joiner(
        &self,
        id: u64,
        link: Link<crate::proto::join::ToJoiner, crate::proto::join::FromJoiner>,
        deadline: Instant,
        address: &str,
    ) -> Result<(), LinkFault> {
        let (mut link, join) = first_join(link, deadline).await?;
        self.finished(id);
        let session = SessionId(id);
        let (answer, answered) = oneshot::channel();
        let event = Event::Join {
            session,
            join,
            address: address.to_owned(),
        };
        self.tell(Incoming::Connected(session, Outlet::Joiner(answer), event))
            .await;
        if let Ok(answer) = answered.await {
            link.send(&answer).await?;
        }
        link.close(None).await;
        Ok(())
    }

    async fn agent(
        &self,
        id: u64,
        link: Link<ToAgent, FromAgent>,
        peer: &PeerIdentity,
        deadline: Instant,
        address: &str,
    ) -> Result<(), LinkFault> {
        let Ok(agent) = peer.uri.id.parse::<AgentId>() else {
            return Err(LinkFault::Unexpected("an agent's id"));
        };
        let session = SessionId(id);
        let up = |hello| Event::AgentUp {
            session,
            agent,
            hello,
            address: address.to_owned(),
        };
        let mut reader = self
            .open(session, link, peer, deadline, Outlet::Agent, up)
            .await?;
        let why = self
            .read(&mut reader, |frame| Event::AgentFrame(session, frame))
            .await;
        self.tell(Incoming::Event(Event::AgentDown(session, why)))
            .await;
        Ok(())
    }

    async fn client(
        &self,
        id: u64,
        link: Link<ToClient, FromClient>,
        peer: &PeerIdentity,
        deadline: Instant,
        address: &str,
    ) -> Result<(), LinkFault> {
        let Ok(operator) = peer.uri.id.parse::<OperatorId>() else {
            return Err(LinkFault::Unexpected("an operator's id"));
        };
        let session = SessionId(id);
        let up = |_| Event::ClientUp {
            session,
            operator,
            address: address.to_owned(),
        };
        let mut reader = self
            .open(session, link, peer, deadline, Outlet::Client, up)
            .await?;
        self.read(&mut reader, |frame| Event::ClientFrame(session, frame))
            .await;
        self.tell(Incoming::Event(Event::ClientDown(session))).await;
        Ok(())
    }

    /// Takes the hello, then hands the link to the loop.
    async fn open<Out: Welcomes, In: Greets>(
        &self,
        session: SessionId,
        link: Link<Out, In>,
        peer: &PeerIdentity,
        deadline: Instant,
        outlet: impl FnOnce(crate::proto::link::LinkSender<Out>) -> Outlet,
        up: impl FnOnce(Hello) -> Event,
    ) -> Result<LinkReader<In>, LinkFault> {
        let (link, hello, _) = first_hello(link, peer, deadline).await?;
        self.finished(session.0);
        let (sender, writer, reader) = link.split();
        self.workers.spawn("write", writer);
        self.tell(Incoming::Connected(session, outlet(sender), up(hello)))
            .await;
        Ok(reader)
    }

    /// Reads until the link ends; why it did.
    async fn read<In: crate::proto::link::Message>(
        &self,
        reader: &mut LinkReader<In>,
        event: impl Fn(In) -> Event,
    ) -> String {
        loop {
            match reader.next().await {
                Ok(Some(frame)) => self.tell(Incoming::Event(event(frame))).await,
                Ok(None) => return "the connection was closed".to_owned(),
                Err(fault) => return fault.to_string(),
            }
        }
    }

    async fn tell(&self, incoming: Incoming) {
        // Where the loop is gone the center is stopping.
        let _ = self.inbox.send(incoming).await;
    }
}
