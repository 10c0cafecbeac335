//! What the next keeper makes of the records of the last one, in the same boot and in another.

use super::*;

#[test]
fn the_next_keeper_goes_on_where_the_last_one_ended() {
    let mut scene = Scene::new();
    scene.start(
        0,
        start("a", |work| work.timeout = Some(Duration::from_secs(5))),
        "launch 1",
    );
    scene.launched(1, key("a", 1), "started 1");
    scene.start(2, start("b", |_| {}), "launch 1");
    scene.start(3, start("c", |work| work.retries = 1), "launch 1");
    scene.launched(4, key("c", 1), "started 1");
    scene.gone(5, key("c", 1), "");
    scene.exited(5, key("c", 1), Exit::Code(1), "failed until 1005");
    let snapshot = scene.supervisor.snapshot();
    for journal in [scene.journal.clone(), snapshot] {
        scene.journal = journal;
        let attempts = scene.next_keeper(100, "b1", "");
        let active: BTreeSet<Key> = attempts
            .iter()
            .filter(|attempt| attempt.active)
            .map(|attempt| attempt.key.clone())
            .collect();
        assert_eq!(active, BTreeSet::from([key("a", 1), key("b", 1)]));
    }
    scene.check(101, Event::NotExecuted { key: key("b", 1) }, "launch 1");
    scene.settle(102, "");
    scene.check(1005, Event::Wake, "launch 2");
    scene.check(5001, Event::Wake, "signal 15");
    let unknown = Exit::Unknown("nobody saw".to_owned());
    scene.exited(5002, key("a", 1), unknown, "lost: nobody saw");
}

#[test]
fn after_a_reboot_what_was_active_is_lost_and_a_retry_ends_as_its_last_attempt_did() {
    let mut scene = Scene::new();
    scene.start(0, start("a", |_| {}), "launch 1");
    scene.launched(1, key("a", 1), "started 1");
    let assign = Event::Assign(Box::new(Assignment {
        text: text(|work| work.daemon = true),
        epoch: Epoch(1),
    }));
    scene.check(2, assign, "slot 0 starting, launch 1");
    let wanted = "lost: the host was restarted while it ran";
    let attempts = scene.next_keeper(3, "b2", &format!("{wanted}, {wanted}"));
    assert!(attempts.is_empty());
    scene.settle(4, "");

    let mut scene = Scene::new();
    scene.start(3, start("c", |work| work.retries = 1), "launch 1");
    scene.launched(4, key("c", 1), "started 1");
    scene.gone(5, key("c", 1), "");
    scene.exited(5, key("c", 1), Exit::Code(1), "failed until 1005");
    scene.next_keeper(6, "b2", "failed: exited with code 1");
}

#[test]
fn a_stop_that_is_asked_for_again_sends_the_signal_that_may_be_missing() {
    let mut scene = Scene::new();
    scene.start(0, start("a", |_| {}), "launch 1");
    scene.launched(1, key("a", 1), "started 1");
    scene.stop(2, "a", "signal 15");
    scene.stop(3, "a", "");
    scene.next_keeper(10, "b1", "");
    scene.settle(11, "");
    scene.stop(12, "a", "signal 15");
    scene.stop(13, "a", "");
    // KILL comes when the first one said.
    scene.check(10_002, Event::Wake, "signal 9");
}

#[test]
fn an_attempt_whose_start_was_recorded_by_two_keepers_is_looked_for_once() {
    let mut scene = Scene::new();
    scene.start(0, start("a", |_| {}), "launch 1");
    for at in [10, 20] {
        let attempts = scene.next_keeper(at, "b1", "");
        assert_eq!(attempts.len(), 1);
        let key = key("a", 1);
        scene.check(at, Event::NotExecuted { key }, "launch 1");
    }
}

/// The next keeper of a daemon's host, from the records and from a snapshot of them: what it does once it knows
/// that nothing is left of this attempt.
fn check_next(scene: Scene, gone: &Key, wanted: &str, state: SlotState) {
    let snapshot = scene.supervisor.snapshot();
    for journal in [scene.journal, snapshot] {
        let mut next = Scene::new();
        next.journal = journal;
        next.next_keeper(10_000, "b1", "");
        let key = gone.clone();
        let mut effects = next.supervisor.handle(now(10_001), Event::TreeGone { key });
        effects.extend(next.supervisor.settle(now(10_002)));
        effects.extend(next.supervisor.handle(now(10_003), Event::Wake));
        assert_eq!(words(&effects), wanted);
        let daemon = &next.supervisor.daemons[&task()];
        assert_eq!(daemon.slots[0].state, state);
    }
}

/// A daemon whose only process has just ended with this code, and that attempt.
fn ended(code: i32, wanted: &str, change: impl Fn(&mut Work)) -> (Scene, Key) {
    let mut scene = Scene::new();
    scene.check(0, daemon(1, 1, change), "slot 0 starting, launch 1");
    let key = scene.last();
    scene.launched(0, key.clone(), "started 1, slot 0 starting");
    scene.gone(1, key.clone(), "");
    scene.exited(1, key.clone(), Exit::Code(code), wanted);
    (scene, key)
}

#[test]
fn slots_that_have_given_up_stay_so_over_the_keepers_death() {
    let never = |work: &mut Work| work.restart = Restart::Never;
    let (scene, key) = ended(0, "succeeded: exited with code 0, slot 0 exited", never);
    check_next(scene, &key, "", SlotState::Exited);
    let fatal = |work: &mut Work| {
        work.start_retries = 0;
        work.parole = Parole::Never;
    };
    let (scene, key) = ended(1, "failed: exited with code 1, slot 0 fatal", fatal);
    check_next(scene, &key, "", SlotState::Fatal);
    let parole = |work: &mut Work| {
        work.start_retries = 0;
        work.parole = Parole::After(Duration::from_secs(5));
    };
    let (scene, key) = ended(1, "failed: exited with code 1, slot 0 fatal", parole);
    let again = "slot 0 starting, launch 1";
    check_next(scene, &key, again, SlotState::Starting);
}

#[test]
fn the_next_process_waits_for_the_rest_of_the_last_one_over_the_keepers_death() {
    let mut scene = Scene::new();
    scene.check(0, daemon(1, 1, |_| {}), "slot 0 starting, launch 1");
    let key = scene.last();
    scene.launched(0, key.clone(), "started 1, slot 0 starting");
    let wanted = "failed: exited with code 1, slot 0 backoff, signal 15";
    scene.exited(1, key.clone(), Exit::Code(1), wanted);
    let mut next = Scene::new();
    next.journal = scene.journal.clone();
    next.next_keeper(10, "b1", "");
    next.settle(11, "");
    next.check(12, Event::Wake, "");
    next.gone(13, key.clone(), "slot 0 starting, launch 1");
    check_next(
        scene,
        &key,
        "slot 0 starting, launch 1",
        SlotState::Starting,
    );
}

#[test]
fn a_restart_survives_the_keeper_whatever_the_policy_says() {
    let mut scene = Scene::new();
    let never = |work: &mut Work| work.restart = Restart::Never;
    scene.check(0, daemon(1, 1, never), "slot 0 starting, launch 1");
    let key = scene.last();
    scene.launched(0, key.clone(), "started 1, slot 0 starting");
    let restart = Event::Restart {
        task: task(),
        one_by_one: false,
        only_down: false,
        reason: "restarted by x".to_owned(),
    };
    scene.check(5, restart, "slot 0 stopping, signal 15");
    scene.next_keeper(10, "b1", "");
    scene.settle(11, "slot 0 stopping");
    scene.gone(12, key.clone(), "");
    let wanted = "stopped: restarted by x, slot 0 stopping, slot 0 starting, launch 1";
    scene.exited(12, key, Exit::Signal(15), wanted);
}

#[test]
fn a_withdrawn_daemon_ends_over_the_keepers_death_and_comes_back_only_when_it_is_gone() {
    let mut scene = Scene::new();
    scene.check(0, daemon(1, 1, |_| {}), "slot 0 starting, launch 1");
    let key = scene.last();
    // Its start is under way.
    let withdraw = || Event::Withdraw {
        task: task(),
        reason: "stopped by x".to_owned(),
        finish: false,
    };
    scene.check(1, withdraw(), "slot 0 stopping");
    scene.next_keeper(10, "b1", "");
    scene.launched(11, key.clone(), "started 1, slot 0 stopping, signal 15");
    scene.settle(12, "slot 0 stopping");
    scene.check(13, daemon(1, 1, |_| {}), "");
    scene.gone(14, key.clone(), "");
    let wanted = "stopped: stopped by x, slot 0 stopping, slot 0 starting, launch 1";
    scene.exited(14, key, Exit::Signal(15), wanted);

    let mut scene = Scene::new();
    scene.check(0, daemon(1, 1, |_| {}), "slot 0 starting, launch 1");
    let key = scene.last();
    scene.check(1, withdraw(), "slot 0 stopping");
    scene.next_keeper(10, "b1", "");
    let skipped = "skipped: stopped by x, slot 0 stopping, slot 0 stopped";
    scene.check(11, Event::NotExecuted { key }, skipped);
    scene.settle(12, "");
    assert!(scene.supervisor.daemons.is_empty());
}

#[test]
fn a_rolling_restart_goes_on_with_the_next_keeper() {
    let mut scene = Scene::new();
    let both = "slot 0 starting, launch 1, slot 1 starting, launch 1";
    scene.check(0, daemon(2, 1, |_| {}), both);
    let slots = &scene.supervisor.daemons[&task()].slots;
    let keys: Vec<Key> = slots
        .iter()
        .map(|slot| (slot.run.clone().unwrap(), 1))
        .collect();
    for (slot, key) in keys.iter().enumerate() {
        scene.launched(0, key.clone(), &format!("started 1, slot {slot} starting"));
    }
    scene.check(1000, Event::Wake, "slot 0 running, slot 1 running");
    let restart = Event::Restart {
        task: task(),
        one_by_one: true,
        only_down: false,
        reason: "restarted by x".to_owned(),
    };
    scene.check(2000, restart, "slot 0 stopping, signal 15");
    scene.gone(2001, keys[0].clone(), "");
    let ended = "stopped: restarted by x, slot 0 stopping, slot 0 starting, launch 1";
    scene.exited(2001, keys[0].clone(), Exit::Signal(15), ended);
    let fresh = scene.last();
    scene.launched(2002, fresh, "started 1, slot 0 starting");
    scene.next_keeper(2500, "b1", "");
    scene.settle(2501, "");
    let wanted = "slot 0 running, slot 1 stopping, signal 15";
    scene.check(3002, Event::Wake, wanted);
    assert_eq!(scene.supervisor.daemons[&task()].slots[0].restarts, 1);
}

#[test]
fn a_slot_whose_former_process_has_died_keeps_its_present_one() {
    // The order of the runs' ids is chance.
    for place in 0..16 {
        let mut scene = Scene::new();
        scene.supervisor.set_place(place.to_string());
        scene.check(0, daemon(1, 1, |_| {}), "slot 0 starting, launch 1");
        let first = scene.last();
        scene.launched(0, first.clone(), "started 1, slot 0 starting");
        scene.gone(1, first.clone(), "");
        let again = "failed: exited with code 1, slot 0 backoff, slot 0 starting, launch 1";
        scene.exited(1, first.clone(), Exit::Code(1), again);
        let second = scene.last();
        scene.launched(2, second.clone(), "started 1, slot 0 starting");
        scene.next_keeper(10, "b1", "");
        scene.gone(11, first, "");
        scene.settle(12, "");
        scene.check(1002, Event::Wake, "slot 0 running");
        let slot = &scene.supervisor.daemons[&task()].slots[0];
        assert_eq!(slot.run, Some(second.0));
    }
}

#[test]
fn a_slot_waits_for_all_that_is_left_of_all_its_former_processes() {
    for place in 0..16 {
        let mut scene = Scene::new();
        scene.supervisor.set_place(place.to_string());
        scene.check(0, daemon(1, 1, |_| {}), "slot 0 starting, launch 1");
        let first = scene.last();
        scene.launched(0, first.clone(), "started 1, slot 0 starting");
        scene.gone(1, first.clone(), "");
        let again = "failed: exited with code 1, slot 0 backoff, slot 0 starting, launch 1";
        scene.exited(1, first.clone(), Exit::Code(1), again);
        let second = scene.last();
        scene.launched(2, second.clone(), "started 1, slot 0 starting");
        let left = "failed: exited with code 1, slot 0 backoff, signal 15";
        scene.exited(3, second.clone(), Exit::Code(1), left);
        scene.next_keeper(10_000, "b1", "");
        scene.gone(10_001, first, "");
        scene.settle(10_002, "");
        scene.check(10_003, Event::Wake, "");
        scene.gone(10_004, second, "slot 0 starting, launch 1");
    }
}

#[test]
fn after_damage_nothing_starts_that_may_have_and_what_runs_is_found_or_lost() {
    let mut scene = Scene::new();
    let retries = |work: &mut Work| work.retries = 3;
    scene.start(0, start("runs", |_| {}), "launch 1");
    scene.launched(1, key("runs", 1), "started 1");
    scene.start(2, start("begun", |_| {}), "launch 1");
    scene.start(3, start("waits", retries), "launch 1");
    scene.launched(4, key("waits", 1), "started 1");
    scene.gone(5, key("waits", 1), "");
    let exit = Exit::Code(1);
    scene.exited(5, key("waits", 1), exit, "failed until 1005");
    scene.check(6, daemon(1, 1, |_| {}), "slot 0 starting, launch 1");
    let slot = scene.last();

    scene.journal.push(Record::Damaged { at: BootMs(10_000) });
    let recovered = Supervisor::recover(scene.journal.clone(), &boot("b1"), now(10_000));
    let damaged = "lost: the keeper's records were damaged; ";
    let may = format!("{damaged}it may have started");
    let next = format!("{damaged}its next attempt may have started; last: exited with code 1");
    let mut told: Vec<String> = recovered.effects.iter().filter_map(word).collect();
    told.sort();
    let mut wanted = vec![may.clone(), may.clone(), next];
    wanted.sort();
    assert_eq!(
        told, wanted,
        "the starting run, the daemon's start, the waiting one"
    );
    let looked_for: Vec<_> = recovered
        .attempts
        .iter()
        .map(|attempt| (&attempt.key, attempt.active))
        .collect();
    assert!(looked_for.contains(&(&key("runs", 1), true)));
    assert!(
        looked_for.contains(&(&slot, false)),
        "its process, if any, is ended"
    );

    scene.supervisor = recovered.supervisor;
    scene.journal = scene.supervisor.snapshot();
    scene.next_keeper(10_001, "b1", "");
    scene.settle(10_002, "");
    scene.check(10_003, daemon(1, 1, |_| {}), "slot 0 starting, launch 1");
    let mut due_before = start("due", |_| {});
    due_before.run.scheduled_at = UnixMs(1_000_000 + 9_000);
    scene.start(10_004, due_before, &may);
    let mut due_later = start("later", |_| {});
    due_later.run.scheduled_at = UnixMs(1_000_000 + 12_000);
    scene.start(12_000, due_later, "launch 1");
}
