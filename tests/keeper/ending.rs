//! How runs end: trees, retries, replacement, output.

use crate::world::Agent;
use crate::world::World;
use crate::world::eventually;
use crate::world::has_bytes;
use crate::world::is_alive;
use crate::world::shell;
use crate::world::start;
use std::time::Duration;
use std::time::Instant;
use ucron::exec::wire::Command;
use ucron::exec::wire::Event;
use ucron::exec::wire::LogFrom;
use ucron::model::Outcome;

#[test]
fn a_hostile_tree_is_gone_after_its_stop_sequence() {
    World::each(|world| {
        let agent = world.agent();
        let bystander = start(shell("setsid sleep 300 & exec sleep 300"));
        let bystander_id = bystander.run.run_id.clone();
        agent.send(Command::Start(Box::new(bystander)));
        let innocent = agent.started(&bystander_id);
        let pids = world.work("pids");
        let script = format!(
            "trap '' TERM; echo $$ >> {0}\n\
             (trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$ >> {0}; while :; do sleep 1; done' &) &\n\
             env -i setsid sh -c 'trap \"\" TERM; (echo $$ >> {0}; while :; do sleep 1; done) & wait' &\n\
             while :; do sleep 1; done",
            pids.display()
        );
        let mut work = shell(script);
        work.timeout = Some(Duration::from_millis(700));
        work.grace = Duration::from_millis(300);
        let begun = Instant::now();
        let ending = agent.run(work);
        assert_eq!(ending.outcome, Outcome::TimedOut);
        assert_eq!(ending.reason, "ran longer than 700ms");
        let read = || -> Vec<i32> {
            let text = std::fs::read_to_string(&pids).unwrap();
            text.lines().map(|line| line.parse().unwrap()).collect()
        };
        assert_eq!(read().len(), 3);
        eventually("nothing of the tree is left", || {
            read().into_iter().all(|pid| !is_alive(pid))
        });
        assert!(
            begun.elapsed() < Duration::from_secs(3),
            "{:?}",
            begun.elapsed()
        );
        assert!(is_alive(innocent));
        let reason = "stopped by admin".to_owned();
        agent.send(Command::Stop {
            run_id: bystander_id.clone(),
            reason,
        });
        let ending = agent.ended(&bystander_id);
        assert_eq!(
            (ending.outcome, ending.reason.as_str()),
            (Outcome::Stopped, "stopped by admin")
        );
    });
}

#[test]
fn what_a_command_leaves_behind_is_ended() {
    World::each(|world| {
        let agent = world.agent();
        let pids = world.work("left");
        let line = format!(
            "setsid sh -c 'echo $$ >> {}; exec sleep 300' & sleep 0.3",
            pids.display()
        );
        assert_eq!(agent.run(shell(line)).outcome, Outcome::Succeeded);
        let pid: i32 = std::fs::read_to_string(&pids)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        eventually("the rest of the tree is gone", || !is_alive(pid));
    });
}

#[test]
fn retries_follow_failures_and_the_last_attempt_counts() {
    World::each(|world| {
        let agent = world.agent();
        let file = world.work("attempts");
        let line = format!(
            "echo $UCRON_ATTEMPT >> {}; exit $((3 - UCRON_ATTEMPT))",
            file.display()
        );
        let mut work = shell(line);
        work.retries = 5;
        work.backoff.first = Duration::from_millis(20);
        let ending = agent.run(work);
        assert_eq!((ending.outcome, ending.attempt), (Outcome::Succeeded, 3));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "1\n2\n3\n");
        let mut refused = shell("true");
        refused.cwd = Some("/nosuch".to_owned());
        refused.retries = 3;
        assert_eq!(agent.run(refused).attempt, 1);
    });
}

#[test]
fn a_run_that_replaces_another_starts_when_its_tree_is_gone() {
    World::each(|world| {
        let agent = world.agent();
        let mut work = shell("trap '' TERM; while :; do sleep 1; done");
        work.grace = Duration::from_millis(200);
        let first = start(work);
        let old = first.run.run_id.clone();
        agent.send(Command::Start(Box::new(first)));
        let pid = agent.started(&old);
        let mut second = start(shell(format!(
            "kill -0 {pid} 2>/dev/null && exit 1; exit 0"
        )));
        second.replaces = Some(old.clone());
        let new = second.run.run_id.clone();
        agent.send(Command::Start(Box::new(second)));
        let ending = agent.ended(&old);
        assert_eq!(
            (ending.outcome, ending.reason),
            (Outcome::Stopped, format!("replaced by run {new}"))
        );
        assert_eq!(agent.ended(&new).outcome, Outcome::Succeeded);
    });
}

#[test]
fn logs_are_followed_to_the_end_of_the_run() {
    use base64::Engine;
    World::each(|world| {
        let agent = world.agent();
        let go = world.work("go");
        let line = format!(
            "echo old; echo first >&2; while ! test -e {}; do sleep 0.02; done; seq 100000; echo last",
            go.display()
        );
        let run = start(shell(line));
        let run_id = run.run.run_id.clone();
        agent.send(Command::Start(Box::new(run)));
        agent.started(&run_id);
        let mut text = Vec::new();
        let piece = |agent: &Agent| {
            let piece = agent.wait("a piece of output", |event| match event {
                Event::Log { data, .. } => Some(Some(
                    base64::engine::general_purpose::STANDARD
                        .decode(data)
                        .unwrap(),
                )),
                Event::LogEnd { error, .. } => {
                    assert_eq!(*error, None);
                    Some(None)
                }
                _ => None,
            });
            if let Some(bytes) = &piece {
                let bytes = bytes.len() as u64;
                agent.send(Command::LogCredit { stream: 1, bytes });
            }
            piece
        };
        let output = world.state().join("output");
        eventually("two lines", || has_bytes(&output, 10));
        agent.send(Command::ReadLog {
            stream: 1,
            run_id,
            attempt: None,
            from: LogFrom::Lines(1),
            follow: true,
        });
        text.extend(piece(&agent).unwrap());
        assert_eq!(text, b"first\n");
        std::fs::write(&go, "").unwrap();
        while let Some(bytes) = piece(&agent) {
            text.extend(bytes);
        }
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.lines().count(), 100_002);
        assert!(text.ends_with("\n100000\nlast\n"));
    });
}
