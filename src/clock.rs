//! The clocks: the only reader of the wall clock and of the boot-time clock, and the alarm that fires runs.
//! Pure modules never import it; they take `now`.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::model::{BootId, UnixMs};

/// The wall clock.
pub fn now() -> UnixMs {
    let at = clock_gettime(ClockId::Realtime);
    UnixMs(at.tv_sec * 1000 + at.tv_nsec / 1_000_000 + shift::now())
}

/// A wall clock that is wrong for one program, as a test wants it: in debug builds only. `UCRON_CLOCK` names a file
/// that holds the milliseconds by which the clock is ahead; where it is not there from the start, the clock is right.
#[cfg(debug_assertions)]
mod shift {
    use std::path::{Path, PathBuf};
    use std::sync::OnceLock;
    use std::time::Duration;

    const VARIABLE: &str = "UCRON_CLOCK";
    /// How often it is looked whether the clock was stepped.
    const LOOK: Duration = Duration::from_millis(20);

    /// The file, if it was there when the program first asked.
    fn file() -> Option<&'static Path> {
        static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
        let named = || std::env::var_os(VARIABLE).map(PathBuf::from);
        let file = FILE.get_or_init(|| named().filter(|path| path.exists()));
        file.as_deref()
    }

    pub fn now() -> i64 {
        let text = file().and_then(|path| std::fs::read_to_string(path).ok());
        text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    /// Returns when it differs from what was seen.
    pub async fn differs(seen: &mut i64) {
        if file().is_none() {
            return std::future::pending().await;
        }
        while now() == *seen {
            tokio::time::sleep(LOOK).await;
        }
        *seen = now();
    }
}

/// The wall clock of a release build is the system's.
#[cfg(not(debug_assertions))]
mod shift {
    #[inline(always)]
    pub fn now() -> i64 {
        0
    }

    pub async fn differs(_: &mut i64) {
        std::future::pending().await
    }
}

/// The boot-time clock (`CLOCK_BOOTTIME`): monotonic, running through suspends, zero at boot.
pub fn boot_time() -> Duration {
    let at = clock_gettime(ClockId::Boottime);
    Duration::new(at.tv_sec.unsigned_abs(), nanos(at.tv_nsec))
}

/// The boot-time clock in whole milliseconds.
pub fn boot_ms() -> u64 {
    u64::try_from(boot_time().as_millis()).unwrap_or(u64::MAX)
}

fn nanos(nsec: i64) -> u32 {
    u32::try_from(nsec).unwrap_or(0)
}

/// The kernel's id of this boot.
pub fn boot_id() -> io::Result<BootId> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    text.trim().parse().map_err(io::Error::other)
}

/// One alarm on the boot-time clock, late by about 0.1 ms (tokio's own timer by 1 to 2 ms).
#[derive(Debug)]
pub struct Alarm {
    timer: AsyncFd<OwnedFd>,
}

impl Alarm {
    /// An alarm that is not set. Needs a runtime around it.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            timer: timer(TimerfdClockId::Boottime)?,
        })
    }

    /// Sets it to this reading of the boot-time clock ([`boot_time`]), whatever it was set to before; what is
    /// past goes off at once. None: it does not go off.
    pub fn set(&self, at: Option<Duration>) -> io::Result<()> {
        // A value of zero disarms a timer; an instant at boot itself is past all the same.
        let value = at.map_or(Duration::ZERO, |at| at.max(Duration::from_nanos(1)));
        set_timer(&self.timer, value, TimerfdTimerFlags::ABSTIME)
    }

    /// Returns when it has gone off since the last call. Dropping the future loses nothing.
    pub async fn wait(&self) -> io::Result<()> {
        read_timer(&self.timer).await
    }
}

/// Tells when somebody steps the wall clock.
#[derive(Debug)]
pub struct WallSteps {
    timer: AsyncFd<OwnedFd>,
    /// The shift last seen, which only tests have.
    shift: i64,
}

/// An instant on the wall clock that no step reaches: the timer exists to be cancelled.
const NEVER: Duration = Duration::from_secs(1 << 40);

impl WallSteps {
    /// Watches from now on. Needs a runtime around it.
    pub fn new() -> io::Result<Self> {
        let steps = Self {
            timer: timer(TimerfdClockId::Realtime)?,
            shift: shift::now(),
        };
        steps.arm()?;
        Ok(steps)
    }

    fn arm(&self) -> io::Result<()> {
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        set_timer(&self.timer, NEVER, flags)
    }

    /// Returns when the wall clock has been set since the last call (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET).
    pub async fn wait(&mut self) -> io::Result<()> {
        let read = tokio::select! {
            read = read_timer(&self.timer) => read,
            () = shift::differs(&mut self.shift) => return Ok(()),
        };
        match read {
            Err(error) if error.raw_os_error() == Some(Errno::CANCELED.raw_os_error()) => {
                self.arm()
            }
            other => other,
        }
    }
}

fn timer(clock: TimerfdClockId) -> io::Result<AsyncFd<OwnedFd>> {
    let fd = timerfd_create(clock, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
    #[allow(
        deprecated,
        reason = "its successor is unsafe for types that may give another descriptor later; an OwnedFd never does"
    )]
    AsyncFd::with_interest(fd, Interest::READABLE)
}

fn set_timer(
    timer: &AsyncFd<OwnedFd>,
    value: Duration,
    flags: TimerfdTimerFlags,
) -> io::Result<()> {
    let spec = Itimerspec {
        it_interval: Timespec::default(),
        it_value: Timespec {
            tv_sec: i64::try_from(value.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(value.subsec_nanos()),
        },
    };
    timerfd_settime(timer.get_ref(), flags, &spec)?;
    Ok(())
}

async fn read_timer(timer: &AsyncFd<OwnedFd>) -> io::Result<()> {
    loop {
        let mut ready = timer.readable().await?;
        let mut count = [0; 8];
        let read = ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut count)?));
        match read {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(Err(error)) => return Err(error),
            // Set anew in between: nothing to read after all.
            Err(_would_block) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_alarm_goes_off_at_its_instant_and_not_before() {
        let alarm = Alarm::new().unwrap();
        for wait in [0, 1, 20] {
            let at = boot_time() + Duration::from_millis(wait);
            alarm.set(Some(at)).unwrap();
            tokio::time::timeout(Duration::from_secs(10), alarm.wait())
                .await
                .expect("the alarm goes off")
                .unwrap();
            assert!(boot_time() >= at);
        }
    }

    #[tokio::test]
    async fn an_alarm_set_to_none_stays_silent() {
        let alarm = Alarm::new().unwrap();
        alarm
            .set(Some(boot_time() + Duration::from_millis(5)))
            .unwrap();
        alarm.set(None).unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(50), alarm.wait()).await;
        assert!(waited.is_err());
    }

    #[test]
    fn the_clocks_read_what_the_system_says() {
        assert!(now() > UnixMs(1_700_000_000_000));
        assert!(boot_ms() > 0);
        assert!(boot_id().unwrap().as_str().len() == 36);
    }
}
