//! `ucron agent drain|undrain`: an admin on all groups. No new runs; what runs may end; daemons end with
//! `--daemons`.

use super::{Audited, Replied, reply};
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::event::Now;
use crate::center::views::hms;
use crate::center::watch::Touched;
use crate::model::Task;
use crate::proto::request::{AgentDrain, Answer};
use crate::store::Write;

pub(super) fn answer(core: &mut Core, now: Now, asker: &Asker, ask: &AgentDrain) -> Replied {
    let mut row = core.find_agent(asker, &ask.agent)?.clone();
    asker.may_change_fleet()?;
    row.draining = ask.drain;
    row.drain_daemons = ask.drain && ask.daemons;
    core.write(Write::PutAgent(Box::new(row.clone())));
    core.fleet.agents.insert(row.id.clone(), row.clone());
    core.touch(&Touched::Agent(row.id.clone()));
    let deed = if ask.drain { "drain" } else { "undrain" };
    let reason = format!(
        "{deed}ed: agent {} by {} at {}",
        row.name,
        asker.operator,
        hms(now.at)
    );
    core.members_changed(now, row.groups.iter(), &reason);
    core.hand_out_waiting(&row.id);
    core.audit(
        now,
        asker,
        Audited::new(
            if ask.drain {
                "agent drain"
            } else {
                "agent undrain"
            },
            &row.name,
            None,
        ),
    );
    reply(Answer::Done)
}

impl Core {
    /// Groups have other members now, or members that take other work: their daemons are given out anew.
    pub(in crate::center) fn members_changed<'a>(
        &mut self,
        _now: Now,
        groups: impl Iterator<Item = &'a crate::model::GroupName>,
        reason: &str,
    ) {
        let tasks: Vec<Task> = groups
            .flat_map(|group| self.fleet.tasks_of(group))
            .map(|entry| entry.task.clone())
            .collect();
        for task in tasks.iter().filter(|task| task.spec.work.daemon) {
            self.redistribute(Some(task), Some(task), reason);
        }
    }
}
