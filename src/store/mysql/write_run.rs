//! What happens to a run's row: planned once, revised or given away while open, ended once. The guards stand
//! in the statements, so a repeated or late change finds nothing to change.

use std::time::Duration;

use mysql_async::Value;

use super::row::int;
use super::script::Script;
use crate::model::{AgentId, Ending, Revision, RunId, UnixMs};
use crate::store::RunRow;

/// Characters of a run's id by which its end is found.
pub(super) const END: usize = 8;

const PLAN: &str =
    "INSERT INTO run (run_id, run_id_back, task, revision, target, agent, slot, cause,
    scheduled_at, start_before, delay_ms) VALUES";
const KEEP: &str = "ON DUPLICATE KEY UPDATE seq = seq";
/// A keeper may report a run of a task of which the store knows nothing (it was restored): without a task it
/// has no place in the history.
const RECORD: &str =
    "INSERT INTO run (run_id, run_id_back, task, revision, target, agent, slot, cause,
        scheduled_at, start_before, delay_ms)
    SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM DUAL WHERE EXISTS (SELECT 1 FROM task WHERE id = ?)
    ON DUPLICATE KEY UPDATE seq = run.seq";

/// A run already there stays as it is.
pub(super) fn plan(script: &mut Script, row: &RunRow) {
    script.add_row(PLAN, &values(row), KEEP);
}

/// A run already there, or of a task that the store does not know, changes nothing.
pub(super) fn plan_of_known(script: &mut Script, row: &RunRow) {
    let mut values = values(row);
    values.push(row.run.task.as_str().into());
    script.add(RECORD, &values);
}

/// Planned, if it was not, and ended.
pub(super) fn record(script: &mut Script, row: &RunRow, ending: &Ending) {
    plan_of_known(script, row);
    end(script, &row.run.run_id, None, ending);
}

fn values(row: &RunRow) -> Vec<Value> {
    let run = &row.run;
    vec![
        run.run_id.as_str().into(),
        backwards(run.run_id.as_str()).into(),
        run.task.as_str().into(),
        run.revision.0.into(),
        row.target.as_ref().map_or("", AgentId::as_str).into(),
        row.agent.as_ref().map(AgentId::as_str).into(),
        run.slot.0.into(),
        run.cause.as_str().into(),
        run.scheduled_at.0.into(),
        row.start_before.0.into(),
        millis(run.delay).into(),
    ]
}

fn millis(span: Duration) -> i64 {
    int(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

/// The end of an id, last character first: what ends alike sorts together.
pub(super) fn backwards(id: &str) -> String {
    id.chars().rev().take(END).collect()
}

// A run is found by `unsettled`, which is its id while its ending may change. The outcome is asked for in a way
// that leads to no index: another one would only be a longer way.

pub(super) const REVISE: &str = "UPDATE run SET revision = ?, delay_ms = ?, start_before = ?
    WHERE unsettled = ? AND COALESCE(outcome, '') = ''";

pub(super) fn revise(
    script: &mut Script,
    run: &RunId,
    revision: Revision,
    delay: Duration,
    start_before: UnixMs,
) {
    let values = [
        revision.0.into(),
        millis(delay).into(),
        start_before.0.into(),
        run.as_str().into(),
    ];
    script.add(REVISE, &values);
}

pub(super) const REASSIGN: &str = "UPDATE run SET agent = ?
    WHERE unsettled = ? AND COALESCE(outcome, '') = ''
      AND COALESCE(agent, '') = COALESCE(?, '') AND target = ''";

pub(super) fn reassign(script: &mut Script, run: &RunId, from: Option<&AgentId>, to: &AgentId) {
    let values = [
        to.as_str().into(),
        run.as_str().into(),
        from.map(AgentId::as_str).into(),
    ];
    script.add(REASSIGN, &values);
}

pub(super) const CAUGHT_UP: &str = "UPDATE run SET caught_up = 1 WHERE unsettled = ?";

pub(super) fn catch_up(script: &mut Script, run: &RunId) {
    script.add(CAUGHT_UP, &[run.as_str().into()]);
}

pub(super) const FOLD: &str = "DELETE FROM run WHERE unsettled = ? AND COALESCE(outcome, '') = ''";

/// A span tells its miss.
pub(super) fn fold(script: &mut Script, run: &RunId) {
    script.add(FOLD, &[run.as_str().into()]);
}

/// The first outcome holds, except that `lost` takes the truth, whose reason says what was told before. The columns are
/// set from left to right, so the outcome, on which that and the row's place hang, comes last.
pub(super) const ENDED: &str =
    "UPDATE run SET reason = IF(COALESCE(outcome, '') = 'lost',
          CONCAT(?, ' (told as lost before: ', COALESCE(reason, ''), ')'), ?), exit_code = ?, exit_signal = ?, pid = ?, attempt = ?,
        started_at = ?, finished_at = ?, output_bytes = ?, tail = ?, output_gap = ?, output_cut = ?,
        peak_memory_bytes = ?, cpu_ms = ?, outcome = ?
    WHERE unsettled = ? AND (COALESCE(outcome, '') = '' OR ? <> 'lost')
      AND (? IS NULL OR COALESCE(agent, '') = ?)";

pub(super) fn end(script: &mut Script, run: &RunId, only_of: Option<&AgentId>, ending: &Ending) {
    let only_of: Value = only_of.map(AgentId::as_str).into();
    let outcome: Value = ending.outcome.as_str().into();
    let values = [
        ending.reason.as_str().into(),
        ending.reason.as_str().into(),
        ending.exit_code.into(),
        ending.signal.into(),
        ending.pid.into(),
        ending.attempt.into(),
        ending.started_at.map(|at| at.0).into(),
        ending.finished_at.0.into(),
        ending.output_bytes.map(int).into(),
        ending.tail.as_deref().into(),
        ending.output_gap.map(int).into(),
        ending.output_cut.map(int).into(),
        ending.peak_memory_bytes.map(int).into(),
        ending.cpu_ms.map(int).into(),
        outcome.clone(),
        run.as_str().into(),
        outcome,
        only_of.clone(),
        only_of,
    ];
    script.add(ENDED, &values);
}
