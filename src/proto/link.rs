//! A link: messages over one connection, in both directions, whatever carries it and whoever speaks. Reading has
//! a limit in size and time; writing through a queue has a bound in bytes, so that no peer slows this side.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::agent::{FromAgent, ToAgent};
use super::client::{FromClient, ToClient};
use super::codec::{FrameFault, Lines, MAX_FRAME, read_frame, write_frame};
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

/// The limits of one link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Bytes of one frame at most, either way.
    pub max_frame: usize,
    /// How long a begun line may take to end, and a write to get through.
    pub line: Duration,
    /// Bytes waiting to be sent at most; beyond them the link is closed. At least two frames.
    pub queue: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            max_frame: MAX_FRAME,
            // DESIGN, section 3: a begun line ends within 30 s.
            line: Duration::from_secs(30),
            queue: 8 * MAX_FRAME,
        }
    }
}

/// How long a last frame may take to get through before the connection is dropped.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// Queued frames are written together up to about so many bytes.
const BATCH: usize = 64 * 1024;

/// Both directions of a link, before it is split.
pub struct Link<Out, In> {
    /// What this side sends.
    pub writer: LinkWriter<Out>,
    /// What the other side sends.
    pub reader: LinkReader<In>,
}

impl<Out: Message, In: Message> Link<Out, In> {
    /// A link over this connection.
    pub fn new<S>(stream: S, bounds: Bounds) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (read, write) = tokio::io::split(stream);
        let gone = Gone::default();
        Self {
            writer: LinkWriter::new(Box::new(write), bounds, gone.clone()),
            reader: LinkReader::new(Box::new(read), bounds, gone),
        }
    }

    /// Sends one message and waits until it is handed to the system.
    pub async fn send(&mut self, message: &Out) -> Result<(), LinkFault> {
        self.writer.send(message).await
    }

    /// The next message; none at the end. See [`LinkReader::next`].
    pub async fn next(&mut self) -> Result<Option<In>, LinkFault> {
        self.reader.next().await
    }

    /// Sends the error frame for a fault, if there is one to send, and closes.
    pub async fn close(mut self, fault: Option<ErrorFrame>) {
        if let Some(message) = fault.and_then(Out::of_error) {
            // The link is over either way.
            let _ = timeout(CLOSE_LIMIT, self.writer.send(&message)).await;
        }
        self.writer.shut().await;
    }

    /// Splits the link into a queue to send into, the worker that empties it (to be spawned), and the reader.
    pub fn split(
        self,
    ) -> (
        LinkSender<Out>,
        impl Future<Output = ()> + Send + 'static,
        LinkReader<In>,
    ) {
        let (sender, worker) = self.writer.queued();
        (sender, worker, self.reader)
    }
}

impl<Out, In> fmt::Debug for Link<Out, In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Link")
    }
}

/// Why the sending half is gone; tells the reading half.
#[derive(Clone, Default, Debug)]
struct Gone {
    token: CancellationToken,
    fault: Arc<OnceLock<LinkFault>>,
}

impl Gone {
    fn with(&self, fault: LinkFault) {
        // Only the first reason counts.
        let _ = self.fault.set(fault);
        self.token.cancel();
    }

    async fn wait(&self) -> Option<LinkFault> {
        self.token.cancelled().await;
        self.fault.get().cloned()
    }
}

/// The reading half.
pub struct LinkReader<In> {
    stream: Box<dyn AsyncRead + Send + Unpin>,
    lines: Lines,
    line_limit: Duration,
    begun_at: Option<Instant>,
    gone: Gone,
    message: PhantomData<fn() -> In>,
}

impl<In: Message> LinkReader<In> {
    fn new(stream: Box<dyn AsyncRead + Send + Unpin>, bounds: Bounds, gone: Gone) -> Self {
        Self {
            stream,
            lines: Lines::new(bounds.max_frame),
            line_limit: bounds.line,
            begun_at: None,
            gone,
            message: PhantomData,
        }
    }

    /// Changes how long a frame may be; for a link whose peer has become known.
    pub fn set_max_frame(&mut self, bytes: usize) {
        self.lines.set_limit(bytes);
    }

    /// The next message; none when the peer, or this side's sender, has closed the link. A peer's error frame is
    /// [`LinkFault::Told`]. Nothing can be read after a fault. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<In>, LinkFault> {
        loop {
            if let Some(line) = self.lines.next_line()? {
                self.begun_at = self.lines.has_begun().then(Instant::now);
                let message: In = read_frame(&line)?;
                return match message.as_error() {
                    Some(frame) => Err(LinkFault::Told(frame.clone())),
                    None => Ok(Some(message)),
                };
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// Reads what there is; false at the end.
    async fn fill(&mut self) -> Result<bool, LinkFault> {
        let begun = self.lines.has_begun();
        let late = self.begun_at.map(|at| at + self.line_limit);
        let read = tokio::select! {
            biased;
            fault = self.gone.wait() => return fault.map_or(Ok(false), Err),
            read = self.stream.read_buf(self.lines.room()) => read,
            () = until(late) => return Err(LinkFault::Timeout("a line was begun and not ended")),
        };
        match read {
            Ok(0) if begun => Err(LinkFault::Cut),
            Ok(0) => Ok(false),
            Ok(_) => {
                self.begun_at.get_or_insert_with(Instant::now);
                Ok(true)
            }
            // A peer that was killed says no good-bye; between lines nothing is lost by that.
            Err(error) if is_end(&error) && !begun => Ok(false),
            Err(error) if is_end(&error) => Err(LinkFault::Cut),
            Err(error) => Err(LinkFault::of_io("read", error)),
        }
    }
}

impl<In> fmt::Debug for LinkReader<In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkReader")
    }
}

fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
    )
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The writing half.
pub struct LinkWriter<Out> {
    stream: Box<dyn AsyncWrite + Send + Unpin>,
    bounds: Bounds,
    gone: Gone,
    message: PhantomData<fn(Out)>,
}

impl<Out: Message> LinkWriter<Out> {
    fn new(stream: Box<dyn AsyncWrite + Send + Unpin>, bounds: Bounds, gone: Gone) -> Self {
        Self {
            stream,
            bounds,
            gone,
            message: PhantomData,
        }
    }

    /// Sends one message and waits until it is handed to the system.
    pub async fn send(&mut self, message: &Out) -> Result<(), LinkFault> {
        let bytes = encode(message, self.bounds.max_frame)?;
        self.write(&bytes).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), LinkFault> {
        let writing = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        match timeout(self.bounds.line, writing).await {
            Ok(written) => written.map_err(|e| LinkFault::of_io("write", e)),
            Err(_elapsed) => Err(LinkFault::Slow),
        }
    }

    async fn shut(&mut self) {
        // A good-bye that the peer may miss: nothing hangs on it.
        let _ = timeout(CLOSE_LIMIT, self.stream.shutdown()).await;
        self.gone.token.cancel();
    }

    /// A queue to send into without waiting, and the worker that empties it, to be spawned.
    pub fn queued(self) -> (LinkSender<Out>, impl Future<Output = ()> + Send + 'static) {
        let (queue, waiting) = mpsc::unbounded_channel();
        let held = Arc::new(AtomicUsize::new(0));
        let sender = LinkSender {
            queue,
            held: Arc::clone(&held),
            bounds: self.bounds,
            gone: self.gone.clone(),
            message: PhantomData,
        };
        (sender, empty(self, waiting, held))
    }
}

impl<Out> fmt::Debug for LinkWriter<Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkWriter")
    }
}

fn encode<Out: Message>(message: &Out, max_frame: usize) -> Result<Vec<u8>, LinkFault> {
    let mut bytes = Vec::with_capacity(256);
    write_frame(message, &mut bytes).map_err(|e| LinkFault::Unwritable(Arc::new(e)))?;
    if bytes.len() - 2 > max_frame {
        return Err(LinkFault::Own(bytes.len()));
    }
    Ok(bytes)
}

/// What waits in the queue.
struct Queued {
    bytes: Vec<u8>,
    last: bool,
}

/// The worker behind a queue: writes what waits, several frames at once, until the last one, until nobody can
/// send any more, or until the link is given up.
async fn empty<Out: Message>(
    mut writer: LinkWriter<Out>,
    mut queue: mpsc::UnboundedReceiver<Queued>,
    held: Arc<AtomicUsize>,
) {
    let gone = writer.gone.clone();
    let writing = async {
        while let Some(mut batch) = queue.recv().await {
            while !batch.last && batch.bytes.len() < BATCH {
                let Ok(next) = queue.try_recv() else { break };
                batch.bytes.extend_from_slice(&next.bytes);
                batch.last = next.last;
            }
            writer.write(&batch.bytes).await?;
            held.fetch_sub(batch.bytes.len(), Ordering::Relaxed);
            if batch.last {
                break;
            }
        }
        Ok::<(), LinkFault>(())
    };
    let written = tokio::select! {
        biased;
        _ = gone.wait() => return,
        written = writing => written,
    };
    match written {
        Ok(()) => writer.shut().await,
        Err(fault) => gone.with(fault),
    }
}

/// Why a message was not taken into the queue; the link is over, or is about to be.
#[derive(Debug, Clone, Error)]
pub enum SendFault {
    /// The link is closed.
    #[error("the link is closed")]
    Closed,
    /// More waits than may; the link is closed by this.
    #[error("the peer does not keep up")]
    Slow,
    /// This message cannot be sent; the link goes on.
    #[error(transparent)]
    Message(LinkFault),
}

/// The sending end of a link's queue; clones send into the same. The link is shut when the last one is dropped.
pub struct LinkSender<Out> {
    queue: mpsc::UnboundedSender<Queued>,
    held: Arc<AtomicUsize>,
    bounds: Bounds,
    gone: Gone,
    message: PhantomData<fn(Out)>,
}

impl<Out: Message> LinkSender<Out> {
    /// Takes a message into the queue, without waiting. Where more than the bound would wait, the link is closed
    /// and both halves say so.
    pub fn try_send(&self, message: &Out) -> Result<(), SendFault> {
        let bytes = encode(message, self.bounds.max_frame).map_err(SendFault::Message)?;
        self.push(bytes, false)
    }

    /// Sends a last error frame, if one is given, behind everything that waits, then closes the link.
    pub fn close(&self, frame: Option<ErrorFrame>) {
        let message = frame.and_then(Out::of_error);
        let bytes = message.and_then(|m| encode(&m, self.bounds.max_frame).ok());
        // Where it is closed already there is nothing to do.
        let _ = self.push(bytes.unwrap_or_default(), true);
    }

    fn push(&self, bytes: Vec<u8>, last: bool) -> Result<(), SendFault> {
        if self.gone.token.is_cancelled() {
            return Err(SendFault::Closed);
        }
        let len = bytes.len();
        if self.held.fetch_add(len, Ordering::Relaxed) + len > self.bounds.queue && !last {
            self.gone.with(LinkFault::Slow);
            return Err(SendFault::Slow);
        }
        self.queue
            .send(Queued { bytes, last })
            .map_err(|_| SendFault::Closed)
    }

    /// Bytes that wait to be written.
    pub fn waiting(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether nothing can be sent any more.
    pub fn is_closed(&self) -> bool {
        self.gone.token.is_cancelled()
    }

    /// Returns once nothing can be sent any more, with the fault if there was one.
    pub async fn closed(&self) -> Option<LinkFault> {
        self.gone.wait().await
    }
}

impl<Out> Clone for LinkSender<Out> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            held: Arc::clone(&self.held),
            bounds: self.bounds,
            gone: self.gone.clone(),
            message: PhantomData,
        }
    }
}

impl<Out> fmt::Debug for LinkSender<Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkSender")
    }
}

#[cfg(test)]
mod tests;
