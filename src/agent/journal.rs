//! The agent's journal on disk: opened with one more incarnation, then written by a thread of its own, so that no
//! disk ever delays a fire. What waits together is written together and synced once.
//!
//! Of a damaged journal only what is true whatever else it said is believed (see [`salvage`]): the agent then knows
//! no plan and no assignment, and lets keeper and center tell it.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvError, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::{error, info};

use super::event::{Event, Ticket};
use super::record::{Closing, Record};
use crate::clock;
use crate::exec::failpoint::{self, Point};
use crate::exec::journal::{Journal, JournalError};
use crate::exec::wire::BootMs;
use crate::model::{BootId, Epoch, Incarnation};
use crate::proto::redial::dice;

/// The journal's file in the state directory.
const NAME: &str = "agent.journal";
/// Appends written before one sync at most.
const BATCH: usize = 256;

/// What a journal held when it was opened.
#[derive(Debug)]
pub struct Opened {
    /// This life of the state directory; on disk.
    pub incarnation: Incarnation,
    /// All records, the one of this opening included.
    pub records: Vec<Record>,
    /// The journal, to be given to a [`Writer`].
    pub journal: Journal<Record>,
}

/// Opens the journal of a state directory and records this life of it, synced.
pub fn open(dir: &Path, boot_id: &BootId) -> Result<Opened, JournalError> {
    let (mut journal, found) = Journal::open(&dir.join(NAME))?;
    let mut records = found.records;
    let mut incarnation = next_life(&records);
    if found.damage.is_some() {
        incarnation = renewed(incarnation);
    }
    let opened = Record::Opened {
        incarnation,
        boot_id: boot_id.clone(),
    };
    if found.damage.is_some() {
        records = salvage(records);
        records.push(opened);
        journal.rewrite(&records)?;
    } else {
        journal.append(std::slice::from_ref(&opened))?;
        journal.sync()?;
        records.push(opened);
    }
    Ok(Opened {
        incarnation,
        records,
        journal,
    })
}

/// The damaged journals that a state directory keeps, until somebody has looked at them and taken them away.
pub fn kept_aside(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let is_kept = |name: &str| name.starts_with(NAME) && name.contains(".bad-");
    let kept = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_kept));
    let mut kept: Vec<PathBuf> = kept.map(|entry| entry.path()).collect();
    kept.sort();
    kept
}

/// Makes a directory that was refused the one that counts: its plans and assignments are forgotten, as after damage,
/// and its incarnation is above every one that was seen. What was decided stays decided.
pub fn reset(dir: &Path, boot_id: &BootId) -> Result<Incarnation, JournalError> {
    let (mut journal, found) = Journal::open(&dir.join(NAME))?;
    let incarnation = renewed(next_life(&found.records));
    let mut records = salvage(found.records);
    records.push(Record::Opened {
        incarnation,
        boot_id: boot_id.clone(),
    });
    journal.rewrite(&records)?;
    Ok(incarnation)
}

/// One more than the last opening; the last one itself where that was refused: a copy that is started again and again
/// must not come to count more than what it was copied from.
fn next_life(records: &[Record]) -> Incarnation {
    let mut last = Incarnation::default();
    let mut refused = false;
    for record in records {
        match record {
            Record::Opened { incarnation, .. } if !last.is_later_than(*incarnation) => {
                last = *incarnation;
            }
            Record::Refused => refused = true,
            Record::Admitted => refused = false,
            _ => {}
        }
    }
    if refused {
        return last;
    }
    Incarnation::of(last.count() + 1, dice())
}

/// An incarnation above every one that a damaged journal may have named: those are counted, this is a time.
fn renewed(next: Incarnation) -> Incarnation {
    let time = u64::try_from(clock::now().0 / 1000).unwrap_or(0);
    Incarnation::of(time.max(next.count()), dice())
}

/// What of a damaged journal is true whatever the lost lines said: orders of lower epochs stay refused, and an
/// outcome that the agent decided stays decided. A plan may have been cancelled, an assignment withdrawn.
fn salvage(records: Vec<Record>) -> Vec<Record> {
    let mut epoch = Epoch::default();
    let mut closed = Vec::new();
    for record in records {
        match record {
            Record::Epoch { epoch: read } => epoch = epoch.max(read),
            Record::Closed {
                run,
                closing: Closing::Ended(ending),
                ..
            } => closed.push((run, ending)),
            Record::Dropped { run_id } => closed.retain(|(run, _)| run.run_id != run_id),
            _ => {}
        }
    }
    let closed = closed.into_iter().map(|(run, ending)| Record::Closed {
        run,
        // The boot of its instant may be among what is lost.
        start_before: BootMs(0),
        closing: Closing::Ended(ending),
    });
    [Record::Damaged, Record::Epoch { epoch }]
        .into_iter()
        .chain(closed)
        .collect()
}

/// Something to write.
#[derive(Debug)]
enum Write {
    Append {
        ticket: Ticket,
        records: Vec<Record>,
        sync: bool,
    },
    Rewrite {
        records: Vec<Record>,
        /// Failed appends that whoever made these records had heard of.
        failures: u64,
    },
}

/// The writing thread; it ends, with everything written, when this is dropped or finished.
#[derive(Debug)]
pub struct Writer {
    queue: Option<Sender<Write>>,
    thread: Option<JoinHandle<()>>,
    failures: u64,
}

impl Writer {
    /// Starts the thread; `tell` hears [`Event::Synced`] and [`Event::NotWritten`] from it.
    pub fn start(
        journal: Journal<Record>,
        tell: impl Fn(Event) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (queue, writes) = channel();
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || write_all(journal, &writes, &tell))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
            failures: 0,
        })
    }

    /// Appends, in the order of calls.
    pub fn append(&self, ticket: Ticket, records: Vec<Record>, sync: bool) {
        self.push(Write::Append {
            ticket,
            records,
            sync,
        });
    }

    /// Replaces everything written so far, unless an append has failed of which nobody has heard yet.
    pub fn rewrite(&self, records: Vec<Record>) {
        self.push(Write::Rewrite {
            records,
            failures: self.failures,
        });
    }

    /// An [`Event::NotWritten`] was heard: what is rewritten from here on does not hold its records any more.
    pub fn heard_of_failure(&mut self) {
        self.failures += 1;
    }

    fn push(&self, write: Write) {
        if let Some(queue) = &self.queue
            && queue.send(write).is_err()
        {
            error!("the journal's thread is gone");
        }
    }

    /// Waits until everything is written.
    pub fn finish(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the journal's thread panicked");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.finish();
    }
}

fn write_all(journal: Journal<Record>, writes: &Receiver<Write>, tell: &impl Fn(Event)) {
    let mut pen = Pen {
        journal,
        tell,
        unsure: Vec::new(),
        failures: 0,
    };
    while let Ok(first) = pen.wait(writes) {
        let more = writes.try_iter().take(BATCH);
        pen.write_batch(first.into_iter().chain(more));
    }
}

/// Until a journal that could not be cut is tried again.
const CUT_AGAIN: Duration = Duration::from_secs(1);

/// The journal in the hand of its thread.
struct Pen<'a, F: Fn(Event)> {
    journal: Journal<Record>,
    tell: &'a F,
    /// Appends that failed and may be in the file all the same. Nobody is told before they are certainly not: a run
    /// of which was said that it does not start must not be read as armed by the agent's next life.
    unsure: Vec<Event>,
    /// How many appends have failed.
    failures: u64,
}

impl<F: Fn(Event)> Pen<'_, F> {
    /// The next write; none where it is time to try a cut again. An error at the end.
    fn wait(&self, writes: &Receiver<Write>) -> Result<Option<Write>, RecvError> {
        if self.unsure.is_empty() {
            return writes.recv().map(Some);
        }
        match writes.recv_timeout(CUT_AGAIN) {
            Ok(write) => Ok(Some(write)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(RecvError),
        }
    }

    fn write_batch(&mut self, batch: impl Iterator<Item = Write>) {
        self.make_sure();
        let mut written = Vec::new();
        let mut must_sync = false;
        let mut size = self.journal.size();
        for write in batch {
            match write {
                Write::Append {
                    ticket,
                    records,
                    sync,
                } => match append(&mut self.journal, &records) {
                    Ok(()) => {
                        must_sync |= sync;
                        written.push((ticket, records));
                    }
                    Err(error) => self.failed(not_written(ticket, records, &error)),
                },
                Write::Rewrite { records, failures } => {
                    // One that was made before a failure was heard of holds what failed.
                    if failures == self.failures && rewrite(&mut self.journal, &records) {
                        // What was appended before is in it, and on the disk.
                        self.done(&std::mem::take(&mut written));
                        size = self.journal.size();
                    }
                }
            }
        }
        self.finish_batch(written, must_sync, size);
    }

    fn finish_batch(&mut self, written: Vec<(Ticket, Vec<Record>)>, must_sync: bool, size: u64) {
        let synced = if must_sync {
            self.journal.sync()
        } else {
            Ok(())
        };
        let Err(error) = synced else {
            return self.done(&written);
        };
        if let Err(error) = self.journal.take_back(size) {
            error!(%error, "what could not be synced stays in the journal for now");
        }
        for (ticket, records) in written {
            self.failed(not_written(ticket, records, &error));
        }
    }

    /// These are written; what failed before them is told first.
    fn done(&mut self, written: &[(Ticket, Vec<Record>)]) {
        self.make_sure();
        let records = written.iter().flat_map(|(_, records)| records);
        records.filter_map(point_synced).for_each(failpoint::reach);
        if let Some(last) = written.iter().map(|(ticket, _)| *ticket).max() {
            (self.tell)(Event::Synced(last));
        }
    }

    /// An append failed: said now, or when it is certain that nothing of it is left.
    fn failed(&mut self, event: Event) {
        self.failures += 1;
        self.unsure.push(event);
        self.make_sure();
    }

    fn make_sure(&mut self) {
        if self.journal.mend().is_ok() {
            self.unsure.drain(..).for_each(self.tell);
        }
    }
}

fn append(journal: &mut Journal<Record>, records: &[Record]) -> Result<(), JournalError> {
    let reach = |point: fn(&Record) -> Option<Point>| {
        records.iter().filter_map(point).for_each(failpoint::reach);
    };
    reach(point_before);
    journal.append(records)?;
    reach(point_written);
    Ok(())
}

/// The row of the recovery table that ends when this is written.
fn point_before(record: &Record) -> Option<Point> {
    match record {
        Record::Planned(_) => Some(Point::AgentPlanReceived),
        Record::Cancelled { .. } => Some(Point::AgentCancelReceived),
        Record::Closed { .. } => Some(Point::AgentDecisionMade),
        Record::Dropped { .. } => Some(Point::AgentReportAcknowledged),
        _ => None,
    }
}

/// The row that begins then.
fn point_written(record: &Record) -> Option<Point> {
    match record {
        Record::Planned(_) => Some(Point::AgentPlanWritten),
        Record::Dropped { .. } => Some(Point::AgentRunDropped),
        _ => None,
    }
}

/// The row that begins when it is synced.
fn point_synced(record: &Record) -> Option<Point> {
    match record {
        Record::Planned(_) => Some(Point::AgentPlanSynced),
        Record::Cancelled { .. } => Some(Point::AgentCancelSynced),
        Record::Closed { .. } => Some(Point::AgentDecisionSynced),
        _ => None,
    }
}

/// Whether it was made anew.
fn rewrite(journal: &mut Journal<Record>, records: &[Record]) -> bool {
    match journal.rewrite(records) {
        Ok(()) => {
            info!(records = records.len(), "made the journal anew");
            true
        }
        Err(error) => {
            error!(%error, "the journal stays as it is and grows");
            false
        }
    }
}

fn not_written(ticket: Ticket, records: Vec<Record>, error: &JournalError) -> Event {
    Event::NotWritten {
        ticket,
        records,
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;
    use crate::model::Epoch;

    fn boot(id: &str) -> BootId {
        id.parse().unwrap()
    }

    #[test]
    fn every_opening_is_one_incarnation_more() {
        let dir = tempfile::tempdir().unwrap();
        for life in 1..4 {
            let opened = open(dir.path(), &boot("b")).unwrap();
            assert_eq!(opened.incarnation.count(), life);
            assert_eq!(opened.records.len(), usize::try_from(life).unwrap());
        }
    }

    #[test]
    fn a_directory_and_its_copy_are_never_opened_alike() {
        let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let lives = dirs
            .each_ref()
            .map(|dir| open(dir.path(), &boot("b")).unwrap().incarnation);
        assert_ne!(lives[0], lives[1]);
        assert!(!lives[0].is_later_than(lives[1]) && !lives[1].is_later_than(lives[0]));
    }

    #[test]
    fn a_refused_directory_counts_no_more_openings_until_it_is_let_in_or_reset() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = open(dir.path(), &boot("b")).unwrap();
        first.journal.append(&[Record::Refused]).unwrap();
        let life = || open(dir.path(), &boot("b")).unwrap();
        assert_eq!(life().incarnation, first.incarnation);
        assert_eq!(life().incarnation, first.incarnation);
        life().journal.append(&[Record::Admitted]).unwrap();
        let second = life();
        assert_eq!(second.incarnation.count(), 2);
        let anew = reset(dir.path(), &boot("b")).unwrap();
        assert!(anew.count() > 1_000_000);
        assert_eq!(life().incarnation.count(), anew.count() + 1);
    }

    /// What failed may be among the records of a new journal that was made before anybody heard of it.
    #[test]
    fn a_journal_is_not_made_anew_from_records_older_than_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let mut opened = open(dir.path(), &boot("b")).unwrap();
        let epoch = |n| Record::Epoch { epoch: Epoch(n) };
        opened.journal.append(&[epoch(1)]).unwrap();
        let mut pen = Pen {
            journal: opened.journal,
            tell: &|_| {},
            unsure: Vec::new(),
            failures: 1,
        };
        let anew = |failures| Write::Rewrite {
            records: vec![epoch(2)],
            failures,
        };
        pen.write_batch([anew(0)].into_iter());
        assert_eq!(open(dir.path(), &boot("b")).unwrap().records[1], epoch(1));
        pen.write_batch([anew(1)].into_iter());
        assert_eq!(open(dir.path(), &boot("b")).unwrap().records[0], epoch(2));
    }

    #[test]
    fn what_was_said_to_be_synced_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let opened = open(dir.path(), &boot("b")).unwrap();
        let (tell, told) = channel();
        let mut writer = Writer::start(opened.journal, move |event| {
            tell.send(event).unwrap();
        })
        .unwrap();
        let epoch = |n| Record::Epoch { epoch: Epoch(n) };
        writer.append(Ticket(1), vec![epoch(1)], true);
        writer.rewrite(vec![epoch(2)]);
        writer.append(Ticket(2), vec![epoch(3)], false);
        let synced = |ticket| Event::Synced(Ticket(ticket));
        while told.recv_timeout(Duration::from_secs(10)).unwrap() != synced(2) {}
        writer.finish();
        let records = open(dir.path(), &boot("b")).unwrap().records;
        assert_eq!(records[..2], [epoch(2), epoch(3)]);
    }
}
