//! The agent's decisions, pure: `handle(now, event)` gives effects. No clock, no await, no I/O.
//!
//! Invariants: nothing is confirmed or reported before it is on disk; no effect of a due run waits for a disk;
//! a run handed to the keeper is never closed by the agent, except where the keeper does not know it.

mod fire;
mod keeper;
mod links;
mod load;
mod logs;
mod order;
mod reports;
mod texts;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::exec::wire::{BootMs, Command};
use crate::model::{BootId, Epoch, HostPolicy, Incarnation, Revision, RunId, Slot, TaskId};
use crate::proto::agent::{Confirm, FromAgent, Order, SlotReport};

use super::estimate::Estimate;
use super::event::{Effect, Event, LinkId, Now, Ticket};
use super::record::Record;
use super::runs::{Held, Runs};
use keeper::KeeperState;
use links::Link;
use logs::Streams;
use texts::Texts;

/// How long the keeper's set is waited for at start, before links hear what is known without it.
pub const KEEPER_PATIENCE: Duration = Duration::from_secs(5);
/// A center is silent after this many heartbeats' time.
pub const SILENT_AFTER: u32 = 3;
/// Until a failed append is tried again.
const WRITE_AGAIN: Duration = Duration::from_secs(1);
/// Records appended beyond four times the live ones before the journal is made anew.
const COMPACT_SLACK: usize = 2_000;

/// A daemon assigned to this agent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Assigned {
    revision: Revision,
    epoch: Epoch,
}

/// What waits until an append is on disk.
#[derive(Clone, PartialEq, Debug)]
enum After {
    /// Tell the center; the runs that the order armed, should the append fail.
    Confirm(LinkId, Confirm, Vec<RunId>),
    /// Tell the keeper.
    Keeper(Command),
    /// The run's closing may be reported.
    Report(RunId),
    /// The run's cancel will not be forgotten.
    Cancelled(RunId),
}

/// An append that failed and is tried again.
#[derive(Debug)]
struct Again {
    at: BootMs,
    ticket: Ticket,
    records: Vec<Record>,
}

/// The agent's memory.
#[derive(Debug, Default)]
pub struct AgentCore {
    heartbeat: Duration,
    /// Bytes of one frame at most.
    max_frame: usize,
    life: Option<(Incarnation, BootId)>,
    clock: Estimate,
    clock_far: bool,
    epoch: Epoch,
    texts: Texts,
    runs: Runs,
    assigned: BTreeMap<TaskId, Assigned>,
    slots: BTreeMap<(TaskId, Slot), SlotReport>,

    links: BTreeMap<LinkId, Link>,
    lease: Option<BootMs>,
    reports: reports::Pending,
    /// Acknowledged decisions, kept until no plan can ask for them any more.
    kept: BTreeSet<(BootMs, RunId)>,
    streams: Streams,

    keeper: KeeperState,
    /// What the host allows, as the keeper last said.
    policy: Option<HostPolicy>,
    /// Runs that shall not start, of which only the keeper's set will tell whether they have; and why.
    unsure_cancels: BTreeMap<RunId, String>,
    /// Cancelled runs whose cancel is not on the disk: the next life would know them as armed.
    cancelling: BTreeMap<RunId, Revision>,
    /// Commands of confirmed orders and stop sequences that no keeper could be told of yet.
    untold: Vec<Command>,
    /// Whether links may be served: the keeper's set is known, or was waited for long enough.
    ready: bool,
    ready_by: BootMs,
    deferred: Vec<(LinkId, Order)>,

    ticket: u64,
    held_back: BTreeMap<Ticket, Vec<After>>,
    again: Vec<Again>,
    appended: usize,

    wake: Option<BootMs>,
    out: Vec<Effect>,
    records: Vec<Record>,
    sync: bool,
    after: Vec<After>,
}

impl AgentCore {
    /// An agent that knows nothing, gives a sign of life this often and sends frames of so many bytes at most.
    pub fn new(heartbeat: Duration, max_frame: usize) -> Self {
        Self {
            heartbeat,
            max_frame,
            ..Self::default()
        }
    }

    /// Decides what follows from one event.
    pub fn handle(&mut self, now: Now, event: Event) -> Vec<Effect> {
        self.take_in(now, event);
        self.advance(now);
        self.flush_reports();
        self.flush_journal();
        self.set_wake(now);
        std::mem::take(&mut self.out)
    }

    /// Gives a sign of life this often from the next one on.
    pub fn set_heartbeat(&mut self, heartbeat: Duration) {
        self.heartbeat = heartbeat;
    }

    /// The highest epoch known, for the hello.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn take_in(&mut self, now: Now, event: Event) {
        match event {
            Event::Loaded(records) => self.load(records, now),
            Event::LinkUp {
                link,
                welcome,
                hello_sent,
            } => self.link_up(link, &welcome, hello_sent, now),
            Event::LinkDown { link } => self.link_down(link),
            Event::Frame { link, frame } => self.frame(link, *frame, now),
            Event::KeeperUp => self.keeper_up(),
            Event::KeeperDown { reason } => self.keeper_down(&reason),
            Event::Keeper(event) => self.keeper_says(*event, now),
            Event::Synced(ticket) => self.synced(ticket),
            Event::NotWritten {
                ticket,
                records,
                reason,
            } => self.not_written(ticket, records, &reason, now),
            Event::Wake => {}
        }
    }

    /// Everything that follows from time alone.
    fn advance(&mut self, now: Now) {
        self.fire(now);
        self.lose_patience(now);
        self.beat(now);
        self.drop_kept(now);
        self.write_again(now);
    }

    /// Links are served from here on: the state first, then what came meanwhile.
    fn become_ready(&mut self, now: Now) {
        if self.ready {
            return;
        }
        self.ready = true;
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for link in links {
            self.send_state(link);
        }
        for (link, order) in std::mem::take(&mut self.deferred) {
            self.order(link, order, now);
        }
    }

    fn lose_patience(&mut self, now: Now) {
        if !self.ready && now.boot >= self.ready_by {
            self.warn("the keeper could not be reached; the center gets what is known without it");
            self.become_ready(now);
        }
    }

    fn warn(&mut self, text: impl Into<String>) {
        self.out.push(Effect::Warn(text.into()));
    }

    fn send(&mut self, link: LinkId, frame: FromAgent) {
        if self.links.contains_key(&link) {
            self.out.push(Effect::Send {
                link,
                frame: Box::new(frame),
            });
        }
    }

    /// Adds to this event's append, which must outlive the host.
    fn write(&mut self, record: Record) {
        self.sync = true;
        self.records.push(record);
    }

    /// Adds to this event's append; alone it must outlive this process only.
    fn note(&mut self, record: Record) {
        self.records.push(record);
    }

    /// One append for everything that this event decided.
    fn flush_journal(&mut self) {
        let records = std::mem::take(&mut self.records);
        let after = std::mem::take(&mut self.after);
        let sync = std::mem::take(&mut self.sync);
        if records.is_empty() {
            return self.wait_for_last(after);
        }
        self.ticket += 1;
        let ticket = Ticket(self.ticket);
        self.appended += records.len();
        self.held_back.insert(ticket, after);
        self.out.push(Effect::Journal {
            ticket,
            records,
            sync,
        });
        self.compact();
    }

    /// What needs no record of its own may still rest on one that is not on disk yet.
    fn wait_for_last(&mut self, after: Vec<After>) {
        match self.held_back.last_entry() {
            Some(mut last) => last.get_mut().extend(after),
            None => self.carry_out(after),
        }
    }

    fn compact(&mut self) {
        let live = self.runs.iter().count() + self.texts.len() + self.assigned.len();
        if self.appended > 4 * live + COMPACT_SLACK && self.again.is_empty() {
            let records = self.snapshot();
            self.appended = 0;
            self.out.push(Effect::Compact(records));
        }
    }

    fn synced(&mut self, ticket: Ticket) {
        let later = self.held_back.split_off(&Ticket(ticket.0 + 1));
        let done = std::mem::replace(&mut self.held_back, later);
        // What failed and waits for another try is not done by a later success.
        let (waits, done): (BTreeMap<_, _>, BTreeMap<_, _>) = done
            .into_iter()
            .partition(|(t, _)| self.again.iter().any(|again| again.ticket == *t));
        self.held_back.extend(waits);
        for after in done.into_values() {
            self.carry_out(after);
        }
    }

    fn carry_out(&mut self, after: Vec<After>) {
        for after in after {
            match after {
                After::Confirm(link, confirm, _) => self.confirm(link, confirm),
                After::Keeper(command) => self.stop(command),
                After::Report(run_id) => self.may_report(&run_id),
                After::Cancelled(run_id) => drop(self.cancelling.remove(&run_id)),
            }
        }
    }

    /// Runs of a failed append are refused; the rest of it is tried again, since it must not be forgotten.
    fn not_written(&mut self, ticket: Ticket, mut records: Vec<Record>, reason: &str, now: Now) {
        if self.again.is_empty() {
            self.warn(format!("could not write to the journal: {reason}"));
        }
        let mut after = self.held_back.remove(&ticket).unwrap_or_default();
        let mut refused = Vec::new();
        for after in &mut after {
            if let After::Confirm(_, confirm, armed) = after {
                self.refuse(confirm, std::mem::take(armed), reason, &mut refused);
            }
        }
        records.retain(|record| match record {
            Record::Planned(planned) => !refused.contains(&planned.run.run_id),
            _ => true,
        });
        if records.is_empty() {
            return self.carry_out(after);
        }
        self.held_back.insert(ticket, after);
        self.again.push(Again {
            at: now.boot.plus(WRITE_AGAIN),
            ticket,
            records,
        });
    }

    fn write_again(&mut self, now: Now) {
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.again)
            .into_iter()
            .partition(|again| again.at <= now.boot);
        self.again = later;
        for mut again in due {
            // What was decided since may be on the disk already; a record that comes after it must not undo it.
            again.records.retain(|record| self.is_still_so(record));
            self.out.push(Effect::Journal {
                ticket: again.ticket,
                records: again.records,
                sync: true,
            });
        }
    }

    /// Whether a record that could not be written in its turn still says how things are.
    fn is_still_so(&self, record: &Record) -> bool {
        let is_open = |run_id| self.runs.get(run_id).is_some_and(Held::is_open);
        let is_live = |run_id| {
            let held = self.runs.get(run_id);
            held.is_some_and(|held| held.is_open() || held.is_active())
        };
        match record {
            Record::Planned(planned) => is_live(&planned.run.run_id),
            Record::Queued { run_id } => is_live(run_id),
            Record::Cancelled { run_id } | Record::Dropped { run_id } => !is_open(run_id),
            Record::Assigned { task, revision, .. } => self
                .assigned
                .get(task)
                .is_some_and(|held| held.revision == *revision),
            Record::Withdrawn { task } => !self.assigned.contains_key(task),
            Record::Closed { run, .. } => !is_open(&run.run_id),
            Record::Opened { .. }
            | Record::Epoch { .. }
            | Record::Offset { .. }
            | Record::Text { .. } => true,
        }
    }

    fn set_wake(&mut self, now: Now) {
        let wake = [
            self.next_fire(now),
            self.next_expiry(now),
            self.next_beat(),
            (!self.ready).then_some(self.ready_by),
            self.again.iter().map(|again| again.at).min(),
        ];
        let wake = wake.into_iter().flatten().min();
        if wake != self.wake {
            self.wake = wake;
            self.out.push(Effect::WakeAt(wake));
        }
    }
}
