//! Processes that are stopped at any point (SIGSTOP) and go on later, and hosts that are suspended: what would have
//! happened to them waits, while every clock runs on.

use ucron::agent::event::Event as AgentEvent;
use ucron::exec::supervise::Event as KeeperEvent;

use crate::world::{Happening, World};

/// What waits for a stopped process.
#[derive(Debug, Default)]
pub struct Pause {
    /// Whether it is stopped.
    pub stopped: bool,
    held: Vec<Happening>,
}

/// Who something happens to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Whom {
    Agent(usize),
    Keeper(usize),
    Command(usize),
}

impl World {
    /// Lets go of what happens to a stopped process, for later. What is left happens now.
    pub fn hold_back(&mut self, what: Happening) -> Option<Happening> {
        let held = match self.whom(&what) {
            Some(Whom::Agent(host)) => &mut self.hosts[host].agent_pause,
            Some(Whom::Keeper(host)) => &mut self.hosts[host].keeper_pause,
            Some(Whom::Command(host)) => &mut self.hosts[host].suspend,
            None => return Some(what),
        };
        if !held.stopped {
            return Some(what);
        }
        held.held.push(what);
        None
    }

    fn whom(&self, what: &Happening) -> Option<Whom> {
        Some(match what {
            Happening::Down(conn) => Whom::Agent(self.conns.get(conn)?.host),
            Happening::Dial { host, .. }
            | Happening::AgentWake { host, .. }
            | Happening::Synced { host, .. }
            | Happening::TakenBack { host, .. }
            | Happening::FindKeeper { host, .. }
            | Happening::FromKeeper { host, .. }
            | Happening::AgentTold { host, .. } => Whom::Agent(*host),
            Happening::ToKeeper { host, .. }
            | Happening::KeeperWake { host, .. }
            | Happening::Launch { host, .. }
            | Happening::KeeperTold { host, .. } => Whom::Keeper(*host),
            Happening::Exit { pid } | Happening::Killed { pid, .. } => {
                Whom::Command(self.truth.processes.get(pid)?.host)
            }
            _ => return None,
        })
    }

    /// Whether an event waits because the agent is stopped.
    pub fn agent_hears_later(&mut self, host: usize, event: AgentEvent) -> Option<AgentEvent> {
        let life = self.hosts[host].life;
        let pause = &mut self.hosts[host].agent_pause;
        if !pause.stopped {
            return Some(event);
        }
        let event = Box::new(event);
        pause.held.push(Happening::AgentTold { host, life, event });
        None
    }

    /// Likewise of the keeper.
    pub fn keeper_hears_later(&mut self, host: usize, event: KeeperEvent) -> Option<KeeperEvent> {
        let life = self.hosts[host].keeper_life();
        let pause = &mut self.hosts[host].keeper_pause;
        if !pause.stopped {
            return Some(event);
        }
        let event = Box::new(event);
        pause.held.push(Happening::KeeperTold { host, life, event });
        None
    }

    /// Stops an agent, where one runs.
    pub fn stop_agent(&mut self, host: usize) {
        if self.hosts[host].agent_runs() {
            self.note(&format!("agent {} is stopped", self.hosts[host].name));
            self.hosts[host].agent_pause.stopped = true;
        }
    }

    /// Stops a keeper, where one runs.
    pub fn stop_keeper(&mut self, host: usize) {
        if self.hosts[host].keeper.runs() {
            self.note(&format!("keeper of {} is stopped", self.hosts[host].name));
            self.hosts[host].keeper_pause.stopped = true;
        }
    }

    /// Suspends a host: all of its processes stop, and nothing passes its links.
    pub fn suspend(&mut self, host: usize) {
        if !self.hosts[host].on {
            return;
        }
        self.note(&format!("host {} is suspended", self.hosts[host].name));
        self.stop_agent(host);
        self.stop_keeper(host);
        self.hosts[host].suspend.stopped = true;
    }

    /// Whatever is stopped on a host goes on.
    pub fn resume(&mut self, host: usize) {
        let name = self.hosts[host].name.clone();
        let h = &mut self.hosts[host];
        let pauses = [&mut h.suspend, &mut h.keeper_pause, &mut h.agent_pause];
        let stopped = pauses.iter().any(|pause| pause.stopped);
        let held: Vec<Happening> = pauses
            .into_iter()
            .flat_map(|pause| std::mem::take(pause).held)
            .collect();
        if stopped {
            self.note(&format!("host {name} goes on"));
        }
        for what in held {
            self.after(0, what);
        }
    }
}
