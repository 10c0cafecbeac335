//! The audit log's table: entries are added and read, never changed.

use std::collections::BTreeSet;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};

use super::fault::Fault;
use super::row::{get, instant, text, text_option};
use super::runs::{at_most, one_of};
use super::script::Script;
use crate::model::GroupName;
use crate::store::AuditRow;

const ADD: &str =
    "INSERT INTO audit (digest, at, operator, address, deed, subject, gid, before_json,
        after_json)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE seq = seq";

/// Adds an entry; the same one again is the same one.
pub(super) fn write(script: &mut Script, entry: &AuditRow) {
    let values = [
        entry.digest().into(),
        entry.at.0.into(),
        entry.operator.as_str().into(),
        entry.address.as_str().into(),
        entry.deed.as_str().into(),
        entry.subject.as_str().into(),
        entry.group.as_ref().map(GroupName::as_str).into(),
        entry.before.as_deref().into(),
        entry.after.as_deref().into(),
    ];
    script.add(ADD, &values);
}

/// Newest first; with `groups` only what is about one of them.
pub(super) async fn read(
    conn: &mut Conn,
    groups: Option<&BTreeSet<GroupName>>,
    limit: u32,
) -> Result<Vec<AuditRow>, Fault> {
    let mut values: Vec<Value> = Vec::new();
    let condition = match groups {
        None => "TRUE".to_owned(),
        Some(groups) => one_of("gid", groups, &mut values),
    };
    values.push(at_most(limit).into());
    let sql = format!("SELECT * FROM audit WHERE {condition} ORDER BY at DESC, seq DESC LIMIT ?");
    let rows: Vec<Row> = conn.exec(sql, values).await?;
    rows.iter().map(entry).collect()
}

fn entry(row: &Row) -> Result<AuditRow, Fault> {
    Ok(AuditRow {
        at: instant(row, "at")?,
        operator: text(row, "operator")?,
        address: get(row, "address")?,
        deed: get(row, "deed")?,
        subject: get(row, "subject")?,
        group: text_option(row, "gid")?,
        before: get(row, "before_json")?,
        after: get(row, "after_json")?,
    })
}
