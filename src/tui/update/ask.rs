//! What is asked of the center when somebody looks closer.

use super::{Effect, ask};
use crate::proto::request::{Request, RunList, RunShow};
use crate::tui::state::{Asked, State, Thing};

/// Runs of one task that its details show.
const RUNS: u32 = 50;

/// What the details of a thing want beside what the watch told.
pub(super) fn details(state: &mut State, thing: &Thing) -> Vec<Effect> {
    let run = match thing {
        Thing::Run(id) => Some(id.clone()),
        Thing::Process(key) => key.run_id.clone(),
        _ => None,
    };
    if let Some(run) = run {
        let run = run.to_string();
        return vec![ask(state, Asked::Run, Request::RunShow(RunShow { run }))];
    }
    let list = match thing {
        Thing::Agent(name) => RunList {
            agent: Some(name.clone()),
            limit: RUNS,
            ..RunList::default()
        },
        Thing::Task(id) => RunList {
            task: Some(id.to_string()),
            limit: RUNS,
            ..RunList::default()
        },
        _ => return Vec::new(),
    };
    vec![ask(state, Asked::History, Request::RunList(list))]
}
