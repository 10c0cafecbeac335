//! Why a link ends, and what every message has in common: the error frame that says so.

use std::io;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::agent::{FromAgent, ToAgent};
use super::client::{FromClient, ToClient};
use super::codec::FrameFault;
use super::hello::{ErrorFrame, LinkError};
use super::join::{FromJoiner, ToJoiner};
use super::tls::TlsError;

/// Everything that travels on a link.
pub trait Message: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The error frame as a message of this side; none where this side has none.
    fn of_error(frame: ErrorFrame) -> Option<Self>;
    /// The error frame, if this is one.
    fn as_error(&self) -> Option<&ErrorFrame>;
}

macro_rules! message {
    ($($type:ty),*) => {$(
        impl Message for $type {
            fn of_error(frame: ErrorFrame) -> Option<Self> {
                Some(Self::Error(frame))
            }

            fn as_error(&self) -> Option<&ErrorFrame> {
                match self {
                    Self::Error(frame) => Some(frame),
                    _ => None,
                }
            }
        }
    )*};
}

message!(FromAgent, ToAgent, FromClient, ToClient, ToJoiner);

impl Message for FromJoiner {
    fn of_error(_: ErrorFrame) -> Option<Self> {
        None
    }

    fn as_error(&self) -> Option<&ErrorFrame> {
        None
    }
}

/// Why a link ended, or could not be made.
#[derive(Debug, Clone, Error)]
pub enum LinkFault {
    /// The peer sent a line that is no message.
    #[error("malformed frame: {0}")]
    Frame(#[from] FrameFault),
    /// The peer sent a message that does not belong here.
    #[error("unexpected message: {0}")]
    Unexpected(&'static str),
    /// No common protocol version.
    #[error("{0}")]
    Protocol(String),
    /// The peer's certificate, or ours.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The peer was too late.
    #[error("timed out: {0}")]
    Timeout(&'static str),
    /// The peer does not read what it is sent.
    #[error("the peer does not keep up")]
    Slow,
    /// The peer closed the link and said why.
    #[error("the peer closed the link: {}", shown(&.0.message))]
    Told(ErrorFrame),
    /// The connection ended within a line.
    #[error("the connection ended within a frame")]
    Cut,
    /// The connection ended where an answer was to come.
    #[error("the connection ended without an answer")]
    Closed,
    /// A message of our own is longer than a frame may be.
    #[error("a message of {0} bytes is longer than a frame may be")]
    Own(usize),
    /// A message of our own cannot be written as JSON.
    #[error("a message cannot be written: {0}")]
    Unwritable(Arc<serde_json::Error>),
    /// The system.
    #[error("cannot {attempt}: {source}")]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// Why not.
        source: Arc<io::Error>,
    },
}

/// A peer's words without what could steer a terminal or forge a line of a log.
fn shown(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .take(500)
        .collect()
}

impl LinkFault {
    /// The error frame to close the link with; none where the peer is gone or said so itself. A stranger
    /// (`known` false) reads nothing of what it sent.
    pub fn frame(&self, known: bool) -> Option<ErrorFrame> {
        let code = match self {
            Self::Frame(fault) => return Some(fault.frame(known)),
            Self::Unexpected(_) => LinkError::Unexpected,
            Self::Protocol(_) => LinkError::Protocol,
            Self::Timeout(_) => LinkError::Timeout,
            Self::Slow => LinkError::Slow,
            Self::Own(_) | Self::Unwritable(_) => LinkError::Internal,
            Self::Tls(_) | Self::Told(_) | Self::Cut | Self::Closed | Self::Io { .. } => {
                return None;
            }
        };
        Some(ErrorFrame {
            code,
            message: self.to_string(),
        })
    }

    /// What an I/O error means: an error of TLS where there is one within.
    pub(super) fn of_io(attempt: &'static str, error: io::Error) -> Self {
        let inner = error.get_ref();
        if let Some(tls) = inner.and_then(|e| e.downcast_ref::<rustls::Error>()) {
            return Self::Tls(tls.into());
        }
        Self::Io {
            attempt,
            source: Arc::new(error),
        }
    }
}
