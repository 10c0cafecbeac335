//! The watchdog for a terminal that dies without a HUP: crossterm 0.29 then reads for ever without a pause, so a
//! thread of its own watches stdin, tells the shell, and ends the process where the shell no longer hears.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::link::Sender;
use super::shell::News;

/// How often the thread looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(500);
/// How long the shell has to leave once the terminal is gone.
const GRACE: Duration = Duration::from_secs(2);
/// 128 and HUP.
const GONE: i32 = 129;

/// The watch over stdin; ends when dropped.
pub(super) struct Watchdog {
    is_over: Arc<AtomicBool>,
}

impl Watchdog {
    /// From now on.
    pub(super) fn start(news: Sender) -> io::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        std::thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || watch(&over, &news))?;
        Ok(Self { is_over })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

fn watch(is_over: &AtomicBool, news: &Sender) {
    while !is_over.load(Ordering::Relaxed) {
        if !is_gone() {
            continue;
        }
        // Where the queue is full the shell is stuck, which the grace is for.
        let _ = news.try_send(News::Gone);
        std::thread::sleep(GRACE);
        if !is_over.load(Ordering::Relaxed) {
            leave();
        }
        return;
    }
}

/// Waits a while and says whether the terminal is gone: hang-up and error are told without being asked for.
fn is_gone() -> bool {
    let stdin = io::stdin();
    let mut watched = [PollFd::new(&stdin, PollFlags::empty())];
    let wait = Timespec::try_from(LOOK).ok();
    match poll(&mut watched, wait.as_ref()) {
        Ok(0) => false,
        Ok(_) => watched[0]
            .revents()
            .intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL),
        Err(_) => {
            std::thread::sleep(LOOK);
            false
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the main thread spins in a foreign reader and cannot return an exit code"
)]
fn leave() {
    std::process::exit(GONE);
}
