//! `ucron run --wait`: answered once all of these runs have an outcome. Runs that are neither open nor among
//! those that ended lately are not waited for.

use std::collections::BTreeSet;

use super::Reply;
use crate::center::changes::RunWaiter;
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::model::RunId;
use crate::proto::request::RunWait;

pub(super) fn answer(core: &mut Core, asker: &Asker, ask: &RunWait) -> Reply {
    let waiting: BTreeSet<RunId> = ask
        .runs
        .iter()
        .filter(|id| core.is_open(id))
        .cloned()
        .collect();
    let ended = core
        .ended_lately(&ask.runs)
        .filter(|view| asker.access.sees(&view.group));
    let ended = ended.cloned().collect();
    core.waits.push(RunWaiter {
        session: asker.session,
        request: asker.request,
        waiting,
        ended,
    });
    core.settle_waits();
    Reply::Pending
}
