//! Why the keeper cannot do its own work. A run that fails is an outcome, never one of these.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::journal::JournalError;

/// Why the keeper does not start, or ends.
#[derive(Debug, Error)]
pub enum KeeperError {
    /// The state directory cannot be used.
    #[error("cannot {what} `{}`: {source}", path.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else could write what this program believes.
    #[error("`{}` {fault}; {remedy}", path.display())]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        fault: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Another keeper serves this directory.
    #[error("a keeper is running for `{}` already; `ucron-keeper stop --state DIR` ends it", .0.display())]
    Running(PathBuf),
    /// The lock is held, and nobody answers at the socket.
    #[error("`{}` stays locked, though no keeper answers; a process that it was starting hangs", .0.display())]
    Locked(PathBuf),
    /// No keeper serves this directory.
    #[error("no keeper is running for `{}`", .0.display())]
    NotRunning(PathBuf),
    /// A keeper serves this directory, and does not do what this account says.
    #[error("the keeper of `{}` did not end; it obeys root, its own account and the directory's owner only", .0.display())]
    Deaf(PathBuf),
    /// The keeper's records cannot be kept.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The kernel refused something that the keeper needs.
    #[error("cannot {what}: {source}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// No keeper could be started on the agent's behalf.
    #[error("no keeper could be started: {0}")]
    Attendant(String),
    /// A keeper was started and ended, or does not answer.
    #[error("the keeper program `{}` {fault}; its log is `{}`", program.display(), log.display())]
    Program {
        /// The program.
        program: PathBuf,
        /// What it did.
        fault: String,
        /// Where it says more.
        log: PathBuf,
    },
}

impl KeeperError {
    /// For `map_err`: a refused file operation.
    pub(super) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }

    /// For `map_err`: a refused system call.
    pub(super) fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System {
            what,
            source: source.into(),
        }
    }
}
