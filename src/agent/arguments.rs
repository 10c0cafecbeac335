//! The command line of `ucron-agent`, and what its commands do. `ucron dev` calls the same as a subcommand of one
//! executable.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::error::AgentError;
use super::home::Home;
use super::joining::{Joining, Way, join};
use super::journal;
use super::shell::{Reading, run};
use crate::clock;
use crate::config::init_logs;
use crate::exec::{KeeperProgram, become_owner, is_root, read_instead_of_stdin, steps_down};
use crate::model::AgentName;

/// Runs what its center plans on this host, through its keeper.
#[derive(Debug, Parser)]
#[command(name = "ucron-agent", version)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands of `ucron-agent`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Join a fleet: the token comes from standard input, or from --token-file.
    Join(JoinArguments),
    /// Run the agent in the foreground; starts its keeper unless one is running.
    Run(RunArguments),
    /// Make a refused state directory the one that counts; the agent must not run.
    Reset(ResetArguments),
    /// The places at which tests end this program.
    #[cfg(debug_assertions)]
    #[command(hide = true)]
    Failpoints,
}

/// Arguments of `join`.
#[derive(Debug, Args)]
pub struct JoinArguments {
    /// The center's address; not with --listen.
    #[arg(value_name = "CENTER:PORT", required_unless_present = "listen")]
    pub center: Option<String>,
    /// Wait here for the center instead, where only it can dial: prints the `ucron agent add` to run on a client.
    #[arg(long, value_name = "ADDR:PORT", conflicts_with = "center")]
    pub listen: Option<String>,
    /// The state directory; made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// The agent's name [default: the host's].
    #[arg(long, value_name = "NAME")]
    pub name: Option<AgentName>,
    /// The file that holds the token, instead of standard input.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// Arguments of `reset`.
#[derive(Debug, Args)]
pub struct ResetArguments {
    /// The state directory.
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// The state directory.
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Wait for the center here instead of dialling it.
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<String>,
    /// Start the keeper as root, with `sudo -n`; the agent itself stays what it is.
    #[arg(long)]
    pub sudo: bool,
    /// Start no keeper; wait for the one that a unit of its own starts.
    #[arg(long, conflicts_with = "sudo")]
    pub no_keeper: bool,
    /// What is logged: error, warn, info, debug or trace [default: info].
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
    /// How it is logged: text or json [default: text].
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

/// Does what the command line says; `keeper` is the program started as keeper where none runs.
pub fn start(mut arguments: Arguments, keeper: KeeperProgram) -> Result<(), AgentError> {
    let keeper = step_down(&mut arguments.command, keeper)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(AgentError::system("start the runtime"))?;
    match arguments.command {
        Command::Join(arguments) => runtime.block_on(do_join(arguments)),
        Command::Reset(arguments) => do_reset(&arguments),
        #[cfg(debug_assertions)]
        Command::Failpoints => {
            let list = crate::exec::failpoint::Point::list(true);
            let told = std::io::stdout().write_all(list.as_bytes());
            told.map_err(AgentError::system("write to standard output"))
        }
        Command::Run(arguments) => runtime.block_on(do_run(&arguments, keeper)),
    }
}

/// Root on another account's directory becomes that account before anything else; what it may start the keeper
/// with is given back.
fn step_down(command: &mut Command, keeper: KeeperProgram) -> Result<KeeperProgram, AgentError> {
    match command {
        Command::Run(arguments) if arguments.sudo && !is_root() => Ok(keeper.through_sudo()),
        Command::Run(arguments) => {
            let keeper = keeper.step_down(&arguments.state)?;
            Ok(if arguments.no_keeper {
                keeper.by_others()
            } else {
                keeper
            })
        }
        Command::Join(arguments) => {
            if steps_down(&arguments.state) {
                if let Some(token) = arguments.token_file.take() {
                    read_instead_of_stdin(&token)?;
                }
                become_owner(&arguments.state)?;
            }
            Ok(keeper)
        }
        Command::Reset(arguments) => {
            if steps_down(&arguments.state) {
                become_owner(&arguments.state)?;
            }
            Ok(keeper)
        }
        #[cfg(debug_assertions)]
        Command::Failpoints => Ok(keeper),
    }
}

async fn do_join(arguments: JoinArguments) -> Result<(), AgentError> {
    let way = match arguments.listen {
        Some(address) => Way::Listen(address),
        // The argument table asks for one of them.
        None => Way::Dial(arguments.center.unwrap_or_default()),
    };
    let joining = Joining {
        way,
        dir: arguments.state,
        name: arguments.name,
        token_file: arguments.token_file,
    };
    let name = join(&joining).await?;
    let dir = joining.dir.display();
    let text = format!("joined as {name}; next: ucron-agent run --state {dir}\n");
    let told = std::io::stderr().write_all(text.as_bytes());
    told.map_err(AgentError::system("write to standard error"))
}

fn do_reset(arguments: &ResetArguments) -> Result<(), AgentError> {
    let (home, _) = Home::open(&arguments.state)?;
    let boot_id = clock::boot_id().map_err(AgentError::system("read the boot id"))?;
    journal::reset(&home.dir, &boot_id)?;
    let text = format!(
        "agent {} begins anew with this directory; next: ucron-agent run --state {}\n",
        home.name,
        home.dir.display()
    );
    let told = std::io::stderr().write_all(text.as_bytes());
    told.map_err(AgentError::system("write to standard error"))
}

async fn do_run(arguments: &RunArguments, keeper: KeeperProgram) -> Result<(), AgentError> {
    let reading = reading(arguments);
    let settings = reading.read()?;
    init_logs(settings.log, settings.log_format);
    if is_root() {
        warn!(
            "the agent speaks to the network as root; give `{}` to an account of its own with `chown -R`, and it will be that",
            arguments.state.display()
        );
    }
    let (home, identity) = Home::open(&arguments.state)?;
    let stop = stop_on_signal()?;
    run(home, identity, reading, keeper, stop).await
}

fn reading(arguments: &RunArguments) -> Reading {
    let flags = [
        ("listen", &arguments.listen),
        ("log", &arguments.log),
        ("log_format", &arguments.log_format),
    ];
    let given = flags
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.clone()?)));
    Reading {
        dir: arguments.state.clone(),
        flags: given.collect(),
    }
}

/// Cancelled by the first TERM or INT.
fn stop_on_signal() -> Result<CancellationToken, AgentError> {
    let fail = || AgentError::system("watch for signals");
    let mut term = signal(SignalKind::terminate()).map_err(fail())?;
    let mut int = signal(SignalKind::interrupt()).map_err(fail())?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    crate::workers::Workers::new().spawn("signals", async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        told.cancel();
    });
    Ok(stop)
}
