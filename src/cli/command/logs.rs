//! `logs`: what runs wrote. Chunks of bytes come in, lines go out, marked where there is more than one source.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use regex::Regex;
use serde_json::json;

use super::runs;
use crate::cli::args::LogsArgs;
use crate::cli::client::Client;
use crate::cli::fault::{Exit, Fault, FaultCode};
use crate::cli::print::{Out, clean};
use crate::cli::session::Items;
use crate::model::{AgentName, Cause, RunId, Slot};
use crate::proto::request::{Answer, Item, LogRead, Request, RunList};
use crate::proto::view::{LogView, RunView};

/// Bytes without an end of line that are kept at most; then what is there is shown as a line.
const LONGEST_LINE: usize = 64 * 1024;

/// `ucron logs`.
pub async fn logs(client: &mut Client<'_>, args: LogsArgs) -> Result<Exit, Fault> {
    let (reads, marked) = reads(client, &args).await?;
    let printer = Printer {
        raw: args.raw,
        grep: args.grep.clone(),
        ..Printer::new(marked)
    };
    if args.since.is_none() {
        show(client, reads, printer).await?;
        return Ok(Exit::DONE);
    }
    // Run after run, oldest first.
    let mut printer = printer;
    for read in reads {
        printer = show(client, vec![read], printer).await?;
    }
    Ok(Exit::DONE)
}

/// What to read, and whether lines are marked.
async fn reads(client: &Client<'_>, args: &LogsArgs) -> Result<(Vec<Reading>, bool), Fault> {
    let read = LogRead {
        of: args.of.clone(),
        attempt: args.attempt,
        agent: args.agent.clone(),
        lines: args.lines.0,
        follow: args.follow,
    };
    let since = args.since.as_deref();
    let since = since
        .map(|text| runs::instant(text, "--since", &client.out.style))
        .transpose()?;
    let list = RunList {
        task: Some(args.of.clone()),
        agent: args.agent.clone(),
        since,
        limit: if since.is_some() { 0 } else { 200 },
        ..RunList::default()
    };
    let known = match client.ask(Request::RunList(list)).await {
        Ok(Answer::Runs(page)) => page.runs,
        Ok(_) => return Err(Fault::unexpected("`runs`")),
        // Not a task, so it is a run, of which there is one.
        Err(fault) if fault.code == FaultCode::NotFound && since.is_none() => Vec::new(),
        Err(fault) => return Err(fault),
    };
    let marked = sources(&known) > 1;
    if since.is_none() {
        let newest = newest_of_each(known);
        let goes_on = newest.is_empty() || newest.iter().any(|run| run.cause == Cause::Daemon);
        let reading = if goes_on || !args.follow {
            Reading::new(read)
        } else {
            Reading::of_runs(read, &newest)
        };
        return Ok((vec![reading], marked));
    }
    let started = known.iter().rev().filter(|run| run.started_at.is_some());
    let each = started.map(|run| LogRead {
        of: run.run_id.to_string(),
        ..read.clone()
    });
    Ok((each.map(Reading::new).collect(), marked))
}

/// The last started run of every place; `runs` are the newest first.
fn newest_of_each(mut runs: Vec<RunView>) -> Vec<RunView> {
    let mut places = BTreeSet::new();
    runs.retain(|run| run.started_at.is_some() && places.insert((run.agent.clone(), run.slot)));
    runs
}

fn sources(runs: &[RunView]) -> usize {
    let places: BTreeSet<_> = runs
        .iter()
        .filter_map(|run| Some((run.agent.clone()?, run.slot)))
        .collect();
    places.len()
}

/// What to read, and what to read instead once the link broke and is there again.
#[derive(Clone, Debug)]
pub struct Reading {
    read: LogRead,
    again: Vec<LogRead>,
}

impl Reading {
    /// The same again. Of what is followed all of it, as more may have been written than the last lines; what
    /// was printed is left out.
    pub fn new(read: LogRead) -> Self {
        let mut again = read.clone();
        if read.follow {
            again.lines = None;
        }
        let again = vec![again];
        Self { read, again }
    }

    /// These runs again, as the task may have begun others meanwhile.
    fn of_runs(read: LogRead, runs: &[RunView]) -> Self {
        let of = |run: &RunView| LogRead {
            of: run.run_id.to_string(),
            lines: None,
            ..read.clone()
        };
        let again = runs.iter().map(of).collect();
        Self { read, again }
    }
}

/// Reads these together and prints what comes; gives the printer back for the next. A link that breaks is
/// dialled again, and all goes on where it was.
pub async fn show(
    client: &mut Client<'_>,
    mut readings: Vec<Reading>,
    mut printer: Printer,
) -> Result<Printer, Fault> {
    let mut breaks = 0;
    loop {
        let open = |reading: &Reading| {
            client
                .session
                .stream(Request::LogRead(reading.read.clone()))
        };
        let mut streams: Vec<Items> = readings.iter().map(open).collect();
        let ended = drain(
            client,
            &mut readings,
            &mut streams,
            &mut printer,
            &mut breaks,
        )
        .await;
        match ended {
            Ok(()) => {
                printer.finish(client.out)?;
                return Ok(printer);
            }
            Err(fault) if fault.may_go_on(breaks) => {
                breaks += 1;
                let text = format!("{}; going on where it was", fault.message);
                client.out.say(&text);
                let again = readings.into_iter().flat_map(|reading| reading.again);
                readings = again.map(Reading::new).collect();
                printer.resume();
            }
            Err(fault) => {
                printer.finish(client.out)?;
                return Err(fault);
            }
        }
    }
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
            Some(Ok(Item::Log(chunk))) => {
                printer.take(client.out, &chunk)?;
                *breaks = 0;
            }
            Some(Ok(Item::Event(_) | Item::Change(_))) => return Err(Fault::unexpected("`logs`")),
            Some(Err(fault)) => return Err(fault),
        }
    }
    Ok(())
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

/// Where a line comes from.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Source {
    agent: AgentName,
    slot: Slot,
    run: RunId,
    attempt: u16,
}

#[derive(Default, Debug)]
struct Begun {
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    /// Where the next byte is expected.
    offset: Option<u64>,
    /// What comes from before this was printed already.
    printed: u64,
}

impl Begun {
    /// What of a chunk was not printed before the link broke, with its place. Bytes that come again for another
    /// reason (the command has cut its file) are new.
    fn new_of<'a>(&mut self, offset: u64, bytes: &'a [u8]) -> (u64, &'a [u8]) {
        let known = self.printed.saturating_sub(offset).min(len(bytes));
        if offset + len(bytes) >= self.printed {
            self.printed = 0;
        }
        let rest = bytes.get(usize::try_from(known).unwrap_or(0)..);
        (offset + known, rest.unwrap_or_default())
    }
}

fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(0)
}

/// Puts chunks together to lines and prints them.
#[derive(Debug)]
pub struct Printer {
    /// Whether lines are marked with their source.
    marked: bool,
    /// Bytes as they are.
    raw: bool,
    /// Only lines that match.
    grep: Option<Regex>,
    begun: BTreeMap<Source, Begun>,
}

impl Printer {
    /// Prints whole lines, marked with their source or not.
    pub fn new(marked: bool) -> Self {
        Self {
            marked,
            raw: false,
            grep: None,
            begun: BTreeMap::new(),
        }
    }

    fn take(&mut self, out: &mut Out, chunk: &LogView) -> Result<(), Fault> {
        let bytes = BASE64
            .decode(&chunk.data)
            .map_err(|_| Fault::unexpected("`logs`"))?;
        let source = Source {
            agent: chunk.agent.clone(),
            slot: chunk.slot,
            run: chunk.run_id.clone(),
            attempt: chunk.attempt,
        };
        let mut begun = self.begun.remove(&source).unwrap_or_default();
        let (offset, bytes) = begun.new_of(chunk.offset, &bytes);
        if self.raw {
            begun.offset = Some(offset + len(bytes));
            self.begun.insert(source, begun);
            return out.bytes(bytes);
        }
        if let Some(expected) = begun.offset
            && offset > expected
        {
            self.print(out, &source, &std::mem::take(&mut begun.line))?;
            let gap = offset - expected;
            out.tell(&format!(
                "{gap} bytes of {}/{} are not kept",
                source.agent, source.slot
            ));
        }
        begun.offset = Some(offset + len(bytes));
        begun.line.extend_from_slice(bytes);
        begun.line = self.lines(out, &source, &begun.line)?;
        self.begun.insert(source, begun);
        out.flush()
    }

    /// Prints the whole lines and gives back what is left.
    fn lines(&self, out: &mut Out, source: &Source, bytes: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            self.print_line(out, source, &rest[..end])?;
            rest = &rest[end + 1..];
        }
        while rest.len() > LONGEST_LINE {
            self.print_line(out, source, &rest[..LONGEST_LINE])?;
            rest = &rest[LONGEST_LINE..];
        }
        Ok(rest.to_vec())
    }

    /// From here on the streams begin anew.
    fn resume(&mut self) {
        for begun in self.begun.values_mut() {
            begun.printed = begun.offset.unwrap_or(0);
        }
    }

    /// Prints what has begun and will not end any more.
    fn finish(&mut self, out: &mut Out) -> Result<(), Fault> {
        for (source, begun) in std::mem::take(&mut self.begun) {
            self.print(out, &source, &begun.line)?;
        }
        out.flush()
    }

    fn print(&self, out: &mut Out, source: &Source, line: &[u8]) -> Result<(), Fault> {
        if line.is_empty() {
            return Ok(());
        }
        self.print_line(out, source, line)
    }

    fn print_line(&self, out: &mut Out, source: &Source, line: &[u8]) -> Result<(), Fault> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = String::from_utf8_lossy(line);
        if self.grep.as_ref().is_some_and(|grep| !grep.is_match(&text)) {
            return Ok(());
        }
        if out.style.is_json() {
            let object = json!({
                "run_id": source.run,
                "agent": source.agent,
                "slot": source.slot,
                "attempt": source.attempt,
                "line": text,
            });
            return out.line(&clean::json(&object));
        }
        let mark = if self.marked {
            format!("{}/{} ", source.agent, source.slot)
        } else {
            String::new()
        };
        if out.style.is_terminal {
            return out.line(&format!("{mark}{}", clean::output(&text)));
        }
        out.raw_line(mark.as_bytes(), line)
    }
}
