//! `ucron audit`: entries about groups that the asker administers; all for whoever has a role on all groups.

use super::Reply;
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::event::Effect;
use crate::center::reads::Reading;
use crate::proto::request::Audit;

pub(super) fn answer(core: &mut Core, asker: &Asker, ask: &Audit) -> Reply {
    let groups = (!asker.access.sees_all()).then(|| asker.access.groups.keys().cloned().collect());
    let ticket = core.ticket();
    core.reading.insert(ticket, Reading::Audit(asker.clone()));
    core.now(Effect::ReadAudit(ticket, groups, ask.limit));
    Reply::Pending
}
