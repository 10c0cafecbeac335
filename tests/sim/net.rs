//! Links: each is two queues with a delay. A link can be cut (both sides are told at once), or stalled (nothing
//! arrives and nobody is told, until it heals or a side gives up).

use std::collections::VecDeque;
use std::time::Duration;

use ucron::agent::event as agent_event;
use ucron::center::{Event as CenterEvent, SessionId};
use ucron::exec::wire::BootMs;
use ucron::proto::agent::{FromAgent, HeartbeatAck, ToAgent};
use ucron::proto::hello::{AgentHello, Hello, LinkError, PROTOCOL, PROTOCOL_MIN, PeerRole};

use crate::plant::Plant;
use crate::world::{Happening, World};

/// How a host's network is.
#[derive(Clone, Copy, Debug)]
pub struct Net {
    /// Nothing can be dialled.
    pub cut: bool,
    /// Nothing reaches the center.
    pub stall_up: bool,
    /// Nothing reaches the agent.
    pub stall_down: bool,
    /// Milliseconds one way.
    pub delay: i64,
    /// Random milliseconds more, at most.
    pub jitter: u64,
    /// How much longer one link may take than another, at most: words of an old one come after those of a new one.
    pub spread: u64,
    /// Of 100 frames so many are sent twice.
    pub repeats: u64,
}

impl Default for Net {
    fn default() -> Self {
        Self {
            cut: false,
            stall_up: false,
            stall_down: false,
            delay: 1,
            jitter: 0,
            spread: 0,
            repeats: 0,
        }
    }
}

/// One thing on a link.
#[derive(Debug)]
pub enum Item<F> {
    /// A frame.
    Frame(Box<F>),
    /// The end.
    Close,
}

impl<F: Clone> Item<F> {
    fn copy(&self) -> Self {
        match self {
            Self::Frame(frame) => Self::Frame(frame.clone()),
            Self::Close => Self::Close,
        }
    }
}

/// One link.
#[derive(Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each end opens and closes by itself"
)]
pub struct Conn {
    /// Whose.
    pub host: usize,
    /// The agent's life that dialled.
    pub agent_life: u64,
    /// The center's life that was dialled.
    pub center_life: u64,
    hello_sent: BootMs,
    /// Whether the agent has its welcome.
    welcomed: bool,
    agent_open: bool,
    center_open: bool,
    /// Whether the center may still send.
    center_sends: bool,
    up: VecDeque<Item<FromAgent>>,
    down: VecDeque<Item<ToAgent>>,
    up_at: i64,
    down_at: i64,
    lag: i64,
}

/// Time for a handshake.
const HANDSHAKE: i64 = 10_000;

impl World {
    /// An agent dials, if it has no link and somebody answers.
    pub fn dial(&mut self, host: usize, life: u64) {
        let h = &self.hosts[host];
        if h.life != life || !h.agent_runs() || h.conn.is_some() {
            return;
        }
        let center = self.center.core.is_some();
        if !center || self.nets[host].cut {
            return self.redial(host);
        }
        let number = self.conns.len() as u64 + 1;
        let lag = self.dice.below_i64(self.nets[host].spread + 1);
        let now = self.agent_now(host);
        let h = &mut self.hosts[host];
        h.conn = Some(number);
        let hello = Hello {
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL,
            version: "sim".to_owned(),
            role: PeerRole::Agent,
            agent: Some(AgentHello {
                boot_id: h.boot_id(),
                incarnation: h.incarnation,
                epoch: h.agent.as_ref().unwrap().epoch(),
                up_ms: now.boot.0,
            }),
        };
        self.conns.insert(
            number,
            Conn {
                host,
                agent_life: life,
                center_life: self.center.life,
                hello_sent: now.boot,
                welcomed: false,
                agent_open: true,
                center_open: true,
                center_sends: true,
                up: VecDeque::new(),
                down: VecDeque::new(),
                up_at: 0,
                down_at: 0,
                lag,
            },
        );
        self.send_up(number, Item::Frame(Box::new(FromAgent::Hello(hello))));
        self.after(HANDSHAKE, Happening::Handshake { conn: number });
    }

    /// Dials again after a pause that grows to 2 s.
    pub fn redial(&mut self, host: usize) {
        let h = &mut self.hosts[host];
        if !h.agent_runs() {
            return;
        }
        let pause = h.pause;
        h.pause = (pause * 2).clamp(100, 2_000);
        let life = h.life;
        self.after(pause, Happening::Dial { host, life });
    }

    /// A handshake that is not complete is given up.
    pub fn handshake_over(&mut self, number: u64) {
        let conn = &self.conns[&number];
        if conn.agent_open && !conn.welcomed {
            self.agent_closes(number);
        }
    }

    fn arrival(&mut self, number: u64, net: Net) -> i64 {
        let lag = self.conns[&number].lag;
        self.time + lag + net.delay + self.dice.below_i64(net.jitter + 1)
    }

    /// Sends towards the center.
    pub fn send_up(&mut self, number: u64, item: Item<FromAgent>) {
        let net = self.nets[self.conns[&number].host];
        let again = matches!(&item, Item::Frame(frame) if matches!(**frame, FromAgent::Report(_) | FromAgent::Confirm(_)));
        let copy =
            (again && net.repeats > 0 && self.dice.percent(net.repeats)).then(|| item.copy());
        let at = self.arrival(number, net);
        let Some(conn) = self.conns.get_mut(&number).filter(|conn| conn.agent_open) else {
            return;
        };
        conn.up_at = conn.up_at.max(at);
        let at = conn.up_at;
        for item in std::iter::once(item).chain(copy) {
            self.conns
                .entry(number)
                .and_modify(|conn| conn.up.push_back(item));
            self.at(at, Happening::Up(number));
        }
    }

    /// Sends towards the agent.
    pub fn send_down(&mut self, number: u64, item: Item<ToAgent>) {
        if self.loud && !matches!(&item, Item::Frame(f) if matches!(**f, ToAgent::HeartbeatAck(_)))
        {
            eprintln!("          down {number}: {item:?}");
        }
        let net = self.nets[self.conns[&number].host];
        let again = matches!(&item, Item::Frame(frame) if matches!(**frame, ToAgent::Order(_) | ToAgent::Acknowledge(_)));
        let copy =
            (again && net.repeats > 0 && self.dice.percent(net.repeats)).then(|| item.copy());
        let at = self.arrival(number, net);
        let Some(conn) = self.conns.get_mut(&number).filter(|conn| conn.center_sends) else {
            return;
        };
        conn.down_at = conn.down_at.max(at);
        let at = conn.down_at;
        for item in std::iter::once(item).chain(copy) {
            self.conns
                .entry(number)
                .and_modify(|conn| conn.down.push_back(item));
            self.at(at, Happening::Down(number));
        }
    }

    /// The center closes its end; it reads on until the agent has closed its own.
    pub fn center_closes(&mut self, number: u64, last: Option<ToAgent>) {
        if let Some(last) = last {
            self.send_down(number, Item::Frame(Box::new(last)));
        }
        self.send_down(number, Item::Close);
        if let Some(conn) = self.conns.get_mut(&number) {
            conn.center_sends = false;
        }
    }

    /// The agent closes its end and dials again.
    pub fn agent_closes(&mut self, number: u64) {
        self.send_up(number, Item::Close);
        let Some(conn) = self.conns.get_mut(&number).filter(|conn| conn.agent_open) else {
            return;
        };
        conn.agent_open = false;
        conn.down.clear();
        let host = conn.host;
        if self.hosts[host].conn == Some(number) {
            self.hosts[host].conn = None;
            self.redial(host);
        }
    }

    /// Something arrives at the center.
    pub fn arrive_up(&mut self, number: u64) {
        let life = self.center.life;
        let Some(conn) = self.conns.get_mut(&number) else {
            return;
        };
        if self.nets[conn.host].stall_up {
            return;
        }
        let Some(item) = conn.up.pop_front() else {
            return;
        };
        if !conn.center_open || conn.center_life != life {
            return;
        }
        let session = SessionId(number);
        let agent = self.hosts[conn.host].id.clone();
        match item {
            Item::Frame(frame) => match *frame {
                FromAgent::Hello(hello) => {
                    let address = format!("10.0.0.{}:1", conn.host);
                    self.center_event(CenterEvent::AgentUp {
                        session,
                        agent,
                        hello,
                        address,
                    });
                }
                frame => self.center_event(CenterEvent::AgentFrame(session, frame)),
            },
            Item::Close => {
                conn.center_open = false;
                conn.center_sends = false;
                let why = "the connection was closed".to_owned();
                self.center_event(CenterEvent::AgentDown(session, why));
            }
        }
    }

    /// Something arrives at the agent.
    pub fn arrive_down(&mut self, number: u64) {
        let Some(conn) = self.conns.get_mut(&number) else {
            return;
        };
        if self.nets[conn.host].stall_down {
            return;
        }
        let Some(item) = conn.down.pop_front() else {
            return;
        };
        let host = conn.host;
        if !conn.agent_open || self.hosts[host].life != conn.agent_life {
            return;
        }
        let link = agent_event::LinkId(number);
        match item {
            Item::Frame(frame) => match *frame {
                ToAgent::Welcome(welcome) => {
                    conn.welcomed = true;
                    let hello_sent = conn.hello_sent;
                    self.hosts[host].pause = 0;
                    self.agent_event(
                        host,
                        agent_event::Event::LinkUp {
                            link,
                            welcome: Box::new(welcome),
                            hello_sent,
                        },
                    );
                }
                // An error ends a link, as it does in `proto`, and a handshake.
                ToAgent::Error(error) => {
                    if error.code == LinkError::Copied {
                        let reason = error.message;
                        self.agent_event(host, agent_event::Event::Refused { reason });
                    }
                    self.agent_loses(number);
                }
                ToAgent::HeartbeatAck(ack) => self.hear_beat(host, link, ack),
                frame => self.agent_event(
                    host,
                    agent_event::Event::Frame {
                        link,
                        frame: Box::new(frame),
                    },
                ),
            },
            Item::Close => self.agent_loses(number),
        }
    }

    fn agent_loses(&mut self, number: u64) {
        let conn = &self.conns[&number];
        let (host, link) = (conn.host, agent_event::LinkId(number));
        if conn.welcomed {
            self.agent_event(host, agent_event::Event::LinkDown { link });
        }
        self.agent_closes(number);
    }

    fn hear_beat(&mut self, host: usize, link: agent_event::LinkId, mut ack: HeartbeatAck) {
        if self.plant == Some(Plant::LongLease) {
            ack.lease.length += Duration::from_secs(30);
        }
        let frame = Box::new(ToAgent::HeartbeatAck(ack));
        self.agent_event(host, agent_event::Event::Frame { link, frame });
    }

    /// Both sides of a host's links are told that they are gone; what is under way is lost.
    pub fn reset_links(&mut self, host: usize) {
        let numbers: Vec<u64> = self.links_of(host);
        for number in numbers {
            let Some(conn) = self.conns.get_mut(&number) else {
                continue;
            };
            conn.up = VecDeque::from([Item::Close]);
            conn.down = VecDeque::from([Item::Close]);
            conn.center_sends = false;
            self.after(0, Happening::Up(number));
            self.after(0, Happening::Down(number));
        }
    }

    /// What was stalled flows again.
    pub fn heal(&mut self, host: usize) {
        let net = &mut self.nets[host];
        net.cut = false;
        net.stall_up = false;
        net.stall_down = false;
        for number in self.links_of(host) {
            let conn = &self.conns[&number];
            let (up, down) = (conn.up.len(), conn.down.len());
            (0..up).for_each(|_| self.after(0, Happening::Up(number)));
            (0..down).for_each(|_| self.after(0, Happening::Down(number)));
        }
    }

    fn links_of(&self, host: usize) -> Vec<u64> {
        let of = self.conns.iter().filter(|(_, conn)| conn.host == host);
        of.filter(|(_, conn)| {
            conn.agent_open || conn.center_open || !conn.up.is_empty() || !conn.down.is_empty()
        })
        .map(|(number, _)| *number)
        .collect()
    }

    /// The center's process is gone: the system closes its ends, after what was sent.
    pub fn center_ends_links(&mut self) {
        let numbers: Vec<u64> = self.conns.keys().copied().collect();
        for number in numbers {
            self.send_down(number, Item::Close);
            if let Some(conn) = self.conns.get_mut(&number) {
                conn.center_open = false;
                conn.center_sends = false;
            }
        }
    }

    /// An agent's process is gone: the system closes its end, or nobody does where the host lost its power.
    pub fn agent_ends_link(&mut self, host: usize, told: bool) {
        let Some(number) = self.hosts[host].conn.take() else {
            return;
        };
        if told {
            self.send_up(number, Item::Close);
        }
        if let Some(conn) = self.conns.get_mut(&number) {
            conn.agent_open = false;
            conn.down.clear();
        }
    }
}
