//! Brings a file's schema up to date: numbered texts, each applied once, all in one transaction under the
//! database's write lock. Whatever interrupts it leaves the file as it was.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::file;
use crate::model::UnixMs;
use crate::store::checksum::sha256;
use crate::store::{SchemaError, StoreError};

/// One step of the schema; never changed once released.
#[derive(Clone, Copy)]
pub(super) struct Migration {
    /// Its number: 1, 2, 3, …
    pub(super) version: i64,
    /// Its statements.
    pub(super) sql: &'static str,
}

impl Migration {
    fn checksum(&self) -> String {
        sha256(self.sql)
    }
}

/// The schema of this program, in order.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        sql: include_str!("0001_first.sql"),
    },
    Migration {
        version: 3,
        sql: include_str!("0003_dial.sql"),
    },
];

const CREATE: &str = "CREATE TABLE schema_migration (
  version    INTEGER NOT NULL PRIMARY KEY,
  checksum   TEXT    NOT NULL,
  applied_at INTEGER NOT NULL
) STRICT";

/// Applies what is missing of `all` to the database at `path`.
pub(super) fn migrate(
    connection: &mut Connection,
    path: &Path,
    all: &[Migration],
    now: UnixMs,
) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let applied = applied(&transaction, path)?;
    check(&applied, all, path)?;
    let missing = &all[applied.len()..];
    if missing.is_empty() {
        return Ok(());
    }
    match applied.last() {
        // The lock is held, so the copy is what the migration begins with.
        Some((version, _)) => {
            file::copy(
                path,
                &file::with_suffix(path, &format!(".before-{}", version + 1)),
            )?;
        }
        None => transaction.execute_batch(CREATE)?,
    }
    for migration in missing {
        apply(&transaction, migration, now)?;
    }
    Ok(transaction.commit()?)
}

fn apply(transaction: &Transaction, step: &Migration, now: UnixMs) -> Result<(), StoreError> {
    transaction.execute_batch(step.sql)?;
    transaction.execute(
        "INSERT INTO schema_migration (version, checksum, applied_at) VALUES (?1, ?2, ?3)",
        params![step.version, step.checksum(), now.0],
    )?;
    Ok(())
}

/// Versions and checksums applied, in order; none in a new file.
fn applied(transaction: &Transaction, path: &Path) -> Result<Vec<(i64, String)>, StoreError> {
    let count = |sql: &str| transaction.query_row(sql, [], |row| row.get::<_, i64>(0));
    if count("SELECT count(*) FROM sqlite_schema")? == 0 {
        return Ok(Vec::new());
    }
    if count("SELECT count(*) FROM sqlite_schema WHERE name = 'schema_migration'")? == 0 {
        return Err(SchemaError::Foreign { path: path.into() }.into());
    }
    let mut statement =
        transaction.prepare("SELECT version, checksum FROM schema_migration ORDER BY version")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What was applied must be the beginning of what is known.
fn check(applied: &[(i64, String)], all: &[Migration], path: &Path) -> Result<(), SchemaError> {
    let known = all.last().map_or(0, |step| step.version);
    if let Some((found, _)) = applied.last().filter(|(version, _)| *version > known) {
        return Err(SchemaError::Newer {
            path: path.into(),
            found: *found,
            known,
        });
    }
    let strange = applied
        .iter()
        .zip(all)
        .find(|((version, sum), step)| *version != step.version || *sum != step.checksum());
    match strange {
        Some(((version, _), _)) => Err(SchemaError::Changed {
            path: path.into(),
            version: *version,
        }),
        None => Ok(()),
    }
}
