//! The two streams of a command. Data goes to stdout in the format asked for, words to stderr. A stdout that
//! nobody reads any more ends the command quietly with exit code 0: what was read was all that was wanted, and
//! `ucron ls | head -1` is no failure under `set -o pipefail`.

use std::io::Write;

use serde_json::{Value, json};

use super::style::Style;
use super::table::{self, Table};
use super::{clean, time};
use crate::cli::args::Format;
use crate::cli::fault::Fault;
use crate::rule::UnixMs;

/// Stdout and stderr of a command.
pub struct Out {
    stdout: Box<dyn Write + Send>,
    stderr: Box<dyn Write + Send>,
    /// How things are printed.
    pub style: Style,
}

impl Out {
    /// Writes to these.
    pub fn new(stdout: Box<dyn Write + Send>, stderr: Box<dyn Write + Send>, style: Style) -> Self {
        Self {
            stdout,
            stderr,
            style,
        }
    }

    /// The time now.
    pub fn now(&self) -> UnixMs {
        (self.style.clock)()
    }

    /// A line of data.
    pub fn line(&mut self, text: &str) -> Result<(), Fault> {
        writeln!(self.stdout, "{text}")?;
        Ok(())
    }

    /// A line of data of a stream: it is on its way when this returns.
    pub fn live(&mut self, text: &str) -> Result<(), Fault> {
        self.line(text)?;
        self.flush()
    }

    /// Bytes of data as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.stdout.write_all(bytes)?;
        self.flush()
    }

    /// Everything written is on its way.
    pub fn flush(&mut self) -> Result<(), Fault> {
        self.stdout.flush()?;
        Ok(())
    }

    /// Words for people; programs that read JSON are spared them.
    pub fn say(&mut self, words: &str) {
        if !self.style.is_json() {
            self.words(words);
        }
    }

    /// An object of a stream, or a single one: on its way when this returns.
    pub fn json(&mut self, object: &Value) -> Result<(), Fault> {
        self.live(&clean::json(object))
    }

    /// Words that programs shall have too, beside their data.
    pub fn tell(&mut self, words: &str) {
        self.words(words);
    }

    /// A list of plain values: an array, or one a line.
    pub fn values(&mut self, values: Vec<Value>) -> Result<(), Fault> {
        if self.style.format == Format::Json && !self.style.quiet {
            self.line(&clean::json(&Value::Array(values)))?;
            return self.flush();
        }
        for value in &values {
            match value {
                Value::String(text) if self.style.quiet => self.line(text)?,
                value => self.line(&clean::json(value))?,
            }
        }
        self.flush()
    }

    /// A line of bytes that need not be text, after a mark.
    pub fn raw_line(&mut self, mark: &[u8], line: &[u8]) -> Result<(), Fault> {
        self.stdout.write_all(mark)?;
        self.stdout.write_all(line)?;
        self.stdout.write_all(b"\n")?;
        Ok(())
    }

    fn words(&mut self, words: &str) {
        // Words that cannot be written cannot be told either; the exit code still says how it ended.
        let _ = writeln!(self.stderr, "{}", clean::lines(words)).and_then(|()| self.stderr.flush());
    }

    /// What was wrong, and what to do next.
    pub fn fault(&mut self, fault: &Fault) {
        // What was written before comes first, also where both go to one terminal.
        let _ = self.stdout.flush();
        if self.style.is_json() {
            let json = json!({
                "code": fault.code,
                "message": clean::lines(&fault.message),
                "hint": fault.hint,
            });
            self.words(&clean::json(&json));
            return;
        }
        self.words(&format!("ucron: {}", fault.message));
        if let Some(hint) = &fault.hint {
            self.words(&format!("hint: {hint}"));
        }
    }

    /// Things, in the format asked for.
    pub fn list(&mut self, table: &Table, mut rows: Vec<Value>) -> Result<(), Fault> {
        for field in self.style.columns.iter().flatten() {
            table::check_field(table, &rows, field, "--columns")?;
        }
        self.sort(table, &mut rows)?;
        if self.style.quiet {
            for id in rows.iter().filter_map(|row| row[table.id].as_str()) {
                writeln!(self.stdout, "{id}")?;
            }
            return self.flush();
        }
        match self.style.format {
            Format::Json => self.line(&clean::json(&Value::Array(rows)))?,
            Format::Jsonl => {
                for row in &rows {
                    self.line(&clean::json(row))?;
                }
            }
            Format::Table => {
                for line in table::render(table, &rows, &self.style)? {
                    self.line(&line)?;
                }
            }
        }
        self.flush()
    }

    fn sort(&self, table: &Table, rows: &mut [Value]) -> Result<(), Fault> {
        let Some((field, reverse)) = &self.style.sort else {
            return Ok(());
        };
        table::check_field(table, rows, field, "--sort")?;
        rows.sort_by(|a, b| {
            let order = compare(&a[field], &b[field]);
            if *reverse { order.reverse() } else { order }
        });
        Ok(())
    }

    /// One thing with all its fields: an object, or a line per field, these first.
    pub fn object(&mut self, id: &str, first: &[&str], object: &Value) -> Result<(), Fault> {
        if self.style.quiet {
            if let Some(id) = object[id].as_str() {
                self.line(id)?;
            }
            return self.flush();
        }
        if self.style.is_json() {
            self.line(&clean::json(object))?;
            return self.flush();
        }
        let Value::Object(fields) = object else {
            return Ok(());
        };
        let width = fields.keys().map(String::len).max().unwrap_or(0);
        let rest = fields
            .keys()
            .map(String::as_str)
            .filter(|field| !first.contains(field));
        // The end of a run's output is no field among others: it follows them as it is.
        for field in first
            .iter()
            .copied()
            .chain(rest)
            .filter(|field| *field != "tail")
        {
            let value = &object[field];
            let cell = match field {
                // A whole object has room for the whole id.
                "run_id" => value.as_str().unwrap_or("-").to_owned(),
                field => table::cell(field, value, &self.style),
            };
            writeln!(self.stdout, "{field:width$}  {cell}")?;
        }
        if let Some(tail) = object["tail"].as_str() {
            for line in tail.lines() {
                writeln!(self.stdout, "| {}", clean::output(line))?;
            }
        }
        self.flush()
    }

    /// `17:50:00 (in 8s)`, or with the date where it is a day or more away.
    pub fn instant(&self, at: UnixMs) -> String {
        match time::relative(at, self.now()) {
            Some(relative) => format!("{} ({relative})", &time::clock(at, &self.style.zone)[..8]),
            None => time::stamp(at, &self.style.zone),
        }
    }
}

/// Numbers by value, texts by their bytes, what is not known last.
fn compare(a: &Value, b: &Value) -> std::cmp::Ordering {
    let rank = |value: &Value| match value {
        Value::Null => 3,
        Value::Number(_) => 1,
        Value::String(_) => 2,
        _ => 0,
    };
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a
            .as_f64()
            .unwrap_or(0.0)
            .total_cmp(&b.as_f64().unwrap_or(0.0)),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        _ if rank(a) == rank(b) => a.to_string().cmp(&b.to_string()),
        _ => rank(a).cmp(&rank(b)),
    }
}
