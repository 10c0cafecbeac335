//! Which ended runs need not be kept, found through indexes alone, a bounded number of entries a call.

use std::collections::HashMap;

use rusqlite::{
    CachedStatement, Connection, OptionalExtension, Params, Result as SqlResult, params,
};

use crate::model::{Outcome, UnixMs};
use crate::store::{Keep, StoreError};

/// Tasks whose number of runs is looked at in one call: each costs some milliseconds at most.
const TASKS: usize = 16;

/// Where the next call goes on counting.
#[derive(Default)]
pub(super) struct Position {
    /// The task last counted.
    task: String,
    /// By task: before this only failures and open runs are left, which need not be looked through again.
    done: HashMap<String, i64>,
}

/// Row numbers of at most `step` runs to delete: the too old first, then those beyond their task's number.
pub(super) fn search(
    connection: &mut Connection,
    position: &mut Position,
    keep: Keep,
    now: UnixMs,
    step: usize,
) -> Result<Vec<i64>, StoreError> {
    // One transaction: all statements see the same runs.
    let tx = connection.transaction()?;
    let mut found = too_old(&tx, keep, now, step)?;
    for _ in 0..TASKS {
        if found.len() >= step {
            break;
        }
        let Some(task) = next_task(&tx, position)? else {
            position.task.clear();
            break;
        };
        found.extend(too_many(&tx, position, &task, keep, step - found.len())?);
        // A full step may have left some of this task: the next call begins with it again.
        if found.len() < step {
            position.task = task;
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// The latest run of a task that lives stays, whatever its age: a yearly task has a last run.
const TOO_OLD: &str = "SELECT r.rowid FROM run r INDEXED BY run_by_outcome
    CROSS JOIN task t ON t.id = r.task
    WHERE r.outcome = ?1 AND r.scheduled_at < ?2
      AND (t.removed_at IS NOT NULL OR EXISTS (
        SELECT 1 FROM run n INDEXED BY run_key
        WHERE n.task = r.task AND n.scheduled_at > r.scheduled_at AND +n.outcome IS NOT NULL))
    LIMIT ?3";

fn too_old(tx: &Connection, keep: Keep, now: UnixMs, step: usize) -> Result<Vec<i64>, StoreError> {
    let mut select = tx.prepare_cached(TOO_OLD)?;
    let mut found = Vec::new();
    for outcome in Outcome::ALL {
        let age = keep.age_of(outcome);
        let left = count(step - found.len());
        let values = params![outcome.as_str(), now.minus(age).0, left];
        found.extend(ids(&mut select, values)?);
    }
    Ok(found)
}

const NEXT_TASK: &str = "SELECT id FROM task WHERE id > ?1 ORDER BY id LIMIT 1";

fn next_task(tx: &Connection, position: &Position) -> Result<Option<String>, StoreError> {
    let mut select = tx.prepare_cached(NEXT_TASK)?;
    Ok(select
        .query_row([&position.task], |row| row.get(0))
        .optional()?)
}

/// The oldest instant of the runs that the number allows.
const FLOOR: &str = "SELECT scheduled_at FROM run INDEXED BY run_key WHERE task = ?1
    ORDER BY scheduled_at DESC LIMIT 1 OFFSET ?2";
const BELOW: &str = "SELECT rowid FROM run INDEXED BY run_key
    WHERE task = ?1 AND scheduled_at >= ?2 AND scheduled_at < ?3
      AND +outcome IN ('succeeded', 'stopped', 'skipped', 'missed') LIMIT ?4";

fn too_many(
    tx: &Connection,
    position: &mut Position,
    task: &str,
    keep: Keep,
    step: usize,
) -> Result<Vec<i64>, StoreError> {
    // Of the runs due at one instant all stay or all go: nothing is cut in the middle of a fan-out.
    let kept = i64::from(keep.per_task.max(1)) - 1;
    let mut floor = tx.prepare_cached(FLOOR)?;
    let floor: Option<i64> = floor
        .query_row(params![task, kept], |row| row.get(0))
        .optional()?;
    let Some(floor) = floor else {
        return Ok(Vec::new());
    };
    let done = position.done.get(task).copied().unwrap_or(i64::MIN);
    let mut select = tx.prepare_cached(BELOW)?;
    let found = ids(&mut select, params![task, done, floor, count(step)])?;
    if found.len() < step {
        position.done.insert(task.to_owned(), floor);
    }
    Ok(found)
}

fn ids(select: &mut CachedStatement, values: impl Params) -> SqlResult<Vec<i64>> {
    select.query_map(values, |row| row.get(0))?.collect()
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Deletes these runs, in one transaction; how many there were. A row's number is not given to another run
/// meanwhile: only pruning deletes, and one prunes at a time.
pub(super) fn delete(connection: &mut Connection, runs: &[i64]) -> Result<usize, StoreError> {
    let tx = connection.transaction()?;
    let mut deleted = 0;
    for run in runs {
        let mut delete = tx.prepare_cached("DELETE FROM run WHERE rowid = ?1")?;
        deleted += delete.execute([run])?;
    }
    tx.commit()?;
    Ok(deleted)
}
