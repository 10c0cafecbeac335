//! The sub-reaper: a small process between the keeper and one command, where no cgroup can be written. It
//! inherits whatever the command leaves behind, so the tree is what is below it; it writes down how the command
//! ended, so no keeper need be there to see it; and it ends with the last process of its tree.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::process::{WaitOptions, getpid, set_child_subreaper, wait};
use serde::{Deserialize, Serialize};

use super::clock::boot_now;
use super::launch::Launch;
use super::supervise::Exit;
use super::sys::{self, Stage};
use super::tree::stat;
use super::wire::BootMs;

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
    pub exit: Option<Exit>,
}

/// Reads a record; a torn line is passed over.
pub(super) fn read(path: &std::path::Path) -> Record {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut record = Record::default();
    for line in text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
    {
        match line {
            Line::Stub { pid, start } => record.stub = Some((pid, start)),
            Line::Started { pid, at } => record.started = Some((pid, at)),
            Line::Failed { stage, errno } => record.failed = Some((stage, errno)),
            Line::Alone => record.alone = true,
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
    let pid = getpid().as_raw_pid();
    let start = stat(pid).map_or(0, |stat| stat.start);
    write(&mut record, &Line::Stub { pid, start })?;
    let mut text = String::new();
    File::from(fds.launch).read_to_string(&mut text)?;
    let launch: Launch = serde_json::from_str(&text)?;
    let null = File::open("/dev/null")?;
    let spawn = launch.spawn(
        null.as_fd(),
        fds.output.as_fd(),
        fds.marks.as_fd(),
        fds.lock.as_fd(),
        None,
    );
    let started = sys::spawn(&spawn);
    drop(spawn);
    let at = boot_now();
    let line = match &started {
        Ok(child) => Line::Started { pid: child.pid, at },
        Err(failed) => Line::Failed {
            stage: failed.stage,
            errno: failed.error.raw_os_error().unwrap_or(0),
        },
    };
    write(&mut record, &line)?;
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
                // In one write: the keeper sees both or none.
                if is_alone() {
                    write_all(record, &[Line::Alone, line])?;
                } else {
                    write_all(record, &[line])?;
                }
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return Ok(()),
        }
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
