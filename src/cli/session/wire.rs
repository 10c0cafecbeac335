//! One link as the client uses it, and what its end means.

use tokio::time::Instant;

use super::Duplex;
use crate::cli::fault::{Fault, FaultCode};
use crate::proto::client::{FromClient, ToClient};
use crate::proto::handshake::{FIRST_LIMIT, hello, say_hello};
use crate::proto::hello::{ErrorFrame, LinkError, PeerRole, Welcome};
use crate::proto::link::{Bounds, Link, LinkFault};
use crate::proto::tls::TlsError;

/// What to do where center and home do not know each other.
const OTHER_FLEET: &str =
    "`ucron context ls` shows the fleets that this home knows; `ucron login` takes a new token";

/// A link with a center.
pub(super) struct Wire(Link<FromClient, ToClient>);

/// Why a link is of no use any more.
#[derive(Debug)]
pub(super) enum Broken {
    /// It ended, or was not made; dialling again may help.
    Lost(String),
    /// The center closed it for a reason that a new link would not change, or what it says cannot be read.
    Final(Fault),
}

impl Broken {
    pub(super) fn fault(self) -> Fault {
        match self {
            Self::Lost(why) => {
                let text = format!("the link to the center broke: {why}");
                Fault::new(FaultCode::LinkBroken, text).hint("ask again; `ucron show` says what is")
            }
            Self::Final(fault) => fault,
        }
    }
}

impl From<LinkFault> for Broken {
    fn from(fault: LinkFault) -> Self {
        let code = match &fault {
            LinkFault::Told(frame) => return closed(frame),
            LinkFault::Tls(TlsError::Chain | TlsError::Fleet { .. } | TlsError::Refused) => {
                let text = format!("the center is not of this client home's fleet: {fault}");
                return Self::Final(Fault::new(FaultCode::Identity, text).hint(OTHER_FLEET));
            }
            LinkFault::Tls(_) => FaultCode::Identity,
            LinkFault::Frame(_) | LinkFault::Unexpected(_) | LinkFault::Protocol(_) => {
                FaultCode::Protocol
            }
            _ => return Self::Lost(fault.to_string()),
        };
        Self::Final(Fault::new(code, fault.to_string()))
    }
}

fn closed(frame: &ErrorFrame) -> Broken {
    let code = match frame.code {
        LinkError::Closing | LinkError::Timeout | LinkError::Slow | LinkError::Internal => {
            return Broken::Lost(frame.message.clone());
        }
        LinkError::Identity | LinkError::Token | LinkError::Replaced | LinkError::Copied => {
            FaultCode::Identity
        }
        _ => FaultCode::Protocol,
    };
    Broken::Final(Fault::new(
        code,
        format!("the center closed the link: {}", frame.message),
    ))
}

impl Wire {
    /// Says hello and waits for the welcome.
    pub(super) async fn greet(stream: Box<dyn Duplex>) -> Result<(Self, Welcome), Broken> {
        let mut link = Link::new(stream, Bounds::default());
        let deadline = Instant::now() + FIRST_LIMIT;
        let welcome = say_hello(&mut link, hello(PeerRole::Operator, None), deadline).await?;
        Ok((Self(link), welcome))
    }

    /// Sends a frame.
    pub(super) async fn send(&mut self, frame: &FromClient) -> Result<(), Broken> {
        Ok(self.0.send(frame).await?)
    }

    /// The next frame; never an error frame. Dropping the future loses nothing.
    pub(super) async fn receive(&mut self) -> Result<ToClient, Broken> {
        match self.0.next().await? {
            Some(frame) => Ok(frame),
            None => Err(Broken::Lost("the center closed it".to_owned())),
        }
    }
}
