//! How a center is reached: all known addresses at once, the leader if it answers, else whoever does.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::wire::{Broken, Wire};
use crate::cli::fault::{Fault, FaultCode};
use crate::model::Epoch;
use crate::proto::handshake;
use crate::proto::hello::Welcome;
use crate::proto::identity::{Identity, store_centers, with_told};
use crate::proto::link::LinkFault;
use crate::proto::tls::{TlsError, check_life, client_config};
use crate::rule::format_duration;

/// A stream of bytes both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Duplex for T {}

/// A stream being opened.
pub type Opening = Pin<Box<dyn Future<Output = Result<Box<dyn Duplex>, LinkFault>> + Send>>;

/// Where centers are and how a stream to one is opened.
pub trait Dial: Send + Sync {
    /// Their addresses, the one to try first first.
    fn addresses(&self) -> &[String];

    /// Opens a stream to this one.
    fn open(&self, address: &str) -> Opening;

    /// Keeps what a center says of all centers' addresses, for the next time.
    fn learn(&self, _told: &[String]) {}
}

type Greeting = Pin<Box<dyn Future<Output = Result<(Wire, Welcome), Broken>> + Send>>;

/// Between two rounds of dialling: a center that is being restarted is found as soon as it is back.
const PAUSE: Duration = Duration::from_millis(200);

/// How long the others are waited for once a center that stands by has answered.
const ROUND: Duration = Duration::from_secs(1);

/// Why no center was reached in one round.
enum Missed {
    /// One of them refused for a reason that stays.
    Refused(Fault),
    /// Nobody answered; what happened at each address.
    Nobody(Vec<(String, Option<String>)>),
}

/// Reaches a center: the first that leads; where none does until the time is over, one that stands by.
pub(super) async fn reach(dial: &dyn Dial, timeout: Duration) -> Result<(Wire, Welcome), Fault> {
    let deadline = Instant::now() + timeout;
    let mut standby = None;
    loop {
        let missed = match round(dial, deadline).await {
            Ok((wire, welcome)) if welcome.epoch > Epoch(0) => {
                dial.learn(&welcome.centers);
                return Ok((wire, welcome));
            }
            Ok(greeted) => {
                standby = Some(greeted);
                Vec::new()
            }
            Err(Missed::Refused(fault)) => return standby.ok_or(fault),
            Err(Missed::Nobody(tried)) => tried,
        };
        if Instant::now() + PAUSE >= deadline {
            return standby.ok_or_else(|| unreached(&missed, timeout));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Dials all addresses at once: the first that leads, else the first that stands by. Once one that stands by has
/// answered, the others have a second.
async fn round(dial: &dyn Dial, deadline: Instant) -> Result<(Wire, Welcome), Missed> {
    let mut tried: Vec<(String, Option<String>)> = Vec::new();
    let mut greetings: Vec<Option<Greeting>> = Vec::new();
    for address in dial.addresses() {
        tried.push((address.clone(), None));
        greetings.push(Some(greeting(dial.open(address))));
    }
    let mut standby = None;
    let mut refused = None;
    let mut until = deadline;
    while let Ok(Some((at, outcome))) = tokio::time::timeout_at(until, first(&mut greetings)).await
    {
        match outcome {
            Ok((wire, welcome)) if welcome.epoch > Epoch(0) => return Ok((wire, welcome)),
            Ok(greeted) => {
                standby = standby.or(Some(greeted));
                until = deadline.min(Instant::now() + ROUND);
            }
            Err(Broken::Lost(why)) => tried[at].1 = Some(why),
            Err(Broken::Final(fault)) => refused = refused.or(Some(fault)),
        }
    }
    match (standby, refused) {
        (Some(greeted), _) => Ok(greeted),
        (None, Some(fault)) => Err(Missed::Refused(fault)),
        (None, None) => Err(Missed::Nobody(tried)),
    }
}

fn greeting(opening: Opening) -> Greeting {
    Box::pin(async move {
        let stream = opening.await?;
        Wire::greet(stream).await
    })
}

/// The first of them that is ready, taken out; none when all have been.
async fn first(
    greetings: &mut [Option<Greeting>],
) -> Option<(usize, Result<(Wire, Welcome), Broken>)> {
    std::future::poll_fn(|context| {
        let mut left = false;
        for (at, slot) in greetings.iter_mut().enumerate() {
            let Some(greeting) = slot else { continue };
            left = true;
            if let Poll::Ready(outcome) = greeting.as_mut().poll(context) {
                *slot = None;
                return Poll::Ready(Some((at, outcome)));
            }
        }
        if left {
            Poll::Pending
        } else {
            Poll::Ready(None)
        }
    })
    .await
}

fn unreached(tried: &[(String, Option<String>)], timeout: Duration) -> Fault {
    let span = format_duration(timeout);
    let each: Vec<String> = tried
        .iter()
        .map(|(address, why)| match why {
            Some(why) => format!("{address}: {why}"),
            None => format!("{address}: no answer"),
        })
        .collect();
    let text = format!("no center reached within {span}: {}", each.join("; "));
    Fault::new(FaultCode::NoCenter, text)
        .hint("is the center running and its port open? `ucron login` takes a new address")
}

/// The centers of a client home, reached over TLS.
pub struct Centers {
    addresses: Vec<String>,
    home: Option<PathBuf>,
    open: Box<dyn Fn(String) -> Opening + Send + Sync>,
}

impl Centers {
    /// These centers, spoken to as this operator.
    pub fn new(identity: &Identity, addresses: Vec<String>) -> Result<Self, Fault> {
        let unusable = |error: TlsError| Fault::new(FaultCode::Identity, error.to_string());
        check_life(identity.peer(), crate::clock::now()).map_err(unusable)?;
        let config = client_config(identity).map_err(unusable)?;
        let open = move |address: String| -> Opening {
            let config = Arc::clone(&config);
            Box::pin(async move {
                let dialled = handshake::dial(&address, &config).await?;
                Ok(Box::new(dialled.stream) as Box<dyn Duplex>)
            })
        };
        Ok(Self {
            addresses,
            home: None,
            open: Box::new(open),
        })
    }

    /// Addresses that are learnt are kept in this client home.
    #[must_use]
    pub fn kept_in(mut self, home: &Path) -> Self {
        self.home = Some(home.to_owned());
        self
    }
}

impl Dial for Centers {
    fn addresses(&self) -> &[String] {
        &self.addresses
    }

    fn open(&self, address: &str) -> Opening {
        (self.open)(address.to_owned())
    }

    fn learn(&self, told: &[String]) {
        if let (Some(home), Some(all)) = (&self.home, with_told(&self.addresses, told)) {
            // A home that cannot be written learns nothing; what it knows is enough for now.
            drop(store_centers(home, &all));
        }
    }
}
