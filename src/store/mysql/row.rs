//! From columns to values. A column that does not hold what it must is damage, and the error names it.

use std::collections::BTreeSet;
use std::str::FromStr;

use mysql_async::Row;
use mysql_async::prelude::FromValue;

use super::fault::{Fault, damaged};
use crate::model::{Ending, Revision, RunRef, Slot, TaskPath, UnixMs};
use crate::store::{RunRow, StoredRun};

/// A number as SQL keeps it; ours stay far below the end of the range.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A column as the driver reads it.
pub(super) fn get<T: FromValue>(row: &Row, column: &str) -> Result<T, Fault> {
    match row.get_opt(column) {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(damaged(format!("column `{column}`: {error}"))),
        None => Err(damaged(format!("there is no column `{column}`"))),
    }
}

/// A column of text that is a name, an id or a word.
pub(super) fn text<T>(row: &Row, column: &str) -> Result<T, Fault>
where
    T: FromStr<Err: std::fmt::Display>,
{
    parse(&get::<String>(row, column)?, column)
}

/// The same where it may be null.
pub(super) fn text_option<T>(row: &Row, column: &str) -> Result<Option<T>, Fault>
where
    T: FromStr<Err: std::fmt::Display>,
{
    let text: Option<String> = get(row, column)?;
    text.map(|text| parse(&text, column)).transpose()
}

fn parse<T: FromStr<Err: std::fmt::Display>>(text: &str, column: &str) -> Result<T, Fault> {
    text.parse()
        .map_err(|e| damaged(format!("column `{column}`: {e}")))
}

/// A column of an integer that fits `T`.
pub(super) fn number<T: TryFrom<i64>>(row: &Row, column: &str) -> Result<T, Fault> {
    fit(get(row, column)?, column)
}

/// The same where it may be null.
pub(super) fn number_option<T: TryFrom<i64>>(row: &Row, column: &str) -> Result<Option<T>, Fault> {
    let value: Option<i64> = get(row, column)?;
    value.map(|value| fit(value, column)).transpose()
}

fn fit<T: TryFrom<i64>>(value: i64, column: &str) -> Result<T, Fault> {
    T::try_from(value).map_err(|_| damaged(format!("column `{column}`: {value} is out of range")))
}

/// A flag.
pub(super) fn flag(row: &Row, column: &str) -> Result<bool, Fault> {
    Ok(get::<i64>(row, column)? != 0)
}

/// An instant.
pub(super) fn instant(row: &Row, column: &str) -> Result<UnixMs, Fault> {
    get(row, column).map(UnixMs)
}

/// An instant that may be null.
pub(super) fn instant_option(row: &Row, column: &str) -> Result<Option<UnixMs>, Fault> {
    Ok(get::<Option<i64>>(row, column)?.map(UnixMs))
}

/// A set as a JSON array, or null.
pub(super) fn set_option<T>(row: &Row, column: &str) -> Result<Option<BTreeSet<T>>, Fault>
where
    T: serde::de::DeserializeOwned + Ord,
{
    let json: Option<String> = get(row, column)?;
    json.map(|json| {
        serde_json::from_str(&json).map_err(|e| damaged(format!("column `{column}`: {e}")))
    })
    .transpose()
}

/// A run as planned.
pub(super) fn run(row: &Row) -> Result<RunRow, Fault> {
    let target: String = get(row, "target")?;
    Ok(RunRow {
        run: RunRef {
            run_id: text(row, "run_id")?,
            task: text(row, "task")?,
            revision: Revision(number(row, "revision")?),
            slot: Slot(number(row, "slot")?),
            cause: text(row, "cause")?,
            scheduled_at: instant(row, "scheduled_at")?,
        },
        target: match target.as_str() {
            "" => None,
            _ => Some(parse(&target, "target")?),
        },
        agent: text_option(row, "agent")?,
        start_before: instant(row, "start_before")?,
    })
}

/// A run with the names of its task and agent: the columns of [`super::runs::COLUMNS`].
pub(super) fn stored_run(row: &Row) -> Result<StoredRun, Fault> {
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

fn ending(row: &Row) -> Result<Option<Ending>, Fault> {
    let Some(outcome) = text_option(row, "outcome")? else {
        return Ok(None);
    };
    Ok(Some(Ending {
        outcome,
        reason: get(row, "reason")?,
        exit_code: number_option(row, "exit_code")?,
        signal: number_option(row, "exit_signal")?,
        pid: number_option(row, "pid")?,
        attempt: number(row, "attempt")?,
        started_at: instant_option(row, "started_at")?,
        finished_at: instant(row, "finished_at")?,
        output_bytes: number_option(row, "output_bytes")?,
        tail: get(row, "tail")?,
    }))
}
