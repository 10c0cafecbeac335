//! Whole tables out of the file and into it, and the lease's epoch beside them.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use tokio::sync::mpsc;

use super::row::int;
use crate::model::Epoch;
use crate::store::StoreError;
use crate::store::copy::{Cell, PAGE, Page, TABLES, Table};

/// Sends every table, as of one instant.
pub(super) fn read(
    connection: &mut Connection,
    pages: &mpsc::Sender<Page>,
) -> Result<(), StoreError> {
    let tx = connection.transaction()?;
    for (number, table) in TABLES.iter().enumerate() {
        let columns = table.columns.join(", ");
        let mut select = tx.prepare(&format!("SELECT {columns} FROM {}", table.name))?;
        let mut rows = select.query([])?;
        let mut page = Vec::new();
        while let Some(row) = rows.next()? {
            page.push(cells(row, table)?);
            if page.len() == PAGE {
                send(pages, number, &mut page)?;
            }
        }
        send(pages, number, &mut page)?;
    }
    Ok(())
}

/// Where nobody takes the page the copy has failed elsewhere, which is what is told.
fn send(
    pages: &mpsc::Sender<Page>,
    table: usize,
    rows: &mut Vec<Vec<Cell>>,
) -> Result<(), StoreError> {
    let rows = std::mem::take(rows);
    let sent = pages.blocking_send(Page { table, rows });
    sent.map_err(|_| StoreError::Closed)
}

fn cells(row: &Row, table: &Table) -> Result<Vec<Cell>, StoreError> {
    let cell = |index| match row.get_ref(index)? {
        ValueRef::Null => Ok(Cell::Null),
        ValueRef::Integer(number) => Ok(Cell::Int(number)),
        other => Ok(Cell::Text(
            other
                .as_str()
                .map_err(|e| StoreError::Corrupt {
                    cause: e.to_string(),
                })?
                .to_owned(),
        )),
    };
    (0..table.columns.len()).map(cell).collect()
}

/// Adds rows.
pub(super) fn write(connection: &mut Connection, page: &Page) -> Result<(), StoreError> {
    let table = &TABLES[page.table];
    let marks = vec!["?"; table.columns.len()].join(", ");
    let sql = format!(
        "INSERT INTO {} ({}) VALUES ({marks})",
        table.name,
        table.columns.join(", ")
    );
    let tx = connection.transaction()?;
    let mut insert = tx.prepare_cached(&sql)?;
    for row in &page.rows {
        insert.execute(params_from_iter(row.iter().map(value)))?;
    }
    drop(insert);
    Ok(tx.commit()?)
}

fn value(cell: &Cell) -> rusqlite::types::Value {
    match cell {
        Cell::Null => rusqlite::types::Value::Null,
        Cell::Int(number) => (*number).into(),
        Cell::Text(text) => text.clone().into(),
    }
}

/// Whether there is no row but in `meta`.
pub(super) fn is_empty(connection: &mut Connection) -> Result<bool, StoreError> {
    for table in TABLES.iter().filter(|table| table.name != "meta") {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {})", table.name);
        if connection.query_row(&sql, [], |row| row.get(0))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Deletes every row but the one named `keep` in `meta`.
pub(super) fn clear(connection: &mut Connection, keep: &str) -> Result<(), StoreError> {
    let tx = connection.transaction()?;
    for table in TABLES.iter().rev().filter(|table| table.name != "meta") {
        tx.execute(&format!("DELETE FROM {}", table.name), [])?;
    }
    tx.execute("DELETE FROM meta WHERE name <> ?1", [keep])?;
    Ok(tx.commit()?)
}

/// The last epoch in which there was a lead.
pub(super) fn epoch(connection: &mut Connection) -> Result<Epoch, StoreError> {
    let epoch: Option<i64> = connection
        .query_row("SELECT epoch FROM lease WHERE name = 'center'", [], |row| {
            row.get(0)
        })
        .optional()?;
    Ok(Epoch(epoch.unwrap_or(0).unsigned_abs()))
}

/// Lets the next epoch be above this one.
pub(super) fn raise_epoch_to(connection: &mut Connection, epoch: Epoch) -> Result<(), StoreError> {
    const RAISE: &str =
        "INSERT INTO lease (name, holder, epoch, expires_at) VALUES ('center', '', ?1, 0)
        ON CONFLICT (name) DO UPDATE SET epoch = max(epoch, excluded.epoch)";
    connection.execute(RAISE, params![int(epoch.0)])?;
    Ok(())
}
