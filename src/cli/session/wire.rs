//! One link as the client uses it: frames over any stream of bytes.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Duplex;
use crate::cli::fault::{Fault, FaultCode};
use crate::proto::client::{FromClient, ToClient};
use crate::proto::codec::{Lines, MAX_FRAME, read_frame, write_frame};
use crate::proto::hello::{ErrorFrame, Hello, LinkError, PROTOCOL, PROTOCOL_MIN, PeerRole, Welcome};

/// A link with a center.
pub(super) struct Wire {
    stream: Box<dyn Duplex>,
    lines: Lines,
}

/// Why a link is of no use any more.
#[derive(Debug)]
pub(super) enum Broken {
    /// It ended; dialling again may help.
    Lost(String),
    /// The center closed it for a reason that a new link would not change, or what it says cannot be read.
    Final(Fault),
}

impl Broken {
    pub(super) fn fault(self) -> Fault {
        match self {
            Self::Lost(why) => Fault::new(FaultCode::Unavailable, format!("the link to the center broke: {why}"))
                .hint("ask again; whether a change was made is seen with `ucron show`"),
            Self::Final(fault) => fault,
        }
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

impl Wire {
    /// Says hello and waits for the welcome.
    pub(super) async fn greet(stream: Box<dyn Duplex>) -> Result<(Self, Welcome), Broken> {
        let mut wire = Self {
            stream,
            lines: Lines::new(MAX_FRAME),
        };
        wire.send(&FromClient::Hello(hello())).await?;
        match wire.receive().await? {
            ToClient::Welcome(welcome) => Ok((wire, welcome)),
            _ => Err(Broken::Final(Fault::unexpected("the hello"))),
        }
    }

    /// Sends a frame.
    pub(super) async fn send(&mut self, frame: &FromClient) -> Result<(), Broken> {
        let mut bytes = Vec::new();
        write_frame(frame, &mut bytes).map_err(|error| Broken::Final(Fault::new(FaultCode::Protocol, error.to_string())))?;
        self.stream.write_all(&bytes).await?;
        self.stream.flush().await?;
        Ok(())
    }

    /// The next frame; never an error frame. Dropping the future loses nothing.
    pub(super) async fn receive(&mut self) -> Result<ToClient, Broken> {
        loop {
            let unreadable = |fault: &dyn std::fmt::Display| {
                let text = format!("cannot read what the center says: {fault}");
                Broken::Final(Fault::new(FaultCode::Protocol, text).hint("are both of the same version?"))
            };
            if let Some(line) = self.lines.next().map_err(|fault| unreadable(&fault))? {
                return match read_frame(&line).map_err(|fault| unreadable(&fault))? {
                    ToClient::Error(frame) => Err(closed(frame)),
                    frame => Ok(frame),
                };
            }
            if self.stream.read_buf(self.lines.room()).await? == 0 {
                return Err(Broken::Lost("the center closed it".to_owned()));
            }
        }
    }
}

fn hello() -> Hello {
    Hello {
        protocol_min: PROTOCOL_MIN,
        protocol_max: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        role: PeerRole::Operator,
        agent: None,
    }
}

fn closed(frame: ErrorFrame) -> Broken {
    let code = match frame.code {
        LinkError::Closing | LinkError::Timeout | LinkError::Slow | LinkError::Internal => {
            return Broken::Lost(frame.message);
        }
        LinkError::Identity | LinkError::Token | LinkError::Replaced => FaultCode::Identity,
        _ => FaultCode::Protocol,
    };
    Broken::Final(Fault::new(code, format!("the center closed the link: {}", frame.message)))
}
