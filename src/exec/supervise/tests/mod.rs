//! Scenarios against the supervisor, with scripted time: what it is told, what it does.

mod daemons;
mod recovering;
mod runs;

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
            delay: std::time::Duration::ZERO,
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
            ..OutputEnd::default()
        };
        let used = Used::default();
        let exited = Event::Exited {
            key,
            exit,
            output,
            used,
        };
        self.check(at, exited, wanted);
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
