//! The agent's decisions, pure: `handle(now, event)` gives effects. No clock, no await, no I/O.
//!
//! Invariants: nothing is confirmed or reported before it is on disk, nor does a plan fire that is not; no other
//! effect of a due run waits for a disk;
//! a run handed to the keeper is never closed by the agent, except where the keeper does not know it.

mod fire;
mod keeper;
mod links;
mod load;
mod logs;
mod order;
mod problems;
mod refusal;
mod reports;
mod silence;
mod texts;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::exec::wire::{BootMs, Command};
use crate::model::{BootId, Epoch, HostPolicy, Incarnation, Revision, RunId, Slot, TaskId};
use crate::proto::agent::{Confirm, FromAgent, Order, RefusedRun, RunEvent, SlotReport};

use super::estimate::Estimate;
use super::event::{Effect, Event, LinkId, Now, Ticket};
use super::record::Record;
use super::runs::{Held, Runs};
use keeper::KeeperState;
use links::Link;
use logs::Streams;
use texts::Texts;

pub use silence::SilenceHook;

/// How long the keeper's set is waited for at start, before links hear what is known without it.
pub const KEEPER_PATIENCE: Duration = Duration::from_secs(5);
/// A center is silent after this many heartbeats' time.
pub const SILENT_AFTER: u32 = 3;
/// Until a failed append is tried again.
const WRITE_AGAIN: Duration = Duration::from_secs(1);
/// Records appended beyond four times the live ones before the journal is made anew.
const COMPACT_SLACK: usize = 2_000;

/// A daemon assigned to this agent.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Assigned {
    revision: Revision,
    epoch: Epoch,
}

/// Whether the assignments are known.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Memory {
    /// They are.
    #[default]
    Whole,
    /// The journal was damaged, and the keeper has not told its daemons since.
    Damaged,
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
    memory: Memory,
    slots: BTreeMap<(TaskId, Slot), SlotReport>,
    problems: problems::Problems,

    links: BTreeMap<LinkId, Link>,
    lease: Option<BootMs>,
    reports: reports::Pending,
    /// Acknowledged decisions, kept until no plan can ask for them any more.
    kept: BTreeSet<(BootMs, RunId)>,
    streams: Streams,
    host: trouble::Host,
    silence: silence::Silence,

    keeper: KeeperState,
    /// What the host allows, as the keeper last said.
    policy: Option<HostPolicy>,
    /// Runs that shall not start, of which only the keeper's set will tell whether they have; and why.
    unsure_cancels: BTreeMap<RunId, String>,
    /// Cancelled runs whose cancel is not on the disk: the next life would know them as armed.
    cancelling: BTreeMap<RunId, Revision>,
    /// Those of them that a center was told of as armed.
    told_armed: BTreeSet<RunId>,
    /// Runs that the keeper was told to stop and that have not ended, with the reason: a keeper that is killed may
    /// not have read it.
    stops: BTreeMap<RunId, String>,
    /// Commands of confirmed orders and stop sequences that no keeper could be told of yet.
    untold: Vec<Command>,
    /// Whether links may be served: the keeper's set is known, or was waited for long enough.
    ready: bool,
    ready_by: BootMs,
    /// What was due by then may have been started by a former life.
    doubted_until: BootMs,
    standing: refusal::Standing,
    /// Until when a run that waited in its queue, and is next, waits for the session lease.
    next_wants_lease: Option<BootMs>,
    /// The center's clock less the boot-time clock, where that was furthest in this boot.
    furthest: Option<i64>,
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
        self.open_waiting();
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
            Event::Problems(problems) => self.own_problems(problems),
            Event::LinkUp {
                link,
                welcome,
                hello_sent,
            } => self.link_up(link, &welcome, hello_sent, now),
            Event::Refused { reason } => self.refused(&reason),
            Event::LinkDown { link } => self.link_down(link),
            Event::Frame { link, frame } => self.frame(link, *frame, now),
            Event::KeeperUp => {
                self.host.keeper_is_back();
                self.keeper_up();
            }
            Event::KeeperDown { reason } => {
                self.host.keeper_is_away(&reason, now);
                self.keeper_down(&reason);
            }
            Event::Keeper(event) if silence::is_of_hook(&event) => self.hook_says(*event),
            Event::Keeper(event) => self.keeper_says(*event, now),
            Event::Space { free, total } => self.host.space(free, total),
            Event::Synced(ticket) => {
                self.synced(ticket);
                if self.again.is_empty() {
                    self.host.journal_writes();
                }
            }
            Event::NotWritten {
                ticket,
                records,
                reason,
            } => {
                self.host.journal_fails(&reason);
                self.not_written(ticket, records, &reason, now);
            }
            Event::Wake => {}
        }
    }

    /// Everything that follows from time alone.
    fn advance(&mut self, now: Now) {
        self.fire(now);
        self.lose_patience(now);
        self.beat(now);
        self.watch_center(now);
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
                After::Confirm(link, mut confirm, armed) => {
                    for run_id in armed {
                        if self.runs.get(&run_id).is_some() {
                            self.runs.update(&run_id, |held| held.on_disk = true);
                            self.cancelling.remove(&run_id);
                        } else {
                            // Another order's record of it failed, or a later order has cancelled it.
                            let reason = "it was taken back before it was on the disk".to_owned();
                            confirm.refused.push(RefusedRun { run_id, reason });
                        }
                    }
                    self.confirm(link, confirm);
                }
                After::Keeper(command) if self.is_still_wanted(&command) => self.stop(command),
                After::Keeper(_) => {}
                After::Report(run_id) => self.may_report(&run_id),
                After::Cancelled(run_id) => self.is_cancelled(run_id),
            }
        }
    }

    /// A cancel will not be forgotten. A center that was told meanwhile that the run is armed, and let it be, learns
    /// that it is not, and may give it anew.
    fn is_cancelled(&mut self, run_id: RunId) {
        self.cancelling.remove(&run_id);
        if self.told_armed.remove(&run_id) && self.runs.get(&run_id).is_none() {
            let reason = "the agent had taken it back".to_owned();
            self.say(RunEvent::NotStarted { run_id, reason });
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
                self.refuse(confirm, armed.clone(), reason, &mut refused);
                armed.retain(|run_id| !refused.contains(run_id));
            }
        }
        records.retain(|record| match record {
            Record::Planned(planned) => !refused.contains(&planned.run.run_id),
            _ => true,
        });
        // An older plan of a run may be on the disk still: it is refused for certain when that is taken back.
        let on_disk = refused.into_iter();
        for run_id in on_disk.filter(|run_id| self.cancelling.contains_key(run_id)) {
            after.push(After::Cancelled(run_id.clone()));
            records.push(Record::Cancelled { run_id });
        }
        if records.is_empty() {
            self.carry_out(std::mem::take(&mut after));
            if !self.again.is_empty() {
                return;
            }
            // Nothing is left to write: something is, to learn when the journal takes it again.
            records.push(Record::Epoch { epoch: self.epoch });
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
            let (records, undone): (Vec<_>, Vec<_>) = std::mem::take(&mut again.records)
                .into_iter()
                .partition(|record| self.is_still_so(record));
            again.records = records;
            self.leave_cancelling(again.ticket, &undone);
            self.out.push(Effect::Journal {
                ticket: again.ticket,
                records: again.records,
                sync: true,
            });
        }
    }

    /// A cancel that is not written after all, as the run was planned anew meanwhile, is not on the disk: where that plan
    /// fails too, the older one is there still.
    fn leave_cancelling(&mut self, ticket: Ticket, undone: &[Record]) {
        let is_undone = |run_id: &RunId| {
            undone
                .iter()
                .any(|record| matches!(record, Record::Cancelled { run_id: of } if of == run_id))
        };
        if let Some(after) = self.held_back.get_mut(&ticket) {
            after.retain(|after| !matches!(after, After::Cancelled(run_id) if is_undone(run_id)));
        }
    }

    /// Whether a command that could not be given in its turn, its record having failed, is not undone by a later one.
    fn is_still_wanted(&self, command: &Command) -> bool {
        let assigned = |task| self.assigned.get(task).map(|held| held.revision);
        match command {
            Command::Assign(assignment) => {
                assigned(&assignment.text.task) == Some(assignment.text.revision)
            }
            Command::Withdraw { task, .. } => assigned(task).is_none(),
            _ => true,
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
            Record::Refused => self.is_refused(),
            Record::Admitted => !self.is_refused(),
            Record::Opened { .. }
            | Record::Damaged
            | Record::Settled
            | Record::Epoch { .. }
            | Record::Offset { .. }
            | Record::Text { .. } => true,
        }
    }

    fn set_wake(&mut self, now: Now) {
        let wake = [
            self.next_fire(now),
            self.next_expiry(now),
            self.next_wants_lease,
            self.next_beat(),
            self.next_silence(),
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
