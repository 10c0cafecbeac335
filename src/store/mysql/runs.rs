//! Reads runs, newest first. Which index serves a question is said in the statement, not left to the
//! server: its statistics lag behind a table that grows quickly, and with 10 million runs a wrong guess takes
//! seconds.

use std::collections::BTreeSet;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};

use super::fault::Fault;
use super::row::{stored_run, text};
use super::spans;
use super::write_run::{END, backwards};
use crate::model::{GroupName, Outcome, TaskId, UnixMs};
use crate::store::span::order;
use crate::store::{RunQuery, StoredRun};

/// What [`stored_run`] reads.
pub(super) const COLUMNS: &str = "r.run_id, r.task, r.revision, r.target, r.agent, r.slot, r.cause,
    r.scheduled_at, r.start_before, r.delay_ms, r.caught_up, r.outcome, r.reason, r.exit_code, r.exit_signal, r.pid, r.attempt,
    r.started_at, r.finished_at, r.output_bytes, r.output_gap, r.output_cut, r.tail, r.peak_memory_bytes, r.cpu_ms,
    t.gid, t.task_name, a.name AS agent_name";
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
    let runs = spans::merge(conn, runs, query).await?;
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
    if index(query) == BY_END {
        return by_end(conn, query).await;
    }
    let mut query = query.clone();
    if let Some((sql, values)) = floor(&query) {
        let oldest: Option<i64> = conn.exec_first(sql, values).await?;
        query.since = query.since.max(oldest.map(UnixMs));
    }
    let (sql, values) = statement(&query, 0);
    let rows: Vec<Row> = conn.exec(sql, values).await?;
    rows.iter().map(stored_run).collect()
}

/// Looks for the end of an id hour by hour, newest first, from one hour in which there are runs to the next.
async fn by_end(conn: &mut Conn, query: &RunQuery) -> Result<Vec<StoredRun>, Fault> {
    let mut found: Vec<StoredRun> = Vec::new();
    let mut before = i64::MAX;
    while let Some(hour) = conn.exec_first::<i64, _, _>(LAST_HOUR, (before,)).await? {
        before = hour - HOURS_AT_ONCE + 1;
        let (sql, values) = statement(query, hour);
        let rows: Vec<Row> = conn.exec(sql, values).await?;
        for row in &rows {
            found.push(stored_run(row)?);
        }
    }
    found.sort_by(|a, b| order(b).cmp(&order(a)));
    if query.limit > 0 {
        found.truncate(usize::try_from(query.limit).unwrap_or(usize::MAX));
    }
    Ok(found)
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

/// A limit of 0 is none.
pub(super) fn at_most(limit: u32) -> u64 {
    if limit == 0 {
        u64::MAX
    } else {
        u64::from(limit)
    }
}

/// Asks for the instant of the last run that a question with a limit has, through the index alone: the server sorts
/// all that it finds where two runs of one instant have an order, so what is older must not be found.
pub(super) fn floor(query: &RunQuery) -> Option<(String, Vec<Value>)> {
    let index = index(query);
    if query.limit == 0 || index == BY_END {
        return None;
    }
    let mut conditions = conditions(query, index);
    let task = match query.groups {
        Some(_) => "STRAIGHT_JOIN task t ON t.id = r.task",
        None => "",
    };
    let sql = format!(
        "SELECT r.scheduled_at FROM run r FORCE INDEX ({index}) {task} WHERE {}
         ORDER BY r.scheduled_at DESC LIMIT 1 OFFSET ?",
        conditions.text.join(" AND ")
    );
    conditions.values.push(u64::from(query.limit - 1).into());
    Some((sql, conditions.values))
}

/// The statement for a question, and its values; the end of an id is looked for in the hours up to `hour`.
pub(super) fn statement(query: &RunQuery, hour: i64) -> (String, Vec<Value>) {
    let index = index(query);
    let mut conditions = conditions(query, index);
    if index == BY_END {
        conditions.add_hours(hour);
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM run r FORCE INDEX ({index}) {FROM} WHERE {}
         ORDER BY r.scheduled_at DESC, r.run_id DESC LIMIT ?",
        conditions.text.join(" AND ")
    );
    conditions.values.push(at_most(query.limit).into());
    (sql, conditions.values)
}

fn conditions(query: &RunQuery, index: &str) -> Conditions {
    let mut conditions = Conditions::default();
    let since = query.since.map_or(i64::MIN, |at| at.0);
    conditions.add("r.scheduled_at >= ?", [since.into()]);
    if let Some(until) = query.until {
        conditions.add("r.scheduled_at < ?", [until.0.into()]);
    }
    if let Some((at, run)) = &query.after {
        conditions.add("r.scheduled_at <= ?", [at.0.into()]);
        conditions.add(
            "(r.scheduled_at < ? OR r.run_id < ?)",
            [at.0.into(), run.as_str().into()],
        );
    }
    let task = query.task.as_ref().map(TaskId::as_str);
    let agent = query.agent.as_ref().map(crate::model::AgentId::as_str);
    match index {
        TROUBLE_BY_TASK => conditions.add_some("r.trouble_task = ?", task),
        _ => conditions.add_some("r.task = ?", task),
    }
    match index {
        TROUBLE_BY_AGENT => conditions.add_some("r.trouble_agent = ?", agent),
        _ => conditions.add_some("r.agent = ?", agent),
    }
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
    conditions
}

const BY_END: &str = "run_by_end";
const TROUBLE_BY_TASK: &str = "run_trouble_by_task";
const TROUBLE_BY_AGENT: &str = "run_trouble_by_agent";
/// The last hour before one in which there are runs.
pub(super) const LAST_HOUR: &str = "SELECT due_hour FROM run FORCE INDEX (run_by_end)
    WHERE due_hour < ? ORDER BY due_hour DESC LIMIT 1";
/// Hours that one statement looks through, each by a seek.
const HOURS_AT_ONCE: i64 = 256;

/// The index that leads to the fewest rows. Most runs succeed, so that outcome narrows little.
fn index(query: &RunQuery) -> &'static str {
    let rare = query
        .outcome
        .is_some_and(|outcome| outcome != Outcome::Succeeded);
    match query {
        RunQuery {
            id_suffix: Some(s), ..
        } if !s.is_empty() => BY_END,
        RunQuery { task: Some(_), .. } if rare => TROUBLE_BY_TASK,
        RunQuery { task: Some(_), .. } => "run_key",
        RunQuery { agent: Some(_), .. } if rare => TROUBLE_BY_AGENT,
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

    fn add_hours(&mut self, last: i64) {
        let hours = (0..HOURS_AT_ONCE).map(|back| Value::from(last - back));
        self.values.extend(hours);
        let marks = vec!["?"; usize::try_from(HOURS_AT_ONCE).unwrap_or(0)].join(", ");
        self.text.push(format!("r.due_hour IN ({marks})"));
    }

    fn add_some(&mut self, text: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.add(text, [value.into()]);
        }
    }
}
