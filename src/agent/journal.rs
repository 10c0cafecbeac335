//! The agent's journal on disk: opened with one more incarnation, then written by a thread of its own, so that no
//! disk ever delays a fire. What waits together is written together and synced once.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use tracing::{error, info};

use super::event::{Event, Ticket};
use super::record::Record;
use crate::exec::journal::{Journal, JournalError};
use crate::model::{BootId, Incarnation};

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
    let (mut journal, mut records) = Journal::open(&dir.join("agent.journal"))?;
    let last = records.iter().filter_map(|record| match record {
        Record::Opened { incarnation, .. } => Some(incarnation.0),
        _ => None,
    });
    let incarnation = Incarnation(last.max().unwrap_or(0) + 1);
    let opened = Record::Opened {
        incarnation,
        boot_id: boot_id.clone(),
    };
    journal.append(std::slice::from_ref(&opened))?;
    journal.sync()?;
    records.push(opened);
    Ok(Opened {
        incarnation,
        records,
        journal,
    })
}

/// Something to write.
#[derive(Debug)]
enum Write {
    Append {
        ticket: Ticket,
        records: Vec<Record>,
        sync: bool,
    },
    Rewrite(Vec<Record>),
}

/// The writing thread; it ends, with everything written, when this is dropped or finished.
#[derive(Debug)]
pub struct Writer {
    queue: Option<Sender<Write>>,
    thread: Option<JoinHandle<()>>,
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

    /// Replaces everything written so far.
    pub fn rewrite(&self, records: Vec<Record>) {
        self.push(Write::Rewrite(records));
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

fn write_all(mut journal: Journal<Record>, writes: &Receiver<Write>, tell: &impl Fn(Event)) {
    while let Ok(first) = writes.recv() {
        let more = writes.try_iter().take(BATCH);
        write_batch(&mut journal, std::iter::once(first).chain(more), tell);
    }
}

fn write_batch(
    journal: &mut Journal<Record>,
    batch: impl Iterator<Item = Write>,
    tell: &impl Fn(Event),
) {
    let mut written = Vec::new();
    let mut must_sync = false;
    for write in batch {
        match write {
            Write::Append {
                ticket,
                records,
                sync,
            } => match journal.append(&records) {
                Ok(()) => {
                    must_sync |= sync;
                    written.push((ticket, records));
                }
                Err(error) => tell(not_written(ticket, records, &error)),
            },
            Write::Rewrite(records) => rewrite(journal, &records),
        }
    }
    finish_batch(journal, written, must_sync, tell);
}

/// What could not be synced may be in the file all the same: its repetition there changes nothing.
fn finish_batch(
    journal: &mut Journal<Record>,
    written: Vec<(Ticket, Vec<Record>)>,
    must_sync: bool,
    tell: &impl Fn(Event),
) {
    let Some(last) = written.iter().map(|(ticket, _)| *ticket).max() else {
        return;
    };
    if must_sync && let Err(error) = journal.sync() {
        for (ticket, records) in written {
            tell(not_written(ticket, records, &error));
        }
        return;
    }
    tell(Event::Synced(last));
}

fn rewrite(journal: &mut Journal<Record>, records: &[Record]) {
    match journal.rewrite(records) {
        Ok(()) => info!(records = records.len(), "made the journal anew"),
        Err(error) => error!(%error, "the journal stays as it is and grows"),
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
            assert_eq!(opened.incarnation, Incarnation(life));
            assert_eq!(opened.records.len(), usize::try_from(life).unwrap());
        }
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
