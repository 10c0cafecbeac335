//! `ucron kill`: an operator in the group; ends this run only, the schedule goes on, no retry follows.

use super::{Audited, Replied, Reply};
use crate::auth::Deed;
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::event::Now;
use crate::center::reads::is_run_text;
use crate::center::select::{no_run, refusal};
use crate::center::views::hms;
use crate::proto::request::{Answer, Changed, Refusal, RefusalCode, RunKill};
use crate::proto::view::RunView;

pub(super) fn answer(core: &mut Core, now: Now, asker: &Asker, ask: &RunKill) -> Replied {
    let live = if is_run_text(&ask.run) {
        core.live_run(asker, &ask.run)?
    } else {
        None
    };
    let Some(view) = live else {
        let hint = "`ucron ps` lists the runs under way";
        return Err(refusal(
            RefusalCode::NotFound,
            no_run(&ask.run).message + " under way",
            Some(hint),
        ));
    };
    asker.may(Deed::TaskChange(&view.group), || no_run(&ask.run))?;
    refuse_away(core, &view)?;
    let change = core
        .changes
        .begin(now.at, asker.session, asker.request, None);
    core.drafts.change = Some(change);
    let reason = format!("killed by {} at {}", asker.operator, hms(now.at));
    core.kill_run(&view, ask.signal, reason);
    core.audit(
        now,
        asker,
        Audited::new("kill", &view.run_id, Some(view.group.clone())),
    );
    let hit = Changed {
        changed: true,
        stopped: 1,
        ..Changed::default()
    };
    core.changes.tell(change, hit.clone(), None);
    Ok(Reply::Later(Box::new(Answer::Changed(Box::new(hit)))))
}

/// A signal is for now: it is not kept for an agent that comes back later, as a stop is.
fn refuse_away(core: &Core, view: &RunView) -> Result<(), Refusal> {
    let agent = view
        .agent
        .as_ref()
        .and_then(|name| core.fleet.agent_named(name));
    match agent {
        Some(row) if core.sessions.is_linked(&row.id) => Ok(()),
        _ => {
            let name = view.agent.as_ref().map_or("none", |name| name.as_str());
            let message = format!(
                "agent {name} is not connected: run {} cannot be ended now",
                view.run_id
            );
            let hint = "say it again once `ucron agents` shows it online; `ucron stop TASK` is kept until then";
            Err(refusal(RefusalCode::Unavailable, message, Some(hint)))
        }
    }
}
