//! The command line of `ucron-keeper`, and what its commands do. `ucron dev` calls the same as a subcommand of
//! one executable.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tracing::warn;

use super::attend::attend;
use super::dir::believes;
use super::keeper;
use super::output::Retention;
use super::program::KeeperProgram;
use super::{TreeKind, run_stub, stop};
use crate::config::{self, KeeperSettings, Settings, init_logs};

/// Parent of every process that ucron starts on this host.
#[derive(Parser, Debug)]
#[command(name = "ucron-keeper", version)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The commands of `ucron-keeper`.
#[derive(Subcommand, Debug)]
pub enum Verb {
    /// Serve a state directory until TERM or INT; its processes are then left to the next keeper.
    Run(RunArguments),
    /// End the keeper of a state directory, and every process it holds.
    Stop {
        /// The state directory.
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
        /// Leave the processes to the next keeper.
        #[arg(long)]
        leave: bool,
    },
    /// Start the keeper for an agent that is not root any more; the agent starts this.
    #[command(hide = true)]
    Attend {
        /// The state directory.
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
    },
    /// One run's sub-reaper; the keeper starts it.
    #[command(hide = true)]
    Stub {
        /// The run and the descriptors that the keeper passes.
        args: Vec<OsString>,
    },
}

/// Arguments of `run`. All but the first two stand over `UCRON_*` variables and the settings files.
#[derive(Args, Debug)]
pub struct RunArguments {
    /// The state directory, shared with the agent.
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// The file that says what may run [default: DIR/policy.toml].
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Leave the session of who started this.
    #[arg(long)]
    pub detach: bool,
    /// What holds a run's processes together: auto, cgroup or subreaper [default: auto].
    #[arg(long, value_name = "KIND")]
    pub tree: Option<String>,
    /// What is logged: error, warn, info, debug or trace [default: info].
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
    /// How it is logged: text or json [default: text].
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

/// The whole program. `prefix` are the arguments of this executable that come before the keeper's own: none for
/// `ucron-keeper`.
pub fn main(arguments: Arguments, prefix: &[OsString]) -> ExitCode {
    let fault = match perform(arguments, prefix) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(fault) => fault,
    };
    // Where standard error is gone nobody reads it.
    let _ = writeln!(std::io::stderr(), "ucron-keeper: {fault}");
    ExitCode::FAILURE
}

fn perform(arguments: Arguments, prefix: &[OsString]) -> anyhow::Result<()> {
    match arguments.verb {
        Verb::Run(run) => {
            let settings = settings(&run, prefix)?;
            keeper::run(settings)?;
        }
        Verb::Stop { state, leave } => stop(&state, leave)?,
        Verb::Attend { state } => attend(&state, &KeeperProgram::own(prefix.iter().cloned())?)?,
        Verb::Stub { args } => run_stub(&args)?,
    }
    Ok(())
}

fn settings(run: &RunArguments, prefix: &[OsString]) -> anyhow::Result<keeper::Settings> {
    let given = [
        ("tree", &run.tree),
        ("log", &run.log),
        ("log_format", &run.log_format),
    ];
    let given = given
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.clone()?)));
    let given: Vec<(&str, String)> = given.collect();
    // Root reads nothing by a name that another account may have given to something else.
    let believed = believes(&run.state);
    let told = if believed {
        KeeperSettings::load(&run.state, &given)?
    } else {
        KeeperSettings::load_system(&given)?
    };
    init_logs(told.log, told.log_format);
    let passed_over = run.state.join("keeper.toml");
    if !believed && passed_over.exists() {
        warn!(
            "`{}` is passed over: it lies in a directory of the agent's account; use `{}`",
            passed_over.display(),
            config::system_file("keeper.toml").display()
        );
    }
    let mut settings = keeper::Settings::new(&run.state);
    settings.detach = run.detach;
    settings.policy.clone_from(&run.policy);
    settings.trees = match told.tree {
        config::TreeKind::Auto => TreeKind::Auto,
        config::TreeKind::Cgroup => TreeKind::Cgroup,
        config::TreeKind::Subreaper => TreeKind::Stub,
    };
    settings.output_cap = told.output_cap.as_len() as u64;
    settings.retention = Retention {
        bytes: told.output_size.as_len() as u64,
        age: told.output_age,
    };
    settings.stub_command = prefix.iter().cloned().chain(["stub".into()]).collect();
    Ok(settings)
}
