//! Which ended runs and spans need not be kept, found through indexes alone, a bounded number of entries a call.

use std::collections::HashMap;

use rusqlite::{
    CachedStatement, Connection, OptionalExtension, Params, Result as SqlResult, params,
};

use super::spans;
use crate::model::{Outcome, UnixMs};
use crate::store::{Keep, Pruned, StoreError};

/// Tasks whose number of runs is looked at in one call: each costs some milliseconds at most.
const TASKS: usize = 16;

/// Where the next call goes on counting.
#[derive(Default)]
pub(super) struct Position {
    /// The task last counted.
    task: String,
    /// By task: before this only failures and open runs are left, which need not be looked through again.
    done: HashMap<String, i64>,
    /// The oldest instant that the number of a task allows, while its runs go in several steps: counting is work.
    floor: Option<Floor>,
}

/// Of this task with this number.
struct Floor {
    task: String,
    per_task: u32,
    at: Option<i64>,
}

/// Row numbers of what goes.
#[derive(Default)]
pub(super) struct Found {
    runs: Vec<i64>,
    spans: Vec<i64>,
    is_over: bool,
}

impl Found {
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.spans.is_empty()
    }

    /// What is told when so many of them are gone.
    pub(super) fn pruned(&self, rows: usize) -> Pruned {
        Pruned {
            rows,
            is_over: self.is_over,
        }
    }
}

/// At most `step` runs and `step` spans to delete: the too old first, then those beyond their task's number.
pub(super) fn search(
    connection: &mut Connection,
    position: &mut Position,
    keep: Keep,
    now: UnixMs,
    step: usize,
) -> Result<Found, StoreError> {
    // One transaction: all statements see the same runs.
    let tx = connection.transaction()?;
    let mut found = too_old(&tx, keep, now, step)?;
    let mut spans = spans::too_old(&tx, keep, now, count(step))?;
    let mut is_over = false;
    for _ in 0..TASKS {
        if found.len() >= step || spans.len() >= step {
            break;
        }
        let Some(task) = next_task(&tx, position)? else {
            position.task.clear();
            is_over = true;
            break;
        };
        let floor = floor(&tx, position, &task, keep)?;
        let left = count(step - spans.len());
        spans.extend(spans::too_many(&tx, &task, keep, floor, left)?);
        if let Some(floor) = floor {
            let left = step - found.len();
            found.extend(too_many(&tx, position, &task, floor, left)?);
        }
        // A full step may have left some of this task: the next call begins with it again.
        if found.len() < step && spans.len() < step {
            position.task = task;
            position.floor = None;
        }
    }
    for rows in [&mut found, &mut spans] {
        rows.sort_unstable();
        rows.dedup();
    }
    Ok(Found {
        runs: found,
        spans,
        is_over,
    })
}

/// The latest run of a task that lives stays, whatever its age: a yearly task has a last run.
pub(super) const TOO_OLD: &str = "SELECT r.rowid FROM run r INDEXED BY run_by_outcome
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
pub(super) const FLOOR: &str = "SELECT scheduled_at FROM run INDEXED BY run_key WHERE task = ?1
    ORDER BY scheduled_at DESC LIMIT 1 OFFSET ?2";
pub(super) const BELOW: &str = "SELECT rowid FROM run INDEXED BY run_key
    WHERE task = ?1 AND scheduled_at >= ?2 AND scheduled_at < ?3
      AND +outcome IN ('succeeded', 'stopped', 'skipped', 'missed') LIMIT ?4";

fn floor(
    tx: &Connection,
    position: &mut Position,
    task: &str,
    keep: Keep,
) -> Result<Option<i64>, StoreError> {
    let per_task = keep.per_task.max(1);
    let known = position.floor.as_ref();
    if let Some(known) = known.filter(|f| f.task == task && f.per_task == per_task) {
        return Ok(known.at);
    }
    // Of the runs due at one instant all stay or all go: nothing is cut in the middle of a fan-out.
    let mut select = tx.prepare_cached(FLOOR)?;
    let at: Option<i64> = select
        .query_row(params![task, i64::from(per_task) - 1], |row| row.get(0))
        .optional()?;
    let task = task.to_owned();
    position.floor = Some(Floor { task, per_task, at });
    Ok(at)
}

fn too_many(
    tx: &Connection,
    position: &mut Position,
    task: &str,
    floor: i64,
    step: usize,
) -> Result<Vec<i64>, StoreError> {
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

const DELETE_RUN: &str = "DELETE FROM run WHERE rowid = ?1";
const DELETE_SPAN: &str = "DELETE FROM span WHERE rowid = ?1";

/// Deletes these rows, in one transaction. A row's number is not given to another one meanwhile:
/// only pruning deletes what has ended, and one prunes at a time.
pub(super) fn delete(connection: &mut Connection, found: &Found) -> Result<Pruned, StoreError> {
    let tx = connection.transaction()?;
    let mut deleted = 0;
    for (sql, rows) in [(DELETE_RUN, &found.runs), (DELETE_SPAN, &found.spans)] {
        for row in rows {
            deleted += tx.prepare_cached(sql)?.execute([row])?;
        }
    }
    tx.commit()?;
    Ok(found.pruned(deleted))
}
