//! Brings a database's schema up to date: numbered texts, each applied once, under a lock of the server. MySQL
//! commits with every statement that changes the schema, so each is counted when it is done: what an
//! interruption leaves is taken up at the statement where it stopped.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};

use super::fault::{Fault, unreachable};
use crate::model::UnixMs;
use crate::store::checksum::sha256;
use crate::store::{Database, SchemaError, StoreError};

/// One step of the schema; never changed once released.
#[derive(Clone, Copy)]
pub(super) struct Migration {
    /// Its number: 1, 2, 3, …
    pub(super) version: i64,
    /// Its statements, each ending with `;` at the end of a line.
    pub(super) sql: &'static str,
}

impl Migration {
    fn statements(&self) -> impl Iterator<Item = &'static str> {
        let parts = self.sql.split(";\n").map(str::trim);
        parts.filter(|part| !part.is_empty())
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

/// `steps` counts the statements that are done; `applied_at` is null until all are.
const CREATE: &str = "CREATE TABLE IF NOT EXISTS schema_migration (
  version    BIGINT      NOT NULL PRIMARY KEY,
  checksum   VARCHAR(64) NOT NULL,
  steps      BIGINT      NOT NULL,
  applied_at BIGINT
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";

/// Seconds that another center's migration is waited for.
const PATIENCE: u32 = 30;

/// The servers' errors of a statement that was done already: table, column or key is there; column or key is gone.
const DONE_BEFORE: [u16; 4] = [1050, 1060, 1061, 1091];

/// What stands in the database of the schema.
struct Applied {
    version: i64,
    checksum: String,
    steps: i64,
    whole: bool,
}

/// Checks the server, then applies what is missing of `all`.
pub(super) async fn migrate(
    conn: &mut Conn,
    database: &Database,
    all: &[Migration],
    now: UnixMs,
) -> Result<(), Fault> {
    check_server(conn, database).await?;
    let lock = format!("ucron-schema-{}", database.name);
    let got: Option<i64> = conn
        .exec_first("SELECT GET_LOCK(?, ?)", (lock.as_str(), PATIENCE))
        .await?;
    if got != Some(1) {
        let cause = "another center changes its schema; try again when that is done";
        return Err(unreachable(database, cause));
    }
    let done = migrate_locked(conn, database, all, now).await;
    // The lock would end with the session at the latest.
    conn.exec_drop("SELECT RELEASE_LOCK(?)", (lock,)).await?;
    done
}

async fn migrate_locked(
    conn: &mut Conn,
    database: &Database,
    all: &[Migration],
    now: UnixMs,
) -> Result<(), Fault> {
    let applied = applied(conn, database).await?;
    check(&applied, all, database).map_err(StoreError::from)?;
    for (index, step) in all.iter().enumerate() {
        match applied.get(index) {
            Some(applied) if applied.whole => {}
            Some(applied) => apply(conn, step, applied.steps, now).await?,
            None => {
                conn.query_drop(CREATE).await?;
                let row = (step.version, sha256(step.sql));
                conn.exec_drop(BEGIN, row).await?;
                apply(conn, step, 0, now).await?;
            }
        }
    }
    Ok(())
}

const BEGIN: &str = "INSERT INTO schema_migration (version, checksum, steps, applied_at)
    VALUES (?, ?, 0, NULL)";
const STEP: &str = "UPDATE schema_migration SET steps = ? WHERE version = ?";
const END: &str = "UPDATE schema_migration SET applied_at = ? WHERE version = ?";

/// Carries out the statements after the first `done`.
async fn apply(conn: &mut Conn, step: &Migration, done: i64, now: UnixMs) -> Result<(), Fault> {
    for (number, statement) in (1_i64..).zip(step.statements()) {
        if number <= done {
            continue;
        }
        match conn.query_drop(statement).await {
            // Done, but not counted, when the last try was interrupted.
            Err(Error::Server(error))
                if number == done + 1 && DONE_BEFORE.contains(&error.code) => {}
            other => other?,
        }
        conn.exec_drop(STEP, (number, step.version)).await?;
    }
    Ok(conn.exec_drop(END, (now.0, step.version)).await?)
}

/// The oldest servers on which a statement that changes the schema is done whole or not at all.
const MARIADB: (u16, u16) = (10, 6);
const MYSQL: (u16, u16) = (8, 0);

async fn check_server(conn: &mut Conn, database: &Database) -> Result<(), Fault> {
    let found: Option<String> = conn.query_first("SELECT VERSION()").await?;
    let found = found.unwrap_or_default();
    if is_new_enough(&found) {
        return Ok(());
    }
    Err(StoreError::Old {
        server: database.server(),
        found,
    }
    .into())
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map(|part| part.parse().ok());
    let number = |part: Option<Option<u16>>| part.flatten().unwrap_or(0);
    let found = (number(numbers.next()), number(numbers.next()));
    let needed = if version.to_lowercase().contains("mariadb") {
        MARIADB
    } else {
        MYSQL
    };
    found >= needed
}

/// Versions applied, in order; none in an empty database.
async fn applied(conn: &mut Conn, database: &Database) -> Result<Vec<Applied>, Fault> {
    const READ: &str = "SELECT version, checksum, steps, applied_at IS NOT NULL
        FROM schema_migration ORDER BY version";
    const TABLES: &str = "SELECT table_name FROM information_schema.tables
        WHERE table_schema = DATABASE()";
    let tables: Vec<String> = conn.query(TABLES).await?;
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    if !tables.iter().any(|table| table == "schema_migration") {
        let path = database.to_string().into();
        return Err(StoreError::from(SchemaError::Foreign { path }).into());
    }
    let applied = |(version, checksum, steps, whole): (i64, String, i64, bool)| Applied {
        version,
        checksum,
        steps,
        whole,
    };
    Ok(conn.query_map(READ, applied).await?)
}

/// What was applied must be the beginning of what is known.
fn check(applied: &[Applied], all: &[Migration], database: &Database) -> Result<(), SchemaError> {
    let path = || database.to_string().into();
    let known = all.last().map_or(0, |step| step.version);
    if let Some(newer) = applied.last().filter(|applied| applied.version > known) {
        return Err(SchemaError::Newer {
            path: path(),
            found: newer.version,
            known,
        });
    }
    let strange = applied.iter().zip(all).find(|(applied, step)| {
        applied.version != step.version || applied.checksum != sha256(step.sql)
    });
    match strange {
        Some((applied, _)) => Err(SchemaError::Changed {
            path: path(),
            version: applied.version,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::is_new_enough;

    #[test]
    fn servers_that_are_too_old_are_told_by_their_version() {
        for (version, wanted) in [
            ("10.11.14-MariaDB-0+deb12u2", true),
            ("10.6.0-MariaDB", true),
            ("10.5.29-MariaDB-log", false),
            ("11.4.2-MariaDB", true),
            ("8.0.36", true),
            ("8.4.0-commercial", true),
            ("9.1.0", true),
            ("5.7.44-log", false),
            ("", false),
        ] {
            assert_eq!(is_new_enough(version), wanted, "{version}");
        }
    }
}
