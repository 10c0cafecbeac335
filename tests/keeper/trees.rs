//! Trees that do not want to end, what a command leaves behind, and what a run took; with cgroups and with
//! sub-reapers. `UCRON_TREE_STOPS=50` stops fifty hostile trees each way and holds each against its time.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use ucron::exec::wire::Command;
use ucron::model::{Ending, Leftovers, Limit, Outcome, RunId, Work};

use crate::world::{Agent, World, eventually, is_alive, shell, start};

/// A tree's processes bear a number of its own in their arguments, whatever else they get rid of.
fn marked(mark: u32) -> Vec<i32> {
    let mark = format!(".{mark:06}");
    std::fs::read_dir("/proc")
        .expect("the processes are listed")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&mark) && is_alive(*pid)
        })
        .collect()
}

/// A number that no other tree of this host bears.
fn fresh_mark() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    std::process::id() % 10_000 * 100 + COUNT.fetch_add(1, Ordering::SeqCst) % 100
}

/// TERM ignored, double forks into sessions of their own, an empty environment, a chain in which each process
/// starts the next and ends, a bounded fork bomb, and one that stops itself.
fn hostile(world: &World, mark: u32) -> Work {
    let mark = format!(".{mark:06}");
    let write = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt;
        let path = world.work(&format!("{name}{mark}"));
        if !path.exists() {
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("the script is written");
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755))
                .expect("the script may run");
        }
        path.display().to_string()
    };
    let sleeper = write(
        "sleeper",
        "trap '' TERM HUP INT; while :; do sleep 300; done",
    );
    let chain = write("chain", "trap '' TERM; setsid \"$0\" & exit");
    let bomb = write(
        "bomb",
        "trap '' TERM; if [ \"$1\" -gt 0 ]; then \"$0\" $(($1 - 1)) & \"$0\" $(($1 - 1)) & fi; while :; do wait; sleep 1; done",
    );
    let stopped = write("stopped", "trap '' TERM; kill -STOP $$");
    let mut work = shell(format!(
        "trap '' TERM; (setsid {sleeper} &) & (setsid sh -c '(setsid {sleeper} &) &' &) & env -i setsid {sleeper} &\n\
         {chain} & {bomb} 4 & {stopped} & exec {sleeper}",
    ));
    work.grace = Duration::from_millis(300);
    work
}

/// Processes of [`hostile`] that last: three sleepers, 31 of the bomb, one stopped, the command itself.
const LASTING: usize = 36;

fn begin(world: &World, agent: &Agent) -> (RunId, u32) {
    let mark = fresh_mark();
    let run = start(hostile(world, mark));
    let run_id = run.run.run_id.clone();
    agent.send(Command::Start(Box::new(run)));
    agent.started(&run_id);
    eventually("the hostile tree stands", || marked(mark).len() >= LASTING);
    (run_id, mark)
}

fn stop(agent: &Agent, run_id: &RunId) -> Ending {
    agent.send(Command::Stop {
        run_id: run_id.clone(),
        reason: "stopped by admin".to_owned(),
    });
    agent.ended(run_id)
}

#[test]
fn stopping_one_hostile_run_ends_all_of_it_and_nothing_of_another() {
    let stops: Option<usize> = std::env::var("UCRON_TREE_STOPS")
        .ok()
        .and_then(|number| number.parse().ok());
    World::each(|world| {
        let agent = world.agent();
        let (other, others) = begin(world, &agent);
        let mut longest = Duration::ZERO;
        for _ in 0..stops.unwrap_or(2) {
            let (run_id, mark) = begin(world, &agent);
            let begun = Instant::now();
            assert_eq!(stop(&agent, &run_id).outcome, Outcome::Stopped);
            eventually("nothing of the tree is left", || marked(mark).is_empty());
            longest = longest.max(begun.elapsed());
        }
        if let Some(stops) = stops {
            use std::io::Write;
            let line = format!("{stops} stops: no survivor, the longest took {longest:?}\n");
            drop(std::io::stderr().write_all(line.as_bytes()));
            assert!(longest < Duration::from_millis(1300), "{longest:?}");
        }
        assert!(marked(others).len() >= LASTING);
        stop(&agent, &other);
        eventually("the other is gone too", || marked(others).is_empty());
    });
}

#[test]
fn a_process_that_has_stopped_itself_takes_its_stop_signal() {
    World::each(|world| {
        let agent = world.agent();
        let mut work = shell("kill -STOP $$; exec sleep 300");
        work.grace = Duration::from_hours(1);
        let run = start(work);
        let run_id = run.run.run_id.clone();
        agent.send(Command::Start(Box::new(run)));
        let pid = agent.started(&run_id);
        eventually("it is stopped", || {
            std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .unwrap()
                .contains(") T ")
        });
        assert_eq!(stop(&agent, &run_id).signal, Some(15));
    });
}

/// A command that ends at once and leaves a process that holds its output and says its pid first.
fn leaves(world: &World, file: &str, leftovers: Leftovers) -> Work {
    let file = world.work(file);
    let line = "setsid sh -c 'echo $$ > FILE.new; mv FILE.new FILE; exec sleep 300' & while ! test -e FILE; do sleep 0.01; done";
    let mut work = shell(line.replace("FILE", &file.display().to_string()));
    work.leftovers = leftovers;
    work
}

fn left(world: &World, file: &str) -> i32 {
    let text = std::fs::read_to_string(world.work(file)).expect("it said its pid");
    text.trim().parse().expect("a pid")
}

#[test]
fn a_run_ends_with_its_command_and_what_it_leaves_ends_or_lives_as_the_task_says() {
    World::each(|world| {
        let agent = world.agent();
        let ending = agent.run(leaves(world, "ends", Leftovers::End));
        assert_eq!(ending.outcome, Outcome::Succeeded);
        let ends = left(world, "ends");
        eventually("what was left is ended", || !is_alive(ends));

        let mut work = leaves(world, "lives", Leftovers::Leave);
        // Neither a retry nor anything else waits for it.
        work.success_codes = [3].into();
        work.retries = 1;
        work.backoff.first = Duration::from_millis(10);
        assert_eq!(agent.run(work).attempt, 2);
        let lives = left(world, "lives");
        assert!(is_alive(lives));
        let mut other = leaves(world, "other", Leftovers::Leave);
        other.grace = Duration::from_millis(100);
        assert_eq!(agent.run(other).outcome, Outcome::Succeeded);
        let other = left(world, "other");
        // The next keeper leaves it too; the end of everything does not.
        world.end_keeper(Signal::KILL);
        world.start();
        assert_eq!(world.agent().run(shell("true")).outcome, Outcome::Succeeded);
        assert!(is_alive(lives) && is_alive(other));
        ucron::exec::stop(&world.state(), false).unwrap();
        eventually("nothing is left", || !is_alive(lives) && !is_alive(other));
        world.end_keeper(Signal::TERM);
    });
}

#[test]
fn a_stop_ends_also_what_would_be_left() {
    World::each(|world| {
        let agent = world.agent();
        let mut work = leaves(world, "pid", Leftovers::Leave);
        if let ucron::model::Execute::Shell(line) = &mut work.execute {
            line.push_str("; sleep 300");
        }
        let run = start(work);
        let run_id = run.run.run_id.clone();
        agent.send(Command::Start(Box::new(run)));
        let file = world.work("pid");
        eventually("its child runs", || file.exists());
        let pid = left(world, "pid");
        assert_eq!(stop(&agent, &run_id).outcome, Outcome::Stopped);
        eventually("its child is gone", || !is_alive(pid));
    });
}

#[test]
fn what_a_run_took_is_told_with_its_end() {
    World::each(|world| {
        let agent = world.agent();
        // `tail` holds what it may have to print; the process that works is no child of the command's by its end.
        let hold = "head -c 64000000 /dev/zero | tail -c 60000000 | wc -c";
        let ending = agent.run(shell(hold));
        assert_eq!(ending.outcome, Outcome::Succeeded);
        let peak = ending.peak_memory_bytes;
        let peak = peak.unwrap_or_else(|| panic!("{}: {ending:?}", world.trees));
        assert!((50_000_000..500_000_000).contains(&peak), "{peak}");
        let burn = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        let ending = agent.run(shell(format!("sh -c '{burn}'; {burn}")));
        assert!(ending.cpu_ms.unwrap() > 50, "{ending:?}");
        assert!(ending.cpu_ms.unwrap() < 600_000, "{ending:?}");
    });
}

#[test]
fn limits_of_a_run_are_kept_by_its_cgroup_or_else_by_each_process() {
    World::each(|world| {
        let agent = world.agent();
        let limited = |line: &str, limit: &str| {
            let mut work = shell(line);
            work.limits = vec![limit.parse::<Limit>().unwrap()];
            agent.run(work)
        };
        let hold = "head -c 200000000 /dev/zero | tail -c 190000000 | wc -c | grep -qx 190000000";
        let held = limited(hold, "memory=1G");
        assert_eq!(held.outcome, Outcome::Succeeded, "{held:?}");
        let ending = limited(hold, "memory=64M");
        assert_eq!(ending.outcome, Outcome::Failed);
        if ending.signal.is_some() {
            let wanted = "killed by signal 9 (KILL); out of memory at its limit memory=67108864";
            assert_eq!(ending.reason, wanted);
        }
        let ending = limited("true", "cpu-percent=50");
        let refused = "setup: its limit cpu-percent needs the cgroup controller `cpu`, which this host does not give";
        if ending.outcome != Outcome::Succeeded {
            assert_eq!(ending.reason, refused);
        }
        assert_eq!(
            limited("true", "processes=5000").outcome,
            Outcome::Succeeded
        );
    });
}
