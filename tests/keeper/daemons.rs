//! Daemons: kept alive, restarted, given up.

use crate::world::World;
use crate::world::is_alive;
use crate::world::kill;
use crate::world::shell;
use crate::world::text;
use rustix::process::Signal;
use std::time::Duration;
use ucron::exec::wire::Assignment;
use ucron::exec::wire::Command;
use ucron::exec::wire::Event;
use ucron::exec::wire::SlotState;
use ucron::model::Epoch;
use ucron::model::Revision;
use ucron::model::Slot;
use ucron::model::Work;

fn daemon(mut work: Work, processes: u16) -> Command {
    work.daemon = true;
    work.processes = processes;
    work.start_seconds = Duration::from_millis(100);
    work.grace = Duration::from_millis(500);
    let mut text = text(work);
    text.revision = Revision(u32::from(processes));
    Command::Assign(Box::new(Assignment {
        text,
        epoch: Epoch(1),
    }))
}

#[test]
fn daemons_are_kept_alive_until_they_are_withdrawn() {
    World::each(|world| {
        let agent = world.agent();
        let task = text(shell("")).task;
        agent.send(daemon(shell("exec sleep 300"), 2));
        let first = agent.slot(0, SlotState::Running).pid.unwrap();
        let second = agent.slot(1, SlotState::Running).pid.unwrap();
        kill(first, Signal::KILL);
        let status = agent.slot(0, SlotState::Running);
        assert_eq!(status.restarts, 1);
        let third = status.pid.unwrap();
        assert_ne!(third, first);
        assert!(is_alive(second) && is_alive(third));
        world.end_keeper(Signal::KILL);
        world.start();
        let agent = world.agent();
        agent.wait("its assignment", |event| match event {
            Event::Assigned { task: of, .. } if *of == task => Some(()),
            _ => None,
        });
        let found = agent.wait("its slot", |event| match event {
            Event::Slot(status) if status.slot == Slot(1) => Some(status.pid),
            _ => None,
        });
        assert_eq!(found, Some(second), "the same process");
        agent.send(daemon(shell("exec sleep 300"), 1));
        agent.slot(1, SlotState::Stopped);
        assert!(
            !is_alive(second) && is_alive(third),
            "the surplus slot alone ends"
        );
        agent.send(Command::Restart {
            task: task.clone(),
            one_by_one: false,
            only_down: false,
            reason: "restarted by admin".to_owned(),
        });
        let fourth = agent.wait("its new process", |event| match event {
            Event::Slot(status) if status.slot == Slot(0) && status.state == SlotState::Running => {
                status.pid.filter(|pid| *pid != third)
            }
            _ => None,
        });
        assert!(!is_alive(third));
        agent.send(Command::Withdraw {
            task,
            reason: "stopped by admin".to_owned(),
            finish: false,
        });
        agent.slot(0, SlotState::Stopped);
        assert!(!is_alive(fourth));
    });
}

#[test]
fn a_daemon_that_does_not_stay_up_becomes_fatal_with_its_last_words() {
    World::each(|world| {
        let agent = world.agent();
        let mut work = shell("echo cannot bind; exit 7");
        work.start_retries = 2;
        work.backoff.first = Duration::from_millis(20);
        agent.send(daemon(work, 1));
        let status = agent.slot(0, SlotState::Fatal);
        let wanted = "ended 3 times in a row within 100ms of its start; last: exited with code 7; last output: cannot bind";
        assert_eq!(status.reason, wanted);
    });
}
