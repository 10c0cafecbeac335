//! `ucron runs`: what was started or ended, newest first, in the groups that the asker sees.

use super::{Replied, Reply};
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::event::Now;
use crate::center::reads::Reading;
use crate::model::UnixMs;
use crate::proto::request::RunList;
use crate::store::RunQuery;

/// Runs in one answer at most: some 400 bytes each, well under the frame limit.
pub(in crate::center) const MOST: u32 = 1_000;

pub(super) fn answer(core: &mut Core, now: Now, asker: &Asker, mut ask: RunList) -> Replied {
    ask.limit = match ask.limit {
        0 => MOST,
        limit => limit.min(MOST),
    };
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
        after: ask
            .after
            .clone()
            .zip(ask.until)
            .map(|(run, until)| (UnixMs(until.0 - 1), run)),
        missed_until: Some(UnixMs(now.at.0 + 1)),
        fold: ask.fold,
        id_suffix: None,
        open: false,
        // One more than asked for tells whether there are more.
        limit: ask.limit.saturating_add(1),
    };
    core.read_runs(query, Reading::List(asker.clone(), ask));
    Ok(Reply::Pending)
}
