//! Reads everything a center needs in memory, in one transaction: the snapshot is of one instant, and behind
//! every batch that may still be under way.

use std::collections::{BTreeMap, BTreeSet};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use super::fault::Fault;
use super::lease;
use super::row::{
    flag, get, instant, instant_option, number, run, set_option, stored_run, text, text_option,
};
use super::runs::{COLUMNS, FROM};
use crate::model::{GroupName, Incarnation, Revision, Role, Task, TaskId, UnixMs};
use crate::store::task_row::SpecColumns;
use crate::store::{
    AgentRow, AnswerRow, GroupRow, OperatorRow, Snapshot, StoredRun, TokenFor, TokenRow,
};

/// The snapshot as of now.
pub(super) async fn load(conn: &mut Conn) -> Result<Snapshot, Fault> {
    conn.query_drop("START TRANSACTION").await?;
    lease::wait_for_batches(conn).await?;
    let tasks = all(conn, TASKS, task).await?;
    let members = members(conn).await?;
    let roles = roles(conn).await?;
    let pair = |row: &Row| Ok((text(row, "id")?, instant(row, "cursor_at")?));
    let cursors: Vec<(TaskId, UnixMs)> = all(conn, CURSORS, pair).await?;
    let pair = |row: &Row| Ok((text(row, "id")?, text(row, "holder")?));
    let snapshot = Snapshot {
        groups: all(conn, "SELECT * FROM fleet_group ORDER BY gid", group).await?,
        cursors: cursors.into_iter().collect(),
        holders: all(conn, HOLDERS, pair).await?.into_iter().collect(),
        agents: all(conn, AGENTS, |row| agent(row, &members)).await?,
        operators: all(conn, OPERATORS, |row| operator(row, &roles)).await?,
        tokens: all(conn, "SELECT * FROM token ORDER BY hash", token).await?,
        open_runs: all(conn, OPEN_RUNS, run).await?,
        last_runs: last_runs(conn, &tasks).await?,
        answers: all(conn, ANSWERS, answer).await?,
        tasks,
    };
    conn.query_drop("COMMIT").await?;
    Ok(snapshot)
}

const AGENTS: &str = "SELECT * FROM agent WHERE removed_at IS NULL ORDER BY id";
const OPERATORS: &str = "SELECT * FROM operator WHERE removed_at IS NULL ORDER BY id";
const OPEN_RUNS: &str = "SELECT * FROM run FORCE INDEX (run_by_outcome) WHERE outcome IS NULL
    ORDER BY scheduled_at, run_id";
const TASKS: &str = "SELECT * FROM task WHERE removed_at IS NULL ORDER BY id";
const CURSORS: &str =
    "SELECT id, cursor_at FROM task WHERE removed_at IS NULL AND cursor_at IS NOT NULL";
const HOLDERS: &str = "SELECT id, holder FROM task WHERE removed_at IS NULL AND holder IS NOT NULL";
const ANSWERS: &str = "SELECT * FROM answer ORDER BY answered_at, request_id";

async fn all<T>(
    conn: &mut Conn,
    sql: &str,
    read: impl Fn(&Row) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let rows: Vec<Row> = conn.exec(sql, ()).await?;
    rows.iter().map(read).collect()
}

fn group(row: &Row) -> Result<GroupRow, Fault> {
    Ok(GroupRow {
        name: text(row, "gid")?,
        run_users: set_option(row, "run_users")?,
        created_at: instant(row, "created_at")?,
    })
}

fn task(row: &Row) -> Result<Task, Fault> {
    let id: TaskId = text(row, "id")?;
    let spec = columns(row)?.join(id.as_str())?;
    Ok(Task {
        id,
        group: text(row, "gid")?,
        name: text(row, "task_name")?,
        revision: Revision(number(row, "revision")?),
        enabled: flag(row, "enabled")?,
        finishing: flag(row, "finishing")?,
        spec,
        saved_at: instant(row, "saved_at")?,
        changed_by: text(row, "changed_by")?,
        changed_at: instant(row, "changed_at")?,
    })
}

fn columns(row: &Row) -> Result<SpecColumns, Fault> {
    Ok(SpecColumns {
        rule: get(row, "rule")?,
        execute: get(row, "execute")?,
        shell: flag(row, "shell")?,
        run_user: get(row, "run_user")?,
        timeout_ms: get(row, "timeout_ms")?,
        processes: get(row, "processes")?,
        spec: get(row, "spec")?,
    })
}

type Members = BTreeMap<String, BTreeSet<GroupName>>;

async fn members(conn: &mut Conn) -> Result<Members, Fault> {
    let pair = |row: &Row| Ok((get(row, "agent")?, text(row, "gid")?));
    let mut members = Members::new();
    for (agent, group) in all(conn, "SELECT agent, gid FROM agent_group", pair).await? {
        members.entry(agent).or_default().insert(group);
    }
    Ok(members)
}

fn agent(row: &Row, members: &Members) -> Result<AgentRow, Fault> {
    let id: String = get(row, "id")?;
    Ok(AgentRow {
        id: text(row, "id")?,
        name: text(row, "name")?,
        groups: members.get(&id).cloned().unwrap_or_default(),
        dial_address: text_option(row, "dial_address")?,
        draining: flag(row, "draining")?,
        drain_daemons: flag(row, "drain_daemons")?,
        boot_id: text_option(row, "boot_id")?,
        boot_seen_at: instant_option(row, "boot_seen_at")?,
        incarnation: Incarnation(number(row, "incarnation")?),
        version: get(row, "version")?,
        last_seen_at: instant_option(row, "last_seen_at")?,
        created_at: instant(row, "created_at")?,
    })
}

/// Roles by operator; the group is none for all groups.
type Roles = BTreeMap<String, Vec<(Option<GroupName>, Role)>>;

async fn roles(conn: &mut Conn) -> Result<Roles, Fault> {
    let entry = |row: &Row| Ok((get(row, "operator")?, role(row)?));
    let mut roles = Roles::new();
    for (operator, role) in
        all(conn, "SELECT operator, gid, role FROM operator_role", entry).await?
    {
        roles.entry(operator).or_default().push(role);
    }
    Ok(roles)
}

fn role(row: &Row) -> Result<(Option<GroupName>, Role), Fault> {
    let everywhere = get::<String>(row, "gid")?.is_empty();
    let group = if everywhere {
        None
    } else {
        Some(text(row, "gid")?)
    };
    Ok((group, text(row, "role")?))
}

fn operator(row: &Row, roles: &Roles) -> Result<OperatorRow, Fault> {
    let id: String = get(row, "id")?;
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
        logged_in: flag(row, "logged_in")?,
        created_at: instant(row, "created_at")?,
    })
}

fn token(row: &Row) -> Result<TokenRow, Fault> {
    let purpose = match text_option(row, "operator")? {
        Some(operator) => TokenFor::Operator(operator),
        None => TokenFor::Agent(set_option(row, "gids")?.unwrap_or_default()),
    };
    Ok(TokenRow {
        hash: get(row, "hash")?,
        purpose,
        expires_at: instant(row, "expires_at")?,
    })
}

fn answer(row: &Row) -> Result<AnswerRow, Fault> {
    Ok(AnswerRow {
        request_id: text(row, "request_id")?,
        operator: text(row, "operator")?,
        answer: get(row, "answer")?,
        at: instant(row, "answered_at")?,
    })
}

/// Each task's newest ended run, found through the run's key.
async fn last_runs(conn: &mut Conn, tasks: &[Task]) -> Result<Vec<StoredRun>, Fault> {
    let sql = format!(
        "SELECT {COLUMNS} FROM run r FORCE INDEX (run_key) {FROM}
         WHERE r.task = ? AND COALESCE(r.outcome, '') <> ''
         ORDER BY r.scheduled_at DESC, r.run_id DESC LIMIT 1"
    );
    let mut found = Vec::new();
    for task in tasks {
        let row: Option<Row> = conn.exec_first(sql.as_str(), (task.id.as_str(),)).await?;
        found.extend(row.as_ref().map(stored_run).transpose()?);
    }
    Ok(found)
}
