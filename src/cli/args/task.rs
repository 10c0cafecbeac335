//! Commands on tasks, and the flags that say what a task is.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Args};

use super::value;
use crate::model::{
    Backoff, GroupName, Limit, Output, Overlap, Parole, Restart, StopSignal, Target, TaskName,
    UserName,
};
use crate::proto::request::IfExists;
use crate::rule::{Rule, Zone};

/// What a task is; each flag is one field. Those not given keep what is, or the default.
#[derive(Args, Clone, PartialEq, Default, Debug)]
pub struct TaskFlags {
    /// When it is due: 5-7 cron fields, @daily …, @every D, @at T, @reboot, @always [default with --daemon: @always]
    #[arg(long, value_name = "RULE", value_parser = value::rule, help_heading = "When")]
    pub rule: Option<Rule>,
    /// Zone in which the rule is read [default: the center's]
    #[arg(
        long = "tz",
        id = "timezone",
        value_name = "ZONE",
        help_heading = "When"
    )]
    pub timezone: Option<Zone>,
    /// Run the latest missed occurrence late
    #[arg(long, help_heading = "When")]
    pub catch_up: bool,
    /// How late that may be [default: 1h]
    #[arg(long, value_name = "D", value_parser = value::duration_or_zero, help_heading = "When")]
    pub misfire_grace: Option<Duration>,
    /// Spread the starts over the agents by up to this
    #[arg(long, value_name = "D", value_parser = value::duration_or_zero, help_heading = "When")]
    pub jitter: Option<Duration>,

    /// Account it runs as
    #[arg(long, value_name = "USER", value_parser = value::user, help_heading = "What and where")]
    pub user: Option<UserName>,
    /// Run this line with /bin/sh -c
    #[arg(
        long,
        value_name = "LINE",
        conflicts_with = "argv",
        help_heading = "What and where"
    )]
    pub shell: Option<String>,
    /// Run this program with these arguments
    #[arg(last = true, value_name = "ARGV")]
    pub argv: Vec<String>,
    /// Free text for people
    #[arg(long, value_name = "TEXT", help_heading = "What and where")]
    pub note: Option<String>,
    /// Where it runs: all agents of the group, one at a time, or these [default: all]
    #[arg(long, value_name = "all|one|AGENT,…", value_parser = value::target, help_heading = "What and where")]
    pub target: Option<Target>,
    /// Keep it running
    #[arg(long, help_heading = "What and where")]
    pub daemon: bool,
    /// Parallel processes per agent [default: 1]
    #[arg(long, value_name = "N", help_heading = "What and where")]
    pub processes: Option<u16>,

    /// End an attempt after this time [default: never]
    #[arg(long, value_name = "D", value_parser = value::duration, help_heading = "How it ends")]
    pub timeout: Option<Duration>,
    /// Further attempts after `failed` and `timed_out` [default: 0]
    #[arg(long, value_name = "N", help_heading = "How it ends")]
    pub retries: Option<u16>,
    /// Wait between attempts: the first, doubling up to the longest [default: 1s..1m]
    #[arg(long, value_name = "D[..D]", value_parser = value::backoff, help_heading = "How it ends")]
    pub backoff: Option<Backoff>,
    /// Exit codes that are success [default: 0]
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        help_heading = "How it ends"
    )]
    pub success_codes: Option<Vec<u8>>,
    /// When it is due while it still runs: skip, queue, allow, replace [default: skip]
    #[arg(long, value_name = "HOW", help_heading = "How it ends")]
    pub overlap: Option<Overlap>,
    /// First signal of the stop sequence [default: TERM]
    #[arg(long, value_name = "SIGNAL", help_heading = "How it ends")]
    pub stop_signal: Option<StopSignal>,
    /// Time between that signal and KILL [default: 10s]
    #[arg(long, value_name = "D", value_parser = value::duration_or_zero, help_heading = "How it ends")]
    pub grace: Option<Duration>,
    /// Keep the last 64 KiB of output in the center: none, tail [default: none; tail without a value]
    #[arg(long, value_name = "WHAT", num_args = 0..=1, require_equals = true, default_missing_value = "tail", help_heading = "How it ends")]
    pub output: Option<Output>,

    /// Working directory on the host [default: the account's home]
    #[arg(long, value_name = "DIR", help_heading = "Its surroundings")]
    pub cwd: Option<String>,
    /// File mode mask, octal [default: 022]
    #[arg(long, value_name = "MASK", value_parser = value::umask, help_heading = "Its surroundings")]
    pub umask: Option<u16>,
    /// Scheduling priority, -20-19 [default: 0]
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        help_heading = "Its surroundings"
    )]
    pub nice: Option<i8>,
    /// Set an environment variable; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = value::variable, help_heading = "Its surroundings")]
    pub env: Vec<(String, String)>,
    /// File on the host with more NAME=value lines
    #[arg(long, value_name = "FILE", help_heading = "Its surroundings")]
    pub env_file: Option<String>,
    /// Resource limit, as nofile=4096; may be repeated
    #[arg(long, value_name = "KIND=N", help_heading = "Its surroundings")]
    pub limit: Vec<Limit>,

    /// Start a slot again after its process ended: always, on-failure, never [default: always]
    #[arg(long, value_name = "WHEN", help_heading = "Daemons")]
    pub restart: Option<Restart>,
    /// How long a process must run to count as running [default: 1s]
    #[arg(long, value_name = "D", value_parser = value::duration_or_zero, help_heading = "Daemons")]
    pub start_seconds: Option<Duration>,
    /// Starts in a row that may fail before the slot is fatal [default: 3]
    #[arg(long, value_name = "N", help_heading = "Daemons")]
    pub start_retries: Option<u16>,
    /// When a fatal slot is tried again: a duration, or never [default: 10m]
    #[arg(long, value_name = "D|never", value_parser = value::parole, help_heading = "Daemons")]
    pub parole: Option<Parole>,
}

impl TaskFlags {
    /// Whether any flag was given.
    pub fn is_any(&self) -> bool {
        *self != Self::default()
    }
}

/// `ucron add`.
#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "ucron add --group G --name N [--rule R] --user U [FLAGS] (-- ARGV… | --shell LINE)",
    after_help = "\
Prints the task's id. Enabled at once unless --disabled.

Examples:
  ucron add --group db --name dump --rule '30 3 * * *' --tz Europe/Berlin --user postgres --timeout 2h -- /opt/dump.sh --all
  ucron add --group web --name probe --rule '@every 1s' --user www-data --overlap skip --shell 'curl -fsS localhost/health'
  ucron add --group web --name worker --daemon --processes 2 --user www-data -- /opt/worker
  ucron add --group web --name probe --if-exists replace --rule '@every 5s' --user www-data -- /opt/probe"
)]
pub struct AddArgs {
    /// Group, which must exist
    #[arg(long, value_name = "GROUP")]
    pub group: GroupName,
    /// Name, new in the group
    #[arg(long, value_name = "NAME")]
    pub name: TaskName,
    /// Add it stopped
    #[arg(long)]
    pub disabled: bool,
    /// What to do where the name is taken: fail, keep, replace
    #[arg(long, value_name = "WHAT", default_value = "fail", value_parser = if_exists)]
    pub if_exists: IfExists,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// What the task is.
    #[command(flatten)]
    pub flags: TaskFlags,
}

fn if_exists(text: &str) -> Result<IfExists, String> {
    match text {
        "fail" => Ok(IfExists::Fail),
        "keep" => Ok(IfExists::Keep),
        "replace" => Ok(IfExists::Replace),
        _ => Err("allowed are fail, keep and replace".to_owned()),
    }
}

/// `ucron edit`.
#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "ucron edit TASK [FLAGS] [--no-FLAG…] [-- ARGV… | --shell LINE]",
    after_help = "\
Every flag of `ucron add` that says what a task is; `--no-FLAG` restores its default. `--env` and `--limit`
change the variables and limits they name; with `--no-env`, `--no-limit` beside them they replace all.
Without a flag $VISUAL, $EDITOR or vi opens the text of `ucron export TASK`; leaving it unchanged does nothing.
A task that was changed meanwhile is a conflict (exit 5); both versions of the text are kept and named.

Examples:
  ucron edit db/dump
  ucron edit db/dump --rule '0 4 * * *' --no-timeout
  ucron edit hello --name greeting --group edge --env LEVEL=debug"
)]
pub struct EditArgs {
    /// The task
    #[arg(value_name = "TASK")]
    pub task: String,
    /// Move it to this group
    #[arg(long, value_name = "GROUP")]
    pub group: Option<GroupName>,
    /// Rename it
    #[arg(long, value_name = "NAME")]
    pub name: Option<TaskName>,
    /// Stop it, as `ucron stop` does; `--no-disabled` starts it
    #[arg(long)]
    pub disabled: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// What the task shall be.
    #[command(flatten)]
    pub flags: TaskFlags,
    /// What goes back to its default.
    #[command(flatten)]
    pub resets: Resets,
}

/// The flags whose default `--no-FLAG` restores, by their names.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Resets(pub BTreeSet<&'static str>);

/// Flag, and the argument it excludes; `env` and `limit` go together with theirs.
const RESETS: [(&str, Option<&str>); 28] = [
    ("disabled", Some("disabled")),
    ("rule", Some("rule")),
    ("tz", Some("timezone")),
    ("catch-up", Some("catch_up")),
    ("misfire-grace", Some("misfire_grace")),
    ("jitter", Some("jitter")),
    ("note", Some("note")),
    ("target", Some("target")),
    ("daemon", Some("daemon")),
    ("processes", Some("processes")),
    ("timeout", Some("timeout")),
    ("retries", Some("retries")),
    ("backoff", Some("backoff")),
    ("success-codes", Some("success_codes")),
    ("overlap", Some("overlap")),
    ("stop-signal", Some("stop_signal")),
    ("grace", Some("grace")),
    ("output", Some("output")),
    ("cwd", Some("cwd")),
    ("umask", Some("umask")),
    ("nice", Some("nice")),
    ("env", None),
    ("env-file", Some("env_file")),
    ("limit", None),
    ("restart", Some("restart")),
    ("start-seconds", Some("start_seconds")),
    ("start-retries", Some("start_retries")),
    ("parole", Some("parole")),
];

impl Args for Resets {
    fn augment_args(table: clap::Command) -> clap::Command {
        RESETS.iter().fold(table, |table, (flag, excluded)| {
            let name = format!("no-{flag}");
            let arg = Arg::new(name.clone())
                .long(name)
                .action(ArgAction::SetTrue)
                .hide(true);
            table.arg(excluded.iter().fold(arg, Arg::conflicts_with))
        })
    }

    fn augment_args_for_update(table: clap::Command) -> clap::Command {
        Self::augment_args(table)
    }
}

impl clap::FromArgMatches for Resets {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let names = RESETS.iter().map(|(flag, _)| *flag);
        Ok(Self(
            names
                .filter(|flag| matches.get_flag(&format!("no-{flag}")))
                .collect(),
        ))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Which tasks a verb is for.
#[derive(Args, Clone, PartialEq, Eq, Default, Debug)]
pub struct Selection {
    /// The tasks; `-` reads them from stdin, one a line
    #[arg(value_name = "TASK")]
    pub tasks: Vec<String>,
    /// All tasks of this group
    #[arg(long, value_name = "GROUP", conflicts_with_all = ["tasks", "all"])]
    pub group: Option<GroupName>,
    /// All tasks that you see; wants --yes
    #[arg(long, conflicts_with = "tasks")]
    pub all: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// `ucron show`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  ucron show db/dump\n  ucron show dump -o json\n  ucron show 4k2m9x1p"
)]
pub struct ShowArgs {
    /// The task, or a run
    #[arg(value_name = "TASK|RUN", required = true)]
    pub of: Vec<String>,
}

/// `ucron ls`.
#[derive(Args, Clone, Debug)]
pub struct LsArgs {
    /// Only this group's
    #[arg(long, value_name = "GROUP")]
    pub group: Option<GroupName>,
}

/// `ucron export`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
TOML on stdout: a `[[task]]` each, by group and name, the flags of `ucron add` as keys; what is not written has
its default. The same tasks give the same text, so that it can be kept under version control.

Examples:
  ucron export > tasks.toml
  ucron export db/dump web/probe
  ucron export --group web")]
pub struct ExportArgs {
    /// The tasks [default: all that you see]; `-` reads them from stdin, one a line
    #[arg(value_name = "TASK")]
    pub tasks: Vec<String>,
    /// All tasks of this group
    #[arg(long, value_name = "GROUP", conflicts_with = "tasks")]
    pub group: Option<GroupName>,
}

/// `ucron next`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
What is empty, holds white space, is `*…` or starts with `@` is a RULE: it is worked out here, without a center,
in UTC unless --tz names a zone. Everything else is a TASK.

Examples:
  ucron next '30 2 * * *' --tz Europe/Berlin --from 2027-03-27
  ucron next '@every 90m' -n 3 -o json
  ucron next db/dump")]
pub struct NextArgs {
    /// A task, or a rule in quotes
    #[arg(value_name = "TASK|RULE", allow_hyphen_values = true)]
    pub of: String,
    /// Strictly after this time [default: now]
    #[arg(long, value_name = "T")]
    pub from: Option<String>,
    /// How many occurrences
    #[arg(short = 'n', value_name = "N", default_value_t = 5)]
    pub count: usize,
}

/// `ucron why`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  ucron why db/dump
  ucron why db/dump 03:00
  ucron why db/dump 2027-01-31T03:00")]
pub struct WhyArgs {
    /// A task
    #[arg(value_name = "TASK")]
    pub task: String,
    /// The occurrence at this time, instead of the last ten
    #[arg(value_name = "TIME")]
    pub time: Option<String>,
}

/// `ucron stop`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Survives every restart; `ucron start` turns it on again.

Examples:
  ucron stop web/worker
  ucron stop --finish db/dump
  ucron ls -q --group web | ucron stop -")]
pub struct StopArgs {
    /// Which.
    #[command(flatten)]
    pub selection: Selection,
    /// Let end what runs
    #[arg(long)]
    pub finish: bool,
}

/// `ucron start`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  ucron start db/dump\n  ucron start --group web")]
pub struct StartArgs {
    /// Which.
    #[command(flatten)]
    pub selection: Selection,
}

/// `ucron restart`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  ucron restart web/worker\n  ucron restart web/worker --one-by-one"
)]
pub struct RestartArgs {
    /// Which.
    #[command(flatten)]
    pub selection: Selection,
    /// One slot after the other
    #[arg(long)]
    pub one_by_one: bool,
}

/// `ucron rm`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
More than one, and --all, want --yes (or an answer on a terminal).

Examples:
  ucron rm greeting
  ucron rm --group old --yes")]
pub struct RmArgs {
    /// Which.
    #[command(flatten)]
    pub selection: Selection,
}

/// `ucron run`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Prints the runs' ids. With --wait the exit code is 0 if all succeeded, else 1; 124 when --wait-timeout is over.

Examples:
  ucron run db/dump --wait --wait-timeout 30m
  ucron run db/dump -f
  ucron run db/dump")]
pub struct RunArgs {
    /// Which.
    #[command(flatten)]
    pub selection: Selection,
    /// Wait until all have an outcome
    #[arg(long)]
    pub wait: bool,
    /// Show what they write, and wait
    #[arg(short, long)]
    pub follow: bool,
    /// Wait so long at most; the runs go on
    #[arg(long, value_name = "D", value_parser = value::duration)]
    pub wait_timeout: Option<Duration>,
}
