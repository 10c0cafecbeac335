//! Reads everything a center needs in memory, in one transaction: the snapshot is of one instant.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension, Result as SqlResult, Row, Transaction};

use super::row::{instant, instant_option, number, run, set_option, stored_run, text, text_option};
use super::runs::{COLUMNS, FROM};
use crate::model::{GroupName, Incarnation, Revision, Role, Task, TaskId, UnixMs};
use crate::store::task_row::SpecColumns;
use crate::store::{
    AgentRow, AnswerRow, GroupRow, OperatorRow, Snapshot, StoreError, StoredRun, TokenFor, TokenRow,
};

/// The snapshot as of now.
pub(super) fn load(connection: &mut Connection) -> Result<Snapshot, StoreError> {
    let tx = &connection.transaction()?;
    let tasks = tasks(tx)?;
    let members = members(tx)?;
    let roles = roles(tx)?;
    Ok(Snapshot {
        groups: all(tx, "SELECT * FROM fleet_group ORDER BY gid", group)?,
        cursors: cursors(tx)?,
        holders: all(tx, HOLDERS, |row| {
            Ok((text(row, "id")?, text(row, "holder")?))
        })?
        .into_iter()
        .collect(),
        agents: all(tx, AGENTS, |row| agent(row, &members))?,
        operators: all(tx, OPERATORS, |row| operator(row, &roles))?,
        tokens: all(tx, "SELECT * FROM token ORDER BY hash", token)?,
        open_runs: all(tx, OPEN_RUNS, run)?,
        last_runs: last_runs(tx, &tasks)?,
        answers: all(
            tx,
            "SELECT * FROM answer ORDER BY answered_at, request_id",
            answer,
        )?,
        tasks,
    })
}

const AGENTS: &str = "SELECT * FROM agent WHERE removed_at IS NULL ORDER BY id";
const OPERATORS: &str = "SELECT * FROM operator WHERE removed_at IS NULL ORDER BY id";
const OPEN_RUNS: &str = "SELECT * FROM run INDEXED BY run_by_outcome WHERE outcome IS NULL
    ORDER BY scheduled_at, run_id";

fn all<T>(
    tx: &Transaction,
    sql: &str,
    read: impl FnMut(&Row) -> SqlResult<T>,
) -> Result<Vec<T>, StoreError> {
    let mut select = tx.prepare_cached(sql)?;
    let rows = select.query_map([], read)?.collect::<SqlResult<_>>()?;
    Ok(rows)
}

fn group(row: &Row) -> SqlResult<GroupRow> {
    Ok(GroupRow {
        name: text(row, "gid")?,
        run_users: set_option(row, "run_users")?,
        created_at: instant(row, "created_at")?,
    })
}

const TASKS: &str = "SELECT * FROM task WHERE removed_at IS NULL ORDER BY id";

fn tasks(tx: &Transaction) -> Result<Vec<Task>, StoreError> {
    let mut select = tx.prepare_cached(TASKS)?;
    let mut rows = select.query([])?;
    let mut tasks = Vec::new();
    while let Some(row) = rows.next()? {
        tasks.push(task(row)?);
    }
    Ok(tasks)
}

fn task(row: &Row) -> Result<Task, StoreError> {
    let id: TaskId = text(row, "id")?;
    let spec = columns(row)?.join(id.as_str())?;
    Ok(Task {
        id,
        group: text(row, "gid")?,
        name: text(row, "task_name")?,
        revision: Revision(number(row, "revision")?),
        enabled: row.get("enabled")?,
        finishing: row.get("finishing")?,
        spec,
        saved_at: instant(row, "saved_at")?,
        changed_by: text(row, "changed_by")?,
        changed_at: instant(row, "changed_at")?,
    })
}

fn columns(row: &Row) -> SqlResult<SpecColumns> {
    Ok(SpecColumns {
        rule: row.get("rule")?,
        execute: row.get("execute")?,
        shell: row.get("shell")?,
        run_user: row.get("run_user")?,
        timeout_ms: row.get("timeout_ms")?,
        processes: row.get("processes")?,
        spec: row.get("spec")?,
    })
}

const CURSORS: &str =
    "SELECT id, cursor_at FROM task WHERE removed_at IS NULL AND cursor_at IS NOT NULL";

const HOLDERS: &str = "SELECT id, holder FROM task WHERE removed_at IS NULL AND holder IS NOT NULL";

fn cursors(tx: &Transaction) -> Result<BTreeMap<TaskId, UnixMs>, StoreError> {
    let pair = |row: &Row| Ok((text(row, "id")?, instant(row, "cursor_at")?));
    Ok(all(tx, CURSORS, pair)?.into_iter().collect())
}

type Members = BTreeMap<String, BTreeSet<GroupName>>;

fn members(tx: &Transaction) -> Result<Members, StoreError> {
    let mut members = Members::new();
    let pair = |row: &Row| Ok((row.get("agent")?, text(row, "gid")?));
    for (agent, group) in all(tx, "SELECT agent, gid FROM agent_group", pair)? {
        members.entry(agent).or_default().insert(group);
    }
    Ok(members)
}

fn agent(row: &Row, members: &Members) -> SqlResult<AgentRow> {
    let id: String = row.get("id")?;
    Ok(AgentRow {
        id: text(row, "id")?,
        name: text(row, "name")?,
        groups: members.get(&id).cloned().unwrap_or_default(),
        dial_address: text_option(row, "dial_address")?,
        draining: row.get("draining")?,
        drain_daemons: row.get("drain_daemons")?,
        boot_id: text_option(row, "boot_id")?,
        boot_seen_at: instant_option(row, "boot_seen_at")?,
        incarnation: Incarnation(number(row, "incarnation")?),
        version: row.get("version")?,
        last_seen_at: instant_option(row, "last_seen_at")?,
        created_at: instant(row, "created_at")?,
    })
}

/// Roles by operator; the group is none for all groups.
type Roles = BTreeMap<String, Vec<(Option<GroupName>, Role)>>;

fn roles(tx: &Transaction) -> Result<Roles, StoreError> {
    let mut roles = Roles::new();
    let entry = |row: &Row| Ok((row.get("operator")?, role(row)?));
    for (operator, role) in all(tx, "SELECT operator, gid, role FROM operator_role", entry)? {
        roles.entry(operator).or_default().push(role);
    }
    Ok(roles)
}

fn role(row: &Row) -> SqlResult<(Option<GroupName>, Role)> {
    let everywhere = row.get_ref("gid")?.as_str()?.is_empty();
    let group = if everywhere {
        None
    } else {
        Some(text(row, "gid")?)
    };
    Ok((group, text(row, "role")?))
}

fn operator(row: &Row, roles: &Roles) -> SqlResult<OperatorRow> {
    let id: String = row.get("id")?;
    let roles = roles.get(&id).map_or(&[][..], Vec::as_slice);
    let single = roles
        .iter()
        .filter_map(|(gid, role)| Some((gid.clone()?, *role)));
    Ok(OperatorRow {
        id: text(row, "id")?,
        name: text(row, "name")?,
        role: roles
            .iter()
            .find(|(gid, _)| gid.is_none())
            .map(|(_, role)| *role),
        roles: single.collect(),
        logged_in: row.get("logged_in")?,
        created_at: instant(row, "created_at")?,
    })
}

fn token(row: &Row) -> SqlResult<TokenRow> {
    let purpose = match text_option(row, "operator")? {
        Some(operator) => TokenFor::Operator(operator),
        None => TokenFor::Agent(set_option(row, "gids")?.unwrap_or_default()),
    };
    Ok(TokenRow {
        hash: row.get("hash")?,
        purpose,
        expires_at: instant(row, "expires_at")?,
    })
}

fn answer(row: &Row) -> SqlResult<AnswerRow> {
    Ok(AnswerRow {
        request_id: text(row, "request_id")?,
        operator: text(row, "operator")?,
        answer: row.get("answer")?,
        at: instant(row, "answered_at")?,
    })
}

/// Each task's newest ended run, found through the run's key.
fn last_runs(tx: &Transaction, tasks: &[Task]) -> Result<Vec<StoredRun>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM run r INDEXED BY run_key {FROM}
         WHERE r.task = ?1 AND +r.outcome IS NOT NULL
         ORDER BY r.scheduled_at DESC, r.run_id DESC LIMIT 1"
    );
    let mut select = tx.prepare_cached(&sql)?;
    let mut found = Vec::new();
    for task in tasks {
        found.extend(
            select
                .query_row([task.id.as_str()], stored_run)
                .optional()?,
        );
    }
    Ok(found)
}
