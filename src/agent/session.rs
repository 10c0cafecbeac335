//! Links to the centers: one worker per center that dials and dials again, or one that waits to be dialled; after
//! the handshake both are the same code. A worker reads; what is sent goes through the link's queue.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::event::{Event, LinkId};
use super::shell::Happening;
use crate::clock;
use crate::exec::wire::BootMs;
use crate::model::{BootId, Epoch, Incarnation, PeerRole};
use crate::proto::agent::{FromAgent, ToAgent};
use crate::proto::gate::{Gate, MAX_UNFINISHED};
use crate::proto::handshake::{FIRST_LIMIT, accept, dial, hello, say_hello};
use crate::proto::hello::{AgentHello, LinkError};
use crate::proto::identity::{Identity, PeerIdentity};
use crate::proto::link::{Bounds, Link, LinkFault};
use crate::proto::redial::{Redial, dice};
use crate::proto::tls::{TlsError, client_config, server_config};
use crate::workers::Workers;

/// A link younger than this that ends did not help: the waits go on growing.
const STEADY: Duration = Duration::from_secs(1);

/// What all workers of links share.
#[derive(Clone, Debug)]
pub struct Sessions {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    identity: Identity,
    bounds: Bounds,
    boot_id: BootId,
    incarnation: Incarnation,
    epoch: AtomicU64,
    next_link: AtomicU64,
    linked: Mutex<HashMap<String, (LinkId, CancellationToken)>>,
    workers: Workers,
    happenings: UnboundedSender<Happening>,
}

/// Why there is no link for now.
#[derive(Debug, thiserror::Error)]
enum NoLink {
    #[error(transparent)]
    Fault(#[from] LinkFault),
    #[error("the same center is linked under another address")]
    Twice,
}

impl Sessions {
    /// Sessions of one life of the agent.
    pub fn new(
        identity: Identity,
        bounds: Bounds,
        boot_id: BootId,
        incarnation: Incarnation,
        workers: Workers,
        happenings: UnboundedSender<Happening>,
    ) -> Self {
        let inner = Inner {
            identity,
            bounds,
            boot_id,
            incarnation,
            epoch: AtomicU64::new(0),
            next_link: AtomicU64::new(1),
            linked: Mutex::default(),
            workers,
            happenings,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The highest epoch known, for hellos to come.
    pub fn set_epoch(&self, epoch: Epoch) {
        self.inner.epoch.store(epoch.0, Ordering::Relaxed);
    }

    /// Keeps a link to every one of these centers.
    pub fn dial_all(&self, centers: &[String]) -> Result<(), TlsError> {
        let config = client_config(&self.inner.identity)?;
        for center in centers {
            let (this, center, config) = (self.clone(), center.clone(), Arc::clone(&config));
            let name = format!("dial {center}");
            self.inner.workers.spawn(name, async move {
                let stop = this.inner.workers.token().clone();
                let dialling = this.keep_dialled(&center, &config);
                stop.run_until_cancelled(dialling).await;
            });
        }
        Ok(())
    }

    async fn keep_dialled(&self, center: &str, config: &Arc<rustls::ClientConfig>) {
        let mut redial = Redial::default();
        let mut told = String::new();
        loop {
            tokio::time::sleep(redial.next(dice())).await;
            let began = Instant::now();
            let ended = self.dial_once(center, config).await;
            let text = match &ended {
                Ok(()) => "the center closed the link".to_owned(),
                Err(fault) => fault.to_string(),
            };
            if began.elapsed() >= STEADY {
                redial = Redial::default();
            }
            if text == told {
                debug!(center, "no link: {text}");
            } else {
                warn!(center, "no link: {text}");
                told = text;
            }
        }
    }

    async fn dial_once(
        &self,
        center: &str,
        config: &Arc<rustls::ClientConfig>,
    ) -> Result<(), NoLink> {
        let dialled = dial(center, config).await?;
        let place = self.place(&dialled.peer, false).ok_or(NoLink::Twice)?;
        self.serve(dialled.stream, place, center, dialled.deadline)
            .await
    }

    /// Waits for centers to dial.
    pub fn listen(&self, listener: TcpListener) -> Result<(), TlsError> {
        let config = server_config(&self.inner.identity)?;
        let this = self.clone();
        self.inner.workers.spawn("listen", async move {
            let stop = this.inner.workers.token().clone();
            stop.run_until_cancelled(this.accept_all(&listener, &config))
                .await;
        });
        Ok(())
    }

    async fn accept_all(&self, listener: &TcpListener, config: &Arc<rustls::ServerConfig>) {
        let gate = Gate::new(MAX_UNFINISHED);
        loop {
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (this, config, pass) = (self.clone(), Arc::clone(config), gate.enter());
            let address = address.to_string();
            self.inner
                .workers
                .spawn(format!("link {address}"), async move {
                    drop(stream.set_nodelay(true));
                    let accepting = pass.through(accept(stream, &config, FIRST_LIMIT));
                    let accepted = match accepting.await {
                        Some(Ok(accepted)) => accepted,
                        Some(Err(fault)) => {
                            return info!(address, "a connection was refused: {fault}");
                        }
                        None => return debug!(address, "a handshake took too long"),
                    };
                    let Some(peer) = accepted.peer else { return };
                    let Some(place) = this.place(&peer, true) else {
                        return;
                    };
                    let serving = this.serve(accepted.stream, place, &address, accepted.deadline);
                    let stop = this.inner.workers.token().clone();
                    if let Some(Err(fault)) = stop.run_until_cancelled(serving).await {
                        warn!(address, "the link ended: {fault}");
                    }
                });
        }
    }

    /// One link from its hello to its end.
    async fn serve<S>(
        &self,
        stream: S,
        place: Place<'_>,
        address: &str,
        deadline: Instant,
    ) -> Result<(), NoLink>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let mut link = Link::<FromAgent, ToAgent>::new(stream, self.inner.bounds);
        let hello_sent = BootMs(clock::boot_ms());
        let hello = hello(PeerRole::Agent, Some(self.agent_hello()));
        let welcome = match say_hello(&mut link, hello, deadline).await {
            Ok(welcome) => welcome,
            Err(fault) => {
                self.heed(&fault);
                link.close(fault.frame(true)).await;
                return Err(fault.into());
            }
        };
        info!(
            center = address,
            epoch = welcome.epoch.0,
            version = welcome.version,
            "linked"
        );
        let id = place.id;
        let (sender, writing, mut reader) = link.split();
        self.inner.workers.spawn(format!("send {address}"), writing);
        self.tell(Happening::Linked {
            link: id,
            sender: sender.clone(),
            welcome: Box::new(welcome),
            hello_sent,
        });
        let end = Down { sessions: self, id };
        let read = loop {
            let next = place.replaced.run_until_cancelled(reader.next());
            match next.await.unwrap_or(Ok(None)) {
                Ok(Some(frame)) => self.tell(Happening::Core(Event::Frame {
                    link: id,
                    frame: Box::new(frame),
                })),
                Ok(None) => break Ok(()),
                Err(fault) => {
                    self.heed(&fault);
                    break Err(fault);
                }
            }
        };
        drop(end);
        sender.close(read.as_ref().err().and_then(|fault| fault.frame(true)));
        Ok(read?)
    }

    /// A center may have said that this directory is not the one that counts.
    fn heed(&self, fault: &LinkFault) {
        if let LinkFault::Told(told) = fault
            && told.code == LinkError::Copied
        {
            let reason = told.message.clone();
            self.tell(Happening::Core(Event::Refused { reason }));
        }
    }

    /// The place of a center's link; where it is taken, a center that dials again has lost the old one, while
    /// an agent that dials has found another address of the same center.
    fn place(&self, peer: &PeerIdentity, newest_wins: bool) -> Option<Place<'_>> {
        let center = peer.uri.id.clone();
        let linked = self.inner.linked.lock();
        let mut linked = linked.unwrap_or_else(PoisonError::into_inner);
        if let Some((_, old)) = linked.get(&center) {
            if !newest_wins {
                return None;
            }
            old.cancel();
        }
        let id = LinkId(self.inner.next_link.fetch_add(1, Ordering::Relaxed));
        let replaced = CancellationToken::new();
        linked.insert(center.clone(), (id, replaced.clone()));
        Some(Place {
            inner: &self.inner,
            center,
            id,
            replaced,
        })
    }

    fn agent_hello(&self) -> AgentHello {
        AgentHello {
            boot_id: self.inner.boot_id.clone(),
            incarnation: self.inner.incarnation,
            epoch: Epoch(self.inner.epoch.load(Ordering::Relaxed)),
            up_ms: clock::boot_ms(),
        }
    }

    fn tell(&self, happening: Happening) {
        // Where the loop is gone the agent ends; nobody is left to tell.
        let _ = self.inner.happenings.send(happening);
    }
}

/// Tells the end of a link, however its worker ends.
struct Down<'a> {
    sessions: &'a Sessions,
    id: LinkId,
}

impl Drop for Down<'_> {
    fn drop(&mut self) {
        let link = self.id;
        self.sessions
            .tell(Happening::Core(Event::LinkDown { link }));
    }
}

/// One link per center, whatever addresses it has: two would push each other out.
struct Place<'a> {
    inner: &'a Inner,
    center: String,
    id: LinkId,
    replaced: CancellationToken,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let linked = self.inner.linked.lock();
        let mut linked = linked.unwrap_or_else(PoisonError::into_inner);
        if linked
            .get(&self.center)
            .is_some_and(|(id, _)| *id == self.id)
        {
            linked.remove(&self.center);
        }
    }
}
