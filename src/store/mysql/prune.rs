//! Which ended runs need not be kept, found through indexes alone, a bounded number of entries a call.

use std::collections::HashMap;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Value};

use super::fault::Fault;
use crate::model::{Outcome, UnixMs};
use crate::store::Keep;

/// Tasks whose number of runs is looked at in one call: each costs some milliseconds at most.
const TASKS: usize = 16;

/// Where the next call goes on counting.
#[derive(Default, Clone)]
pub(super) struct Position {
    /// The task last counted.
    task: String,
    /// By task: before this only failures and open runs are left, which need not be looked through again.
    done: HashMap<String, i64>,
}

/// Numbers of at most `step` runs to delete, and where to go on: the too old first, then those beyond their
/// task's number.
pub(super) async fn search(
    conn: &mut Conn,
    mut position: Position,
    keep: Keep,
    now: UnixMs,
    step: usize,
) -> Result<(Vec<i64>, Position), Fault> {
    conn.query_drop("START TRANSACTION READ ONLY").await?;
    let mut found = too_old(conn, keep, now, step).await?;
    for _ in 0..TASKS {
        if found.len() >= step {
            break;
        }
        let Some(task) = next_task(conn, &position).await? else {
            position.task.clear();
            break;
        };
        let left = step - found.len();
        found.extend(too_many(conn, &mut position, &task, keep, left).await?);
        // A full step may have left some of this task: the next call begins with it again.
        if found.len() < step {
            position.task = task;
        }
    }
    conn.query_drop("COMMIT").await?;
    found.sort_unstable();
    found.dedup();
    Ok((found, position))
}

/// The latest run of a task that lives stays, whatever its age: a yearly task has a last run.
const TOO_OLD: &str = "SELECT r.seq FROM run r FORCE INDEX (run_by_outcome)
    STRAIGHT_JOIN task t ON t.id = r.task
    WHERE r.outcome = ? AND r.scheduled_at < ?
      AND (t.removed_at IS NOT NULL OR EXISTS (
        SELECT 1 FROM run n FORCE INDEX (run_key)
        WHERE n.task = r.task AND n.scheduled_at > r.scheduled_at AND COALESCE(n.outcome, '') <> ''))
    LIMIT ?";

async fn too_old(conn: &mut Conn, keep: Keep, now: UnixMs, step: usize) -> Result<Vec<i64>, Fault> {
    let mut found = Vec::new();
    for outcome in Outcome::ALL {
        let age = keep.age_of(outcome);
        let left = count(step - found.len());
        let values = (outcome.as_str(), now.minus(age).0, left);
        found.extend(conn.exec::<i64, _, _>(TOO_OLD, values).await?);
    }
    Ok(found)
}

const NEXT_TASK: &str = "SELECT id FROM task WHERE id > ? ORDER BY id LIMIT 1";

async fn next_task(conn: &mut Conn, position: &Position) -> Result<Option<String>, Fault> {
    Ok(conn
        .exec_first(NEXT_TASK, (position.task.as_str(),))
        .await?)
}

/// The oldest instant of the runs that the number allows.
const FLOOR: &str = "SELECT scheduled_at FROM run FORCE INDEX (run_key) WHERE task = ?
    ORDER BY scheduled_at DESC LIMIT 1 OFFSET ?";
const BELOW: &str = "SELECT seq FROM run FORCE INDEX (run_key)
    WHERE task = ? AND scheduled_at >= ? AND scheduled_at < ?
      AND COALESCE(outcome, '') IN ('succeeded', 'stopped', 'skipped', 'missed') LIMIT ?";

async fn too_many(
    conn: &mut Conn,
    position: &mut Position,
    task: &str,
    keep: Keep,
    step: usize,
) -> Result<Vec<i64>, Fault> {
    // Of the runs due at one instant all stay or all go: nothing is cut in the middle of a fan-out.
    let kept = u64::from(keep.per_task.max(1)) - 1;
    let Some(floor) = conn.exec_first::<i64, _, _>(FLOOR, (task, kept)).await? else {
        return Ok(Vec::new());
    };
    let done = position.done.get(task).copied().unwrap_or(i64::MIN);
    let found: Vec<i64> = conn.exec(BELOW, (task, done, floor, count(step))).await?;
    if found.len() < step {
        position.done.insert(task.to_owned(), floor);
    }
    Ok(found)
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Deletes these runs; how many there were. A number is never given to another run.
pub(super) async fn delete(conn: &mut Conn, runs: &[i64]) -> Result<usize, Fault> {
    if runs.is_empty() {
        return Ok(0);
    }
    let marks = vec!["?"; runs.len()].join(", ");
    let values: Vec<Value> = runs.iter().map(|seq| Value::from(*seq)).collect();
    conn.exec_drop(format!("DELETE FROM run WHERE seq IN ({marks})"), values)
        .await?;
    Ok(usize::try_from(conn.affected_rows()).unwrap_or(usize::MAX))
}
