//! One statement or a few for each kind of change. Every one leaves the same rows when carried out twice.

use std::collections::BTreeSet;
use std::time::Duration;

use mysql_async::Value;
use serde::Serialize;

use super::row::int;
use super::script::Script;
use super::{audit, spans, write_run};
use crate::model::{AgentId, BootId, HostPort, Task, UnixMs};
use crate::store::rows::MEMORY;
use crate::store::task_row::SpecColumns;
use crate::store::{
    AgentRow, AnswerRow, GroupRow, OperatorRow, StoreError, TokenFor, TokenRow, Write,
};

/// How long answers are kept for repeated requests.
const ANSWER_KEPT: Duration = Duration::from_mins(10);

/// Adds one change to the batch's script.
pub(super) fn write(script: &mut Script, change: &Write, now: UnixMs) -> Result<(), StoreError> {
    match change {
        Write::PutTask(task) => put_task(script, task)?,
        Write::PutGroup(group) => put_group(script, group),
        Write::RemoveGroup(name) => remove_group(script, name.as_str()),
        Write::RemoveTask { task, at } => script.add(REMOVE_TASK, &remove(task.as_str(), *at)),
        Write::SetCursor { task, at } => script.add(SET_CURSOR, &remove(task.as_str(), *at)),
        Write::SetHolder { task, agent } => {
            let agent = agent.as_ref().map(AgentId::as_str);
            script.add(SET_HOLDER, &[agent.into(), task.as_str().into()]);
        }
        Write::PutAgent(agent) => put_agent(script, agent),
        Write::RemoveAgent { agent, at } => remove_agent(script, agent.as_str(), *at),
        Write::PutOperator(operator) => put_operator(script, operator),
        Write::RemoveOperator { operator, at } => remove_operator(script, operator.as_str(), *at),
        Write::PutToken(token) => put_token(script, token),
        Write::RemoveToken { hash } => script.add(REMOVE_TOKEN, &[hash.as_str().into()]),
        Write::PlanRun(row) => write_run::plan(script, row),
        Write::ReviseRun {
            run_id,
            revision,
            delay,
            start_before,
        } => write_run::revise(script, run_id, *revision, *delay, *start_before),
        Write::CatchUpRun { run_id } => write_run::catch_up(script, run_id),
        Write::FoldRun { run_id } => write_run::fold(script, run_id),
        Write::PutSpan(span) => spans::put(script, span),
        Write::ReassignRun { run_id, from, to } => {
            write_run::reassign(script, run_id, from.as_ref(), to);
        }
        Write::EndRun {
            run_id,
            only_of,
            ending,
        } => write_run::end(script, run_id, only_of.as_ref(), ending),
        Write::RecordRun { row, ending } => write_run::record(script, row, ending),
        // It reads first, and what it reads is to have the rest of the batch in it: `commit` in `mod.rs`.
        Write::TakeTruth(_) => {}
        Write::PutAnswer(answer) => put_answer(script, answer, now),
        Write::Audit(entry) => audit::write(script, entry),
        Write::Remember { name, text } => remember(script, name, text.as_deref()),
    }
    Ok(())
}

/// When, and what by its id.
fn remove(id: &str, at: UnixMs) -> [Value; 2] {
    [at.0.into(), id.into()]
}

/// Changes the row of an id, or adds it. Not with `ON DUPLICATE KEY`, which would change the row of another id
/// that has the name.
fn put(script: &mut Script, table: &str, columns: &[&str], id: &str, values: &[Value]) {
    let set = columns.join(" = ?, ");
    let mut change = values.to_vec();
    change.push(id.into());
    script.add(
        &format!("UPDATE {table} SET {set} = ? WHERE id = ?"),
        &change,
    );
    let marks = ", ?".repeat(columns.len());
    let insert = format!(
        "INSERT INTO {table} (id, {}) SELECT ?{marks} FROM DUAL
         WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE id = ?)",
        columns.join(", ")
    );
    let mut add = vec![id.into()];
    add.extend(change);
    script.add(&insert, &add);
}

const REMEMBER: &str = "INSERT INTO meta (name, value) VALUES (?, ?)
    ON DUPLICATE KEY UPDATE value = VALUES(value)";

fn remember(script: &mut Script, name: &str, text: Option<&str>) {
    let name = format!("{MEMORY}{name}");
    match text {
        Some(text) => script.add(REMEMBER, &[name.into(), text.into()]),
        None => script.add("DELETE FROM meta WHERE name = ?", &[name.into()]),
    }
}

const PUT_GROUP: &str = "INSERT INTO fleet_group (gid, run_users, created_at) VALUES (?, ?, ?)
    ON DUPLICATE KEY UPDATE run_users = VALUES(run_users), created_at = VALUES(created_at)";

fn put_group(script: &mut Script, group: &GroupRow) {
    let run_users = group.run_users.as_ref().map(json);
    let values = [
        group.name.as_str().into(),
        run_users.into(),
        group.created_at.0.into(),
    ];
    script.add(PUT_GROUP, &values);
}

/// Nobody stays a member of it or keeps a role in it: a later group of that name is another one.
fn remove_group(script: &mut Script, gid: &str) {
    script.add("DELETE FROM agent_group WHERE gid = ?", &[gid.into()]);
    script.add("DELETE FROM operator_role WHERE gid = ?", &[gid.into()]);
    script.add("DELETE FROM fleet_group WHERE gid = ?", &[gid.into()]);
}

const TASK: [&str; 15] = [
    "gid",
    "task_name",
    "rule",
    "execute",
    "shell",
    "run_user",
    "timeout_ms",
    "processes",
    "enabled",
    "finishing",
    "revision",
    "spec",
    "saved_at",
    "changed_by",
    "changed_at",
];
const REMOVE_TASK: &str = "UPDATE task SET removed_at = ? WHERE id = ? AND removed_at IS NULL";
const SET_HOLDER: &str = "UPDATE task SET holder = ? WHERE id = ?";
const SET_CURSOR: &str = "UPDATE task SET cursor_at = ? WHERE id = ?";

fn put_task(script: &mut Script, task: &Task) -> Result<(), StoreError> {
    let columns = SpecColumns::of(task)?;
    let values: [Value; 15] = [
        task.group.as_str().into(),
        task.name.as_str().into(),
        columns.rule.into(),
        columns.execute.into(),
        columns.shell.into(),
        columns.run_user.into(),
        columns.timeout_ms.into(),
        columns.processes.into(),
        task.enabled.into(),
        task.finishing.into(),
        task.revision.0.into(),
        columns.spec.into(),
        task.saved_at.0.into(),
        task.changed_by.as_str().into(),
        task.changed_at.0.into(),
    ];
    put(script, "task", &TASK, task.id.as_str(), &values);
    Ok(())
}

const AGENT: [&str; 10] = [
    "name",
    "draining",
    "drain_daemons",
    "boot_id",
    "boot_seen_at",
    "incarnation",
    "version",
    "last_seen_at",
    "created_at",
    "dial_address",
];
const REMOVE_AGENT: &str = "UPDATE agent SET removed_at = ? WHERE id = ? AND removed_at IS NULL";
const LEAVE_GROUPS: &str = "DELETE FROM agent_group WHERE agent = ?";
const JOIN_GROUP: &str = "INSERT INTO agent_group (agent, gid) VALUES";

fn put_agent(script: &mut Script, agent: &AgentRow) {
    let id = agent.id.as_str();
    let values: [Value; 10] = [
        agent.name.as_str().into(),
        agent.draining.into(),
        agent.drain_daemons.into(),
        agent.boot_id.as_ref().map(BootId::as_str).into(),
        agent.boot_seen_at.map(|at| at.0).into(),
        int(agent.incarnation.0).into(),
        agent.version.as_deref().into(),
        agent.last_seen_at.map(|at| at.0).into(),
        agent.created_at.0.into(),
        agent.dial_address.as_ref().map(HostPort::as_str).into(),
    ];
    put(script, "agent", &AGENT, id, &values);
    script.add(LEAVE_GROUPS, &[id.into()]);
    for group in &agent.groups {
        script.add_row(JOIN_GROUP, &[id.into(), group.as_str().into()], "");
    }
}

fn remove_agent(script: &mut Script, id: &str, at: UnixMs) {
    script.add(LEAVE_GROUPS, &[id.into()]);
    script.add(REMOVE_AGENT, &remove(id, at));
}

const OPERATOR: [&str; 3] = ["name", "logged_in", "created_at"];
const REMOVE_OPERATOR: &str =
    "UPDATE operator SET removed_at = ? WHERE id = ? AND removed_at IS NULL";
const DROP_ROLES: &str = "DELETE FROM operator_role WHERE operator = ?";
const GIVE_ROLE: &str = "INSERT INTO operator_role (operator, gid, role) VALUES";

fn put_operator(script: &mut Script, operator: &OperatorRow) {
    let id = operator.id.as_str();
    let values: [Value; 3] = [
        operator.name.as_str().into(),
        operator.logged_in.into(),
        operator.created_at.0.into(),
    ];
    put(script, "operator", &OPERATOR, id, &values);
    script.add(DROP_ROLES, &[id.into()]);
    let everywhere = operator.role.iter().map(|role| ("", role));
    let single = operator
        .roles
        .iter()
        .map(|(gid, role)| (gid.as_str(), role));
    for (gid, role) in everywhere.chain(single) {
        script.add_row(
            GIVE_ROLE,
            &[id.into(), gid.into(), role.as_str().into()],
            "",
        );
    }
}

fn remove_operator(script: &mut Script, id: &str, at: UnixMs) {
    script.add(DROP_ROLES, &[id.into()]);
    script.add(REMOVE_OPERATOR, &remove(id, at));
}

const PUT_TOKEN: &str = "INSERT INTO token (hash, purpose, operator, gids, expires_at)
    VALUES (?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE hash = hash";
const REMOVE_TOKEN: &str = "DELETE FROM token WHERE hash = ?";

fn put_token(script: &mut Script, token: &TokenRow) {
    let (purpose, operator, gids) = match &token.purpose {
        TokenFor::Agent(groups) => ("agent", None, Some(json(groups))),
        TokenFor::Operator(operator) => ("operator", Some(operator.as_str()), None),
        TokenFor::Center => ("center", None, None),
    };
    let values = [
        token.hash.as_str().into(),
        purpose.into(),
        operator.into(),
        gids.into(),
        token.expires_at.0.into(),
    ];
    script.add(PUT_TOKEN, &values);
}

const PUT_ANSWER: &str = "INSERT INTO answer (request_id, operator, answer, answered_at)
    VALUES (?, ?, ?, ?) ON DUPLICATE KEY UPDATE operator = operator";
const FORGET_ANSWERS: &str = "DELETE FROM answer WHERE answered_at < ?";

/// The first answer stays: it is the one that was carried out.
fn put_answer(script: &mut Script, answer: &AnswerRow, now: UnixMs) {
    script.add(FORGET_ANSWERS, &[now.minus(ANSWER_KEPT).0.into()]);
    let values = [
        answer.request_id.as_str().into(),
        answer.operator.as_str().into(),
        answer.answer.as_str().into(),
        answer.at.0.into(),
    ];
    script.add(PUT_ANSWER, &values);
}

/// A set of names as a JSON array.
fn json<T: Serialize>(set: &BTreeSet<T>) -> String {
    serde_json::to_string(set).expect("a set of text always has a JSON form")
}
