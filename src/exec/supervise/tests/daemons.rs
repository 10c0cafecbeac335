//! Daemons: slots, policies, restarts.

use super::*;

#[test]
fn a_slot_goes_from_starting_over_backoff_to_fatal_and_is_tried_again_on_parole() {
    let mut scene = Scene::new();
    let policy = |work: &mut Work| {
        work.start_retries = 2;
        work.parole = Parole::After(Duration::from_mins(1));
    };
    scene.check(0, daemon(1, 1, policy), "slot 0 starting, launch 1");
    scene.check(1, daemon(1, 1, policy), "");
    let fail = |scene: &mut Scene, at: u64, wanted: &str| {
        let key = scene.last();
        scene.launched(at, key.clone(), "started 1, slot 0 starting");
        scene.gone(at, key.clone(), "");
        scene.exited(at + 1, key, Exit::Code(1), wanted);
    };
    let ended = "failed: exited with code 1";
    fail(
        &mut scene,
        10,
        &format!("{ended}, slot 0 backoff, slot 0 starting, launch 1"),
    );
    fail(&mut scene, 20, &format!("{ended}, slot 0 backoff"));
    let due = scene.supervisor.next_wake().unwrap().0;
    assert!((520..=1022).contains(&due), "{due}");
    scene.check(due, Event::Wake, "slot 0 starting, launch 1");
    fail(&mut scene, due, &format!("{ended}, slot 0 fatal"));
    let wake = scene.supervisor.next_wake().unwrap().0;
    assert_eq!(wake, due + 1 + 60_000);
    scene.check(wake, Event::Wake, "slot 0 starting, launch 1");
    let key = scene.last();
    scene.launched(wake, key, "started 1, slot 0 starting");
    scene.check(wake + 1000, Event::Wake, "slot 0 running");
}

#[test]
fn a_slot_never_has_a_second_process_and_stop_beats_backoff() {
    let mut scene = Scene::new();
    scene.check(0, daemon(1, 1, |_| {}), "slot 0 starting, launch 1");
    let first = scene.last();
    scene.launched(0, first.clone(), "started 1, slot 0 starting");
    scene.check(1000, Event::Wake, "slot 0 running");
    let wanted = "failed: exited with code 1, slot 0 backoff, signal 15";
    scene.exited(2000, first.clone(), Exit::Code(1), wanted);
    scene.check(2001, Event::Wake, "");
    scene.gone(3000, first, "slot 0 starting, launch 1");
    let second = scene.last();
    scene.launched(3000, second.clone(), "started 1, slot 0 starting");
    scene.gone(3001, second.clone(), "");
    let wanted = "failed: exited with code 1, slot 0 backoff, slot 0 starting, launch 1";
    scene.exited(3001, second, Exit::Code(1), wanted);
    let third = scene.last();
    scene.launched(3002, third.clone(), "started 1, slot 0 starting");
    scene.gone(3003, third.clone(), "");
    scene.exited(
        3003,
        third,
        Exit::Code(1),
        "failed: exited with code 1, slot 0 backoff",
    );
    let withdraw = Event::Withdraw {
        task: task(),
        reason: "stopped by x".to_owned(),
    };
    scene.check(3004, withdraw, "slot 0 stopped");
    scene.check(100_000, Event::Wake, "");
    assert!(scene.supervisor.daemons.is_empty());
}

#[test]
fn an_edit_touches_surplus_slots_only_and_restart_brings_the_new_text_in() {
    let mut scene = Scene::new();
    scene.check(0, daemon(1, 1, |_| {}), "slot 0 starting, launch 1");
    let first = scene.last();
    scene.launched(0, first.clone(), "started 1, slot 0 starting");
    scene.check(1, daemon(2, 2, |_| {}), "slot 1 starting, launch 1");
    let second = scene.last();
    scene.launched(1, second.clone(), "started 1, slot 1 starting");
    scene.check(2, daemon(1, 3, |_| {}), "slot 1 stopping, signal 15");
    scene.gone(3, second.clone(), "");
    let ended = "stopped: fewer processes, slot 1 stopping, slot 1 stopped";
    scene.exited(3, second, Exit::Signal(15), ended);
    let restart = Event::Restart {
        task: task(),
        one_by_one: false,
        reason: "restarted by x".to_owned(),
    };
    scene.check(4, restart, "slot 0 stopping, signal 15");
    scene.gone(5, first.clone(), "");
    let ended = "stopped: restarted by x, slot 0 stopping, slot 0 starting, launch 1";
    scene.exited(5, first, Exit::Signal(15), ended);
    let daemon = &scene.supervisor.daemons[&task()];
    assert_eq!(daemon.slots[0].revision, Revision(3));
    assert_eq!(daemon.slots[0].state, SlotState::Starting);
}

#[test]
fn a_rolling_restart_waits_for_each_slot_to_run() {
    let mut scene = Scene::new();
    scene.check(
        0,
        daemon(2, 1, |_| {}),
        "slot 0 starting, launch 1, slot 1 starting, launch 1",
    );
    let keys: Vec<Key> = scene.supervisor.daemons[&task()]
        .slots
        .iter()
        .map(|slot| (slot.run.clone().unwrap(), 1))
        .collect();
    scene.launched(0, keys[0].clone(), "started 1, slot 0 starting");
    scene.launched(0, keys[1].clone(), "started 1, slot 1 starting");
    scene.check(1000, Event::Wake, "slot 0 running, slot 1 running");
    let restart = Event::Restart {
        task: task(),
        one_by_one: true,
        reason: "restarted by x".to_owned(),
    };
    scene.check(2000, restart, "slot 0 stopping, signal 15");
    scene.gone(2001, keys[0].clone(), "");
    let ended = "stopped: restarted by x, slot 0 stopping, slot 0 starting, launch 1";
    scene.exited(2001, keys[0].clone(), Exit::Signal(15), ended);
    let fresh = scene.last();
    scene.launched(2002, fresh, "started 1, slot 0 starting");
    scene.check(
        3002,
        Event::Wake,
        "slot 0 running, slot 1 stopping, signal 15",
    );
}

#[test]
fn a_daemon_whose_policy_says_so_stays_down() {
    let mut scene = Scene::new();
    scene.check(
        0,
        daemon(1, 1, |work| work.restart = Restart::OnFailure),
        "slot 0 starting, launch 1",
    );
    let key = scene.last();
    scene.launched(0, key.clone(), "started 1, slot 0 starting");
    scene.gone(1, key.clone(), "");
    scene.exited(
        1,
        key,
        Exit::Code(0),
        "succeeded: exited with code 0, slot 0 exited",
    );
}
