//! `logs`: what runs wrote. What is to be read is found out here; `reading.rs` reads it, `printer.rs` prints it.

mod printer;
mod reading;

use std::collections::{BTreeMap, BTreeSet};

pub use self::printer::Printer;
pub use self::reading::{Reading, show};
use super::runs;
use crate::cli::args::LogsArgs;
use crate::cli::client::Client;
use crate::cli::fault::{Exit, Fault, FaultCode};
use crate::model::{Cause, RunId, UnixMs};
use crate::proto::request::{LogAfter, LogRead, RunList};
use crate::proto::view::RunView;

/// Runs of a task that are looked at to find the last one of every target.
const LOOK_BACK: u32 = 500;
/// Lines shown where neither their number nor their time is asked for.
const LINES: u64 = 200;

/// `ucron logs`.
pub async fn logs(client: &mut Client<'_>, args: LogsArgs) -> Result<Exit, Fault> {
    let since = args.since.as_deref();
    let since = since
        .map(|text| runs::instant(text, "--since", &client.out.style))
        .transpose()?;
    let runs = known_runs(client, &args, since).await?;
    let plan = Plan::new(&args, since, runs);
    let mut printer = Printer::new(plan.is_marked());
    printer.raw = args.raw;
    printer.grep.clone_from(&args.grep);
    printer.last = plan.last();
    if !args.follow || plan.must_merge() {
        reading::merge(client, plan.history(), &mut printer).await?;
    }
    if !args.follow {
        printer.finish(client.out)?;
        return Ok(Exit::DONE);
    }
    printer.release(client.out)?;
    show(client, plan.follow(&printer), printer).await?;
    Ok(Exit::DONE)
}

/// The runs to read: the last one of every target and slot, or all that ran since then. None where a run is named,
/// or a task that has not run yet.
async fn known_runs(
    client: &Client<'_>,
    args: &LogsArgs,
    since: Option<UnixMs>,
) -> Result<Vec<RunView>, Fault> {
    let newest = RunList {
        task: Some(args.of.clone()),
        agent: args.agent.clone(),
        limit: LOOK_BACK,
        ..RunList::default()
    };
    let Some(mut known) = list(client, newest.clone()).await? else {
        return Ok(Vec::new());
    };
    let Some(since) = since else {
        return Ok(newest_of_each(known));
    };
    // Those that began before and ran on, too.
    known.retain(|run| run.finished_at.is_none_or(|at| at >= since));
    let later = RunList {
        since: Some(since),
        limit: 0,
        ..newest
    };
    known.extend(list(client, later).await?.unwrap_or_default());
    let by_id = known.into_iter().map(|run| (run.run_id.clone(), run));
    let by_id: BTreeMap<RunId, RunView> = by_id.collect();
    let started = by_id.into_values().filter(|run| run.started_at.is_some());
    Ok(started.collect())
}

/// Runs of a task; none where it is not one.
async fn list(client: &Client<'_>, ask: RunList) -> Result<Option<Vec<RunView>>, Fault> {
    match runs::paged(client, ask).await {
        Ok((runs, _)) => Ok(Some(runs)),
        // Not a task, so it is a run.
        Err(fault) if fault.code == FaultCode::NotFound => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// The last started run of every place; `runs` are the newest first.
fn newest_of_each(mut runs: Vec<RunView>) -> Vec<RunView> {
    let mut places = BTreeSet::new();
    runs.retain(|run| run.started_at.is_some() && places.insert((run.agent.clone(), run.slot)));
    runs
}

/// What to read, and how.
struct Plan<'a> {
    args: &'a LogsArgs,
    since: Option<UnixMs>,
    runs: Vec<RunView>,
}

impl<'a> Plan<'a> {
    fn new(args: &'a LogsArgs, since: Option<UnixMs>, runs: Vec<RunView>) -> Self {
        Self { args, since, runs }
    }

    fn is_marked(&self) -> bool {
        let places = self.runs.iter().map(|run| (&run.agent, run.slot));
        places.collect::<BTreeSet<_>>().len() > 1
    }

    /// Lines asked for; all where none.
    fn lines(&self) -> Option<u64> {
        match &self.args.lines {
            Some(lines) => lines.0,
            None if self.since.is_some() => None,
            None => Some(LINES),
        }
    }

    /// Whether the host alone cannot tell which lines are the last ones.
    fn must_merge(&self) -> bool {
        self.runs.len() > 1 || self.args.grep.is_some() || self.since.is_some()
    }

    /// Lines that the printer holds back to print the last ones.
    fn last(&self) -> Option<usize> {
        let lines = self.lines().filter(|_| self.must_merge())?;
        usize::try_from(lines).ok()
    }

    fn read(&self, of: String) -> LogRead {
        // Which lines match is seen here.
        let lines = self.lines().filter(|_| self.args.grep.is_none());
        LogRead {
            of,
            attempt: self.args.attempt,
            agent: self.args.agent.clone(),
            lines: lines.filter(|_| self.since.is_none()),
            follow: false,
            since: self.since,
            after: Vec::new(),
        }
    }

    /// What is there now.
    fn history(&self) -> Vec<Reading> {
        if self.runs.is_empty() {
            return vec![Reading::new(self.read(self.args.of.clone()))];
        }
        let of = |run: &RunView| {
            let read = self.read(run.run_id.to_string());
            Reading::of_run(read, run.started_at.unwrap_or(run.scheduled_at))
        };
        self.runs.iter().map(of).collect()
    }

    /// What comes, behind what was read: of every run that has not ended, and of a daemon with its next processes.
    fn follow(&self, printer: &Printer) -> Vec<Reading> {
        let places = printer.places();
        let goes_on = self.runs.iter().any(|run| run.cause == Cause::Daemon);
        if self.runs.is_empty() || goes_on {
            let read = self.read(self.args.of.clone());
            return vec![follow(read, places)];
        }
        let of = |run: &RunView| {
            let mut after = places.clone();
            after.retain(|place| place.run_id == run.run_id);
            if after.is_empty() && self.must_merge() {
                after.push(begin(run));
            }
            follow(self.read(run.run_id.to_string()), after)
        };
        self.runs.iter().map(of).collect()
    }
}

fn follow(read: LogRead, after: Vec<LogAfter>) -> Reading {
    Reading::new(LogRead {
        follow: true,
        after,
        ..read
    })
}

/// Of a run that had written nothing.
fn begin(run: &RunView) -> LogAfter {
    LogAfter {
        run_id: run.run_id.clone(),
        attempt: 1,
        offset: 0,
    }
}
