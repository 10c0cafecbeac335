//! `login`: a token becomes a certificate in the client home. The key is made here and never leaves.

use std::path::Path;

use crate::cli::args::LoginArgs;
use crate::cli::client::Input;
use crate::cli::fault::{Exit, Fault, FaultCode};
use crate::cli::home;
use crate::cli::print::Out;
use crate::cli::terminal::Silence;
use crate::files::read_private;
use crate::model::{PeerRole, Token};
use crate::proto::identity::store_centers;
use crate::proto::join::{JoinFault, join};
use crate::proto::link::LinkFault;

/// `ucron login`.
pub async fn login(
    out: &mut Out,
    input: &mut Input,
    dir: &Path,
    args: &LoginArgs,
) -> Result<Exit, Fault> {
    let text = match &args.token_file {
        Some(file) => read_private(file).map_err(|error| Fault::usage(error.to_string()))?,
        None => ask(out, input).await?,
    };
    let token: Token = Token::parse(&text).map_err(|error| {
        Fault::usage(format!("{error}")).hint("an admin makes one with `ucron token operator NAME`")
    })?;
    let (identity, joined) = join(&args.center, &token, PeerRole::Operator, None)
        .await
        .map_err(|fault| refused(&fault))?;
    identity
        .store(dir)
        .map_err(|error| home::unusable(&error))?;
    store_centers(dir, &centers(&args.center, joined.centers))
        .map_err(|error| home::unusable(&error.into()))?;
    out.say(&format!(
        "logged in to fleet {} as {}; the client home is `{}`",
        joined.fleet,
        joined.name,
        dir.display()
    ));
    Ok(Exit::DONE)
}

/// The address that was good just now is tried first from now on.
fn centers(dialled: &str, told: Vec<String>) -> Vec<String> {
    let mut centers = vec![dialled.to_owned()];
    centers.extend(told.into_iter().filter(|center| center != dialled));
    centers
}

async fn ask(out: &mut Out, input: &mut Input) -> Result<String, Fault> {
    let silence = input.is_terminal.then(Silence::of_stdin);
    if silence.is_some() {
        out.tell("token (not shown):");
    }
    let token = input.line().await?;
    drop(silence);
    token.filter(|token| !token.trim().is_empty()).ok_or_else(|| {
        Fault::usage("no token on stdin")
            .hint("`ucron token operator NAME` makes one; give it on stdin or with `--token-file FILE`")
    })
}

fn refused(fault: &JoinFault) -> Fault {
    let code = match fault {
        JoinFault::Role { .. } => FaultCode::Usage,
        JoinFault::Link {
            fault: LinkFault::Told(_) | LinkFault::Tls(_),
            ..
        } => FaultCode::Identity,
        JoinFault::Link { .. } => FaultCode::NoCenter,
        _ => FaultCode::Failed,
    };
    Fault::new(code, fault.to_string())
}
