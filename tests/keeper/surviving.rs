//! What agents' and keepers' ends leave as it was.

use crate::world::World;
use crate::world::eventually;
use crate::world::is_alive;
use crate::world::kill;
use crate::world::program;
use crate::world::shell;
use crate::world::start;
use rustix::process::Signal;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use ucron::exec::wire::Command;
use ucron::exec::wire::Event;
use ucron::exec::wire::RunState;
use ucron::model::Outcome;

#[test]
fn a_start_is_idempotent_and_results_wait_for_the_agent() {
    World::each(|world| {
        let file = world.work("once");
        let line = format!("echo x >> {}; exit 4", file.display());
        let again = start(shell(line));
        let run = again.run.run_id.clone();
        let agent = world.agent();
        agent.send(Command::Start(Box::new(again.clone())));
        agent.send(Command::Start(Box::new(again.clone())));
        drop(agent);
        eventually("the command ran", || file.exists());
        let agent = world.agent();
        assert_eq!(agent.ended(&run).exit_code, Some(4));
        drop(agent);
        let agent = world.agent();
        assert_eq!(
            agent.ended(&run).exit_code,
            Some(4),
            "told until it is confirmed"
        );
        agent.send(Command::Start(Box::new(again.clone())));
        assert_eq!(agent.ended(&run).exit_code, Some(4));
        world.end_keeper(Signal::TERM);
        world.start();
        let agent = world.agent();
        agent.send(Command::Start(Box::new(again)));
        assert_eq!(
            agent.ended(&run).exit_code,
            Some(4),
            "known to the next keeper"
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "x\n");
        agent.send(Command::Forget {
            run_id: run.clone(),
        });
        drop(agent);
        let agent = world.agent();
        let known = agent.wait("the set's end", |event| match event {
            Event::Known { .. } => Some(true),
            Event::SetEnd => Some(false),
            _ => None,
        });
        assert!(!known, "forgotten once confirmed");
    });
}

#[test]
fn processes_outlive_a_killed_keeper_and_are_found_by_the_next() {
    World::each(|world| {
        let agent = world.agent();
        let go = world.work("go");
        let line = format!(
            "while ! test -e {}; do sleep 0.05; done; exit 5",
            go.display()
        );
        let mut work = shell(line);
        work.timeout = Some(Duration::from_mins(1));
        let long = start(work);
        let run = long.run.run_id.clone();
        agent.send(Command::Start(Box::new(long.clone())));
        let pid = agent.started(&run);
        world.end_keeper(Signal::KILL);
        assert!(is_alive(pid));
        world.start();
        let agent = world.agent();
        let found = agent.wait("the run", |event| match event {
            Event::Known {
                run: of,
                state: RunState::Running { pid, .. },
            } if of.run_id == run => Some(*pid),
            _ => None,
        });
        assert_eq!(found, pid);
        agent.send(Command::Start(Box::new(long)));
        std::fs::write(&go, "").unwrap();
        let ending = agent.ended(&run);
        assert_eq!(
            (ending.outcome, ending.exit_code),
            (Outcome::Failed, Some(5)),
            "{ending:?}"
        );
    });
}

#[test]
fn what_ended_without_a_keeper_is_lost_or_known_to_its_sub_reaper() {
    World::each(|world| {
        let agent = world.agent();
        let long = start(shell("exec sleep 300"));
        let run = long.run.run_id.clone();
        agent.send(Command::Start(Box::new(long)));
        let pid = agent.started(&run);
        world.end_keeper(Signal::KILL);
        kill(pid, Signal::KILL);
        eventually("it is gone", || !is_alive(pid));
        world.start();
        let ending = world.agent().ended(&run);
        if world.trees == "subreaper" {
            assert_eq!(
                (ending.outcome, ending.signal),
                (Outcome::Failed, Some(9)),
                "{ending:?}"
            );
        } else {
            assert_eq!(ending.outcome, Outcome::Lost);
            assert!(ending.reason.contains("no keeper"), "{}", ending.reason);
        }
    });
}

#[test]
fn a_second_keeper_an_open_directory_and_a_long_path_are_told() {
    let world = World::new("subreaper");
    let second = program(env!("CARGO_BIN_EXE_ucron-keeper"))
        .args(["run", "--state"])
        .arg(world.state())
        .output()
        .unwrap();
    assert!(!second.status.success());
    let words = String::from_utf8(second.stderr).unwrap();
    assert!(words.contains("a keeper is running for"), "{words}");
    let open = world.work("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o770)).unwrap();
    let refused = program(env!("CARGO_BIN_EXE_ucron-keeper"))
        .args(["run", "--state"])
        .arg(&open)
        .output()
        .unwrap();
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && words.contains("is open to others"),
        "{words}"
    );
    let long = world.dir.path().join("x".repeat(150)).join("y".repeat(100));
    std::fs::create_dir_all(&long).unwrap();
    std::fs::set_permissions(&long, PermissionsExt::from_mode(0o700)).unwrap();
    let program =
        ucron::exec::KeeperProgram::new(env!("CARGO_BIN_EXE_ucron-keeper").into(), Vec::new());
    program.start(&long).unwrap();
    assert!(ucron::exec::is_running(&long));
    ucron::exec::stop(&long, false).unwrap();
    assert!(!ucron::exec::is_running(&long));
}

#[test]
fn stop_ends_every_process_and_leave_none() {
    World::each(|world| {
        let agent = world.agent();
        let long = start(shell("exec sleep 300"));
        let run = long.run.run_id.clone();
        agent.send(Command::Start(Box::new(long)));
        let pid = agent.started(&run);
        ucron::exec::stop(&world.state(), true).unwrap();
        world.keeper.take().unwrap().wait().unwrap();
        assert!(is_alive(pid));
        world.start();
        ucron::exec::stop(&world.state(), false).unwrap();
        world.keeper.take().unwrap().wait().unwrap();
        assert!(!is_alive(pid));
        world.start();
        assert_eq!(world.agent().ended(&run).outcome, Outcome::Stopped);
    });
}

#[test]
fn no_run_is_started_twice_or_forgotten_while_keepers_are_killed() {
    World::each(|world| {
        let file = world.work("starts");
        let mut known = Vec::new();
        for round in 0..8u64 {
            let agent = world.agent();
            for _ in 0..12 {
                let line = format!("echo $UCRON_RUN_ID >> {}", file.display());
                known.push(start(shell(line)));
                agent.send(Command::Start(Box::new(known[known.len() - 1].clone())));
            }
            // In the middle of the starts, later each time.
            std::thread::sleep(Duration::from_millis(round * 2));
            world.end_keeper(Signal::KILL);
            world.start();
        }
        let agent = world.agent();
        for start in &known {
            agent.send(Command::Start(Box::new(start.clone())));
        }
        for start in &known {
            let run = &start.run.run_id;
            let ending = agent.ended(run);
            let text = std::fs::read_to_string(&file).unwrap();
            let starts = text.lines().filter(|line| *line == run.as_str()).count();
            match ending.outcome {
                Outcome::Succeeded => assert_eq!(starts, 1, "{ending:?}"),
                Outcome::Lost => assert!(starts <= 1, "{ending:?}"),
                _ => panic!("{ending:?}"),
            }
        }
    });
}
