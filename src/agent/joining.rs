//! Joining a fleet: a token and a certificate request go to the center, the identity comes back into the state
//! directory. The token is never in the command line or the environment. Where only the center can dial, the
//! host waits: it shows a new key, which the operator pins at the center, and believes no center but the token's.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::Instant;

use super::error::AgentError;
use super::home::{settle_listen, store_listen, store_name};
use crate::files::make_private_dir;
use crate::model::{AgentName, PeerRole, Token};
use crate::proto::gate::{Gate, MAX_UNFINISHED};
use crate::proto::handshake::{Accepted, FIRST_LIMIT, accept};
use crate::proto::identity::{Identity, store_centers, with_told};
use crate::proto::join::{self, Applicant, FromJoiner, Given, JoinFault, Joined, Stored};
use crate::proto::link::LinkFault;
use crate::workers::Workers;

/// Longest token file that is read.
const MAX_TOKEN: u64 = 4096;
/// How long a center that does not lead yet is asked again.
const PATIENCE: Duration = Duration::from_secs(10);
/// A pause between two tries to join, and after an accept that failed (no descriptors left): nothing spins.
const PAUSE: Duration = Duration::from_millis(100);
/// How long connections may take to end.
const DRAIN: Duration = Duration::from_secs(2);

/// How to join.
#[derive(Clone, Debug)]
pub struct Joining {
    /// What to do to meet a center.
    pub way: Way,
    /// The state directory; made where there is none.
    pub dir: PathBuf,
    /// The name wished for; the host's where none.
    pub name: Option<AgentName>,
    /// Where the token is; standard input where none.
    pub token_file: Option<PathBuf>,
}

/// How host and center meet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Way {
    /// The host dials `HOST:PORT` of a center.
    Dial(String),
    /// The host waits at `ADDR:PORT`.
    Listen(String),
}

/// Joins; gives the name under which the center knows the agent.
pub async fn join(joining: &Joining) -> Result<AgentName, AgentError> {
    let dir = &joining.dir;
    if Identity::exists(dir) {
        return Err(AgentError::Joined(dir.clone()));
    }
    make_private_dir(dir)?;
    let wished = match joining.name.clone() {
        Some(name) => name,
        None => host_name()?,
    };
    let token = Token::parse(read_token(joining.token_file.as_deref())?.trim())?;
    match &joining.way {
        Way::Dial(center) => {
            let (identity, joined) = join_leader(center, &token, &wished).await?;
            let dialled = std::slice::from_ref(center);
            let centers = with_told(dialled, &joined.centers).unwrap_or_else(|| dialled.to_vec());
            store(dir, &identity, &joined, &centers)
        }
        Way::Listen(address) => wait(dir, address, &token, wished).await,
    }
}

/// Joins; where the center does not lead yet, as in its first moments, again for a while.
async fn join_leader(
    center: &str,
    token: &Token,
    wished: &AgentName,
) -> Result<(Identity, Joined), JoinFault> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let joining = join::join(center, token, PeerRole::Agent, Some(wished.clone())).await;
        match &joining {
            Err(fault) if fault.sent_away().is_some() && Instant::now() < deadline => {
                tokio::time::sleep(PAUSE).await;
            }
            _ => return joining,
        }
    }
}

fn store(
    dir: &Path,
    identity: &Identity,
    joined: &Joined,
    centers: &[String],
) -> Result<AgentName, AgentError> {
    let name = AgentName::parse(&joined.name)?;
    store_centers(dir, centers)?;
    store_name(dir, &name)?;
    // Last: with an identity the directory counts as joined.
    identity.store(dir)?;
    Ok(name)
}

/// Waits for the center, tells the operator what to do, and joins through the first that proves to be the token's.
async fn wait(
    dir: &Path,
    address: &str,
    token: &Token,
    wished: AgentName,
) -> Result<AgentName, AgentError> {
    settle_listen(dir, address)?;
    let applicant = Applicant::new(token, PeerRole::Agent, Some(wished.clone()))?;
    let fail = || AgentError::system(format!("listen at `{address}`"));
    let listener = TcpListener::bind(address).await.map_err(fail())?;
    let bound = listener.local_addr().map_err(fail())?;
    tell_operator(bound, &wished, &applicant)?;
    let given = first_given(listener, &applicant).await?;
    let (identity, joined, mut link) = applicant.accept(given)?;
    store_listen(dir, bound)?;
    let name = store(dir, &identity, &joined, &joined.centers)?;
    let told = link.send(&FromJoiner::Stored(Stored {})).await;
    link.close(None).await;
    match told {
        Ok(()) => Ok(name),
        Err(fault) => {
            // The center has taken back what it could not hear of.
            Identity::remove(dir).map_err(AgentError::system("remove the identity again"))?;
            Err(AgentError::Refused(fault))
        }
    }
}

/// The next command on standard output, words on standard error.
fn tell_operator(
    bound: SocketAddr,
    name: &AgentName,
    applicant: &Applicant,
) -> Result<(), AgentError> {
    let host = if bound.ip().is_unspecified() {
        format!("{}:{}", host_text()?, bound.port())
    } else {
        bound.to_string()
    };
    let key = applicant.fingerprint();
    let mut out = io::stdout().lock();
    writeln!(out, "ucron agent add {name} {host} --fingerprint {key}")
        .and_then(|()| out.flush())
        .map_err(AgentError::system("write to standard output"))?;
    let words = format!(
        "waiting for the center at {bound}; next: the command above, on a client (its address must be one that the center can dial)"
    );
    say(&words)
}

fn say(words: &str) -> Result<(), AgentError> {
    writeln!(io::stderr(), "{words}").map_err(AgentError::system("write to standard error"))
}

/// What the first center gave that is the token's; whoever else connects gets nothing and holds up nobody.
async fn first_given(listener: TcpListener, applicant: &Applicant) -> Result<Given, AgentError> {
    let workers = Workers::new();
    let (meet, mut centers) = channel(1);
    let door = Door {
        config: applicant.wait_config()?,
        gate: Gate::new(MAX_UNFINISHED),
        workers: workers.clone(),
        meet,
    };
    let stop = workers.token().clone();
    workers.spawn("listen", async move {
        stop.run_until_cancelled(door.accept_all(listener)).await;
    });
    let given = loop {
        let Some(met) = centers.recv().await else {
            break Err(LinkFault::Closed);
        };
        match applicant.ask_dialler(met).await {
            // It was refused by the token's own center: waiting on would not help.
            Err(fault @ LinkFault::Told(_)) => break Err(fault),
            Err(fault) => say(&format!("a center did not answer: {fault}; still waiting"))?,
            Ok(given) => break Ok(given),
        }
    };
    workers.drain(DRAIN).await;
    given.map_err(AgentError::Refused)
}

/// Where connections come in: TLS, and only a center of the token's fleet goes further.
struct Door {
    config: Arc<rustls::ServerConfig>,
    gate: Gate,
    workers: Workers,
    meet: Sender<Accepted<TcpStream>>,
}

impl Door {
    async fn accept_all(&self, listener: TcpListener) {
        loop {
            let Ok((stream, address)) = listener.accept().await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let (config, pass) = (Arc::clone(&self.config), self.gate.enter());
            let (meet, stop) = (self.meet.clone(), self.workers.token().clone());
            let handshake = async move {
                match pass.through(accept(stream, &config, FIRST_LIMIT)).await {
                    // Where nobody receives, joining is over.
                    Some(Ok(center)) => drop(meet.send(center).await),
                    // Where standard error is gone nobody reads it.
                    Some(Err(fault)) => {
                        drop(say(&format!(
                            "refused a connection from {address}: {fault}"
                        )));
                    }
                    None => {}
                }
            };
            self.workers.spawn("handshake", async move {
                stop.run_until_cancelled(handshake).await;
            });
        }
    }
}

fn read_token(file: Option<&Path>) -> Result<String, AgentError> {
    let mut text = String::new();
    let read = match file {
        Some(path) => {
            let fail = AgentError::system(format!("read the token in `{}`", path.display()));
            let file = std::fs::File::open(path);
            file.and_then(|file| file.take(MAX_TOKEN).read_to_string(&mut text))
                .map_err(fail)
        }
        None => io::stdin()
            .lock()
            .take(MAX_TOKEN)
            .read_to_string(&mut text)
            .map_err(AgentError::system("read the token from standard input")),
    };
    read.map(|_| text)
}

fn host_text() -> Result<String, AgentError> {
    let path = "/proc/sys/kernel/hostname";
    let text = std::fs::read_to_string(path);
    let text = text.map_err(AgentError::system(format!(
        "read the host's name in `{path}`"
    )))?;
    Ok(text.trim().to_owned())
}

fn host_name() -> Result<AgentName, AgentError> {
    Ok(AgentName::parse(&host_text()?)?)
}
