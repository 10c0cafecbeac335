//! `ucron run --wait`: answered once all of these runs have an outcome. Runs that nobody knows, or not to be seen,
//! are not waited for.

use super::Reply;
use crate::center::changes::RunWaiter;
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::model::RunId;
use crate::proto::request::{Answer, RunPage, RunWait};

pub(super) fn answer(core: &mut Core, asker: &Asker, ask: &RunWait) -> Reply {
    // Of runs that are not open the store tells the group; those that may not be seen are left out then.
    let hidden = |id: &RunId| {
        let run = core.open.get(id).map(|run| core.open_view(run));
        run.is_some_and(|view| !asker.access.sees(&view.group))
    };
    let runs: Vec<RunId> = ask.runs.iter().filter(|id| !hidden(id)).cloned().collect();
    if runs.is_empty() {
        return Reply::Answer(Box::new(Answer::Runs(RunPage {
            runs: Vec::new(),
            more: false,
        })));
    }
    core.waits.push(RunWaiter::new(asker.clone(), runs));
    core.settle_waits();
    Reply::Pending
}
