//! `ucron agent add`: an admin on all groups. The center dials a host that waits to join; answered once the host
//! has stored its certificate, or why that did not come about.

use super::{Replied, Reply};
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::proto::request::AgentAdd;

pub(super) fn answer(core: &mut Core, asker: &Asker, ask: AgentAdd) -> Replied {
    asker.may_change_fleet()?;
    core.begin_add(asker, ask)?;
    Ok(Reply::Pending)
}
