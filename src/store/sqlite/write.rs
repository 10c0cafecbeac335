//! One statement or a few for each kind of change. Every one leaves the same rows when carried out twice.

use std::collections::BTreeSet;

use rusqlite::{CachedStatement, Params, Result as SqlResult, Transaction, params};
use serde::Serialize;

use super::row::int;
use super::{audit, spans, truth, write_run};
use crate::model::{HostPort, Task, UnixMs};
use crate::store::rows::MEMORY;
use crate::store::task_row::SpecColumns;
use crate::store::{
    AgentRow, AnswerRow, GroupRow, OperatorRow, StoreError, TokenFor, TokenRow, Write,
};

/// How long answers are kept for repeated requests.
const ANSWER_KEPT: std::time::Duration = std::time::Duration::from_mins(10);

/// Carries out one change within the batch's transaction.
pub(super) fn write(tx: &Transaction, change: &Write, now: UnixMs) -> Result<(), StoreError> {
    match change {
        Write::PutTask(task) => return put_task(tx, task),
        Write::PutGroup(group) => put_group(tx, group),
        Write::RemoveGroup(name) => remove_group(tx, name.as_str()),
        Write::RemoveTask { task, at } => execute(tx, REMOVE_TASK, params![task.as_str(), at.0]),
        Write::SetCursor { task, at } => execute(tx, SET_CURSOR, params![task.as_str(), at.0]),
        Write::SetHolder { task, agent } => {
            let agent = agent.as_ref().map(crate::model::AgentId::as_str);
            execute(tx, SET_HOLDER, params![task.as_str(), agent])
        }
        Write::PutAgent(agent) => put_agent(tx, agent),
        Write::RemoveAgent { agent, at } => remove_agent(tx, agent.as_str(), *at),
        Write::PutOperator(operator) => put_operator(tx, operator),
        Write::RemoveOperator { operator, at } => remove_operator(tx, operator.as_str(), *at),
        Write::PutToken(token) => put_token(tx, token),
        Write::RemoveToken { hash } => execute(tx, REMOVE_TOKEN, [hash]),
        Write::PlanRun(row) => write_run::plan(tx, row),
        Write::ReviseRun {
            run_id,
            revision,
            delay,
            start_before,
        } => write_run::revise(tx, run_id, *revision, *delay, *start_before),
        Write::ReassignRun { run_id, from, to } => {
            write_run::reassign(tx, run_id, from.as_ref(), to)
        }
        Write::CatchUpRun { run_id } => write_run::catch_up(tx, run_id),
        Write::FoldRun { run_id } => write_run::fold(tx, run_id),
        Write::PutSpan(span) => spans::put(tx, span),
        Write::EndRun {
            run_id,
            only_of,
            ending,
        } => write_run::end(tx, run_id, only_of.as_ref(), ending),
        Write::RecordRun { row, ending } => write_run::record(tx, row, ending),
        Write::TakeTruth(truth) => return truth::take(tx, truth),
        Write::PutAnswer(answer) => put_answer(tx, answer, now),
        Write::Audit(entry) => audit::write(tx, entry),
        Write::Remember { name, text } => remember(tx, name, text.as_deref()),
    }
    .map_err(StoreError::from)
}

/// Executes a statement that stays prepared; how many rows it hits does not matter.
pub(super) fn execute(tx: &Transaction, sql: &str, values: impl Params) -> SqlResult<()> {
    let mut statement: CachedStatement = tx.prepare_cached(sql)?;
    statement.execute(values).map(drop)
}

const REMEMBER: &str = "INSERT INTO meta (name, value) VALUES (?1, ?2)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value";

fn remember(tx: &Transaction, name: &str, text: Option<&str>) -> SqlResult<()> {
    let name = format!("{MEMORY}{name}");
    match text {
        Some(text) => execute(tx, REMEMBER, [name.as_str(), text]),
        None => execute(tx, "DELETE FROM meta WHERE name = ?1", [name]),
    }
}

const PUT_GROUP: &str = "INSERT INTO fleet_group (gid, run_users, created_at) VALUES (?1, ?2, ?3)
    ON CONFLICT (gid) DO UPDATE SET run_users = excluded.run_users, created_at = excluded.created_at";

fn put_group(tx: &Transaction, group: &GroupRow) -> SqlResult<()> {
    let run_users = group.run_users.as_ref().map(json);
    let values = params![group.name.as_str(), run_users, group.created_at.0];
    execute(tx, PUT_GROUP, values)
}

/// Nobody stays a member of it or keeps a role in it: a later group of that name is another one.
fn remove_group(tx: &Transaction, gid: &str) -> SqlResult<()> {
    execute(tx, "DELETE FROM agent_group WHERE gid = ?1", [gid])?;
    execute(tx, "DELETE FROM operator_role WHERE gid = ?1", [gid])?;
    execute(tx, "DELETE FROM fleet_group WHERE gid = ?1", [gid])
}

const PUT_TASK: &str = "INSERT INTO task (id, gid, task_name, rule, execute, shell, run_user,
        timeout_ms, processes, enabled, finishing, revision, spec, saved_at, changed_by, changed_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
    ON CONFLICT (id) DO UPDATE SET gid = excluded.gid, task_name = excluded.task_name,
        rule = excluded.rule, execute = excluded.execute, shell = excluded.shell,
        run_user = excluded.run_user, timeout_ms = excluded.timeout_ms,
        processes = excluded.processes, enabled = excluded.enabled,
        finishing = excluded.finishing, revision = excluded.revision,
        spec = excluded.spec, saved_at = excluded.saved_at, changed_by = excluded.changed_by,
        changed_at = excluded.changed_at";
const REMOVE_TASK: &str = "UPDATE task SET removed_at = ?2 WHERE id = ?1 AND removed_at IS NULL";
const SET_HOLDER: &str = "UPDATE task SET holder = ?2 WHERE id = ?1";
const SET_CURSOR: &str = "UPDATE task SET cursor_at = ?2 WHERE id = ?1";

fn put_task(tx: &Transaction, task: &Task) -> Result<(), StoreError> {
    let columns = SpecColumns::of(task)?;
    let values = params![
        task.id.as_str(),
        task.group.as_str(),
        task.name.as_str(),
        columns.rule,
        columns.execute,
        columns.shell,
        columns.run_user,
        columns.timeout_ms,
        columns.processes,
        task.enabled,
        task.finishing,
        task.revision.0,
        columns.spec,
        task.saved_at.0,
        task.changed_by.as_str(),
        task.changed_at.0,
    ];
    Ok(execute(tx, PUT_TASK, values)?)
}

const PUT_AGENT: &str =
    "INSERT INTO agent (id, name, draining, drain_daemons, boot_id, boot_seen_at,
        incarnation, version, last_seen_at, created_at, dial_address)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, draining = excluded.draining,
        drain_daemons = excluded.drain_daemons, boot_id = excluded.boot_id,
        boot_seen_at = excluded.boot_seen_at, incarnation = excluded.incarnation,
        version = excluded.version, last_seen_at = excluded.last_seen_at,
        created_at = excluded.created_at, dial_address = excluded.dial_address";
const REMOVE_AGENT: &str = "UPDATE agent SET removed_at = ?2 WHERE id = ?1 AND removed_at IS NULL";
const LEAVE_GROUPS: &str = "DELETE FROM agent_group WHERE agent = ?1";
const JOIN_GROUP: &str = "INSERT INTO agent_group (agent, gid) VALUES (?1, ?2)";

fn put_agent(tx: &Transaction, agent: &AgentRow) -> SqlResult<()> {
    let id = agent.id.as_str();
    let values = params![
        id,
        agent.name.as_str(),
        agent.draining,
        agent.drain_daemons,
        agent.boot_id.as_ref().map(crate::model::BootId::as_str),
        agent.boot_seen_at.map(|at| at.0),
        int(agent.incarnation.0),
        agent.version,
        agent.last_seen_at.map(|at| at.0),
        agent.created_at.0,
        agent.dial_address.as_ref().map(HostPort::as_str),
    ];
    execute(tx, PUT_AGENT, values)?;
    execute(tx, LEAVE_GROUPS, [id])?;
    agent
        .groups
        .iter()
        .try_for_each(|group| execute(tx, JOIN_GROUP, [id, group.as_str()]))
}

fn remove_agent(tx: &Transaction, id: &str, at: UnixMs) -> SqlResult<()> {
    execute(tx, LEAVE_GROUPS, [id])?;
    execute(tx, REMOVE_AGENT, params![id, at.0])
}

const PUT_OPERATOR: &str = "INSERT INTO operator (id, name, logged_in, created_at)
    VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, logged_in = excluded.logged_in,
        created_at = excluded.created_at";
const REMOVE_OPERATOR: &str =
    "UPDATE operator SET removed_at = ?2 WHERE id = ?1 AND removed_at IS NULL";
const DROP_ROLES: &str = "DELETE FROM operator_role WHERE operator = ?1";
const GIVE_ROLE: &str = "INSERT INTO operator_role (operator, gid, role) VALUES (?1, ?2, ?3)";

fn put_operator(tx: &Transaction, operator: &OperatorRow) -> SqlResult<()> {
    let id = operator.id.as_str();
    let values = params![
        id,
        operator.name.as_str(),
        operator.logged_in,
        operator.created_at.0
    ];
    execute(tx, PUT_OPERATOR, values)?;
    execute(tx, DROP_ROLES, [id])?;
    let everywhere = operator.role.iter().map(|role| ("", role));
    let single = operator
        .roles
        .iter()
        .map(|(gid, role)| (gid.as_str(), role));
    everywhere
        .chain(single)
        .try_for_each(|(gid, role)| execute(tx, GIVE_ROLE, [id, gid, role.as_str()]))
}

fn remove_operator(tx: &Transaction, id: &str, at: UnixMs) -> SqlResult<()> {
    execute(tx, DROP_ROLES, [id])?;
    execute(tx, REMOVE_OPERATOR, params![id, at.0])
}

const PUT_TOKEN: &str = "INSERT INTO token (hash, purpose, operator, gids, expires_at)
    VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (hash) DO NOTHING";
const REMOVE_TOKEN: &str = "DELETE FROM token WHERE hash = ?1";

fn put_token(tx: &Transaction, token: &TokenRow) -> SqlResult<()> {
    let (purpose, operator, gids) = match &token.purpose {
        TokenFor::Agent(groups) => ("agent", None, Some(json(groups))),
        TokenFor::Operator(operator) => ("operator", Some(operator.as_str()), None),
        TokenFor::Center => ("center", None, None),
    };
    let values = params![token.hash, purpose, operator, gids, token.expires_at.0];
    execute(tx, PUT_TOKEN, values)
}

const PUT_ANSWER: &str = "INSERT INTO answer (request_id, operator, answer, answered_at)
    VALUES (?1, ?2, ?3, ?4) ON CONFLICT (request_id, operator) DO NOTHING";
const FORGET_ANSWERS: &str = "DELETE FROM answer WHERE answered_at < ?1";

/// The first answer stays: it is the one that was carried out.
fn put_answer(tx: &Transaction, answer: &AnswerRow, now: UnixMs) -> SqlResult<()> {
    execute(tx, FORGET_ANSWERS, [now.minus(ANSWER_KEPT).0])?;
    let values = params![
        answer.request_id.as_str(),
        answer.operator.as_str(),
        answer.answer,
        answer.at.0
    ];
    execute(tx, PUT_ANSWER, values)
}

/// A set of names as a JSON array.
pub(super) fn json<T: Serialize>(set: &BTreeSet<T>) -> String {
    serde_json::to_string(set).expect("a set of text always has a JSON form")
}
