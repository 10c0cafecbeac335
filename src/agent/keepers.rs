//! Connecting to the keeper, starting one where none runs: blocking work on a thread of its own for each try.
//! The link's events come to the loop under the try's number, so that the last words of an old link are not
//! taken for those of a new one.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tracing::{error, info};

use super::shell::Happening;
use crate::exec::KeeperError;
use crate::exec::KeeperLink;
use crate::exec::KeeperProgram;
use crate::model::AgentName;
use crate::proto::redial::Redial;

/// A keeper that ends sooner than this is started ever more rarely.
const STEADY: Duration = Duration::from_secs(1);

/// Connects, again and again.
#[derive(Debug)]
pub struct Keepers {
    dir: PathBuf,
    program: KeeperProgram,
    happenings: UnboundedSender<Happening>,
    tries: u64,
    waits: Redial,
    found_at: Option<Instant>,
    told: String,
}

impl Keepers {
    /// For the keeper of this state directory.
    pub fn new(
        dir: PathBuf,
        program: KeeperProgram,
        happenings: UnboundedSender<Happening>,
    ) -> Self {
        Self {
            dir,
            program,
            happenings,
            tries: 0,
            waits: Redial::default(),
            found_at: None,
            told: String::new(),
        }
    }

    /// Tries to connect, at once or after a wait that grows; [`Happening::KeeperFound`] or
    /// [`Happening::KeeperMissing`] follows, under the number given back.
    pub fn try_once(&mut self, name: &AgentName) -> u64 {
        self.tries += 1;
        if self
            .found_at
            .take()
            .is_some_and(|at| at.elapsed() >= STEADY)
        {
            self.waits = Redial::default();
        }
        let number = self.tries;
        let wait = self.waits.next(0);
        let (dir, program) = (self.dir.clone(), self.program.clone());
        let (name, happenings) = (name.clone(), self.happenings.clone());
        let failed = self.happenings.clone();
        let started = std::thread::Builder::new()
            .name("keeper".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || {
                std::thread::sleep(wait);
                connect(number, &dir, &program, &name, &happenings);
            });
        if let Err(error) = started {
            let reason = format!("cannot start a thread: {error}");
            // Where the loop is gone nobody is left to tell.
            let _ = failed.send(Happening::KeeperMissing { number, reason });
        }
        number
    }

    /// The keeper answers: when it has done so for a while, its loss is followed by a try at once.
    pub fn found(&mut self) {
        self.found_at = Some(Instant::now());
        self.told.clear();
        info!("connected to the keeper");
    }

    /// Tells a reason once, however often it comes.
    pub fn missing(&mut self, reason: &str) {
        if self.told != reason {
            error!("no keeper: {reason}");
            reason.clone_into(&mut self.told);
        }
    }
}

fn connect(
    number: u64,
    dir: &Path,
    program: &KeeperProgram,
    name: &AgentName,
    happenings: &UnboundedSender<Happening>,
) {
    let happening = match link(number, dir, program, name, happenings) {
        Ok((link, open)) => Happening::KeeperFound { number, link, open },
        Err(error) => Happening::KeeperMissing {
            number,
            reason: error.to_string(),
        },
    };
    let _ = happenings.send(happening);
}

/// Holds a link's events back until it is dropped.
pub type Gate = mpsc::Sender<()>;

type Found = (KeeperLink, Gate);

fn link(
    number: u64,
    dir: &Path,
    program: &KeeperProgram,
    name: &AgentName,
    happenings: &UnboundedSender<Happening>,
) -> Result<Found, KeeperError> {
    match connect_once(number, dir, name, happenings) {
        Err(KeeperError::NotRunning(_)) => {
            info!("no keeper runs for the state directory; one is started");
            program.start(dir)?;
            connect_once(number, dir, name, happenings)
        }
        linked => linked,
    }
}

/// The link's thread waits with its first event until the loop has the link.
fn connect_once(
    number: u64,
    dir: &Path,
    name: &AgentName,
    happenings: &UnboundedSender<Happening>,
) -> Result<Found, KeeperError> {
    let (open, gate): (Gate, _) = mpsc::channel();
    let happenings = happenings.clone();
    let mut gate = Some(gate);
    let link = KeeperLink::connect(dir, name, move |event| {
        if let Some(gate) = gate.take() {
            // The loop drops its end once it has the link, or never will.
            let _ = gate.recv();
        }
        let _ = happenings.send(Happening::Keeper { number, event });
    })?;
    Ok((link, open))
}
