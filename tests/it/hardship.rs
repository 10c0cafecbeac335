//! Hosts that are short of something: disk, inodes, descriptors, memory, a file system that has become read-only.
//! Nothing new is started without its record, what runs goes on, and all of it passes by itself.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tempfile::TempDir;

use crate::world::{CENTER, Run, World, ask, eventually, needs_root, program};

/// A file system of its own, made for a test. Declared before the world that uses it, it goes after it.
struct Disk {
    dir: TempDir,
}

impl Disk {
    /// One in memory; none where this account may not mount.
    fn in_memory(what: &str, options: &str) -> Option<Self> {
        if !needs_root(what) {
            return None;
        }
        let disk = Self::named();
        let at = disk.path();
        let mount = ["-t", "tmpfs", "-o", options, "ucron-test"];
        mounted(&mount, &at).then_some(disk)
    }

    /// An ext4 in a file.
    fn ext4(what: &str) -> Option<Self> {
        if !needs_root(what) {
            return None;
        }
        let disk = Self::named();
        let image = disk.dir.path().join("image");
        File::create(&image).unwrap().set_len(32 << 20).unwrap();
        let made = program("mkfs.ext4").arg("-qF").arg(&image).status();
        let image = image.to_str().unwrap();
        let made = made.is_ok_and(|status| status.success());
        (made && mounted(&["-o", "loop", image], &disk.path())).then_some(disk)
    }

    fn named() -> Self {
        let dir = tempfile::Builder::new().prefix("ucron-disk").tempdir();
        let disk = Self { dir: dir.unwrap() };
        std::fs::set_permissions(disk.dir.path(), PermissionsExt::from_mode(0o711)).unwrap();
        std::fs::create_dir(disk.path()).unwrap();
        disk
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let mut file = File::create(self.path().join("filler")).unwrap();
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![b'x'; size]).is_ok() {}
        }
    }

    /// Takes all the inodes that are left.
    fn fill_inodes(&self) {
        let dir = self.path().join("filler");
        std::fs::create_dir(&dir).unwrap();
        let made = |n: &u32| File::create(dir.join(n.to_string())).is_ok();
        (0..1_000_000).take_while(made).for_each(drop);
    }

    fn free(&self) {
        let filler = self.path().join("filler");
        if filler.is_dir() {
            std::fs::remove_dir_all(filler).unwrap();
        } else {
            std::fs::remove_file(filler).unwrap();
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: whoever still ends in it goes on, and it is gone with them.
        let _ = program("umount").arg("-l").arg(self.path()).status();
    }
}

/// Mounts; says so where it cannot be done.
fn mounted(args: &[&str], at: &Path) -> bool {
    let done = program("mount").args(args).arg(at).output().unwrap();
    if !done.status.success() {
        let why = String::from_utf8_lossy(&done.stderr).into_owned();
        drop(writeln!(std::io::stderr(), "skipped, cannot mount: {why}"));
        return false;
    }
    std::fs::set_permissions(at, PermissionsExt::from_mode(0o700)).unwrap();
    true
}

/// A fleet whose agent `a1` has its state there, with a task every second and a daemon.
fn agent_on(disk: &Path) -> World {
    let mut world = World::empty();
    world.must(&["group", "add", "web"]);
    symlink(disk, world.path("a1")).unwrap();
    world.join("a1", "web");
    world.start_agent("a1");
    world.is_online("a1");
    busy(&world);
    world
}

fn busy(world: &World) {
    world.add("web/each", &["--rule", "@every 1s"], &["true"]);
    world.add(
        "web/daemon",
        &["--daemon", "--start-seconds", "100ms"],
        &["while :; do sleep 1; done"],
    );
    world.daemon_pids("web/daemon", 1);
    succeeds_after(world, 0);
}

fn ended(world: &World, wanted: impl Fn(&Run) -> bool) -> usize {
    let runs = world.runs("web/each");
    runs.iter().filter(|run| wanted(run)).count()
}

/// The task's runs succeed again after so many that did.
fn succeeds_after(world: &World, before: usize) {
    eventually("runs succeed", || {
        ended(world, |run| run.is("succeeded")) > before + 1
    });
}

/// While something is short, runs are missed for this reason; then they succeed again and the daemon has not noticed.
fn check(world: &World, why: &[&str], begin: impl FnOnce(), end: impl FnOnce()) {
    let daemon = world.daemon_pids("web/daemon", 1);
    begin();
    let short = |run: &Run| run.is("missed") && why.iter().any(|why| run.reason.contains(why));
    eventually("runs are missed", || ended(world, short) > 1);
    let before = ended(world, |run| run.is("succeeded"));
    end();
    succeeds_after(world, before);
    assert_eq!(world.daemon_pids("web/daemon", 1), daemon);
    let strange = |run: &Run| {
        let is_known = |outcome: &str| run.is(outcome);
        run.outcome.is_some() && !["succeeded", "missed", "skipped"].into_iter().any(is_known)
    };
    let runs = world.runs("web/each");
    let strange: Vec<&Run> = runs.iter().filter(|run| strange(run)).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

const FULL: &str = "No space left on device";

#[test]
fn a_full_disk_costs_starts_and_nothing_that_runs() {
    let Some(disk) = Disk::in_memory("a full disk", "size=8m") else {
        return;
    };
    let world = agent_on(&disk.path());
    check(&world, &[FULL], || disk.fill(), || disk.free());
}

#[test]
fn a_disk_without_inodes_costs_starts_and_nothing_that_runs() {
    let Some(disk) = Disk::in_memory("no inodes", "size=64m,nr_inodes=1000") else {
        return;
    };
    let world = agent_on(&disk.path());
    check(&world, &[FULL], || disk.fill_inodes(), || disk.free());
}

#[test]
fn a_file_system_that_has_become_read_only_is_survived() {
    let Some(disk) = Disk::ext4("a read-only file system") else {
        return;
    };
    let world = agent_on(&disk.path());
    let daemon = world.daemon_pids("web/daemon", 1);
    let (agent, keeper) = (world.agent_pid("a1"), world.keeper_pid("a1"));
    // As the kernel does where a disk fails; only a new mount ends it.
    let abort = ["-o", "remount,abort"];
    let done = program("mount").args(abort).arg(disk.path()).status();
    assert!(done.unwrap().success());
    let refused = |run: &Run| run.is("missed") && run.reason.contains("Read-only file system");
    eventually("runs are missed", || ended(&world, refused) > 1);
    assert_eq!(world.daemon_pids("web/daemon", 1), daemon);
    assert_eq!(
        (world.agent_pid("a1"), world.keeper_pid("a1")),
        (agent, keeper)
    );
    let pid = daemon.values().next().unwrap();
    rustix::process::kill_process(
        Pid::from_raw(i32::try_from(*pid).unwrap()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
}

/// Sets a soft limit of another process; gives the one that it had.
fn limit(pid: u32, resource: Resource, current: Option<u64>) -> Option<u64> {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    let maximum = getrlimit(resource).maximum;
    let new = Rlimit { current, maximum };
    prlimit(pid, resource, new).ok().and_then(|old| old.current)
}

fn descriptors(pid: u32) -> u64 {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count() as u64
}

#[test]
fn a_keeper_without_descriptors_starts_nothing_and_holds_what_runs() {
    let world = World::small();
    busy(&world);
    let pid = world.keeper_pid("a1");
    let mut old = None;
    // What it has stays open; armed runs give theirs back, which must not be enough.
    let mut begin = || old = limit(pid, Resource::Nofile, Some(3));
    check(&world, &["Too many open files"], &mut begin, || {
        let maximum = getrlimit(Resource::Nofile).maximum;
        limit(pid, Resource::Nofile, maximum);
    });
    assert!(old.is_some());
}

#[test]
fn an_agent_without_descriptors_fires_on() {
    let mut world = World::small();
    busy(&world);
    let pid = world.agent_pid("a1");
    limit(pid, Resource::Nofile, Some(descriptors(pid)));
    let before = ended(&world, |run| run.is("succeeded"));
    succeeds_after(&world, before);
    // Its link breaks, and no new one can be made.
    world.kill_center();
    world.start_center();
    let maximum = getrlimit(Resource::Nofile).maximum;
    limit(pid, Resource::Nofile, maximum);
    world.is_online("a1");
    let before = ended(&world, |run| run.is("succeeded"));
    succeeds_after(&world, before);
}

#[test]
fn a_keeper_short_of_memory_harms_nothing_that_runs() {
    let world = World::small();
    busy(&world);
    let daemon = world.daemon_pids("web/daemon", 1);
    let pid = world.keeper_pid("a1");
    let size = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    let pages: u64 = size.split(' ').next().unwrap().parse().unwrap();
    limit(pid, Resource::As, Some(pages * 4096));
    let before = world.runs("web/each").len();
    // Output that must be read costs memory.
    world.add("web/loud", &["--rule", "0 0 1 1 *"], &["seq 1 200000"]);
    world.ucron(&["run", "--wait", "--wait-timeout", "5s", "web/loud"]);
    world.ucron(&["logs", "web/loud", "-n", "all"]);
    eventually("runs go on being accounted for", || {
        world.runs("web/each").len() > before + 2
    });
    // Where it died of it, another one has taken its place.
    limit(pid, Resource::As, None);
    let before = ended(&world, |run| run.is("succeeded"));
    succeeds_after(&world, before);
    assert_eq!(world.daemon_pids("web/daemon", 1), daemon);
}

#[test]
fn a_center_whose_store_is_full_says_so_plans_nothing_and_recovers() {
    let Some(disk) = Disk::in_memory("a full store", "size=8m") else {
        return;
    };
    let mut world = World::bare();
    symlink(disk.path(), world.path("center")).unwrap();
    let mut init = program(CENTER);
    init.args(["init", "--listen", "127.0.0.1:0", "--state"]);
    ask(init.arg(world.path("center")), "").exits(0);
    world.start_center();
    world.must(&["group", "add", "web"]);
    world.join("a1", "web");
    world.start_agent("a1");
    world.is_online("a1");
    busy(&world);
    let daemon = world.daemon_pids("web/daemon", 1);
    disk.fill();
    eventually("status says that the store is full", || {
        let status = world.ucron(&["status", "--check"]);
        status.code == 1 && status.out.contains("store")
    });
    let run_user = crate::world::run_user();
    let refused = world.ucron(&World::add_args(
        "web/no",
        &["--rule", "@daily"],
        &["true"],
        &run_user,
    ));
    assert_ne!(refused.code, 0, "{refused:?}");
    assert!(refused.err.contains("store"), "{refused:?}");
    world.json(&["runs"]);
    world.json(&["ps"]);
    let began = jiff::Timestamp::now().as_millisecond();
    eventually("a while without a plan", || {
        jiff::Timestamp::now().as_millisecond() > began + 15_000
    });
    disk.free();
    eventually("status says that all is well", || {
        world.ucron(&["status", "--check"]).code == 0
    });
    let before = ended(&world, |run| run.is("succeeded"));
    succeeds_after(&world, before);
    assert_eq!(world.daemon_pids("web/daemon", 1), daemon);
    // Every second has its outcome.
    let mut times: Vec<i64> = world
        .runs("web/each")
        .iter()
        .map(|run| crate::world::millis(&run.scheduled_at))
        .collect();
    times.sort_unstable();
    for pair in times.windows(2) {
        assert_eq!(pair[1] - pair[0], 1000, "a hole after {}", pair[0]);
    }
    let missed = |run: &Run| run.is("missed") && run.reason.contains("store");
    // The center had let its agents go, and they come back within a moment.
    let justified = |run: &Run| missed(run) || run.reason.contains("a1 offline since");
    let runs = world.runs("web/each");
    let others: Vec<&Run> = runs
        .iter()
        .filter(|run| run.is("missed") && !justified(run))
        .collect();
    assert!(ended(&world, missed) > 0 && others.is_empty(), "{others:?}");
}
