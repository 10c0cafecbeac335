//! Daemons: slots, policies, restarts.

use super::*;
use crate::exec::supervise::daemon::SlotRecord;

fn restart(one_by_one: bool, only_down: bool) -> Event {
    Event::Restart {
        task: task(),
        one_by_one,
        only_down,
        reason: "restarted by x".to_owned(),
    }
}

impl Scene {
    /// The run of a slot's process.
    fn slot_key(&self, slot: u16) -> Key {
        (self.slot(slot).run.clone().unwrap(), 1)
    }

    fn slot(&self, slot: u16) -> &SlotRecord {
        let daemon = &self.supervisor.daemons[&task()];
        let found = daemon.slots.iter().find(|record| record.slot == Slot(slot));
        found.unwrap()
    }

    /// As many slots, all of them running at 1000.
    fn running(processes: u16, change: impl Fn(&mut Work)) -> Self {
        let mut scene = Self::new();
        let starts = (0..processes).map(|slot| format!("slot {slot} starting, launch 1"));
        let starts: Vec<_> = starts.collect();
        scene.check(0, daemon(processes, 1, change), &starts.join(", "));
        for slot in 0..processes {
            let started = format!("started 1, slot {slot} starting");
            scene.launched(0, scene.slot_key(slot), &started);
        }
        let runs: Vec<_> = (0..processes)
            .map(|slot| format!("slot {slot} running"))
            .collect();
        scene.check(1000, Event::Wake, &runs.join(", "));
        scene
    }

    /// The slot's process ends, with nothing left of it.
    fn dies(&mut self, at: u64, slot: u16, exit: Exit, wanted: &str) {
        let key = self.slot_key(slot);
        self.gone(at, key.clone(), "");
        self.exited(at, key, exit, wanted);
    }

    fn starts(&mut self, at: u64, slot: u16) {
        let started = format!("started 1, slot {slot} starting");
        self.launched(at, self.slot_key(slot), &started);
    }
}

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
        finish: false,
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
    scene.check(4, restart(false, false), "slot 0 stopping, signal 15");
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
    scene.check(2000, restart(true, false), "slot 0 stopping, signal 15");
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

#[test]
fn a_rolling_restart_is_not_driven_on_by_another_slot() {
    let mut scene = Scene::running(3, |_| {});
    scene.check(2000, restart(true, false), "slot 0 stopping, signal 15");
    let again = "failed: exited with code 1, slot 2 backoff, slot 2 starting, launch 1";
    scene.dies(2100, 2, Exit::Code(1), again);
    scene.starts(2101, 2);
    scene.check(3101, Event::Wake, "slot 2 running");
    let ended = "stopped: restarted by x, slot 0 stopping, slot 0 starting, launch 1";
    scene.dies(4000, 0, Exit::Signal(15), ended);
    scene.starts(4000, 0);
    let wanted = "slot 0 running, slot 1 stopping, signal 15";
    scene.check(5000, Event::Wake, wanted);
}

#[test]
fn a_slot_that_does_not_come_up_ends_a_rolling_restart_and_says_so() {
    let mut scene = Scene::running(3, |work| work.start_retries = 0);
    scene.check(2000, restart(true, false), "slot 0 stopping, signal 15");
    let ended = "stopped: restarted by x, slot 0 stopping, slot 0 starting, launch 1";
    scene.dies(2001, 0, Exit::Signal(15), ended);
    scene.starts(2002, 0);
    let fatal = "failed: exited with code 1, slot 1 running, slot 2 running, slot 0 fatal";
    scene.dies(2003, 0, Exit::Code(1), fatal);
    assert_eq!(
        scene.slot(0).reason,
        "the restart one by one stopped here, before slot 1, 2: ended once within 1s of its start; \
         last: exited with code 1; last output: bad"
    );
    let left = "runs, and was not restarted, because slot 0 did not come up";
    assert_eq!(scene.slot(2).reason, left);
    scene.check(700_000, Event::Wake, "slot 0 starting, launch 1");
    scene.starts(700_000, 0);
    scene.check(800_000, Event::Wake, "slot 0 running");
}

#[test]
fn a_rolling_restart_goes_on_where_its_slot_is_taken_away() {
    let mut scene = Scene::running(2, |_| {});
    scene.check(2000, restart(true, false), "slot 0 stopping, signal 15");
    let ended = "stopped: restarted by x, slot 0 stopping, slot 0 starting, launch 1";
    scene.dies(2001, 0, Exit::Signal(15), ended);
    scene.starts(2001, 0);
    scene.check(
        3001,
        Event::Wake,
        "slot 0 running, slot 1 stopping, signal 15",
    );
    scene.check(3002, daemon(1, 2, |_| {}), "slot 1 stopping");
    let ended = "stopped: restarted by x, slot 1 stopping, slot 1 stopped";
    scene.dies(3003, 1, Exit::Signal(15), ended);
    assert_eq!(scene.supervisor.daemons[&task()].rolling, None);
}

#[test]
fn starting_revives_the_slots_that_are_down_and_leaves_the_others_alone() {
    let mut scene = Scene::running(2, |work| {
        work.start_retries = 0;
        work.parole = Parole::Never;
    });
    let again = "failed: exited with code 1, slot 1 backoff, slot 1 starting, launch 1";
    scene.dies(5000, 1, Exit::Code(1), again);
    scene.starts(5000, 1);
    let fatal = "failed: exited with code 1, slot 1 fatal";
    scene.dies(5001, 1, Exit::Code(1), fatal);
    assert_eq!(scene.supervisor.next_wake(), None, "never again by itself");
    scene.check(6000, restart(false, true), "slot 1 starting, launch 1");
    scene.starts(6000, 1);
    scene.check(7000, Event::Wake, "slot 1 running");
    scene.check(7001, restart(false, true), "");
}

#[test]
fn slots_are_added_and_removed_without_touching_the_others() {
    let mut scene = Scene::running(2, |_| {});
    let runs = [scene.slot_key(0), scene.slot_key(1)];
    let more = "slot 2 starting, launch 1, slot 3 starting, launch 1";
    scene.check(2000, daemon(4, 2, |_| {}), more);
    for slot in [2, 3] {
        scene.starts(2000, slot);
    }
    let fewer = "slot 2 stopping, signal 15, slot 3 stopping, signal 15";
    scene.check(2001, daemon(2, 3, |_| {}), fewer);
    // Wanted again before its old process has gone: the new one waits for that.
    scene.check(2002, daemon(3, 4, |_| {}), "");
    let again = "stopped: fewer processes, slot 2 stopping, slot 2 starting, launch 1";
    scene.dies(2003, 2, Exit::Signal(15), again);
    let ended = "stopped: fewer processes, slot 3 stopping, slot 3 stopped";
    scene.dies(2004, 3, Exit::Signal(15), ended);
    assert_eq!([scene.slot_key(0), scene.slot_key(1)], runs);
    let ids: BTreeSet<_> = (0..3).map(|slot| scene.slot_key(slot)).collect();
    assert_eq!(ids.len(), 3);
}

#[test]
fn what_the_host_cannot_record_is_tried_again_for_ever() {
    let mut scene = Scene::new();
    let policy = |work: &mut Work| work.start_retries = 0;
    scene.check(0, daemon(1, 1, policy), "slot 0 starting, launch 1");
    let mut at = 1;
    for _ in 0..20 {
        let event = Event::NotLaunched {
            key: scene.last(),
            failure: Failure::Unrecorded("disk full".to_owned()),
        };
        let missed = "missed: this host could not start it: disk full, slot 0 backoff";
        scene.check(at, event, missed);
        at = scene.supervisor.next_wake().unwrap().0;
        scene.check(at, Event::Wake, "slot 0 starting, launch 1");
    }
}

#[test]
fn a_text_that_nobody_refers_to_is_forgotten() {
    let mut scene = Scene::running(1, |_| {});
    for revision in 2..10 {
        scene.check(2000, daemon(1, revision, |_| {}), "");
    }
    assert_eq!(
        scene.supervisor.texts.len(),
        2,
        "the process's and the present one"
    );
    let withdraw = Event::Withdraw {
        task: task(),
        reason: "stopped by x".to_owned(),
        finish: false,
    };
    let run_id = scene.slot_key(0).0;
    scene.check(3000, withdraw, "slot 0 stopping, signal 15");
    let ended = "stopped: stopped by x, slot 0 stopping, slot 0 stopped";
    scene.dies(3001, 0, Exit::Signal(15), ended);
    scene.check(3002, Event::Forget { run_id }, "");
    assert!(scene.supervisor.texts.is_empty());
}

#[test]
fn what_may_finish_runs_on_over_the_keepers_death_and_goes_with_its_process() {
    let withdraw = |finish| Event::Withdraw {
        task: task(),
        reason: "stopped by x".to_owned(),
        finish,
    };
    let finishing = || {
        let mut scene = Scene::running(2, |_| {});
        let told = "slot 0 running, slot 1 running";
        scene.check(2000, withdraw(true), told);
        let said = "runs until it ends by itself; stopped by x";
        assert_eq!(scene.slot(0).reason, said);
        scene.next_keeper(2001, "b1", "");
        scene.settle(2002, "");
        assert_eq!(scene.slot(1).state, SlotState::Running);
        scene
    };
    let mut scene = finishing();
    let gone = "succeeded: exited with code 0, slot 0 stopping, slot 0 stopped";
    scene.dies(3000, 0, Exit::Code(0), gone);
    scene.check(3001, withdraw(false), "slot 1 stopping, signal 15");
    let ended = "stopped: stopped by x, slot 1 stopping, slot 1 stopped";
    scene.dies(3002, 1, Exit::Signal(15), ended);
    assert!(scene.supervisor.daemons.is_empty());

    let mut scene = finishing();
    let runs = [scene.slot_key(0), scene.slot_key(1)];
    let kept = "slot 0 running, slot 1 running";
    scene.check(3000, daemon(2, 1, |_| {}), kept);
    assert_eq!([scene.slot_key(0), scene.slot_key(1)], runs);
    let again = "failed: exited with code 1, slot 0 backoff, slot 0 starting, launch 1";
    scene.dies(3001, 0, Exit::Code(1), again);

    let mut scene = finishing();
    let fewer = "slot 0 running, slot 1 stopping, signal 15";
    scene.check(3000, daemon(1, 2, |_| {}), fewer);
}

#[test]
fn what_may_finish_is_not_waited_for_where_no_process_is() {
    let mut scene = Scene::running(1, |work| work.start_retries = 0);
    let again = "failed: exited with code 1, slot 0 backoff, slot 0 starting, launch 1";
    scene.dies(5000, 0, Exit::Code(1), again);
    scene.starts(5000, 0);
    let fatal = "failed: exited with code 1, slot 0 fatal";
    scene.dies(5001, 0, Exit::Code(1), fatal);
    let withdraw = Event::Withdraw {
        task: task(),
        reason: "stopped by x".to_owned(),
        finish: true,
    };
    scene.check(5002, withdraw, "slot 0 stopped");
    assert!(scene.supervisor.daemons.is_empty());
}
