//! The dashboard's watch: the fleet as the asker sees it, pushed.

use super::{Replied, Reply};
use crate::center::clients::Asker;
use crate::center::core::Core;
use crate::center::event::Now;

pub(super) fn answer(core: &mut Core, now: Now, asker: &Asker) -> Replied {
    core.open_watch(now, asker);
    Ok(Reply::Pending)
}
