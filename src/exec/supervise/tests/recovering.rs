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
