//! What clients see of things: the fields of CLI's section 4. The center makes views, the client prints them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::{
    AgentName, AgentState, Cause, ConditionKind, Epoch, GroupName, OperatorName, Outcome, Revision,
    Role, RunId, Slot, TaskId, TaskName, TaskPath, TaskSpec, UnixMs,
};
use crate::rule::Zone;

/// A task. In `-o json` the fields of `spec` and `spec.work` stand beside the others, flat.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskView {
    /// Its id.
    pub id: TaskId,
    /// Its group.
    pub group: GroupName,
    /// Its name.
    pub task_name: TaskName,
    /// Its revision.
    pub revision: Revision,
    /// Whether it is on.
    pub enabled: bool,
    /// What the operator said; values of `env` are `***` for viewers.
    pub spec: TaskSpec,
    /// The zone in which its rule is read: its own, else the center's.
    pub zone: Zone,
    /// Its next occurrence; none for a stopped task, a daemon, a rule that has no more.
    pub next_at: Option<UnixMs>,
    /// Its last run that has started or ended.
    pub last_run: Option<RunView>,
    /// Outcomes of its last runs that this center saw, oldest first, at most 20.
    pub recent: Vec<Outcome>,
    /// Runs under way (daemons: slots with a process).
    pub running: u64,
    /// When this revision was saved.
    pub saved_at: UnixMs,
    /// Who changed it last.
    pub changed_by: OperatorName,
    /// When.
    pub changed_at: UnixMs,
}

/// A run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunView {
    /// Its id.
    pub run_id: RunId,
    /// `group/name` of its task.
    pub task: TaskPath,
    /// The task's group.
    pub group: GroupName,
    /// The agent; null where there is none (yet).
    pub agent: Option<AgentName>,
    /// The slot.
    pub slot: Slot,
    /// The last attempt; 0 where nothing was started.
    pub attempt: u16,
    /// Why it ran.
    pub cause: Cause,
    /// The occurrence.
    pub scheduled_at: UnixMs,
    /// When its first attempt started.
    pub started_at: Option<UnixMs>,
    /// When it ended.
    pub finished_at: Option<UnixMs>,
    /// Start minus schedule.
    pub late_ms: Option<i64>,
    /// How it ended; null while open.
    pub outcome: Option<Outcome>,
    /// Why, or what it waits for.
    pub reason: String,
    /// The command's exit code.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The command's pid, of the last attempt.
    pub pid: Option<i32>,
    /// Bytes of output.
    pub output_bytes: Option<u64>,
    /// Of them, bytes that were taken out of the middle to keep the cap; left out where all are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_gap: Option<u64>,
    /// Bytes that the command took back itself by making its output's file shorter; left out where it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_cut: Option<u64>,
    /// Most memory that its last attempt held at a time.
    #[serde(default)]
    pub peak_memory_bytes: Option<u64>,
    /// Processor time of its last attempt.
    #[serde(default)]
    pub cpu_ms: Option<u64>,
    /// The task's revision that ran.
    pub revision: Revision,
    /// The returned end of the output; only in `show`, elsewhere null.
    pub tail: Option<String>,
    /// The misses in a row that it stands for, where they are told as one; the run is the last of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<SpanView>,
}

/// Misses in a row, told as one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpanView {
    /// The first occurrence.
    pub from: UnixMs,
    /// How many there are.
    pub count: u64,
}

/// A process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessView {
    /// The run; null for a slot without a process.
    pub run_id: Option<RunId>,
    /// `group/name` of its task.
    pub task: TaskPath,
    /// The task's group.
    pub group: GroupName,
    /// The agent.
    pub agent: AgentName,
    /// The slot.
    pub slot: Slot,
    /// The command's own pid.
    pub pid: Option<i32>,
    /// A slot's state; `running` or `waiting` (for a retry) for other runs.
    pub state: String,
    /// Since when it runs.
    pub started_at: Option<UnixMs>,
    /// A slot: since when it has been in its state, as its agent last told.
    pub since: Option<UnixMs>,
    /// A slot in backoff or on parole: when it is started again.
    pub next_at: Option<UnixMs>,
    /// Why it is in this state, in words; of a fatal slot with the last lines of output.
    pub reason: String,
    /// Starts after the first.
    pub restarts: u32,
    /// Whether its task is a daemon.
    pub daemon: bool,
    /// The task's revision that runs.
    pub revision: Revision,
}

/// An agent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentView {
    /// Its name.
    pub name: AgentName,
    /// The groups it is in, of those that the asker sees.
    pub groups: BTreeSet<GroupName>,
    /// Whether it can be reached.
    pub state: AgentState,
    /// Its program's version; null where it never connected.
    pub version: Option<String>,
    /// Runs and daemons' processes under way.
    pub running: u64,
    /// Its clock less the center's.
    pub skew_ms: Option<i64>,
    /// When the center last heard of it.
    pub last_seen_at: Option<UnixMs>,
    /// From where it is connected; where the center dials it.
    pub address: Option<String>,
}

/// A group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupView {
    /// Its name.
    pub name: GroupName,
    /// Its agents.
    pub agents: BTreeSet<AgentName>,
    /// Its tasks.
    pub tasks: u64,
    /// The accounts that its operators may name; null where any.
    pub run_users: Option<BTreeSet<String>>,
    /// Until when it is frozen.
    pub frozen_until: Option<UnixMs>,
    /// By whom and why it is frozen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<String>,
}

/// An operator.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorView {
    /// The name.
    pub name: OperatorName,
    /// Role on all groups.
    pub role: Option<Role>,
    /// Roles per group.
    pub groups: Vec<GroupRole>,
    /// Whether a client has logged in under this name.
    pub logged_in: bool,
}

/// A role in a group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupRole {
    /// The group.
    pub group: GroupName,
    /// The role.
    pub role: Role,
}

/// The fleet at a glance, over what the asker sees.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusView {
    /// The answering center's address, the first it listens on.
    pub center: String,
    /// `leader` or `standby`.
    pub role: String,
    /// Its epoch.
    pub epoch: Epoch,
    /// All centers' addresses.
    pub centers: Vec<String>,
    /// The fleet's other centers, by id.
    pub standbys: Vec<CenterView>,
    /// How long ago the lease was renewed, milliseconds; null where it does not run out, or the center stands by.
    pub lease_age_ms: Option<u64>,
    /// The center's program version.
    pub version: String,
    /// The center's time.
    pub now: UnixMs,
    /// The center's zone.
    pub timezone: Zone,
    /// Agents by state.
    pub agents: AgentCounts,
    /// Tasks that are on, and all.
    pub tasks: TaskCounts,
    /// Runs and daemons' processes under way.
    pub running: u64,
    /// Start minus schedule of the runs of the last 10 minutes.
    pub lateness_ms: Lateness,
    /// What is wrong, one sentence each; empty where nothing is.
    pub problems: Vec<String>,
    /// What has begun to be wrong and has not ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<ConditionView>,
    /// Windows of groups in which nothing fires: those that hold, and those that come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freezes: Vec<FreezeView>,
}

/// A window of a group in which nothing fires.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreezeView {
    /// The group.
    pub group: GroupName,
    /// Its first instant.
    pub from: UnixMs,
    /// The first instant after it.
    pub until: UnixMs,
    /// Who froze the group.
    pub by: OperatorName,
    /// Why, in that operator's words.
    pub reason: String,
}

/// Something wrong that goes on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionView {
    /// What.
    pub condition: ConditionKind,
    /// The task, if it is a task's.
    pub task: Option<TaskPath>,
    /// The agent, if it is an agent's.
    pub agent: Option<AgentName>,
    /// The agents where a task is in trouble; empty where the task has target `one`, or no agent.
    pub agents: Vec<AgentName>,
    /// Since when.
    pub began_at: UnixMs,
    /// Why, as last said.
    pub reason: String,
    /// All of it in one sentence.
    pub text: String,
}

/// Another center than the one that answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CenterView {
    /// Its id.
    pub id: String,
    /// Where it answers.
    pub addresses: Vec<String>,
    /// Its epoch; 0 while it stands by.
    pub epoch: Epoch,
    /// Its program's version.
    pub version: String,
    /// When it last said that it lives.
    pub last_seen_at: UnixMs,
}

/// Agents by state.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentCounts {
    /// With a link.
    pub online: u64,
    /// Without.
    pub offline: u64,
    /// Getting no new runs.
    pub draining: u64,
}

/// Tasks.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskCounts {
    /// On.
    pub enabled: u64,
    /// Stopped.
    pub stopped: u64,
}

/// Percentiles of start minus schedule, milliseconds; null where nothing ran.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lateness {
    /// Median.
    pub p50: Option<i64>,
    /// 99th percentile.
    pub p99: Option<i64>,
    /// Worst.
    pub max: Option<i64>,
}

/// A piece of output.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogView {
    /// The run.
    pub run_id: RunId,
    /// Where it runs.
    pub agent: AgentName,
    /// Its slot.
    pub slot: Slot,
    /// Its attempt.
    pub attempt: u16,
    /// Where its first byte stands in the output; a jump is a gap, a step back says that the command has cut
    /// its output.
    pub offset: u64,
    /// When it had been written, within a second, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<UnixMs>,
    /// The bytes, base 64.
    pub data: String,
}

/// Something happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventView {
    /// Opaque; `events --since` goes on after it.
    pub cursor: String,
    /// When, in the center's time.
    pub at: UnixMs,
    /// What: `run_started run_ended runs_missed attempt_ended slot restart_stopped agent_online agent_offline task_saved
    /// task_stopped task_started task_removed group_frozen group_thawed condition_began condition_ended gap`.
    pub event: String,
    /// The task, `group/name`.
    pub task: Option<TaskPath>,
    /// The agent.
    pub agent: Option<AgentName>,
    /// The run.
    pub run_id: Option<RunId>,
    /// The slot.
    pub slot: Option<Slot>,
    /// The outcome of a run that ended.
    pub outcome: Option<Outcome>,
    /// Start minus schedule of a run that started or ended.
    pub late_ms: Option<i64>,
    /// The condition that began or ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<ConditionKind>,
    /// Who did it.
    pub operator: Option<OperatorName>,
    /// In words.
    pub reason: String,
}

/// One entry of the audit log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditView {
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
    /// Before, JSON; null where there was nothing.
    pub before: Option<String>,
    /// After, JSON; null where there is nothing.
    pub after: Option<String>,
}
