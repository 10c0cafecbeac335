//! Reads runs, newest first. Which index serves a question is said in the statement, not left to the
//! server: its statistics lag behind a table that grows quickly, and with 10 million runs a wrong guess takes
//! seconds.

use std::collections::BTreeSet;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};

use super::fault::Fault;
use super::row::{stored_run, text};
use super::write_run::{END, backwards};
use crate::model::{GroupName, Outcome, RunId, TaskId, UnixMs};
use crate::store::{RunQuery, StoredRun};

/// What [`stored_run`] reads.
pub(super) const COLUMNS: &str = "r.run_id, r.task, r.revision, r.target, r.agent, r.slot, r.cause,
    r.scheduled_at, r.start_before, r.outcome, r.reason, r.exit_code, r.exit_signal, r.pid, r.attempt,
    r.started_at, r.finished_at, r.output_bytes, r.tail, t.gid, t.task_name, a.name AS agent_name";
/// The names of a run `r`, also of removed tasks and agents; the run is looked up first.
pub(super) const FROM: &str =
    "STRAIGHT_JOIN task t ON t.id = r.task LEFT JOIN agent a ON a.id = r.agent";

/// Tasks of a group up to which each is asked for its newest runs. A group of more has runs at any time, and
/// the newest of all are looked through for its own.
const FEW_TASKS: usize = 1000;

/// The runs asked for, as of one instant.
pub(super) async fn runs(conn: &mut Conn, query: &RunQuery) -> Result<Vec<StoredRun>, Fault> {
    conn.query_drop("START TRANSACTION READ ONLY").await?;
    let runs = find(conn, query).await?;
    conn.query_drop("COMMIT").await?;
    Ok(runs)
}

async fn find(conn: &mut Conn, query: &RunQuery) -> Result<Vec<StoredRun>, Fault> {
    if let Some(groups) = query.groups.as_ref().filter(|_| is_by_group(query)) {
        let tasks = tasks(conn, groups).await?;
        if tasks.len() <= FEW_TASKS {
            return by_task(conn, query, tasks).await;
        }
    }
    select(conn, query).await
}

/// Whether the groups are what narrows this question most.
fn is_by_group(query: &RunQuery) -> bool {
    let narrower = query.task.is_some() || query.agent.is_some() || query.id_suffix.is_some();
    query.limit > 0 && !narrower
}

async fn select(conn: &mut Conn, query: &RunQuery) -> Result<Vec<StoredRun>, Fault> {
    let (sql, values) = statement(query);
    let rows: Vec<Row> = conn.exec(sql, values).await?;
    rows.iter().map(stored_run).collect()
}

async fn tasks(conn: &mut Conn, groups: &BTreeSet<GroupName>) -> Result<Vec<TaskId>, Fault> {
    let mut values = Vec::new();
    let condition = one_of("gid", groups, &mut values);
    let sql = format!("SELECT id FROM task WHERE {condition}");
    let rows: Vec<Row> = conn.exec(sql, values).await?;
    rows.iter().map(|row| text(row, "id")).collect()
}

/// The condition that a column is one of these names; their values are added.
pub(super) fn one_of(column: &str, names: &BTreeSet<GroupName>, values: &mut Vec<Value>) -> String {
    if names.is_empty() {
        return "FALSE".to_owned();
    }
    values.extend(names.iter().map(|name| Value::from(name.as_str())));
    let marks = vec!["?"; names.len()].join(", ");
    format!("{column} IN ({marks})")
}

/// Merges the newest runs of these tasks; each task is asked only for what is newer than those in hand.
async fn by_task(
    conn: &mut Conn,
    query: &RunQuery,
    tasks: Vec<TaskId>,
) -> Result<Vec<StoredRun>, Fault> {
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let mut question = RunQuery {
        groups: None,
        ..query.clone()
    };
    let mut newest: Vec<StoredRun> = Vec::new();
    for task in tasks {
        question.task = Some(task);
        newest.extend(select(conn, &question).await?);
        newest.sort_by(|a, b| order(b).cmp(&order(a)));
        newest.truncate(limit);
        if newest.len() == limit {
            question.since = newest.last().map(|run| run.row.run.scheduled_at);
        }
    }
    Ok(newest)
}

fn order(run: &StoredRun) -> (UnixMs, &RunId) {
    (run.row.run.scheduled_at, &run.row.run.run_id)
}

/// A limit of 0 is none.
pub(super) fn at_most(limit: u32) -> u64 {
    if limit == 0 {
        u64::MAX
    } else {
        u64::from(limit)
    }
}

/// The statement for a question, and its values.
pub(super) fn statement(query: &RunQuery) -> (String, Vec<Value>) {
    let mut conditions = Conditions::default();
    let since = query.since.map_or(i64::MIN, |at| at.0);
    conditions.add("r.scheduled_at >= ?", [since.into()]);
    if let Some(until) = query.until {
        conditions.add("r.scheduled_at < ?", [until.0.into()]);
    }
    conditions.add_some("r.task = ?", query.task.as_ref().map(TaskId::as_str));
    let agent = query.agent.as_ref().map(crate::model::AgentId::as_str);
    conditions.add_some("r.agent = ?", agent);
    if let Some(groups) = &query.groups {
        let condition = one_of("t.gid", groups, &mut conditions.values);
        conditions.text.push(condition);
    }
    match query.outcome {
        Some(outcome) => conditions.add("r.outcome = ?", [outcome.as_str().into()]),
        None if query.open => {}
        None => conditions.add("COALESCE(r.outcome, '') <> ''", []),
    }
    if let Some(suffix) = query.id_suffix.as_ref().filter(|s| !s.is_empty()) {
        add_suffix(&mut conditions, suffix);
    }
    let index = index(query);
    let (hours, run) = if index == BY_END {
        (HOURS, "h STRAIGHT_JOIN run r")
    } else {
        ("", "run r")
    };
    let sql = format!(
        "{hours} SELECT {COLUMNS} FROM {run} FORCE INDEX ({index}) {FROM} WHERE {}
         ORDER BY r.scheduled_at DESC, r.run_id DESC LIMIT ?",
        conditions.text.join(" AND ")
    );
    conditions.values.push(at_most(query.limit).into());
    (sql, conditions.values)
}

const BY_END: &str = "run_by_end";
/// The hours in which there are runs, found by one seek each in the index that begins with the hour.
const HOURS: &str = "WITH RECURSIVE h(hour) AS (
        SELECT 9223372036854775807
        UNION ALL
        SELECT (SELECT due_hour FROM run FORCE INDEX (run_by_end)
                WHERE due_hour < h.hour ORDER BY due_hour DESC LIMIT 1)
        FROM h WHERE h.hour IS NOT NULL)";

/// The index that leads to the fewest rows. Most runs succeed, so that outcome narrows little.
fn index(query: &RunQuery) -> &'static str {
    let rare = query
        .outcome
        .is_some_and(|outcome| outcome != Outcome::Succeeded);
    match query {
        RunQuery {
            id_suffix: Some(s), ..
        } if !s.is_empty() => BY_END,
        RunQuery { task: Some(_), .. } => "run_key",
        _ if rare => "run_by_outcome",
        RunQuery { agent: Some(_), .. } => "run_by_agent",
        RunQuery {
            outcome: Some(_), ..
        } => "run_by_outcome",
        _ => "run_by_time",
    }
}

/// The indexed last characters narrow it down, the whole id decides.
fn add_suffix(conditions: &mut Conditions, suffix: &str) {
    let back = backwards(suffix);
    conditions.add("r.due_hour = h.hour", []);
    if suffix.chars().count() < END {
        // Ids are ASCII: `~` sorts behind each of their characters.
        let last = format!("{back}~");
        conditions.add(
            "r.run_id_back >= ? AND r.run_id_back < ?",
            [back.into(), last.into()],
        );
    } else {
        conditions.add("r.run_id_back = ?", [back.into()]);
        conditions.add(
            "RIGHT(r.run_id, CHAR_LENGTH(?)) = ?",
            [suffix.into(), suffix.into()],
        );
    }
}

#[derive(Default)]
struct Conditions {
    text: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    fn add<const N: usize>(&mut self, text: &str, values: [Value; N]) {
        self.text.push(text.to_owned());
        self.values.extend(values);
    }

    fn add_some(&mut self, text: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.add(text, [value.into()]);
        }
    }
}
