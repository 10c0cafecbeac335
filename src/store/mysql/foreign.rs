//! Reads a table of whatever columns, in a session of its own.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};

use super::fault::Fault;
use super::session::{Kind, Session};
use crate::store::foreign::ForeignTable;
use crate::store::{Database, StoreError};

const IS_THERE: &str = "SELECT COUNT(*) FROM information_schema.tables
    WHERE table_schema = DATABASE() AND table_name = ?";

pub(in crate::store) async fn read(
    database: &Database,
    table: &str,
    most: usize,
) -> Result<Option<ForeignTable>, StoreError> {
    let mut session = Session::new(database, Kind::Reader);
    let read = session
        .run(async |conn| read_all(conn, table, most).await)
        .await;
    session.close().await;
    read
}

async fn read_all(
    conn: &mut Conn,
    table: &str,
    most: usize,
) -> Result<Option<ForeignTable>, Fault> {
    let found: Option<u64> = conn.exec_first(IS_THERE, (table,)).await?;
    if found.unwrap_or_default() == 0 {
        return Ok(None);
    }
    let name = table.replace('`', "``");
    let sql = format!("SELECT * FROM `{name}` ORDER BY 1 LIMIT {most}");
    // Asked without values, the server sends every value as a text.
    let mut answer = conn.query_iter(sql).await?;
    let names = answer.columns_ref().iter();
    let columns = names.map(|column| column.name_str().into_owned()).collect();
    let rows: Vec<Row> = answer.collect().await?;
    Ok(Some(ForeignTable {
        columns,
        rows: rows.into_iter().map(texts).collect(),
    }))
}

fn texts(row: Row) -> Vec<Option<String>> {
    let values = row.unwrap_raw().into_iter();
    values.map(|value| value.and_then(text)).collect()
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        other => Some(other.as_sql(true)),
    }
}
