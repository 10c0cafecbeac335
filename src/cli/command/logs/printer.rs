//! Chunks of several runs' output put together to lines, and printed: marked with their source where there is more
//! than one, the last of them only where that is asked for.

use std::collections::{BTreeMap, VecDeque};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use regex::Regex;
use serde_json::json;

use crate::cli::fault::Fault;
use crate::cli::print::{Out, clean};
use crate::model::{AgentName, RunId, Slot};
use crate::proto::request::LogAfter;
use crate::proto::view::LogView;

/// Bytes without an end of line that are kept at most; then what is there is shown as a line.
const LONGEST_LINE: usize = 64 * 1024;

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
}

fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(0)
}

/// Puts chunks together to lines and prints them.
#[derive(Debug)]
pub struct Printer {
    /// Whether lines are marked with their source.
    pub marked: bool,
    /// Bytes as they are.
    pub raw: bool,
    /// Only lines that match.
    pub grep: Option<Regex>,
    /// Only so many lines, the last ones, printed when [`Printer::finish`] is called.
    pub last: Option<usize>,
    held: VecDeque<Vec<u8>>,
    begun: BTreeMap<Source, Begun>,
}

impl Printer {
    /// Prints whole lines, marked with their source or not.
    pub fn new(marked: bool) -> Self {
        Self {
            marked,
            raw: false,
            grep: None,
            last: None,
            held: VecDeque::new(),
            begun: BTreeMap::new(),
        }
    }

    /// What is printed, or held, of each run: its last attempt's place.
    pub fn places(&self) -> Vec<LogAfter> {
        let mut places: BTreeMap<&RunId, LogAfter> = BTreeMap::new();
        // Attempts of a run come in their order.
        for (source, begun) in &self.begun {
            let place = LogAfter {
                run_id: source.run.clone(),
                attempt: source.attempt,
                offset: begun.offset.unwrap_or(0),
            };
            places.insert(&source.run, place);
        }
        places.into_values().collect()
    }

    /// Whether anything has come.
    pub fn has_any(&self) -> bool {
        !self.begun.is_empty()
    }

    /// Takes a piece of output.
    pub fn take(&mut self, out: &mut Out, chunk: &LogView) -> Result<(), Fault> {
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
        if let Some(words) = jump(&source, begun.offset, chunk.offset) {
            self.print(out, &source, chunk, &std::mem::take(&mut begun.line))?;
            out.tell(&words);
        }
        begun.offset = Some(chunk.offset + len(&bytes));
        if self.raw {
            out.bytes(&bytes)?;
        } else {
            begun.line.extend_from_slice(&bytes);
            begun.line = self.lines(out, &source, chunk, &begun.line)?;
        }
        self.begun.insert(source, begun);
        out.flush()
    }

    /// Prints the whole lines and gives back what is left.
    fn lines(
        &mut self,
        out: &mut Out,
        source: &Source,
        chunk: &LogView,
        bytes: &[u8],
    ) -> Result<Vec<u8>, Fault> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            self.print_line(out, source, chunk, &rest[..end])?;
            rest = &rest[end + 1..];
        }
        while rest.len() > LONGEST_LINE {
            self.print_line(out, source, chunk, &rest[..LONGEST_LINE])?;
            rest = &rest[LONGEST_LINE..];
        }
        Ok(rest.to_vec())
    }

    /// Prints what was held back; from here on lines are printed as they come.
    pub fn release(&mut self, out: &mut Out) -> Result<(), Fault> {
        self.last = None;
        for line in std::mem::take(&mut self.held) {
            out.bytes(&line)?;
        }
        out.flush()
    }

    /// Prints what has begun and will not end any more.
    pub fn finish(&mut self, out: &mut Out) -> Result<(), Fault> {
        for (source, begun) in std::mem::take(&mut self.begun) {
            if !begun.line.is_empty() {
                self.show(out, &source, None, &begun.line)?;
            }
        }
        self.release(out)
    }

    fn print(
        &mut self,
        out: &mut Out,
        source: &Source,
        chunk: &LogView,
        line: &[u8],
    ) -> Result<(), Fault> {
        if line.is_empty() {
            return Ok(());
        }
        self.print_line(out, source, chunk, line)
    }

    fn print_line(
        &mut self,
        out: &mut Out,
        source: &Source,
        chunk: &LogView,
        line: &[u8],
    ) -> Result<(), Fault> {
        self.show(out, source, Some(chunk), line)
    }

    fn show(
        &mut self,
        out: &mut Out,
        source: &Source,
        chunk: Option<&LogView>,
        line: &[u8],
    ) -> Result<(), Fault> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = String::from_utf8_lossy(line);
        if self.grep.as_ref().is_some_and(|grep| !grep.is_match(&text)) {
            return Ok(());
        }
        let line = self.render(out, source, chunk, line, &text);
        let Some(last) = self.last else {
            return out.bytes(&line);
        };
        self.held.push_back(line);
        if self.held.len() > last {
            self.held.pop_front();
        }
        Ok(())
    }

    /// A line as it is printed, its end included.
    fn render(
        &self,
        out: &Out,
        source: &Source,
        chunk: Option<&LogView>,
        line: &[u8],
        text: &str,
    ) -> Vec<u8> {
        if out.style.is_json() {
            let at = chunk.and_then(|chunk| chunk.at);
            let object = json!({
                "run_id": source.run,
                "agent": source.agent,
                "slot": source.slot,
                "attempt": source.attempt,
                "at": at,
                "line": text,
            });
            return format!("{}\n", clean::json(&object)).into_bytes();
        }
        let mark = if self.marked {
            format!("{}/{} ", source.agent, source.slot)
        } else {
            String::new()
        };
        if out.style.is_terminal {
            return format!("{mark}{}\n", clean::output(text)).into_bytes();
        }
        [mark.as_bytes(), line, b"\n"].concat()
    }
}

/// What is to be said where a piece does not follow the last one.
fn jump(source: &Source, expected: Option<u64>, offset: u64) -> Option<String> {
    let expected = expected.filter(|expected| *expected != offset)?;
    let of = format!("{}/{}", source.agent, source.slot);
    Some(if offset > expected {
        format!("{} bytes of {of} are not kept", offset - expected)
    } else {
        format!("the command of {of} has cut its output; what follows begins at byte {offset}")
    })
}
