//! One row of the ancestor's table.

use std::time::Duration;

use super::columns::{Column, Columns};
use super::{Candidate, How, command, name, rule};
use crate::model::{GroupName, Overlap, TaskName, TaskSpec, UserName, Work};
use crate::proto::request::NewTask;
use crate::rule::parse_duration;

/// Gathers all that is wrong with a row before it gives up on it.
struct Reader<'a> {
    columns: &'a Columns,
    row: &'a [Option<String>],
    notes: Vec<String>,
    wrong: Vec<String>,
}

pub(super) fn candidate(columns: &Columns, row: &[Option<String>], how: &How) -> Candidate {
    let mut reader = Reader {
        columns,
        row,
        notes: Vec::new(),
        wrong: Vec::new(),
    };
    let task = reader.task(how);
    let Reader { notes, wrong, .. } = reader;
    let task = match task {
        Some(task) if wrong.is_empty() => Ok(task),
        _ => Err(wrong),
    };
    Candidate {
        row: String::new(),
        task,
        notes,
    }
}

impl<'a> Reader<'a> {
    fn text(&self, column: Column) -> Option<&'a str> {
        self.columns.of(self.row, column)
    }

    /// What must be there.
    fn needed(&mut self, column: Column, what: &str) -> Option<&'a str> {
        let text = self.text(column);
        if text.is_none() {
            self.wrong.push(format!("the {what} is empty"));
        }
        text
    }

    /// The value, or one more reason.
    fn good<T, E: ToString>(&mut self, read: Result<T, E>) -> Option<T> {
        read.map_err(|error| self.wrong.push(error.to_string()))
            .ok()
    }

    fn task(&mut self, how: &How) -> Option<NewTask> {
        // Each is looked at, whatever is wrong with the others.
        let group = self.group(how);
        let name = self.name();
        let rule = self.needed(Column::Rule, "rule").and_then(|text| {
            let read = rule::rule(text, &mut self.notes);
            self.good(read)
        });
        let work = self.work(how);
        let timeout = self.timeout();
        let processes = self.processes();
        let overlap = self.overlap();
        let mut spec = TaskSpec::new(rule?, work?);
        spec.timezone.clone_from(&how.zone);
        spec.target = how.target.clone();
        spec.note = self.note();
        spec.work.timeout = Some(timeout?).filter(|timeout| !timeout.is_zero());
        spec.work.processes = processes?;
        spec.work.overlap = overlap?;
        let checked = spec.check();
        self.good(checked)?;
        Some(NewTask {
            group: group?,
            name: name?,
            enabled: self.is_on(how),
            spec,
        })
    }

    fn group(&mut self, how: &How) -> Option<GroupName> {
        if let Some(group) = &how.group {
            return Some(group.clone());
        }
        let gid = self.needed(Column::Group, "group")?;
        let text = how.groups.get(gid).map_or(gid, String::as_str);
        let cleaned = name::clean(text, "group", &mut self.notes);
        self.good(GroupName::parse(&cleaned))
    }

    fn name(&mut self) -> Option<TaskName> {
        let text = self.needed(Column::Name, "name")?;
        let mut cleaned = name::clean(text, "name", &mut self.notes);
        if let (true, Some(id)) = (cleaned.is_empty(), self.text(Column::Id)) {
            cleaned = format!("task-{id}");
            self.notes.push(format!(
                "the name `{}` becomes `{cleaned}`",
                text.escape_debug()
            ));
        }
        self.good(TaskName::parse(&cleaned))
    }

    fn work(&mut self, how: &How) -> Option<Work> {
        let execute = self.needed(Column::Execute, "command");
        let execute = execute.map(|text| command::execute(text, how.no_shell, &mut self.notes));
        let user = self.needed(Column::User, "account");
        let user = user.and_then(|text| self.good(UserName::parse(text)));
        Some(Work::new(execute?, user?))
    }

    /// Seconds, or as today; 0 is none.
    fn timeout(&mut self) -> Option<Duration> {
        let text = self.text(Column::Timeout).unwrap_or("0");
        let read = match text.parse::<u64>() {
            Ok(seconds) => Ok(Duration::from_secs(seconds)),
            Err(_) => parse_duration(text).map_err(|error| format!("the timeout: {error}")),
        };
        self.good(read)
    }

    fn processes(&mut self) -> Option<u16> {
        let text = self.text(Column::Processes).unwrap_or("1");
        let read = text.parse::<u16>();
        let read = read.map_err(|_| format!("`{}` is no number of processes", text.escape_debug()));
        let number = self.good(read)?;
        if number == 0 {
            self.notes.push("0 processes are 1 here".to_owned());
        }
        Some(number.max(1))
    }

    /// How many runs there may be at one time.
    fn overlap(&mut self) -> Option<Overlap> {
        let (text, any) = match (self.text(Column::AtOnce), self.text(Column::Unique)) {
            (Some(text), _) => (text, Some(0)),
            (None, Some(text)) => (text, None),
            (None, None) => return Some(Overlap::Skip),
        };
        let read = text.parse::<u32>();
        let read = read.map_err(|_| format!("`{}` is no number of runs", text.escape_debug()));
        let number = self.good(read)?;
        if Some(number) == any {
            return Some(Overlap::Allow);
        }
        if number <= 1 {
            return Some(Overlap::Skip);
        }
        self.notes.push(format!(
            "at most {number} runs at one time there; here any number (overlap allow)"
        ));
        Some(Overlap::Allow)
    }

    fn is_on(&self, how: &How) -> bool {
        let status = self.text(Column::Status);
        !how.disabled && status.is_none_or(|status| status == how.status_on)
    }

    fn note(&mut self) -> Option<String> {
        if let Some(agents) = self.text(Column::Agents) {
            self.notes.push(format!(
                "ran on the hosts `{}` there; that is not taken over",
                agents.escape_debug()
            ));
        }
        let manager = self.text(Column::Manager)?;
        Some(format!("manager: {manager}"))
    }
}
