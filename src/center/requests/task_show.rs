//! `ucron show TASK`: whoever sees the group.

use super::{Replied, reply};
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::proto::request::{Answer, TaskShow};

pub(super) fn answer(core: &Core, asker: &Asker, ask: &TaskShow) -> Replied {
    let entry = core.find_task(asker, &ask.task)?;
    reply(Answer::Task(Box::new(core.task_view(entry, &asker.access))))
}
