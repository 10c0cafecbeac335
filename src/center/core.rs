//! The center's decisions: `handle(now, event) → effects`, pure. Owns the fleet, the open runs and who is
//! connected. Changes are made in memory at once; what others must not see before it is durable (orders,
//! answers, acknowledgements) is held back until the batch that carries it is committed. A batch that fails
//! changes nothing: memory is thrown away and read from the store again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::adding::Adding;
use super::changes::Changes;
use super::clients::Clients;
use super::entropy::Entropy;
use super::event::{Effect, Event, LogLevel, Now, Ticket};
use super::events::EventLog;
use super::fleet::Fleet;
use super::lateness::Latenesses;
use super::orders::Drafts;
use super::reads::Reading;
use super::runs::{OpenRun, OpenRuns, SlotKey, Stage};
use super::sessions::Sessions;
use crate::model::{AgentId, Epoch, Fingerprint, FleetId, RequestId, RunId, TaskId, UnixMs};
use crate::proto::agent::SlotReport;
use crate::rule::Zone;
use crate::store::{AnswerRow, Snapshot, Write};

/// What does not change while a center runs.
#[derive(Clone, Debug)]
pub struct CoreSettings {
    /// The fleet's id.
    pub fleet: FleetId,
    /// The epoch under which this center leads.
    pub epoch: Epoch,
    /// Zone of tasks that name none.
    pub zone: Zone,
    /// How far ahead runs are planned.
    pub lead: Duration,
    /// How long an agent may be silent, three heartbeats.
    pub silent: Duration,
    /// How long after its schedule an unconfirmed run of a silent agent is given up.
    pub lost_after: Duration,
    /// Where the center answers, the address to dial first.
    pub addresses: Vec<String>,
    /// CA fingerprint for tokens.
    pub pin: Fingerprint,
    /// 256 random bits: where ids and tokens come from.
    pub seed: [u8; 32],
}

impl CoreSettings {
    /// The session lease that agents get: `lead` + 5 s.
    pub fn lease(&self) -> Duration {
        self.lead + Duration::from_secs(5)
    }
}

/// Whether the store takes writes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// It does.
    Well,
    /// It did not; memory is being read anew.
    Reloading {
        /// What it said.
        trouble: String,
    },
}

/// How long a plan may be late: a first attempt later than this after its schedule is refused.
pub(super) const START_BEFORE: Duration = Duration::from_mins(1);
/// How often a store that failed is tried again.
const RELOAD_EVERY: Duration = Duration::from_secs(1);
/// How long answers are kept for repeated requests.
pub(super) const KEEP_ANSWERS: Duration = Duration::from_mins(10);

/// The center's state. See the module's words.
#[derive(Debug)]
pub struct Core {
    pub(super) settings: CoreSettings,
    pub(super) fleet: Fleet,
    pub(super) open: OpenRuns,
    pub(super) slots: BTreeMap<SlotKey, SlotReport>,
    /// Where each daemon of target `one` is.
    pub(super) holders: BTreeMap<TaskId, AgentId>,
    pub(super) sessions: Sessions,
    pub(super) clients: Clients,
    pub(super) changes: Changes,
    pub(super) adding: Adding,
    pub(super) drafts: Drafts,
    pub(super) events: EventLog,
    pub(super) lateness: Latenesses,
    pub(super) answers: BTreeMap<RequestId, AnswerRow>,
    pub(super) reading: BTreeMap<Ticket, Reading>,
    pub(super) health: Health,
    pub(super) waits: Vec<super::changes::RunWaiter>,
    /// Runs that ended before they were due: a change of their task must not plan them again.
    pub(super) early: BTreeSet<(UnixMs, RunId)>,
    pub(super) next_ticket: u64,
    pub(super) flushed_at: UnixMs,
    pub(super) entropy: Entropy,
    /// Writes of the batch being gathered.
    writes: Vec<Write>,
    /// Effects to be carried out once that batch is durable.
    held: Vec<Effect>,
    /// Effects that wait for the batch under way.
    in_flight: Option<Vec<Effect>>,
    /// Effects that wait for nothing.
    now: Vec<Effect>,
    alarm: Option<UnixMs>,
    retry_at: Option<UnixMs>,
}

impl Core {
    /// A center that leads, from what the store holds.
    pub fn new(settings: CoreSettings, snapshot: &Snapshot, now: Now) -> Self {
        let mut core = Self {
            fleet: Fleet::default(),
            open: OpenRuns::default(),
            slots: BTreeMap::new(),
            holders: BTreeMap::new(),
            sessions: Sessions::new(now.mono),
            clients: Clients::default(),
            changes: Changes::default(),
            adding: Adding::default(),
            drafts: Drafts::default(),
            events: EventLog::new(settings.epoch),
            lateness: Latenesses::default(),
            answers: BTreeMap::new(),
            reading: BTreeMap::new(),
            health: Health::Well,
            waits: Vec::new(),
            early: BTreeSet::new(),
            next_ticket: 0,
            flushed_at: UnixMs(0),
            entropy: Entropy::new(settings.seed),
            writes: Vec::new(),
            held: Vec::new(),
            in_flight: None,
            now: Vec::new(),
            alarm: None,
            retry_at: None,
            settings,
        };
        core.adopt(snapshot);
        core
    }

    /// Takes one event in and says what is to be done.
    pub fn handle(&mut self, now: Now, event: Event) -> Vec<Effect> {
        self.take_in(now, event);
        if self.health == Health::Well {
            self.look_at_runs(now);
            self.plan(now);
            self.send_orders();
        }
        self.settle_changes(now);
        self.flush_watchers(now);
        self.commit();
        self.set_alarm(now);
        std::mem::take(&mut self.now)
    }

    fn take_in(&mut self, now: Now, event: Event) {
        match event {
            Event::Wake => {
                // It has gone off, perhaps a little early by the other clock: it is to be set again.
                self.alarm = None;
                self.retry_store(now);
            }
            Event::Committed(Ok(())) => self.release(),
            Event::Committed(Err(trouble)) => self.fail(now, &trouble),
            Event::StoreSilent(trouble) => self.store_silent(now, &trouble),
            Event::Loaded(result) => self.reload(now, result),
            Event::RunsRead(ticket, result) => self.runs_read(now, ticket, result),
            Event::AuditRead(ticket, result) => self.audit_read(ticket, result),
            Event::AgentUp {
                session,
                agent,
                hello,
                address,
            } => {
                self.agent_up(now, session, &agent, &hello, &address);
            }
            Event::AgentFrame(session, frame) => self.agent_frame(now, session, frame),
            Event::AgentDown(session, why) => self.agent_down(now, session, &why),
            Event::ClientUp {
                session,
                operator,
                protocol,
                address,
            } => {
                self.client_up(now, session, &operator, protocol, address);
            }
            Event::ClientFrame(session, frame) => self.client_frame(now, session, frame),
            Event::ClientDown(session) => self.client_down(session),
            Event::Join {
                session,
                join,
                address,
            } => self.join(now, session, &join, &address),
            Event::AddJoin {
                session,
                ticket,
                join,
            } => self.add_join(now, session, ticket, &join),
            Event::Added(ticket, result) => self.added(now, ticket, result),
        }
    }

    /// Adds a change to the batch being gathered.
    pub(super) fn write(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// Carries an effect out once everything decided so far is durable.
    pub(super) fn later(&mut self, effect: Effect) {
        self.held.push(effect);
    }

    /// Carries an effect out at once.
    pub(super) fn now(&mut self, effect: Effect) {
        self.now.push(effect);
    }

    /// One log line.
    pub(super) fn log(&mut self, level: LogLevel, text: String) {
        self.now.push(Effect::Log(level, text));
    }

    fn commit(&mut self) {
        if self.in_flight.is_some() {
            return;
        }
        if self.writes.is_empty() {
            // Also while the store is out: a question that changes nothing is answered from memory.
            self.now.append(&mut self.held);
            return;
        }
        if self.health != Health::Well {
            return;
        }
        self.in_flight = Some(std::mem::take(&mut self.held));
        self.now
            .push(Effect::Commit(std::mem::take(&mut self.writes)));
    }

    fn release(&mut self) {
        if let Some(mut effects) = self.in_flight.take() {
            self.now.append(&mut effects);
        }
    }

    /// The batch under way changed nothing: all that depended on it is taken back.
    fn fail(&mut self, now: Now, trouble: &str) {
        let mut dropped = self.in_flight.take().unwrap_or_default();
        dropped.append(&mut self.held);
        self.writes.clear();
        self.health = Health::Reloading {
            trouble: trouble.to_owned(),
        };
        self.log(LogLevel::Warn, trouble.to_owned());
        self.take_back(dropped, trouble);
        self.close_agents(trouble);
        self.retry_at = Some(now.at.plus(RELOAD_EVERY));
    }

    /// A batch under way tells its own end; without one nothing else would say that nothing can be written.
    fn store_silent(&mut self, now: Now, trouble: &str) {
        if self.health == Health::Well && self.in_flight.is_none() {
            self.fail(now, trouble);
        }
    }

    fn retry_store(&mut self, now: Now) {
        if self.retry_at.is_some_and(|at| at <= now.at) {
            self.retry_at = None;
            self.now(Effect::Load);
        }
    }

    fn reload(&mut self, now: Now, result: Result<Box<Snapshot>, String>) {
        match result {
            Ok(snapshot) => {
                self.adopt(&snapshot);
                self.health = Health::Well;
                self.wait_anew();
                self.log(
                    LogLevel::Info,
                    "the store was read again; planning goes on".to_owned(),
                );
            }
            Err(trouble) => {
                self.health = Health::Reloading { trouble };
                self.retry_at = Some(now.at.plus(RELOAD_EVERY));
            }
        }
    }

    /// Makes memory what the store says. Runs may have been handed out before, so none counts as waiting.
    fn adopt(&mut self, snapshot: &Snapshot) {
        self.fleet = Fleet::new(snapshot, &self.settings.zone, self.settings.lead);
        self.open = OpenRuns::default();
        self.holders.clone_from(&snapshot.holders);
        for row in &snapshot.open_runs {
            let stage = if row.agent.is_some() {
                Stage::Handed
            } else {
                Stage::Waiting
            };
            let cancelled = self.cancelled_by_store(row);
            self.open.insert(OpenRun {
                row: row.clone(),
                stage,
                cancelled,
            });
        }
        for stored in &snapshot.last_runs {
            let view = self.stored_view(stored);
            if let Some(entry) = self.fleet.tasks.get_mut(&stored.row.run.task) {
                entry.last_run = Some(view);
            }
        }
        self.answers = snapshot
            .answers
            .iter()
            .map(|row| (row.request_id.clone(), row.clone()))
            .collect();
        self.dial_members();
    }

    fn set_alarm(&mut self, now: Now) {
        // Runs and links are looked at only while the store is well; waking for them before would spin.
        let work = [
            self.fleet.first_due().map(|(at, _)| at),
            self.open.next_look(),
            self.sessions.next_deadline(now, &self.settings),
        ];
        let work = work.into_iter().flatten().min();
        let wanted = [
            work.filter(|_| self.health == Health::Well),
            self.changes.next_deadline(),
            self.retry_at,
            self.next_flush(now),
        ];
        let Some(at) = wanted.into_iter().flatten().min() else {
            return;
        };
        // A batch under way wakes the core by itself; until then an instant already past would spin.
        let at = if self.in_flight.is_some() {
            at.max(now.at.plus(Duration::from_millis(50)))
        } else {
            at
        };
        if self.alarm != Some(at) || at <= now.at {
            self.alarm = Some(at);
            self.now.push(Effect::Alarm(at));
        }
    }

    /// The fleet's id.
    pub fn fleet_id(&self) -> &FleetId {
        &self.settings.fleet
    }

    /// A new ticket for a read of the store.
    pub(super) fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// Whether this run is open.
    pub(super) fn is_open(&self, id: &RunId) -> bool {
        self.open.get(id).is_some()
    }
}
