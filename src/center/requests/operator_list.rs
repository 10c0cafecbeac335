//! `ucron operators`: whoever has a role on all groups.

use super::{Replied, reply};
use crate::auth::Deed;
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::select::refusal;
use crate::proto::request::{Answer, RefusalCode};
use crate::proto::view::{GroupRole, OperatorView};

pub(super) fn answer(core: &Core, asker: &Asker) -> Replied {
    asker.may(Deed::FleetSee, || {
        refusal(RefusalCode::Forbidden, "not allowed".to_owned(), None)
    })?;
    let mut operators: Vec<OperatorView> = core
        .fleet
        .operators
        .values()
        .map(|row| OperatorView {
            name: row.name.clone(),
            role: row.role,
            groups: row
                .roles
                .iter()
                .map(|(group, role)| GroupRole {
                    group: group.clone(),
                    role: *role,
                })
                .collect(),
            logged_in: row.logged_in,
        })
        .collect();
    operators.sort_by(|a, b| a.name.cmp(&b.name));
    reply(Answer::Operators(operators))
}
