//! Both sides' books: the truth, which the commands wrote, and the center's history.
#![allow(
    clippy::unwrap_used,
    reason = "what a test's helper cannot do fails the test"
)]

use std::collections::BTreeMap;

use crate::world::Run;

/// The time whose occurrences are counted, in milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub from: i64,
    pub to: i64,
}

/// What a command wrote when it began.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Begin {
    /// Lines of one file are in the order in which they were written.
    pub line: usize,
    pub task: String,
    pub agent: String,
    pub slot: u16,
    pub scheduled_at: String,
    pub pid: u32,
}

/// What it wrote before it exited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    pub line: usize,
    pub code: i32,
}

/// A run and its attempt.
pub type Key = (String, u16);

/// The books.
pub struct Books {
    pub runs: BTreeMap<String, Run>,
    /// Runs that the history tells more than once.
    pub repeated: Vec<String>,
    pub begins: BTreeMap<Key, Vec<Begin>>,
    pub ends: BTreeMap<Key, Vec<End>>,
}

impl Books {
    pub fn new(told: Vec<Run>, truth: &str) -> Self {
        let mut books = Self {
            runs: BTreeMap::new(),
            repeated: Vec::new(),
            begins: BTreeMap::new(),
            ends: BTreeMap::new(),
        };
        for run in told {
            if let Some(twice) = books.runs.insert(run.run_id.clone(), run) {
                books.repeated.push(format!("told twice: {twice:?}"));
            }
        }
        for (number, text) in truth.lines().enumerate() {
            books.read(number, text);
        }
        books
    }

    fn read(&mut self, line: usize, text: &str) {
        let words: Vec<_> = text.split(' ').collect();
        match words[..] {
            ["begin", run, attempt, task, agent, slot, scheduled_at, pid] => {
                let begin = Begin {
                    line,
                    task: task.to_owned(),
                    agent: agent.to_owned(),
                    slot: slot.parse().unwrap(),
                    scheduled_at: scheduled_at.to_owned(),
                    pid: pid.parse().unwrap(),
                };
                let key = (run.to_owned(), attempt.parse().unwrap());
                self.begins.entry(key).or_default().push(begin);
            }
            ["end", run, attempt, code] => {
                let key = (run.to_owned(), attempt.parse().unwrap());
                let code = code.parse().unwrap();
                self.ends.entry(key).or_default().push(End { line, code });
            }
            _ => panic!("a torn line: {text:?}"),
        }
    }

    /// What an attempt wrote at its begin, the first where there are more.
    pub fn begin(&self, run: &Run, attempt: u16) -> Option<&Begin> {
        self.begins.get(&(run.run_id.clone(), attempt))?.first()
    }

    pub fn end(&self, run: &Run, attempt: u16) -> Option<End> {
        let ends = self.ends.get(&(run.run_id.clone(), attempt))?;
        ends.first().copied()
    }

    /// Outcomes with their counts, in words.
    pub fn outcomes(&self) -> String {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for run in self.runs.values() {
            *counts
                .entry(run.outcome.as_deref().unwrap_or("open"))
                .or_default() += 1;
        }
        let words: Vec<_> = counts
            .iter()
            .map(|(outcome, count)| format!("{count} {outcome}"))
            .collect();
        words.join(", ")
    }

    /// How late runs of the rule started, in milliseconds, sorted.
    pub fn lateness(&self) -> Vec<i64> {
        let of_rule = self.runs.values().filter(|run| run.cause == "rule");
        let mut late: Vec<_> = of_rule.filter_map(|run| run.late_ms).collect();
        late.sort_unstable();
        late
    }
}
