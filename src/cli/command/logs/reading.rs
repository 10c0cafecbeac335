//! Streams of output: several followed as they come, or read to their ends in the order of time. A link that
//! breaks is dialled again, and all goes on where it was.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use super::printer::Printer;
use crate::cli::client::Client;
use crate::cli::fault::{Fault, FaultCode};
use crate::cli::session::Items;
use crate::model::UnixMs;
use crate::proto::request::{Item, LogRead, Request};
use crate::proto::view::LogView;

/// What to read, and what to read instead once the link broke and is there again.
#[derive(Clone, Debug)]
pub struct Reading {
    read: LogRead,
    /// When its run started; in the order of time it is opened then.
    started_at: UnixMs,
}

impl Reading {
    /// Output that is read at once.
    pub fn new(read: LogRead) -> Self {
        let started_at = UnixMs(0);
        Self { read, started_at }
    }

    /// Output of a run that started then.
    pub fn of_run(read: LogRead, started_at: UnixMs) -> Self {
        Self { read, started_at }
    }

    /// The same, behind what the printer has of it.
    fn go_on(&mut self, printer: &Printer) {
        let of_run = |run: &str| run.ends_with(&self.read.of);
        let mut places = printer.places();
        // What is named by a run is that run; a task's runs are all that came.
        if places.iter().any(|place| of_run(place.run_id.as_str())) {
            places.retain(|place| of_run(place.run_id.as_str()));
        }
        self.read.after = places;
    }

    fn open(&self, client: &Client<'_>) -> Items {
        client.session.stream(Request::LogRead(self.read.clone()))
    }
}

/// Reads these together and prints what comes as it comes; gives the printer back.
pub async fn show(
    client: &mut Client<'_>,
    mut readings: Vec<Reading>,
    mut printer: Printer,
) -> Result<Printer, Fault> {
    let mut breaks = 0;
    loop {
        let mut streams: Vec<Items> = readings.iter().map(|of| of.open(client)).collect();
        let ended = drain(
            client,
            &mut readings,
            &mut streams,
            &mut printer,
            &mut breaks,
        )
        .await;
        let Err(fault) = ended else {
            printer.finish(client.out)?;
            return Ok(printer);
        };
        if !fault.may_go_on(breaks) {
            printer.finish(client.out)?;
            return Err(fault);
        }
        say_break(client, &fault, &mut breaks);
        for reading in &mut readings {
            reading.go_on(&printer);
        }
    }
}

fn say_break(client: &mut Client<'_>, fault: &Fault, breaks: &mut u32) {
    *breaks += 1;
    let text = format!("{}; going on where it was", fault.message);
    client.out.say(&text);
}

/// Prints what comes until all streams are over; those that are, are no reading any more.
async fn drain(
    client: &mut Client<'_>,
    readings: &mut Vec<Reading>,
    streams: &mut Vec<Items>,
    printer: &mut Printer,
    breaks: &mut u32,
) -> Result<(), Fault> {
    while let Some((at, item)) = next_of(streams).await {
        match item {
            None => {
                drop(streams.remove(at));
                readings.remove(at);
            }
            Some(item) => {
                printer.take(client.out, &chunk(item?)?)?;
                *breaks = 0;
            }
        }
    }
    Ok(())
}

fn chunk(item: Item) -> Result<LogView, Fault> {
    match item {
        Item::Log(chunk) => Ok(chunk),
        Item::Event(_) | Item::Change(_) => Err(Fault::unexpected("`logs`")),
    }
}

/// The next item of any of them, with its place; none when there is no stream left.
async fn next_of(streams: &mut [Items]) -> Option<(usize, Option<Result<Item, Fault>>)> {
    if streams.is_empty() {
        return None;
    }
    std::future::poll_fn(|context| {
        for (at, stream) in streams.iter_mut().enumerate() {
            if let Poll::Ready(item) = pin!(stream.next()).poll(context) {
                return Poll::Ready(Some((at, item)));
            }
        }
        Poll::Pending
    })
    .await
}

/// A stream in the order of time, with its next piece.
struct Open {
    reading: Reading,
    items: Items,
    head: Option<LogView>,
    /// Time of its last piece; what is not known takes that.
    at: UnixMs,
}

/// Reads these to their ends, pieces in the order in which they were written. What cannot be read, because its
/// agent is away, is said; it is a fault only where nothing else was read.
pub async fn merge(
    client: &mut Client<'_>,
    mut readings: Vec<Reading>,
    printer: &mut Printer,
) -> Result<(), Fault> {
    readings.sort_by_key(|reading| std::cmp::Reverse(reading.started_at));
    let mut merge = Merge {
        waiting: readings,
        open: Vec::new(),
        refused: None,
    };
    let mut breaks = 0;
    loop {
        match merge.next(client).await {
            Ok(Some(chunk)) => {
                printer.take(client.out, &chunk)?;
                breaks = 0;
            }
            Ok(None) => break,
            Err(fault) if fault.may_go_on(breaks) => {
                say_break(client, &fault, &mut breaks);
                merge.again(printer);
            }
            Err(fault) => return Err(fault),
        }
    }
    match merge.refused {
        Some(fault) if !printer.has_any() => Err(fault),
        Some(fault) => {
            client.out.tell(&fault.message);
            Ok(())
        }
        None => Ok(()),
    }
}

struct Merge {
    /// Not opened yet, the latest first.
    waiting: Vec<Reading>,
    open: Vec<Open>,
    refused: Option<Fault>,
}

impl Merge {
    /// The next piece; none at the end.
    async fn next(&mut self, client: &Client<'_>) -> Result<Option<LogView>, Fault> {
        loop {
            self.fill().await?;
            let oldest = self.open.iter().map(|open| open.at).min();
            let due = |next: &Reading| oldest.is_none_or(|at| next.started_at <= at);
            if let Some(reading) = self.waiting.pop_if(|next| due(next)) {
                self.open.push(Open {
                    items: reading.open(client),
                    at: reading.started_at,
                    head: None,
                    reading,
                });
                continue;
            }
            let first = self.open.iter_mut().min_by_key(|open| open.at);
            return Ok(first.and_then(|open| open.head.take()));
        }
    }

    /// Waits until every open stream has its next piece; those at their ends go.
    async fn fill(&mut self) -> Result<(), Fault> {
        let mut at = 0;
        while let Some(open) = self.open.get_mut(at) {
            if open.head.is_some() {
                at += 1;
                continue;
            }
            match open.items.next().await {
                Some(Ok(item)) => {
                    let chunk = chunk(item)?;
                    open.at = chunk.at.unwrap_or(open.at).max(open.at);
                    open.head = Some(chunk);
                }
                Some(Err(fault)) if fault.code != FaultCode::Failed => return Err(fault),
                Some(Err(fault)) => {
                    self.refused.get_or_insert(fault);
                    self.open.remove(at);
                }
                None => {
                    self.open.remove(at);
                }
            }
        }
        Ok(())
    }

    /// The link is there again: what was open is opened anew, behind what was printed.
    fn again(&mut self, printer: &Printer) {
        for mut open in std::mem::take(&mut self.open) {
            open.reading.go_on(printer);
            self.waiting.push(open.reading);
        }
        self.waiting
            .sort_by_key(|reading| std::cmp::Reverse(reading.started_at));
    }
}
