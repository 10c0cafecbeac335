//! The rows of spans: written, found by every question about runs, pruned. What they mean is in `store/span.rs`.

use rusqlite::types::Value;
use rusqlite::{Connection, Result, Row, Transaction, params, params_from_iter};

use super::row::{instant, int, number, number_option, text, text_option};
use super::runs::at_most;
use super::write::{execute, json};
use crate::model::{AgentId, Revision, Slot, Task, TaskPath, UnixMs};
use crate::store::span::{self, StoredSpan};
use crate::store::{Keep, RunQuery, SpanRow, StoreError, StoredRun};

const PUT: &str =
    "INSERT INTO span (task, target, slot, from_at, to_at, occurrences, agent, revision,
        rule, timezone, reason, began_at, closed_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
    ON CONFLICT (task, target, slot, from_at) DO UPDATE SET to_at = excluded.to_at,
        occurrences = excluded.occurrences, closed_at = excluded.closed_at";

/// A span, or what became of it.
pub(super) fn put(tx: &Transaction, span: &SpanRow) -> Result<()> {
    let values = params![
        span.task.as_str(),
        span.target.as_ref().map_or("", AgentId::as_str),
        span.slot.0,
        span.from.0,
        span.to.0,
        span.count.map(int),
        span.agent.as_ref().map(AgentId::as_str),
        span.revision.0,
        span.rule.text(),
        span.zone.name(),
        span.reason,
        span.began_at.0,
        span.closed_at.0,
    ];
    execute(tx, PUT, values)
}

/// A span from its row.
pub(super) fn span(row: &Row) -> Result<SpanRow> {
    let target: String = row.get("target")?;
    Ok(SpanRow {
        task: text(row, "task")?,
        revision: Revision(number(row, "revision")?),
        target: match target.as_str() {
            "" => None,
            _ => Some(text(row, "target")?),
        },
        agent: text_option(row, "agent")?,
        slot: Slot(number(row, "slot")?),
        rule: text(row, "rule")?,
        zone: text(row, "timezone")?,
        from: instant(row, "from_at")?,
        to: instant(row, "to_at")?,
        count: number_option(row, "occurrences")?,
        reason: row.get("reason")?,
        began_at: instant(row, "began_at")?,
        closed_at: instant(row, "closed_at")?,
    })
}

fn stored_span(row: &Row) -> Result<StoredSpan> {
    Ok(StoredSpan {
        row: span(row)?,
        path: TaskPath {
            group: text(row, "gid")?,
            name: text(row, "task_name")?,
        },
        agent_name: text_option(row, "agent_name")?,
    })
}

/// Those that are not counted yet.
pub(super) const UNCOUNTED: &str = "SELECT * FROM span INDEXED BY span_uncounted
    WHERE occurrences IS NULL ORDER BY to_at, task, from_at, target, slot";

/// Puts what spans tell among the runs of a question.
pub(super) fn merge(
    tx: &Connection,
    runs: Vec<StoredRun>,
    query: &RunQuery,
) -> std::result::Result<Vec<StoredRun>, StoreError> {
    let found_by_id = query.id_suffix.is_some() && !runs.is_empty();
    if found_by_id || !span::is_asked(query) {
        return Ok(runs);
    }
    let mut spans = Vec::new();
    for question in questions(query) {
        spans.extend(select(tx, question)?);
    }
    Ok(span::merge(runs, &spans, query))
}

type Question = (String, Vec<Value>);

/// What is asked for spans: those that are not counted, those that reach beyond the end of what is asked, and the
/// newest before it.
pub(super) fn questions(query: &RunQuery) -> [Question; 3] {
    let until = span::until(query).0;
    let index = match query {
        RunQuery { task: Some(_), .. } => "span_by_task",
        RunQuery { agent: Some(_), .. } => "span_by_agent",
        _ => "span_by_time",
    };
    let open = ("span_uncounted", "s.occurrences IS NULL AND s.from_at < ?");
    let beyond = "s.to_at >= ? AND s.from_at < ? AND +s.occurrences IS NOT NULL";
    let before = "s.to_at < ? AND +s.occurrences IS NOT NULL";
    [
        statement(query, open, &[until], 0),
        statement(query, (index, beyond), &[until, until], 0),
        statement(query, (index, before), &[until], span::most(query)),
    ]
}

fn select(
    tx: &Connection,
    (sql, values): Question,
) -> std::result::Result<Vec<StoredSpan>, StoreError> {
    let mut select = tx.prepare_cached(&sql)?;
    let rows = select.query_map(params_from_iter(values), stored_span)?;
    Ok(rows.collect::<Result<_>>()?)
}

fn statement(
    query: &RunQuery,
    (index, bounds): (&str, &str),
    values: &[i64],
    most: u32,
) -> Question {
    let mut conditions = vec![bounds];
    let mut values: Vec<Value> = values.iter().copied().map(Value::from).collect();
    let mut add = |condition, value: Option<Value>| {
        if let Some(value) = value {
            conditions.push(condition);
            values.push(value);
        }
    };
    add("s.to_at >= ?", query.since.map(|at| at.0.into()));
    add(
        "s.task = ?",
        query.task.as_ref().map(|id| id.to_string().into()),
    );
    add(
        "s.agent = ?",
        query.agent.as_ref().map(|id| id.to_string().into()),
    );
    let groups = query.groups.as_ref().map(|groups| json(groups).into());
    add("t.gid IN (SELECT value FROM json_each(?))", groups);
    values.push(at_most(most).into());
    let sql = format!(
        "SELECT s.*, t.gid, t.task_name, a.name AS agent_name FROM span s INDEXED BY {index}
         CROSS JOIN task t ON t.id = s.task LEFT JOIN agent a ON a.id = s.agent
         WHERE {} ORDER BY s.to_at DESC LIMIT ?",
        conditions.join(" AND ")
    );
    (sql, values)
}

pub(super) const LAST: &str = "SELECT s.*, t.gid, t.task_name, a.name AS agent_name
    FROM span s INDEXED BY span_by_task CROSS JOIN task t ON t.id = s.task
    LEFT JOIN agent a ON a.id = s.agent WHERE s.task = ?1 ORDER BY s.to_at DESC LIMIT 1";

/// The later of a task's newest run and the end of its newest span.
pub(super) fn last_run(
    tx: &Transaction,
    task: &Task,
    run: Option<StoredRun>,
) -> std::result::Result<Option<StoredRun>, StoreError> {
    let mut select = tx.prepare_cached(LAST)?;
    let mut rows = select.query_map([task.id.as_str()], stored_span)?;
    let missed = rows.next().transpose()?.and_then(|span| span.last_run());
    Ok(run
        .into_iter()
        .chain(missed)
        .max_by(|a, b| span::order(a).cmp(&span::order(b))))
}

/// Of a living task the newest stays if no run is newer: it is the task's last.
pub(super) const TOO_OLD: &str = "SELECT s.rowid FROM span s INDEXED BY span_by_time
    CROSS JOIN task t ON t.id = s.task
    WHERE s.to_at < ?1 AND s.occurrences IS NOT NULL
      AND (t.removed_at IS NOT NULL
        OR EXISTS (SELECT 1 FROM span n INDEXED BY span_by_task WHERE n.task = s.task AND n.to_at > s.to_at)
        OR EXISTS (SELECT 1 FROM run n INDEXED BY run_key WHERE n.task = s.task AND n.scheduled_at > s.to_at
          AND +n.outcome IS NOT NULL))
    LIMIT ?2";
/// Of one task those before the newest so many, and those before the oldest run that its number allows.
pub(super) const TOO_MANY: &str =
    "SELECT rowid FROM span INDEXED BY span_by_task WHERE task = ?1 AND to_at < max(
        coalesce((SELECT to_at FROM span INDEXED BY span_by_task WHERE task = ?1
          ORDER BY to_at DESC LIMIT 1 OFFSET ?2), ?4), ?4)
      AND +occurrences IS NOT NULL LIMIT ?3";

/// Row numbers of at most `step` spans that are too old.
pub(super) fn too_old(tx: &Connection, keep: Keep, now: UnixMs, step: i64) -> Result<Vec<i64>> {
    let mut select = tx.prepare_cached(TOO_OLD)?;
    let found = select.query_map(params![now.minus(keep.age).0, step], |row| row.get(0))?;
    found.collect()
}

/// Row numbers of at most `step` spans of a task beyond its number.
pub(super) fn too_many(
    tx: &Connection,
    task: &str,
    keep: Keep,
    oldest_run: Option<i64>,
    step: i64,
) -> Result<Vec<i64>> {
    let kept = i64::from(keep.per_task.max(1)) - 1;
    let mut select = tx.prepare_cached(TOO_MANY)?;
    let floor = oldest_run.unwrap_or(i64::MIN);
    let found = select.query_map(params![task, kept, step, floor], |row| row.get(0))?;
    found.collect()
}
