//! `ucron operator rm`: an admin on all groups; live sessions are cut at once. The last admin stays.

use super::{Audited, Replied, reply};
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::event::{Effect, Now};
use crate::center::select::refusal;
use crate::model::{OperatorId, OperatorName, Role};
use crate::proto::hello::{ErrorFrame, LinkError};
use crate::proto::request::{Answer, OperatorRemove, Refusal, RefusalCode};
use crate::store::{TokenFor, Write};

pub(super) fn answer(core: &mut Core, now: Now, asker: &Asker, ask: &OperatorRemove) -> Replied {
    asker.may_change_fleet()?;
    let row = core
        .fleet
        .operator_named(&ask.operator)
        .cloned()
        .ok_or_else(|| no_operator(&ask.operator))?;
    refuse_last_admin(core, &row.id)?;
    core.write(Write::RemoveOperator {
        operator: row.id.clone(),
        at: now.at,
    });
    core.fleet.operators.remove(&row.id);
    withdraw_tokens(core, &row.id);
    for session in core.clients.of(&row.id) {
        let message = "this operator was removed from the fleet".to_owned();
        core.later(Effect::Close(
            session,
            ErrorFrame {
                code: LinkError::Identity,
                message,
            },
        ));
        core.client_down(session);
    }
    core.audit(now, asker, Audited::new("operator rm", &row.name, None));
    reply(Answer::Done)
}

pub(super) fn no_operator(name: &OperatorName) -> Refusal {
    refusal(
        RefusalCode::NotFound,
        format!("no operator `{name}`"),
        Some("`ucron operators` lists them; `ucron token operator NAME` makes one"),
    )
}

/// A fleet without an admin on all groups cannot be mended.
pub(super) fn refuse_last_admin(core: &Core, id: &OperatorId) -> Result<(), Refusal> {
    let mut admins = core
        .fleet
        .operators
        .values()
        .filter(|row| row.role == Some(Role::Admin));
    if admins.all(|row| row.id == *id)
        && core
            .fleet
            .operators
            .get(id)
            .is_some_and(|row| row.role == Some(Role::Admin))
    {
        let message = "this is the last admin on all groups".to_owned();
        return Err(refusal(
            RefusalCode::Conflict,
            message,
            Some("grant the role to another operator first"),
        ));
    }
    Ok(())
}

fn withdraw_tokens(core: &mut Core, id: &OperatorId) {
    let theirs: Vec<String> = core
        .fleet
        .tokens
        .values()
        .filter(|token| token.purpose == TokenFor::Operator(id.clone()))
        .map(|token| token.hash.clone())
        .collect();
    for hash in theirs {
        core.fleet.tokens.remove(&hash);
        core.write(Write::RemoveToken { hash });
    }
}
