//! `login`: a token becomes a certificate in the client home. The key is made here and never leaves.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::cli::args::LoginArgs;
use crate::cli::client::Input;
use crate::cli::fault::{Exit, Fault, FaultCode};
use crate::cli::home;
use crate::cli::print::Out;
use crate::cli::terminal::Silence;
use crate::files::read_private;
use crate::model::{PeerRole, Token};
use crate::proto::identity::{Identity, store_centers};
use crate::proto::join::{JoinFault, Joined, join};
use crate::proto::link::LinkFault;
use crate::rule::format_duration;

/// Between two tries: a center that is being restarted is found as soon as it is back.
const PAUSE: Duration = Duration::from_millis(200);

/// `ucron login`.
pub async fn login(
    out: &mut Out,
    input: &mut Input,
    dir: &Path,
    args: &LoginArgs,
    timeout: Duration,
) -> Result<Exit, Fault> {
    let text = match &args.token_file {
        Some(file) => read_private(file).map_err(|error| Fault::usage(error.to_string()))?,
        None => ask(out, input).await?,
    };
    let token: Token = Token::parse(&text).map_err(|error| {
        Fault::usage(format!("{error}")).hint("an admin makes one with `ucron token operator NAME`")
    })?;
    check_fleet(dir, &token)?;
    let (identity, joined) = reach(&args.center, &token, timeout).await?;
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

/// A home is of one fleet: another one's token would take its key away.
fn check_fleet(dir: &Path, token: &Token) -> Result<(), Fault> {
    match Identity::load(dir) {
        Ok(old) if !old.is_of(token.pin()) => {
            let text = format!("`{}` is of another fleet", dir.display());
            Err(Fault::new(FaultCode::Conflict, text).hint(
                "add this fleet with `--context NAME`, or forget the other with `ucron context rm NAME`; \
                 the token is not used up",
            ))
        }
        // One that cannot be read is replaced.
        _ => Ok(()),
    }
}

/// Joins; while nobody answers, again and again until the time is over.
async fn reach(
    center: &str,
    token: &Token,
    timeout: Duration,
) -> Result<(Identity, Joined), Fault> {
    let deadline = Instant::now() + timeout;
    loop {
        let joining = join(center, token, PeerRole::Operator, None);
        let fault = match tokio::time::timeout_at(deadline, joining).await {
            Ok(Ok(joined)) => return Ok(joined),
            Ok(Err(fault)) => fault,
            Err(_) => return Err(unreached(center, timeout, "no answer")),
        };
        let Some(why) = unanswered(&fault) else {
            return Err(refused(&fault));
        };
        if Instant::now() + PAUSE >= deadline {
            return Err(unreached(center, timeout, &why));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Why nobody answered, where the token is not used up: nobody was there, or a center that does not lead (yet).
fn unanswered(fault: &JoinFault) -> Option<String> {
    match fault {
        JoinFault::Link {
            fault: fault @ LinkFault::Io {
                attempt: "connect", ..
            },
            ..
        } => Some(fault.to_string()),
        _ => fault.sent_away().map(str::to_owned),
    }
}

fn unreached(center: &str, timeout: Duration, why: &str) -> Fault {
    let span = format_duration(timeout);
    let text = format!("no center reached within {span}: {center}: {why}");
    Fault::new(FaultCode::NoCenter, text).hint("is the center running and its port open?")
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
    if let JoinFault::Link {
        center,
        fault: LinkFault::Told(frame),
    } = fault
    {
        let text = format!("the center at `{center}` refuses: {}", frame.message);
        return Fault::new(FaultCode::Identity, text);
    }
    let code = match fault {
        JoinFault::Role { .. } => FaultCode::Usage,
        JoinFault::Link {
            fault: LinkFault::Tls(_),
            ..
        } => FaultCode::Identity,
        JoinFault::Link { .. } => FaultCode::NoCenter,
        _ => FaultCode::Failed,
    };
    Fault::new(code, fault.to_string())
}
