//! The argument table: every command and flag of `ucron`, once. Parser, help, completions and man pages
//! come from it. What the words mean is done in the command files; here they are only read.

mod fleet;
mod import;
mod runs;
mod task;
mod usage;
pub mod value;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use super::fault::Fault;
use crate::rule::Zone;

pub use fleet::*;
pub use import::*;
pub use runs::*;
pub use task::*;

/// The whole command line.
#[derive(Parser, Debug)]
#[command(
    name = "ucron",
    version,
    about = "Runs commands on many hosts at the right moment and keeps daemons alive there",
    disable_help_subcommand = true,
    infer_long_args = false,
    max_term_width = 100,
    after_help = "\
TASK is `group/name`, a name that is unambiguous among what you see, or an id.
RUN is a run's id or its unambiguous last characters.

Exit codes: 0 done, 1 failed or no, 2 usage, 3 not found, 4 not allowed, 5 conflict, 6 no center,
7 done but not yet confirmed by an agent, 124 --wait-timeout over, 130 interrupted.

First steps:
  ucron login center.example:9502
  ucron add --group web --name hello --rule '@every 10s' --user www-data --shell 'date'
  ucron ls
  ucron run -f hello
  ucron logs hello"
)]
pub struct Ucron {
    /// Flags that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// The command; none opens the dashboard.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Flags that every command takes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Client home: key, certificate and addresses of a fleet [default: ~/.config/ucron]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "UCRON_HOME",
        hide_env_values = true
    )]
    pub home: Option<PathBuf>,
    /// Use the fleet of this name in the client home [default: what `ucron context use` says]
    #[arg(long, global = true, value_name = "NAME", env = "UCRON_CONTEXT", hide_env_values = true, value_parser = value::context)]
    pub context: Option<String>,
    /// How long to try to reach a center
    #[arg(long, global = true, value_name = "D", default_value = "5s", value_parser = value::duration)]
    pub connect_timeout: Duration,
    /// How data is written on stdout: table, json (streams as jsonl), jsonl
    #[arg(short = 'o', id = "format", global = true, value_name = "FORMAT", default_value = "table", value_parser = value::format)]
    pub format: Format,
    /// Write ids only, one a line
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Leave out the line of titles
    #[arg(long, global = true)]
    pub no_headers: bool,
    /// Show these columns, in this order; any field of `-o json`
    #[arg(long, global = true, value_name = "FIELD,…", value_delimiter = ',')]
    pub columns: Option<Vec<String>>,
    /// Sort rows by this field; `-FIELD` for the reverse
    #[arg(
        long,
        global = true,
        value_name = "[-]FIELD",
        allow_hyphen_values = true
    )]
    pub sort: Option<String>,
    /// Show and read times in UTC
    #[arg(long, global = true, conflicts_with = "timezone")]
    pub utc: bool,
    /// Show and read times in this zone [default: the terminal's]
    #[arg(long = "tz", id = "timezone", global = true, value_name = "ZONE")]
    pub timezone: Option<Zone>,
}

/// How data is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Tables for people.
    Table,
    /// One JSON document; streams as `jsonl`.
    Json,
    /// One JSON object a line.
    Jsonl,
}

/// Every command.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Add a task
    Add(Box<AddArgs>),
    /// Change a task
    Edit(Box<EditArgs>),
    /// Show a task or a run with all its fields
    Show(ShowArgs),
    /// List tasks
    #[command(
        visible_alias = "list",
        after_help = "Examples:\n  ucron ls\n  ucron ls --group web --sort -next_at\n  ucron ls --columns group,task_name,next_at --no-headers"
    )]
    Ls(LsArgs),
    /// Write tasks as a text to keep
    Export(ExportArgs),
    /// Add tasks from elsewhere, all of them or none
    #[command(subcommand, arg_required_else_help = false)]
    Import(ImportCommand),
    /// Say when a task or a rule is due next
    Next(NextArgs),
    /// Say why a task ran, or did not
    Why(WhyArgs),
    /// No further runs; ends what runs
    Stop(StopArgs),
    /// On again; fires nothing now
    Start(StartArgs),
    /// Daemons: a new process per slot, with the present revision
    Restart(RestartArgs),
    /// Run now, once per target and slot, also when stopped
    Run(RunArgs),
    /// End runs; the schedule goes on
    Kill(KillArgs),
    /// Stop, then delete; the history stays
    Rm(RmArgs),
    /// List runs that were started or ended, newest first
    Runs(RunsArgs),
    /// List processes under way
    Ps(PsArgs),
    /// Show what runs wrote
    Logs(LogsArgs),
    /// List agents
    #[command(after_help = "Example:\n  ucron agents -o json")]
    Agents,
    /// Add, drain, rename, remove an agent
    #[command(subcommand, arg_required_else_help = false)]
    Agent(AgentCommand),
    /// List groups
    #[command(after_help = "Example:\n  ucron groups")]
    Groups,
    /// Add and remove groups, put agents into them
    #[command(subcommand, arg_required_else_help = false)]
    Group(GroupCommand),
    /// List operators and their roles
    #[command(after_help = "Example:\n  ucron operators")]
    Operators,
    /// Remove an operator
    #[command(subcommand, arg_required_else_help = false)]
    Operator(OperatorCommand),
    /// Give an operator a role
    Grant(GrantArgs),
    /// Take a role away
    Ungrant(GrantArgs),
    /// Make a one-time token; the token alone on stdout
    #[command(subcommand, arg_required_else_help = false)]
    Token(TokenCommand),
    /// Show who changed what
    Audit(AuditArgs),
    /// Show the fleet at a glance
    Status(StatusArgs),
    /// Show what happens
    Events(EventsArgs),
    /// Get a certificate for this client with a token
    Login(LoginArgs),
    /// List, choose and forget the fleets of this client home
    #[command(subcommand, arg_required_else_help = false)]
    Context(ContextCommand),
    /// Run a whole fleet here, with sample tasks, until interrupted
    Dev(DevArgs),
    /// Write man pages or completion scripts
    Gen(GenArgs),
}

/// Reads the command line, the program's name first.
pub fn parse<I, T>(args: I) -> Parsed
where
    I: IntoIterator<Item = T>,
    T: Into<OsString>,
{
    let args = apart(args.into_iter().map(Into::into));
    match <Ucron as clap::Parser>::try_parse_from(&args) {
        Ok(ucron) => match usage::check(&ucron) {
            Ok(()) => Parsed::Command(Box::new(ucron)),
            Err(fault) => Parsed::Wrong(fault),
        },
        Err(error) => usage::explain(&error, &args),
    }
}

/// Takes `-n2` and `-ojson` apart, before a `--`: `next` has an argument that may begin with `-`, and clap would believe
/// them to be that.
fn apart(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words = Vec::new();
    let mut is_over = false;
    for arg in args {
        is_over |= arg == "--";
        let flag = arg.to_str().filter(|_| !is_over).and_then(joined);
        match flag {
            Some((flag, value)) => words.extend([flag.into(), value.into()]),
            None => words.push(arg),
        }
    }
    words
}

/// A short flag and the value that is written onto it.
fn joined(word: &str) -> Option<(&str, &str)> {
    let (flag, value) = word.split_at_checked(2)?;
    let is_value = match flag {
        "-n" => !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()),
        "-o" => ["table", "json", "jsonl"].contains(&value),
        _ => false,
    };
    is_value.then_some((flag, value))
}

/// Whether a command line asks for JSON, also one that cannot be read.
pub fn wants_json(args: &[OsString]) -> bool {
    let words: Vec<&str> = args.iter().map_while(|arg| arg.to_str()).collect();
    let flags = words.split(|word| *word == "--").next().unwrap_or_default();
    let is_json = |text: &str| matches!(text, "json" | "jsonl");
    flags
        .windows(2)
        .any(|pair| pair[0] == "-o" && is_json(pair[1]))
        || flags.iter().any(|word| {
            let joined = word.strip_prefix("-o");
            joined.is_some_and(|text| is_json(text.trim_start_matches('=')))
        })
}

/// What the command line said.
#[derive(Debug)]
pub enum Parsed {
    /// A command, or none for the dashboard.
    Command(Box<Ucron>),
    /// Help or version was asked for: the text for stdout.
    Help(String),
    /// It makes no sense.
    Wrong(Fault),
}

/// The help of the whole program.
pub fn help() -> String {
    <Ucron as clap::CommandFactory>::command()
        .render_help()
        .to_string()
}

/// The table itself, for man pages and completions.
pub fn table() -> clap::Command {
    <Ucron as clap::CommandFactory>::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words that are read for these, apart by blanks.
    fn check(typed: &str, read: &str) {
        let words = apart(typed.split(' ').map(OsString::from));
        assert_eq!(words.join(" ".as_ref()), read);
    }

    #[test]
    fn a_value_may_be_written_onto_its_short_flag() {
        check(
            "ucron next -n2 -ojson @daily",
            "ucron next -n 2 -o json @daily",
        );
        check("ucron next -n 2 -1", "ucron next -n 2 -1");
        check("ucron ls --sort -next_at", "ucron ls --sort -next_at");
        check(
            "ucron add -- head -n2 -ojson",
            "ucron add -- head -n2 -ojson",
        );
        check("ucron logs -nall -o", "ucron logs -nall -o");
    }
}
