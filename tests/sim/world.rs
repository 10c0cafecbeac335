//! The world: one center, agents with their keepers, the store and the links between them, on scripted time. What
//! happens next stands in one queue, ordered by time and then by who came first, so that a seed or a script always
//! gives the same history. Each part's deeds are in its own file.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ucron::agent::core::AgentCore;
use ucron::agent::event::Event as AgentEvent;
use ucron::center::{CoreSettings, Route, Ticket};
use ucron::exec::supervise::{Event as KeeperEvent, Order};
use ucron::exec::wire;
use ucron::model::{
    AgentId, AgentName, Fingerprint, GroupName, Incarnation, OperatorId, OperatorName, Role, UnixMs,
};
use ucron::rule::Zone;
use ucron::store::{AgentRow, GroupRow, OperatorRow, RunQuery, Write};

use crate::center::Center;
use crate::desk::Desk;
use crate::frost::Frost;
use crate::host::Host;
use crate::net::{Conn, Net};
use crate::plant::Plant;
use crate::random::Dice;
use crate::store::MemStore;
use crate::truth::Truth;

/// When every world begins: midnight of a Monday, so that rules read well.
pub const BEGIN: i64 = 1_799_020_800_000;
/// The center's boot-time clock then.
pub const CENTER_UP: u64 = 7_000_000;
/// Events at one instant beyond which something spins.
const SPIN: u32 = 50_000;

/// Something that will happen.
#[derive(Debug)]
pub enum Happening {
    /// The center's alarm.
    CenterWake { life: u64, number: u64 },
    /// The store has done a batch, or not.
    Committed { life: u64 },
    /// The store is read.
    Loaded { life: u64 },
    /// Runs are read.
    RunsRead(u64, Ticket, RunQuery),
    /// The audit log is read.
    AuditRead(u64, Ticket, Option<BTreeSet<GroupName>>, u32),
    /// A notify command of the center has ended.
    Notified(u64, Route, Result<(), String>),
    /// The next thing on a link arrives at the center.
    Up(u64),
    /// The next thing on a link arrives at the agent.
    Down(u64),
    /// An agent dials.
    Dial { host: usize, life: u64 },
    /// An agent gives a handshake up.
    Handshake { conn: u64 },
    /// An agent's timer.
    AgentWake { host: usize, life: u64, number: u64 },
    /// An append is on the disk.
    Synced {
        host: usize,
        life: u64,
        ticket: ucron::agent::event::Ticket,
    },
    /// What an append that failed left in the journal is taken out of it.
    TakenBack { host: usize, life: u64 },
    /// An agent that was stopped hears of something.
    AgentTold {
        host: usize,
        life: u64,
        event: Box<AgentEvent>,
    },
    /// Likewise a keeper.
    KeeperTold {
        host: usize,
        life: u64,
        event: Box<KeeperEvent>,
    },
    /// A host's wall clock is set.
    HostClock { host: usize, skew: i64 },
    /// The center's wall clock is set.
    CenterClock { skew: i64 },
    /// An agent finds its keeper.
    FindKeeper { host: usize, life: u64 },
    /// A command for a keeper.
    ToKeeper {
        host: usize,
        talk: u64,
        command: Box<wire::Command>,
    },
    /// A keeper says something.
    FromKeeper {
        host: usize,
        talk: u64,
        event: Box<wire::Event>,
    },
    /// A keeper's timer.
    KeeperWake { host: usize, life: u64 },
    /// A keeper clones.
    Launch {
        host: usize,
        life: u64,
        order: Box<Order>,
    },
    /// A command ends by itself.
    Exit { pid: i32 },
    /// A signal ends a command.
    Killed { pid: i32, signal: i32 },
    /// A client takes what it was sent.
    TakeItems(String),
    /// The centers' rows are written and read.
    Meet,
    /// A host is up again.
    Boot { host: usize },
}

/// Everything.
pub struct World {
    /// Milliseconds since the world began: the true time.
    pub time: i64,
    queue: BTreeMap<(i64, u64), Happening>,
    sequence: u64,
    at_once: u32,
    /// The center.
    pub center: Center,
    /// The durable rows.
    pub store: MemStore,
    /// The hosts.
    pub hosts: Vec<Host>,
    /// Links, by number.
    pub conns: BTreeMap<u64, Conn>,
    /// How each host's network is.
    pub nets: Vec<Net>,
    /// Operators and what they were told.
    pub desk: Desk,
    /// What really happened.
    pub truth: Truth,
    /// What was frozen.
    pub frost: Frost,
    /// A bug to be found.
    pub plant: Option<Plant>,
    /// Chance.
    pub dice: Dice,
    /// Random delays between agent and keeper, at most.
    pub hop: u64,
    /// What was logged, for whoever looks into a failure.
    pub log: Vec<String>,
    /// Whether to print the log as it goes.
    pub loud: bool,
}

impl World {
    /// A world with these agents (name, groups); nothing runs yet.
    pub fn new(agents: &[(String, Vec<String>)], seed: u64) -> Self {
        let mut world = Self {
            time: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            at_once: 0,
            center: Center::default(),
            store: MemStore::default(),
            hosts: Vec::new(),
            conns: BTreeMap::new(),
            nets: Vec::new(),
            desk: Desk::default(),
            truth: Truth::default(),
            frost: Frost::new(seed),
            plant: None,
            dice: Dice::new(seed),
            hop: 0,
            log: Vec::new(),
            loud: std::env::var_os("UCRON_SIM_LOUD").is_some(),
        };
        for (name, groups) in agents {
            world.add_agent(name, groups);
        }
        world.add_operator("admin", Some(Role::Admin), &[]);
        world
    }

    fn add_agent(&mut self, name: &str, groups: &[String]) {
        let number = self.hosts.len();
        let at = self.true_time();
        let id = agent_id(number);
        let groups: BTreeSet<GroupName> = groups.iter().map(|g| group(g)).collect();
        let mut rows: Vec<Write> = groups.iter().map(|group| put_group(group, at)).collect();
        rows.push(Write::PutAgent(Box::new(AgentRow {
            id: id.clone(),
            name: AgentName::parse(name).unwrap(),
            groups,
            dial_address: None,
            draining: false,
            drain_daemons: false,
            boot_id: None,
            boot_seen_at: None,
            incarnation: Incarnation(0),
            version: None,
            last_seen_at: None,
            created_at: at,
        })));
        self.store.commit(at, rows);
        self.hosts.push(Host::new(number, name, id));
        self.nets.push(Net::default());
    }

    /// An operator with a role everywhere, or in groups.
    pub fn add_operator(&mut self, name: &str, role: Option<Role>, roles: &[(&str, Role)]) {
        let at = self.true_time();
        let id = operator_id(name);
        let row = OperatorRow {
            id: id.clone(),
            name: OperatorName::parse(name).unwrap(),
            role,
            roles: roles.iter().map(|(of, role)| (group(of), *role)).collect(),
            logged_in: true,
            created_at: at,
        };
        self.store
            .commit(at, vec![Write::PutOperator(Box::new(row))]);
        self.desk.add(name, id);
    }

    /// A group without agents.
    pub fn add_group(&mut self, name: &str) {
        let at = self.true_time();
        self.store.commit(at, vec![put_group(&group(name), at)]);
    }

    /// The instant that every right clock shows.
    pub fn true_time(&self) -> UnixMs {
        UnixMs(BEGIN + self.time)
    }

    /// Lets something happen after a while.
    pub fn after(&mut self, millis: i64, what: Happening) {
        self.at(self.time + millis, what);
    }

    /// Lets something happen at a time, not before now.
    pub fn at(&mut self, time: i64, what: Happening) {
        self.sequence += 1;
        self.queue
            .insert((time.max(self.time), self.sequence), what);
    }

    /// Lets time pass until then; whatever is due by then has happened.
    pub fn run_until(&mut self, time: i64) {
        while let Some(entry) = self.queue.first_entry() {
            let (at, _) = *entry.key();
            if at > time {
                break;
            }
            let what = entry.remove();
            self.at_once = if at == self.time { self.at_once + 1 } else { 0 };
            assert!(
                self.at_once < SPIN,
                "something spins at {} ms: {what:?}",
                self.time
            );
            self.time = at;
            self.happen(what);
        }
        self.time = self.time.max(time);
    }

    fn happen(&mut self, what: Happening) {
        let Some(what) = self.hold_back(what) else {
            return;
        };
        if self.loud {
            eprintln!("{:>9} {}", self.time, brief(&what));
        }
        match what {
            Happening::CenterWake { life, number } => self.center_wake(life, number),
            Happening::Committed { life } => self.committed(life),
            Happening::Loaded { life } => self.loaded(life),
            Happening::RunsRead(life, ticket, query) => self.runs_read(life, ticket, &query),
            Happening::AuditRead(life, ticket, groups, limit) => {
                self.audit_read(life, ticket, groups.as_ref(), limit);
            }
            Happening::Notified(life, route, result) => self.notify_ended(life, route, result),
            Happening::Up(conn) => self.arrive_up(conn),
            Happening::Down(conn) => self.arrive_down(conn),
            Happening::Dial { host, life } => self.dial(host, life),
            Happening::Handshake { conn } => self.handshake_over(conn),
            Happening::AgentWake { host, life, number } => self.agent_wake(host, life, number),
            Happening::Synced { host, life, ticket } => self.synced(host, life, ticket),
            Happening::TakenBack { host, life } => self.taken_back(host, life),
            Happening::AgentTold { host, life, event } => {
                if self.hosts[host].life == life {
                    self.agent_event(host, *event);
                }
            }
            Happening::KeeperTold { host, life, event } => {
                if self.hosts[host].keeper_life() == life {
                    self.keeper_event(host, *event);
                }
            }
            Happening::HostClock { host, skew } => self.set_clock(host, skew),
            Happening::CenterClock { skew } => self.set_center_clock(skew),
            Happening::FindKeeper { host, life } => self.find_keeper(host, life),
            Happening::ToKeeper {
                host,
                talk,
                command,
            } => self.tell_keeper(host, talk, *command),
            Happening::FromKeeper { host, talk, event } => self.hear_keeper(host, talk, event),
            Happening::KeeperWake { host, life } => self.keeper_wake(host, life),
            Happening::Launch { host, life, order } => self.launch(host, life, &order),
            Happening::Exit { pid } => self.exit(pid),
            Happening::Killed { pid, signal } => self.killed(pid, signal),
            Happening::TakeItems(name) => self.take_items(&name),
            Happening::Meet => self.meet(),
            Happening::Boot { host } => self.boot(host),
        }
    }

    /// Panics if a promise was broken.
    pub fn check(&mut self) {
        self.epochs_grow();
        let broken: Vec<&String> = self.store.broken.iter().chain(&self.truth.broken).collect();
        assert!(
            broken.is_empty(),
            "at {} ms: {broken:#?}\n{}",
            self.time,
            self.last_log()
        );
    }

    /// An agent never takes orders of a lower epoch than it has had.
    fn epochs_grow(&mut self) {
        for host in &mut self.hosts {
            let Some(epoch) = host.agent.as_ref().map(AgentCore::epoch) else {
                continue;
            };
            if epoch < host.highest {
                let low = format!("agent {} fell back to epoch {epoch}", host.name);
                self.truth.broken.push(low);
            }
            host.highest = epoch.max(host.highest);
        }
    }

    /// The last lines of the log.
    pub fn last_log(&self) -> String {
        let from = self.log.len().saturating_sub(40);
        self.log[from..].join("\n")
    }

    /// Notes a line.
    pub fn note(&mut self, line: &str) {
        let line = format!("{:>9} {line}", self.time);
        if self.loud {
            eprintln!("{line}");
        }
        self.log.push(line);
    }
}

fn brief(what: &Happening) -> String {
    let text = format!("{what:?}");
    text.chars().take(300).collect()
}

fn put_group(name: &GroupName, at: UnixMs) -> Write {
    Write::PutGroup(GroupRow {
        name: name.clone(),
        run_users: None,
        created_at: at,
    })
}

/// A group's name.
pub fn group(name: &str) -> GroupName {
    GroupName::parse(name).unwrap()
}

/// A made-up id that sorts by its number.
pub fn id_text(kind: char, number: usize) -> String {
    format!("{kind}{number:025}")
}

fn agent_id(number: usize) -> AgentId {
    id_text('a', number).parse().unwrap()
}

fn operator_id(name: &str) -> OperatorId {
    let number: usize = name.bytes().map(usize::from).sum();
    id_text('p', number).parse().unwrap()
}

/// The center's settings in a world.
pub fn settings(epoch: u64, lost_after: Duration) -> CoreSettings {
    CoreSettings {
        fleet: "sim".parse().unwrap(),
        epoch: ucron::model::Epoch(epoch),
        zone: Zone::utc(),
        lead: Duration::from_secs(10),
        silent: Duration::from_secs(9),
        lost_after,
        addresses: vec!["127.0.0.1:9502".to_owned()],
        pin: Fingerprint::of(b"sim"),
        seed: [u8::try_from(epoch % 251).unwrap_or(0); 32],
    }
}
