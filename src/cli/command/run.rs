//! `run`: one run per target and slot now; waits and follows where asked.

use std::time::Duration;

use serde_json::json;

use super::logs;
use crate::cli::args::RunArgs;
use crate::cli::client::Client;
use crate::cli::fault::{Exit, Fault, FaultCode};
use crate::cli::print::{Out, row, tables, time};
use crate::cli::select::{Care, Pick};
use crate::model::{Outcome, RunId};
use crate::proto::request::{Answer, LogRead, Request, RunWait, TaskRun};
use crate::proto::view::RunView;
use crate::rule::format_duration;

/// `ucron run`.
pub async fn run(client: &mut Client<'_>, args: RunArgs) -> Result<Exit, Fault> {
    let waits = args.wait || args.follow;
    let Some(picks) = client.pick(&args.selection, "run", Care::All).await? else {
        return Ok(Exit::NO);
    };
    let mut started = Vec::new();
    let request = |pick: &Pick| {
        Request::TaskRun(TaskRun {
            task: pick.task.clone(),
        })
    };
    let exit = client
        .each(&picks, request, |out, pick, answer| match answer {
            Answer::Started(runs) => {
                started.extend(runs.runs.iter().map(|run| (pick.name.clone(), run.clone())));
                tell_started(out, pick, &runs.runs, args.follow)?;
                Ok(Exit::DONE)
            }
            _ => Err(Fault::unexpected("`run`")),
        })
        .await?;
    if !waits {
        list_started(client.out, &started)?;
        return Ok(exit);
    }
    let runs: Vec<RunId> = started.into_iter().map(|(_, run)| run).collect();
    if runs.is_empty() {
        return Ok(exit);
    }
    let ended = finish(client, runs, args.follow);
    let ended = match args.wait_timeout {
        None => ended.await?,
        Some(limit) => tokio::time::timeout(limit, ended)
            .await
            .map_err(|_| timed_out(limit))??,
    };
    Ok(exit.worst(ended))
}

/// What to do where the end of runs cannot be seen.
const GO_ON: &str = "the runs go on; `ucron runs` says how they ended";

fn timed_out(limit: Duration) -> Fault {
    let text = format!(
        "not all runs ended within {}; they go on",
        format_duration(limit)
    );
    Fault::new(FaultCode::WaitTimeout, text).hint("see `ucron ps`; end them with `ucron kill RUN`")
}

/// The ids are data, unless the output of the runs is.
fn tell_started(out: &mut Out, pick: &Pick, runs: &[RunId], follow: bool) -> Result<(), Fault> {
    for run in runs {
        if follow || out.style.is_json() {
            out.say(&format!("run {run} of {}", pick.name));
        } else {
            out.live(run.as_str())?;
        }
    }
    if runs.is_empty() {
        out.say(&format!("no run of {}: no agent to run it", pick.name));
    }
    Ok(())
}

fn list_started(out: &mut Out, started: &[(String, RunId)]) -> Result<(), Fault> {
    if !out.style.is_json() {
        return Ok(());
    }
    let rows = started
        .iter()
        .map(|(task, run)| json!({"task": task, "run_id": run}));
    out.list(&tables::STARTED, rows.collect())
}

/// Follows and waits until all have an outcome.
async fn finish(client: &mut Client<'_>, runs: Vec<RunId>, follow: bool) -> Result<Exit, Fault> {
    if follow {
        let reads = runs.iter().map(|run| LogRead {
            of: run.to_string(),
            attempt: None,
            agent: None,
            lines: None,
            follow: true,
            since: None,
            after: Vec::new(),
        });
        let readings = reads.map(logs::Reading::new).collect();
        let printer = logs::Printer::new(runs.len() > 1);
        match logs::show(client, readings, printer).await {
            Ok(_) => {}
            // The runs go on where their output cannot be followed.
            Err(fault) if matches!(fault.code, FaultCode::Failed | FaultCode::Unavailable) => {
                client
                    .out
                    .say(&format!("{}; waiting for the end", fault.message));
            }
            Err(fault) => return Err(fault.hint(GO_ON)),
        }
    }
    let mut ended = wait(client, &runs).await?;
    ended.retain(|run| runs.contains(&run.run_id));
    if client.out.style.is_json() {
        let rows = ended.iter().map(row::whole).collect();
        client.out.list(&tables::RUNS, rows)?;
    }
    for run in &ended {
        client.out.say(&sentence(run));
    }
    let succeeded = ended
        .iter()
        .filter(|run| run.outcome == Some(Outcome::Succeeded));
    // A run that the center says nothing of has not succeeded.
    Ok(if succeeded.count() == runs.len() {
        Exit::DONE
    } else {
        Exit::NO
    })
}

/// What the runs have come to once all of them have ended, over as many links as that takes.
async fn wait(client: &mut Client<'_>, runs: &[RunId]) -> Result<Vec<RunView>, Fault> {
    let mut breaks = 0;
    loop {
        let runs = runs.to_vec();
        match client.ask(Request::RunWait(RunWait { runs })).await {
            Ok(Answer::Runs(page)) => return Ok(page.runs),
            Ok(_) => return Err(Fault::unexpected("`run --wait`")),
            Err(fault) if fault.may_go_on(breaks) => {
                breaks += 1;
                client.out.say(&format!("{}; waiting on", fault.message));
            }
            Err(fault) if fault.code == FaultCode::NoCenter => return Err(fault.hint(GO_ON)),
            Err(fault) => return Err(fault),
        }
    }
}

/// `web/probe on a1/0 failed: exit code 3 (1s20ms)`.
fn sentence(run: &RunView) -> String {
    let place = run
        .agent
        .as_ref()
        .map_or_else(String::new, |agent| format!(" on {agent}/{}", run.slot));
    let outcome = run.outcome.map_or("is open", Outcome::as_str);
    let span = match (run.started_at, run.finished_at) {
        (Some(start), Some(end)) => format!(" ({})", time::millis(end.0 - start.0)),
        _ => String::new(),
    };
    format!("{}{place} {outcome}: {}{span}", run.task, run.reason)
}
