//! `ucron group add`: an admin on all groups.

use super::{Audited, Replied, reply};
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::event::Now;
use crate::center::select::refusal;
use crate::center::watch::Touched;
use crate::proto::request::{Answer, GroupAdd, RefusalCode};
use crate::store::{GroupRow, Write};

pub(super) fn answer(core: &mut Core, now: Now, asker: &Asker, ask: &GroupAdd) -> Replied {
    asker.may_change_fleet()?;
    if core.fleet.groups.contains_key(&ask.group) {
        let message = format!("group {} is there already", ask.group);
        return Err(refusal(
            RefusalCode::Conflict,
            message,
            Some("`ucron groups` lists the groups"),
        ));
    }
    let row = GroupRow {
        name: ask.group.clone(),
        run_users: None,
        created_at: now.at,
    };
    core.write(Write::PutGroup(row.clone()));
    core.fleet.groups.insert(row.name.clone(), row);
    core.touch(&Touched::Group(ask.group.clone()));
    core.audit(
        now,
        asker,
        Audited::new("group add", &ask.group, Some(ask.group.clone())),
    );
    reply(Answer::Done)
}
