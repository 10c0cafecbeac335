//! The beginning of every link: connecting, TLS, the first message each way, the protocol version. What is
//! decided is decided by pure functions; the rest is their shell with one time limit.

use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::agent::{FromAgent, ToAgent};
use super::client::{FromClient, ToClient};
use super::hello::{
    AgentHello, ErrorFrame, Hello, LinkError, PROTOCOL, PROTOCOL_MIN, PeerRole, Welcome,
};
use super::identity::PeerIdentity;
use super::join::{FromJoiner, Join, ToJoiner};
use super::link::{Link, LinkFault, Message};
use super::tls;

/// TLS and the first message are complete within this time of the accept, or of the dial.
pub const FIRST_LIMIT: Duration = Duration::from_secs(10);
/// How long a dial may wait for the connection itself, so that a host that is gone does not hold up the next.
pub const DIAL_LIMIT: Duration = Duration::from_secs(4);
/// Characters of a program's version at most.
const MAX_VERSION: usize = 64;

/// Protocol versions that one side speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Versions {
    /// The oldest.
    pub min: u32,
    /// The newest.
    pub max: u32,
}

/// What this program speaks.
pub const OURS: Versions = Versions {
    min: PROTOCOL_MIN,
    max: PROTOCOL,
};

/// The newest version that both speak; else an error frame of the center to a `peer` that names what to upgrade.
pub fn agree(ours: Versions, theirs: Versions, peer: PeerRole) -> Result<u32, ErrorFrame> {
    let newest = ours.max.min(theirs.max);
    if theirs.min <= theirs.max && newest >= ours.min && newest >= theirs.min {
        return Ok(newest);
    }
    let older = if theirs.max < ours.min {
        peer
    } else {
        PeerRole::Center
    };
    Err(ErrorFrame {
        code: LinkError::Protocol,
        message: format!(
            "the center speaks protocol {} to {}, the {peer} {} to {}; upgrade the {older}",
            ours.min, ours.max, theirs.min, theirs.max
        ),
    })
}

/// Checks a hello against the certificate of whoever said it; gives the version to speak.
pub fn check_hello(hello: &Hello, peer: &PeerIdentity) -> Result<u32, ErrorFrame> {
    let theirs = Versions {
        min: hello.protocol_min,
        max: hello.protocol_max,
    };
    let version = agree(OURS, theirs, peer.uri.role)?;
    let refused = |code, message: &str| {
        Err(ErrorFrame {
            code,
            message: message.to_owned(),
        })
    };
    if hello.role != peer.uri.role {
        return refused(
            LinkError::Identity,
            "the hello's role is not the certificate's",
        );
    }
    if hello.agent.is_some() != (hello.role == PeerRole::Agent) {
        return refused(
            LinkError::Unexpected,
            "an agent's hello, and no other, says which boot and incarnation it is",
        );
    }
    if hello.version.len() > MAX_VERSION || hello.version.chars().any(char::is_control) {
        return refused(LinkError::UnknownMessage, "the version is no version");
    }
    Ok(version)
}

/// The hello of this program.
pub fn hello(role: PeerRole, agent: Option<AgentHello>) -> Hello {
    Hello {
        protocol_min: PROTOCOL_MIN,
        protocol_max: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        role,
        agent,
    }
}

/// Messages that a hello begins.
pub trait Greets: Message {
    /// The hello as a message.
    fn of_hello(hello: Hello) -> Self;
    /// The hello, if this is one.
    fn into_hello(self) -> Option<Hello>;
}

/// Messages that a welcome begins.
pub trait Welcomes: Message {
    /// The welcome as a message.
    fn of_welcome(welcome: Welcome) -> Self;
    /// The welcome, if this is one.
    fn into_welcome(self) -> Option<Welcome>;
}

macro_rules! greeting {
    ($($from:ty, $to:ty);*) => {$(
        impl Greets for $from {
            fn of_hello(hello: Hello) -> Self {
                Self::Hello(hello)
            }

            fn into_hello(self) -> Option<Hello> {
                match self {
                    Self::Hello(hello) => Some(hello),
                    _ => None,
                }
            }
        }

        impl Welcomes for $to {
            fn of_welcome(welcome: Welcome) -> Self {
                Self::Welcome(welcome)
            }

            fn into_welcome(self) -> Option<Welcome> {
                match self {
                    Self::Welcome(welcome) => Some(welcome),
                    _ => None,
                }
            }
        }
    )*};
}

greeting!(FromAgent, ToAgent; FromClient, ToClient);

/// A connection accepted: TLS is complete, the first message is to come.
#[derive(Debug)]
pub struct Accepted<S> {
    /// The connection.
    pub stream: server::TlsStream<S>,
    /// Who it is; none for a joiner, who may send one `join` and nothing else.
    pub peer: Option<PeerIdentity>,
    /// Until when the first message must be complete.
    pub deadline: Instant,
}

/// Does TLS as the side that was dialled.
pub async fn accept<S>(
    stream: S,
    config: &Arc<ServerConfig>,
    limit: Duration,
) -> Result<Accepted<S>, LinkFault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let deadline = Instant::now() + limit;
    let accepting = TlsAcceptor::from(Arc::clone(config)).accept(stream);
    let stream = within(deadline, "TLS", accepting)
        .await?
        .map_err(|e| LinkFault::of_io("accept", e))?;
    Ok(Accepted {
        peer: tls::peer_identity(stream.get_ref().1),
        stream,
        deadline,
    })
}

/// A connection made: TLS is complete.
#[derive(Debug)]
pub struct Dialled<S> {
    /// The connection.
    pub stream: client::TlsStream<S>,
    /// Who is there.
    pub peer: PeerIdentity,
    /// Until when the first messages must be complete.
    pub deadline: Instant,
}

/// Connects to `ADDR:PORT` and does TLS.
pub async fn dial(
    address: &str,
    config: &Arc<ClientConfig>,
) -> Result<Dialled<TcpStream>, LinkFault> {
    connect(reach(address).await?, config, FIRST_LIMIT).await
}

/// Connects to a host that waits to join, whose certificate names nobody yet; gives also until when its first
/// message must be complete.
pub async fn dial_joiner(
    address: &str,
    config: &Arc<ClientConfig>,
) -> Result<(client::TlsStream<TcpStream>, Instant), LinkFault> {
    secure(reach(address).await?, config, FIRST_LIMIT).await
}

async fn reach(address: &str) -> Result<TcpStream, LinkFault> {
    let connecting = TcpStream::connect(address);
    let stream = within(Instant::now() + DIAL_LIMIT, "connecting", connecting)
        .await?
        .map_err(|e| LinkFault::of_io("connect", e))?;
    // Frames are small and wanted at once.
    stream
        .set_nodelay(true)
        .map_err(|e| LinkFault::of_io("connect", e))?;
    Ok(stream)
}

/// Does TLS as the side that dialled.
pub async fn connect<S>(
    stream: S,
    config: &Arc<ClientConfig>,
    limit: Duration,
) -> Result<Dialled<S>, LinkFault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (stream, deadline) = secure(stream, config, limit).await?;
    let peer = tls::peer_identity(stream.get_ref().1).ok_or(tls::TlsError::Nameless)?;
    Ok(Dialled {
        stream,
        peer,
        deadline,
    })
}

async fn secure<S>(
    stream: S,
    config: &Arc<ClientConfig>,
    limit: Duration,
) -> Result<(client::TlsStream<S>, Instant), LinkFault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let deadline = Instant::now() + limit;
    let connecting = TlsConnector::from(Arc::clone(config)).connect(tls::any_name(), stream);
    let stream = within(deadline, "TLS", connecting)
        .await?
        .map_err(|e| LinkFault::of_io("connect", e))?;
    Ok((stream, deadline))
}

async fn within<T>(
    deadline: Instant,
    what: &'static str,
    work: impl Future<Output = T>,
) -> Result<T, LinkFault> {
    timeout_at(deadline, work)
        .await
        .map_err(|_elapsed| LinkFault::Timeout(what))
}

/// The center's part: waits for the hello and checks it. What is wrong has been answered, and the link is closed.
/// The welcome is the caller's to send, once it has found the peer's row.
pub async fn first_hello<Out: Welcomes, In: Greets>(
    mut link: Link<Out, In>,
    peer: &PeerIdentity,
    deadline: Instant,
) -> Result<(Link<Out, In>, Hello, u32), LinkFault> {
    let first = within(deadline, "no hello", link.next()).await;
    let hello = match first.and_then(|first| first) {
        Ok(Some(first)) => first
            .into_hello()
            .ok_or(LinkFault::Unexpected("the first message must be a hello")),
        Ok(None) => Err(LinkFault::Closed),
        Err(fault) => Err(fault),
    };
    match hello {
        Ok(hello) => match check_hello(&hello, peer) {
            Ok(version) => Ok((link, hello, version)),
            Err(frame) => {
                link.close(Some(frame.clone())).await;
                Err(LinkFault::Protocol(frame.message))
            }
        },
        Err(fault) => {
            link.close(fault.frame(true)).await;
            Err(fault)
        }
    }
}

/// The center's part with a stranger: waits for its one `join`. What is wrong has been answered, without a word
/// of what was sent, and the link is closed.
pub async fn first_join(
    mut link: Link<ToJoiner, FromJoiner>,
    deadline: Instant,
) -> Result<(Link<ToJoiner, FromJoiner>, Join), LinkFault> {
    link.reader.set_max_frame(super::codec::MAX_FIRST_FRAME);
    let first = within(deadline, "no join", link.next()).await;
    let fault = match first.and_then(|first| first) {
        Ok(Some(FromJoiner::Join(join))) => {
            let theirs = Versions {
                min: join.protocol_min,
                max: join.protocol_max,
            };
            match agree(OURS, theirs, join.role) {
                Ok(_) => return Ok((link, join)),
                Err(frame) => {
                    link.close(Some(frame.clone())).await;
                    return Err(LinkFault::Protocol(frame.message));
                }
            }
        }
        Ok(Some(FromJoiner::Stored(_))) => {
            LinkFault::Unexpected("nothing was given that could be stored")
        }
        Ok(None) => LinkFault::Closed,
        Err(LinkFault::Frame(fault)) if fault.code() == LinkError::UnknownMessage => {
            LinkFault::Unexpected("without a certificate nothing is taken but one whole `join`")
        }
        Err(fault) => fault,
    };
    link.close(fault.frame(false)).await;
    Err(fault)
}

/// The agent's and the client's part: says hello, waits for the welcome.
pub async fn say_hello<Out: Greets, In: Welcomes>(
    link: &mut Link<Out, In>,
    hello: Hello,
    deadline: Instant,
) -> Result<Welcome, LinkFault> {
    let exchange = async {
        link.send(&Out::of_hello(hello)).await?;
        let first = link.next().await?.ok_or(LinkFault::Closed)?;
        first
            .into_welcome()
            .ok_or(LinkFault::Unexpected("the first answer must be a welcome"))
    };
    let welcome = within(deadline, "no welcome", exchange).await??;
    if (PROTOCOL_MIN..=PROTOCOL).contains(&welcome.protocol) {
        return Ok(welcome);
    }
    Err(LinkFault::Protocol(format!(
        "the center chose protocol {}, which this program does not speak",
        welcome.protocol
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ours: (u32, u32), theirs: (u32, u32), wanted: Result<u32, &str>) {
        let versions = |(min, max)| Versions { min, max };
        let got = agree(versions(ours), versions(theirs), PeerRole::Agent);
        let got = got.map_err(|frame| frame.message.rsplit("; ").next().unwrap().to_owned());
        assert_eq!(got, wanted.map_err(str::to_owned), "{ours:?} {theirs:?}");
    }

    #[test]
    fn neighbours_agree_and_others_hear_what_to_upgrade() {
        check((1, 1), (1, 1), Ok(1));
        check((1, 2), (2, 3), Ok(2));
        check((2, 3), (1, 2), Ok(2));
        check((1, 2), (1, 2), Ok(2));
        check((2, 3), (1, 1), Err("upgrade the agent"));
        check((1, 1), (2, 3), Err("upgrade the center"));
        check((1, 1), (2, 1), Err("upgrade the center"));
    }
}
