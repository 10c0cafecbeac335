//! The queue in front of a link's writing half: a core pushes frames without waiting, a worker writes them.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use thiserror::Error;
use tokio::sync::mpsc;

use super::{Bounds, Gone, LinkWriter, encode};
use crate::proto::fault::{LinkFault, Message};
use crate::proto::hello::ErrorFrame;

/// Queued frames are written together up to about so many bytes.
const BATCH: usize = 64 * 1024;

/// A queue in front of this writer, and the worker behind it.
pub(super) fn open<Out: Message>(
    writer: LinkWriter<Out>,
) -> (LinkSender<Out>, impl Future<Output = ()> + Send + 'static) {
    let (queue, waiting) = mpsc::unbounded_channel();
    let held = Arc::new(AtomicUsize::new(0));
    let sender = LinkSender {
        queue,
        held: Arc::clone(&held),
        bounds: writer.bounds,
        gone: writer.gone.clone(),
        message: PhantomData,
    };
    (sender, empty(writer, waiting, held))
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
