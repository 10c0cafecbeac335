//! Commands on agents, groups, operators, tokens and the fleet as a whole.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::value;
use crate::model::{AgentName, Fingerprint, GroupName, HostPort, OperatorName, Role};

/// `ucron agent …`.
#[derive(Subcommand, Clone, Debug)]
pub enum AgentCommand {
    /// Add a host that only the center can dial
    #[command(after_help = "\
`ucron-agent join --listen` prints this command on the host and waits there. The center dials the host, believes
it by the fingerprint of its key, takes its token, and keeps dialling it from then on.

Example:
  ucron agent add a5 192.0.2.21:9501 --fingerprint 5d9f3c1e7a2b4860c1f7e9d3b5a8042639c7e1f0d4b6a89257e3c1f8d0b4a697")]
    Add {
        /// The agent's name
        #[arg(value_name = "NAME")]
        agent: AgentName,
        /// Where it waits, as the center reaches it
        #[arg(value_name = "HOST:PORT")]
        address: HostPort,
        /// The fingerprint of its key, as it printed it
        #[arg(long, value_name = "F")]
        fingerprint: Fingerprint,
    },
    /// No new runs there; what runs may end
    #[command(after_help = "Example:\n  ucron agent drain a1 --daemons")]
    Drain {
        /// The agents
        #[arg(value_name = "NAME", required = true)]
        names: Vec<AgentName>,
        /// End its daemons too
        #[arg(long)]
        daemons: bool,
    },
    /// New runs again
    #[command(after_help = "Example:\n  ucron agent undrain a1")]
    Undrain {
        /// The agents
        #[arg(value_name = "NAME", required = true)]
        names: Vec<AgentName>,
    },
    /// Remove agents; their links are cut at once
    #[command(after_help = "Example:\n  ucron agent rm retired")]
    Rm {
        /// The agents
        #[arg(value_name = "NAME", required = true)]
        names: Vec<AgentName>,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Give an agent another name
    #[command(after_help = "Example:\n  ucron agent rename ip-10-0-0-7 a3")]
    Rename {
        /// The agent
        #[arg(value_name = "NAME")]
        agent: AgentName,
        /// Its name from now on
        #[arg(value_name = "NEW")]
        name: AgentName,
    },
}

/// `ucron group …`.
#[derive(Subcommand, Clone, Debug)]
pub enum GroupCommand {
    /// Make groups
    #[command(after_help = "Example:\n  ucron group add batch")]
    Add {
        /// The groups
        #[arg(value_name = "GROUP", required = true)]
        groups: Vec<GroupName>,
    },
    /// Remove groups that have neither tasks nor agents
    #[command(after_help = "Example:\n  ucron group rm batch")]
    Rm {
        /// The groups
        #[arg(value_name = "GROUP", required = true)]
        groups: Vec<GroupName>,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
    /// Put agents into a group; its daemons start there
    #[command(after_help = "Example:\n  ucron group assign db a2 a3")]
    Assign(AssignArgs),
    /// Take agents out of a group; its daemons end there
    #[command(after_help = "Example:\n  ucron group unassign db a3")]
    Unassign(AssignArgs),
    /// Let nothing of a group fire for a while; says what will not run
    Freeze(FreezeArgs),
    /// End a freeze before its time
    #[command(after_help = "Example:\n  ucron group thaw web")]
    Thaw {
        /// The groups
        #[arg(value_name = "GROUP", required = true)]
        groups: Vec<GroupName>,
    },
}

/// `ucron group freeze`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
What is due meanwhile is missed and not caught up; what runs goes on, and so do daemons. The freeze ends by itself.

Examples:
  ucron group freeze web --until 2h --reason 'move of the database' --dry-run
  ucron group freeze web --until 2h --reason 'move of the database'")]
pub struct FreezeArgs {
    /// The group
    #[arg(value_name = "GROUP")]
    pub group: GroupName,
    /// Until then: a time, or a duration ahead [default: 24h]
    #[arg(long, value_name = "T")]
    pub until: Option<String>,
    /// Why, for everybody who asks
    #[arg(long, value_name = "R")]
    pub reason: String,
    /// Say what would not run, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `ucron group assign|unassign`.
#[derive(Args, Clone, Debug)]
pub struct AssignArgs {
    /// The group
    #[arg(value_name = "GROUP")]
    pub group: GroupName,
    /// The agents
    #[arg(value_name = "AGENT", required = true)]
    pub agents: Vec<AgentName>,
}

/// `ucron operator …`.
#[derive(Subcommand, Clone, Debug)]
pub enum OperatorCommand {
    /// Remove operators; their links are cut at once
    #[command(after_help = "Example:\n  ucron operator rm eve")]
    Rm {
        /// The operators
        #[arg(value_name = "NAME", required = true)]
        names: Vec<OperatorName>,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

/// `ucron grant|ungrant`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
viewer sees; operator adds, changes, starts, stops, runs, deletes; admin also grants.

Examples:
  ucron grant ann operator --group web
  ucron ungrant ann operator --group web")]
pub struct GrantArgs {
    /// The operator
    #[arg(value_name = "NAME")]
    pub operator: OperatorName,
    /// viewer, operator or admin
    #[arg(value_name = "ROLE", value_parser = value::role)]
    pub role: Role,
    /// In this group [default: in all]
    #[arg(long, value_name = "GROUP")]
    pub group: Option<GroupName>,
}

/// `ucron token …`.
#[derive(Subcommand, Clone, Debug)]
pub enum TokenCommand {
    /// Make a token for a new agent
    #[command(
        after_help = "Example:\n  ucron token agent --group web | ssh a4 ucron-agent join center.example:9502 --state /var/lib/ucron-agent --name a4"
    )]
    Agent {
        /// Groups that the agent will be in; may be repeated
        #[arg(long, value_name = "GROUP")]
        group: Vec<GroupName>,
        /// How long the token is good
        #[arg(long, value_name = "D", default_value = "1h", value_parser = value::duration)]
        ttl: Duration,
    },
    /// Make a token for an operator, who is made if new, with no role yet
    #[command(after_help = "Example:\n  (umask 077; ucron token operator ann > token)")]
    Operator {
        /// The operator
        #[arg(value_name = "NAME")]
        name: OperatorName,
        /// How long the token is good
        #[arg(long, value_name = "D", default_value = "1h", value_parser = value::duration)]
        ttl: Duration,
    },
    /// Make a token for another center of the fleet, which gets the fleet's certificate authority with it
    #[command(after_help = "Example:\n  (umask 077; ucron token center > center-token)")]
    Center {
        /// How long the token is good
        #[arg(long, value_name = "D", default_value = "1h", value_parser = value::duration)]
        ttl: Duration,
    },
}

/// `ucron audit`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  ucron audit --limit 0 -o json")]
pub struct AuditArgs {
    /// At most so many; 0 is all
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: u32,
}

/// `ucron status`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Exits 0 whenever a center answered; with --check 1 when something is wrong.

Examples:
  ucron status
  ucron status --check || echo trouble")]
pub struct StatusArgs {
    /// Exit 1 when something is wrong
    #[arg(long)]
    pub check: bool,
}

/// `ucron events`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
One line an event: TIME EVENT TASK AGENT OUTCOME …; `-` where there is none. `-o json` has the cursor.

Examples:
  ucron events -f
  ucron events --since CURSOR -o json")]
pub struct EventsArgs {
    /// Go on as things happen
    #[arg(short, long)]
    pub follow: bool,
    /// After the event with this cursor
    #[arg(long, value_name = "CURSOR")]
    pub since: Option<String>,
}

/// `ucron login`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Reads the token from stdin, without echo on a terminal. The key is made here and never leaves this machine.
A client home is of one fleet; --context NAME adds another, see `ucron context`.

Examples:
  ucron login center.example:9502
  ucron login prod.example:9502 --context prod
  ucron login center.example:9502 --token-file token --home ./client")]
pub struct LoginArgs {
    /// A center's address
    #[arg(value_name = "CENTER:PORT", value_parser = value::address)]
    pub center: String,
    /// Read the token from this file, which only you may read
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// `ucron context …`.
#[derive(Subcommand, Clone, Debug)]
pub enum ContextCommand {
    /// List contexts; the client home itself is `default`
    #[command(after_help = "Example:\n  ucron context ls")]
    Ls,
    /// Use this one where no --context is given
    #[command(after_help = "Examples:\n  ucron context use prod\n  ucron context use default")]
    Use {
        /// The context
        #[arg(value_name = "NAME", value_parser = value::context)]
        name: String,
    },
    /// Forget contexts: key, certificate and addresses are deleted here
    #[command(
        after_help = "The operator stays known to the fleet; `ucron operator rm` removes it there.

Example:\n  ucron context rm prod"
    )]
    Rm {
        /// The contexts
        #[arg(value_name = "NAME", required = true, value_parser = value::context)]
        names: Vec<String>,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

/// `ucron dev`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Center, agent and keeper in one fresh directory; all of it is gone at the end.

Examples:
  ucron dev
  ucron dev --keep ./fleet")]
pub struct DevArgs {
    /// Keep everything in this directory
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

/// Arguments of `gen`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  ucron gen man ./man
  ucron gen completions ~/.local/share/bash-completion/completions")]
pub struct GenArgs {
    /// man or completions
    #[arg(value_name = "man|completions", value_parser = super::value::generated)]
    pub what: Generated,
    /// Directory, made if it is not there
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

/// What `gen` writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Generated {
    /// The man pages of the four programs.
    Man,
    /// Completion scripts for bash, zsh and fish.
    Completions,
}
