//! The agent's side of the keeper's socket: blocking, with one reader thread; no async runtime.

use std::io::{self, BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use tracing::warn;

use super::dir;
use super::error::KeeperError;
use super::tree::open_pid;
use super::wire::{Command, Event, KEEPER_PROTOCOL};
use crate::model::AgentName;

/// How long a write may wait for a keeper that hangs.
const WRITE_WAIT: Duration = Duration::from_secs(10);

/// How long a keeper that closed its end may take to be gone.
const END_WAIT: Duration = Duration::from_secs(10);

/// What comes over a link.
#[derive(Clone, PartialEq, Debug)]
pub enum LinkEvent {
    /// The keeper says something.
    Event(Box<Event>),
    /// The keeper is gone, or has another agent; the last event of a link.
    Closed,
}

/// A link to the keeper; it ends when this is dropped.
#[derive(Debug)]
pub struct KeeperLink {
    stream: Mutex<UnixStream>,
}

impl KeeperLink {
    /// Connects to the keeper of `dir` and says hello. `sink` is called from the link's own thread.
    pub fn connect(
        dir: &Path,
        agent: &AgentName,
        sink: impl FnMut(LinkEvent) + Send + 'static,
    ) -> Result<Self, KeeperError> {
        let stream = dir::connect(dir).map_err(|e| not_running(dir, e))?;
        let system = KeeperError::system;
        stream
            .set_write_timeout(Some(WRITE_WAIT))
            .map_err(system("set up the link to the keeper"))?;
        let reader = stream
            .try_clone()
            .map_err(system("set up the link to the keeper"))?;
        std::thread::Builder::new()
            .name("keeper-link".to_owned())
            .stack_size(512 * 1024)
            .spawn(move || read(reader, sink))
            .map_err(system("start the thread of the link to the keeper"))?;
        let link = Self {
            stream: Mutex::new(stream),
        };
        let hello = Command::Hello {
            protocol: KEEPER_PROTOCOL,
            agent: agent.clone(),
        };
        link.send(&hello)
            .map_err(system("say hello to the keeper"))?;
        Ok(link)
    }

    /// Sends a command; returns when the kernel has it. An error means that the link is over.
    pub fn send(&self, command: &Command) -> io::Result<()> {
        let mut line = serde_json::to_vec(command)?;
        line.push(b'\n');
        let mut stream = self
            .stream
            .lock()
            .map_err(|_| io::Error::other("a thread panicked while it sent"))?;
        stream.write_all(&line).inspect_err(|_| {
            // Half a line may be out: nothing that follows would be understood.
            drop(stream.shutdown(Shutdown::Both));
        })
    }
}

impl Drop for KeeperLink {
    fn drop(&mut self) {
        if let Ok(stream) = self.stream.lock() {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

fn read(stream: UnixStream, mut sink: impl FnMut(LinkEvent)) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.read_until(b'\n', &mut line) {
            Ok(len) if len > 0 => {}
            _ => break,
        }
        match serde_json::from_slice(&line) {
            Ok(event) => sink(LinkEvent::Event(Box::new(event))),
            Err(e) => {
                warn!(error = %e, "the keeper said something that is no event; the link is closed");
                break;
            }
        }
    }
    drop(reader.get_ref().shutdown(Shutdown::Both));
    sink(LinkEvent::Closed);
}

fn not_running(dir: &Path, e: io::Error) -> KeeperError {
    match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            KeeperError::NotRunning(dir.to_owned())
        }
        _ => KeeperError::io("connect to the keeper of", dir)(e),
    }
}

/// Whether a keeper answers for `dir`.
pub fn is_running(dir: &Path) -> bool {
    dir::connect(dir).is_ok()
}

/// Tells the keeper of `dir` to end, with every process or, with `leave`, alone; returns when it has ended.
pub fn stop(dir: &Path, leave: bool) -> Result<(), KeeperError> {
    let mut stream = dir::connect(dir).map_err(|e| not_running(dir, e))?;
    let system = KeeperError::system;
    let keeper = rustix::net::sockopt::socket_peercred(&stream)
        .map_err(io::Error::from)
        .and_then(|peer| open_pid(peer.pid.as_raw_pid()))
        .map_err(system("find the keeper's process"))?;
    let mut line = serde_json::to_vec(&Command::Shutdown { leave })
        .map_err(|e| system("write a command")(io::Error::from(e)))?;
    line.push(b'\n');
    stream
        .write_all(&line)
        .map_err(system("speak to the keeper"))?;
    // It sends nothing; the end of the stream is its end.
    // A keeper that turned this away closes its end too, with an error where it has not read what was said.
    let ended = io::copy(&mut stream, &mut io::sink());
    if ends(&keeper).map_err(system("wait for the keeper's end"))? {
        return Ok(());
    }
    ended.map_err(system("wait for the keeper's end"))?;
    Err(KeeperError::Deaf(dir.to_owned()))
}

/// Whether a process that has said its last word ends.
fn ends(process: &OwnedFd) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let patience = Timespec {
        tv_sec: END_WAIT.as_secs().cast_signed(),
        tv_nsec: 0,
    };
    loop {
        match poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&patience)) {
            Err(rustix::io::Errno::INTR) => {}
            ready => return Ok(ready? > 0),
        }
    }
}
