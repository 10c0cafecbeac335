//! `ucron show RUN`: whoever sees the group.

use super::{Replied, Reply, reply};
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::reads::{Reading, is_run_text};
use crate::center::select::no_run;
use crate::proto::request::{Answer, RunShow};
use crate::store::RunQuery;

pub(super) fn answer(core: &mut Core, asker: &Asker, ask: &RunShow) -> Replied {
    if !is_run_text(&ask.run) {
        return Err(no_run(&ask.run));
    }
    if let Some(view) = core.live_run(asker, &ask.run)? {
        return reply(Answer::Run(Box::new(view)));
    }
    let query = RunQuery {
        id_suffix: Some(ask.run.clone()),
        open: true,
        limit: 11,
        ..RunQuery::default()
    };
    core.read_runs(query, Reading::Show(asker.clone(), ask.run.clone()));
    Ok(Reply::Pending)
}
