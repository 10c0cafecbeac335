//! The rows of spans: written, found by every question about runs, pruned. What they mean is in `store/span.rs`.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};

use super::fault::Fault;
use super::row::{get, instant, int, number, number_option, text, text_option};
use super::runs::{at_most, one_of};
use super::script::Script;
use crate::model::{AgentId, Revision, Slot, Task, TaskPath, UnixMs};
use crate::store::span::{self, StoredSpan};
use crate::store::{Keep, RunQuery, SpanRow, StoredRun};

const PUT: &str =
    "INSERT INTO span (task, target, slot, from_at, to_at, occurrences, agent, revision,
        rule, timezone, reason, began_at, closed_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON DUPLICATE KEY UPDATE to_at = VALUES(to_at), occurrences = VALUES(occurrences),
        closed_at = VALUES(closed_at)";

/// A span, or what became of it.
pub(super) fn put(script: &mut Script, span: &SpanRow) {
    let values: [Value; 13] = [
        span.task.as_str().into(),
        span.target.as_ref().map_or("", AgentId::as_str).into(),
        span.slot.0.into(),
        span.from.0.into(),
        span.to.0.into(),
        span.count.map(int).into(),
        span.agent.as_ref().map(AgentId::as_str).into(),
        span.revision.0.into(),
        span.rule.text().into(),
        span.zone.name().into(),
        span.reason.as_str().into(),
        span.began_at.0.into(),
        span.closed_at.0.into(),
    ];
    script.add(PUT, &values);
}

/// A span from its row.
pub(super) fn span(row: &Row) -> Result<SpanRow, Fault> {
    let target: String = get(row, "target")?;
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
        reason: get(row, "reason")?,
        began_at: instant(row, "began_at")?,
        closed_at: instant(row, "closed_at")?,
    })
}

fn stored_span(row: &Row) -> Result<StoredSpan, Fault> {
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
pub(super) const UNCOUNTED: &str = "SELECT * FROM span FORCE INDEX (span_uncounted)
    WHERE uncounted IS NOT NULL ORDER BY to_at, task, from_at, target, slot";

/// Puts what spans tell among the runs of a question.
pub(super) async fn merge(
    conn: &mut Conn,
    runs: Vec<StoredRun>,
    query: &RunQuery,
) -> Result<Vec<StoredRun>, Fault> {
    let found_by_id = query.id_suffix.is_some() && !runs.is_empty();
    if found_by_id || !span::is_asked(query) {
        return Ok(runs);
    }
    let mut spans = Vec::new();
    for (sql, values) in questions(query) {
        let rows: Vec<Row> = conn.exec(sql, values).await?;
        for row in &rows {
            spans.push(stored_span(row)?);
        }
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
    let open = (
        "span_uncounted",
        "s.uncounted IS NOT NULL AND s.from_at < ?",
    );
    let beyond = "s.to_at >= ? AND s.from_at < ? AND s.occurrences IS NOT NULL";
    let before = "s.to_at < ? AND s.occurrences IS NOT NULL";
    [
        statement(query, open, &[until], 0),
        statement(query, (index, beyond), &[until, until], 0),
        statement(query, (index, before), &[until], span::most(query)),
    ]
}

fn statement(
    query: &RunQuery,
    (index, bounds): (&str, &str),
    values: &[i64],
    most: u32,
) -> Question {
    let mut conditions = vec![bounds.to_owned()];
    let mut values: Vec<Value> = values.iter().copied().map(Value::from).collect();
    let mut add = |condition: &str, value: Option<Value>| {
        if let Some(value) = value {
            conditions.push(condition.to_owned());
            values.push(value);
        }
    };
    add("s.to_at >= ?", query.since.map(|at| at.0.into()));
    add(
        "s.task = ?",
        query.task.as_ref().map(|id| id.as_str().into()),
    );
    add(
        "s.agent = ?",
        query.agent.as_ref().map(|id| id.as_str().into()),
    );
    if let Some(groups) = &query.groups {
        conditions.push(one_of("t.gid", groups, &mut values));
    }
    values.push(at_most(most).into());
    let sql = format!(
        "SELECT s.*, t.gid, t.task_name, a.name AS agent_name FROM span s FORCE INDEX ({index})
         STRAIGHT_JOIN task t ON t.id = s.task LEFT JOIN agent a ON a.id = s.agent
         WHERE {} ORDER BY s.to_at DESC LIMIT ?",
        conditions.join(" AND ")
    );
    (sql, values)
}

pub(super) const LAST: &str = "SELECT s.*, t.gid, t.task_name, a.name AS agent_name
    FROM span s FORCE INDEX (span_by_task) STRAIGHT_JOIN task t ON t.id = s.task
    LEFT JOIN agent a ON a.id = s.agent WHERE s.task = ? ORDER BY s.to_at DESC LIMIT 1";

/// The later of a task's newest run and the end of its newest span.
pub(super) async fn last_run(
    conn: &mut Conn,
    task: &Task,
    run: Option<StoredRun>,
) -> Result<Option<StoredRun>, Fault> {
    let row: Option<Row> = conn.exec_first(LAST, (task.id.as_str(),)).await?;
    let span = row.as_ref().map(stored_span).transpose()?;
    let missed = span.and_then(|span| span.last_run());
    Ok(run
        .into_iter()
        .chain(missed)
        .max_by(|a, b| span::order(a).cmp(&span::order(b))))
}

/// Of a living task the newest stays if no run is newer: it is the task's last.
pub(super) const TOO_OLD: &str = "SELECT s.seq FROM span s FORCE INDEX (span_by_time)
    STRAIGHT_JOIN task t ON t.id = s.task
    WHERE s.to_at < ? AND s.occurrences IS NOT NULL
      AND (t.removed_at IS NOT NULL
        OR s.to_at < (SELECT n.to_at FROM span n FORCE INDEX (span_by_task)
          WHERE n.task = s.task ORDER BY n.to_at DESC LIMIT 1)
        OR s.to_at < (SELECT n.scheduled_at FROM run n FORCE INDEX (run_key)
          WHERE n.task = s.task AND COALESCE(n.outcome, '') <> '' ORDER BY n.scheduled_at DESC LIMIT 1))
    LIMIT ?";
/// The oldest span of a task that its number allows.
pub(super) const SPAN_FLOOR: &str =
    "SELECT to_at FROM span FORCE INDEX (span_by_task) WHERE task = ?
    ORDER BY to_at DESC LIMIT 1 OFFSET ?";
pub(super) const BELOW: &str = "SELECT seq FROM span FORCE INDEX (span_by_task)
    WHERE task = ? AND to_at < ? AND occurrences IS NOT NULL LIMIT ?";

/// Numbers of at most `step` spans that are too old.
pub(super) async fn too_old(
    conn: &mut Conn,
    keep: Keep,
    now: UnixMs,
    step: u64,
) -> Result<Vec<i64>, Fault> {
    Ok(conn.exec(TOO_OLD, (now.minus(keep.age).0, step)).await?)
}

/// Numbers of at most `step` spans of a task beyond its number.
pub(super) async fn too_many(
    conn: &mut Conn,
    task: &str,
    keep: Keep,
    oldest_run: Option<i64>,
    step: u64,
) -> Result<Vec<i64>, Fault> {
    let kept = u64::from(keep.per_task.max(1)) - 1;
    let spans: Option<i64> = conn.exec_first(SPAN_FLOOR, (task, kept)).await?;
    let Some(floor) = spans.max(oldest_run) else {
        return Ok(Vec::new());
    };
    Ok(conn.exec(BELOW, (task, floor, step)).await?)
}
