//! From tasks to their text. The same tasks give the same text, whatever order they come in.

use std::fmt::{Display, Write as _};

use toml::Value;

use crate::model::{Backoff, Execute, Parole, Target, TargetWord, TaskSpec, Work};
use crate::proto::view::TaskView;
use crate::rule::{Schedule, Zone, format_duration, words};

/// What stands for a value that the reader may not see.
pub const HIDDEN: &str = "***";

/// The text of these tasks, by group and name.
pub fn write(tasks: &[TaskView]) -> String {
    let mut tasks: Vec<&TaskView> = tasks.iter().collect();
    tasks.sort_by_key(|task| (&task.group, &task.task_name));
    tasks.dedup_by_key(|task| &task.id);
    let texts: Vec<String> = tasks.into_iter().map(one).collect();
    texts.join("\n")
}

fn one(task: &TaskView) -> String {
    let mut lines = Lines(String::from("[[task]]\n"));
    let (spec, work) = (&task.spec, &task.spec.work);
    let fresh = TaskSpec::new(
        spec.rule.clone(),
        Work::new(work.execute.clone(), work.run_user.clone()),
    );
    lines.text("group", task.group.as_str());
    lines.text("name", task.task_name.as_str());
    lines.rule(spec, &task.zone);
    lines.text("user", work.run_user.as_str());
    lines.value("execute", execute(&work.execute));
    lines.flag("disabled", !task.enabled);
    lines.when_and_where(spec, &fresh);
    lines.ending(work, &fresh.work);
    lines.surroundings(work, &fresh.work);
    lines.daemon(work, &fresh.work);
    lines.0
}

fn execute(execute: &Execute) -> Value {
    match execute {
        Execute::Shell(line) => Value::from(line.as_str()),
        Execute::Vector(words) => Value::from(words.clone()),
    }
}

fn target(target: &Target) -> Value {
    match target {
        Target::Named(agents) => {
            Value::Array(agents.iter().map(|name| name.as_str().into()).collect())
        }
        Target::Word(TargetWord::One) => Value::from("one"),
        Target::Word(TargetWord::All) => Value::from("all"),
    }
}

fn backoff(backoff: Backoff) -> String {
    let (first, longest) = (backoff.first, backoff.longest);
    if first == longest {
        return format_duration(first);
    }
    format!("{}..{}", format_duration(first), format_duration(longest))
}

fn parole(parole: Parole) -> String {
    match parole {
        Parole::Never => "never".to_owned(),
        Parole::After(span) => format_duration(span),
    }
}

/// Lines of `key = value`. What is as in `fresh` is left out.
struct Lines(String);

impl Lines {
    fn value(&mut self, key: &str, value: impl Into<Value>) {
        // Writing into a String cannot fail.
        let _ = writeln!(self.0, "{key} = {}", value.into());
    }

    fn text(&mut self, key: &str, text: &str) {
        self.value(key, text);
    }

    fn flag(&mut self, key: &str, is_set: bool) {
        if is_set {
            self.value(key, true);
        }
    }

    fn changed<T: PartialEq>(
        &mut self,
        key: &str,
        (is, fresh): (T, T),
        text: impl FnOnce(T) -> Value,
    ) {
        if is != fresh {
            self.value(key, text(is));
        }
    }

    fn word<T: PartialEq + Display>(&mut self, key: &str, pair: (T, T)) {
        self.changed(key, pair, |word| word.to_string().into());
    }

    fn given(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(key, text);
        }
    }

    fn rule(&mut self, spec: &TaskSpec, zone: &Zone) {
        let schedule = Schedule::new(spec.rule.clone(), zone.clone());
        let _ = writeln!(self.0, "# {}", words(&schedule));
        self.text("rule", spec.rule.text());
        self.given("tz", spec.timezone.as_ref().map(Zone::name));
    }

    fn when_and_where(&mut self, spec: &TaskSpec, fresh: &TaskSpec) {
        let (work, new) = (&spec.work, &fresh.work);
        self.given("note", spec.note.as_deref());
        self.changed("target", (&spec.target, &fresh.target), target);
        self.flag("daemon", work.daemon);
        self.changed("processes", (work.processes, new.processes), int);
        self.flag("catch-up", spec.catch_up);
        self.changed(
            "misfire-grace",
            (spec.misfire_grace, fresh.misfire_grace),
            span,
        );
        self.changed("jitter", (spec.jitter, fresh.jitter), span);
    }

    fn ending(&mut self, work: &Work, fresh: &Work) {
        if let Some(timeout) = work.timeout {
            self.value("timeout", span(timeout));
        }
        self.changed("retries", (work.retries, fresh.retries), int);
        let text = |of| backoff(of).into();
        self.changed("backoff", (work.backoff, fresh.backoff), text);
        let codes = (&work.success_codes, &fresh.success_codes);
        self.changed("success-codes", codes, |codes| {
            Value::Array(codes.iter().map(|code| int(*code)).collect())
        });
        self.word("overlap", (work.overlap, fresh.overlap));
        self.word("stop-signal", (work.stop_signal, fresh.stop_signal));
        self.changed("grace", (work.grace, fresh.grace), span);
        self.word("output", (work.output, fresh.output));
    }

    fn surroundings(&mut self, work: &Work, fresh: &Work) {
        self.given("cwd", work.cwd.as_deref());
        self.changed("umask", (work.umask, fresh.umask), |mask| {
            format!("{mask:03o}").into()
        });
        self.changed("nice", (work.nice, fresh.nice), int);
        for (name, value) in &work.env {
            if value == HIDDEN {
                self.0
                    .push_str("# hidden: values are for operators of the group\n");
            }
            self.text(&format!("env.{}", key(name)), value);
        }
        self.given("env-file", work.env_file.as_deref());
        for limit in &work.limits {
            // More than TOML's integers hold is written as a text.
            let number = i64::try_from(limit.value).map(Value::from);
            let value = number.unwrap_or_else(|_| limit.value.to_string().into());
            self.value(&format!("limit.{}", limit.kind), value);
        }
    }

    fn daemon(&mut self, work: &Work, fresh: &Work) {
        self.word("restart", (work.restart, fresh.restart));
        let seconds = (work.start_seconds, fresh.start_seconds);
        self.changed("start-seconds", seconds, span);
        let retries = (work.start_retries, fresh.start_retries);
        self.changed("start-retries", retries, int);
        self.changed("parole", (work.parole, fresh.parole), |of| {
            parole(of).into()
        });
    }
}

fn int(number: impl Into<i64>) -> Value {
    Value::Integer(number.into())
}

fn span(span: std::time::Duration) -> Value {
    format_duration(span).into()
}

/// A key as it may stand before `=`: bare where that is allowed, else in quotes.
fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(is_bare) {
        return name.to_owned();
    }
    // JSON's strings are TOML's basic strings.
    serde_json::Value::from(name).to_string()
}
