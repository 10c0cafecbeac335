//! Spans: misses in a row with one reason, one row. A span is read as its occurrences, which its rule gives, so that
//! reading does not depend on whether they were counted. The same for every database: an engine finds the rows.

use crate::model::{
    AgentId, AgentName, Cause, Ending, Outcome, Revision, RunId, RunKey, RunRef, Slot, TaskId,
    TaskPath, UnixMs,
};
use crate::rule::{Rule, Schedule, Zone};

use super::rows::{RunQuery, RunRow, StoredRun};

/// Occurrences of spans that one question gives at most.
const MOST_READ: usize = 100_000;
/// Occurrences of spans that are looked through for an id, newest first: half a second of work.
const MOST_SEARCHED: usize = 100_000;
/// Spans that are looked through for an id.
const MOST_SPANS: u32 = 10_000;
/// Occurrences of a calendar counted for one line.
const MOST_COUNTED: u64 = 100_000;

/// Misses in a row of one task, target and slot, with one reason.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpanRow {
    /// The task.
    pub task: TaskId,
    /// Its revision then.
    pub revision: Revision,
    /// As of a run: the agent, none for target `one` or where there was no target.
    pub target: Option<AgentId>,
    /// The agent, where one had it.
    pub agent: Option<AgentId>,
    /// The slot.
    pub slot: Slot,
    /// The task's rule then.
    pub rule: Rule,
    /// The zone in which it was read.
    pub zone: Zone,
    /// The first occurrence.
    pub from: UnixMs,
    /// The last occurrence; until they are counted the end of the time in which every occurrence is missed.
    pub to: UnixMs,
    /// How many there are; none until they are counted.
    pub count: Option<u64>,
    /// Why.
    pub reason: String,
    /// When the first miss was written.
    pub began_at: UnixMs,
    /// When the last was.
    pub closed_at: UnixMs,
}

/// What a run stands for where a span is told as one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Folded {
    /// The first occurrence.
    pub from: UnixMs,
    /// How many there are.
    pub count: u64,
}

impl SpanRow {
    /// Its rule in its zone.
    pub fn schedule(&self) -> Schedule {
        Schedule::new(self.rule.clone(), self.zone.clone())
    }

    /// The run of one of its occurrences.
    pub fn run(&self, at: UnixMs) -> RunRow {
        let key = RunKey {
            task: self.task.clone(),
            scheduled_at: at,
            target: self.target.clone(),
            slot: self.slot,
            cause: Cause::Rule,
        };
        let run = RunRef {
            run_id: RunId::of(&key),
            task: key.task,
            revision: self.revision,
            slot: self.slot,
            cause: key.cause,
            scheduled_at: at,
            delay: std::time::Duration::ZERO,
        };
        RunRow {
            run,
            target: key.target,
            agent: self.agent.clone(),
            start_before: at,
        }
    }

    /// How one of its occurrences ended: when it was due, or when the first was written if that was later.
    pub fn ending(&self, at: UnixMs) -> Ending {
        let told_at = at.max(self.began_at).min(self.closed_at.max(self.began_at));
        Ending::unstarted(Outcome::Missed, self.reason.clone(), told_at)
    }

    /// The instants strictly after the first and up to the second in which its occurrences lie.
    fn stretch(&self, since: UnixMs, until: UnixMs) -> (UnixMs, UnixMs) {
        let after = self.from.max(since).0.saturating_sub(1);
        let until = until.0.saturating_sub(1).min(self.to.0);
        (UnixMs(after), UnixMs(until))
    }
}

/// A span with the names of its task and agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct StoredSpan {
    pub(super) row: SpanRow,
    pub(super) path: TaskPath,
    pub(super) agent_name: Option<AgentName>,
}

impl StoredSpan {
    /// One of its occurrences as a run.
    pub(super) fn run(&self, at: UnixMs, span: Option<Folded>) -> StoredRun {
        StoredRun {
            row: self.row.run(at),
            path: self.path.clone(),
            agent_name: self.agent_name.clone(),
            ending: Some(self.row.ending(at)),
            span,
        }
    }

    /// Its last occurrence as a run.
    pub(super) fn last_run(&self) -> Option<StoredRun> {
        let (after, until) = self.row.stretch(self.row.from, UnixMs(i64::MAX));
        let last = self.row.schedule().last_in(after, until)?;
        Some(self.run(last, None))
    }

    fn folded(&self, since: UnixMs, until: UnixMs) -> Option<StoredRun> {
        let schedule = self.row.schedule();
        let (after, until) = self.row.stretch(since, until);
        let last = schedule.last_in(after, until)?;
        let from = schedule.first_in(after, until)?;
        let whole = (from, last) == (self.row.from, self.row.to);
        let count = self.row.count.filter(|_| whole);
        let counted = || schedule.count_in(after, until, MOST_COUNTED).count;
        let count = count.unwrap_or_else(counted);
        let span = Folded { from, count };
        Some(self.run(last, Some(span).filter(|_| count > 1)))
    }

    fn expanded(&self, since: UnixMs, until: UnixMs, most: usize) -> Vec<StoredRun> {
        let (after, until) = self.row.stretch(since, until);
        let newest = self.row.schedule().newest_in(after, until, most);
        newest.into_iter().map(|at| self.run(at, None)).collect()
    }
}

/// Whether spans can be among the answers: all their occurrences are missed.
pub(super) fn is_asked(query: &RunQuery) -> bool {
    query
        .outcome
        .is_none_or(|outcome| outcome == Outcome::Missed)
}

/// How many of the spans that end before [`until`] a question needs at most, the newest by their end (0 = all): each
/// has an occurrence there. Those that reach beyond it, and those not counted, are needed too.
pub(super) fn most(query: &RunQuery) -> u32 {
    if query.id_suffix.is_some() {
        MOST_SPANS
    } else {
        query.limit
    }
}

/// Puts the occurrences of spans (newest by their end first) among the runs of the same question.
pub(super) fn merge(
    mut runs: Vec<StoredRun>,
    spans: &[StoredSpan],
    query: &RunQuery,
) -> Vec<StoredRun> {
    if let Some(suffix) = query.id_suffix.as_ref().filter(|s| !s.is_empty()) {
        if runs.is_empty() {
            runs = search(spans, suffix);
        }
        return runs;
    }
    let limit = match query.limit {
        0 => MOST_READ,
        limit => usize::try_from(limit).unwrap_or(MOST_READ),
    };
    let since = query.since.unwrap_or(UnixMs(i64::MIN));
    let until = until(query);
    for span in spans {
        if query.fold {
            runs.extend(span.folded(since, until));
        } else {
            // One more for each that shares the instant where the answer goes on.
            runs.extend(span.expanded(since, until, limit + 1));
        }
        trim(&mut runs, query, limit);
    }
    trim(&mut runs, query, limit);
    runs
}

/// What is asked of spans was due before this.
pub(super) fn until(query: &RunQuery) -> UnixMs {
    let after = query.after.as_ref().map(|(at, _)| UnixMs(at.0 + 1));
    let ends = [query.until, query.missed_until, after];
    ends.into_iter().flatten().min().unwrap_or(UnixMs(i64::MAX))
}

fn trim(runs: &mut Vec<StoredRun>, query: &RunQuery, limit: usize) {
    if let Some(after) = &query.after {
        runs.retain(|run| order(run) < (after.0, &after.1));
    }
    runs.sort_by(|a, b| order(b).cmp(&order(a)));
    if query.limit > 0 {
        runs.truncate(limit);
    }
}

/// The order of answers, newest last.
pub(super) fn order(run: &StoredRun) -> (UnixMs, &RunId) {
    (run.row.run.scheduled_at, &run.row.run.run_id)
}

/// Looks for an id among the occurrences, which are nowhere but in their rules.
fn search(spans: &[StoredSpan], suffix: &str) -> Vec<StoredRun> {
    let mut left = MOST_SEARCHED;
    let mut found = Vec::new();
    for span in spans {
        let row = &span.row;
        let schedule = row.schedule();
        let (mut after, until) = row.stretch(row.from, UnixMs(i64::MAX));
        while let Some(at) = schedule.first_in(after, until).filter(|_| left > 0) {
            if row.run(at).run.run_id.as_str().ends_with(suffix) {
                found.push(span.run(at, None));
            }
            after = at;
            left -= 1;
        }
    }
    found
}
