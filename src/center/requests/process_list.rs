//! `ucron ps`: processes under way in the groups that the asker sees, daemons' slots included.

use super::{Replied, reply};
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::proto::request::{Answer, ProcessList};
use crate::proto::view::ProcessView;

pub(super) fn answer(core: &Core, asker: &Asker, ask: &ProcessList) -> Replied {
    let task = match &ask.task {
        Some(text) => Some(core.find_task(asker, text)?.task.path()),
        None => None,
    };
    if let Some(group) = &ask.group {
        core.find_group(asker, group)?;
    }
    if let Some(agent) = &ask.agent {
        core.find_agent(asker, agent)?;
    }
    let wanted = |view: &ProcessView| {
        asker.access.sees(&view.group)
            && task.as_ref().is_none_or(|path| *path == view.task)
            && ask.group.as_ref().is_none_or(|group| *group == view.group)
            && ask.agent.as_ref().is_none_or(|agent| *agent == view.agent)
    };
    let slots = core
        .slots
        .iter()
        .filter_map(|(key, slot)| core.slot_view(key, slot));
    let runs = core
        .open
        .iter()
        .filter_map(|run| core.run_process_view(run));
    let mut all: Vec<ProcessView> = slots.chain(runs).filter(wanted).collect();
    all.sort_by(|a, b| (&a.task, &a.agent, a.slot).cmp(&(&b.task, &b.agent, b.slot)));
    reply(Answer::Processes(all))
}
