//! The one loop of the center: sockets, timer and store become events; effects are carried out. Owns the links
//! and the core; decides nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::core::{Core, CoreSettings};
use super::dialling::Dialling;
use super::event::{Effect, Event, Issue, LogLevel, SessionId};
use super::issuing::issued;
use super::lead::{Tenure, Told, lapsed};
use super::notify::Notifier;
use super::roster::Roster;
use super::run::{RunError, now};
use super::standby::Standby;
use crate::auth::{Authority, AuthorityError};
use crate::clock::Alarm;
use crate::files::write_private;
use crate::model::UnixMs;
use crate::proto::agent::ToAgent;
use crate::proto::client::ToClient;
use crate::proto::hello::{ErrorFrame, LinkError};
use crate::proto::join::ToJoiner;
use crate::proto::link::{LinkSender, SendFault};
use crate::store::{LeaseGuard, Snapshot, Store, StoreError, Write};
use crate::workers::Workers;

/// Events that wait for the loop at most; links that bring more wait.
const INBOX: usize = 4096;

/// The sending end of a connection.
#[derive(Debug)]
pub(super) enum Outlet {
    /// To an agent.
    Agent(LinkSender<ToAgent>),
    /// To a client.
    Client(LinkSender<ToClient>),
    /// To a joiner, who gets one answer.
    Joiner(oneshot::Sender<ToJoiner>),
}

/// What comes into the loop.
#[derive(Debug)]
pub(super) enum Incoming {
    /// An event for the core.
    Event(Event),
    /// The store's answer to what was asked in this term, and for a batch or a load since this lapse.
    Answered(Term, Event),
    /// A new connection, and the event that tells of it.
    Connected(SessionId, Outlet, Event),
    /// This center leads, and this is what the store holds.
    Leads(LeaseGuard, Box<Snapshot>),
    /// Another center leads.
    StandsBy,
    /// The lead is lost.
    Deposed,
    /// The lease may have run out.
    Look,
    /// The store will never be of use.
    Fatal(StoreError),
}

/// Where everything that happens is sent.
pub(super) type Inbox = mpsc::Sender<Incoming>;

/// To what an answer of the store belongs: what was asked by a core that is gone is nobody's, and what came of a
/// batch before a lapse is not known to the core.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Term {
    leads: u64,
    lapses: Option<u64>,
}

/// What this center is.
enum Office {
    Standby(Box<Standby>),
    Leader(Box<Core>),
}

/// What the loop is made of.
pub(super) struct Parts {
    /// For a core to come; the epoch is set then.
    pub settings: CoreSettings,
    /// The store.
    pub store: Store,
    /// The certificate authority.
    pub authority: Authority,
    /// Until when this center may lead.
    pub tenure: Tenure,
    /// Where the addresses are written once requests are answered.
    pub address_file: PathBuf,
    /// Where joiners are told to dial.
    pub told: Vec<String>,
    /// Carries everything.
    pub workers: Workers,
}

/// The loop's state.
pub(super) struct Shell {
    office: Office,
    parts: Parts,
    guard: Option<LeaseGuard>,
    seat: Option<mpsc::Sender<Told>>,
    roster: Roster,
    leads: u64,
    lapses: u64,
    lapsed: bool,
    /// Why the lease is not renewed, where the store said so.
    cause: Option<String>,
    answers: bool,
    links: BTreeMap<SessionId, Outlet>,
    inbox: Inbox,
    incoming: mpsc::Receiver<Incoming>,
    alarm: Alarm,
    dialling: Option<Dialling>,
    notifier: Option<Notifier>,
}

impl Shell {
    pub(super) fn new(parts: Parts) -> Result<(Self, Inbox), RunError> {
        let (inbox, incoming) = mpsc::channel(INBOX);
        let alarm = Alarm::new().map_err(|source| RunError::System {
            attempt: "make a timer",
            source,
        })?;
        let roster = Roster {
            own: parts.told.clone(),
            ..Roster::default()
        };
        let shell = Self {
            office: Office::Standby(Box::new(standby(&parts, &roster))),
            parts,
            guard: None,
            seat: None,
            roster,
            leads: 0,
            lapses: 0,
            lapsed: false,
            cause: None,
            answers: false,
            links: BTreeMap::new(),
            inbox: inbox.clone(),
            incoming,
            alarm,
            dialling: None,
            notifier: None,
        };
        Ok((shell, inbox))
    }

    /// Runs until told to stop; dials agents and starts notify commands meanwhile, and obeys the `seat`, which
    /// contends for the lead.
    pub(super) async fn run(
        mut self,
        dialling: Dialling,
        seat: mpsc::Sender<Told>,
        notifier: Notifier,
    ) -> Result<(), RunError> {
        self.dialling = Some(dialling);
        self.seat = Some(seat);
        self.notifier = Some(notifier);
        let stop = self.parts.workers.token().clone();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                rung = self.alarm.wait() => {
                    rung.map_err(|source| RunError::System { attempt: "wait for a timer", source })?;
                    self.handle(Event::Wake);
                }
                incoming = self.incoming.recv() => match incoming {
                    None => return Ok(()),
                    Some(incoming) => self.take_in(incoming)?,
                },
            }
        }
    }

    fn take_in(&mut self, incoming: Incoming) -> Result<(), RunError> {
        match incoming {
            Incoming::Event(event) => self.handle(event),
            Incoming::Answered(term, event) if self.is_now(term) => self.handle(event),
            Incoming::Answered(..) => {}
            Incoming::Connected(session, outlet, event) => {
                self.links.insert(session, outlet);
                self.handle(event);
            }
            Incoming::Leads(guard, snapshot) => {
                self.take_over(guard, &snapshot)?;
                self.answer()?;
            }
            Incoming::StandsBy => self.answer()?,
            Incoming::Deposed => self.lay_down(),
            Incoming::Look => self.look(),
            Incoming::Fatal(fault) => return Err(fault.into()),
        }
        Ok(())
    }

    fn is_now(&self, term: Term) -> bool {
        term.leads == self.leads && term.lapses.is_none_or(|lapses| lapses == self.lapses)
    }

    /// From here on clients get answers: they find this center by its file.
    fn answer(&mut self) -> Result<(), RunError> {
        if !self.answers {
            self.answers = true;
            let addresses = &self.parts.settings.addresses;
            let text = addresses.join("\n") + "\n";
            write_private(&self.parts.address_file, text.as_bytes())?;
            info!(addresses = addresses.join(" "), "the center answers");
        }
        Ok(())
    }

    /// Takes the lead: a new core from what the store holds, with the links that were kept.
    fn take_over(&mut self, guard: LeaseGuard, snapshot: &Snapshot) -> Result<(), RunError> {
        self.lay_down();
        info!(epoch = guard.epoch.0, "this center leads");
        let settings = CoreSettings {
            epoch: guard.epoch,
            seed: crate::auth::seed().map_err(AuthorityError::from)?,
            ..self.parts.settings.clone()
        };
        let mut core = Core::new(settings, snapshot, now());
        if let Some(notifier) = &self.notifier {
            core.recall(now(), notifier.kept());
        }
        let before = std::mem::replace(&mut self.office, Office::Leader(Box::new(core)));
        self.guard = Some(guard);
        self.leads += 1;
        self.lapsed = false;
        self.handle(Event::Centers(Box::new(self.roster.clone())));
        if let Some(routes) = self.notifier.as_ref().map(Notifier::routes) {
            self.handle(Event::Routes(routes));
        }
        if let Office::Standby(standby) = before {
            for event in standby.take_over(now()) {
                self.handle(event);
            }
        }
        self.handle(Event::Wake);
        Ok(())
    }

    /// Stands by from here on: memory is thrown away, and whoever is linked looks for the leader.
    fn lay_down(&mut self) {
        if matches!(self.office, Office::Standby(_)) {
            return;
        }
        warn!("this center leads no more and stands by");
        self.office = Office::Standby(Box::new(standby(&self.parts, &self.roster)));
        self.guard = None;
        self.leads += 1;
        if let Some(dialling) = &mut self.dialling {
            dialling.set(BTreeMap::new());
        }
        let all: Vec<SessionId> = self.links.keys().copied().collect();
        for session in all {
            let error = ErrorFrame {
                code: LinkError::Closing,
                message: "this center leads no more".to_owned(),
            };
            self.close(session, error);
        }
    }

    /// Looks at the lease by the own clock: a leader whose lease is over says nothing any more, whatever it was about
    /// to say, until the store has renewed it.
    fn look(&mut self) {
        let over = self.parts.tenure.is_over(now().mono);
        let Office::Leader(core) = &mut self.office else {
            return;
        };
        if !over || self.lapsed {
            self.lapsed = over;
            return;
        }
        self.lapsed = true;
        self.lapses += 1;
        for effect in core.handle(now(), Event::Lapsed(lapsed(self.cause.as_deref()))) {
            self.carry_out(effect);
        }
    }

    fn handle(&mut self, event: Event) {
        match &event {
            Event::StoreSilent(cause) | Event::InDoubt(cause) | Event::Committed(Err(cause)) => {
                self.cause = Some(cause.clone());
            }
            Event::Committed(Ok(())) => self.cause = None,
            _ => {}
        }
        self.look();
        if let Event::AgentDown(session, _) | Event::ClientDown(session) = &event {
            self.links.remove(session);
        }
        if let Event::Centers(roster) = &event {
            self.roster = roster.as_ref().clone();
            if let (Office::Standby(_), Some(notifier)) = (&self.office, &mut self.notifier)
                && self.roster.leader().is_some()
            {
                notifier.tell_reached(&self.parts.settings);
            }
        }
        let effects = match (&mut self.office, event) {
            (Office::Standby(standby), event) => standby.handle(now(), event),
            // What was read without the lead is not to be believed.
            (Office::Leader(core), Event::Loaded(Ok(_))) if self.lapsed => {
                core.handle(now(), Event::Loaded(Err(lapsed(self.cause.as_deref()))))
            }
            (Office::Leader(core), Event::StoreSilent(cause)) if self.lapsed => {
                core.handle(now(), Event::StoreSilent(lapsed(Some(&cause))))
            }
            (Office::Leader(core), event) => core.handle(now(), event),
        };
        for effect in effects {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Commit(writes) => self.commit(writes),
            Effect::Load => {
                let store = self.parts.store.clone();
                self.ask_store("load", true, async move {
                    Event::Loaded(
                        store
                            .load()
                            .await
                            .map(Box::new)
                            .map_err(|fault| fault.to_string()),
                    )
                });
            }
            Effect::ReadRuns(ticket, query) => {
                let store = self.parts.store.clone();
                self.ask_store("read runs", false, async move {
                    Event::RunsRead(
                        ticket,
                        store.runs(query).await.map_err(|fault| fault.to_string()),
                    )
                });
            }
            Effect::ReadAudit(ticket, groups, limit) => {
                let store = self.parts.store.clone();
                self.ask_store("read audit", false, async move {
                    Event::AuditRead(
                        ticket,
                        store
                            .audit(groups, limit)
                            .await
                            .map_err(|fault| fault.to_string()),
                    )
                });
            }
            Effect::ToAgent(session, frame) => self.send_agent(session, &frame),
            Effect::ToClient(session, frame) => self.send_client(session, &frame),
            Effect::Close(session, frame) => self.close(session, frame),
            Effect::Issue(session, issue) => self.issue(session, &issue),
            Effect::Add(ticket, address, key) => {
                if let Some(dialling) = &self.dialling {
                    dialling.add(ticket, &address, key);
                }
            }
            Effect::Dial(agents) => {
                if let Some(dialling) = &mut self.dialling {
                    dialling.set(agents);
                }
            }
            Effect::RaiseEpoch(above) => self.tell_seat(Told::Raise(above)),
            Effect::Notify(route, notice) => self.tell(|to| to.notify(route, notice)),
            Effect::Keep(text) => self.tell(|to| to.keep(text)),
            Effect::Alarm(at) => self.set_alarm(at),
            Effect::Log(LogLevel::Info, text) => info!("{text}"),
            Effect::Log(LogLevel::Warn, text) => warn!("{text}"),
        }
    }

    fn tell(&mut self, deed: impl FnOnce(&mut Notifier)) {
        if let Some(notifier) = &mut self.notifier {
            deed(notifier);
        }
    }

    fn commit(&mut self, writes: Vec<Write>) {
        let Some(guard) = self.guard.clone() else {
            return;
        };
        let (store, inbox) = (self.parts.store.clone(), self.inbox.clone());
        let term = self.term(true);
        let (tenure, seat) = (self.parts.tenure.clone(), self.seat.clone());
        self.parts.workers.spawn("commit", async move {
            let done = if let Some(told) = tenure.commit(&store, &guard, writes).await {
                Incoming::Answered(term, told)
            } else {
                if let Some(seat) = seat {
                    // Where it is gone the center is stopping.
                    let _ = seat.send(Told::Deposed).await;
                }
                Incoming::Deposed
            };
            // Where the loop is gone the center is stopping.
            let _ = inbox.send(done).await;
        });
    }

    /// What is asked now; `lapses` where a lapse makes the answer worthless.
    fn term(&self, lapses: bool) -> Term {
        Term {
            leads: self.leads,
            lapses: lapses.then_some(self.lapses),
        }
    }

    fn tell_seat(&self, told: Told) {
        if let Some(seat) = &self.seat
            && seat.try_send(told).is_err()
        {
            warn!("the lease's worker does not listen");
        }
    }

    fn ask_store(
        &self,
        what: &'static str,
        lapses: bool,
        question: impl Future<Output = Event> + Send + 'static,
    ) {
        let (inbox, term) = (self.inbox.clone(), self.term(lapses));
        self.parts.workers.spawn(what, async move {
            let answer = question.await;
            // Where the loop is gone nobody waits for the answer.
            let _ = inbox.send(Incoming::Answered(term, answer)).await;
        });
    }

    fn send_agent(&mut self, session: SessionId, frame: &ToAgent) {
        if let Some(Outlet::Agent(link)) = self.links.get(&session) {
            note(link.try_send(frame));
        }
    }

    fn send_client(&mut self, session: SessionId, frame: &ToClient) {
        if let Some(Outlet::Client(link)) = self.links.get(&session) {
            note(link.try_send(frame));
        }
    }

    fn close(&mut self, session: SessionId, frame: ErrorFrame) {
        match self.links.remove(&session) {
            Some(Outlet::Agent(link)) => link.close(Some(frame)),
            Some(Outlet::Client(link)) => link.close(Some(frame)),
            // A joiner that is gone needs no answer.
            Some(Outlet::Joiner(answer)) => drop(answer.send(ToJoiner::Error(frame))),
            None => {}
        }
    }

    fn issue(&mut self, session: SessionId, issue: &Issue) {
        let addresses = self.roster.addresses_or(&self.parts.settings.addresses);
        let answer = issued(&self.parts, issue, addresses);
        if let Some(Outlet::Joiner(joiner)) = self.links.remove(&session) {
            // As above.
            drop(joiner.send(answer));
        }
    }

    fn set_alarm(&self, at: UnixMs) {
        let now = now();
        let ahead = Duration::from_millis((at.0 - now.at.0).max(0).unsigned_abs());
        if let Err(fault) = self.alarm.set(Some(now.mono + ahead)) {
            error!("cannot set the timer: {fault}");
        }
    }
}

/// A center that stands by, without links.
fn standby(parts: &Parts, roster: &Roster) -> Standby {
    let settings = &parts.settings;
    Standby::new(
        settings.fleet.clone(),
        settings.zone.clone(),
        settings.addresses.clone(),
        roster.clone(),
    )
}

/// A message that cannot be sent is our own fault; a link that is closed tells of itself.
fn note(sent: Result<(), SendFault>) {
    if let Err(SendFault::Message(fault)) = sent {
        error!("a message was not sent: {fault}");
    }
}
