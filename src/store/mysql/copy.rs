//! Whole tables out of the database and into it, and the lease's epoch beside them.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};
use tokio::sync::mpsc;

use super::fault::{Fault, damaged};
use super::row::int;
use super::script::Script;
use crate::model::Epoch;
use crate::store::StoreError;
use crate::store::copy::{Cell, PAGE, Page, TABLES};

/// Sends every table, as of one instant. Not to be tried twice: pages are on their way.
pub(super) async fn read(conn: &mut Conn, pages: &mpsc::Sender<Page>) -> Result<(), Fault> {
    conn.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        .await?;
    for (number, table) in TABLES.iter().enumerate() {
        let columns = table.columns.join(", ");
        let select = format!("SELECT {columns} FROM {}", table.name);
        let mut rows = conn.exec_iter(select, ()).await?;
        let mut page = Vec::new();
        while let Some(row) = rows.next().await? {
            page.push(cells(row)?);
            if page.len() == PAGE {
                send(pages, number, &mut page).await?;
            }
        }
        drop(rows);
        send(pages, number, &mut page).await?;
    }
    Ok(conn.query_drop("COMMIT").await?)
}

/// Where nobody takes the page the copy has failed elsewhere, which is what is told.
async fn send(
    pages: &mpsc::Sender<Page>,
    table: usize,
    rows: &mut Vec<Vec<Cell>>,
) -> Result<(), Fault> {
    let rows = std::mem::take(rows);
    let sent = pages.send(Page { table, rows }).await;
    sent.map_err(|_| StoreError::Closed.into())
}

fn cells(row: Row) -> Result<Vec<Cell>, Fault> {
    row.unwrap().into_iter().map(cell).collect()
}

fn cell(value: Value) -> Result<Cell, Fault> {
    match value {
        Value::NULL => Ok(Cell::Null),
        Value::Int(number) => Ok(Cell::Int(number)),
        Value::Bytes(bytes) => String::from_utf8(bytes).map(Cell::Text).map_err(damaged),
        other => Err(damaged(format!("no column holds {other:?}"))),
    }
}

/// Adds rows, in one transaction.
pub(super) async fn write(conn: &mut Conn, page: &Page) -> Result<(), Fault> {
    let table = &TABLES[page.table];
    let head = format!(
        "INSERT INTO {} ({}) VALUES",
        table.name,
        table.columns.join(", ")
    );
    let mut script = Script::default();
    for row in &page.rows {
        let row: Vec<Value> = row.iter().map(value).collect();
        script.add_row(&head, &row, "");
    }
    conn.query_drop("START TRANSACTION").await?;
    for packet in script.packets("COMMIT") {
        conn.query_drop(packet).await?;
    }
    Ok(())
}

fn value(cell: &Cell) -> Value {
    match cell {
        Cell::Null => Value::NULL,
        Cell::Int(number) => (*number).into(),
        Cell::Text(text) => text.as_str().into(),
    }
}

/// Whether there is no row but in `meta`.
pub(super) async fn is_empty(conn: &mut Conn) -> Result<bool, Fault> {
    for table in TABLES.iter().filter(|table| table.name != "meta") {
        let sql = format!("SELECT 1 FROM {} LIMIT 1", table.name);
        if conn.query_first::<i64, _>(sql).await?.is_some() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Rows deleted in one transaction: small enough that no lock is held for long.
const STEP: u64 = 10_000;

/// Deletes every row but the one named `keep` in `meta`.
pub(super) async fn clear(conn: &mut Conn, keep: &str) -> Result<(), Fault> {
    for table in TABLES.iter().rev().filter(|table| table.name != "meta") {
        loop {
            let sql = format!("DELETE FROM {} LIMIT {STEP}", table.name);
            conn.query_drop(sql).await?;
            if conn.affected_rows() < STEP {
                break;
            }
        }
    }
    Ok(conn
        .exec_drop("DELETE FROM meta WHERE name <> ?", (keep,))
        .await?)
}

/// The last epoch in which there was a lead.
pub(super) async fn epoch(conn: &mut Conn) -> Result<Epoch, Fault> {
    let epoch: Option<i64> = conn
        .query_first("SELECT epoch FROM lease WHERE name = 'center'")
        .await?;
    Ok(Epoch(epoch.unwrap_or(0).unsigned_abs()))
}

/// Lets the next epoch be above this one.
pub(super) async fn raise_epoch_to(conn: &mut Conn, epoch: Epoch) -> Result<(), Fault> {
    const RAISE: &str =
        "INSERT INTO lease (name, holder, epoch, expires_at) VALUES ('center', '', ?, 0)
        ON DUPLICATE KEY UPDATE epoch = GREATEST(epoch, VALUES(epoch))";
    Ok(conn.exec_drop(RAISE, (int(epoch.0),)).await?)
}
