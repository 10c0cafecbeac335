//! `ucron events`: what happens, in the groups that the asker sees.

use super::{Replied, Reply};
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::event::Now;
use crate::proto::request::Events;

pub(super) fn answer(core: &mut Core, now: Now, asker: &Asker, ask: &Events) -> Replied {
    core.open_events(now, asker, ask)?;
    Ok(Reply::Pending)
}
