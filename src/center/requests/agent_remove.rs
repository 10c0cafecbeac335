//! `ucron agent rm`: an admin on all groups. Its link is cut at once; what was open on it and may have started
//! is lost, the rest missed; its history stays.

use super::{Audited, Replied, reply};
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::event::{Effect, Now};
use crate::center::runs::Stage;
use crate::center::views::hms;
use crate::center::watch::Touched;
use crate::model::{AgentId, Ending, Outcome, RunId};
use crate::proto::hello::{ErrorFrame, LinkError};
use crate::proto::request::{AgentRemove, Answer};
use crate::store::{AgentRow, Write};

pub(super) fn answer(core: &mut Core, now: Now, asker: &Asker, ask: &AgentRemove) -> Replied {
    let row = core.find_agent(asker, &ask.agent)?.clone();
    asker.may_change_fleet()?;
    let reason = format!(
        "agent {} removed by {} at {}",
        row.name,
        asker.operator,
        hms(now.at)
    );
    if let Some(session) = core.sessions.of(&row.id).map(|session| session.id) {
        let message = "this agent was removed from the fleet".to_owned();
        core.later(Effect::Close(
            session,
            ErrorFrame {
                code: LinkError::Identity,
                message,
            },
        ));
        core.agent_down(now, session, "removed");
    }
    core.remove_agent(now, &row, &reason);
    core.audit(now, asker, Audited::new("agent rm", &row.name, None));
    reply(Answer::Done)
}

impl Core {
    /// Takes an agent out of memory and store, with what was open on it.
    pub(in crate::center) fn remove_agent(&mut self, now: Now, row: &AgentRow, reason: &str) {
        self.end_all(now, &row.id, reason);
        self.slots.retain(|key, _| key.agent != row.id);
        self.write(Write::RemoveAgent {
            agent: row.id.clone(),
            at: now.at,
        });
        self.fleet.agents.remove(&row.id);
        self.touch(&Touched::AgentName(row.name.clone()));
        self.holders.retain(|_, holder| *holder != row.id);
        self.members_changed(now, row.groups.iter(), reason);
        self.dial_members();
    }

    /// What was due by now has its outcome; what is due later gets it then, since a next center, which plans its window
    /// anew, would not know of one that came before.
    fn end_all(&mut self, now: Now, agent: &AgentId, reason: &str) {
        for id in self.open.of_agent(agent) {
            let Some(run) = self.open.get_mut(&id) else {
                continue;
            };
            if run.row.run.fire_at() > now.at && !run.stage.has_started() {
                run.refused = Some(reason.to_owned());
                continue;
            }
            if run.stage == Stage::Waiting {
                self.end_missed(now, &id, reason);
            } else {
                self.end_removed(now, &id, reason);
            }
        }
    }

    /// A run that a removed agent may have started.
    pub(in crate::center) fn end_removed(&mut self, now: Now, id: &RunId, reason: &str) {
        let reason = format!("{reason}; it may have started");
        self.end_run(now, id, &Ending::unstarted(Outcome::Lost, reason, now.at));
    }
}
