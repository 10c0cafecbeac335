//! A host: the agent's process around its core, with its journal, its clocks, and its crashes and reboots.

use ucron::agent::core::AgentCore;
use ucron::agent::event::{Effect, Event, Now, Ticket};
use ucron::agent::record::Record;
use ucron::exec::wire::BootMs;
use ucron::model::{AgentId, BootId, Incarnation, UnixMs};
use ucron::proto::agent::FromAgent;

use std::time::Duration;

use crate::keeper::Keeper;
use crate::net::Item;
use crate::world::{BEGIN, Happening, World};

const HEARTBEAT: Duration = Duration::from_secs(3);
const MAX_FRAME: usize = 1 << 20;
/// How long an agent takes to look for its keeper again.
const FIND_AGAIN: i64 = 300;

/// One host.
pub struct Host {
    /// Its number.
    pub number: usize,
    /// Its agent's name.
    pub name: String,
    /// Its agent's id.
    pub id: AgentId,
    /// The agent while it runs.
    pub agent: Option<AgentCore>,
    /// Counts the agent's starts.
    pub life: u64,
    /// As its journal says.
    pub incarnation: Incarnation,
    /// Counts boots.
    pub boots: u64,
    /// True time of the last boot, milliseconds since the world began; before it, negative.
    pub booted: i64,
    /// Whether it has power.
    pub on: bool,
    /// Its wall clock less the true time.
    pub skew: i64,
    /// The link it has or makes.
    pub conn: Option<u64>,
    /// Until the next dial.
    pub pause: i64,
    journal: Vec<Record>,
    /// How many records are on the disk for certain.
    synced: usize,
    appends: Vec<(Ticket, usize)>,
    /// Whether its disk takes appends.
    pub disk_full: bool,
    wake: u64,
    /// Its keeper.
    pub keeper: Keeper,
}

impl Host {
    /// A host that was booted a while ago; nothing runs.
    pub fn new(number: usize, name: &str, id: AgentId) -> Self {
        Self {
            number,
            name: name.to_owned(),
            id,
            agent: None,
            life: 0,
            incarnation: Incarnation(0),
            boots: 1,
            booted: -500_000,
            on: true,
            skew: 0,
            conn: None,
            pause: 0,
            journal: Vec::new(),
            synced: 0,
            appends: Vec::new(),
            disk_full: false,
            wake: 0,
            keeper: Keeper::default(),
        }
    }

    /// Whether its agent runs.
    pub fn agent_runs(&self) -> bool {
        self.agent.is_some()
    }

    /// This boot's id.
    pub fn boot_id(&self) -> BootId {
        format!("boot-{}-{}", self.number, self.boots)
            .parse()
            .unwrap()
    }
}

impl World {
    /// The clocks of a host.
    pub fn agent_now(&self, host: usize) -> Now {
        let h = &self.hosts[host];
        Now {
            boot: BootMs((self.time - h.booted).unsigned_abs()),
            wall: UnixMs(BEGIN + self.time + h.skew),
        }
    }

    /// Starts a host's agent on its journal.
    pub fn agent_starts(&mut self, host: usize) {
        let h = &mut self.hosts[host];
        if h.agent_runs() || !h.on {
            return;
        }
        h.life += 1;
        h.incarnation.0 += 1;
        let opened = Record::Opened {
            incarnation: h.incarnation,
            boot_id: h.boot_id(),
        };
        h.journal.push(opened);
        h.synced = h.journal.len();
        h.appends.clear();
        h.agent = Some(AgentCore::new(HEARTBEAT, MAX_FRAME));
        h.pause = 0;
        let (life, records) = (h.life, h.journal.clone());
        self.note(&format!("agent {} starts", self.hosts[host].name));
        self.agent_event(host, Event::Loaded(records));
        self.after(0, Happening::FindKeeper { host, life });
        self.after(0, Happening::Dial { host, life });
    }

    /// Kills a host's agent: what it wrote stays, synced or not.
    pub fn agent_crashes(&mut self, host: usize) {
        if self.hosts[host].agent.take().is_none() {
            return;
        }
        self.note(&format!("agent {} crashes", self.hosts[host].name));
        self.agent_ends_link(host, true);
        self.hosts[host].keeper.talk += 1;
    }

    /// The host goes down and comes up again; without power nothing of its memory reaches the disk and nobody is
    /// told.
    pub fn reboot(&mut self, host: usize, takes: i64, power_cut: bool) {
        if !self.hosts[host].on {
            return;
        }
        self.note(&format!("host {} goes down", self.hosts[host].name));
        self.hosts[host].agent = None;
        self.agent_ends_link(host, !power_cut);
        let h = &mut self.hosts[host];
        h.on = false;
        h.life += 1;
        if power_cut {
            h.journal.truncate(h.synced);
        }
        self.keeper_dies_with_host(host, power_cut);
        self.after(takes, Happening::Boot { host });
    }

    /// The host is up: keeper and agent start.
    pub fn boot(&mut self, host: usize) {
        let h = &mut self.hosts[host];
        h.on = true;
        h.boots += 1;
        // A boot takes a while.
        h.booted = self.time - 5_000;
        self.keeper_starts(host);
        self.agent_starts(host);
    }

    /// Brings an event to an agent's core and carries out what it wants.
    pub fn agent_event(&mut self, host: usize, event: Event) {
        let now = self.agent_now(host);
        let Some(core) = self.hosts[host].agent.as_mut() else {
            return;
        };
        let effects = core.handle(now, event);
        if self.loud {
            let name = &self.hosts[host].name;
            for effect in &effects {
                eprintln!("          {name}: {effect:?}");
            }
        }
        for effect in effects {
            self.agent_effect(host, effect);
        }
    }

    fn agent_effect(&mut self, host: usize, effect: Effect) {
        match effect {
            Effect::Journal {
                ticket, records, ..
            } => self.append(host, ticket, records),
            Effect::Compact(records) => {
                let h = &mut self.hosts[host];
                h.journal = records;
                h.synced = h.journal.len();
                h.appends.iter_mut().for_each(|(_, len)| *len = h.synced);
            }
            Effect::Send { link, frame } => {
                if !matches!(*frame, FromAgent::Heartbeat(_)) && self.loud {
                    eprintln!("          up {}: {frame:?}", link.0);
                }
                self.send_up(link.0, Item::Frame(frame));
            }
            Effect::CloseLink { link, error } => {
                self.send_up(link.0, Item::Frame(Box::new(FromAgent::Error(error))));
                self.agent_closes(link.0);
            }
            Effect::Keeper(command) => {
                let talk = self.hosts[host].keeper.talk;
                let at = self.hop_at(host);
                self.at(
                    at,
                    Happening::ToKeeper {
                        host,
                        talk,
                        command,
                    },
                );
            }
            Effect::WakeAt(at) => self.set_agent_alarm(host, at),
            Effect::Warn(text) => {
                self.note(&format!("agent {} warns: {text}", self.hosts[host].name));
            }
        }
    }

    fn append(&mut self, host: usize, ticket: Ticket, records: Vec<Record>) {
        let h = &mut self.hosts[host];
        if h.disk_full {
            let reason = "no space".to_owned();
            return self.agent_event(
                host,
                Event::NotWritten {
                    ticket,
                    records,
                    reason,
                },
            );
        }
        h.journal.extend(records);
        h.appends.push((ticket, h.journal.len()));
        let life = h.life;
        let delay = 1 + self.dice.below_i64(self.hop + 1);
        self.after(delay, Happening::Synced { host, life, ticket });
    }

    /// An append is on the disk, and all before it.
    pub fn synced(&mut self, host: usize, life: u64, ticket: Ticket) {
        let h = &mut self.hosts[host];
        if h.life != life || h.agent.is_none() {
            return;
        }
        let Some((_, len)) = h.appends.iter().find(|(t, _)| *t == ticket).copied() else {
            return;
        };
        h.synced = h.synced.max(len);
        h.appends.retain(|(t, _)| *t > ticket);
        self.agent_event(host, Event::Synced(ticket));
    }

    fn set_agent_alarm(&mut self, host: usize, at: Option<BootMs>) {
        let h = &mut self.hosts[host];
        h.wake += 1;
        let (life, number, booted) = (h.life, h.wake, h.booted);
        if let Some(at) = at {
            let at = booted.saturating_add(i64::try_from(at.0).unwrap_or(i64::MAX));
            self.at(at, Happening::AgentWake { host, life, number });
        }
    }

    /// An agent's timer rings, unless it was set anew.
    pub fn agent_wake(&mut self, host: usize, life: u64, number: u64) {
        let h = &self.hosts[host];
        if h.life == life && h.wake == number {
            self.agent_event(host, Event::Wake);
        }
    }

    /// The host's wall clock is set.
    pub fn set_clock(&mut self, host: usize, skew: i64) {
        self.hosts[host].skew = skew;
        self.agent_event(host, Event::Wake);
    }

    /// An agent looks for its keeper, and again while there is none.
    pub fn find_keeper(&mut self, host: usize, life: u64) {
        let h = &self.hosts[host];
        if h.life != life || !h.agent_runs() {
            return;
        }
        if h.keeper.runs() {
            return self.keeper_meets_agent(host);
        }
        let reason = "it does not run".to_owned();
        self.agent_event(host, Event::KeeperDown { reason });
        self.after(FIND_AGAIN, Happening::FindKeeper { host, life });
    }
}
