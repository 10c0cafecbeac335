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
    /// Make a further center of a fleet, which stands by: it takes the lead when the leader is gone.
    Join(JoinArgs),
    /// Give up the lead to a center that stands by, and wait until it leads.
    StepDown(StepDownArgs),
    /// Run the center in the foreground until TERM or INT.
    Run(RunArgs),
    /// Work on stores.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Write a backup of the store to a file, while the center runs or not.
    Backup(BackupArgs),
    /// Put a backup in the place of what the store holds; the center is stopped.
    Restore(RestoreArgs),
}

/// Flags of `join`.
#[derive(Args, Debug)]
pub struct JoinArgs {
    /// A center of the fleet; may be repeated, the one that leads answers.
    #[arg(long, value_name = "HOST:PORT", required = true)]
    pub center: Vec<String>,
    /// File with the token; standard input if left out.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Address told to agents, clients and other centers; those listened on if left out, but for wildcards. May be
    /// repeated.
    #[arg(long, value_name = "HOST:PORT")]
    pub advertise: Vec<String>,
    /// The rest is as for `init`.
    #[command(flatten)]
    pub init: InitArgs,
}

/// Flags of `step-down`.
#[derive(Args, Debug)]
pub struct StepDownArgs {
    /// State directory of the center that leads.
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
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
    /// Where the store is: `sqlite:PATH` or `mysql://USER@HOST[:PORT]/DATABASE`; a file in the state directory if
    /// left out.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// File with the database's password, mode 0600, read at every start.
    #[arg(long, value_name = "FILE", conflicts_with = "store_password_env")]
    pub store_password_file: Option<PathBuf>,
    /// Variable of the environment with the database's password, read at every start.
    #[arg(long, value_name = "NAME")]
    pub store_password_env: Option<String>,
    /// Encryption of the connection to the database: auto (unless it is on this host), on, off.
    #[arg(long, value_name = "WHEN", value_parser = ["auto", "on", "off"])]
    pub store_tls: Option<String>,
    /// The authority of the database server's certificate, a PEM file; public ones if left out.
    #[arg(long, value_name = "FILE")]
    pub store_ca: Option<PathBuf>,
    /// File of the key that seals the authority's private key on disk, outside the state directory; made if it is
    /// not there. Without one the private key lies open in the state directory, mode 0600.
    #[arg(long, value_name = "FILE")]
    pub ca_key_file: Option<PathBuf>,
    /// Zone of tasks that name none, an IANA name; UTC if left out.
    #[arg(long, value_name = "Z", value_parser = Zone::parse)]
    pub timezone: Option<Zone>,
}

/// Commands of `store`.
#[derive(Subcommand, Debug)]
pub enum StoreCommand {
    /// Copy everything from one store to another, and read it again to be sure; the center is stopped.
    Copy(CopyArgs),
}

/// Flags of `store copy`.
#[derive(Args, Debug)]
pub struct CopyArgs {
    /// State directory; its settings say how a database is reached.
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Delete what the target holds.
    #[arg(long)]
    pub replace: bool,
    /// The store to read: `sqlite:PATH` or `mysql://USER@HOST[:PORT]/DATABASE`.
    #[arg(value_name = "FROM")]
    pub from: String,
    /// The store to write, a new file or an empty database.
    #[arg(value_name = "TO")]
    pub to: String,
}

/// Flags of `backup`.
#[derive(Args, Debug)]
pub struct BackupArgs {
    /// State directory.
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// The file to write, a SQLite store whatever the store is; one that is there is replaced when all is written.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Flags of `restore`.
#[derive(Args, Debug)]
pub struct RestoreArgs {
    /// State directory.
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Delete what the database holds; a SQLite file is always kept beside the restored one.
    #[arg(long)]
    pub replace: bool,
    /// The backup; it stays as it is.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
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
