//! `ucron logs`: output of a run, or of a task's last run on every target; whoever sees the group.

use super::{Replied, Reply};
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::logs::LogSource;
use crate::center::reads::{Reading, is_run_text, neither};
use crate::proto::request::{LogRead, RefusalCode};
use crate::proto::view::RunView;
use crate::store::RunQuery;

/// Runs of a task read to find the last one of every target and slot.
const LOOK_BACK: u32 = 500;

pub(super) fn answer(core: &mut Core, asker: &Asker, ask: LogRead) -> Replied {
    if let Some(agent) = &ask.agent {
        core.find_agent(asker, agent)?;
    }
    match core.find_task(asker, &ask.of) {
        Ok(entry) => {
            let query = RunQuery {
                task: Some(entry.task.id.clone()),
                limit: LOOK_BACK,
                ..RunQuery::default()
            };
            core.read_runs(query, Reading::LogsOfTask(asker.clone(), ask));
        }
        Err(refusal) if refusal.code != RefusalCode::NotFound => return Err(refusal),
        Err(_) if !is_run_text(&ask.of) => return Err(neither(&ask.of)),
        Err(_) => {
            if let Some(view) = core.live_run(asker, &ask.of)? {
                open_live(core, asker, &ask, &view);
            } else {
                let id_suffix = Some(ask.of.clone());
                let query = RunQuery {
                    id_suffix,
                    open: true,
                    limit: 11,
                    ..RunQuery::default()
                };
                core.read_runs(query, Reading::LogsOfRun(asker.clone(), ask));
            }
        }
    }
    Ok(Reply::Pending)
}

fn open_live(core: &mut Core, asker: &Asker, ask: &LogRead, view: &RunView) {
    let agent = view
        .agent
        .as_ref()
        .and_then(|name| core.fleet.agent_named(name))
        .map(|row| row.id.clone());
    let source = agent.map(|agent| LogSource {
        run_id: view.run_id.clone(),
        agent,
        slot: view.slot,
        goes_on: None,
        kept: None,
    });
    core.open_logs(
        asker.session,
        asker.request,
        ask,
        None,
        source.into_iter().collect(),
    );
}
