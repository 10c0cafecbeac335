//! What clients ask and what the center answers, by family; both directions of one deed stand together.
//! Tasks are named by TASK texts (`group/name`, a bare unambiguous name, an id), runs by RUN texts (an id or
//! its unambiguous last characters); the center resolves them among what the asker may see.

mod fleet;
mod runs;
mod tasks;
mod watch;

use serde::{Deserialize, Serialize};

pub use fleet::*;
pub use runs::*;
pub use tasks::*;
pub use watch::*;

use super::view::{
    AgentView, AuditView, EventView, GroupView, LogView, OperatorView, ProcessView, RunView,
    StatusView, TaskView,
};

/// What a client asks.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "deed", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Answer: `saved`.
    TaskAdd(Box<TaskAdd>),
    /// Answer: `imported`.
    TaskImport(TaskImport),
    /// Answer: `saved`.
    TaskEdit(Box<TaskEdit>),
    /// Answer: `task`.
    TaskShow(TaskShow),
    /// Answer: `tasks`.
    TaskList(TaskList),
    /// Answer: `changed`.
    TaskStop(TaskStop),
    /// Answer: `changed`.
    TaskStart(TaskStart),
    /// Answer: `changed`.
    TaskRestart(TaskRestart),
    /// Answer: `changed`.
    TaskRemove(TaskRemove),
    /// Answer: `started`.
    TaskRun(TaskRun),
    /// Answer: `runs`.
    RunList(RunList),
    /// Answer: `runs`, once all of them have an outcome.
    RunWait(RunWait),
    /// Answer: `run`.
    RunShow(RunShow),
    /// Answer: `changed`.
    RunKill(RunKill),
    /// Answer: `processes`.
    ProcessList(ProcessList),
    /// Stream of `log` items.
    LogRead(LogRead),
    /// Answer: `agents`.
    AgentList(AgentList),
    /// Answer: `done`, once the agent has stored its certificate.
    AgentAdd(AgentAdd),
    /// Answer: `done`.
    AgentDrain(AgentDrain),
    /// Answer: `done`.
    AgentRename(AgentRename),
    /// Answer: `done`.
    AgentRemove(AgentRemove),
    /// Answer: `groups`.
    GroupList(GroupList),
    /// Answer: `done`.
    GroupAdd(GroupAdd),
    /// Answer: `done`.
    GroupRemove(GroupRemove),
    /// Answer: `changed`.
    GroupAssign(GroupAssign),
    /// Answer: `frozen`.
    GroupFreeze(GroupFreeze),
    /// Answer: `changed`.
    GroupThaw(GroupThaw),
    /// Answer: `operators`.
    OperatorList(OperatorList),
    /// Answer: `done`.
    OperatorRemove(OperatorRemove),
    /// Answer: `done`.
    Grant(Grant),
    /// Answer: `token`.
    TokenAgent(TokenAgent),
    /// Answer: `token`.
    TokenOperator(TokenOperator),
    /// Answer: `token`.
    TokenCenter(TokenCenter),
    /// Answer: `status`.
    Status(Status),
    /// Stream of `event` items.
    Events(Events),
    /// Answer: `audit`.
    Audit(Audit),
    /// Stream of `change` items.
    Watch(Watch),
}

impl Request {
    /// Whether it changes something, so that it carries a request id and is kept from repetition.
    pub fn is_change(&self) -> bool {
        !matches!(
            self,
            Self::TaskShow(_)
                | Self::TaskList(_)
                | Self::RunList(_)
                | Self::RunWait(_)
                | Self::RunShow(_)
                | Self::ProcessList(_)
                | Self::LogRead(_)
                | Self::AgentList(_)
                | Self::GroupList(_)
                | Self::OperatorList(_)
                | Self::Status(_)
                | Self::Events(_)
                | Self::Audit(_)
                | Self::Watch(_)
        )
    }
}

impl Request {
    /// Whether its answer holds a secret, so that it is never kept.
    pub fn has_secret(&self) -> bool {
        matches!(
            self,
            Self::TokenAgent(_) | Self::TokenOperator(_) | Self::TokenCenter(_)
        )
    }
}

/// What the center answers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(
    tag = "is",
    content = "body",
    rename_all = "snake_case",
    deny_unknown_fields
)]
pub enum Answer {
    /// A task was saved, or would be.
    Saved(Box<Saved>),
    /// Tasks were added together, or would be.
    Imported(Imported),
    /// One task.
    Task(Box<TaskView>),
    /// Tasks, by group and name.
    Tasks(Vec<TaskView>),
    /// Something was changed; what it hit.
    Changed(Box<Changed>),
    /// A group is frozen, or would be.
    Frozen(Box<Frozen>),
    /// Runs were made.
    Started(RunsStarted),
    /// Runs.
    Runs(RunPage),
    /// One run.
    Run(Box<RunView>),
    /// Processes.
    Processes(Vec<ProcessView>),
    /// Agents, by name.
    Agents(Vec<AgentView>),
    /// Groups, by name.
    Groups(Vec<GroupView>),
    /// Operators, by name.
    Operators(Vec<OperatorView>),
    /// A token, to be given to its user once.
    Token(TokenMade),
    /// The fleet at a glance.
    Status(Box<StatusView>),
    /// Audit log, newest first.
    Audit(Vec<AuditView>),
    /// Done, nothing to tell.
    Done,
}

/// One item of a stream.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(
    tag = "is",
    content = "body",
    rename_all = "snake_case",
    deny_unknown_fields
)]
pub enum Item {
    /// Output of a run.
    Log(LogView),
    /// Something happened.
    Event(Box<EventView>),
    /// Something is as it is now.
    Change(Box<Change>),
}

/// Why a request is refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// For programs; decides the exit code.
    pub code: RefusalCode,
    /// What was wrong.
    pub message: String,
    /// What to do next, where that is known.
    pub hint: Option<String>,
}

/// Why a request is refused, for programs. The exit codes are CLI's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// 1: the answer is no.
    Failed,
    /// 2: the request makes no sense, or a name is ambiguous.
    Usage,
    /// 3: not there, or not to be seen.
    NotFound,
    /// 4: seen, but not allowed.
    Forbidden,
    /// 5: taken, changed meanwhile, in the way.
    Conflict,
    /// 1: the center cannot do it now.
    Unavailable,
}

impl RefusalCode {
    /// The exit code of the client.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed | Self::Unavailable => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Forbidden => 4,
            Self::Conflict => 5,
        }
    }
}
