//! Which ended runs need not be kept, found through indexes alone, a bounded number of entries a call.

use rusqlite::{
    CachedStatement, Connection, OptionalExtension, Params, Result as SqlResult, params,
};

use crate::model::{Outcome, UnixMs};
use crate::store::{Keep, StoreError};

/// Tasks whose number of runs is looked at in one call: each costs some milliseconds at most.
const TASKS: usize = 16;

/// The task after which the next call goes on counting.
#[derive(Default)]
pub(super) struct Position(String);

/// Ids of at most `step` runs to delete: the too old first, then those beyond their task's number.
pub(super) fn search(
    connection: &mut Connection,
    position: &mut Position,
    keep: Keep,
    now: UnixMs,
    step: usize,
) -> Result<Vec<String>, StoreError> {
    // One transaction: all statements see the same runs.
    let tx = connection.transaction()?;
    let mut found = too_old(&tx, keep, now, step)?;
    for _ in 0..TASKS {
        if found.len() >= step {
            break;
        }
        let Some(task) = next_task(&tx, position)? else {
            *position = Position::default();
            break;
        };
        found.extend(too_many(&tx, &task, keep, step - found.len())?);
        // A full step may have left some of this task: the next call begins with it again.
        if found.len() < step {
            position.0 = task;
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// What is looked at in the history when something went wrong.
fn is_failure(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Failed | Outcome::TimedOut | Outcome::Lost)
}

/// The latest run of a task that lives stays, whatever its age: a yearly task has a last run.
const TOO_OLD: &str = "SELECT r.run_id FROM run r INDEXED BY run_by_outcome
    CROSS JOIN task t ON t.id = r.task
    WHERE r.outcome = ?1 AND r.scheduled_at < ?2
      AND (t.removed_at IS NOT NULL OR EXISTS (
        SELECT 1 FROM run n INDEXED BY run_key
        WHERE n.task = r.task AND n.scheduled_at > r.scheduled_at AND +n.outcome IS NOT NULL))
    LIMIT ?3";

fn too_old(
    tx: &Connection,
    keep: Keep,
    now: UnixMs,
    step: usize,
) -> Result<Vec<String>, StoreError> {
    let mut select = tx.prepare_cached(TOO_OLD)?;
    let mut found = Vec::new();
    for outcome in Outcome::ALL {
        let age = if is_failure(outcome) {
            keep.failures_age
        } else {
            keep.age
        };
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
        .query_row([&position.0], |row| row.get(0))
        .optional()?)
}

/// The oldest instant of the runs that the number allows.
const FLOOR: &str = "SELECT scheduled_at FROM run INDEXED BY run_key WHERE task = ?1
    ORDER BY scheduled_at DESC LIMIT 1 OFFSET ?2";
const FLOOR_OF_OUTCOME: &str = "SELECT scheduled_at FROM run INDEXED BY run_by_task_outcome
    WHERE task = ?1 AND outcome = ?3 ORDER BY scheduled_at DESC LIMIT 1 OFFSET ?2";
const BELOW: &str = "SELECT run_id FROM run INDEXED BY run_by_task_outcome
    WHERE task = ?1 AND outcome = ?2 AND scheduled_at < ?3 LIMIT ?4";

fn too_many(
    tx: &Connection,
    task: &str,
    keep: Keep,
    step: usize,
) -> Result<Vec<String>, StoreError> {
    // Of the runs due at one instant all stay or all go: nothing is cut in the middle of a fan-out.
    let kept = i64::from(keep.per_task.max(1)) - 1;
    let Some(all) = floor(tx, FLOOR, params![task, kept])? else {
        return Ok(Vec::new());
    };
    let mut select = tx.prepare_cached(BELOW)?;
    let mut found = Vec::new();
    for outcome in Outcome::ALL {
        let floor = if is_failure(outcome) {
            floor(tx, FLOOR_OF_OUTCOME, params![task, kept, outcome.as_str()])?
        } else {
            Some(all)
        };
        let Some(floor) = floor else { continue };
        let left = count(step - found.len());
        found.extend(ids(
            &mut select,
            params![task, outcome.as_str(), floor, left],
        )?);
    }
    Ok(found)
}

fn floor(tx: &Connection, sql: &str, values: impl Params) -> SqlResult<Option<i64>> {
    let mut select = tx.prepare_cached(sql)?;
    select.query_row(values, |row| row.get(0)).optional()
}

fn ids(select: &mut CachedStatement, values: impl Params) -> SqlResult<Vec<String>> {
    select.query_map(values, |row| row.get(0))?.collect()
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Deletes these runs, in one transaction; how many there were.
pub(super) fn delete(connection: &mut Connection, runs: &[String]) -> Result<usize, StoreError> {
    let tx = connection.transaction()?;
    let mut deleted = 0;
    for run in runs {
        let mut delete = tx.prepare_cached("DELETE FROM run WHERE run_id = ?1")?;
        deleted += delete.execute([run])?;
    }
    tx.commit()?;
    Ok(deleted)
}
