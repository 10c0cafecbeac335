//! The command line of `ucron-center`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::rule::Zone;

/// The center of a ucron fleet: knows every task, works out when they are due, sends runs to agents.
#[derive(Parser, Debug)]
#[command(name = "ucron-center", version, propagate_version = true)]
pub struct CenterArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: CenterCommand,
}

/// Commands of `ucron-center`.
#[derive(Subcommand, Debug)]
pub enum CenterCommand {
    /// Make a center: state directory, certificate authority, first operator.
    Init(InitArgs),
    /// Run the center in the foreground until TERM or INT.
    Run(RunArgs),
}

/// Flags of `init`.
#[derive(Args, Debug)]
pub struct InitArgs {
    /// State directory, made with mode 0700.
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Address to listen on; a port of 0 is chosen once, now. May be given several times.
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:9502")]
    pub listen: Vec<SocketAddr>,
    /// Where the store is: `sqlite:PATH`; a file in the state directory if left out.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Zone of tasks that name none, an IANA name; UTC if left out.
    #[arg(long, value_name = "Z", value_parser = Zone::parse)]
    pub timezone: Option<Zone>,
}

/// Flags of `run`. All but `--state` stand over `UCRON_*` variables and the settings files.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// State directory, made by `init`.
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Log level: error, warn, info, debug, trace.
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
    /// Log format: text or json.
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

impl RunArgs {
    /// The flags that were given, as settings.
    pub fn flags(&self) -> Vec<(&'static str, String)> {
        let given = [("log", &self.log), ("log_format", &self.log_format)];
        given
            .into_iter()
            .filter_map(|(key, value)| Some((key, value.clone()?)))
            .collect()
    }
}
