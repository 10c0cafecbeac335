//! A run whose agent tells how it ended, whatever the store says of it: see `store/truth.rs`.

use rusqlite::types::Value;
use rusqlite::{OptionalExtension, Transaction, params};

use super::row::text_option;
use super::write::execute;
use super::{audit, spans, write_run};
use crate::model::AgentId;
use crate::store::truth::{Told, Truth};
use crate::store::{RunRow, SpanRow, StoreError};

const TOLD: &str = "SELECT outcome, reason FROM run INDEXED BY run_key
    WHERE task = ?1 AND scheduled_at = ?2 AND target = ?3 AND slot = ?4 AND cause = ?5";
/// Spans of one place do not overlap, but for those of another revision.
const SPANS: &str = "SELECT * FROM span WHERE task = ?1 AND target = ?2 AND slot = ?3
    AND from_at <= ?4 AND to_at >= ?4 ORDER BY from_at DESC LIMIT 8";
const REOPEN: &str = "UPDATE run INDEXED BY run_key SET outcome = NULL
    WHERE task = ?1 AND scheduled_at = ?2 AND target = ?3 AND slot = ?4 AND cause = ?5
      AND outcome IN ('missed', 'skipped')";
const REMOVE: &str =
    "DELETE FROM span WHERE task = ?1 AND target = ?2 AND slot = ?3 AND from_at = ?4";

/// Takes it in; a second time it changes nothing.
pub(super) fn take(tx: &Transaction, truth: &Truth) -> Result<(), StoreError> {
    let (row, caught_up) = truth.planned();
    let told = told(tx, &row)?;
    let correction = truth.correct(told.as_ref(), spans_of(tx, &row)?);
    if correction.reopens {
        execute(tx, REOPEN, rusqlite::params_from_iter(key(&row)))?;
    }
    write_run::insert(tx, write_run::RECORD, &row)?;
    if caught_up {
        write_run::catch_up(tx, &row.run.run_id)?;
    }
    write_run::end(tx, &row.run.run_id, None, &truth.ending)?;
    for (span, parts) in &correction.cuts {
        remove(tx, span)?;
        for part in parts.iter().flatten() {
            spans::put(tx, part)?;
        }
    }
    if let Some(entry) = &correction.audit {
        audit::write(tx, entry)?;
    }
    Ok(())
}

fn key(row: &RunRow) -> [Value; 5] {
    [
        row.run.task.to_string().into(),
        row.run.scheduled_at.0.into(),
        row.target
            .as_ref()
            .map_or("", AgentId::as_str)
            .to_owned()
            .into(),
        i64::from(row.run.slot.0).into(),
        row.run.cause.as_str().to_owned().into(),
    ]
}

fn told(tx: &Transaction, row: &RunRow) -> rusqlite::Result<Option<Told>> {
    let mut select = tx.prepare_cached(TOLD)?;
    let told = select.query_row(rusqlite::params_from_iter(key(row)), |row| {
        let reason: Option<String> = row.get("reason")?;
        Ok(Told {
            outcome: text_option(row, "outcome")?,
            reason: reason.unwrap_or_default(),
        })
    });
    told.optional()
}

fn spans_of(tx: &Transaction, row: &RunRow) -> rusqlite::Result<Vec<SpanRow>> {
    let mut select = tx.prepare_cached(SPANS)?;
    let values = params![
        row.run.task.as_str(),
        row.target.as_ref().map_or("", AgentId::as_str),
        row.run.slot.0,
        row.run.scheduled_at.0,
    ];
    let rows = select.query_map(values, spans::span)?;
    rows.collect()
}

fn remove(tx: &Transaction, span: &SpanRow) -> rusqlite::Result<()> {
    let values = params![
        span.task.as_str(),
        span.target.as_ref().map_or("", AgentId::as_str),
        span.slot.0,
        span.from.0,
    ];
    execute(tx, REMOVE, values)
}
