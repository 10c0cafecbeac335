//! The agent's state directory:
//!
//!     DIR/identity.pem    key and certificate
//!     DIR/centers         addresses of the centers, as learnt when joining
//!     DIR/agent.toml      settings; joining with --listen writes where to wait
//!     DIR/agent.name      the agent's name, as the center last said it
//!     DIR/agent.journal   what must outlive the agent
//!     DIR/agent.lock      held while an agent runs
//!
//! The keeper's files beside them are the keeper's.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::error::AgentError;
use crate::config::{AgentSettings, Settings};
use crate::files::{check_private, read_private, write_private};
use crate::model::AgentName;
use crate::proto::identity::Identity;

/// A state directory that this process alone uses.
#[derive(Debug)]
pub struct Home {
    /// The directory.
    pub dir: PathBuf,
    /// Its name.
    pub name: AgentName,
    _lock: File,
}

impl Home {
    /// Takes the directory of a joined agent, and reads who it is.
    pub fn open(dir: &Path) -> Result<(Self, Identity), AgentError> {
        if !Identity::exists(dir) {
            return Err(AgentError::NotJoined(dir.to_owned()));
        }
        check_private(dir)?;
        let lock = lock(dir)?;
        let home = Self {
            name: AgentName::parse(read_private(&name_file(dir))?.trim())?,
            dir: dir.to_owned(),
            _lock: lock,
        };
        Ok((home, Identity::load(dir)?))
    }

    /// The center has given the agent another name.
    pub fn rename(&mut self, name: AgentName) -> Result<(), AgentError> {
        store_name(&self.dir, &name)?;
        self.name = name;
        Ok(())
    }
}

/// Refuses to wait at an address while the settings name another, at which the agent would listen later.
pub fn settle_listen(dir: &Path, address: &str) -> Result<(), AgentError> {
    match AgentSettings::load(dir, &[])?.listen {
        Some(found) if found != address => Err(AgentError::Listen {
            dir: dir.to_owned(),
            found,
        }),
        _ => Ok(()),
    }
}

/// Adds to the directory's settings where to wait for the center, unless they say so already.
pub fn store_listen(dir: &Path, address: SocketAddr) -> Result<(), AgentError> {
    let path = dir.join(AgentSettings::FILE);
    let old = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(AgentError::system("read the settings")(error)),
    };
    let says = |line: &str| line.trim_start().starts_with("listen");
    if old.lines().any(says) {
        return Ok(());
    }
    // First, where it cannot fall into a table of what follows.
    let text = format!("listen = \"{address}\"\n{old}");
    Ok(write_private(&path, text.as_bytes())?)
}

/// Writes the agent's name.
pub fn store_name(dir: &Path, name: &AgentName) -> Result<(), AgentError> {
    let text = format!("{name}\n");
    Ok(write_private(&name_file(dir), text.as_bytes())?)
}

fn name_file(dir: &Path) -> PathBuf {
    dir.join("agent.name")
}

/// Held until the file is closed, which the kernel does whatever ends the process.
fn lock(dir: &Path) -> Result<File, AgentError> {
    let path = dir.join("agent.lock");
    let fail = |attempt: &str| AgentError::system(format!("{attempt} `{}`", path.display()));
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(fail("open"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(AgentError::Locked(dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(fail("lock")(error)),
    }
}
