//! Agents that are connected: their links, what was sent on them, when they were last heard. A session is
//! *reconciled* once the agent has told everything it holds; nothing is ordered before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::changes::ChangeId;
use super::core::{Core, CoreSettings};
use super::event::{Effect, LogLevel, Now, Outstanding, SessionId};
use super::events::{Audience, EventLog};
use super::failing::Health;
use super::watch::Touched;
use crate::model::{AgentId, HostPolicy, Incarnation, Revision, SessionLease, TaskId, UnixMs};
use crate::proto::agent::{FromAgent, Heartbeat, HeartbeatAck, State, ToAgent};
use crate::proto::hello::{AgentHello, ErrorFrame, Hello, LinkError, PROTOCOL};
use crate::store::{AgentRow, Write};

/// One agent's link.
#[derive(Debug)]
pub struct AgentSession {
    /// The link.
    pub id: SessionId,
    /// Whose it is.
    pub agent: AgentId,
    /// From where.
    pub address: String,
    /// The protocol version spoken.
    pub protocol: u32,
    /// Its life.
    pub incarnation: Incarnation,
    /// Whether the center knew it in another boot before this link.
    pub new_boot: bool,
    /// Everything it holds, until it is complete.
    pub state: State,
    /// Whether its state was taken in.
    pub reconciled: bool,
    /// Number of the last order.
    pub seq: u64,
    /// Number of the last order that made what it holds right: it gets no lease before it has confirmed that.
    pub settled_seq: u64,
    /// Texts that this link has carried.
    pub texts: BTreeSet<(TaskId, Revision)>,
    /// Orders that are not confirmed, and the changes that wait for them.
    pub outstanding: BTreeMap<u64, (Outstanding, BTreeSet<ChangeId>)>,
    /// When it was last heard, on the boot-time clock.
    pub heard: Duration,
    /// Its clock less the center's.
    pub skew_ms: Option<i64>,
    /// What is wrong on its host, as it says.
    pub problems: Vec<String>,
    /// What its host allows, once it has said so.
    pub policy: Option<Box<HostPolicy>>,
}

impl AgentSession {
    /// Whether it may start runs of target `one`: not while it may hold some that were given to others.
    fn may_have_lease(&self) -> bool {
        let first = self.outstanding.keys().next();
        self.reconciled && first.is_none_or(|seq| *seq > self.settled_seq)
    }
}

/// All links of agents.
#[derive(Debug)]
pub struct Sessions {
    by_id: BTreeMap<SessionId, AgentSession>,
    by_agent: BTreeMap<AgentId, SessionId>,
    /// When each agent was last sent an acknowledgement of a heartbeat.
    leases: BTreeMap<AgentId, Duration>,
    /// When this center started: until a lease's length after it, every lease counts as fresh.
    started: Duration,
    /// Since when agents without a link are without.
    offline_since: BTreeMap<AgentId, Now>,
    /// Agents that were let go, or not let in, because the store could not be written, and are not back.
    pub(super) let_go: BTreeSet<AgentId>,
    /// When a copy of an agent was last refused, on the boot-time clock.
    copies: BTreeMap<AgentId, Duration>,
    /// Agents that were let in since this center leads.
    pub(super) greeted: BTreeSet<AgentId>,
}

impl Sessions {
    /// No links yet.
    pub fn new(started: Duration) -> Self {
        Self {
            by_id: BTreeMap::new(),
            by_agent: BTreeMap::new(),
            leases: BTreeMap::new(),
            started,
            offline_since: BTreeMap::new(),
            let_go: BTreeSet::new(),
            copies: BTreeMap::new(),
            greeted: BTreeSet::new(),
        }
    }

    /// One link.
    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut AgentSession> {
        self.by_id.get_mut(&id)
    }

    /// An agent's link.
    pub fn of(&self, agent: &AgentId) -> Option<&AgentSession> {
        self.by_agent.get(agent).and_then(|id| self.by_id.get(id))
    }

    /// An agent's link, to be changed.
    pub fn of_mut(&mut self, agent: &AgentId) -> Option<&mut AgentSession> {
        self.by_agent
            .get(agent)
            .and_then(|id| self.by_id.get_mut(id))
    }

    /// Whether an agent can be given orders now.
    pub fn is_linked(&self, agent: &AgentId) -> bool {
        self.of(agent).is_some_and(|session| session.reconciled)
    }

    /// Since when an agent has no link, where that is known.
    pub fn offline_since(&self, agent: &AgentId) -> Option<UnixMs> {
        Some(self.offline_since.get(agent)?.at)
    }

    /// Whether an agent is away because the center had let it go, or has not let it in.
    pub fn was_let_go(&self, agent: &AgentId) -> bool {
        self.let_go.contains(agent)
    }

    /// For how long nothing was heard of an agent without a link, whatever the wall clock says; for as long as this
    /// center leads, where it was never heard.
    pub fn silent_for(&self, agent: &AgentId, now: Now) -> Duration {
        let since = self.offline_since.get(agent).map(|since| since.mono);
        now.mono.saturating_sub(since.unwrap_or(self.started))
    }

    /// A copy of an agent was refused.
    pub fn copy_heard(&mut self, agent: &AgentId, mono: Duration) {
        self.copies.insert(agent.clone(), mono);
    }

    /// For how long none was; since this center leads, where none ever was.
    pub fn copy_silent_for(&self, agent: &AgentId, mono: Duration) -> Duration {
        let last = self.copies.get(agent).copied();
        mono.saturating_sub(last.unwrap_or(self.started))
    }

    /// All links.
    pub fn iter(&self) -> impl Iterator<Item = &AgentSession> {
        self.by_id.values()
    }

    /// Until when, on the boot-time clock, an agent may hold a session lease. The margin is for the time that
    /// an acknowledgement needs and for clocks that run at different speeds.
    pub fn lease_over(&self, agent: &AgentId, lease: Duration) -> Duration {
        let sent = self
            .leases
            .get(agent)
            .copied()
            .unwrap_or_default()
            .max(self.started);
        sent + lease + Duration::from_secs(2)
    }

    fn insert(&mut self, session: AgentSession) {
        self.by_agent.insert(session.agent.clone(), session.id);
        self.offline_since.remove(&session.agent);
        self.let_go.remove(&session.agent);
        self.greeted.insert(session.agent.clone());
        self.by_id.insert(session.id, session);
    }

    pub(super) fn remove(&mut self, id: SessionId, now: Now) -> Option<AgentSession> {
        let session = self.by_id.remove(&id)?;
        if self.by_agent.get(&session.agent) == Some(&id) {
            self.by_agent.remove(&session.agent);
            self.offline_since.insert(session.agent.clone(), now);
        }
        Some(session)
    }

    /// When the first link will have been silent too long.
    pub fn next_deadline(&self, now: Now, settings: &CoreSettings) -> Option<UnixMs> {
        let first = self.by_id.values().map(|session| session.heard).min()?;
        Some(
            now.at
                .plus((first + settings.silent).saturating_sub(now.mono))
                .plus(Duration::from_millis(1)),
        )
    }
}

impl Core {
    /// An agent has said hello: it is let in, or told why not.
    pub(super) fn agent_up(
        &mut self,
        now: Now,
        id: SessionId,
        agent: &AgentId,
        hello: &Hello,
        address: &str,
    ) {
        match self.admit(agent, hello) {
            Ok((row, said)) if self.is_outrun(agent, said.epoch) => {
                self.outrun(now, id, &row, said.epoch);
            }
            Ok((row, said)) => self.let_in(now, id, row, &said, hello, address),
            Err(error) if error.code == LinkError::Copied => {
                self.watch_copy(now, agent, address, &error.message);
                self.now(Effect::Close(id, error));
            }
            Err(error) => {
                if self.health != Health::Well {
                    self.sessions.let_go.insert(agent.clone());
                }
                self.log(
                    LogLevel::Warn,
                    format!("agent {agent} from {address} refused: {}", error.message),
                );
                self.now(Effect::Close(id, error));
            }
        }
    }

    pub(super) fn close_agent_link(
        &mut self,
        _now: Now,
        id: SessionId,
        code: LinkError,
        message: String,
    ) {
        self.log(LogLevel::Warn, format!("a link is refused: {message}"));
        self.now(Effect::Close(id, ErrorFrame { code, message }));
    }

    fn admit(&self, agent: &AgentId, hello: &Hello) -> Result<(AgentRow, AgentHello), ErrorFrame> {
        let refuse = |code, message: String| Err(ErrorFrame { code, message });
        if let Health::Reloading { trouble } = &self.health {
            return refuse(LinkError::Internal, trouble.to_owned());
        }
        let Some(row) = self.fleet.agents.get(agent) else {
            return refuse(
                LinkError::Identity,
                "this agent was removed from the fleet; join it anew".to_owned(),
            );
        };
        let Some(said) = &hello.agent else {
            return refuse(
                LinkError::UnknownMessage,
                "an agent's hello names its boot and incarnation".to_owned(),
            );
        };
        let live = self.sessions.of(agent).map(|live| live.incarnation);
        let newest = live.filter(|live| !row.incarnation.is_later_than(*live));
        let newest = newest.unwrap_or(row.incarnation);
        let same_life = said.incarnation == newest && row.boot_id.as_ref() == Some(&said.boot_id);
        if said.incarnation.is_later_than(newest) || same_life {
            return Ok((row.clone(), said.clone()));
        }
        refuse(
            LinkError::Copied,
            format!(
                "its disk was cloned or rolled back: it says that it is incarnation {} of agent {}, but {newest} was \
                 seen",
                said.incarnation, row.name
            ),
        )
    }

    fn let_in(
        &mut self,
        now: Now,
        id: SessionId,
        row: AgentRow,
        said: &AgentHello,
        hello: &Hello,
        address: &str,
    ) {
        if let Some(old) = self.sessions.of(&row.id).map(|session| session.id) {
            let message = "another session of this agent took its place".to_owned();
            self.now(Effect::Close(
                old,
                ErrorFrame {
                    code: LinkError::Replaced,
                    message,
                },
            ));
            self.drop_session(now, old);
        }
        let new_boot = row
            .boot_id
            .as_ref()
            .is_some_and(|boot| *boot != said.boot_id);
        let first_seen = row.boot_id.as_ref() != Some(&said.boot_id);
        let mut row = row;
        row.boot_id = Some(said.boot_id.clone());
        row.boot_seen_at = if first_seen {
            Some(now.at)
        } else {
            row.boot_seen_at
        };
        row.incarnation = said.incarnation;
        row.version = Some(hello.version.clone());
        row.last_seen_at = Some(now.at);
        self.fleet.agents.insert(row.id.clone(), row.clone());
        self.write(Write::PutAgent(Box::new(row.clone())));
        self.sessions.insert(AgentSession {
            id,
            agent: row.id.clone(),
            address: address.to_owned(),
            protocol: PROTOCOL.min(hello.protocol_max),
            incarnation: said.incarnation,
            new_boot,
            state: State::default(),
            reconciled: false,
            seq: 0,
            settled_seq: 0,
            texts: BTreeSet::new(),
            outstanding: BTreeMap::new(),
            heard: now.mono,
            skew_ms: None,
            problems: Vec::new(),
            policy: None,
        });
        self.watch_back(now, &row.id);
        self.greet(now, id, &row, PROTOCOL.min(hello.protocol_max));
        if new_boot {
            self.plan_reboots(now, &row.id, Duration::from_millis(said.up_ms));
        }
    }

    fn greet(&mut self, now: Now, id: SessionId, row: &AgentRow, protocol: u32) {
        let welcome = self.welcome(now, protocol, Some(row.name.clone()));
        self.later(Effect::ToAgent(id, Box::new(ToAgent::Welcome(welcome))));
        self.log(LogLevel::Info, format!("agent {} is online", row.name));
        let mut event = EventLog::blank(now.at, "agent_online");
        event.agent = Some(row.name.clone());
        self.publish(Audience::AnyOf(row.groups.iter().cloned().collect()), event);
    }

    /// One message of an agent.
    pub(super) fn agent_frame(&mut self, now: Now, id: SessionId, frame: FromAgent) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        session.heard = now.mono;
        match frame {
            FromAgent::Hello(_) => {
                self.close_agent(now, id, LinkError::Unexpected, "a second hello");
            }
            FromAgent::Heartbeat(beat) => self.heartbeat(now, id, &beat),
            FromAgent::State(state) => self.state_part(now, id, state),
            FromAgent::Policy(policy) => session.policy = Some(policy),
            FromAgent::Confirm(confirm) => self.confirmed(now, id, &confirm),
            FromAgent::Report(report) => self.reported(now, id, report),
            FromAgent::Problems(said) => {
                let agent = session.agent.clone();
                self.agent_problems(id, said.problems);
                self.watch_problems(now, &agent);
            }
            FromAgent::Log(chunk) => self.log_chunk(id, chunk),
            FromAgent::LogEnd(end) => self.log_end(id, end),
            FromAgent::Error(error) => {
                let name = self.session_name(id);
                self.log(
                    LogLevel::Warn,
                    format!("agent {name} closed its link: {}", error.message),
                );
                self.agent_down(now, id, &error.message);
            }
        }
    }

    /// An agent says what is wrong on its host: it stands in `status` from here on.
    fn agent_problems(&mut self, id: SessionId, mut problems: Vec<String>) {
        /// Further ones say nothing new to a person.
        const MOST: usize = 20;
        problems.truncate(MOST);
        let name = self.session_name(id);
        for problem in &problems {
            self.log(LogLevel::Warn, format!("agent {name}: {problem}"));
        }
        if let Some(session) = self.sessions.get_mut(id) {
            session.problems = problems;
            let agent = session.agent.clone();
            self.touch(&Touched::Agent(agent));
        }
    }

    fn heartbeat(&mut self, now: Now, id: SessionId, beat: &Heartbeat) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        session.skew_ms = beat.skew_ms;
        let agent = session.agent.clone();
        let leased = session.may_have_lease();
        self.watch_beat(now, &agent, beat.skew_ms, &beat.trouble);
        let ack = HeartbeatAck {
            sent_boot_ms: beat.sent_boot_ms,
            received_at: now.at,
            sent_at: now.at,
            epoch: self.settings.epoch,
            lease: SessionLease {
                length: if leased {
                    self.settings.lease()
                } else {
                    Duration::ZERO
                },
            },
        };
        if leased {
            self.sessions.leases.insert(agent.clone(), now.mono);
        }
        if let Some(row) = self.fleet.agents.get_mut(&agent) {
            row.last_seen_at = Some(now.at);
        }
        self.now(Effect::ToAgent(id, Box::new(ToAgent::HeartbeatAck(ack))));
    }

    fn session_name(&mut self, id: SessionId) -> String {
        let agent = self
            .sessions
            .get_mut(id)
            .map(|session| session.agent.clone());
        agent.map_or_else(|| "?".to_owned(), |agent| self.fleet.agent_name(&agent))
    }

    /// Tells an agent why, and lets go of its link.
    pub(super) fn close_agent(&mut self, now: Now, id: SessionId, code: LinkError, why: &str) {
        let name = self.session_name(id);
        self.log(
            LogLevel::Warn,
            format!("link to agent {name} closed: {why}"),
        );
        self.now(Effect::Close(
            id,
            ErrorFrame {
                code,
                message: why.to_owned(),
            },
        ));
        self.agent_down(now, id, why);
    }

    /// An agent's link is gone.
    pub(super) fn agent_down(&mut self, now: Now, id: SessionId, why: &str) {
        let Some(agent) = self.drop_session(now, id) else {
            return;
        };
        let Some(row) = self.fleet.agents.get(&agent).cloned() else {
            return;
        };
        self.log(
            LogLevel::Warn,
            format!("agent {} is offline: {why}", row.name),
        );
        let mut event = EventLog::blank(now.at, "agent_offline");
        event.agent = Some(row.name);
        why.clone_into(&mut event.reason);
        self.publish(Audience::AnyOf(row.groups.into_iter().collect()), event);
    }

    fn drop_session(&mut self, now: Now, id: SessionId) -> Option<AgentId> {
        let session = self.sessions.remove(id, now)?;
        for (_, changes) in session.outstanding.values() {
            for change in changes {
                self.changes.agent_gone(*change, &session.agent);
            }
        }
        self.drafts.forget(&session.agent);
        self.end_logs_of(id);
        self.watch_gone(now, &session.agent);
        Some(session.agent)
    }

    /// Closes links that have been silent for three heartbeats.
    pub(super) fn drop_silent(&mut self, now: Now) {
        let silent = self.settings.silent;
        let late = |session: &&AgentSession| session.heard + silent < now.mono;
        let gone: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(late)
            .map(|session| session.id)
            .collect();
        for id in gone {
            self.close_agent(
                now,
                id,
                LinkError::Timeout,
                "nothing heard for three heartbeats",
            );
        }
    }
}
