//! The sub-reaper: a small process between the keeper and one command, where no cgroup can be written. It
//! inherits whatever the command leaves behind, so the tree is what is below it; it writes down how the command
//! ended, so no keeper need be there to see it; and it ends with the last process of its tree.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::fs::FallocateFlags;
use rustix::process::{WaitOptions, getpid, set_child_subreaper, wait};
use serde::{Deserialize, Serialize};

use super::clock::boot_now;
use super::failpoint::{self, Point};
use super::launch::Launch;
use super::supervise::{Exit, Used};
use super::sys::{self, Stage};
use super::tree::stat;
use super::wire::BootMs;

/// Bytes that a record takes at most.
const ROOM: u64 = 4096;
/// A record that cannot be written is tried again this often.
const AGAIN: Duration = Duration::from_secs(1);

/// A line of a sub-reaper's record, which outlives the keeper.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Line {
    /// The sub-reaper itself.
    Stub {
        /// Its pid.
        pid: i32,
        /// Its start, in ticks after boot.
        start: u64,
    },
    /// The command runs.
    Started {
        /// Its pid.
        pid: i32,
        /// When.
        at: BootMs,
    },
    /// The command was not reached.
    Failed {
        /// The step.
        stage: Stage,
        /// The error's number.
        errno: i32,
    },
    /// Nothing of the tree is left; stands before the exit.
    Alone,
    /// What the tree took until its command ended; stands before the exit.
    Used {
        /// Most bytes of memory of one process.
        peak_memory: Option<u64>,
        /// Microseconds of processor time.
        cpu_us: u64,
    },
    /// The command exited with this code.
    Code(i32),
    /// The command was ended by this signal.
    Signal(i32),
}

/// What a record says.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Record {
    pub stub: Option<(i32, u64)>,
    pub started: Option<(i32, BootMs)>,
    pub failed: Option<(Stage, i32)>,
    /// Nothing was left when the command ended.
    pub alone: bool,
    pub used: Used,
    pub exit: Option<Exit>,
    /// A line could not be read: what it said is not known.
    pub torn: bool,
}

/// Reads a record; of a torn line only that it is there.
pub(super) fn read(path: &std::path::Path) -> Record {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut record = Record::default();
    for line in text.lines() {
        let Ok(line) = serde_json::from_str(line) else {
            record.torn = true;
            continue;
        };
        match line {
            Line::Stub { pid, start } => record.stub = Some((pid, start)),
            Line::Started { pid, at } => record.started = Some((pid, at)),
            Line::Failed { stage, errno } => record.failed = Some((stage, errno)),
            Line::Alone => record.alone = true,
            Line::Used {
                peak_memory,
                cpu_us,
            } => {
                record.used = Used {
                    peak_memory,
                    cpu: Some(Duration::from_micros(cpu_us)),
                    out_of_memory: 0,
                };
            }
            Line::Code(code) => record.exit = Some(Exit::Code(code)),
            Line::Signal(signal) => record.exit = Some(Exit::Signal(signal)),
        }
    }
    record
}

/// The descriptors that a sub-reaper is started with, in the order of its arguments.
struct Fds {
    launch: OwnedFd,
    output: OwnedFd,
    record: OwnedFd,
    marks: OwnedFd,
    lock: OwnedFd,
    report: OwnedFd,
}

/// The sub-reaper's main; `args` are the run's file name (for people who read `ps`) and six descriptors.
pub fn run(args: &[OsString]) -> io::Result<()> {
    let wrong = || {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "the keeper starts this by itself",
        )
    };
    let fd = |at: usize| -> io::Result<OwnedFd> {
        let number = args.get(at).and_then(|arg| arg.to_str()?.parse().ok());
        sys::inherited(number.ok_or_else(wrong)?)
    };
    let fds = Fds {
        launch: fd(1)?,
        output: fd(2)?,
        record: fd(3)?,
        marks: fd(4)?,
        lock: fd(5)?,
        report: fd(6)?,
    };
    nix::sys::signal::SigSet::all().thread_block()?;
    set_child_subreaper(Some(getpid()))?;
    let mut record = File::from(fds.record);
    failpoint::reach(Point::StubBegun);
    let pid = getpid().as_raw_pid();
    let start = stat(pid).map_or(0, |stat| stat.start);
    let reserved = reserve(&record).and_then(|()| write(&mut record, &Line::Stub { pid, start }));
    if let Err(e) = reserved {
        let stage = Stage::Mark;
        let errno = e.raw_os_error().unwrap_or(libc::EIO);
        return write(&mut File::from(fds.report), &Line::Failed { stage, errno });
    }
    failpoint::reach(Point::StubRecorded);
    let mut text = String::new();
    File::from(fds.launch).read_to_string(&mut text)?;
    let launch: Launch = serde_json::from_str(&text)?;
    let null = File::open("/dev/null")?;
    let mut spawn = launch.spawn(
        null.as_fd(),
        fds.output.as_fd(),
        fds.marks.as_fd(),
        fds.lock.as_fd(),
        None,
    );
    // Where this process is ended meanwhile, the keeper hears of it only when the command was reached, or never will be.
    spawn.until_exec.push(fds.report.as_fd());
    let started = sys::spawn(&spawn);
    drop(spawn);
    failpoint::reach(Point::StubCloned);
    let at = boot_now();
    let line = match &started {
        Ok(child) => Line::Started { pid: child.pid, at },
        Err(failed) => Line::Failed {
            stage: failed.stage,
            errno: failed.error.raw_os_error().unwrap_or(0),
        },
    };
    // The command runs: from here on nothing ends the sub-reaper before its tree.
    drop(write(&mut record, &line));
    failpoint::reach(Point::StubStartedWritten);
    // Nobody may be left to read it.
    drop(write(&mut File::from(fds.report), &line));
    drop((fds.output, fds.marks, fds.lock, null, launch, text));
    match started {
        Ok(child) => reap(child.pid, &mut record),
        Err(_) => Ok(()),
    }
}

/// Waits for the last process of the tree.
fn reap(command: i32, record: &mut File) -> io::Result<()> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_pid() == command => {
                let line = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => Line::Code(code),
                    (None, signal) => Line::Signal(signal.unwrap_or(0)),
                };
                let took = sys::children_took();
                let used = Line::Used {
                    peak_memory: took.peak_memory(),
                    cpu_us: u64::try_from(took.cpu.as_micros()).unwrap_or(u64::MAX),
                };
                failpoint::reach(Point::StubExitSeen);
                // In one write: the keeper sees all or none.
                if is_alone() {
                    persist(record, &[Line::Alone, used, line]);
                } else {
                    persist(record, &[used, line]);
                }
                failpoint::reach(Point::StubExitWritten);
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return Ok(()),
        }
    }
}

/// Takes the room that a record needs, so that a disk which fills up meanwhile loses no exit status.
fn reserve(record: &File) -> io::Result<()> {
    match rustix::fs::fallocate(record, FallocateFlags::KEEP_SIZE, 0, ROOM) {
        Err(rustix::io::Errno::OPNOTSUPP) | Ok(()) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Writes until it is written: the tree is held meanwhile, and nobody else knows how its command ended.
fn persist(record: &mut File, lines: &[Line]) {
    while write_all(record, lines).is_err() {
        std::thread::sleep(AGAIN);
        // A part may have been written; the reader passes a torn line over.
        drop(record.write_all(b"\n"));
    }
}

/// Whether no child is left, reaping those that have ended.
fn is_alone() -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
}

fn write(file: &mut File, line: &Line) -> io::Result<()> {
    write_all(file, std::slice::from_ref(line))
}

fn write_all(file: &mut File, lines: &[Line]) -> io::Result<()> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line)?;
        text.push(b'\n');
    }
    file.write_all(&text)
}
