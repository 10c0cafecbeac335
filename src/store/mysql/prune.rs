//! Which ended runs and spans need not be kept, found through indexes alone, a bounded number of entries a call.

use std::collections::HashMap;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Value};

use super::fault::Fault;
use super::spans;
use crate::model::{Outcome, UnixMs};
use crate::store::{Keep, LeaseGuard, Pruned};

/// Tasks whose number of runs is looked at in one call: each costs some milliseconds at most.
const TASKS: usize = 16;

/// Where the next call goes on counting.
#[derive(Default, Clone)]
pub(super) struct Position {
    /// The task last counted.
    task: String,
    /// By task: before this only failures and open runs are left, which need not be looked through again.
    done: HashMap<String, i64>,
    /// The oldest instant that the number of a task allows, while its runs go in several steps: counting is work.
    floor: Option<Floor>,
}

/// Of this task with this number.
#[derive(Clone)]
struct Floor {
    task: String,
    per_task: u32,
    at: Option<i64>,
}

/// Numbers of what goes.
#[derive(Default, Clone)]
pub(super) struct Found {
    runs: Vec<i64>,
    spans: Vec<i64>,
    is_over: bool,
}

impl Found {
    /// What is told when so many of them are gone.
    fn pruned(&self, rows: usize) -> Pruned {
        Pruned {
            rows,
            is_over: self.is_over,
        }
    }
}

/// At most `step` runs and `step` spans to delete, and where to go on: the too old first, then those beyond
/// their task's number.
pub(super) async fn search(
    conn: &mut Conn,
    mut position: Position,
    keep: Keep,
    now: UnixMs,
    step: usize,
) -> Result<(Found, Position), Fault> {
    conn.query_drop("START TRANSACTION READ ONLY").await?;
    let mut found = too_old(conn, keep, now, step).await?;
    let mut spans = spans::too_old(conn, keep, now, count(step)).await?;
    let mut is_over = false;
    for _ in 0..TASKS {
        if found.len() >= step || spans.len() >= step {
            break;
        }
        let Some(task) = next_task(conn, &position).await? else {
            position.task.clear();
            is_over = true;
            break;
        };
        let floor = floor(conn, &mut position, &task, keep).await?;
        let left = count(step - spans.len());
        spans.extend(spans::too_many(conn, &task, keep, floor, left).await?);
        if let Some(floor) = floor {
            let left = step - found.len();
            found.extend(too_many(conn, &mut position, &task, floor, left).await?);
        }
        // A full step may have left some of this task: the next call begins with it again.
        if found.len() < step && spans.len() < step {
            position.task = task;
            position.floor = None;
        }
    }
    conn.query_drop("COMMIT").await?;
    for rows in [&mut found, &mut spans] {
        rows.sort_unstable();
        rows.dedup();
    }
    Ok((
        Found {
            runs: found,
            spans,
            is_over,
        },
        position,
    ))
}

/// The latest run of a task that lives stays, whatever its age: a yearly task has a last run. It is looked up from the
/// newest backwards, because the server would look for any later run from the oldest on.
pub(super) const TOO_OLD: &str = "SELECT r.seq FROM run r FORCE INDEX (run_by_outcome)
    STRAIGHT_JOIN task t ON t.id = r.task
    WHERE r.outcome = ? AND r.scheduled_at < ?
      AND (t.removed_at IS NOT NULL OR r.scheduled_at < (
        SELECT n.scheduled_at FROM run n FORCE INDEX (run_key)
        WHERE n.task = r.task AND COALESCE(n.outcome, '') <> '' ORDER BY n.scheduled_at DESC LIMIT 1))
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
pub(super) const FLOOR: &str = "SELECT scheduled_at FROM run FORCE INDEX (run_key) WHERE task = ?
    ORDER BY scheduled_at DESC LIMIT 1 OFFSET ?";
pub(super) const BELOW: &str = "SELECT seq FROM run FORCE INDEX (run_key)
    WHERE task = ? AND scheduled_at >= ? AND scheduled_at < ?
      AND COALESCE(outcome, '') IN ('succeeded', 'stopped', 'skipped', 'missed') LIMIT ?";

async fn floor(
    conn: &mut Conn,
    position: &mut Position,
    task: &str,
    keep: Keep,
) -> Result<Option<i64>, Fault> {
    let per_task = keep.per_task.max(1);
    let known = position.floor.as_ref();
    if let Some(known) = known.filter(|f| f.task == task && f.per_task == per_task) {
        return Ok(known.at);
    }
    // Of the runs due at one instant all stay or all go: nothing is cut in the middle of a fan-out.
    let at: Option<i64> = conn.exec_first(FLOOR, (task, per_task - 1)).await?;
    let task = task.to_owned();
    position.floor = Some(Floor { task, per_task, at });
    Ok(at)
}

async fn too_many(
    conn: &mut Conn,
    position: &mut Position,
    task: &str,
    floor: i64,
    step: usize,
) -> Result<Vec<i64>, Fault> {
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

/// Deletes these, as a leader's batch does. A number is never given to another row.
pub(super) async fn delete(
    conn: &mut Conn,
    guard: &LeaseGuard,
    lease: Duration,
    found: &Found,
) -> Result<Pruned, Fault> {
    super::lease::begin(conn, guard, lease).await?;
    let runs = delete_from(conn, "run", &found.runs).await?;
    let spans = delete_from(conn, "span", &found.spans).await?;
    conn.query_drop("COMMIT").await?;
    Ok(found.pruned(runs + spans))
}

async fn delete_from(conn: &mut Conn, table: &str, rows: &[i64]) -> Result<usize, Fault> {
    if rows.is_empty() {
        return Ok(0);
    }
    let marks = vec!["?"; rows.len()].join(", ");
    let values: Vec<Value> = rows.iter().map(|seq| Value::from(*seq)).collect();
    conn.exec_drop(
        format!("DELETE FROM {table} WHERE seq IN ({marks})"),
        values,
    )
    .await?;
    Ok(usize::try_from(conn.affected_rows()).unwrap_or(usize::MAX))
}
