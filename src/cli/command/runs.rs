//! `runs`, `ps`, `kill`.

use crate::cli::args::{KillArgs, PsArgs, RunsArgs};
use crate::cli::client::Client;
use crate::cli::fault::{Exit, Fault};
use crate::cli::hit::{self, Deed};
use crate::cli::print::{Style, row, tables};
use crate::proto::request::{Answer, ProcessList, Request, RunKill, RunList};
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
        limit: args.limit,
    }))
}

/// `ucron runs`.
pub async fn runs(client: &mut Client<'_>, request: Request, limit: u32) -> Result<Exit, Fault> {
    match client.ask(request).await? {
        Answer::Runs(page) => {
            client.out.list(&tables::RUNS, row::plain_all(&page.runs))?;
            if page.more {
                client.out.tell(&format!(
                    "there are more than {limit} runs; `--limit 0` shows all"
                ));
            }
            Ok(Exit::DONE)
        }
        _ => Err(Fault::unexpected("`runs`")),
    }
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
