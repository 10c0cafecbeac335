//! A host: the agent's process around its core, with its journal, its clocks, and its crashes and reboots.

use ucron::agent::core::AgentCore;
use ucron::agent::event::{Effect, Event, Now, Ticket};
use ucron::agent::record::Record;
use ucron::exec::wire::{self, BootMs};
use ucron::model::{AgentId, BootId, Epoch, Incarnation, UnixMs};
use ucron::proto::agent::FromAgent;

use std::time::Duration;

use crate::keeper::Keeper;
use crate::net::Item;
use crate::pause::Pause;
use crate::plant::Plant;
use crate::world::{BEGIN, Happening, World};

const HEARTBEAT: Duration = Duration::from_secs(3);
const MAX_FRAME: usize = 1 << 20;
/// How long an agent takes to look for its keeper again.
const FIND_AGAIN: i64 = 300;

/// A durable step at which an agent is killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CrashAt {
    /// Before an append.
    Append,
    /// When it is written and not synced.
    Written,
    /// When it is synced and nobody was told.
    Synced,
}

/// An append that failed and is in the file until that is cut; those after it wait.
#[derive(Debug)]
struct Jam {
    len: usize,
    failed: Vec<(Ticket, Vec<Record>)>,
}

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
    /// Whether its disk takes no appends.
    pub disk_full: bool,
    /// Whether what it does not take is in the journal for a while all the same.
    pub disk_torn: bool,
    jam: Option<Jam>,
    /// Where the agent is killed next.
    pub crash_at: Option<CrashAt>,
    /// The highest epoch that its agent has known in this life.
    pub highest: Epoch,
    /// When a fault last befell it.
    pub disturbed: i64,
    /// Whether its agent is stopped.
    pub agent_pause: Pause,
    /// Whether its keeper is.
    pub keeper_pause: Pause,
    /// Whether its commands are.
    pub suspend: Pause,
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
            disk_torn: false,
            jam: None,
            crash_at: None,
            highest: Epoch::default(),
            disturbed: 0,
            agent_pause: Pause::default(),
            keeper_pause: Pause::default(),
            suspend: Pause::default(),
            wake: 0,
            keeper: Keeper::default(),
        }
    }

    /// Whether its agent runs.
    pub fn agent_runs(&self) -> bool {
        self.agent.is_some()
    }

    /// Counts its keeper's starts.
    pub fn keeper_life(&self) -> u64 {
        self.keeper.life
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
        if h.agent_runs() || !h.on || h.suspend.stopped {
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
        h.jam = None;
        h.agent = Some(AgentCore::new(HEARTBEAT, MAX_FRAME));
        h.pause = 0;
        let (life, records) = (h.life, h.journal.clone());
        self.note(&format!("agent {} starts", self.hosts[host].name));
        self.agent_event(host, Event::Loaded(records));
        let h = &mut self.hosts[host];
        h.highest = h.agent.as_ref().map_or(Epoch::default(), AgentCore::epoch);
        self.knows_its_epochs(host);
        self.after(0, Happening::FindKeeper { host, life });
        self.after(0, Happening::Dial { host, life });
    }

    /// A new life takes no order that is lower than one on its disk.
    fn knows_its_epochs(&mut self, host: usize) {
        let h = &self.hosts[host];
        let on_disk = h.journal.iter().filter_map(|record| match record {
            Record::Epoch { epoch } => Some(*epoch),
            _ => None,
        });
        if on_disk.max().unwrap_or_default() > h.highest {
            let forgot = format!("agent {} forgot an epoch on its disk", h.name);
            self.truth.broken.push(forgot);
        }
    }

    /// Kills a host's agent: what it wrote stays, synced or not.
    pub fn agent_crashes(&mut self, host: usize) {
        if self.hosts[host].agent.take().is_none() {
            return;
        }
        self.note(&format!("agent {} crashes", self.hosts[host].name));
        self.hosts[host].agent_pause = Pause::default();
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
        h.agent_pause = Pause::default();
        h.keeper_pause = Pause::default();
        h.suspend = Pause::default();
        if power_cut {
            h.journal.truncate(h.synced);
            self.truth.power_cut(host);
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
        let Some(event) = self.agent_hears_later(host, event) else {
            return;
        };
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
        let life = self.hosts[host].life;
        for effect in effects {
            // It may be killed by one of them.
            if self.hosts[host].agent_runs() && self.hosts[host].life == life {
                self.agent_effect(host, effect);
            }
        }
    }

    fn agent_effect(&mut self, host: usize, effect: Effect) {
        match effect {
            Effect::Journal {
                ticket, records, ..
            } => self.append(host, ticket, records),
            Effect::Compact(records) => {
                let h = &mut self.hosts[host];
                if h.jam.is_some() {
                    return;
                }
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
                let start = matches!(*command, wire::Command::Start(_));
                if start && self.plant == Some(Plant::Drops) && self.dice.percent(2) {
                    return;
                }
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
        if self.agent_dies_at(host, CrashAt::Append) {
            return;
        }
        let h = &mut self.hosts[host];
        if let Some(jam) = &mut h.jam {
            return jam.failed.push((ticket, records));
        }
        if h.disk_full && h.disk_torn {
            h.jam = Some(Jam {
                len: h.journal.len(),
                failed: vec![(ticket, records.clone())],
            });
            h.journal.extend(records);
            let life = h.life;
            let cut = 1 + self.dice.below_i64(3_000);
            return self.after(cut, Happening::TakenBack { host, life });
        }
        if h.disk_full {
            return self.not_written(host, ticket, records);
        }
        h.journal.extend(records);
        h.appends.push((ticket, h.journal.len()));
        let life = h.life;
        let delay = 1 + self.dice.below_i64(self.hop + 1);
        self.after(delay, Happening::Synced { host, life, ticket });
        self.agent_dies_at(host, CrashAt::Written);
    }

    fn not_written(&mut self, host: usize, ticket: Ticket, records: Vec<Record>) {
        let reason = "no space".to_owned();
        self.agent_event(
            host,
            Event::NotWritten {
                ticket,
                records,
                reason,
            },
        );
    }

    /// The journal could be cut: what failed is certainly not in it, and is said to have failed.
    pub fn taken_back(&mut self, host: usize, life: u64) {
        let h = &mut self.hosts[host];
        let Some(jam) = h.jam.take_if(|_| h.life == life) else {
            return;
        };
        h.journal.truncate(jam.len);
        for (ticket, records) in jam.failed {
            self.not_written(host, ticket, records);
        }
    }

    fn agent_dies_at(&mut self, host: usize, at: CrashAt) -> bool {
        let dies = self.hosts[host].crash_at == Some(at);
        if dies {
            self.hosts[host].crash_at = None;
            self.agent_crashes(host);
        }
        dies
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
        if self.agent_dies_at(host, CrashAt::Synced) {
            return;
        }
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
