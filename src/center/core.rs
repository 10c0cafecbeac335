//! The center's decisions: `handle(now, event) → effects`, pure. Owns the fleet, the open runs and who is
//! connected. Changes are made in memory at once; what others must not see before it is durable (orders,
//! answers, acknowledgements) is held back until the batch that carries it is committed. A batch that fails
//! changes nothing: memory is thrown away and read from the store again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::adding::Adding;
use super::changes::Changes;
use super::clients::Clients;
use super::conditions::Conditions;
use super::entropy::Entropy;
use super::event::{Effect, Event, LogLevel, Now, Ticket};
use super::events::EventLog;
use super::failing::{Fate, Health};
use super::fleet::Fleet;
use super::lateness::Latenesses;
use super::notices::Notices;
use super::orders::Drafts;
use super::reads::Reading;
use super::roster::Roster;
use super::runs::{OpenRun, OpenRuns, SlotKey, Stage};
use super::sessions::Sessions;
use super::spans::Spans;
use super::steady::{Steady, latest_stamp};
use super::watching::Watching;
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

/// How long answers are kept for repeated requests.
pub(super) const KEEP_ANSWERS: Duration = Duration::from_mins(10);

/// The center's state. See the module's words.
#[derive(Debug)]
pub struct Core {
    pub(super) settings: CoreSettings,
    pub(super) fleet: Fleet,
    pub(super) open: OpenRuns,
    pub(super) spans: Spans,
    /// Tasks whose cursor this batch moves.
    pub(super) moved: BTreeSet<TaskId>,
    pub(super) slots: BTreeMap<SlotKey, SlotReport>,
    /// Where each daemon of target `one` is.
    pub(super) holders: BTreeMap<TaskId, AgentId>,
    /// Restarts one by one over several agents.
    pub(super) rolls: BTreeMap<TaskId, super::rolling::FleetRoll>,
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
    pub(super) roster: Roster,
    pub(super) waits: Vec<super::changes::RunWaiter>,
    /// Runs that ended before they were due, or lately: a change of their task must not plan them again.
    pub(super) early: BTreeSet<(UnixMs, RunId)>,
    /// What is wrong now.
    pub(super) conditions: Conditions,
    /// What of it was told to the notify commands.
    pub(super) notices: Notices,
    /// What the watch over them knows.
    pub(super) watching: Watching,
    /// The latest instant there was, and when: what was due by then may have started, and is not planned anew, also
    /// where the clock was set back since.
    latest: Now,
    /// The instant by which this event is decided.
    pub(super) moment: Now,
    steady: Steady,
    pub(super) next_ticket: u64,
    /// On the boot-time clock, which nobody sets back.
    pub(super) flushed_at: Option<Duration>,
    pub(super) entropy: Entropy,
    /// Writes of the batch being gathered.
    pub(super) writes: Vec<Write>,
    /// Effects to be carried out once that batch is durable.
    pub(super) held: Vec<Effect>,
    /// Effects that wait for the batch under way.
    pub(super) in_flight: Option<Vec<Effect>>,
    /// Effects that wait for nothing.
    now: Vec<Effect>,
    alarm: Option<UnixMs>,
    /// Likewise.
    pub(super) retry_at: Option<Duration>,
}

impl Core {
    /// A center that leads, from what the store holds.
    pub fn new(settings: CoreSettings, snapshot: &Snapshot, now: Now) -> Self {
        let mut core = Self {
            fleet: Fleet::default(),
            open: OpenRuns::default(),
            spans: Spans::default(),
            moved: BTreeSet::new(),
            slots: BTreeMap::new(),
            holders: BTreeMap::new(),
            rolls: BTreeMap::new(),
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
            roster: Roster::default(),
            waits: Vec::new(),
            early: BTreeSet::new(),
            conditions: Conditions::default(),
            notices: Notices::default(),
            watching: Watching::default(),
            latest: now,
            moment: now,
            steady: Steady::default(),
            next_ticket: 0,
            flushed_at: None,
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
        core.recall_all(now, snapshot);
        core.await_agents(now);
        core
    }

    /// Takes one event in and says what is to be done.
    pub fn handle(&mut self, shown: Now, event: Event) -> Vec<Effect> {
        let now = self.believe(shown);
        if self.health == Health::Well {
            // What was due before a change is planned as it was before it.
            self.plan(now);
        }
        self.take_in(now, event);
        if self.health == Health::Well {
            self.look_at_runs(now);
            self.plan(now);
            self.end_freezes(now);
            self.count_spans(now);
            self.send_orders();
        }
        self.tend_conditions(now);
        self.keep_memories();
        self.settle_changes(now);
        self.flush_watchers(now);
        self.commit();
        self.set_alarm(now, shown);
        std::mem::take(&mut self.now)
    }

    /// The instant that everything is decided by: the wall clock's, but for a step that may be taken back.
    fn believe(&mut self, shown: Now) -> Now {
        let (last, doubted) = (self.steady.last(), self.steady.doubts());
        let now = self.steady.believe(shown);
        let set_back = last.is_some_and(|last| now.at < last);
        if self.steady.doubts() && !doubted {
            let step = shown.at.since(now.at).as_secs();
            self.log(
                LogLevel::Warn,
                format!("the clock jumped {step} s ahead; that is believed if it stands for 30 s"),
            );
        }
        if set_back {
            self.open.look_again(now.at);
        }
        if now.at >= self.latest.at {
            self.latest = now;
        }
        self.moment = now;
        now
    }

    /// The latest instant there was.
    pub(super) fn latest(&self) -> UnixMs {
        self.latest.at
    }

    /// How long ago something was due, however the clock was set since; none where it never was.
    pub(super) fn since_due(&self, now: Now, at: UnixMs) -> Option<Duration> {
        let latest = if now.at < self.latest.at {
            self.latest
        } else {
            now
        };
        let passed = now.mono.saturating_sub(latest.mono);
        (at <= latest.at).then(|| latest.at.since(at) + passed)
    }

    fn take_in(&mut self, now: Now, event: Event) {
        match event {
            Event::Wake => {
                // It has gone off, perhaps a little early by the other clock: it is to be set again.
                self.alarm = None;
                self.retry_store(now);
            }
            Event::Committed(Ok(())) => self.committed(now),
            Event::Committed(Err(trouble)) => self.fail(now, &trouble, Fate::Unchanged),
            Event::InDoubt(trouble) => self.fail(now, &trouble, Fate::Open),
            Event::StoreSilent(trouble) => self.store_silent(now, &trouble),
            Event::Lapsed(trouble) => self.lapse(now, &trouble),
            Event::Centers(roster) => self.learn_centers(now, *roster),
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
            Event::ClientFrame(session, frame) => {
                self.client_frame(now, session, frame);
                self.prune_conditions(now);
            }
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
            Event::Routes(routes) => self.set_routes(now, routes),
            Event::Notified(route, result) => self.notified(now, route, result),
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
        if self.health == Health::Well {
            self.write_cursors();
            self.write_spans();
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

    fn committed(&mut self, now: Now) {
        if self.health != Health::Well {
            self.health = Health::Well;
            self.wait_anew();
            self.watch_store(now);
            self.await_agents(now);
            self.prune_conditions(now);
            let text = "the store can be written again; planning goes on";
            self.log(LogLevel::Info, text.to_owned());
            // What was due meanwhile is told behind the runs that are known, which end at the next look (seed 1061).
            self.plan(now);
        }
        if let Some(mut effects) = self.in_flight.take() {
            self.now.append(&mut effects);
        }
    }

    /// Makes memory what the store says. Runs may have been handed out before, so none counts as waiting.
    pub(super) fn adopt(&mut self, snapshot: &Snapshot) {
        self.fleet = Fleet::new(snapshot, &self.settings.zone, self.settings.lead);
        self.open = OpenRuns::default();
        self.spans = Spans::new(&snapshot.open_spans);
        self.moved.clear();
        // What ended in a batch that failed has not ended.
        self.early.clear();
        self.holders.clone_from(&snapshot.holders);
        self.rolls.clear();
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
                refused: None,
                was_lost: false,
                due_by: None,
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
        if let Some(at) = latest_stamp(snapshot, self.settings.lead) {
            self.latest.at = self.latest.at.max(at);
        }
        self.dial_members();
    }

    fn set_alarm(&mut self, now: Now, shown: Now) {
        // Runs and links are looked at only while the store is well; waking for them before would spin.
        let work = [
            self.fleet.first_due().map(|(at, _)| at),
            self.open.next_look(),
            self.spans.next_over(),
            self.next_thaw(),
            self.sessions.next_deadline(now, &self.settings),
        ];
        let work = work.into_iter().flatten().min();
        let wanted = [
            work.filter(|_| self.health == Health::Well),
            self.changes.next_deadline().map(|at| now.wall(at)),
            self.retry_at.map(|at| now.wall(at)),
            self.next_flush(now),
            self.next_tending(now),
            self.steady
                .until_believed(now)
                .map(|span| now.at.plus(span)),
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
        let at = self.steady.shown(at, shown);
        if self.alarm != Some(at) || at <= shown.at {
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
