//! Reads runs, newest first. Which index serves a question is said in the statement, not left to the
//! planner: it has no statistics, and with 10 million runs a wrong guess takes seconds.

use std::collections::BTreeSet;

use rusqlite::types::Value;
use rusqlite::{Connection, Result as SqlResult, params_from_iter};

use super::row::{stored_run, text};
use super::write::json;
use super::write_run::{END, backwards};
use crate::model::{GroupName, Outcome, RunId, TaskId, UnixMs};
use crate::store::{RunQuery, StoreError, StoredRun};

/// What [`stored_run`] reads.
pub(super) const COLUMNS: &str = "r.*, t.gid, t.task_name, a.name AS agent_name";
/// The names of a run `r`, also of removed tasks and agents; the run is looked up first.
pub(super) const FROM: &str =
    "CROSS JOIN task t ON t.id = r.task LEFT JOIN agent a ON a.id = r.agent";

/// Tasks of a group up to which each is asked for its newest runs. A group of more has runs at any time, and
/// the newest of all are looked through for its own.
const FEW_TASKS: usize = 1000;

/// The runs asked for.
pub(super) fn runs(
    connection: &mut Connection,
    query: &RunQuery,
) -> Result<Vec<StoredRun>, StoreError> {
    // One transaction: all statements see the same runs.
    let tx = connection.transaction()?;
    if let Some(groups) = query.groups.as_ref().filter(|_| is_by_group(query)) {
        let tasks = tasks(&tx, groups)?;
        if tasks.len() <= FEW_TASKS {
            return by_task(&tx, query, tasks);
        }
    }
    select(&tx, query)
}

/// Whether the groups are what narrows this question most.
fn is_by_group(query: &RunQuery) -> bool {
    let narrower = query.task.is_some() || query.agent.is_some() || query.id_suffix.is_some();
    query.limit > 0 && !narrower
}

fn select(tx: &Connection, query: &RunQuery) -> Result<Vec<StoredRun>, StoreError> {
    let (sql, values) = statement(query);
    let mut select = tx.prepare_cached(&sql)?;
    let rows = select
        .query_map(params_from_iter(values), stored_run)?
        .collect::<SqlResult<_>>()?;
    Ok(rows)
}

const TASKS: &str = "SELECT id FROM task WHERE gid IN (SELECT value FROM json_each(?1))";

fn tasks(tx: &Connection, groups: &BTreeSet<GroupName>) -> Result<Vec<TaskId>, StoreError> {
    let mut select = tx.prepare_cached(TASKS)?;
    let ids = select.query_map([json(groups)], |row| text(row, "id"))?;
    Ok(ids.collect::<SqlResult<_>>()?)
}

/// Merges the newest runs of these tasks; each task is asked only for what is newer than those in hand.
fn by_task(
    tx: &Connection,
    query: &RunQuery,
    tasks: Vec<TaskId>,
) -> Result<Vec<StoredRun>, StoreError> {
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let mut question = RunQuery {
        groups: None,
        ..query.clone()
    };
    let mut newest: Vec<StoredRun> = Vec::new();
    for task in tasks {
        question.task = Some(task);
        newest.extend(select(tx, &question)?);
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
pub(super) fn at_most(limit: u32) -> i64 {
    if limit == 0 { -1 } else { i64::from(limit) }
}

/// The statement for a question, and its values.
pub(super) fn statement(query: &RunQuery) -> (String, Vec<Value>) {
    let mut conditions = Conditions::default();
    let since = query.since.map_or(i64::MIN, |at| at.0);
    conditions.add("r.scheduled_at >= ?", [Value::from(since)]);
    if let Some(until) = query.until {
        conditions.add("r.scheduled_at < ?", [Value::from(until.0)]);
    }
    conditions.add_some("r.task = ?", query.task.as_ref().map(ToString::to_string));
    conditions.add_some("r.agent = ?", query.agent.as_ref().map(ToString::to_string));
    conditions.add_some(
        "t.gid IN (SELECT value FROM json_each(?))",
        query.groups.as_ref().map(json),
    );
    match query.outcome {
        Some(outcome) => conditions.add("r.outcome = ?", [outcome.to_string().into()]),
        None if query.open => {}
        None => conditions.add("+r.outcome IS NOT NULL", []),
    }
    if let Some(suffix) = query.id_suffix.as_ref().filter(|s| !s.is_empty()) {
        add_suffix(&mut conditions, suffix);
    }
    let index = index(query);
    let (hours, run) = if index == BY_END {
        (HOURS, "h CROSS JOIN run r")
    } else {
        ("", "run r")
    };
    let sql = format!(
        "{hours} SELECT {COLUMNS} FROM {run} INDEXED BY {index} {FROM} WHERE {}
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
        SELECT (SELECT scheduled_at / 3600000 FROM run INDEXED BY run_by_end
                WHERE scheduled_at / 3600000 < h.hour ORDER BY scheduled_at / 3600000 DESC LIMIT 1)
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
    conditions.add("r.scheduled_at / 3600000 = h.hour", []);
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
            "substr(r.run_id, -length(?)) = ?",
            [suffix.to_owned().into(), suffix.to_owned().into()],
        );
    }
}

#[derive(Default)]
struct Conditions {
    text: Vec<&'static str>,
    values: Vec<Value>,
}

impl Conditions {
    fn add<const N: usize>(&mut self, text: &'static str, values: [Value; N]) {
        self.text.push(text);
        self.values.extend(values);
    }

    fn add_some(&mut self, text: &'static str, value: Option<String>) {
        if let Some(value) = value {
            self.add(text, [value.into()]);
        }
    }
}
