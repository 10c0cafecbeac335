//! `runs`, `ps`, `kill`.

use crate::cli::args::{KillArgs, PsArgs, RunsArgs};
use crate::cli::client::Client;
use crate::cli::fault::{Exit, Fault};
use crate::cli::hit::{self, Deed};
use crate::cli::print::{Style, row, tables};
use crate::proto::request::{Answer, ProcessList, Request, RunKill, RunList};
use crate::proto::view::RunView;
use crate::rule::{UnixMs, parse_time};

/// A time on the command line, in the zone of this terminal.
pub fn instant(text: &str, flag: &str, style: &Style) -> Result<UnixMs, Fault> {
    parse_time(text, (style.clock)(), &style.zone)
        .map_err(|error| Fault::usage(format!("bad value for `{flag}`: {error}")))
}

/// What `runs` asks for.
pub fn listed(args: &RunsArgs, style: &Style) -> Result<Request, Fault> {
    let since = args
        .since
        .as_deref()
        .map(|text| instant(text, "--since", style));
    Ok(Request::RunList(RunList {
        task: args.task.clone(),
        group: args.group.clone(),
        agent: args.agent.clone(),
        outcome: args.outcome,
        since: since.transpose()?,
        until: None,
        after: None,
        fold: !style.is_json() && !style.quiet,
        open: false,
        limit: args.limit,
    }))
}

/// The runs that a list asks for, page by page as the center gives them, and whether there are more.
pub async fn paged(client: &Client<'_>, mut page: RunList) -> Result<(Vec<RunView>, bool), Fault> {
    let limit = page.limit;
    let mut runs: Vec<RunView> = Vec::new();
    loop {
        let Answer::Runs(answer) = client.ask(Request::RunList(page.clone())).await? else {
            return Err(Fault::unexpected("`runs`"));
        };
        let read = u32::try_from(answer.runs.len()).unwrap_or(u32::MAX);
        runs.extend(answer.runs);
        let left = page.limit.saturating_sub(read);
        let Some(last) = runs.last().filter(|_| answer.more && read > 0) else {
            return Ok((runs, answer.more));
        };
        if limit > 0 && left == 0 {
            return Ok((runs, answer.more));
        }
        page.limit = left;
        page.until = Some(UnixMs(last.scheduled_at.0 + 1));
        page.after = Some(last.run_id.clone());
    }
}

/// `ucron runs`.
pub async fn runs(client: &mut Client<'_>, request: Request, limit: u32) -> Result<Exit, Fault> {
    let Request::RunList(list) = request else {
        return Err(Fault::unexpected("`runs`"));
    };
    let (runs, more) = paged(client, list).await?;
    let zone = client.out.style.zone.clone();
    let rows = runs.iter().map(|run| row::run(run, &zone)).collect();
    client.out.list(&tables::RUNS, rows)?;
    if more {
        client.out.tell(&format!(
            "there are more than {limit} runs; `--limit 0` shows all"
        ));
    }
    Ok(Exit::DONE)
}

/// `ucron ps`.
pub async fn ps(client: &mut Client<'_>, args: PsArgs) -> Result<Exit, Fault> {
    let request = Request::ProcessList(ProcessList {
        task: args.task,
        group: args.group,
        agent: args.agent,
    });
    match client.ask(request).await? {
        Answer::Processes(processes) => {
            client
                .out
                .list(&tables::PROCESSES, row::plain_all(&processes))?;
            Ok(Exit::DONE)
        }
        _ => Err(Fault::unexpected("`ps`")),
    }
}

/// `ucron kill`.
pub async fn kill(client: &mut Client<'_>, args: KillArgs) -> Result<Exit, Fault> {
    let deed = Deed {
        done: "is told to end",
        already: "has ended already",
    };
    let runs = client.words(&args.runs).await?;
    let mut rows = Vec::new();
    let request = |run: &String| {
        Request::RunKill(RunKill {
            run: run.clone(),
            signal: args.signal,
        })
    };
    let exit = client
        .each(&runs, request, |out, run, answer| match answer {
            Answer::Changed(changed) => {
                rows.push(row::killed(run, &changed));
                Ok(hit::tell(out, &format!("run {run}"), deed, &changed))
            }
            _ => Err(Fault::unexpected("`kill`")),
        })
        .await?;
    if client.out.style.is_json() {
        client.out.list(&tables::STARTED, rows)?;
    }
    Ok(exit)
}
