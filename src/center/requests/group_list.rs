//! `ucron groups`: those that the asker sees.

use super::{Replied, reply};
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::proto::request::Answer;
use crate::proto::view::GroupView;

pub(super) fn answer(core: &Core, asker: &Asker) -> Replied {
    let seen = core
        .fleet
        .groups
        .values()
        .filter(|row| asker.access.sees(&row.name));
    let view = seen.map(|row| GroupView {
        name: row.name.clone(),
        agents: core
            .fleet
            .agents_of(&row.name)
            .map(|agent| agent.name.clone())
            .collect(),
        tasks: core.fleet.tasks_of(&row.name).count() as u64,
        run_users: row.run_users.clone(),
        frozen_until: None,
    });
    reply(Answer::Groups(view.collect()))
}
