//! What happens to a run's row: planned once, revised or given away while open, ended once. The guards stand
//! in the statements, so a repeated or late change finds nothing to change.

use std::time::Duration;

use rusqlite::{Result, Transaction, params};

use super::row::int;
use super::write::execute;
use crate::model::{AgentId, Ending, Revision, RunId, UnixMs};
use crate::store::RunRow;

/// Characters of a run's id by which its end is found.
pub(super) const END: usize = 8;

const PLAN: &str =
    "INSERT INTO run (run_id, run_id_back, task, revision, target, agent, slot, cause,
        scheduled_at, start_before, delay_ms)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT DO NOTHING";
/// A keeper may report a run of a task of which the store knows nothing (it was restored): without a task it
/// has no place in the history.
pub(super) const RECORD: &str =
    "INSERT INTO run (run_id, run_id_back, task, revision, target, agent, slot, cause,
        scheduled_at, start_before, delay_ms)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11 WHERE EXISTS (SELECT 1 FROM task WHERE id = ?3)
    ON CONFLICT DO NOTHING";

/// A run already there stays as it is.
pub(super) fn plan(tx: &Transaction, row: &RunRow) -> Result<()> {
    insert(tx, PLAN, row)
}

/// Planned, if it was not, and ended.
pub(super) fn record(tx: &Transaction, row: &RunRow, ending: &Ending) -> Result<()> {
    insert(tx, RECORD, row)?;
    end(tx, &row.run.run_id, None, ending)
}

pub(super) fn insert(tx: &Transaction, sql: &str, row: &RunRow) -> Result<()> {
    let run = &row.run;
    let values = params![
        run.run_id.as_str(),
        backwards(run.run_id.as_str()),
        run.task.as_str(),
        run.revision.0,
        row.target.as_ref().map_or("", AgentId::as_str),
        row.agent.as_ref().map(AgentId::as_str),
        run.slot.0,
        run.cause.as_str(),
        run.scheduled_at.0,
        row.start_before.0,
        millis(run.delay),
    ];
    execute(tx, sql, values)
}

fn millis(span: Duration) -> i64 {
    int(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

/// The end of an id, last character first: what ends alike sorts together.
pub(super) fn backwards(id: &str) -> String {
    id.chars().rev().take(END).collect()
}

// `outcome IS NULL OR outcome = 'lost'` stands in each statement below as in the index `run_unsettled`, by
// which the run is found.

pub(super) const REVISE: &str = "UPDATE run SET revision = ?2, delay_ms = ?3, start_before = ?4
    WHERE run_id = ?1 AND (outcome IS NULL OR outcome = 'lost') AND outcome IS NULL";

pub(super) fn revise(
    tx: &Transaction,
    run: &RunId,
    revision: Revision,
    delay: Duration,
    start_before: UnixMs,
) -> Result<()> {
    let values = params![run.as_str(), revision.0, millis(delay), start_before.0];
    execute(tx, REVISE, values)
}

pub(super) const REASSIGN: &str = "UPDATE run SET agent = ?3
    WHERE run_id = ?1 AND (outcome IS NULL OR outcome = 'lost') AND outcome IS NULL
      AND agent IS ?2 AND target = ''";

pub(super) fn reassign(
    tx: &Transaction,
    run: &RunId,
    from: Option<&AgentId>,
    to: &AgentId,
) -> Result<()> {
    let values = params![run.as_str(), from.map(AgentId::as_str), to.as_str()];
    execute(tx, REASSIGN, values)
}

pub(super) const CAUGHT_UP: &str = "UPDATE run SET caught_up = 1
    WHERE run_id = ?1 AND (outcome IS NULL OR outcome = 'lost')";

pub(super) fn catch_up(tx: &Transaction, run: &RunId) -> Result<()> {
    execute(tx, CAUGHT_UP, params![run.as_str()])
}

pub(super) const FOLD: &str = "DELETE FROM run
    WHERE run_id = ?1 AND (outcome IS NULL OR outcome = 'lost') AND outcome IS NULL";

/// A span tells its miss.
pub(super) fn fold(tx: &Transaction, run: &RunId) -> Result<()> {
    execute(tx, FOLD, params![run.as_str()])
}

/// The first outcome holds, except that `lost` takes the truth, whose reason says what was told before.
pub(super) const ENDED: &str =
    "UPDATE run SET outcome = ?2,
        reason = CASE WHEN outcome = 'lost' THEN ?3 || ' (told as lost before: ' || reason || ')' ELSE ?3 END, exit_code = ?4, exit_signal = ?5, pid = ?6,
        attempt = ?7, started_at = ?8, finished_at = ?9, output_bytes = ?10, tail = ?11,
        peak_memory_bytes = ?13, cpu_ms = ?14, output_gap = ?15, output_cut = ?16
    WHERE run_id = ?1 AND (outcome IS NULL OR outcome = 'lost') AND (outcome IS NULL OR ?2 <> 'lost')
      AND (?12 IS NULL OR agent IS ?12)";

pub(super) fn end(
    tx: &Transaction,
    run: &RunId,
    only_of: Option<&AgentId>,
    ending: &Ending,
) -> Result<()> {
    let values = params![
        run.as_str(),
        ending.outcome.as_str(),
        ending.reason,
        ending.exit_code,
        ending.signal,
        ending.pid,
        ending.attempt,
        ending.started_at.map(|at| at.0),
        ending.finished_at.0,
        ending.output_bytes.map(int),
        ending.tail,
        only_of.map(AgentId::as_str),
        ending.peak_memory_bytes.map(int),
        ending.cpu_ms.map(int),
        ending.output_gap.map(int),
        ending.output_cut.map(int),
    ];
    execute(tx, ENDED, values)
}
