//! Commands on runs, processes and output.

use clap::Args;

use super::value::{self, Lines};
use crate::model::{AgentName, GroupName, Outcome};

/// `ucron runs`.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  ucron runs --task db/dump --outcome failed --since 2d\n  ucron runs -o json --limit 0"
)]
pub struct RunsArgs {
    /// Only of this task
    #[arg(long, value_name = "TASK")]
    pub task: Option<String>,
    /// Only of this group
    #[arg(long, value_name = "GROUP")]
    pub group: Option<GroupName>,
    /// Only on this agent
    #[arg(long, value_name = "AGENT")]
    pub agent: Option<AgentName>,
    /// Only with this outcome: succeeded, failed, timed_out, stopped, skipped, missed, lost
    #[arg(long, value_name = "OUTCOME", value_parser = value::outcome)]
    pub outcome: Option<Outcome>,
    /// Only scheduled at or after this: 2027-01-31T03:00, 03:00, or a duration back
    #[arg(long, value_name = "T")]
    pub since: Option<String>,
    /// At most so many; 0 is all
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: u32,
}

/// `ucron ps`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  ucron ps\n  ucron ps web/worker -o json")]
pub struct PsArgs {
    /// Only of this task
    #[arg(value_name = "TASK")]
    pub task: Option<String>,
    /// Only of this group
    #[arg(long, value_name = "GROUP")]
    pub group: Option<GroupName>,
    /// Only on this agent
    #[arg(long, value_name = "AGENT")]
    pub agent: Option<AgentName>,
}

/// `ucron kill`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Without --signal the task's stop sequence. No retry follows; a daemon's slot is started again.

Examples:
  ucron kill 4k2m9x1p
  ucron ps -q web/worker | ucron kill - --signal HUP")]
pub struct KillArgs {
    /// The runs; `-` reads them from stdin, one a line
    #[arg(value_name = "RUN", required = true)]
    pub runs: Vec<String>,
    /// Send this signal, by name or number
    #[arg(long, value_name = "S", value_parser = value::signal)]
    pub signal: Option<i32>,
}

/// `ucron logs`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Of a task: the last run of every target (a daemon's: its current process); with --since every run since then.
Lines are marked `agent/slot` when there is more than one, and come in the order in which they were written,
within a second. With --grep, -n counts lines that match. -f ends with the run; a daemon's goes on.

Examples:
  ucron logs db/dump
  ucron logs -f web/worker --agent a1
  ucron logs 4k2m9x1p -n all --raw > out.log")]
pub struct LogsArgs {
    /// The task or the run
    #[arg(value_name = "TASK|RUN")]
    pub of: String,
    /// The last lines: a number, or all [default: 200; all with --since]
    #[arg(short = 'n', value_name = "N|all", value_parser = value::lines)]
    pub lines: Option<Lines>,
    /// What was written since then, of every run
    #[arg(long, value_name = "T")]
    pub since: Option<String>,
    /// Only lines that match this regular expression
    #[arg(long, value_name = "R", value_parser = value::pattern, conflicts_with = "raw")]
    pub grep: Option<regex::Regex>,
    /// Only on this agent
    #[arg(long, value_name = "AGENT")]
    pub agent: Option<AgentName>,
    /// This attempt [default: the last]
    #[arg(long, value_name = "N")]
    pub attempt: Option<u16>,
    /// The bytes as they are, without marks
    #[arg(long)]
    pub raw: bool,
    /// Go on as more is written
    #[arg(short, long)]
    pub follow: bool,
}
