//! The audit log's table: entries are added and read, never changed.

use std::collections::BTreeSet;

use super::row::{instant, text, text_option};
use super::runs::at_most;
use super::write::{execute, json};
use crate::model::GroupName;
use crate::store::{AuditRow, StoreError};
use rusqlite::{Connection, Result as SqlResult, Row, Transaction, params};

const ADD: &str =
    "INSERT INTO audit (digest, at, operator, address, deed, subject, gid, before_json,
        after_json)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (digest) DO NOTHING";

/// Adds an entry; the same one again is the same one.
pub(super) fn write(tx: &Transaction, entry: &AuditRow) -> SqlResult<()> {
    let values = params![
        entry.digest(),
        entry.at.0,
        entry.operator.as_str(),
        entry.address,
        entry.deed,
        entry.subject,
        entry.group.as_ref().map(GroupName::as_str),
        entry.before,
        entry.after,
    ];
    execute(tx, ADD, values)
}

const READ_ALL: &str = "SELECT * FROM audit ORDER BY at DESC, seq DESC LIMIT ?1";
const READ_GROUPS: &str = "SELECT * FROM audit
    WHERE gid IN (SELECT value FROM json_each(?2)) ORDER BY at DESC, seq DESC LIMIT ?1";

/// Newest first; with `groups` only what is about one of them.
pub(super) fn read(
    connection: &Connection,
    groups: Option<&BTreeSet<GroupName>>,
    limit: u32,
) -> Result<Vec<AuditRow>, StoreError> {
    let rows = match groups {
        None => connection
            .prepare_cached(READ_ALL)?
            .query_map([at_most(limit)], entry)?
            .collect(),
        Some(groups) => connection
            .prepare_cached(READ_GROUPS)?
            .query_map(params![at_most(limit), json(groups)], entry)?
            .collect::<SqlResult<_>>(),
    };
    Ok(rows?)
}

fn entry(row: &Row) -> SqlResult<AuditRow> {
    Ok(AuditRow {
        at: instant(row, "at")?,
        operator: text(row, "operator")?,
        address: row.get("address")?,
        deed: row.get("deed")?,
        subject: row.get("subject")?,
        group: text_option(row, "gid")?,
        before: row.get("before_json")?,
        after: row.get("after_json")?,
    })
}
