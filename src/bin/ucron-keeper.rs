//! The keeper's program: `run`, `stop`, and `stub`, which it starts itself. Its deeds are in the library.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ucron::exec::{self, TreeKind, keeper};

/// Parent of every process that ucron starts on this host.
#[derive(Parser)]
#[command(name = "ucron-keeper", version)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Serve a state directory until TERM or INT; its processes are then left to the next keeper.
    Run {
        /// The state directory, shared with the agent.
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
        /// Leave the session of who started this.
        #[arg(long)]
        detach: bool,
        /// What holds a run's processes together: `auto`, `cgroup` or `stub`.
        #[arg(long, value_name = "KIND", default_value = "auto", value_parser = tree_kind)]
        trees: TreeKind,
        /// What is logged: `error`, `warn`, `info`, `debug` or `trace`.
        #[arg(long, value_name = "LEVEL", default_value = "info")]
        log: tracing::Level,
    },
    /// End the keeper of a state directory, and every process it holds.
    Stop {
        /// The state directory.
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
        /// Leave the processes to the next keeper.
        #[arg(long)]
        leave: bool,
    },
    /// One run's sub-reaper; the keeper starts it.
    #[command(hide = true)]
    Stub {
        /// The run and the descriptors that the keeper passes.
        args: Vec<OsString>,
    },
}

fn tree_kind(text: &str) -> Result<TreeKind, String> {
    match text {
        "auto" => Ok(TreeKind::Auto),
        "cgroup" => Ok(TreeKind::Cgroup),
        "stub" => Ok(TreeKind::Stub),
        _ => Err("allowed are auto, cgroup and stub".to_owned()),
    }
}

fn main() -> anyhow::Result<ExitCode> {
    match Args::parse().verb {
        Verb::Run {
            state,
            detach,
            trees,
            log,
        } => {
            // A level and no filter language: this program is to stay small.
            tracing_subscriber::fmt()
                .with_max_level(log)
                .with_writer(std::io::stderr)
                .with_ansi(false)
                .init();
            let mut settings = keeper::Settings::new(state);
            settings.detach = detach;
            settings.trees = trees;
            keeper::run(settings)?;
        }
        Verb::Stop { state, leave } => exec::stop(&state, leave)?,
        Verb::Stub { args } => exec::run_stub(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}
