//! What clients ask, one file per request (or per pair of opposites): its permission, its answer. Every change
//! is in the audit log.

mod agent_add;
mod agent_drain;
mod agent_list;
mod agent_remove;
mod agent_rename;
mod audit;
mod events;
mod grant;
mod group_add;
mod group_assign;
mod group_list;
mod group_remove;
mod log_read;
mod operator_list;
mod operator_remove;
mod process_list;
mod run_kill;
mod run_list;
mod run_show;
mod run_wait;
mod status;
mod task_add;
mod task_edit;
mod task_list;
mod task_remove;
mod task_restart;
mod task_run;
mod task_show;
mod task_start;
mod task_stop;
mod token;
mod watch;

use super::clients::Asker;
use super::core::Core;
use super::event::Now;
use crate::model::{GroupName, TaskSpec};
use crate::proto::request::{Answer, Refusal, Request};
use crate::store::{AuditRow, Write};

/// How a request is answered.
#[derive(Debug)]
pub(super) enum Reply {
    /// With this, once what it changed is durable.
    Answer(Box<Answer>),
    /// Once agents have confirmed; this is kept for a repetition meanwhile.
    Later(Box<Answer>),
    /// By something else: a stream, the store, the end of runs.
    Pending,
}

/// The usual result of a request.
pub(super) type Replied = Result<Reply, Refusal>;

#[expect(clippy::unnecessary_wraps, reason = "the last line of most requests")]
fn reply(answer: Answer) -> Replied {
    Ok(Reply::Answer(Box::new(answer)))
}

/// Answers one request.
pub(super) fn answer(core: &mut Core, now: Now, asker: &Asker, ask: Request) -> Replied {
    match ask {
        Request::TaskAdd(ask) => task_add::answer(core, now, asker, *ask),
        Request::TaskEdit(ask) => task_edit::answer(core, now, asker, *ask),
        Request::TaskShow(ask) => task_show::answer(core, asker, &ask),
        Request::TaskList(ask) => task_list::answer(core, asker, &ask),
        Request::TaskStop(ask) => task_stop::answer(core, now, asker, &ask),
        Request::TaskStart(ask) => task_start::answer(core, now, asker, &ask),
        Request::TaskRestart(ask) => task_restart::answer(core, now, asker, &ask),
        Request::TaskRemove(ask) => task_remove::answer(core, now, asker, &ask),
        Request::TaskRun(ask) => task_run::answer(core, now, asker, &ask),
        Request::RunList(ask) => run_list::answer(core, asker, ask),
        Request::RunWait(ask) => Ok(run_wait::answer(core, asker, &ask)),
        Request::RunShow(ask) => run_show::answer(core, asker, &ask),
        Request::RunKill(ask) => run_kill::answer(core, now, asker, &ask),
        Request::ProcessList(ask) => process_list::answer(core, asker, &ask),
        Request::LogRead(ask) => log_read::answer(core, asker, ask),
        Request::AgentList(_) => agent_list::answer(core, asker),
        Request::AgentAdd(ask) => agent_add::answer(core, asker, ask),
        Request::AgentDrain(ask) => agent_drain::answer(core, now, asker, &ask),
        Request::AgentRename(ask) => agent_rename::answer(core, now, asker, &ask),
        Request::AgentRemove(ask) => agent_remove::answer(core, now, asker, &ask),
        Request::GroupList(_) => group_list::answer(core, asker),
        Request::GroupAdd(ask) => group_add::answer(core, now, asker, &ask),
        Request::GroupRemove(ask) => group_remove::answer(core, now, asker, &ask),
        Request::GroupAssign(ask) => group_assign::answer(core, now, asker, &ask),
        Request::OperatorList(_) => operator_list::answer(core, asker),
        Request::OperatorRemove(ask) => operator_remove::answer(core, now, asker, &ask),
        Request::Grant(ask) => grant::answer(core, now, asker, &ask),
        Request::TokenAgent(ask) => token::for_agent(core, now, asker, ask),
        Request::TokenOperator(ask) => token::for_operator(core, now, asker, &ask),
        Request::Status(_) => status::answer(core, now, asker),
        Request::Events(ask) => events::answer(core, asker, &ask),
        Request::Audit(ask) => Ok(audit::answer(core, asker, &ask)),
        Request::Watch(_) => Ok(watch::answer(core, now, asker)),
    }
}

/// One entry for the audit log: what was done to what, before and after.
pub(super) struct Audited {
    deed: &'static str,
    subject: String,
    group: Option<GroupName>,
    before: Option<String>,
    pub(super) after: Option<String>,
}

impl Audited {
    pub(super) fn new(
        deed: &'static str,
        subject: &impl ToString,
        group: Option<GroupName>,
    ) -> Self {
        Self {
            deed,
            subject: subject.to_string(),
            group,
            before: None,
            after: None,
        }
    }
}

/// A spec for the audit log: values of the environment may be secrets and stay out of it.
fn spec_text(spec: &TaskSpec) -> Option<String> {
    let mut spec = spec.clone();
    spec.work
        .env
        .values_mut()
        .for_each(|value| "***".clone_into(value));
    serde_json::to_string(&spec).ok()
}

impl Core {
    pub(super) fn audit(&mut self, now: Now, asker: &Asker, entry: Audited) {
        let Audited {
            deed,
            subject,
            group,
            before,
            after,
        } = entry;
        self.log(
            super::event::LogLevel::Info,
            format!("{}: {deed} {subject}", asker.operator),
        );
        self.write(Write::Audit(Box::new(AuditRow {
            at: now.at,
            operator: asker.operator.clone(),
            address: asker.address.clone(),
            deed: deed.to_owned(),
            subject,
            group,
            before,
            after,
        })));
    }
}
