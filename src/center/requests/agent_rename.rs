//! `ucron agent rename`: an admin on all groups. Tasks that name the agent go on naming it.

use super::{Audited, Replied, reply};
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::event::Now;
use crate::center::select::refusal;
use crate::center::watch::Touched;
use crate::model::{AgentName, Target, Task};
use crate::proto::request::{AgentRename, Answer, RefusalCode};
use crate::store::Write;

pub(super) fn answer(core: &mut Core, now: Now, asker: &Asker, ask: &AgentRename) -> Replied {
    let mut row = core.find_agent(asker, &ask.agent)?.clone();
    asker.may_change_fleet()?;
    if core
        .fleet
        .agent_named(&ask.name)
        .is_some_and(|other| other.id != row.id)
    {
        let message = format!("an agent named {} is there already", ask.name);
        return Err(refusal(
            RefusalCode::Conflict,
            message,
            Some("choose another name"),
        ));
    }
    row.name = ask.name.clone();
    core.write(Write::PutAgent(Box::new(row.clone())));
    core.touch(&Touched::AgentName(ask.agent.clone()));
    core.touch(&Touched::Agent(row.id.clone()));
    core.fleet.agents.insert(row.id.clone(), row);
    retarget(core, &ask.agent, &ask.name);
    let mut entry = Audited::new("agent rename", &ask.agent, None);
    entry.after = Some(ask.name.to_string());
    core.audit(now, asker, entry);
    reply(Answer::Done)
}

fn retarget(core: &mut Core, old: &AgentName, new: &AgentName) {
    let naming =
        |task: &Task| matches!(&task.spec.target, Target::Named(names) if names.contains(old));
    let tasks: Vec<(Task, crate::model::UnixMs)> = core
        .fleet
        .tasks
        .values()
        .filter(|entry| naming(&entry.task))
        .map(|entry| (entry.task.clone(), entry.cursor))
        .collect();
    for (mut task, cursor) in tasks {
        if let Target::Named(names) = &mut task.spec.target {
            names.remove(old);
            names.insert(new.clone());
        }
        core.write(Write::PutTask(Box::new(task.clone())));
        let zone = core.settings.zone.clone();
        core.fleet.put_task(task, cursor, &zone);
    }
}
