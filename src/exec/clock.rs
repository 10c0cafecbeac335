//! The keeper's clocks: the boot-time clock for everything that is timed, the center's time for reports.

use super::supervise::Now;
use super::wire::BootMs;
use crate::clock;
use crate::model::UnixMs;

/// Boot-time now.
pub(super) fn boot_now() -> BootMs {
    BootMs(clock::boot_ms())
}

/// Knows the center's time once the agent has told it, and takes the host's until then.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Clock {
    /// What to add to the boot-time clock.
    pub offset_ms: Option<i64>,
}

impl Clock {
    /// What to add to the host's clock to have the center's time.
    pub fn skew_ms(self) -> i64 {
        self.now().center.0 - clock::now().0
    }

    pub fn now(self) -> Now {
        let boot = boot_now();
        let own = i64::try_from(boot.0).unwrap_or(i64::MAX);
        let center = match self.offset_ms {
            Some(offset) => own.saturating_add(offset),
            None => clock::now().0,
        };
        Now {
            boot,
            center: UnixMs(center),
        }
    }
}
