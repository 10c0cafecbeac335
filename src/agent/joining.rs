//! Joining a fleet: a token and a certificate request go to the center, the identity comes back into the state
//! directory. The token is never in the command line or the environment.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::error::AgentError;
use super::home::store_name;
use crate::files::make_private_dir;
use crate::model::{AgentName, PeerRole, Token};
use crate::proto::identity::{Identity, store_centers};
use crate::proto::join;

/// Longest token file that is read.
const MAX_TOKEN: u64 = 4096;

/// How to join.
#[derive(Clone, Debug)]
pub struct Joining {
    /// `HOST:PORT` of a center.
    pub center: String,
    /// The state directory; made where there is none.
    pub dir: PathBuf,
    /// The name wished for; the host's where none.
    pub name: Option<AgentName>,
    /// Where the token is; standard input where none.
    pub token_file: Option<PathBuf>,
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
    let (identity, joined) =
        join::join(&joining.center, &token, PeerRole::Agent, Some(wished)).await?;
    let name = AgentName::parse(&joined.name)?;
    let mut centers = joined.centers;
    if centers.is_empty() {
        centers.push(joining.center.clone());
    }
    store_centers(dir, &centers)?;
    store_name(dir, &name)?;
    // Last: with an identity the directory counts as joined.
    identity.store(dir)?;
    Ok(name)
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

fn host_name() -> Result<AgentName, AgentError> {
    let path = "/proc/sys/kernel/hostname";
    let text = std::fs::read_to_string(path);
    let text = text.map_err(AgentError::system(format!(
        "read the host's name in `{path}`"
    )))?;
    Ok(AgentName::parse(text.trim())?)
}
