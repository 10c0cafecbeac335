//! Scenarios against the supervisor, with scripted time: what it is told, what it does.

use super::*;
use crate::exec::wire::{RunState, SlotState};
use crate::model::{
    Backoff, Cause, Epoch, Execute, Output, Parole, Restart, TaskName, UserName, Work,
};

fn now(at: u64) -> Now {
    Now {
        boot: BootMs(at),
        center: UnixMs(1_000_000 + i64::try_from(at).unwrap()),
    }
}

fn boot(name: &str) -> BootId {
    name.parse().unwrap()
}

fn text(change: impl Fn(&mut Work)) -> TaskText {
    let mut work = Work::new(
        Execute::Shell("x".into()),
        UserName::parse("nobody").unwrap(),
    );
    work.backoff = Backoff {
        first: Duration::from_secs(1),
        longest: Duration::from_secs(4),
    };
    change(&mut work);
    TaskText {
        task: "01hzzzzzzzzzzzzzzzzzzzzzzz".parse().unwrap(),
        revision: Revision(1),
        group: "g".parse().unwrap(),
        name: TaskName::parse("t").unwrap(),
        one: false,
        work,
    }
}

fn start(name: &str, change: impl Fn(&mut Work)) -> Start {
    let mut text = text(change);
    // Texts are kept by revision: each of these has its own.
    text.revision = Revision(name.bytes().fold(0, |sum, byte| sum * 31 + u32::from(byte)));
    Start {
        run: RunRef {
            run_id: id(name),
            task: text.task.clone(),
            revision: text.revision,
            slot: Slot(0),
            cause: Cause::Rule,
            scheduled_at: UnixMs(0),
        },
        text,
        epoch: Epoch(1),
        start_before: None,
        not_after: None,
        replaces: None,
    }
}

fn id(name: &str) -> RunId {
    RunId::hash(name.as_bytes())
}

fn key(name: &str, attempt: u16) -> Key {
    (id(name), attempt)
}

/// Effects in short words: what a reader of a scenario wants to see.
fn words(effects: &[Effect]) -> String {
    let words: Vec<String> = effects.iter().filter_map(word).collect();
    words.join(", ")
}

fn word(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::Record(_) => return None,
        Effect::Launch(order) => format!("launch {}", order.attempt),
        Effect::Signal { signal, .. } => format!("signal {signal}"),
        Effect::End => "end".to_owned(),
        Effect::Say(event) | Effect::SayRecorded(event) => match event {
            wire::Event::Started { attempt, .. } => format!("started {attempt}"),
            wire::Event::AttemptEnded {
                ending, next_at, ..
            } => {
                format!("{} until {}", ending.outcome, next_at.0 - 1_000_000)
            }
            wire::Event::Ended { ending, .. } => format!("{}: {}", ending.outcome, ending.reason),
            wire::Event::NotStarted { .. } => "not started".to_owned(),
            wire::Event::Slot(slot) => format!("slot {} {}", slot.slot, slot.state.as_str()),
            wire::Event::Known { state, .. } => match state {
                RunState::Running { .. } => "known running".to_owned(),
                RunState::Waiting { .. } => "known waiting".to_owned(),
                RunState::Ended(_) => "known ended".to_owned(),
            },
            wire::Event::Assigned { .. } => "assigned".to_owned(),
            wire::Event::SetEnd => "set end".to_owned(),
            _ => return None,
        },
    })
}

/// One supervisor, its journal, and the last run that it launched.
struct Scene {
    supervisor: Supervisor,
    journal: Vec<Record>,
    launched: Option<Key>,
}

impl Scene {
    fn new() -> Self {
        Self {
            supervisor: Supervisor::new(boot("b1")),
            journal: vec![Record::Boot {
                boot_id: boot("b1"),
            }],
            launched: None,
        }
    }

    fn keep(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Record(record) => self.journal.push(record.clone()),
                Effect::Launch(order) => {
                    self.launched = Some((order.run.run_id.clone(), order.attempt));
                }
                _ => {}
            }
        }
    }

    #[allow(clippy::needless_pass_by_value, reason = "scenarios read better")]
    fn check(&mut self, at: u64, event: Event, wanted: &str) {
        let effects = self.supervisor.handle(now(at), event.clone());
        self.keep(&effects);
        assert_eq!(words(&effects), wanted, "at {at} after {event:?}");
    }

    fn start(&mut self, at: u64, start: Start, wanted: &str) {
        self.check(at, Event::Start(Box::new(start)), wanted);
    }

    fn launched(&mut self, at: u64, key: Key, wanted: &str) {
        let event = Event::Launched {
            key,
            pid: 7,
            at: BootMs(at),
        };
        self.check(at, event, wanted);
    }

    fn exited(&mut self, at: u64, key: Key, exit: Exit, wanted: &str) {
        let output = OutputEnd {
            bytes: Some(3),
            tail: Some("bad\n".to_owned()),
        };
        self.check(at, Event::Exited { key, exit, output }, wanted);
    }

    fn gone(&mut self, at: u64, key: Key, wanted: &str) {
        self.check(at, Event::TreeGone { key }, wanted);
    }

    fn stop(&mut self, at: u64, name: &str, wanted: &str) {
        let event = Event::Stop {
            run_id: id(name),
            reason: "stopped by x".to_owned(),
        };
        self.check(at, event, wanted);
    }

    /// The next keeper, from the records of this one; the attempts it must look for.
    fn next_keeper(&mut self, at: u64, boot_id: &str, wanted: &str) -> Vec<Attempt> {
        let recovered = Supervisor::recover(self.journal.clone(), &boot(boot_id), now(at));
        self.supervisor = recovered.supervisor;
        self.keep(&recovered.effects);
        assert_eq!(words(&recovered.effects), wanted);
        recovered.attempts
    }

    fn settle(&mut self, at: u64, wanted: &str) {
        let effects = self.supervisor.settle(now(at));
        self.keep(&effects);
        assert_eq!(words(&effects), wanted);
    }

    fn last(&self) -> Key {
        self.launched.clone().unwrap()
    }
}

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

fn daemon(processes: u16, revision: u32, change: impl Fn(&mut Work)) -> Event {
    let mut text = text(|work| {
        work.daemon = true;
        work.processes = processes;
        work.output = Output::None;
        change(work);
    });
    text.revision = Revision(revision);
    Event::Assign(Box::new(Assignment {
        text,
        epoch: Epoch(1),
    }))
}

fn task() -> TaskId {
    text(|_| {}).task
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
