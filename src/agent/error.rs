//! Why the agent cannot do its own work.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::config::ConfigError;
use crate::exec::KeeperError;
use crate::exec::journal::JournalError;
use crate::files::FileError;
use crate::model::{NameError, TokenError};
use crate::proto::identity::IdentityError;
use crate::proto::join::JoinFault;
use crate::proto::link::LinkFault;
use crate::proto::tls::TlsError;

/// Why the agent does not start, or a host does not join.
#[derive(Debug, Error)]
pub enum AgentError {
    /// The state directory holds no identity.
    #[error("`{}` is no agent's state directory yet; run `ucron-agent join CENTER:PORT --state {}`", .0.display(), .0.display())]
    NotJoined(PathBuf),
    /// The state directory holds an identity already.
    #[error("`{}` has joined a fleet already; run `ucron-agent run --state {}`, or name another directory", .0.display(), .0.display())]
    Joined(PathBuf),
    /// Another agent runs on the same directory.
    #[error("another agent is running on `{}`; stop it first, or name another directory", .0.display())]
    Locked(PathBuf),
    /// There is no center to dial.
    #[error("no center is known; set `centers = [\"HOST:9502\"]` in `{}`, or join again", .0.display())]
    NoCenter(PathBuf),
    /// A file of the state directory.
    #[error(transparent)]
    File(#[from] FileError),
    /// The identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The keeper, or what this program's privileges are.
    #[error(transparent)]
    Keeper(#[from] KeeperError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The name of this agent.
    #[error("{0}; give one with `--name`")]
    Name(#[from] NameError),
    /// The account of `on_center_silent`.
    #[error("`on_center_silent_user` is no account's name: {0}")]
    SilenceUser(NameError),
    /// The token.
    #[error("{0}; `ucron token agent` makes one")]
    Token(#[from] TokenError),
    /// The center did not let this host in.
    #[error(transparent)]
    Join(#[from] JoinFault),
    /// The center dialled and did not let this host in.
    #[error(
        "the center did not take this host: {0}; join again with a new token of `ucron token agent`"
    )]
    Refused(LinkFault),
    /// The settings name another address to wait at.
    #[error("the settings of `{}` say `listen = \"{found}\"`; join with `--listen {found}`, or change them", dir.display())]
    Listen {
        /// The state directory.
        dir: PathBuf,
        /// What they say.
        found: String,
    },
    /// The system.
    #[error("cannot {attempt}: {source}")]
    System {
        /// What was attempted.
        attempt: String,
        /// Why not.
        source: io::Error,
    },
}

impl AgentError {
    /// For `map_err`: what was attempted when the system refused.
    pub fn system(attempt: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let attempt = attempt.into();
        move |source| Self::System { attempt, source }
    }
}
