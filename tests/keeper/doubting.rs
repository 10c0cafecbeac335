//! What a keeper believes of files that somebody damaged or wrote: nobody else's process is ever signalled, and
//! nothing is started twice.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use std::io::Write;
use std::path::PathBuf;
use std::process::Child;

use rustix::process::Signal;
use ucron::exec::journal::Journal;
use ucron::exec::supervise::Record;
use ucron::exec::wire::{Assignment, BootMs, Command, Event, RunState, SlotState, Start};
use ucron::model::{Epoch, Outcome, RunId, UnixMs};

use crate::world::{World, eventually, is_alive, kill, program, shell, start, text};

/// A process that is nobody's of ucron, and looks as much like a command as can be: leader of its own session.
struct Bystander(Child);

impl Bystander {
    fn new() -> Self {
        let mut sleep = program("setsid");
        sleep.args(["sleep", "300"]);
        let child = Self(sleep.spawn().unwrap());
        // It may be forked or executed in place: only the latter keeps the pid.
        eventually("it leads its session", || {
            child.field(3) == child.pid().to_string()
        });
        child
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    /// A field of `/proc/PID/stat` behind the name.
    fn field(&self, at: usize) -> String {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let (_, rest) = text.rsplit_once(") ").unwrap();
        rest.split(' ').nth(at).unwrap().to_owned()
    }

    /// Ticks after boot.
    fn start(&self) -> u64 {
        self.field(19).parse().unwrap()
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn own(world: &World, name: &str) -> PathBuf {
    world.state().join("keeper").join(name)
}

/// Records of a run that claims to be this process, in every way in which a keeper notes one.
fn plant(world: &World, run: &Start, bystander: &Bystander) {
    let (mut journal, _) = Journal::<Record>::open(&own(world, "journal")).unwrap();
    let run_id = run.run.run_id.clone();
    let at = BootMs(bystander.start() * 10);
    let records = [
        Record::Text {
            text: Box::new(run.text.clone()),
        },
        Record::Accepted {
            run: run.run.clone(),
            epoch: Epoch(1),
            start_before: None,
            after: None,
        },
        Record::Starting {
            run_id: run_id.clone(),
            attempt: 1,
            at,
        },
        Record::Started {
            run_id: run_id.clone(),
            attempt: 1,
            pid: bystander.pid(),
            boot: BootMs(at.0 + 10),
            at: UnixMs(0),
        },
    ];
    journal.append(&records).unwrap();
    if world.trees == "subreaper" {
        let lines = format!(
            "{{\"stub\":{{\"pid\":{pid},\"start\":{start}}}}}\n{{\"started\":{{\"pid\":{pid},\"at\":{at}}}}}\n",
            pid = bystander.pid(),
            start = bystander.start(),
            at = at.0 + 10,
        );
        std::fs::write(own(world, "stubs").join(format!("{run_id}.1")), lines).unwrap();
    }
}

#[test]
fn a_planted_record_never_gets_a_bystander_signalled() {
    World::each(|world| {
        let bystander = Bystander::new();
        world.end_keeper(Signal::KILL);
        let mut run = start(shell("exec sleep 300"));
        run.text.work.timeout = Some(std::time::Duration::from_millis(1));
        plant(world, &run, &bystander);
        world.start();
        let agent = world.agent();
        let ending = agent.ended(&run.run.run_id);
        assert_eq!(ending.outcome, Outcome::Lost, "{ending:?}");
        agent.send(Command::Stop {
            run_id: run.run.run_id.clone(),
            reason: "stopped by x".to_owned(),
        });
        // The keeper ends every process that it holds: none of them is this one.
        drop(agent);
        ucron::exec::stop(&world.state(), false).unwrap();
        world.keeper.take().unwrap().wait().unwrap();
        assert!(is_alive(bystander.pid()));
    });
}

/// Turns every line that this holds for into one that cannot be read.
fn damage(world: &World, is_hit: impl Fn(&str) -> bool) {
    let path = own(world, "journal");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut file = std::fs::File::create(&path).unwrap();
    for line in text.lines() {
        let shown = if is_hit(line) {
            "x".repeat(line.len())
        } else {
            line.to_owned()
        };
        writeln!(file, "{shown}").unwrap();
    }
}

fn daemon() -> Command {
    let mut text = text(shell("exec sleep 300"));
    text.work.daemon = true;
    Command::Assign(Box::new(Assignment {
        text,
        epoch: Epoch(7),
    }))
}

fn running(agent: &crate::world::Agent, run: &RunId) -> i32 {
    agent.wait("the run", |event| match event {
        Event::Known {
            run: of,
            state: RunState::Running { pid, .. },
        } if of.run_id == *run => Some(*pid),
        _ => None,
    })
}

#[test]
fn one_damaged_record_costs_no_process_and_starts_nothing_twice() {
    World::each(|world| {
        let agent = world.agent();
        let file = world.work("starts");
        let due = |line: String| {
            let mut start = start(shell(line));
            start.run.scheduled_at = ucron::clock::now();
            start
        };
        let ended = due(format!("echo ended >> {}", file.display()));
        let long = due(format!("echo long >> {}; exec sleep 300", file.display()));
        agent.send(Command::Start(Box::new(ended.clone())));
        agent.ended(&ended.run.run_id);
        agent.send(daemon());
        let slot = agent.slot(0, SlotState::Starting);
        let slot = slot
            .pid
            .unwrap_or_else(|| agent.slot(0, SlotState::Starting).pid.unwrap());
        agent.send(Command::Start(Box::new(long.clone())));
        let pid = agent.started(&long.run.run_id);
        eventually("both wrote", || {
            std::fs::read_to_string(&file).unwrap().lines().count() == 2
        });
        world.end_keeper(Signal::KILL);
        let gone = ended.run.run_id.to_string();
        damage(world, |line| line.contains(&gone));
        world.start();
        let agent = world.agent();
        let kept = agent.wait("the hello", |event| match event {
            Event::Hello { kept, .. } => Some(kept.clone()),
            _ => None,
        });
        assert_eq!(kept.len(), 1, "the agent is told: {kept:?}");
        assert_eq!(running(&agent, &long.run.run_id), pid);
        assert!(is_alive(pid) && is_alive(slot));
        agent.send(daemon());
        agent.send(Command::Start(Box::new(ended.clone())));
        let again = agent.ended(&ended.run.run_id);
        assert_eq!(again.outcome, Outcome::Lost, "{again:?}");
        assert!(again.reason.contains("damaged"), "{again:?}");
        // Started anew after the damage: nobody can have started it before.
        let mut later = start(shell("exit 4"));
        later.run.scheduled_at = ucron::clock::now().plus(std::time::Duration::from_mins(1));
        let run = later.run.run_id.clone();
        agent.send(Command::Start(Box::new(later)));
        assert_eq!(agent.ended(&run).exit_code, Some(4));
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text, "ended\nlong\n", "each once");
        assert!(is_alive(slot), "the slot's process is the same");
    });
}

#[test]
fn processes_that_no_record_names_are_ended_before_others_take_their_place() {
    World::each(|world| {
        let agent = world.agent();
        agent.send(daemon());
        let pid = agent.wait("the slot runs", |event| match event {
            Event::Started { pid, .. } => Some(*pid),
            _ => None,
        });
        world.end_keeper(Signal::KILL);
        damage(world, |_| true);
        world.start();
        eventually("the unknown process is ended", || !is_alive(pid));
        let agent = world.agent();
        agent.send(daemon());
        let next = agent.wait("the slot runs again", |event| match event {
            Event::Started { pid, .. } => Some(*pid),
            _ => None,
        });
        assert!(is_alive(next) && next != pid);
    });
}

#[test]
fn a_command_does_not_outlive_its_sub_reaper() {
    let world = World::new("subreaper");
    let agent = world.agent();
    let run = start(shell("sleep 301 & exec sleep 300"));
    let id = run.run.run_id.clone();
    agent.send(Command::Start(Box::new(run)));
    let pid = agent.started(&id);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let parent = stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap();
    kill(parent.parse().unwrap(), Signal::KILL);
    let ending = agent.ended(&id);
    assert_eq!(ending.outcome, Outcome::Lost, "{ending:?}");
    assert!(ending.reason.contains("sub-reaper"), "{ending:?}");
    eventually("the command is gone too", || !is_alive(pid));
}
