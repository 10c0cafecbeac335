//! A link: messages over one connection, in both directions, whatever carries it and whoever speaks. Reading has
//! a limit in size and time; writing through a queue has a bound in bytes, so that no peer slows this side.

mod queue;

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::codec::{Lines, MAX_FRAME, read_frame, write_frame};
pub use super::fault::{LinkFault, Message};
use super::hello::ErrorFrame;
pub use queue::{LinkSender, SendFault};

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
        let Some(message) = fault.and_then(Out::of_error) else {
            self.writer.shut().await;
            return;
        };
        // The link is over however this goes.
        let _ = timeout(CLOSE_LIMIT, self.writer.send(&message)).await;
        self.writer.shut().await;
        // What the peer still sends is read: the system would otherwise reset the connection and the frame with it.
        let _ = timeout(CLOSE_LIMIT, self.reader.discard()).await;
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

    /// Reads and forgets until the end.
    async fn discard(&mut self) {
        let mut waste = [0; 1024];
        while let Ok(1..) = self.stream.read(&mut waste).await {}
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
        queue::open(self)
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

#[cfg(test)]
mod tests;
