//! `ucron events`: what happens, in the groups that the asker sees.

use super::{Replied, Reply};
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::proto::request::Events;

pub(super) fn answer(core: &mut Core, asker: &Asker, ask: &Events) -> Replied {
    core.open_events(asker, ask)?;
    Ok(Reply::Pending)
}
