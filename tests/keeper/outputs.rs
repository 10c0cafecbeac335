//! Output: its cap, what is missing of it, how it is read, what stays of it, and what much of it costs.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use ucron::exec::wire::{Command, Event, LogFrom};
use ucron::model::{Outcome, RunId};

use crate::world::{
    Agent, World, count_files, eventually, kill, needs_root, output, program, shell, start,
    with_tail,
};

/// A piece of output: where it begins, and its bytes.
type Piece = (u64, Vec<u8>);

/// Reads a run's output as a reader does that takes all.
fn read(agent: &Agent, run_id: &RunId, from: LogFrom) -> Vec<Piece> {
    let stream = 7;
    agent.send(Command::ReadLog {
        stream,
        run_id: run_id.clone(),
        attempt: None,
        from,
        follow: false,
    });
    let mut pieces = Vec::new();
    while let Some((offset, bytes)) = next_piece(agent, stream) {
        let taken = bytes.len() as u64;
        agent.send(Command::LogCredit {
            stream,
            bytes: taken,
        });
        pieces.push((offset, bytes));
    }
    pieces
}

fn next_piece(agent: &Agent, wanted: u64) -> Option<Piece> {
    agent.wait("a piece of output", |event| match event {
        Event::Log {
            stream,
            offset,
            data,
            ..
        } if *stream == wanted => Some(Some((*offset, STANDARD.decode(data).unwrap()))),
        Event::LogEnd { stream, error } if *stream == wanted => {
            assert_eq!(*error, None);
            Some(None)
        }
        _ => None,
    })
}

/// The files below a directory whose names end so.
fn files(dir: &Path, end: &str) -> Vec<PathBuf> {
    let below = |path: PathBuf| {
        if path.is_dir() {
            files(&path, end)
        } else {
            vec![path]
        }
    };
    let entries = std::fs::read_dir(dir).unwrap().flatten();
    let all = entries.flat_map(|entry| below(entry.path()));
    all.filter(|path| path.to_string_lossy().ends_with(end))
        .collect()
}

#[test]
fn the_cap_is_kept_while_a_command_writes_and_the_gap_is_told() {
    let settings = "output_cap = \"1MiB\"\noutput_size = \"16MiB\"\n";
    let world = World::with_settings("subreaper", settings);
    let agent = world.agent();
    let gate = world.work("gate");
    // A million of `a`, and once that was seen and punched, a million and some more.
    let million = "head -c 5000000 /dev/zero | tr '\\0' a";
    let line = format!(
        "{million}; while ! test -e {gate}; do sleep 0.05; done; {million}; echo end",
        gate = gate.display()
    );
    let start = start(with_tail(shell(line)));
    let run_id = start.run.run_id.clone();
    agent.send(Command::Start(Box::new(start)));
    let base = world.state().join("output");
    eventually("the gap is recorded", || !files(&base, ".gap").is_empty());
    std::fs::write(gate, "").unwrap();
    let ending = agent.ended(&run_id);
    assert_eq!(
        (ending.output_bytes, ending.output_cut),
        (Some(10_000_004), None)
    );
    let gap = ending.output_gap.unwrap();
    assert!(gap > 9_000_000, "{gap}");
    assert!(ending.tail.unwrap().ends_with("aaaend\n"));
    let file = &files(&base, ".1")[0];
    let kept = std::fs::metadata(file).unwrap().blocks() * 512;
    assert!(kept <= (1 << 20) + 8192, "{kept} bytes are on the disk");
    let pieces = read(&agent, &run_id, LogFrom::Offset(0));
    let mut expected = 0;
    let mut jumps = Vec::new();
    for (offset, bytes) in &pieces {
        if *offset != expected {
            jumps.push(offset - expected);
        }
        assert!(
            bytes.iter().all(|byte| b"aend\n".contains(byte)),
            "zeros are no output"
        );
        expected = offset + bytes.len() as u64;
    }
    assert_eq!((expected, jumps), (10_000_004, vec![gap]));
    // From inside the gap one is led behind it; lines are counted from the end.
    let behind = read(
        &agent,
        &run_id,
        LogFrom::Place {
            attempt: 1,
            offset: 300_000,
        },
    );
    assert_eq!(
        behind[0].0,
        pieces
            .iter()
            .map(|(offset, _)| *offset)
            .find(|at| *at > gap)
            .unwrap()
    );
    assert_eq!(
        read(&agent, &run_id, LogFrom::Lines(1))[0].0,
        0,
        "it is one line"
    );
}

#[test]
fn both_streams_are_in_order_and_opening_them_anew_is_as_the_page_says() {
    World::each(|world| {
        let agent = world.agent();
        assert_eq!(
            output(&agent, shell("echo a; echo b >&2; echo c")),
            "a\nb\nc\n"
        );
        let anew = "echo a; (echo b > /dev/stdout) 2>/dev/null || echo refused; echo c";
        let ending = agent.run(with_tail(shell(anew)));
        assert_eq!(ending.outcome, Outcome::Succeeded);
        let tail = ending.tail.unwrap();
        // The file is the keeper's: another account may not open it, its own cuts it.
        if crate::world::is_root() {
            assert_eq!(tail, "a\nrefused\nc\n");
        } else {
            assert_eq!(tail, "b\nc\n");
        }
    });
}

#[test]
fn output_that_its_command_cuts_is_told_as_such_and_read_on() {
    if !program("perl")
        .arg("-e1")
        .status()
        .is_ok_and(|status| status.success())
    {
        drop(writeln!(std::io::stderr(), "skipped, there is no perl"));
        return;
    }
    let world = World::new("subreaper");
    let agent = world.agent();
    let (cut, end) = (world.work("cut"), world.work("end"));
    let line = format!(
        "seq 1 100; while ! test -e {}; do sleep 0.05; done; perl -e 'truncate(STDOUT, 0)'; echo new; \
         while ! test -e {}; do sleep 0.05; done; echo last",
        cut.display(),
        end.display()
    );
    let start = start(with_tail(shell(line)));
    let run_id = start.run.run_id.clone();
    agent.send(Command::Start(Box::new(start)));
    agent.started(&run_id);
    agent.send(Command::ReadLog {
        stream: 1,
        run_id: run_id.clone(),
        attempt: None,
        from: LogFrom::Offset(0),
        follow: true,
    });
    let mut seen = 0;
    while seen < 292 {
        seen += next_piece(&agent, 1).unwrap().1.len();
    }
    let base = world.state().join("output");
    eventually("its size was seen", || !files(&base, ".times").is_empty());
    std::fs::write(cut, "").unwrap();
    let (offset, bytes) = next_piece(&agent, 1).unwrap();
    assert_eq!((offset, bytes.as_slice()), (0, &b"new\n"[..]));
    std::fs::write(end, "").unwrap();
    assert_eq!(next_piece(&agent, 1).unwrap(), (4, b"last\n".to_vec()));
    let ending = agent.ended(&run_id);
    assert_eq!((ending.output_bytes, ending.output_gap), (Some(9), None));
    assert!(
        ending.output_cut.is_some_and(|cut| cut >= 283),
        "{ending:?}"
    );
    assert_eq!(ending.tail.unwrap(), "new\nlast\n");
}

struct Mount(PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = program("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_file_system_that_cannot_punch_is_named_at_start() {
    if !needs_root("a file system that cannot give back the middle of a file") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mount = program("mount")
        .args(["-t", "ramfs", "ucron-test"])
        .arg(dir.path())
        .status();
    if !mount.unwrap().success() {
        drop(writeln!(std::io::stderr(), "skipped, cannot mount a ramfs"));
        return;
    }
    let mount = Mount(dir.path().to_owned());
    std::fs::set_permissions(
        &mount.0,
        std::os::unix::fs::PermissionsExt::from_mode(0o700),
    )
    .unwrap();
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut keeper = program(env!("CARGO_BIN_EXE_ucron-keeper"))
        .args(["run", "--state"])
        .arg(&mount.0)
        .stderr(log.reopen().unwrap())
        .spawn()
        .unwrap();
    let told = || std::fs::read_to_string(log.path()).unwrap();
    eventually("the keeper names the file system", || {
        let told = told();
        told.contains("`output_cap` is not kept there") && told.contains("ramfs")
    });
    let agent = {
        eventually("the keeper answers", || ucron::exec::is_running(&mount.0));
        Agent::connect(&mount.0)
    };
    let ending = agent.run(shell("head -c 300000 /dev/zero"));
    assert_eq!(
        (ending.output_bytes, ending.output_gap),
        (Some(300_000), None)
    );
    ucron::exec::stop(&mount.0, false).unwrap();
    keeper.wait().unwrap();
}

#[test]
fn old_output_goes_with_what_stands_beside_it() {
    let mut world = World::new("subreaper");
    let agent = world.agent();
    agent.run(shell("echo old"));
    let base = world.state().join("output");
    let old = files(&base, ".1");
    agent.run(shell("echo new"));
    drop(agent);
    world.end_keeper(Signal::TERM);
    let beside = PathBuf::from(format!("{}.gap", old[0].display()));
    std::fs::write(&beside, "{\"from\":0,\"to\":0}").unwrap();
    let made = std::fs::metadata(&old[0]).unwrap().modified().unwrap();
    let week = made - Duration::from_hours(8 * 24);
    std::fs::File::options()
        .append(true)
        .open(&old[0])
        .unwrap()
        .set_modified(week)
        .unwrap();
    world.start();
    eventually("the old is gone", || !old[0].exists() && !beside.exists());
    assert_eq!(count_files(&base), 1);
}

fn memory(pid: i32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let found = status.lines().find_map(|text| text.strip_prefix(line));
    found
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

/// How much is written at most, in MiB: a gigabyte takes a while, so the suite makes do with less.
fn most() -> u64 {
    let told = std::env::var("UCRON_OUTPUT_MIB").ok();
    told.map_or(24, |text| text.parse().unwrap())
}

#[test]
fn much_output_costs_the_keeper_little_and_no_command_waits_for_it() {
    let world = World::new("subreaper");
    let agent = world.agent();
    agent.run(shell("echo first"));
    let pid = world.keeper_pid();
    let before = memory(pid, "VmRSS:");
    let bytes = most() << 20;
    let lines = most() * 1000;
    for line in [
        format!("yes 'a line as any other' | head -c {bytes}"),
        format!("head -c {} /dev/zero | tr '\\0' x", bytes / 10),
        format!("head -c {} /dev/urandom", bytes / 10),
        format!("yes '' | head -n {lines}"),
    ] {
        let start = start(with_tail(shell(&line)));
        let run_id = start.run.run_id.clone();
        agent.send(Command::Start(Box::new(start)));
        let ending = agent.ended(&run_id);
        assert_eq!(ending.outcome, Outcome::Succeeded, "{line}");
        let pieces = read(&agent, &run_id, LogFrom::Offset(0));
        let read: u64 = pieces.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let missing = ending.output_gap.unwrap_or(0);
        assert_eq!(read + missing, ending.output_bytes.unwrap(), "{line}");
        crate::outputs::read(&agent, &run_id, LogFrom::Lines(1000));
    }
    let grown = memory(pid, "VmHWM:").saturating_sub(before);
    drop(writeln!(
        std::io::stderr(),
        "the keeper grew by {grown} KiB"
    ));
    assert!(grown < 8 << 10, "the keeper grew by {grown} KiB");
    // A keeper that does nothing at all is waited for by nobody.
    let done = world.work("done");
    let line = format!(
        "sleep 0.2; head -c {bytes} /dev/zero; touch {}",
        done.display()
    );
    let start = start(shell(line));
    let run_id = start.run.run_id.clone();
    agent.send(Command::Start(Box::new(start)));
    agent.started(&run_id);
    kill(pid, Signal::STOP);
    let ended = std::panic::catch_unwind(|| eventually("it has written all", || done.exists()));
    kill(pid, Signal::CONT);
    assert!(ended.is_ok());
    assert_eq!(agent.ended(&run_id).output_bytes, Some(bytes));
}
