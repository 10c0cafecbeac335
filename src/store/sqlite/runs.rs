//! Reads runs, newest first. Which index serves a question is said in the statement, not left to the
//! planner: it has no statistics, and with 10 million runs a wrong guess takes seconds.

use rusqlite::types::Value;
use rusqlite::{Connection, Result as SqlResult, params_from_iter};

use super::row::stored_run;
use super::write::json;
use super::write_run::{END, backwards};
use crate::model::Outcome;
use crate::store::{RunQuery, StoreError, StoredRun};

/// What [`stored_run`] reads.
pub(super) const COLUMNS: &str = "r.*, t.gid, t.task_name, a.name AS agent_name";
/// The names of a run `r`, also of removed tasks and agents; the run is looked up first.
pub(super) const FROM: &str =
    "CROSS JOIN task t ON t.id = r.task LEFT JOIN agent a ON a.id = r.agent";

/// The runs asked for.
pub(super) fn runs(
    connection: &Connection,
    query: &RunQuery,
) -> Result<Vec<StoredRun>, StoreError> {
    let (sql, values) = statement(query);
    let mut select = connection.prepare_cached(&sql)?;
    let rows = select
        .query_map(params_from_iter(values), stored_run)?
        .collect::<SqlResult<_>>()?;
    Ok(rows)
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
    if let Some(suffix) = &query.id_suffix {
        add_suffix(&mut conditions, suffix);
    }
    let sql = format!(
        "SELECT {COLUMNS} FROM run r INDEXED BY {} {FROM} WHERE {}
         ORDER BY r.scheduled_at DESC, r.run_id DESC LIMIT ?",
        index(query),
        conditions.text.join(" AND ")
    );
    conditions.values.push(at_most(query.limit).into());
    (sql, conditions.values)
}

/// The index that leads to the fewest rows. Most runs succeed, so that outcome narrows little.
fn index(query: &RunQuery) -> &'static str {
    let rare = query
        .outcome
        .is_some_and(|outcome| outcome != Outcome::Succeeded);
    match query {
        RunQuery {
            id_suffix: Some(s), ..
        } if !s.is_empty() => "run_by_end",
        RunQuery {
            task: Some(_),
            outcome: Some(_),
            ..
        } => "run_by_task_outcome",
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
