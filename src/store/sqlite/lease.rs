//! The lease row: who has the lead. With one file there is no lease to run out; `expires_at` is kept so that
//! the row has the shape it has where several centers share a database.

use std::time::Duration;

use rusqlite::{Connection, Transaction, params};

use super::row::int;
use crate::model::{Epoch, UnixMs};
use crate::store::{LeaseGuard, StoreError};

/// The center's lease length of the design; here only for people who look at the row.
const TTL: Duration = Duration::from_secs(3);

const TAKE: &str = "INSERT INTO lease (name, holder, epoch, expires_at) VALUES ('center', ?1, 1, 0)
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, epoch = epoch + 1
    RETURNING epoch";
const RENEW: &str = "UPDATE lease SET expires_at = ?3
    WHERE name = 'center' AND epoch = ?1 AND holder = ?2";
const HOLD: &str = "SELECT 1 FROM lease WHERE name = 'center' AND epoch = ?1 AND holder = ?2";
const RAISE: &str = "UPDATE lease SET epoch = ?3
    WHERE name = 'center' AND epoch = ?1 AND holder = ?2";

/// Takes the lead with the next epoch.
pub(super) fn take(connection: &Connection, holder: String) -> Result<LeaseGuard, StoreError> {
    let epoch: i64 = connection
        .prepare_cached(TAKE)?
        .query_row([&holder], |row| row.get(0))?;
    Ok(LeaseGuard {
        epoch: Epoch(epoch.unsigned_abs()),
        holder,
    })
}

/// The guard of a batch: writes the row that a takeover writes, or refuses.
pub(super) fn renew(
    transaction: &Transaction,
    guard: &LeaseGuard,
    now: UnixMs,
) -> Result<(), StoreError> {
    let until = now.plus(TTL).0;
    let rows = transaction.prepare_cached(RENEW)?.execute(params![
        int(guard.epoch.0),
        guard.holder,
        until
    ])?;
    leader(rows)
}

/// Whether the guard is still the lease's; there is no time that would run out.
pub(super) fn hold(connection: &Connection, guard: &LeaseGuard) -> Result<(), StoreError> {
    let mut select = connection.prepare_cached(HOLD)?;
    leader(usize::from(
        select.exists(params![int(guard.epoch.0), guard.holder])?,
    ))
}

/// Marks the lease as ended, for people who look at the row.
pub(super) fn release(connection: &Connection, guard: &LeaseGuard) -> Result<(), StoreError> {
    connection
        .prepare_cached(RENEW)?
        .execute(params![int(guard.epoch.0), guard.holder, 0])?;
    Ok(())
}

/// Raises the epoch above `above`, under the guard.
pub(super) fn raise(
    connection: &Connection,
    guard: LeaseGuard,
    above: Epoch,
) -> Result<LeaseGuard, StoreError> {
    let epoch = guard.epoch.max(Epoch(above.0.saturating_add(1)));
    let rows = connection.prepare_cached(RAISE)?.execute(params![
        int(guard.epoch.0),
        guard.holder,
        int(epoch.0)
    ])?;
    leader(rows)?;
    Ok(LeaseGuard { epoch, ..guard })
}

fn leader(rows: usize) -> Result<(), StoreError> {
    if rows == 1 {
        Ok(())
    } else {
        Err(StoreError::NotLeader)
    }
}
