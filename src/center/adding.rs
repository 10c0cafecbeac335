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
