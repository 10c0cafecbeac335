//! Agents that only the center can dial. Adding one: the center dials a host that waits to join, believes it by
//! its key's fingerprint, takes its token, and the operator hears of it once the certificate is on the host's
//! disk. Afterwards the center keeps dialling: the set of whom is an effect, told whole whenever it changes.

use std::collections::BTreeMap;

use super::clients::Asker;
use super::core::Core;
use super::event::{AddTrouble, Effect, Issue, LogLevel, Now, SessionId, Ticket};
use super::requests::Audited;
use super::select::refusal;
use crate::model::{AgentId, AgentName, HostPort, PeerRole, RequestId};
use crate::proto::hello::{ErrorFrame, LinkError};
use crate::proto::join::Join;
use crate::proto::request::{AgentAdd, Answer, Refusal, RefusalCode};
use crate::store::TokenFor;

/// An agent that is being added.
#[derive(Clone, Debug)]
struct Add {
    /// Who waits for it.
    asker: Asker,
    /// Under which it may be asked for again, over another link.
    request_id: Option<RequestId>,
    /// What was asked.
    ask: AgentAdd,
    /// Its row, once its token was taken.
    agent: Option<AgentId>,
}

/// All agents that are being added.
#[derive(Debug, Default)]
pub struct Adding {
    open: BTreeMap<Ticket, Add>,
    /// Whether anybody was ever to be dialled.
    dials: bool,
}

impl Adding {
    /// The request that this client made may be asked for again under this id.
    pub fn set_request_id(&mut self, session: SessionId, request: u64, id: &RequestId) {
        for add in self.open.values_mut() {
            if (add.asker.session, add.asker.request) == (session, request) {
                add.request_id = Some(id.clone());
            }
        }
    }

    /// A request is repeated while its agent is still being added: the answer goes to where it was asked last.
    /// Whether one is.
    pub fn follow(&mut self, id: &RequestId, asker: &Asker) -> bool {
        let same = |add: &&mut Add| {
            add.request_id.as_ref() == Some(id) && add.asker.operator == asker.operator
        };
        let Some(add) = self.open.values_mut().find(same) else {
            return false;
        };
        add.asker = asker.clone();
        true
    }

    fn is_adding(&self, agent: &AgentId) -> bool {
        self.open
            .values()
            .any(|add| add.agent.as_ref() == Some(agent))
    }
}

fn conflict(message: String, hint: &str) -> Refusal {
    refusal(RefusalCode::Conflict, message, Some(hint))
}

impl Core {
    /// Dials a host that waits to join.
    pub(super) fn begin_add(&mut self, asker: &Asker, ask: AgentAdd) -> Result<(), Refusal> {
        self.check_free(&ask.agent)?;
        self.check_address(&ask.address)?;
        let ticket = self.ticket();
        self.now(Effect::Add(ticket, ask.address.clone(), ask.fingerprint));
        let add = Add {
            asker: asker.clone(),
            request_id: None,
            ask,
            agent: None,
        };
        self.adding.open.insert(ticket, add);
        Ok(())
    }

    fn check_free(&self, name: &AgentName) -> Result<(), Refusal> {
        if self.fleet.agent_named(name).is_some() {
            return Err(conflict(
                format!("an agent named {name} is there already"),
                "choose another name, or remove the old one with `ucron agent rm`",
            ));
        }
        if self.adding.open.values().any(|add| add.ask.agent == *name) {
            return Err(conflict(
                format!("an agent named {name} is being added"),
                "wait for that, or choose another name",
            ));
        }
        Ok(())
    }

    fn check_address(&self, address: &HostPort) -> Result<(), Refusal> {
        let rows = self.fleet.agents.values();
        let held = rows.filter(|row| row.dial_address.as_ref() == Some(address));
        let adding = self.adding.open.values().map(|add| &add.ask);
        let asked = adding.filter(|ask| ask.address == *address);
        let names = held.map(|row| &row.name).chain(asked.map(|ask| &ask.agent));
        match names.into_iter().next() {
            None => Ok(()),
            Some(name) => Err(conflict(
                format!("agent {name} is at {address} already"),
                "several agents on one host listen on a port each; an agent that is gone is removed with `ucron agent rm`",
            )),
        }
    }

    /// The host that was dialled has shown its token.
    pub(super) fn add_join(&mut self, now: Now, session: SessionId, ticket: Ticket, join: &Join) {
        let Some(add) = self.adding.open.get(&ticket).cloned() else {
            let message = "nobody waits for this agent any more".to_owned();
            let code = LinkError::Internal;
            return self.now(Effect::Close(session, ErrorFrame { code, message }));
        };
        match self.take_added(now, &add, join) {
            Ok(issue) => {
                if let Some(open) = self.adding.open.get_mut(&ticket) {
                    open.agent = issue.id.parse().ok();
                }
                self.later(Effect::Issue(session, issue));
            }
            Err(error) => {
                self.adding.open.remove(&ticket);
                let trouble = AddTrouble {
                    message: format!(
                        "the agent at {} was not taken: {}",
                        add.ask.address, error.message
                    ),
                    hint: "run `ucron-agent join --listen` again with a new token of `ucron token agent`",
                };
                self.refuse_add(&add, &trouble);
                self.now(Effect::Close(session, error));
            }
        }
    }

    fn take_added(&mut self, now: Now, add: &Add, join: &Join) -> Result<Issue, ErrorFrame> {
        let (hash, token) = self.check_token(now, join)?;
        let TokenFor::Agent(groups) = &token.purpose else {
            return Err(ErrorFrame {
                code: LinkError::Token,
                message: "this token is for an operator".to_owned(),
            });
        };
        let name = self.free_agent_name(Some(&add.ask.agent))?;
        let row = self.new_agent(now, name, groups, Some(add.ask.address.clone()));
        self.use_token(&hash);
        let mut entry = Audited::new("agent add", &row.name, None);
        entry.after = serde_json::to_string(&(&add.ask.address, add.ask.fingerprint)).ok();
        self.audit(now, &add.asker, entry);
        Ok(Issue {
            role: PeerRole::Agent,
            id: row.id.to_string(),
            name: row.name.to_string(),
            request: join.request.clone(),
        })
    }

    /// The certificate is on the host's disk, or something went wrong on the way there.
    pub(super) fn added(&mut self, now: Now, ticket: Ticket, result: Result<(), AddTrouble>) {
        let Some(add) = self.adding.open.remove(&ticket) else {
            return;
        };
        let trouble = match result {
            Ok(()) => {
                self.dial_members();
                // Kept only now: a center that dies before this cannot say whether the host has its certificate.
                self.keep_answer(now, add.asker.session, add.request_id, &Answer::Done);
                return self.answer_later(add.asker.session, add.asker.request, Answer::Done);
            }
            Err(trouble) => trouble,
        };
        let row = add.agent.as_ref().and_then(|id| self.fleet.agents.get(id));
        if let Some(row) = row.cloned() {
            let reason = format!("agent {} could not be added", row.name);
            self.remove_agent(now, &row, &reason);
            self.audit(now, &add.asker, Audited::new("agent rm", &row.name, None));
        }
        self.refuse_add(&add, &trouble);
    }

    fn refuse_add(&mut self, add: &Add, trouble: &AddTrouble) {
        let AddTrouble { message, hint } = trouble;
        self.log(
            LogLevel::Warn,
            format!("agent {} was not added: {message}", add.ask.agent),
        );
        let refusal = refusal(RefusalCode::Failed, message.clone(), Some(hint));
        self.refuse(add.asker.session, add.asker.request, refusal);
    }

    /// Says whom to keep dialling from now on: every agent with an address, but for those that have no
    /// certificate yet.
    pub(super) fn dial_members(&mut self) {
        let rows = self.fleet.agents.values();
        let ready = rows.filter(|row| !self.adding.is_adding(&row.id));
        let wanted: BTreeMap<AgentId, HostPort> = ready
            .filter_map(|row| Some((row.id.clone(), row.dial_address.clone()?)))
            .collect();
        if !wanted.is_empty() || self.adding.dials {
            self.adding.dials = true;
            self.later(Effect::Dial(wanted));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::center::event::Event;
    use crate::center::{CoreSettings, Now};
    use crate::model::{
        Epoch, Fingerprint, GroupName, OperatorId, OperatorName, Role, Token, UnixMs,
    };
    use crate::proto::client::{FromClient, RequestFrame, ToClient};
    use crate::proto::hello::PROTOCOL;
    use crate::proto::request::Request;
    use crate::rule::Zone;
    use crate::store::{OperatorRow, Snapshot, TokenRow};

    const NOW: Now = Now {
        at: UnixMs(1_800_000_000_000),
        mono: Duration::from_secs(100),
    };
    const HOST: SessionId = SessionId(9);

    fn token() -> Token {
        Token::new(PeerRole::Agent, &[7; 32], Fingerprint::of(b"ca"))
    }

    fn snapshot() -> Snapshot {
        let operator = |n: u64, name: &str, role| OperatorRow {
            id: operator_id(n),
            name: OperatorName::parse(name).unwrap(),
            role,
            roles: BTreeMap::new(),
            logged_in: true,
            created_at: NOW.at,
        };
        Snapshot {
            operators: vec![operator(1, "admin", Some(Role::Admin))],
            tokens: vec![TokenRow {
                hash: token().hash(),
                purpose: TokenFor::Agent(BTreeSet::<GroupName>::new()),
                expires_at: NOW.at.plus(Duration::from_hours(1)),
            }],
            ..Snapshot::default()
        }
    }

    fn operator_id(n: u64) -> OperatorId {
        format!("01hz000000000000000000000{n}").parse().unwrap()
    }

    fn core() -> Core {
        let settings = CoreSettings {
            fleet: "f1".parse().unwrap(),
            epoch: Epoch(1),
            zone: Zone::utc(),
            lead: Duration::from_secs(10),
            silent: Duration::from_secs(9),
            lost_after: Duration::from_hours(1),
            addresses: Vec::new(),
            pin: Fingerprint::of(b"ca"),
            seed: [1; 32],
        };
        let mut core = Core::new(settings, &snapshot(), NOW);
        for session in [1, 2] {
            let up = Event::ClientUp {
                session: SessionId(session),
                operator: operator_id(1),
                protocol: PROTOCOL,
                address: "here".to_owned(),
            };
            core.handle(NOW, up);
        }
        core
    }

    /// A client on this link asks for `a1` at this port, under this id.
    fn ask(session: u64, id: &str, port: u16) -> Event {
        let ask = AgentAdd {
            agent: AgentName::parse("a1").unwrap(),
            address: format!("h:{port}").parse().unwrap(),
            fingerprint: Fingerprint::of(b"key"),
        };
        let frame = RequestFrame {
            id: session,
            request_id: Some(id.parse().unwrap()),
            ask: Request::AgentAdd(ask),
        };
        Event::ClientFrame(SessionId(session), FromClient::Request(Box::new(frame)))
    }

    fn joins(ticket: u64, role: PeerRole) -> Event {
        let join = Join {
            protocol_min: PROTOCOL,
            protocol_max: PROTOCOL,
            role,
            token: token().text(),
            request: String::new(),
            name: None,
        };
        Event::AddJoin {
            session: HOST,
            ticket: Ticket(ticket),
            join,
        }
    }

    fn stored(ticket: u64) -> Event {
        Event::Added(Ticket(ticket), Ok(()))
    }

    fn broken(ticket: u64) -> Event {
        let trouble = AddTrouble {
            message: "gone".to_owned(),
            hint: "again",
        };
        Event::Added(Ticket(ticket), Err(trouble))
    }

    fn word(effect: &Effect) -> Option<String> {
        Some(match effect {
            Effect::Commit(_) => "commit".to_owned(),
            Effect::Load => "load".to_owned(),
            Effect::Add(Ticket(n), address, _) => format!("add {n} {address}"),
            Effect::Issue(HOST, issue) => format!("issue {}", issue.name),
            Effect::Close(HOST, _) => "close".to_owned(),
            Effect::Dial(all) => {
                let all: Vec<&str> = all.values().map(HostPort::as_str).collect();
                format!("dial [{}]", all.join(" "))
            }
            Effect::ToClient(SessionId(n), frame) => match frame.as_ref() {
                ToClient::Answer(_) => format!("done to {n}"),
                ToClient::Refused(refused) => format!("{:?} to {n}", refused.refusal.code),
                _ => return None,
            },
            _ => return None,
        })
    }

    /// Plays these events; after each the effects that matter are these.
    fn check(core: &mut Core, steps: Vec<(Event, &[&str])>) {
        for (number, (event, wanted)) in steps.into_iter().enumerate() {
            let effects = core.handle(NOW, event);
            let words: Vec<String> = effects.iter().filter_map(word).collect();
            assert_eq!(words, wanted, "step {number}");
        }
    }

    fn durable() -> Event {
        Event::Committed(Ok(()))
    }

    #[test]
    fn an_agent_is_dialled_once_it_has_stored_its_certificate() {
        check(
            &mut core(),
            vec![
                (ask(1, "r1", 1), &["add 1 h:1"]),
                (joins(1, PeerRole::Agent), &["commit"]),
                (durable(), &["issue a1"]),
                (stored(1), &["commit"]),
                (durable(), &["dial [h:1]", "done to 1"]),
                (stored(1), &[]),
                (ask(1, "r1", 1), &["done to 1"]),
                (ask(1, "r2", 2), &["Conflict to 1"]),
            ],
        );
    }

    #[test]
    fn a_name_or_an_address_is_added_once_at_a_time_and_a_repetition_is_the_same_request() {
        check(
            &mut core(),
            vec![
                (ask(1, "r1", 1), &["add 1 h:1"]),
                (ask(2, "r2", 2), &["Conflict to 2"]),
                (ask(2, "r1", 1), &[]),
                (broken(1), &["Failed to 2"]),
                (ask(1, "r3", 1), &["add 2 h:1"]),
            ],
        );
    }

    #[test]
    fn a_host_that_did_not_store_its_certificate_is_taken_back() {
        check(
            &mut core(),
            vec![
                (ask(1, "r1", 1), &["add 1 h:1"]),
                (joins(1, PeerRole::Agent), &["commit"]),
                (durable(), &["issue a1"]),
                (broken(1), &["commit"]),
                (durable(), &["Failed to 1"]),
                (ask(1, "r2", 1), &["add 2 h:1"]),
                // The token is used.
                (joins(2, PeerRole::Agent), &["close", "Failed to 1"]),
                (broken(2), &[]),
            ],
        );
    }

    #[test]
    fn a_store_that_fails_leaves_no_agent_and_the_token_good() {
        check(
            &mut core(),
            vec![
                (ask(1, "r1", 1), &["add 1 h:1"]),
                (joins(1, PeerRole::Agent), &["commit"]),
                (Event::Committed(Err("full".to_owned())), &["close"]),
                (Event::Loaded(Ok(Box::new(snapshot()))), &["commit"]),
                (durable(), &[]),
                (broken(1), &["Failed to 1"]),
                (ask(1, "r2", 1), &["add 2 h:1"]),
                (joins(2, PeerRole::Agent), &["commit"]),
                (durable(), &["issue a1"]),
            ],
        );
    }

    #[test]
    fn a_join_in_another_role_or_for_nobody_is_refused() {
        check(
            &mut core(),
            vec![
                (joins(5, PeerRole::Agent), &["close"]),
                (ask(1, "r1", 1), &["add 1 h:1"]),
                (joins(1, PeerRole::Operator), &["close", "Failed to 1"]),
            ],
        );
    }
}
