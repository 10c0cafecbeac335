//! `ucron import …`: tasks from elsewhere.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::value;
use crate::config::StoreTls;
use crate::model::{GroupName, Target};
use crate::proto::request::IfExists;
use crate::rule::Zone;

/// `ucron import …`.
#[derive(Subcommand, Clone, Debug)]
pub enum ImportCommand {
    /// Add the tasks of the PHP ancestor's table
    Mysql(Box<ImportMysqlArgs>),
}

/// `ucron import mysql`.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a flag that stands by itself"
)]
#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "ucron import mysql --url mysql://USER@HOST[:PORT]/DATABASE [FLAGS]",
    after_help = "\
Reads the columns gid, task_name or taskname, rule, execute, run_user or runuser and, where they are there, timeout,
runnumber or a number of processes, status and manager. All tasks are added in one step, or none: a row that cannot be
kept is named with every reason. What is another than it was is told on stderr, row by row. The table stays as it is.

Examples:
  ucron import mysql --url mysql://root@db.example/crontab --password-file ./db-password --groups-table crongroup --dry-run
  ucron import mysql --url mysql://root@db.example/crontab --password-env DB_PASSWORD --group web --tz Asia/Shanghai --disabled"
)]
pub struct ImportMysqlArgs {
    /// The database; never with a password in it
    #[arg(long, value_name = "URL")]
    pub url: String,
    /// The table
    #[arg(long, value_name = "TABLE", default_value = "crontab")]
    pub table: String,
    /// File whose first line is the password, readable by nobody else
    #[arg(long, value_name = "FILE", conflicts_with = "password_env")]
    pub password_file: Option<PathBuf>,
    /// Variable of the environment that holds the password
    #[arg(long, value_name = "NAME")]
    pub password_env: Option<String>,
    /// Encrypt the connection: auto (unless the host is local), on, off
    #[arg(long, value_name = "WHEN", default_value = "auto", value_parser = value::store_tls)]
    pub tls: StoreTls,
    /// The authority of the server's certificate, a PEM file [default: the public ones]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// Put all tasks into this group [default: the row's gid]
    #[arg(long, value_name = "GROUP")]
    pub group: Option<GroupName>,
    /// Table with the columns gid and gname: the group is the name
    #[arg(long, value_name = "TABLE", conflicts_with = "group")]
    pub groups_table: Option<String>,
    /// Zone in which the rules are read [default: the center's]
    #[arg(long = "tz", id = "timezone", value_name = "ZONE")]
    pub timezone: Option<Zone>,
    /// Where they run: all agents of the group, one at a time as for the ancestor, or these
    #[arg(long, value_name = "all|one|AGENT,…", default_value = "one", value_parser = value::target)]
    pub target: Target,
    /// Split every command at blanks; without it one with quotes, `|`, `$` … becomes a shell line
    #[arg(long)]
    pub no_shell: bool,
    /// The status of a task that is on
    #[arg(long, value_name = "VALUE", default_value = "0")]
    pub status_on: String,
    /// Add all of them stopped
    #[arg(long)]
    pub disabled: bool,
    /// What to do where a name is taken: fail, keep
    #[arg(long, value_name = "WHAT", default_value = "fail", value_parser = value::fail_or_keep)]
    pub if_exists: IfExists,
    /// Add the others where rows cannot be kept
    #[arg(long)]
    pub skip_refused: bool,
    /// Say what would be added, and add nothing
    #[arg(long)]
    pub dry_run: bool,
}
