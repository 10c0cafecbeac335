//! `ucron groups`: those that the asker sees.

use super::{Replied, reply};
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::proto::request::Answer;
use crate::proto::view::GroupView;
use crate::store::GroupRow;

pub(super) fn answer(core: &Core, asker: &Asker) -> Replied {
    let seen = core
        .fleet
        .groups
        .values()
        .filter(|row| asker.access.sees(&row.name));
    reply(Answer::Groups(
        seen.map(|row| core.group_view(row)).collect(),
    ))
}

impl Core {
    /// A group with its members.
    pub(in crate::center) fn group_view(&self, row: &GroupRow) -> GroupView {
        // One that is over is kept only until all that was due in it is told.
        let freeze = self.fleet.freezes.get(&row.name);
        let freeze = freeze.filter(|freeze| freeze.covers(self.latest()));
        let agents = self.fleet.agents_of(&row.name);
        GroupView {
            name: row.name.clone(),
            agents: agents.map(|agent| agent.name.clone()).collect(),
            tasks: self.fleet.tasks_of(&row.name).count() as u64,
            run_users: row.run_users.clone(),
            frozen_until: freeze.map(|freeze| freeze.until),
            frozen: freeze.map(|freeze| format!("by {}: {}", freeze.by, freeze.reason)),
        }
    }
}
