//! `ucron run --wait`: answered once all of these runs have an outcome. Runs that are not open, or not to be
//! seen, are not waited for.

use super::{Replied, Reply, reply};
use crate::center::changes::RunWaiter;
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::reads::Reading;
use crate::proto::request::{Answer, RunList, RunPage, RunWait};
use crate::store::RunQuery;

pub(super) fn answer(core: &mut Core, asker: &Asker, ask: RunWait) -> Replied {
    let open = |id| core.is_open(id);
    let waiting: std::collections::BTreeSet<_> =
        ask.runs.iter().filter(|id| open(id)).cloned().collect();
    match (waiting.is_empty(), ask.runs.as_slice()) {
        (true, []) => reply(Answer::Runs(RunPage {
            runs: Vec::new(),
            more: false,
        })),
        // Ended before the question came: the store knows.
        (true, [only]) => {
            let query = RunQuery {
                id_suffix: Some(only.to_string()),
                limit: 1,
                ..RunQuery::default()
            };
            core.read_runs(query, Reading::List(asker.clone(), RunList::default()));
            Ok(Reply::Pending)
        }
        (_, runs) => {
            let ended = runs.iter().filter(|id| !waiting.contains(*id));
            let ended = ended.filter_map(|id| core.last_run_with(id)).collect();
            core.waits.push(RunWaiter {
                session: asker.session,
                request: asker.request,
                waiting,
                ended,
            });
            core.settle_waits();
            Ok(Reply::Pending)
        }
    }
}
