//! `ucron ls`: the tasks of the groups that the asker sees.

use super::{Replied, reply};
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::proto::request::{Answer, TaskList};

pub(super) fn answer(core: &Core, asker: &Asker, ask: &TaskList) -> Replied {
    if let Some(group) = &ask.group {
        core.find_group(asker, group)?;
    }
    let wanted =
        |group| asker.access.sees(group) && ask.group.as_ref().is_none_or(|only| only == group);
    let tasks = core
        .fleet
        .tasks_by_path()
        .filter(|entry| wanted(&entry.task.group));
    reply(Answer::Tasks(
        tasks
            .map(|entry| core.task_view(entry, &asker.access))
            .collect(),
    ))
}
