//! The limits of this machine, measured in the same run as what is compared with them: a bare timerfd with a spawn
//! behind it, a bare loop of spawns, a bare process that only waits for a timer.
#![allow(dead_code, reason = "shared by the benchmarks; each uses a part")]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// Argument with which a benchmark starts itself again as the process that only waits.
pub const WAIT: &str = "only-wait";

fn wait_for(second: i64) {
    let timer = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::CLOEXEC).unwrap();
    let at = Itimerspec {
        it_interval: Timespec::default(),
        it_value: Timespec {
            tv_sec: second,
            tv_nsec: 0,
        },
    };
    timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME, &at).unwrap();
    let mut expired = [0; 8];
    rustix::io::read(&timer, &mut expired).unwrap();
}

fn spawn() -> Child {
    let mut program = Command::new("/bin/true");
    program.stdin(Stdio::null()).stdout(Stdio::null());
    program.stderr(Stdio::null()).spawn().unwrap()
}

/// How late a timer and so many spawns behind it are, at each of these full seconds; milliseconds, sorted.
pub fn lateness(seconds: i64, spawns: usize) -> Vec<i64> {
    let first = ucron::clock::now().0 / 1000 + 1;
    let mut late = Vec::new();
    for second in first..first + seconds {
        wait_for(second);
        let mut children = Vec::new();
        for _ in 0..spawns {
            children.push(spawn());
            late.push(ucron::clock::now().0 - second * 1000);
        }
        for mut child in children {
            child.wait().unwrap();
        }
    }
    late.sort_unstable();
    late
}

/// Spawns per second of a bare loop on this many threads.
pub fn spawns_per_second(count: usize, threads: usize) -> f64 {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for _ in 0..count / threads {
                    spawn().wait().unwrap();
                }
            });
        }
    });
    per_second(count, begun.elapsed())
}

pub fn per_second(count: usize, span: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap()) / span.as_secs_f64()
}

/// What [`WAIT`] does: a timer each second, for ever.
pub fn only_wait() -> ! {
    let mut second = ucron::clock::now().0 / 1000;
    loop {
        second += 1;
        wait_for(second);
    }
}
