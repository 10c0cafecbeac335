//! Connections coming in: TLS, the first message, and the reader of each. Unfinished handshakes are bounded in
//! number: the oldest goes first, never by address, so that nobody can be shut out by a neighbour.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tracing::{debug, info, warn};

use super::event::{Event, SessionId};
use super::shell::{Inbox, Incoming, Outlet};
use crate::model::{AgentId, OperatorId, PeerRole};
use crate::proto::agent::{FromAgent, ToAgent};
use crate::proto::client::{FromClient, ToClient};
use crate::proto::gate::{Gate, MAX_UNFINISHED};
use crate::proto::handshake::{self, FIRST_LIMIT, first_hello, first_join};
use crate::proto::hello::Hello;
use crate::proto::join::{FromJoiner, Join, ToJoiner};
use crate::proto::link::{Bounds, Link, LinkFault, LinkReader, LinkSender, Message};
use crate::workers::Workers;

/// A connection that has said what it is.
enum Greeted {
    Joiner(Link<ToJoiner, FromJoiner>, Join),
    Agent(Link<ToAgent, FromAgent>, AgentId, Hello),
    Client(Link<ToClient, FromClient>, OperatorId, u32),
}

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
    gate: Gate,
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
            gate: Gate::new(MAX_UNFINISHED),
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

    /// Names one more connection.
    pub(super) fn session(&self) -> SessionId {
        SessionId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// The limits of every link.
    pub(super) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// What carries links; told to stop with the center.
    pub(super) fn workers(&self) -> &Workers {
        &self.workers
    }

    fn begin(&self, stream: TcpStream, address: String) {
        let id = self.session();
        let accept = self.clone();
        let stop = self.workers.token().clone();
        self.workers.spawn(format!("link {address}"), async move {
            let serving = Box::pin(accept.serve(id, stream, &address));
            if let Some(Err(fault)) = stop.run_until_cancelled(serving).await {
                debug!(address, "{fault}");
            }
        });
    }

    async fn serve(
        &self,
        session: SessionId,
        stream: TcpStream,
        address: &str,
    ) -> Result<(), LinkFault> {
        // Frames are small and wanted at once; where that cannot be set they come a little later.
        let _ = stream.set_nodelay(true);
        let greeted = self.gate.enter().through(self.greet(stream, address)).await;
        let address = address.to_owned();
        match greeted {
            None => Ok(()),
            Some(Err(fault)) => Err(fault),
            Some(Ok(Greeted::Joiner(link, join))) => {
                self.joiner(session, link, join, address).await
            }
            Some(Ok(Greeted::Agent(link, agent, hello))) => {
                self.agent(session, link, agent, hello, address).await;
                Ok(())
            }
            Some(Ok(Greeted::Client(link, operator, protocol))) => {
                let up = Event::ClientUp {
                    session,
                    operator,
                    protocol,
                    address,
                };
                let mut reader = self.open(session, link, Outlet::Client, up).await;
                self.read(&mut reader, |frame| Event::ClientFrame(session, frame))
                    .await;
                self.tell(Incoming::Event(Event::ClientDown(session))).await;
                Ok(())
            }
        }
    }

    /// TLS and the first message: who it is, and what they want.
    async fn greet(&self, stream: TcpStream, address: &str) -> Result<Greeted, LinkFault> {
        let accepted = handshake::accept(stream, &self.config, FIRST_LIMIT).await;
        let accepted =
            accepted.inspect_err(|fault| info!(address, "a connection was refused: {fault}"))?;
        let deadline = accepted.deadline;
        let Some(peer) = accepted.peer else {
            let (link, join) =
                first_join(Link::new(accepted.stream, self.bounds), deadline).await?;
            return Ok(Greeted::Joiner(link, join));
        };
        let id = &peer.uri.id;
        if peer.uri.role == PeerRole::Agent {
            let agent = id
                .parse()
                .map_err(|_| LinkFault::Unexpected("an agent's id in the certificate"))?;
            let link = Link::new(accepted.stream, self.bounds);
            let (link, hello, _) = first_hello(link, &peer, deadline).await?;
            return Ok(Greeted::Agent(link, agent, hello));
        }
        let operator = id
            .parse()
            .map_err(|_| LinkFault::Unexpected("an operator's id in the certificate"))?;
        let link = Link::new(accepted.stream, self.bounds);
        let (link, _, protocol) = first_hello(link, &peer, deadline).await?;
        Ok(Greeted::Client(link, operator, protocol))
    }

    /// One agent's link from its hello to its end, whoever dialled; why it ended.
    pub(super) async fn agent(
        &self,
        session: SessionId,
        link: Link<ToAgent, FromAgent>,
        agent: AgentId,
        hello: Hello,
        address: String,
    ) -> String {
        let up = Event::AgentUp {
            session,
            agent,
            hello,
            address,
        };
        let mut reader = self.open(session, link, Outlet::Agent, up).await;
        let why = self
            .read(&mut reader, |frame| Event::AgentFrame(session, frame))
            .await;
        let down = Event::AgentDown(session, why.clone());
        self.tell(Incoming::Event(down)).await;
        why
    }

    async fn joiner(
        &self,
        session: SessionId,
        mut link: Link<ToJoiner, FromJoiner>,
        join: Join,
        address: String,
    ) -> Result<(), LinkFault> {
        let (answer, answered) = oneshot::channel();
        let event = Event::Join {
            session,
            join,
            address,
        };
        self.tell(Incoming::Connected(session, Outlet::Joiner(answer), event))
            .await;
        if let Ok(answer) = answered.await {
            link.send(&answer).await?;
        }
        link.close(None).await;
        Ok(())
    }

    /// Hands the link to the loop.
    async fn open<Out: Message, In: Message>(
        &self,
        session: SessionId,
        link: Link<Out, In>,
        outlet: impl FnOnce(LinkSender<Out>) -> Outlet,
        up: Event,
    ) -> LinkReader<In> {
        let (sender, writer, reader) = link.split();
        self.workers.spawn("write", writer);
        self.tell(Incoming::Connected(session, outlet(sender), up))
            .await;
        reader
    }

    /// Reads until the link ends; why it did.
    async fn read<In: Message>(
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

    pub(super) async fn tell(&self, incoming: Incoming) {
        // Where the loop is gone the center is stopping.
        let _ = self.inbox.send(incoming).await;
    }
}
