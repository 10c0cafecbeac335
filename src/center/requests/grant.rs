//! `ucron grant|ungrant`: an admin in the group, or on all groups.

use super::operator_remove::{no_operator, refuse_last_admin};
use super::{Audited, Replied, reply};
use crate::auth::Deed;
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::event::Now;
use crate::center::select::{no_group, refusal};
use crate::model::Role;
use crate::proto::request::{Answer, Grant, RefusalCode};
use crate::store::{OperatorRow, Write};

pub(super) fn answer(core: &mut Core, now: Now, asker: &Asker, ask: &Grant) -> Replied {
    if let Some(group) = &ask.group {
        core.find_group(asker, group)?;
    }
    asker.may(Deed::Grant(ask.group.as_ref(), ask.role), || {
        no_group(ask.group.as_ref().map_or("", |group| group.as_str()))
    })?;
    let mut row = core
        .fleet
        .operator_named(&ask.operator)
        .cloned()
        .ok_or_else(|| no_operator(&ask.operator))?;
    if ask.group.is_none() && !(ask.grant && ask.role == Role::Admin) {
        refuse_last_admin(core, &row.id)?;
    }
    if !apply(&mut row, ask) {
        let place = ask
            .group
            .as_ref()
            .map_or("on all groups".to_owned(), |group| {
                format!("in group {group}")
            });
        let message = format!(
            "operator {} does not have the role {} {place}",
            row.name, ask.role
        );
        return Err(refusal(
            RefusalCode::Conflict,
            message,
            Some("`ucron operators` shows who has which role"),
        ));
    }
    core.write(Write::PutOperator(Box::new(row.clone())));
    core.fleet.operators.insert(row.id.clone(), row);
    let deed = if ask.grant { "grant" } else { "ungrant" };
    core.audit(
        now,
        asker,
        Audited::new(
            deed,
            &format!("{} {}", ask.operator, ask.role),
            ask.group.clone(),
        ),
    );
    reply(Answer::Done)
}

/// Changes the row; false where a role to be taken away is not there.
fn apply(row: &mut OperatorRow, ask: &Grant) -> bool {
    let now = match &ask.group {
        None => row.role,
        Some(group) => row.roles.get(group).copied(),
    };
    if !ask.grant && now != Some(ask.role) {
        return false;
    }
    let wanted = ask.grant.then_some(ask.role);
    match (&ask.group, wanted) {
        (None, role) => row.role = role,
        (Some(group), Some(role)) => drop(row.roles.insert(group.clone(), role)),
        (Some(group), None) => drop(row.roles.remove(group)),
    }
    true
}
