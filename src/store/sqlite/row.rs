//! From columns to values. A column that does not hold what it must is damage, and the error names it.

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::str::FromStr;

use rusqlite::types::Type;
use rusqlite::{Error, Result, Row};

use crate::model::{Ending, RunRef, TaskPath, UnixMs};
use crate::store::{RunRow, StoredRun};

/// A number as SQL keeps it; ours stay far below the end of the range.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A column of text that is a name, an id or a word.
pub(super) fn text<T>(row: &Row, column: &str) -> Result<T>
where
    T: FromStr<Err: StdError + Send + Sync + 'static>,
{
    let index = row.as_ref().column_index(column)?;
    let value = row.get_ref(index)?.as_str()?;
    value.parse().map_err(|e| damaged(index, e))
}

/// The same where it may be null.
pub(super) fn text_option<T>(row: &Row, column: &str) -> Result<Option<T>>
where
    T: FromStr<Err: StdError + Send + Sync + 'static>,
{
    let index = row.as_ref().column_index(column)?;
    let value = row.get_ref(index)?.as_str_or_null()?;
    value
        .map(|value| value.parse().map_err(|e| damaged(index, e)))
        .transpose()
}

/// A column of an integer that fits `T`.
pub(super) fn number<T: TryFrom<i64>>(row: &Row, column: &str) -> Result<T> {
    let index = row.as_ref().column_index(column)?;
    let value: i64 = row.get(index)?;
    T::try_from(value).map_err(|_| Error::IntegralValueOutOfRange(index, value))
}

/// The same where it may be null.
pub(super) fn number_option<T: TryFrom<i64>>(row: &Row, column: &str) -> Result<Option<T>> {
    match row.get::<_, Option<i64>>(column)? {
        Some(_) => number(row, column).map(Some),
        None => Ok(None),
    }
}

/// An instant.
pub(super) fn instant(row: &Row, column: &str) -> Result<UnixMs> {
    row.get(column).map(UnixMs)
}

/// An instant that may be null.
pub(super) fn instant_option(row: &Row, column: &str) -> Result<Option<UnixMs>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(UnixMs))
}

/// A set as a JSON array, or null.
pub(super) fn set_option<T>(row: &Row, column: &str) -> Result<Option<BTreeSet<T>>>
where
    T: serde::de::DeserializeOwned + Ord,
{
    let index = row.as_ref().column_index(column)?;
    let json = row.get_ref(index)?.as_str_or_null()?;
    json.map(|json| serde_json::from_str(json).map_err(|e| damaged(index, e)))
        .transpose()
}

fn damaged(index: usize, error: impl StdError + Send + Sync + 'static) -> Error {
    Error::FromSqlConversionFailure(index, Type::Text, Box::new(error))
}

/// A run as planned.
pub(super) fn run(row: &Row) -> Result<RunRow> {
    let target: String = row.get("target")?;
    Ok(RunRow {
        run: RunRef {
            run_id: text(row, "run_id")?,
            task: text(row, "task")?,
            revision: crate::model::Revision(number(row, "revision")?),
            slot: crate::model::Slot(number(row, "slot")?),
            cause: text(row, "cause")?,
            scheduled_at: instant(row, "scheduled_at")?,
        },
        target: match target.as_str() {
            "" => None,
            _ => Some(text(row, "target")?),
        },
        agent: text_option(row, "agent")?,
        start_before: instant(row, "start_before")?,
    })
}

/// A run with the names of its task and agent: the columns of [`super::runs::COLUMNS`].
pub(super) fn stored_run(row: &Row) -> Result<StoredRun> {
    Ok(StoredRun {
        row: run(row)?,
        path: TaskPath {
            group: text(row, "gid")?,
            name: text(row, "task_name")?,
        },
        agent_name: text_option(row, "agent_name")?,
        ending: ending(row)?,
    })
}

fn ending(row: &Row) -> Result<Option<Ending>> {
    let Some(outcome) = text_option(row, "outcome")? else {
        return Ok(None);
    };
    Ok(Some(Ending {
        outcome,
        reason: row.get("reason")?,
        exit_code: number_option(row, "exit_code")?,
        signal: number_option(row, "exit_signal")?,
        pid: number_option(row, "pid")?,
        attempt: number(row, "attempt")?,
        started_at: instant_option(row, "started_at")?,
        finished_at: instant(row, "finished_at")?,
        output_bytes: number_option(row, "output_bytes")?,
        tail: row.get("tail")?,
    }))
}
