//! Connections going out, to agents that only the center can dial: one worker per agent dials and dials again,
//! and one for each host that is being added. After the handshake all is as with an agent that dialled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::accept::Accept;
use super::event::{AddTrouble, Event, Ticket};
use super::shell::{Incoming, Outlet};
use crate::clock;
use crate::model::{AgentId, Fingerprint, HostPort};
use crate::proto::agent::{FromAgent, ToAgent};
use crate::proto::handshake::{dial, dial_joiner, first_hello, first_join};
use crate::proto::hello::Hello;
use crate::proto::identity::Identity;
use crate::proto::join::{FromJoiner, ToJoiner};
use crate::proto::link::{Link, LinkFault};
use crate::proto::redial::{Redial, dice};
use crate::proto::tls::{TlsError, add_config, client_config};

/// A link younger than this that ends did not help: the waits go on growing.
const STEADY: Duration = Duration::from_secs(1);

/// Dials agents.
pub(super) struct Dialling {
    accept: Accept,
    identity: Arc<Identity>,
    live: BTreeMap<AgentId, (HostPort, CancellationToken)>,
}

impl Dialling {
    /// What `accept` does with links that come in is done with those that go out.
    pub(super) fn new(accept: Accept, identity: Identity) -> Self {
        Self {
            accept,
            identity: Arc::new(identity),
            live: BTreeMap::new(),
        }
    }

    /// From now on dials these and no others.
    pub(super) fn set(&mut self, wanted: BTreeMap<AgentId, HostPort>) {
        self.live.retain(|agent, (address, stop)| {
            let stays = wanted.get(agent) == Some(address);
            if !stays {
                stop.cancel();
            }
            stays
        });
        for (agent, address) in wanted {
            if !self.live.contains_key(&agent) {
                let stop = self.start(agent.clone(), address.clone());
                self.live.insert(agent, (address, stop));
            }
        }
    }

    fn start(&self, agent: AgentId, address: HostPort) -> CancellationToken {
        let stop = self.accept.workers().token().child_token();
        let keep = Keep {
            accept: self.accept.clone(),
            identity: Arc::clone(&self.identity),
            agent,
            address,
        };
        let name = format!("dial {}", keep.address);
        let stopped = stop.clone();
        self.accept.workers().spawn(name, async move {
            stopped.run_until_cancelled(keep.keep_dialled()).await;
        });
        stop
    }

    /// Dials a host that waits to join, once.
    pub(super) fn add(&self, ticket: Ticket, address: &HostPort, key: Fingerprint) {
        let (accept, identity) = (self.accept.clone(), Arc::clone(&self.identity));
        let stop = self.accept.workers().token().clone();
        let (name, address) = (format!("add {address}"), address.clone());
        self.accept.workers().spawn(name, async move {
            let adding = add(&accept, &identity, ticket, &address, key);
            let Some(added) = stop.run_until_cancelled(Box::pin(adding)).await else {
                return;
            };
            let result = added.map_err(|fault| trouble(&address, &fault));
            let event = Event::Added(ticket, result);
            accept.tell(Incoming::Event(event)).await;
        });
    }
}

/// One agent that is dialled for as long as it is a member.
struct Keep {
    accept: Accept,
    identity: Arc<Identity>,
    agent: AgentId,
    address: HostPort,
}

/// Why there is no link for now.
#[derive(Debug, thiserror::Error)]
enum NoLink {
    #[error(transparent)]
    Fault(#[from] LinkFault),
    #[error("another agent of this fleet answers there: {0}")]
    Other(String),
}

impl Keep {
    async fn keep_dialled(&self) {
        let (address, mut redial, mut told) = (&self.address, Redial::default(), String::new());
        loop {
            tokio::time::sleep(redial.next(dice())).await;
            let began = clock::boot_time();
            let text = match self.dial_once().await {
                Ok((link, hello)) => self.serve(link, hello).await,
                Err(fault) => fault.to_string(),
            };
            if clock::boot_time().saturating_sub(began) >= STEADY {
                redial = Redial::default();
            }
            if text == told {
                debug!(%address, "no link to an agent: {text}");
            } else {
                warn!(%address, "no link to an agent: {text}");
                told = text;
            }
        }
    }

    async fn dial_once(&self) -> Result<(Link<ToAgent, FromAgent>, Hello), NoLink> {
        let config = client_config(&self.identity).map_err(LinkFault::from)?;
        let dialled = dial(self.address.as_str(), &config).await?;
        if dialled.peer.uri.id != self.agent.as_str() {
            return Err(NoLink::Other(dialled.peer.uri.id));
        }
        let link = Link::new(dialled.stream, self.accept.bounds());
        let (link, hello, _) = first_hello(link, &dialled.peer, dialled.deadline).await?;
        Ok((link, hello))
    }

    async fn serve(&self, link: Link<ToAgent, FromAgent>, hello: Hello) -> String {
        let (session, agent) = (self.accept.session(), self.agent.clone());
        let address = self.address.to_string();
        let serving = self.accept.agent(session, link, agent, hello, address);
        serving.await
    }
}

/// The whole exchange with a host that waits to join.
async fn add(
    accept: &Accept,
    identity: &Identity,
    ticket: Ticket,
    address: &HostPort,
    key: Fingerprint,
) -> Result<(), LinkFault> {
    let config = add_config(identity, key)?;
    let (stream, deadline) = dial_joiner(address.as_str(), &config).await?;
    let link = Link::<ToJoiner, FromJoiner>::new(stream, accept.bounds());
    let (mut link, join) = first_join(link, deadline).await?;
    let (answer, answered) = oneshot::channel();
    let session = accept.session();
    let event = Event::AddJoin {
        session,
        ticket,
        join,
    };
    let outlet = Outlet::Joiner(answer);
    accept
        .tell(Incoming::Connected(session, outlet, event))
        .await;
    let answer = answered.await.map_err(|_gone| LinkFault::Closed)?;
    let exchange = async {
        link.send(&answer).await?;
        match link.next().await? {
            Some(FromJoiner::Stored(_)) => Ok(()),
            Some(FromJoiner::Join(_)) => Err(LinkFault::Unexpected("a second join")),
            None => Err(LinkFault::Closed),
        }
    };
    let stored = timeout_at(deadline, exchange).await;
    let stored = stored.map_err(|_elapsed| LinkFault::Timeout("the certificate was not stored"))?;
    link.close(None).await;
    stored
}

/// What went wrong, for the operator.
fn trouble(address: &HostPort, fault: &LinkFault) -> AddTrouble {
    let (what, hint) = match fault {
        LinkFault::Tls(TlsError::Key(key)) => (
            format!("does not have the key with the fingerprint {key}"),
            "compare it with what `ucron-agent join --listen` printed there last; if that is the same, somebody else answers",
        ),
        LinkFault::Tls(TlsError::Refused) => (
            "does not take this center".to_owned(),
            "its token is of another fleet: run `ucron-agent join --listen` there with one that `ucron token agent` makes here",
        ),
        LinkFault::Unexpected(_) => (
            "does not wait to join".to_owned(),
            "it has joined already, or is no agent: run `ucron-agent join --listen` there, with a new state directory",
        ),
        LinkFault::Timeout("connecting") | LinkFault::Io { .. } => (
            format!("cannot be reached: {fault}"),
            "is `ucron-agent join --listen` running there, and may the center connect to that port?",
        ),
        fault => (
            format!("did not join: {fault}"),
            "look at what `ucron-agent join --listen` says there, and run it again with a new token",
        ),
    };
    AddTrouble {
        message: format!("the agent at {address} {what}"),
        hint,
    }
}
