//! Runs: starts, retries, stop sequences, the keeper's end.

use super::*;

#[test]
fn a_run_is_started_once_and_its_end_repeated_until_it_is_confirmed() {
    let mut scene = Scene::new();
    scene.start(0, start("a", |_| {}), "launch 1");
    scene.start(1, start("a", |_| {}), "known waiting");
    scene.launched(2, key("a", 1), "started 1");
    scene.start(3, start("a", |_| {}), "known running");
    scene.gone(4, key("a", 1), "");
    scene.exited(
        4,
        key("a", 1),
        Exit::Code(0),
        "succeeded: exited with code 0",
    );
    scene.start(5, start("a", |_| {}), "succeeded: exited with code 0");
    scene.check(6, Event::Connected, "known ended, set end");
    scene.check(7, Event::Forget { run_id: id("a") }, "");
    scene.check(8, Event::Connected, "set end");
    assert_eq!(
        scene.supervisor.next_wake(),
        None,
        "nothing is left to wake for"
    );
    assert!(scene.supervisor.texts.is_empty());
}

#[test]
fn a_confirmed_run_is_known_until_its_start_before_is_past() {
    let mut scene = Scene::new();
    let mut first = start("a", |_| {});
    first.start_before = Some(BootMs(60_000));
    scene.start(0, first.clone(), "launch 1");
    scene.launched(1, key("a", 1), "started 1");
    scene.gone(2, key("a", 1), "");
    scene.exited(
        2,
        key("a", 1),
        Exit::Code(0),
        "succeeded: exited with code 0",
    );
    scene.check(3, Event::Forget { run_id: id("a") }, "");
    scene.start(4, first, "succeeded: exited with code 0");
    scene.check(70_000, Event::Wake, "");
    scene.check(70_001, Event::Connected, "set end");
}

#[test]
fn stop_sequences_and_timeouts_end_the_whole_tree() {
    let mut scene = Scene::new();
    scene.start(
        0,
        start("a", |work| work.timeout = Some(Duration::from_secs(5))),
        "launch 1",
    );
    scene.launched(10, key("a", 1), "started 1");
    assert_eq!(scene.supervisor.next_wake(), Some(BootMs(5010)));
    scene.check(5010, Event::Wake, "signal 15");
    scene.exited(
        5100,
        key("a", 1),
        Exit::Signal(15),
        "timed_out: ran longer than 5s",
    );
    scene.check(15_010, Event::Wake, "signal 9");
    scene.check(15_110, Event::Wake, "signal 9");
    scene.gone(15_120, key("a", 1), "");
    assert_eq!(scene.supervisor.next_wake(), None);

    scene.start(0, start("b", |work| work.retries = 3), "launch 1");
    scene.stop(1, "b", "");
    scene.launched(2, key("b", 1), "started 1, signal 15");
    scene.stop(3, "b", "");
    scene.gone(4, key("b", 1), "");
    scene.exited(4, key("b", 1), Exit::Code(0), "stopped: stopped by x");
}

#[test]
fn retries_wait_for_their_time_and_for_the_tree() {
    let mut scene = Scene::new();
    scene.start(0, start("a", |work| work.retries = 2), "launch 1");
    scene.launched(0, key("a", 1), "started 1");
    scene.gone(5, key("a", 1), "");
    scene.exited(5, key("a", 1), Exit::Code(1), "failed until 1005");
    scene.check(1005, Event::Wake, "launch 2");
    scene.launched(1006, key("a", 2), "started 2");
    scene.exited(
        1007,
        key("a", 2),
        Exit::Code(1),
        "failed until 3007, signal 15",
    );
    scene.check(3007, Event::Wake, "");
    scene.gone(4000, key("a", 2), "launch 3");
    let failure = Failure::Exec {
        code: 127,
        reason: "`x`: not found".to_owned(),
    };
    let event = Event::NotLaunched {
        key: key("a", 3),
        failure,
    };
    scene.check(4001, event, "failed: exec: `x`: not found");

    scene.start(0, start("b", |work| work.retries = 2), "launch 1");
    let failure = Failure::Refused("no".to_owned());
    let event = Event::NotLaunched {
        key: key("b", 1),
        failure,
    };
    scene.check(1, event, "failed: refused: no");

    scene.start(0, start("c", |work| work.retries = 2), "launch 1");
    scene.launched(0, key("c", 1), "started 1");
    scene.gone(1, key("c", 1), "");
    scene.exited(1, key("c", 1), Exit::Code(9), "failed until 1001");
    let wanted = "stopped: stopped by x, waiting for a retry; last: exited with code 9";
    scene.stop(2, "c", wanted);
    scene.check(1001, Event::Wake, "");
}

#[test]
fn of_several_that_replace_one_run_only_the_newest_starts() {
    let mut scene = Scene::new();
    scene.start(0, start("a", |_| {}), "launch 1");
    scene.launched(0, key("a", 1), "started 1");
    let mut second = start("b", |_| {});
    second.replaces = Some(id("a"));
    scene.start(1, second, "signal 15");
    let mut third = start("c", |_| {});
    third.replaces = Some(id("b"));
    let replaced = format!("skipped: replaced by run {}", id("c"));
    scene.start(2, third, &replaced);
    let stopped = format!("stopped: replaced by run {}", id("b"));
    scene.exited(3, key("a", 1), Exit::Signal(15), &stopped);
    scene.gone(4, key("a", 1), "launch 1");
    assert_eq!(scene.last(), key("c", 1));
}

/// The agent may name the first for each: it hears of none before all were given.
#[test]
fn runs_that_wait_for_the_same_one_give_way_to_the_newest() {
    let mut scene = Scene::new();
    scene.start(0, start("a", |_| {}), "launch 1");
    scene.launched(0, key("a", 1), "started 1");
    for (name, said) in [
        ("b", "signal 15".to_owned()),
        ("c", format!("skipped: replaced by run {}", id("c"))),
    ] {
        let mut next = start(name, |_| {});
        next.replaces = Some(id("a"));
        scene.start(1, next, &said);
    }
    let stopped = format!("stopped: replaced by run {}", id("b"));
    scene.exited(3, key("a", 1), Exit::Signal(15), &stopped);
    scene.gone(4, key("a", 1), "launch 1");
    assert_eq!(scene.last(), key("c", 1));
}

#[test]
fn what_replaces_a_run_that_was_stopped_while_it_waited_waits_as_that_did() {
    let mut scene = Scene::new();
    scene.start(0, start("a", |_| {}), "launch 1");
    scene.launched(0, key("a", 1), "started 1");
    let mut second = start("b", |_| {});
    second.replaces = Some(id("a"));
    scene.start(1, second, "signal 15");
    let stop = Event::Stop {
        run_id: id("b"),
        reason: "stopped by admin".to_owned(),
    };
    scene.check(2, stop, "skipped: stopped by admin");
    let mut third = start("c", |_| {});
    third.replaces = Some(id("b"));
    scene.start(3, third, "");
    let stopped = format!("stopped: replaced by run {}", id("b"));
    scene.exited(4, key("a", 1), Exit::Signal(15), &stopped);
    scene.gone(5, key("a", 1), "launch 1");
    assert_eq!(scene.last(), key("c", 1));
}

#[test]
fn nothing_is_started_without_its_record_or_after_its_time() {
    let mut scene = Scene::new();
    scene.start(0, start("a", |_| {}), "launch 1");
    let event = Event::NotLaunched {
        key: key("a", 1),
        failure: Failure::Unrecorded("disk full".to_owned()),
    };
    scene.check(1, event, "missed: this host could not start it: disk full");
    let mut late = start("b", |_| {});
    late.start_before = Some(BootMs(5));
    scene.start(
        10,
        late,
        "missed: too late: its time to start was over 5ms ago",
    );
    let mut leased = start("c", |_| {});
    leased.not_after = Some(BootMs(5));
    scene.start(10, leased, "not started");
}

#[test]
fn a_keeper_that_ends_stops_everything_first() {
    let mut scene = Scene::new();
    scene.start(0, start("a", |work| work.retries = 3), "launch 1");
    scene.launched(0, key("a", 1), "started 1");
    scene.check(1, daemon(1, 1, |_| {}), "slot 0 starting, launch 1");
    let slot = scene.last();
    scene.launched(1, slot.clone(), "started 1, slot 0 starting");
    scene.check(2, Event::Shutdown, "signal 15, signal 15, slot 0 stopping");
    scene.gone(3, slot.clone(), "");
    let ended = "stopped: the keeper was told to end every process";
    scene.exited(
        3,
        slot,
        Exit::Signal(15),
        &format!("{ended}, slot 0 stopping, slot 0 stopped"),
    );
    scene.start(3, start("b", |_| {}), "not started");
    scene.gone(4, key("a", 1), "");
    scene.exited(4, key("a", 1), Exit::Signal(15), &format!("{ended}, end"));
}

#[test]
fn one_signal_ends_a_run_without_a_sequence_and_its_timeout_still_strikes() {
    let mut scene = Scene::new();
    let policy = |work: &mut Work| {
        work.retries = 3;
        work.timeout = Some(Duration::from_secs(5));
    };
    let kill = |name: &str| Event::Kill {
        run_id: id(name),
        signal: 10,
        reason: "killed by x".to_owned(),
    };
    scene.start(0, start("a", policy), "launch 1");
    scene.launched(0, key("a", 1), "started 1");
    scene.check(1, kill("a"), "signal 10");
    scene.check(5000, Event::Wake, "signal 15");
    scene.gone(5001, key("a", 1), "");
    scene.exited(5001, key("a", 1), Exit::Signal(15), "stopped: killed by x");

    scene.start(0, start("b", policy), "launch 1");
    scene.launched(0, key("b", 1), "started 1");
    scene.gone(1, key("b", 1), "");
    scene.exited(1, key("b", 1), Exit::Code(1), "failed until 1001");
    let wanted = "stopped: killed by x, waiting for a retry; last: exited with code 1";
    scene.check(2, kill("b"), wanted);
}
