//! The lease row on the database's clock: who has the lead, and until when. Every statement that decides reads and
//! writes that one row, so that two centers meet there whatever they read before.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Value, params};

use super::fault::Fault;
use super::row::{get, int};
use crate::model::Epoch;
use crate::store::{Lead, LeaseGuard, StoreError};

/// Milliseconds of the database's clock. A statement's `NOW` is when it began, so a statement that had to wait for
/// the row judges by an earlier instant: a takeover then finds the renewed lease alive.
const NOW: &str = "CAST(FLOOR(UNIX_TIMESTAMP(NOW(6)) * 1000) AS SIGNED)";

/// The first statement of every batch of a leader.
fn guard_sql() -> String {
    format!(
        "UPDATE lease SET expires_at = {NOW} + ?
         WHERE name = 'center' AND epoch = ? AND holder = ? AND expires_at > {NOW}"
    )
}

/// Begins a batch's transaction by renewing the lease that `guard` names: exactly one row, or no batch.
pub(super) async fn begin(
    conn: &mut Conn,
    guard: &LeaseGuard,
    lease: Duration,
) -> Result<(), Fault> {
    conn.query_drop("START TRANSACTION").await?;
    let values = (ms(lease), int(guard.epoch.0), guard.holder.as_str());
    conn.exec_drop(guard_sql(), values).await?;
    if conn.affected_rows() == 1 {
        return Ok(());
    }
    Err(not_renewed(conn, guard).await?.into())
}

/// Why the row was not renewed: another has the lead, or the lease ran out and nobody took it.
async fn not_renewed(conn: &mut Conn, guard: &LeaseGuard) -> Result<StoreError, Fault> {
    const MINE: &str = "SELECT 1 FROM lease
        WHERE name = 'center' AND epoch = ? AND holder = ? FOR UPDATE";
    let values = (int(guard.epoch.0), guard.holder.as_str());
    let mine: Option<i64> = conn.exec_first(MINE, values).await?;
    Ok(match mine {
        Some(_) => StoreError::Lapsed,
        None => StoreError::NotLeader,
    })
}

/// Renews the lease by time. One that ran out is good again if nobody has taken it: epoch and holder still stand
/// in the row, so nobody else has led meanwhile.
pub(super) async fn renew(
    conn: &mut Conn,
    guard: &LeaseGuard,
    lease: Duration,
) -> Result<(), Fault> {
    let sql = format!(
        "UPDATE lease SET expires_at = {NOW} + ? WHERE name = 'center' AND epoch = ? AND holder = ?"
    );
    let values = (ms(lease), int(guard.epoch.0), guard.holder.as_str());
    conn.exec_drop(sql, values).await?;
    leader(conn)
}

/// Ends the lease now; another center may take the lead at once. Of a lease that is not this guard's nothing changes.
pub(super) async fn release(conn: &mut Conn, guard: &LeaseGuard) -> Result<(), Fault> {
    const END: &str = "UPDATE lease SET expires_at = 0
        WHERE name = 'center' AND epoch = ? AND holder = ?";
    conn.exec_drop(END, (int(guard.epoch.0), guard.holder.as_str()))
        .await?;
    Ok(())
}

/// Takes the lead with the next epoch if it is free: never taken, run out, or held by `holder` already.
pub(super) async fn try_take(
    conn: &mut Conn,
    holder: &str,
    lease: Duration,
) -> Result<Lead, Fault> {
    // The row is there before it is locked: a lock on a row that is missing is a lock on a gap, and two that hold
    // one and insert would wait for each other.
    const MAKE: &str = "INSERT INTO lease (name, holder, epoch, expires_at)
        VALUES ('center', '', 0, 0) ON DUPLICATE KEY UPDATE name = name";
    conn.query_drop(MAKE).await?;
    conn.query_drop("START TRANSACTION").await?;
    let read = format!(
        "SELECT holder, epoch, expires_at - {NOW} AS time_left FROM lease
         WHERE name = 'center' FOR UPDATE"
    );
    let row: mysql_async::Row = conn
        .query_first(read)
        .await?
        .ok_or(super::fault::damaged("there is no lease row"))?;
    let (present, epoch): (String, i64) = (get(&row, "holder")?, get(&row, "epoch")?);
    let left: i64 = get(&row, "time_left")?;
    if left > 0 && present != holder {
        conn.query_drop("ROLLBACK").await?;
        return Ok(Lead::Held {
            holder: present,
            epoch: Epoch(epoch.unsigned_abs()),
            left: Duration::from_millis(left.unsigned_abs()),
        });
    }
    let next = epoch + 1;
    let take = format!(
        "UPDATE lease SET holder = :holder, epoch = :next, expires_at = {NOW} + :lease
         WHERE name = 'center'"
    );
    let values = params! { "holder" => holder, "next" => next, "lease" => ms(lease) };
    conn.exec_drop(take, values).await?;
    conn.query_drop("COMMIT").await?;
    Ok(Lead::Taken(LeaseGuard {
        epoch: Epoch(next.unsigned_abs()),
        holder: holder.to_owned(),
    }))
}

/// Raises the epoch above `above`, under the guard. Tried again after it was done it finds the new epoch.
pub(super) async fn raise(
    conn: &mut Conn,
    guard: &LeaseGuard,
    above: Epoch,
) -> Result<LeaseGuard, Fault> {
    const RAISE: &str = "UPDATE lease SET epoch = ?
        WHERE name = 'center' AND holder = ? AND epoch IN (?, ?)";
    let epoch = guard.epoch.max(Epoch(above.0.saturating_add(1)));
    let values = (
        int(epoch.0),
        guard.holder.as_str(),
        int(guard.epoch.0),
        int(epoch.0),
    );
    conn.exec_drop(RAISE, values).await?;
    leader(conn)?;
    Ok(LeaseGuard {
        epoch,
        ..guard.clone()
    })
}

/// Waits until no batch is under way, then locks the row until the transaction ends: what is read after this has
/// in it what an earlier batch, whose answer was lost, may still have written.
pub(super) async fn wait_for_batches(conn: &mut Conn) -> Result<(), Fault> {
    conn.query_drop("SELECT epoch FROM lease WHERE name = 'center' FOR UPDATE")
        .await?;
    Ok(())
}

fn leader(conn: &Conn) -> Result<(), Fault> {
    if conn.affected_rows() == 1 {
        Ok(())
    } else {
        Err(StoreError::NotLeader.into())
    }
}

fn ms(span: Duration) -> Value {
    Value::from(i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
}
