//! `ucron group assign|unassign`: an admin on all groups. A daemon starts where an agent is assigned and ends
//! where it is unassigned.

use super::{Audited, Replied, Reply};
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::event::Now;
use crate::center::views::hms;
use crate::center::watch::Touched;
use crate::model::{AgentId, GroupName};
use crate::proto::request::{Answer, Changed, GroupAssign};
use crate::store::{AgentRow, Write};

pub(super) fn answer(core: &mut Core, now: Now, asker: &Asker, ask: &GroupAssign) -> Replied {
    core.find_group(asker, &ask.group)?;
    let mut rows = Vec::new();
    for name in &ask.agents {
        rows.push(core.find_agent(asker, name)?.clone());
    }
    asker.may_change_fleet()?;
    let change = core
        .changes
        .begin(now.at, asker.session, asker.request, None);
    core.drafts.change = Some(change);
    let deed = if ask.assign {
        "group assign"
    } else {
        "group unassign"
    };
    let mut changed = false;
    for row in rows
        .into_iter()
        .filter(|row| row.groups.contains(&ask.group) != ask.assign)
    {
        let reason = format!(
            "{deed} {} {} by {} at {}",
            ask.group,
            row.name,
            asker.operator,
            hms(now.at)
        );
        set_member(core, now, row, &ask.group, ask.assign, &reason);
        changed = true;
    }
    let names: Vec<&str> = ask
        .agents
        .iter()
        .map(crate::model::AgentName::as_str)
        .collect();
    core.audit(
        now,
        asker,
        Audited::new(
            deed,
            &format!("{} {}", ask.group, names.join(" ")),
            Some(ask.group.clone()),
        ),
    );
    let hit = Changed {
        changed,
        ..Changed::default()
    };
    core.changes.tell(change, hit.clone(), None);
    Ok(Reply::Later(Box::new(Answer::Changed(Box::new(hit)))))
}

fn set_member(
    core: &mut Core,
    now: Now,
    mut row: AgentRow,
    group: &GroupName,
    member: bool,
    reason: &str,
) {
    if member {
        row.groups.insert(group.clone());
    } else {
        row.groups.remove(group);
    }
    core.write(Write::PutAgent(Box::new(row.clone())));
    let id = row.id.clone();
    core.fleet.agents.insert(id.clone(), row);
    core.touch(&Touched::Agent(id.clone()));
    core.touch(&Touched::Group(group.clone()));
    core.members_changed(now, std::iter::once(group), reason);
    replan_group(core, now, group, &id, reason);
}

/// Runs planned already follow the new membership.
fn replan_group(core: &mut Core, now: Now, group: &GroupName, _agent: &AgentId, reason: &str) {
    let tasks: Vec<_> = core
        .fleet
        .tasks_of(group)
        .map(|entry| (entry.task.id.clone(), entry.task.spec.work.daemon))
        .collect();
    for (id, _) in tasks.into_iter().filter(|(_, daemon)| !daemon) {
        core.replan(now, &id, reason);
    }
}
