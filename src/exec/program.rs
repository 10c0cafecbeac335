//! Starting the keeper's program: detached, in a session of its own, so that it outlives whoever started it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::client::is_running;
use super::dir::open_append;
use super::error::KeeperError;

/// How long a started keeper may take to answer: it may have to wait for a half-started child of the last one.
const ANSWER_WAIT: Duration = Duration::from_secs(35);

/// Which program is the keeper, and the arguments that come before `run --state DIR`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeeperProgram {
    /// The program.
    pub program: PathBuf,
    /// Its first arguments: none for `ucron-keeper`, `keeper` for `ucron`.
    pub args: Vec<OsString>,
}

impl KeeperProgram {
    /// `ucron-keeper`, beside this program's own file, else in PATH.
    pub fn find() -> Self {
        let name = "ucron-keeper";
        let beside = std::env::current_exe()
            .ok()
            .and_then(|own| Some(own.parent()?.join(name)))
            .filter(|path| path.is_file());
        Self {
            program: beside.unwrap_or_else(|| PathBuf::from(name)),
            args: Vec::new(),
        }
    }

    /// This program itself, with these arguments first.
    pub fn own(args: impl IntoIterator<Item = OsString>) -> std::io::Result<Self> {
        Ok(Self {
            program: std::env::current_exe()?,
            args: args.into_iter().collect(),
        })
    }

    /// Starts it for `dir` and returns when it answers. Its words go to `DIR/keeper.log`.
    pub fn start(&self, dir: &Path) -> Result<(), KeeperError> {
        let log = dir.join("keeper.log");
        let mut child = self.spawn(dir, &log)?;
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
            .spawn()
            .map_err(KeeperError::io("start", &self.program))
    }
}
