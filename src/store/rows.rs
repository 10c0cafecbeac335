//! What goes into the store and comes out of it, independent of the database.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::checksum::{hex, of_fields};
use crate::model::{
    AgentId, AgentName, BootId, Ending, Epoch, GroupName, HostPort, Incarnation, OperatorId,
    OperatorName, Outcome, RequestId, Revision, Role, RunId, RunRef, Task, TaskId, TaskPath,
    UnixMs,
};

use super::span::{Folded, SpanRow};
use super::truth::Truth;

/// Proof of the lead under which a batch is written; a batch of a deposed center changes nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaseGuard {
    /// The epoch taken.
    pub epoch: Epoch,
    /// This process, unique for each start of a center.
    pub holder: String,
}

/// What came of asking for the lead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lead {
    /// It is ours, with a new epoch.
    Taken(LeaseGuard),
    /// Another has it.
    Held {
        /// Who.
        holder: String,
        /// Its epoch.
        epoch: Epoch,
        /// For how long, unless it renews.
        left: Duration,
    },
}

/// Everything a center needs in memory when it takes the lead.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Snapshot {
    /// Groups.
    pub groups: Vec<GroupRow>,
    /// Tasks that are not removed.
    pub tasks: Vec<Task>,
    /// How far each task is planned: no occurrence at or before this is planned again.
    pub cursors: BTreeMap<TaskId, UnixMs>,
    /// Agents that are not removed.
    pub agents: Vec<AgentRow>,
    /// Operators that are not removed.
    pub operators: Vec<OperatorRow>,
    /// Tokens that are not used.
    pub tokens: Vec<TokenRow>,
    /// Runs without an outcome.
    pub open_runs: Vec<RunRow>,
    /// Spans that are not counted yet.
    pub open_spans: Vec<SpanRow>,
    /// Where each daemon of target `one` was last given to.
    pub holders: BTreeMap<TaskId, AgentId>,
    /// The latest ended run of each task, for `last_run`.
    pub last_runs: Vec<StoredRun>,
    /// Answers kept for repeated requests.
    pub answers: Vec<AnswerRow>,
    /// What the leader remembers, by name.
    pub memories: BTreeMap<String, String>,
}

/// Names of what the leader remembers begin so in the table `meta`.
pub(in crate::store) const MEMORY: &str = "memory:";

/// A group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupRow {
    /// Its name.
    pub name: GroupName,
    /// The accounts that its operators may name; any where none.
    pub run_users: Option<BTreeSet<String>>,
    /// When it was added.
    pub created_at: UnixMs,
}

/// An agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AgentRow {
    /// Its id, which stands in its certificate.
    pub id: AgentId,
    /// Its name.
    pub name: AgentName,
    /// The groups it is in.
    pub groups: BTreeSet<GroupName>,
    /// Where the center dials it; it dials the center where none.
    pub dial_address: Option<HostPort>,
    /// Whether it gets no new runs.
    pub draining: bool,
    /// Whether its daemons end while it is drained.
    pub drain_daemons: bool,
    /// The last boot it was seen in.
    pub boot_id: Option<BootId>,
    /// When the center first learnt of that boot.
    pub boot_seen_at: Option<UnixMs>,
    /// The highest incarnation seen.
    pub incarnation: Incarnation,
    /// Its program's version when it last connected.
    pub version: Option<String>,
    /// When it last connected.
    pub last_seen_at: Option<UnixMs>,
    /// When it joined.
    pub created_at: UnixMs,
}

/// An operator with all roles.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OperatorRow {
    /// Its id, which stands in its certificates.
    pub id: OperatorId,
    /// Its name.
    pub name: OperatorName,
    /// Role on all groups.
    pub role: Option<Role>,
    /// Roles in single groups.
    pub roles: BTreeMap<GroupName, Role>,
    /// Whether a client has logged in.
    pub logged_in: bool,
    /// When it was made.
    pub created_at: UnixMs,
}

/// A one-time token; only its hash is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenRow {
    /// SHA-256 of the secret, hex.
    pub hash: String,
    /// What it is for.
    pub purpose: TokenFor,
    /// When it is no longer good.
    pub expires_at: UnixMs,
}

/// What a token is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TokenFor {
    /// A new agent in these groups.
    Agent(BTreeSet<GroupName>),
    /// A client of this operator.
    Operator(OperatorId),
    /// Another center of the fleet.
    Center,
}

/// A run as planned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunRow {
    /// The run.
    pub run: RunRef,
    /// Part of the run's key: the agent, none for target `one`.
    pub target: Option<AgentId>,
    /// The agent that it is given to.
    pub agent: Option<AgentId>,
    /// A first attempt after this is refused.
    pub start_before: UnixMs,
}

/// A run as read back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredRun {
    /// The run as planned.
    pub row: RunRow,
    /// Its task's path, also of a removed task.
    pub path: TaskPath,
    /// Its agent's name, also of a removed agent.
    pub agent_name: Option<AgentName>,
    /// Its ending; none while open.
    pub ending: Option<Ending>,
    /// The occurrences that it stands for where a span is told as one, of which it is the last.
    pub span: Option<Folded>,
}

/// An answer kept for a repeated request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnswerRow {
    /// The request.
    pub request_id: RequestId,
    /// Who asked.
    pub operator: OperatorId,
    /// The answer or refusal, JSON.
    pub answer: String,
    /// When it was given.
    pub at: UnixMs,
}

/// One entry of the audit log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditRow {
    /// When.
    pub at: UnixMs,
    /// Who.
    pub operator: OperatorName,
    /// From where.
    pub address: String,
    /// What: the command's name.
    pub deed: String,
    /// To what.
    pub subject: String,
    /// The group it is about; entries without one are for admins on all groups.
    pub group: Option<GroupName>,
    /// Before, JSON.
    pub before: Option<String>,
    /// After, JSON.
    pub after: Option<String>,
}

impl AuditRow {
    /// A checksum of all fields.
    pub(super) fn digest(&self) -> String {
        let at = self.at.0.to_string();
        let fields = [
            Some(at.as_str()),
            Some(self.operator.as_str()),
            Some(&self.address),
            Some(&self.deed),
            Some(&self.subject),
            self.group.as_ref().map(GroupName::as_str),
            self.before.as_deref(),
            self.after.as_deref(),
        ];
        hex(&of_fields(fields))
    }
}

/// One change of the store. Every one is idempotent: written twice it is as written once.
#[derive(Clone, PartialEq, Debug)]
pub enum Write {
    /// Add or change a group.
    PutGroup(GroupRow),
    /// Remove a group.
    RemoveGroup(GroupName),
    /// Add or change a task.
    PutTask(Box<Task>),
    /// Remove a task; its history stays.
    RemoveTask {
        /// The task.
        task: TaskId,
        /// When.
        at: UnixMs,
    },
    /// Move a task's cursor.
    SetCursor {
        /// The task.
        task: TaskId,
        /// How far it is planned.
        at: UnixMs,
    },
    /// Add or change an agent.
    PutAgent(Box<AgentRow>),
    /// Remove an agent; its runs stay.
    RemoveAgent {
        /// The agent.
        agent: AgentId,
        /// When.
        at: UnixMs,
    },
    /// Add or change an operator with all roles.
    PutOperator(Box<OperatorRow>),
    /// Remove an operator.
    RemoveOperator {
        /// The operator.
        operator: OperatorId,
        /// When.
        at: UnixMs,
    },
    /// Add a token.
    PutToken(TokenRow),
    /// A token is used or was withdrawn.
    RemoveToken {
        /// Its hash.
        hash: String,
    },
    /// A run is planned; one already there stays as it is.
    PlanRun(RunRow),
    /// An open run takes another revision of its task.
    ReviseRun {
        /// The run.
        run_id: RunId,
        /// The revision.
        revision: Revision,
        /// How long after its instant it is started now.
        delay: Duration,
        /// A first attempt after this is refused now.
        start_before: UnixMs,
    },
    /// An open run is started late because its task catches up.
    CatchUpRun {
        /// The run.
        run_id: RunId,
    },
    /// An open run of which nothing was handed out is missed; a span written with this tells it, and its row goes.
    FoldRun {
        /// The run.
        run_id: RunId,
    },
    /// Misses in a row: a new span, or what became of the one with this task, target, slot and beginning.
    PutSpan(Box<SpanRow>),
    /// An open run of target `one` is given to another agent, if it is still with the first.
    ReassignRun {
        /// The run.
        run_id: RunId,
        /// Where it was.
        from: Option<AgentId>,
        /// Where it goes.
        to: AgentId,
    },
    /// Where a daemon of target `one` is; nowhere where none.
    SetHolder {
        /// The task.
        task: TaskId,
        /// The agent.
        agent: Option<AgentId>,
    },
    /// A planned run has its outcome. One that has an outcome keeps it, except `lost`, which takes the truth.
    EndRun {
        /// The run.
        run_id: RunId,
        /// Only while the run is this agent's: one that started nothing speaks for itself alone.
        only_of: Option<AgentId>,
        /// Its ending.
        ending: Box<Ending>,
    },
    /// A run that was not planned (a daemon's) has its outcome.
    RecordRun {
        /// The run.
        row: Box<RunRow>,
        /// Its ending.
        ending: Box<Ending>,
    },
    /// An agent tells how a run ended of which the center holds no open one: that takes the place of `lost`, and of
    /// `missed` and `skipped`, also where a span tells it; a run that is not there is added. See [`Truth`].
    TakeTruth(Box<Truth>),
    /// Keep an answer; those older than 10 min go.
    PutAnswer(AnswerRow),
    /// Add to the audit log.
    Audit(Box<AuditRow>),
    /// Keep what the leader must know again after a restart or a takeover, in place of what has this name; nothing
    /// where none.
    Remember {
        /// Whose it is: at most 48 letters and digits.
        name: String,
        /// What; the store does not look into it.
        text: Option<String>,
    },
}

/// Which runs to read, newest first (by scheduled_at, then id).
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RunQuery {
    /// Only of this task.
    pub task: Option<TaskId>,
    /// Only of tasks in these groups (as they are, or were when removed).
    pub groups: Option<BTreeSet<GroupName>>,
    /// Only on this agent.
    pub agent: Option<AgentId>,
    /// Only with this outcome.
    pub outcome: Option<Outcome>,
    /// Only scheduled at or after this.
    pub since: Option<UnixMs>,
    /// Only scheduled before this.
    pub until: Option<UnixMs>,
    /// Only what comes after this instant and run in the order of the answer.
    pub after: Option<(UnixMs, RunId)>,
    /// Of spans only what was due before this: they may reach ahead of what is told yet.
    pub missed_until: Option<UnixMs>,
    /// Spans as one run each, not as their occurrences.
    pub fold: bool,
    /// Only runs whose id ends with this.
    pub id_suffix: Option<String>,
    /// Also runs without an outcome.
    pub open: bool,
    /// At most so many; 0 = all.
    pub limit: u32,
}

/// How long ended runs, and spans by their last occurrence, are kept. A failure is `failed`, `timed_out` or `lost`; the latest run of a task that is
/// not removed always stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keep {
    /// Runs that are no failures, at most so long.
    pub age: Duration,
    /// Of those only what is among so many newest runs of their task.
    pub per_task: u32,
    /// Failures, at most so long.
    pub failures_age: Duration,
}

/// What one step of pruning did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pruned {
    /// Rows that went.
    pub rows: usize,
    /// Whether every task was looked at since the round began, and nothing is left of what was found: the next step
    /// begins another round.
    pub is_over: bool,
}

impl Keep {
    /// How long a run with this outcome is kept at most.
    pub(super) fn age_of(&self, outcome: Outcome) -> Duration {
        match outcome {
            Outcome::Failed | Outcome::TimedOut | Outcome::Lost => self.failures_age,
            _ => self.age,
        }
    }
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            age: Duration::from_hours(30 * 24),
            per_task: 10_000,
            failures_age: Duration::from_hours(90 * 24),
        }
    }
}
