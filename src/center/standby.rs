//! What a center does that does not lead: greets agents and clients with epoch 0, keeps their links for the day on
//! which it takes the lead, and says where the leader is. Pure. It knows neither tasks nor who may do what, decides
//! nothing, and acknowledges nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::event::{Effect, Event, Now, SessionId};
use super::roster::Roster;
use crate::model::{AgentId, Epoch, FleetId, OperatorId, SessionLease};
use crate::proto::agent::{FromAgent, Heartbeat, HeartbeatAck, ToAgent};
use crate::proto::client::{AnswerFrame, FromClient, RequestFrame, ToClient};
use crate::proto::hello::{ErrorFrame, Hello, LinkError, PROTOCOL, Welcome};
use crate::proto::request::{Answer, Request};
use crate::proto::view::{AgentCounts, Lateness, StatusView, TaskCounts};
use crate::rule::Zone;

/// An agent's link.
#[derive(Debug)]
struct Agent {
    agent: AgentId,
    hello: Hello,
    address: String,
    /// When it said hello, on the boot-time clock.
    said: Duration,
}

/// A client's link.
#[derive(Debug)]
struct Client {
    operator: OperatorId,
    protocol: u32,
    address: String,
}

/// The state of a center that stands by.
#[derive(Debug)]
pub struct Standby {
    fleet: FleetId,
    zone: Zone,
    addresses: Vec<String>,
    agents: BTreeMap<SessionId, Agent>,
    clients: BTreeMap<SessionId, Client>,
    roster: Roster,
    trouble: Option<String>,
    out: Vec<Effect>,
}

impl Standby {
    /// A center of this fleet without links; `addresses` is where it answers.
    pub fn new(fleet: FleetId, zone: Zone, addresses: Vec<String>, roster: Roster) -> Self {
        Self {
            fleet,
            zone,
            addresses,
            agents: BTreeMap::new(),
            clients: BTreeMap::new(),
            roster,
            trouble: None,
            out: Vec::new(),
        }
    }

    /// Takes one event in and says what is to be done.
    pub fn handle(&mut self, now: Now, event: Event) -> Vec<Effect> {
        match event {
            Event::AgentUp {
                session,
                agent,
                hello,
                address,
            } => self.agent_up(now, session, agent, hello, address),
            Event::AgentFrame(session, FromAgent::Heartbeat(beat)) => {
                self.heartbeat(now, session, &beat);
            }
            Event::AgentDown(session, _) => drop(self.agents.remove(&session)),
            Event::ClientUp {
                session,
                operator,
                protocol,
                address,
            } => {
                let welcome = self.welcome(now, protocol);
                self.clients.insert(
                    session,
                    Client {
                        operator,
                        protocol,
                        address,
                    },
                );
                self.to_client(session, ToClient::Welcome(welcome));
            }
            Event::ClientFrame(session, FromClient::Request(request)) => {
                self.request(now, session, &request);
            }
            Event::ClientDown(session) => drop(self.clients.remove(&session)),
            Event::Join { session, .. } => self.close(session),
            Event::Centers(roster) => {
                self.roster = *roster;
                self.trouble = None;
            }
            Event::StoreSilent(trouble) => self.trouble = Some(trouble),
            // Whatever else is said is for a leader, and comes again once there is one.
            _ => {}
        }
        std::mem::take(&mut self.out)
    }

    /// The links, as events for the core that leads from here on; greeted by it, they know.
    pub fn take_over(self, now: Now) -> Vec<Event> {
        let agents = self.agents.into_iter().map(|(session, link)| {
            let mut hello = link.hello;
            if let Some(said) = &mut hello.agent {
                // Its host has been up for longer since.
                let since = now.mono.saturating_sub(link.said).as_millis();
                said.up_ms += u64::try_from(since).unwrap_or(u64::MAX / 2);
            }
            Event::AgentUp {
                session,
                agent: link.agent,
                hello,
                address: link.address,
            }
        });
        let clients = self
            .clients
            .into_iter()
            .map(|(session, link)| Event::ClientUp {
                session,
                operator: link.operator,
                protocol: link.protocol,
                address: link.address,
            });
        agents.chain(clients).collect()
    }

    fn agent_up(
        &mut self,
        now: Now,
        session: SessionId,
        agent: AgentId,
        hello: Hello,
        address: String,
    ) {
        let welcome = self.welcome(now, PROTOCOL.min(hello.protocol_max));
        let link = Agent {
            agent,
            hello,
            address,
            said: now.mono,
        };
        self.agents.insert(session, link);
        let frame = Box::new(ToAgent::Welcome(welcome));
        self.out.push(Effect::ToAgent(session, frame));
    }

    fn heartbeat(&mut self, now: Now, session: SessionId, beat: &Heartbeat) {
        let ack = HeartbeatAck {
            sent_boot_ms: beat.sent_boot_ms,
            received_at: now.at,
            sent_at: now.at,
            epoch: Epoch(0),
            lease: SessionLease {
                length: Duration::ZERO,
            },
        };
        let frame = Box::new(ToAgent::HeartbeatAck(ack));
        self.out.push(Effect::ToAgent(session, frame));
    }

    /// `status` is answered; for everything else the client is sent to look for the leader.
    fn request(&mut self, now: Now, session: SessionId, frame: &RequestFrame) {
        if !matches!(frame.ask, Request::Status(_)) {
            self.clients.remove(&session);
            return self.close(session);
        }
        let answer = Answer::Status(Box::new(self.status(now)));
        let answer = AnswerFrame {
            id: frame.id,
            answer,
        };
        self.to_client(session, ToClient::Answer(Box::new(answer)));
    }

    fn status(&self, now: Now) -> StatusView {
        let mut problems: Vec<String> = self.trouble.iter().cloned().collect();
        problems.push(self.words());
        StatusView {
            center: self.addresses.first().cloned().unwrap_or_default(),
            role: "standby".to_owned(),
            epoch: Epoch(0),
            centers: self.roster.addresses(),
            standbys: self.roster.standbys(),
            lease_age_ms: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            now: now.at,
            timezone: self.zone.clone(),
            agents: AgentCounts::default(),
            tasks: TaskCounts::default(),
            running: 0,
            lateness_ms: Lateness::default(),
            problems,
        }
    }

    /// Where the leader is, in words.
    fn words(&self) -> String {
        match self.roster.leader() {
            Some(row) => {
                let place = row.addresses.first().unwrap_or(&row.id);
                format!("this center stands by; the last known leader is {place}")
            }
            None => "this center stands by, and knows no leader".to_owned(),
        }
    }

    fn welcome(&self, now: Now, protocol: u32) -> Welcome {
        Welcome {
            protocol,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            fleet: self.fleet.to_string(),
            agent: None,
            epoch: Epoch(0),
            now: now.at,
            centers: self.roster.addresses(),
        }
    }

    fn to_client(&mut self, session: SessionId, frame: ToClient) {
        self.out.push(Effect::ToClient(session, Box::new(frame)));
    }

    fn close(&mut self, session: SessionId) {
        let error = ErrorFrame {
            code: LinkError::Closing,
            message: self.words(),
        };
        self.out.push(Effect::Close(session, error));
    }
}
