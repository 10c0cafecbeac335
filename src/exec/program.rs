//! Starting the keeper's program: detached, in a session of its own, so that it outlives whoever started it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::attend::{Attendant, become_owner, steps_down};
use super::client::is_running;
use super::dir::{StateDir, open_append};
use super::error::KeeperError;

/// How long a started keeper may take to answer: it may have to wait for a half-started child of the last one.
const ANSWER_WAIT: Duration = Duration::from_secs(35);

/// Which program is the keeper, and the arguments that come before `run --state DIR`.
#[derive(Clone, Debug)]
pub struct KeeperProgram {
    program: PathBuf,
    args: Vec<OsString>,
    starter: Starter,
}

/// Who starts the program.
#[derive(Clone, Debug)]
enum Starter {
    /// Whoever asks.
    This,
    /// What stayed root when the agent stepped down.
    Attendant(Arc<Attendant>),
    /// Somebody else, without being asked.
    Others,
}

impl KeeperProgram {
    /// A program and its first arguments: none for `ucron-keeper`, `keeper` for `ucron`.
    pub fn new(program: PathBuf, args: Vec<OsString>) -> Self {
        Self {
            program,
            args,
            starter: Starter::This,
        }
    }

    /// `ucron-keeper`, beside this program's own file, else in PATH.
    pub fn find() -> Self {
        let name = "ucron-keeper";
        let beside = std::env::current_exe()
            .ok()
            .and_then(|own| Some(own.parent()?.join(name)))
            .filter(|path| path.is_file());
        Self::new(beside.unwrap_or_else(|| PathBuf::from(name)), Vec::new())
    }

    /// This program itself, with these arguments first.
    pub fn own(args: impl IntoIterator<Item = OsString>) -> std::io::Result<Self> {
        let program = std::env::current_exe()?;
        Ok(Self::new(program, args.into_iter().collect()))
    }

    /// The same as root, for an agent that is not: through `sudo -n`, which asks nobody.
    #[must_use]
    pub fn through_sudo(self) -> Self {
        let mut args: Vec<OsString> = vec!["-n".into(), "--".into(), self.program.into()];
        args.extend(self.args);
        Self::new("sudo".into(), args)
    }

    /// The same, started by others: whoever needs it waits.
    #[must_use]
    pub fn by_others(mut self) -> Self {
        self.starter = Starter::Others;
        self
    }

    /// The same where this program is root and `dir` another account's: this program becomes that account, after
    /// it has started an attendant that stays root and starts the keeper when it is asked to.
    pub fn step_down(mut self, dir: &Path) -> Result<Self, KeeperError> {
        if steps_down(dir) {
            let attendant = self.spawn_attendant(dir)?;
            let attendant =
                Attendant::new(attendant).map_err(KeeperError::system("start the attendant"))?;
            self.starter = Starter::Attendant(Arc::new(attendant));
            become_owner(dir)?;
        }
        Ok(self)
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "the one file in which a program of ours is started"
    )]
    fn spawn_attendant(&self, dir: &Path) -> Result<Child, KeeperError> {
        Command::new(&self.program)
            .args(&self.args)
            .arg("attend")
            .arg("--state")
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A key that ends the agent must not end it first.
            .process_group(0)
            .spawn()
            .map_err(KeeperError::io("start", &self.program))
    }

    /// Starts it for `dir` and returns when it answers. Its words go to `DIR/keeper.log`, or where DIR is not
    /// this program's to `DIR/keeper/log`.
    pub fn start(&self, dir: &Path) -> Result<(), KeeperError> {
        match &self.starter {
            Starter::This => {}
            Starter::Attendant(attendant) => return attendant.start(),
            Starter::Others => return Err(KeeperError::NotRunning(dir.to_owned())),
        }
        // Held until the end: the log lies behind its descriptors.
        let room = steps_down(dir).then(|| StateDir::open(dir)).transpose()?;
        let (log, path) = match &room {
            Some(room) => (dir.join("keeper/log"), room.log()),
            None => (dir.join("keeper.log"), dir.join("keeper.log")),
        };
        let mut child = self.spawn(dir, &path)?;
        let deadline = Instant::now() + ANSWER_WAIT;
        loop {
            if is_running(dir) {
                // Somebody must take its exit status when it ends.
                std::thread::Builder::new()
                    .name("keeper-end".to_owned())
                    .stack_size(128 * 1024)
                    .spawn(move || drop(child.wait()))
                    .map_err(KeeperError::system("start a thread"))?;
                return Ok(());
            }
            let fault = match child.try_wait() {
                Ok(Some(status)) => format!("ended at once ({status})"),
                _ if Instant::now() > deadline => "does not answer".to_owned(),
                _ => {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                }
            };
            return Err(KeeperError::Program {
                program: self.program.clone(),
                fault,
                log,
            });
        }
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "the one place where a program of ours is started; runs are started by exec's spawn"
    )]
    fn spawn(&self, dir: &Path, log: &Path) -> Result<Child, KeeperError> {
        let words = open_append(log, 0o600).map_err(KeeperError::io("open", log))?;
        Command::new(&self.program)
            .args(&self.args)
            .arg("run")
            .arg("--state")
            .arg(dir)
            .arg("--detach")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(words)
            // What ends the agent from its terminal leaves it, and a `sudo` before it, alone.
            .process_group(0)
            .spawn()
            .map_err(KeeperError::io("start", &self.program))
    }
}
