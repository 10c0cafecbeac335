//! The files of a run's cgroup: its limits, and what it took. What holds the tree together is `tree.rs`; this
//! owns the controllers, each of which a host may have or not, on its own.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::supervise::Used;
use crate::model::{Limit, LimitKind};

/// Microseconds in which `cpu.max` counts: the kernel's own default.
const CPU_PERIOD: u64 = 100_000;

/// Which limits the cgroups of runs keep on this host.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Controllers {
    memory: bool,
    pids: bool,
    cpu: bool,
}

impl Controllers {
    /// Turns on what there is for the cgroups below `base`. Only the limits of memory and processes cost nothing
    /// where nobody uses them; the one of processor time waits for the first run that asks for it, because with it
    /// each run gets the same share and `nice` counts within its run only.
    pub fn turn_on(base: &Path) -> Self {
        let has_cpu = top(base).is_some_and(|top| lists(top, "cgroup.controllers", "cpu"));
        Self {
            memory: turn_on(base, "memory"),
            pids: turn_on(base, "pids"),
            cpu: has_cpu,
        }
    }

    /// Whether a run's cgroup keeps this limit.
    pub fn keep(self, kind: LimitKind) -> bool {
        match kind {
            LimitKind::Memory => self.memory,
            LimitKind::Processes => self.pids,
            LimitKind::CpuPercent => self.cpu,
            _ => false,
        }
    }
}

/// The mount, above `MOUNT/PARENT/BASE`.
fn top(base: &Path) -> Option<&Path> {
    base.ancestors().nth(2)
}

fn lists(dir: &Path, file: &str, controller: &str) -> bool {
    fs::read_to_string(dir.join(file))
        .is_ok_and(|text| text.split_whitespace().any(|word| word == controller))
}

/// A controller reaches a cgroup only through all those above it.
fn turn_on(base: &Path, controller: &str) -> bool {
    let mut way: Vec<&Path> = base.ancestors().take(3).collect();
    way.reverse();
    for dir in way {
        // What is refused here is seen below.
        drop(fs::write(
            dir.join("cgroup.subtree_control"),
            format!("+{controller}"),
        ));
    }
    lists(base, "cgroup.subtree_control", controller)
}

/// Sets the limits of a run whose cgroup lies directly below `base`, before there is a process in it.
pub(super) fn limit<'a>(
    cgroup: &Path,
    limits: impl IntoIterator<Item = &'a Limit>,
) -> io::Result<()> {
    for limit in limits {
        match limit.kind {
            LimitKind::Memory => {
                fs::write(cgroup.join("memory.max"), limit.value.to_string())?;
                // A run that has lost one process to its limit is no whole run any more.
                fs::write(cgroup.join("memory.oom.group"), "1")?;
            }
            LimitKind::Processes => {
                fs::write(cgroup.join("pids.max"), limit.value.to_string())?;
            }
            LimitKind::CpuPercent => {
                if let Some(base) = cgroup.parent() {
                    turn_on(base, "cpu");
                }
                let quota = limit.value.saturating_mul(CPU_PERIOD / 100);
                fs::write(cgroup.join("cpu.max"), format!("{quota} {CPU_PERIOD}"))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// What the processes of a cgroup took so far; what the kernel does not count is not known.
pub(super) fn used(cgroup: &Path) -> Used {
    let read = |name: &str| fs::read_to_string(cgroup.join(name)).unwrap_or_default();
    let peak = read("memory.peak");
    // Both files come with one controller.
    let memory = if peak.is_empty() {
        String::new()
    } else {
        read("memory.events")
    };
    let number = |text: &str, name: &str| -> Option<u64> {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    };
    Used {
        peak_memory: peak.trim().parse().ok(),
        cpu: number(&read("cpu.stat"), "usage_usec").map(Duration::from_micros),
        out_of_memory: number(&memory, "oom_kill").unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    #[test]
    fn what_a_run_took_is_read_where_the_kernel_counts_it() {
        let check = |files: &[(&str, &str)], wanted: Used| {
            assert_eq!(used(folder(files).path()), wanted);
        };
        check(&[], Used::default());
        check(
            &[
                ("memory.peak", "4096000\n"),
                ("cpu.stat", "usage_usec 1500\nuser_usec 1000\n"),
                ("memory.events", "oom 3\noom_kill 2\noom_group_kill 1\n"),
            ],
            Used {
                peak_memory: Some(4_096_000),
                cpu: Some(Duration::from_micros(1500)),
                out_of_memory: 2,
            },
        );
    }

    #[test]
    fn limits_are_written_as_the_kernel_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let limits = ["memory=64M", "processes=5", "cpu-percent=150", "nofile=7"];
        let limits: Vec<Limit> = limits.iter().map(|text| text.parse().unwrap()).collect();
        limit(dir.path(), &limits).unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("memory.max"), "67108864");
        assert_eq!(read("memory.oom.group"), "1");
        assert_eq!(read("pids.max"), "5");
        assert_eq!(read("cpu.max"), "150000 100000");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4);
    }

    #[test]
    fn only_controllers_that_reach_the_runs_keep_limits() {
        let mount = folder(&[("cgroup.controllers", "cpu hugetlb\n")]);
        let base = mount.path().join("ucron/x");
        fs::create_dir_all(&base).unwrap();
        // A plain file holds what was written last: as if the kernel had refused the first.
        let found = Controllers::turn_on(&base);
        assert!(found.keep(LimitKind::CpuPercent));
        assert!(!found.keep(LimitKind::Memory) && !found.keep(LimitKind::Nofile));
        assert_eq!(
            Controllers::default(),
            Controllers {
                cpu: false,
                ..found
            }
        );
    }
}
