//! The dashboard's watch: the fleet as the asker sees it, pushed.

use super::Reply;
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::event::Now;

pub(super) fn answer(core: &mut Core, now: Now, asker: &Asker) -> Reply {
    core.open_watch(now, asker);
    Reply::Pending
}
