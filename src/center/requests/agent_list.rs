//! `ucron agents`: those that are in a group that the asker sees; all for whoever sees all groups.

use super::{Replied, reply};
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::proto::request::Answer;

pub(super) fn answer(core: &Core, asker: &Asker) -> Replied {
    let seen = core
        .fleet
        .agents
        .values()
        .filter(|row| Core::sees_agent(&asker.access, row));
    let mut agents: Vec<_> = seen
        .map(|row| core.agent_view(row, &asker.access))
        .collect();
    agents.sort_by(|a, b| a.name.cmp(&b.name));
    reply(Answer::Agents(agents))
}
