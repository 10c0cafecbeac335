//! `ucron runs`: what was started or ended, newest first, in the groups that the asker sees.

use super::{Replied, Reply};
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::reads::Reading;
use crate::proto::request::RunList;
use crate::store::RunQuery;

pub(super) fn answer(core: &mut Core, asker: &Asker, ask: RunList) -> Replied {
    let task = match &ask.task {
        Some(text) => Some(core.find_task(asker, text)?.task.id.clone()),
        None => None,
    };
    if let Some(group) = &ask.group {
        core.find_group(asker, group)?;
    }
    let agent = match &ask.agent {
        Some(name) => Some(core.find_agent(asker, name)?.id.clone()),
        None => None,
    };
    let query = RunQuery {
        task,
        groups: Core::visible_groups(asker, ask.group.as_ref()),
        agent,
        outcome: ask.outcome,
        since: ask.since,
        until: ask.until,
        id_suffix: None,
        open: false,
        // One more than asked for tells whether there are more.
        limit: if ask.limit == 0 {
            0
        } else {
            ask.limit.saturating_add(1)
        },
    };
    core.read_runs(query, Reading::List(asker.clone(), ask));
    Ok(Reply::Pending)
}
