//! Tables for people: columns dropped by priority when narrow, long texts cut, never wrapped. Cells come from
//! the JSON objects of `row`, so that any of their fields can be a column.

use serde_json::Value;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::clean;
use super::style::Style;
use super::time;
use crate::cli::fault::Fault;
use crate::model::Execute;
use crate::rule::UnixMs;

/// What is listed: the field that names a thing, and the columns that are shown by default.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// The field that `-q` writes.
    pub id: &'static str,
    /// The columns, from left to right.
    pub columns: &'static [Column],
}

/// A column shown by default.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The field.
    pub field: &'static str,
    /// Its title.
    pub title: &'static str,
    /// Higher ones are dropped first; 0 never.
    pub priority: u8,
}

/// A short way to write a column.
pub const fn column(field: &'static str, title: &'static str, priority: u8) -> Column {
    Column {
        field,
        title,
        priority,
    }
}

/// Spaces between columns.
const GAP: usize = 2;
/// A text that may be long is cut down to this before another column is dropped.
const SHORTEST: usize = 16;

struct Shown {
    field: String,
    title: String,
    priority: u8,
    width: usize,
    cells: Vec<String>,
    right: bool,
}

/// The lines of a table.
pub fn render(table: &Table, rows: &[Value], style: &Style) -> Result<Vec<String>, Fault> {
    let mut columns = choose(table, rows, style)?;
    name_the_zone(&mut columns, rows, style);
    for column in &mut columns {
        let cells = column.cells.iter().map(|cell| cell.width());
        let title = if style.headers {
            column.title.width()
        } else {
            0
        };
        column.width = cells.max().unwrap_or(0).max(title);
    }
    if let Some(width) = style.width {
        fit(&mut columns, width);
    }
    let titles: Vec<&str> = columns.iter().map(|column| column.title.as_str()).collect();
    let mut lines = Vec::with_capacity(rows.len() + 1);
    if style.headers {
        lines.push(lay(&columns, &titles));
    }
    for row in 0..rows.len() {
        let cells: Vec<&str> = columns
            .iter()
            .map(|column| column.cells[row].as_str())
            .collect();
        lines.push(lay(&columns, &cells));
    }
    Ok(lines)
}

fn choose(table: &Table, rows: &[Value], style: &Style) -> Result<Vec<Shown>, Fault> {
    let Some(fields) = &style.columns else {
        let columns = table.columns.iter();
        return Ok(columns
            .map(|column| shown(column.field, column.title, column.priority, rows, style))
            .collect());
    };
    fields
        .iter()
        .map(|field| {
            check_field(table, rows, field, "--columns")?;
            let known = table.columns.iter().find(|column| column.field == field);
            let title = known.map_or_else(|| title(field), |column| column.title.to_owned());
            Ok(shown(field, &title, 0, rows, style))
        })
        .collect()
}

/// Refuses a field that the rows do not have.
pub fn check_field(table: &Table, rows: &[Value], field: &str, flag: &str) -> Result<(), Fault> {
    let known = match rows.first() {
        Some(Value::Object(fields)) => fields.keys().map(String::as_str).collect(),
        _ => table
            .columns
            .iter()
            .map(|column| column.field)
            .collect::<Vec<_>>(),
    };
    if known.contains(&field) || rows.is_empty() {
        return Ok(());
    }
    let text = format!("`{flag}` names the unknown field `{}`", clean::line(field));
    Err(Fault::usage(text).hint(format!("fields are {}", known.join(", "))))
}

fn title(field: &str) -> String {
    field.to_uppercase().replace('_', " ")
}

fn shown(field: &str, title: &str, priority: u8, rows: &[Value], style: &Style) -> Shown {
    let cells = rows
        .iter()
        .map(|row| cell(field, &row[field], style))
        .collect();
    Shown {
        field: field.to_owned(),
        title: title.to_owned(),
        priority,
        width: 0,
        cells,
        right: rows.iter().any(|row| row[field].is_number()),
    }
}

/// The first column that shows an absolute time names its zone.
fn name_the_zone(columns: &mut [Shown], rows: &[Value], style: &Style) {
    let now = (style.clock)();
    let absolute = columns.iter_mut().find(|column| {
        is_instant(&column.field)
            && rows.iter().any(|row| {
                instant(&row[&column.field]).is_some_and(|at| time::relative(at, now).is_none())
            })
    });
    if let Some(column) = absolute {
        column.title = format!("{} ({})", column.title, style.zone.name());
    }
}

fn is_instant(field: &str) -> bool {
    field.ends_with("_at") || matches!(field, "at" | "frozen_until" | "may_fire_until")
}

fn instant(value: &Value) -> Option<UnixMs> {
    value.as_str()?.parse().ok()
}

/// A field's text in a table.
pub fn cell(field: &str, value: &Value, style: &Style) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => match number.as_i64() {
            Some(ms) if field.ends_with("_ms") => time::millis(ms),
            _ => number.to_string(),
        },
        Value::String(text) if field == "run_id" => text[text.len().saturating_sub(8)..].to_owned(),
        Value::String(text) if is_instant(field) => at(text, style),
        Value::String(text) => text.clone(),
        Value::Array(_) if field == "execute" => {
            let execute = serde_json::from_value::<Execute>(value.clone());
            execute.map_or_else(|_| value.to_string(), |execute| execute.to_string())
        }
        Value::Array(items) => match items.as_slice() {
            [] => "-".to_owned(),
            items => items.iter().map(word).collect::<Vec<_>>().join(","),
        },
        Value::Object(run) if field == "last_run" => match &run["outcome"] {
            Value::String(outcome) => outcome.clone(),
            _ => "running".to_owned(),
        },
        Value::Object(fields) if fields.is_empty() => "-".to_owned(),
        Value::Object(fields) => {
            let pairs = fields
                .iter()
                .map(|(name, value)| format!("{name}={}", word(value)));
            pairs.collect::<Vec<_>>().join(",")
        }
    };
    clean::line(&text)
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let words: Vec<String> = fields.values().map(word).collect();
            words.join(":")
        }
        other => other.to_string(),
    }
}

fn at(text: &str, style: &Style) -> String {
    let Ok(at) = text.parse::<UnixMs>() else {
        return text.to_owned();
    };
    time::relative(at, (style.clock)()).unwrap_or_else(|| time::stamp(at, &style.zone))
}

/// Texts that may be long; they are cut before other columns are dropped.
fn is_long(field: &str) -> bool {
    matches!(
        field,
        "reason"
            | "execute"
            | "note"
            | "rule"
            | "before"
            | "after"
            | "subject"
            | "groups"
            | "agents"
    )
}

/// Drops columns, then cuts texts, until a line fits.
fn fit(columns: &mut Vec<Shown>, width: usize) {
    let least = |columns: &[Shown]| {
        let widths = columns.iter().map(|column| {
            if is_long(&column.field) {
                column.width.min(SHORTEST)
            } else {
                column.width
            }
        });
        total(widths)
    };
    while least(columns) > width {
        let dropped = columns
            .iter()
            .enumerate()
            .max_by_key(|(_, column)| column.priority);
        match dropped {
            Some((at, column)) if column.priority > 0 => drop(columns.remove(at)),
            _ => break,
        }
    }
    while total(columns.iter().map(|column| column.width)) > width {
        let long = columns
            .iter()
            .any(|column| is_long(&column.field) && column.width > SHORTEST);
        let widest = columns
            .iter_mut()
            .filter(|column| !long || is_long(&column.field))
            .max_by_key(|column| column.width);
        match widest {
            Some(column) if column.width > 1 => column.width -= 1,
            _ => break,
        }
    }
}

fn total(widths: impl Iterator<Item = usize>) -> usize {
    widths
        .map(|width| width + GAP)
        .sum::<usize>()
        .saturating_sub(GAP)
}

fn lay(columns: &[Shown], cells: &[&str]) -> String {
    let mut line = String::new();
    for (column, cell) in columns.iter().zip(cells) {
        if !line.is_empty() {
            line.push_str("  ");
        }
        let cell = cut(cell, column.width);
        let pad = " ".repeat(column.width.saturating_sub(cell.width()));
        let (before, after) = if column.right {
            (pad.as_str(), "")
        } else {
            ("", pad.as_str())
        };
        line.push_str(before);
        line.push_str(&cell);
        line.push_str(after);
    }
    line.truncate(line.trim_end().len());
    line
}

/// The text, or as much of it as fits before an ellipsis.
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > width {
            break;
        }
        kept.push(c);
    }
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::print::style::tests::style;

    const THINGS: Table = Table {
        id: "name",
        columns: &[
            column("name", "NAME", 0),
            column("state", "STATE", 1),
            column("next_at", "NEXT", 2),
            column("late_ms", "LATE", 4),
            column("reason", "REASON", 3),
        ],
    };

    fn things() -> Vec<Value> {
        vec![
            json!({"name": "数据库/备份", "state": "online", "next_at": "2026-11-22T16:50:05.000Z", "late_ms": 3, "reason": "ok"}),
            json!({"name": "web/probe", "state": null, "next_at": "2027-01-01T00:00:00.000Z", "late_ms": null, "reason": "agent a1 silent\u{1b}[2J since a long time, as nobody has seen it"}),
        ]
    }

    fn check(width: Option<usize>, change: impl Fn(&mut Style), wanted: &[&str]) {
        let mut style = style();
        style.width = width;
        change(&mut style);
        let lines = render(&THINGS, &things(), &style).unwrap();
        assert_eq!(lines, wanted);
        for line in &lines {
            assert!(line.width() <= width.unwrap_or(usize::MAX), "{line}");
        }
    }

    #[test]
    fn a_table_fits_every_width() {
        check(
            Some(200),
            |_| {},
            &[
                "NAME         STATE   NEXT (UTC)           LATE  REASON",
                "数据库/备份  online  in 5s                 3ms  ok",
                "web/probe    -       2027-01-01 00:00:00     -  agent a1 silent[2J since a long time, as nobody has seen it",
            ],
        );
        check(
            Some(80),
            |_| {},
            &[
                "NAME         STATE   NEXT (UTC)           LATE  REASON",
                "数据库/备份  online  in 5s                 3ms  ok",
                "web/probe    -       2027-01-01 00:00:00     -  agent a1 silent[2J since a long…",
            ],
        );
        check(
            Some(40),
            |_| {},
            &[
                "NAME         STATE   NEXT (UTC)",
                "数据库/备份  online  in 5s",
                "web/probe    -       2027-01-01 00:00:00",
            ],
        );
        check(Some(5), |_| {}, &["NAME", "数据…", "web/…"]);
    }

    #[test]
    fn columns_and_titles_are_chosen() {
        check(
            None,
            |style| {
                style.headers = false;
                style.columns = Some(vec!["reason".into(), "name".into()]);
            },
            &[
                "ok                                                           数据库/备份",
                "agent a1 silent[2J since a long time, as nobody has seen it  web/probe",
            ],
        );
        let mut style = style();
        style.columns = Some(vec!["nam".into()]);
        let fault = render(&THINGS, &things(), &style).unwrap_err();
        assert_eq!(fault.message, "`--columns` names the unknown field `nam`");
        assert_eq!(
            fault.hint.unwrap(),
            "fields are late_ms, name, next_at, reason, state"
        );
    }
}
