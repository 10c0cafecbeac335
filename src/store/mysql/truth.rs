//! A run whose agent tells how it ended, whatever the store says of it: see `store/truth.rs`. The rows are read within
//! the batch's transaction, after everything else of the batch is written.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};

use super::fault::Fault;
use super::row::{get, text_option};
use super::script::Script;
use super::{audit, spans, write_run};
use crate::model::AgentId;
use crate::store::truth::{Told, Truth};
use crate::store::{RunRow, SpanRow};

const TOLD: &str = "SELECT outcome, reason FROM run FORCE INDEX (run_key)
    WHERE task = ? AND scheduled_at = ? AND target = ? AND slot = ? AND cause = ?";
/// Spans of one place do not overlap, but for those of another revision.
const SPANS: &str = "SELECT * FROM span FORCE INDEX (span_key)
    WHERE task = ? AND target = ? AND slot = ? AND from_at <= ? AND to_at >= ?
    ORDER BY from_at DESC LIMIT 8";
const REOPEN: &str = "UPDATE run SET outcome = NULL
    WHERE task = ? AND scheduled_at = ? AND target = ? AND slot = ? AND cause = ?
      AND outcome IN ('missed', 'skipped')";
const REMOVE: &str = "DELETE FROM span WHERE task = ? AND target = ? AND slot = ? AND from_at = ?";

/// Takes it in; a second time it changes nothing.
pub(super) async fn take(conn: &mut Conn, truth: &Truth) -> Result<(), Fault> {
    let (row, caught_up) = truth.planned();
    let told = told(conn, &row).await?;
    let correction = truth.correct(told.as_ref(), spans_of(conn, &row).await?);
    let mut script = Script::default();
    if correction.reopens {
        script.add(REOPEN, &key(&row));
    }
    write_run::plan_of_known(&mut script, &row);
    if caught_up {
        write_run::catch_up(&mut script, &row.run.run_id);
    }
    write_run::end(&mut script, &row.run.run_id, None, &truth.ending);
    for (span, parts) in &correction.cuts {
        script.add(REMOVE, &place(span, span.from.0));
        for part in parts.iter().flatten() {
            spans::put(&mut script, part);
        }
    }
    if let Some(entry) = &correction.audit {
        audit::write(&mut script, entry);
    }
    for packet in script.packets("") {
        conn.query_drop(packet).await?;
    }
    Ok(())
}

fn key(row: &RunRow) -> Vec<Value> {
    vec![
        row.run.task.as_str().into(),
        row.run.scheduled_at.0.into(),
        row.target.as_ref().map_or("", AgentId::as_str).into(),
        row.run.slot.0.into(),
        row.run.cause.as_str().into(),
    ]
}

fn place(span: &SpanRow, from: i64) -> Vec<Value> {
    vec![
        span.task.as_str().into(),
        span.target.as_ref().map_or("", AgentId::as_str).into(),
        span.slot.0.into(),
        from.into(),
    ]
}

async fn told(conn: &mut Conn, row: &RunRow) -> Result<Option<Told>, Fault> {
    let found: Option<Row> = conn.exec_first(TOLD, key(row)).await?;
    let told = |row: Row| {
        let reason: Option<String> = get(&row, "reason")?;
        Ok(Told {
            outcome: text_option(&row, "outcome")?,
            reason: reason.unwrap_or_default(),
        })
    };
    found.map(told).transpose()
}

async fn spans_of(conn: &mut Conn, row: &RunRow) -> Result<Vec<SpanRow>, Fault> {
    let at = row.run.scheduled_at.0;
    let values: Vec<Value> = vec![
        row.run.task.as_str().into(),
        row.target.as_ref().map_or("", AgentId::as_str).into(),
        row.run.slot.0.into(),
        at.into(),
        at.into(),
    ];
    let rows: Vec<Row> = conn.exec(SPANS, values).await?;
    rows.iter().map(spans::span).collect()
}
