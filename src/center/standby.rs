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
    id: AgentId,
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
                self.answer(session, ToClient::Welcome(welcome));
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
                agent: link.id,
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
            id: agent,
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
        self.answer(session, ToClient::Answer(Box::new(answer)));
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
            conditions: Vec::new(),
            freezes: Vec::new(),
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

    fn answer(&mut self, session: SessionId, frame: ToClient) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BootId, Incarnation, PeerRole, UnixMs};
    use crate::proto::client::Credit;
    use crate::proto::hello::AgentHello;
    use crate::proto::request::{GroupList, Status};

    const AGENT: SessionId = SessionId(1);
    const CLIENT: SessionId = SessionId(2);

    fn at(seconds: u64) -> Now {
        Now {
            at: UnixMs(i64::try_from(seconds).unwrap() * 1000),
            mono: Duration::from_secs(seconds),
        }
    }

    fn standby() -> Standby {
        let fleet = FleetId::from(ulid::Ulid::nil());
        let mut standby = Standby::new(fleet, Zone::utc(), Vec::new(), Roster::default());
        let agent = Event::AgentUp {
            session: AGENT,
            agent: AgentId::from(ulid::Ulid::nil()),
            hello: Hello {
                protocol_min: PROTOCOL,
                protocol_max: PROTOCOL,
                version: "0.1.0".to_owned(),
                role: PeerRole::Agent,
                agent: Some(AgentHello {
                    boot_id: "0f6d2c1e-8b1a-4a53-9d5f-3c2b7a9e1d40"
                        .parse::<BootId>()
                        .unwrap(),
                    incarnation: Incarnation(1),
                    epoch: Epoch(4),
                    up_ms: 5_000,
                }),
            },
            address: "a:1".to_owned(),
        };
        let client = Event::ClientUp {
            session: CLIENT,
            operator: OperatorId::from(ulid::Ulid::nil()),
            protocol: PROTOCOL,
            address: "c:1".to_owned(),
        };
        for event in [agent, client] {
            let [effect] = &standby.handle(at(10), event)[..] else {
                panic!("not one welcome");
            };
            let epoch = match effect {
                Effect::ToAgent(_, frame) => match frame.as_ref() {
                    ToAgent::Welcome(welcome) => welcome.epoch,
                    other => panic!("{other:?}"),
                },
                Effect::ToClient(_, frame) => match frame.as_ref() {
                    ToClient::Welcome(welcome) => welcome.epoch,
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            };
            assert_eq!(epoch, Epoch(0));
        }
        standby
    }

    fn ask(standby: &mut Standby, ask: Request) -> Vec<Effect> {
        let frame = RequestFrame {
            id: 1,
            request_id: None,
            ask,
        };
        let frame = FromClient::Request(Box::new(frame));
        standby.handle(at(11), Event::ClientFrame(CLIENT, frame))
    }

    #[test]
    fn it_answers_status_and_sends_whoever_wants_more_to_the_leader() {
        let mut standby = standby();
        let credit = FromClient::Credit(Credit { id: 1, items: 1 });
        let silent = standby.handle(at(11), Event::ClientFrame(CLIENT, credit));
        assert_eq!(silent, []);
        let told = ask(&mut standby, Request::Status(Status {}));
        assert!(
            matches!(&told[..], [Effect::ToClient(CLIENT, _)]),
            "{told:?}"
        );
        let told = ask(&mut standby, Request::GroupList(GroupList {}));
        let [Effect::Close(CLIENT, error)] = &told[..] else {
            panic!("{told:?}");
        };
        assert_eq!(error.code, LinkError::Closing);
        assert_eq!(standby.take_over(at(20)).len(), 1);
    }

    #[test]
    fn the_links_that_it_kept_are_the_new_leaders() {
        let events = standby().take_over(at(20));
        let [Event::AgentUp { hello, .. }, Event::ClientUp { .. }] = &events[..] else {
            panic!("{events:?}");
        };
        // Its host has been up for ten seconds more.
        assert_eq!(hello.agent.as_ref().map(|said| said.up_ms), Some(15_000));
    }
}
