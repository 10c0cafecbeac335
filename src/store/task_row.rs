//! A task as columns: what has a column of its own, and the rest of its spec as JSON. The same for every
//! database. Reading lays the stored JSON over the defaults, so a policy added later has its default in old rows.

use std::time::Duration;

use serde_json::{Map, Value};

use super::StoreError;
use crate::model::{Execute, Task, TaskSpec, UserName, Work};
use crate::rule::Rule;

/// The columns of a task's spec.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SpecColumns {
    pub(super) rule: String,
    /// The line where `shell`, else the vector as a JSON array.
    pub(super) execute: String,
    pub(super) shell: bool,
    pub(super) run_user: String,
    pub(super) timeout_ms: Option<i64>,
    pub(super) processes: i64,
    /// Everything else.
    pub(super) spec: String,
}

/// Fields of the work that stand in columns and therefore not in the JSON.
const IN_COLUMNS: [&str; 4] = ["execute", "run_user", "timeout_ms", "processes"];

impl SpecColumns {
    /// Splits a task's spec.
    pub(super) fn of(task: &Task) -> Result<Self, StoreError> {
        let work = &task.spec.work;
        let (mut rest, rule) = split(&task.spec).ok_or_else(|| StoreError::Statement {
            cause: format!("the spec of task `{}` has no JSON form", task.path()),
        })?;
        if let Some(Value::Object(work)) = rest.get_mut("work") {
            work.retain(|field, _| !IN_COLUMNS.contains(&field.as_str()));
        }
        let (execute, shell) = match &work.execute {
            Execute::Shell(line) => (line.clone(), true),
            Execute::Vector(words) => (Value::from(words.clone()).to_string(), false),
        };
        Ok(Self {
            rule,
            execute,
            shell,
            run_user: work.run_user.to_string(),
            timeout_ms: work
                .timeout
                .map(|span| i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
            processes: i64::from(work.processes),
            spec: Value::Object(rest).to_string(),
        })
    }

    /// Puts the spec together again; `id` names the task in errors.
    pub(super) fn join(self, id: &str) -> Result<TaskSpec, StoreError> {
        self.build().map_err(|e| StoreError::Corrupt {
            cause: format!("the spec of task {id} cannot be read: {e}"),
        })
    }

    fn build(self) -> Result<TaskSpec, serde_json::Error> {
        let execute = if self.shell {
            Execute::Shell(self.execute)
        } else {
            Execute::Vector(serde_json::from_str(&self.execute)?)
        };
        let rule: Rule = serde_json::from_value(Value::String(self.rule))?;
        let run_user: UserName = serde_json::from_value(Value::String(self.run_user))?;
        let mut json = serde_json::to_value(TaskSpec::new(rule, Work::new(execute, run_user)))?;
        let stored: Map<String, Value> = serde_json::from_str(&self.spec)?;
        overlay(&mut json, stored);
        let mut spec: TaskSpec = serde_json::from_value(json)?;
        spec.work.timeout = self
            .timeout_ms
            .map(|ms| Duration::from_millis(ms.unsigned_abs()));
        spec.work.processes = u16::try_from(self.processes).map_err(serde::de::Error::custom)?;
        Ok(spec)
    }
}

fn split(spec: &TaskSpec) -> Option<(Map<String, Value>, String)> {
    let Ok(Value::Object(mut rest)) = serde_json::to_value(spec) else {
        return None;
    };
    match rest.remove("rule") {
        Some(Value::String(rule)) => Some((rest, rule)),
        _ => None,
    }
}

/// Lays the stored fields over the defaults; of the work field by field.
fn overlay(json: &mut Value, stored: Map<String, Value>) {
    let Value::Object(json) = json else { return };
    for (field, value) in stored {
        match (json.get_mut(&field), value) {
            (Some(work @ Value::Object(_)), Value::Object(value)) if field == "work" => {
                overlay(work, value);
            }
            (_, value) => drop(json.insert(field, value)),
        }
    }
}
