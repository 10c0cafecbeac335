//! The keeper's process around its supervisor, which is the real one; below it processes that are only told of.
//! What a command does says `behaviour.rs`.

use ucron::agent::event::Event as AgentEvent;
use ucron::exec::supervise::{
    Attempt, Effect, Event, Exit, Failure, Key, Now, Order, OutputEnd, Record, Supervisor, Used,
};
use ucron::exec::wire;
use ucron::model::{Outcome, RunId, UnixMs};

use crate::behaviour::Behaviour;
use crate::pause::Pause;
use crate::plant::Plant;
use crate::truth::Process;
use crate::world::{BEGIN, Happening, World};

/// A durable step at which a keeper is killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CrashAt {
    /// Before it writes a record.
    Record,
    /// When the record is written and nothing that follows was done.
    Written,
    /// When a command was cloned and nobody was told.
    Cloned,
}

/// The process.
#[derive(Default)]
pub struct Keeper {
    supervisor: Option<Supervisor>,
    /// Counts its starts.
    pub life: u64,
    /// Whether its disk takes no start.
    pub full: bool,
    /// Where it is killed next.
    pub crash_at: Option<CrashAt>,
    /// Names the connection with the agent; what is said on another is not heard.
    pub talk: u64,
    records: Vec<Record>,
    synced: usize,
    offset_ms: Option<i64>,
    hop_at: i64,
    /// The wake that was asked for last, and in which life.
    wake: Option<(u64, wire::BootMs)>,
}

impl Keeper {
    /// Whether it runs.
    pub fn runs(&self) -> bool {
        self.supervisor.is_some()
    }
}

const KILL: i32 = 9;
/// A stop sequence reaches what it is for sooner, and agent and keeper find each other sooner.
const LONG: i64 = 3_500;

impl World {
    fn keeper_now(&self, host: usize) -> Now {
        let now = self.agent_now(host);
        let center = match self.hosts[host].keeper.offset_ms {
            Some(offset) => UnixMs(i64::try_from(now.boot.0).unwrap_or(0) + offset),
            None => now.wall,
        };
        Now {
            boot: now.boot,
            center,
        }
    }

    /// When the next word between agent and keeper arrives; words keep their order.
    pub fn hop_at(&mut self, host: usize) -> i64 {
        let at = self.time + self.dice.below_i64(self.hop + 1);
        let keeper = &mut self.hosts[host].keeper;
        keeper.hop_at = keeper.hop_at.max(at);
        keeper.hop_at
    }

    /// Starts a keeper on its records.
    pub fn keeper_starts(&mut self, host: usize) {
        let h = &self.hosts[host];
        if h.keeper.runs() || !h.on || h.suspend.stopped {
            return;
        }
        self.note(&format!("keeper of {} starts", self.hosts[host].name));
        let boot_id = self.hosts[host].boot_id();
        let now = self.keeper_now(host);
        let keeper = &mut self.hosts[host].keeper;
        keeper.life += 1;
        keeper.offset_ms = None;
        if keeper.records.is_empty() {
            let boot_id = boot_id.clone();
            keeper.records.push(Record::Boot { boot_id });
        }
        let recovered = Supervisor::recover(keeper.records.clone(), &boot_id, now);
        keeper.supervisor = Some(recovered.supervisor);
        self.keeper_effects(host, recovered.effects);
        if self.loud {
            eprintln!("          recovers {:?}", recovered.attempts);
        }
        for attempt in recovered.attempts {
            self.recover(host, &attempt);
        }
        let now = self.keeper_now(host);
        // It may have been killed once more by now.
        let Some(supervisor) = self.hosts[host].keeper.supervisor.as_mut() else {
            return;
        };
        let settled = supervisor.settle(now);
        let records = supervisor.snapshot();
        self.keeper_effects(host, settled);
        let keeper = &mut self.hosts[host].keeper;
        keeper.synced = records.len();
        keeper.records = records;
        self.set_keeper_alarm(host);
    }

    /// A former keeper's attempt: it runs, has ended, or was never executed.
    fn recover(&mut self, host: usize, attempt: &Attempt) {
        let key = attempt.key.clone();
        let Some(pid) = self.pid_of(host, &key) else {
            let event = if attempt.active {
                Event::NotExecuted { key }
            } else {
                Event::TreeGone { key }
            };
            return self.keeper_event(host, event);
        };
        if attempt.active && attempt.started.is_none() {
            let at = self.keeper_now(host).boot;
            let key = key.clone();
            self.keeper_event(host, Event::Launched { key, pid, at });
        }
        if self.plant == Some(Plant::Doubles) && attempt.active {
            return self.keeper_event(host, Event::NotExecuted { key });
        }
        if !self.truth.processes[&pid].alive {
            let behaviour = &self.truth.processes[&pid].behaviour;
            let exit = if behaviour.unseen {
                Exit::Unknown("it ended while no keeper was there to see how".to_owned())
            } else {
                Exit::Code(behaviour.exit)
            };
            if attempt.active {
                self.tell_exit(host, key, exit);
            } else {
                self.keeper_event(host, Event::TreeGone { key });
            }
        }
    }

    fn pid_of(&self, host: usize, key: &Key) -> Option<i32> {
        let is = |process: &Process| {
            process.host == host && process.run.run_id == key.0 && process.attempt == key.1
        };
        let found = self.truth.processes.iter().find(|(_, process)| is(process));
        found.map(|(pid, _)| *pid)
    }

    /// Kills a keeper; its processes live on.
    pub fn keeper_crashes(&mut self, host: usize) {
        if self.hosts[host].keeper.supervisor.take().is_none() {
            return;
        }
        self.note(&format!("keeper of {} crashes", self.hosts[host].name));
        self.hosts[host].keeper_pause = Pause::default();
        if self.plant == Some(Plant::Forgets) {
            self.forget_results(host);
        }
        self.part(host, "it ended");
    }

    fn forget_results(&mut self, host: usize) {
        let records = &mut self.hosts[host].keeper.records;
        let ended = |record: &Record| match record {
            Record::Ended { run_id, .. } => Some(run_id.clone()),
            _ => None,
        };
        let ended: Vec<RunId> = records.iter().filter_map(ended).collect();
        let forgotten = ended.into_iter().map(|run_id| Record::Forgotten { run_id });
        records.extend(forgotten);
    }

    fn part(&mut self, host: usize, reason: &str) {
        self.hosts[host].keeper.talk += 1;
        let (life, reason) = (self.hosts[host].life, reason.to_owned());
        self.agent_event(host, AgentEvent::KeeperDown { reason });
        self.after(10, Happening::FindKeeper { host, life });
    }

    /// The host is down: nothing runs, and without power what was not synced is gone.
    pub fn keeper_dies_with_host(&mut self, host: usize, power_cut: bool) {
        let keeper = &mut self.hosts[host].keeper;
        keeper.supervisor = None;
        keeper.talk += 1;
        keeper.life += 1;
        if power_cut {
            keeper.records.truncate(keeper.synced);
        }
        let processes = self.truth.processes.values_mut();
        for process in processes.filter(|process| process.host == host) {
            process.alive = false;
        }
    }

    /// Agent and keeper are connected: the keeper tells its set.
    pub fn keeper_meets_agent(&mut self, host: usize) {
        self.hosts[host].keeper.talk += 1;
        self.agent_event(host, AgentEvent::KeeperUp);
        self.keeper_event(host, Event::Connected);
    }

    /// A command of the agent.
    pub fn tell_keeper(&mut self, host: usize, talk: u64, command: wire::Command) {
        let keeper = &mut self.hosts[host].keeper;
        if keeper.talk != talk || !keeper.runs() {
            return;
        }
        let event = match command {
            wire::Command::Clock { offset_ms } => {
                keeper.offset_ms = Some(offset_ms);
                return;
            }
            wire::Command::Start(start) => Event::Start(start),
            wire::Command::Stop { run_id, reason } => Event::Stop { run_id, reason },
            wire::Command::Kill {
                run_id,
                signal,
                reason,
            } => Event::Kill {
                run_id,
                signal,
                reason,
            },
            wire::Command::Assign(assignment) => Event::Assign(assignment),
            wire::Command::Withdraw {
                task,
                reason,
                finish,
            } => Event::Withdraw {
                task,
                reason,
                finish,
            },
            wire::Command::Restart {
                task,
                one_by_one,
                only_down,
                reason,
            } => Event::Restart {
                task,
                one_by_one,
                only_down,
                reason,
            },
            wire::Command::Forget { run_id } => Event::Forget { run_id },
            _ => return,
        };
        self.keeper_event(host, event);
    }

    /// Brings an event to the supervisor and carries out what it wants.
    pub fn keeper_event(&mut self, host: usize, event: Event) {
        let Some(event) = self.keeper_hears_later(host, event) else {
            return;
        };
        let now = self.keeper_now(host);
        let Some(supervisor) = self.hosts[host].keeper.supervisor.as_mut() else {
            return;
        };
        let effects = supervisor.handle(now, event);
        let records = effects.iter().any(|e| matches!(e, Effect::Record(_)));
        if records && self.keeper_dies_at(host, CrashAt::Record) {
            return;
        }
        if records && self.hosts[host].keeper.crash_at == Some(CrashAt::Written) {
            let records = effects.into_iter().filter_map(|effect| match effect {
                Effect::Record(record) => Some(record),
                _ => None,
            });
            self.hosts[host].keeper.records.extend(records);
            self.keeper_dies_at(host, CrashAt::Written);
            return;
        }
        self.keeper_effects(host, effects);
        self.set_keeper_alarm(host);
    }

    fn keeper_dies_at(&mut self, host: usize, at: CrashAt) -> bool {
        let dies = self.hosts[host].keeper.crash_at == Some(at);
        if dies {
            self.hosts[host].keeper.crash_at = None;
            self.keeper_crashes(host);
        }
        dies
    }

    fn keeper_effects(&mut self, host: usize, effects: Vec<Effect>) {
        // As the real one: records first.
        let (records, effects): (Vec<_>, Vec<_>) = effects
            .into_iter()
            .partition(|effect| matches!(effect, Effect::Record(_)));
        for effect in records.into_iter().chain(effects) {
            match effect {
                Effect::Record(record) => self.hosts[host].keeper.records.push(record),
                Effect::Launch(order) => {
                    let life = self.hosts[host].keeper.life;
                    let delay = self.dice.below_i64(self.hop + 1);
                    self.after(delay, Happening::Launch { host, life, order });
                }
                Effect::Signal { key, signal } => self.signal(host, &key, signal),
                Effect::Say(event) => self.keeper_says(host, event),
                Effect::SayRecorded(event) => {
                    let keeper = &mut self.hosts[host].keeper;
                    keeper.synced = keeper.records.len();
                    self.keeper_says(host, event);
                }
                Effect::End => {}
            }
        }
    }

    fn keeper_says(&mut self, host: usize, event: wire::Event) {
        let talk = self.hosts[host].keeper.talk;
        let at = self.hop_at(host);
        let event = Box::new(event);
        self.at(at, Happening::FromKeeper { host, talk, event });
    }

    /// A word of the keeper arrives.
    pub fn hear_keeper(&mut self, host: usize, talk: u64, event: Box<wire::Event>) {
        if self.hosts[host].keeper.talk == talk {
            self.agent_event(host, AgentEvent::Keeper(event));
        }
    }

    fn set_keeper_alarm(&mut self, host: usize) {
        let h = &mut self.hosts[host];
        let (life, booted) = (h.keeper.life, h.booted);
        let wake = h.keeper.supervisor.as_mut().and_then(Supervisor::next_wake);
        if let Some(at) = wake.filter(|at| h.keeper.wake != Some((life, *at))) {
            h.keeper.wake = Some((life, at));
            let at = booted.saturating_add(i64::try_from(at.0).unwrap_or(i64::MAX));
            self.at(at.max(self.time + 1), Happening::KeeperWake { host, life });
        }
    }

    /// A keeper's timer rings.
    pub fn keeper_wake(&mut self, host: usize, life: u64) {
        let now = self.keeper_now(host).boot;
        let keeper = &mut self.hosts[host].keeper;
        if keeper.life != life {
            return;
        }
        keeper.wake = None;
        let due = keeper.supervisor.as_mut().and_then(Supervisor::next_wake);
        if due.is_some_and(|at| at <= now) {
            self.keeper_event(host, Event::Wake);
        }
    }

    /// The clone: the lease is checked, the command starts, and the keeper hears of it if it still lives.
    pub fn launch(&mut self, host: usize, life: u64, order: &Order) {
        if self.hosts[host].keeper.life != life || !self.hosts[host].keeper.runs() {
            return;
        }
        let key = (order.run.run_id.clone(), order.attempt);
        let at = self.keeper_now(host).boot;
        if order.not_after.is_some_and(|end| at > end) {
            let failure = Failure::Lease;
            return self.keeper_event(host, Event::NotLaunched { key, failure });
        }
        if self.hosts[host].keeper.full {
            let failure = Failure::Unrecorded("no space".to_owned());
            return self.keeper_event(host, Event::NotLaunched { key, failure });
        }
        let behaviour = Behaviour::of(&order.text.work.execute);
        if let Some(failure) = behaviour.fails.clone() {
            return self.keeper_event(host, Event::NotLaunched { key, failure });
        }
        let takes = behaviour.takes;
        let process = Process {
            host,
            run: order.run.clone(),
            attempt: order.attempt,
            one: order.text.one && self.is_anywhere(&order.run.run_id),
            overlap: order.text.work.overlap,
            started_at: UnixMs(self.center_now().at.0),
            behaviour,
            alive: true,
        };
        self.is_not_frozen(&process);
        let pid = self.truth.start(process);
        self.note(&format!(
            "{} starts {} of {} (run {}, slot {}, scheduled at {}) as {pid}",
            self.hosts[host].name,
            order.attempt,
            order.text.name,
            order.run.run_id.short(),
            order.run.slot,
            order.run.scheduled_at,
        ));
        if let Some(takes) = takes {
            self.after(takes, Happening::Exit { pid });
        }
        self.was_not_given_up(&order.run.run_id);
        if !self.keeper_dies_at(host, CrashAt::Cloned) {
            self.keeper_event(host, Event::Launched { key, pid, at });
        }
    }

    /// Whether a run may be on any one agent: an occurrence of `@reboot` is its own agent's, whatever the target says.
    fn is_anywhere(&self, id: &RunId) -> bool {
        let run = self.store.runs.get(id);
        run.is_none_or(|run| run.row.target.is_none())
    }

    /// Nothing starts of which the history says already that nothing was started.
    fn was_not_given_up(&mut self, id: &RunId) {
        let ending = self.store.runs.get(id).and_then(|run| run.ending.as_ref());
        if let Some(ending) = ending
            && matches!(ending.outcome, Outcome::Missed | Outcome::Skipped)
            && !self.store.forgot
        {
            let (outcome, reason) = (ending.outcome, &ending.reason);
            let late = format!("run {id} is {outcome} ({reason}) and is started now");
            self.truth.broken.push(late);
        }
    }

    /// A command ends by itself.
    pub fn exit(&mut self, pid: i32) {
        let process = self.truth.processes[&pid].clone();
        let h = &self.hosts[process.host];
        let ran = self.time - (process.started_at.0 - BEGIN - self.center.skew);
        let stopped = h.keeper_pause.stopped || h.agent_pause.stopped;
        let reachable = h.keeper.runs() && h.agent_runs() && !stopped;
        let undisturbed = self.time - h.disturbed > LONG && reachable;
        if process.alive && undisturbed && ran > LONG && !self.is_given_up(&process) {
            self.truth.ran_out(&process);
        }
        let exit = Exit::Code(process.behaviour.exit);
        self.end_process(pid, exit);
    }

    /// Whether a run counts as lost and its agent has no link on which to be told of a stop.
    fn is_given_up(&self, process: &Process) -> bool {
        let ending = self.store.runs.get(&process.run.run_id);
        let ending = ending.and_then(|run| run.ending.as_ref());
        let lost = ending.is_some_and(|ending| ending.outcome == Outcome::Lost);
        lost && self.hosts[process.host].conn.is_none()
    }

    fn signal(&mut self, host: usize, key: &Key, signal: i32) {
        let Some(pid) = self.pid_of(host, key) else {
            return;
        };
        if signal == KILL || !self.truth.processes[&pid].behaviour.ignores_term {
            self.after(0, Happening::Killed { pid, signal });
        }
    }

    /// A signal ends a command.
    pub fn killed(&mut self, pid: i32, signal: i32) {
        self.end_process(pid, Exit::Signal(signal));
    }

    fn end_process(&mut self, pid: i32, exit: Exit) {
        let Some(process) = self.truth.processes.get_mut(&pid).filter(|p| p.alive) else {
            return;
        };
        process.alive = false;
        let host = process.host;
        let key = (process.run.run_id.clone(), process.attempt);
        // While no keeper runs nobody sees it; the next one reads how it ended.
        self.tell_exit(host, key, exit);
    }

    fn tell_exit(&mut self, host: usize, key: Key, exit: Exit) {
        let process = self
            .pid_of(host, &key)
            .and_then(|pid| self.truth.processes.get(&pid));
        let output = OutputEnd {
            tail: process.and_then(|process| process.behaviour.says.clone()),
            ..OutputEnd::default()
        };
        let gone = key.clone();
        self.keeper_event(
            host,
            Event::Exited {
                key,
                exit,
                output,
                used: Used::default(),
            },
        );
        self.keeper_event(host, Event::TreeGone { key: gone });
    }
}
