//! Output of runs being read: chunks of bytes become clean lines; where the reader is; what is searched for.

use std::collections::{BTreeMap, VecDeque};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::field::Field;
use crate::model::{AgentName, RunId, Slot, TaskPath};
use crate::proto::view::LogView;
use crate::tui::text;

/// Lines kept; older ones are in `ucron logs -n all`.
const MOST_LINES: usize = 10_000;
/// Bytes without an end of line that are kept at most; then what is there is shown as a line.
const LONGEST_LINE: usize = 16 * 1024;

/// One line of output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// `agent/slot`; empty for a remark of ours.
    pub mark: String,
    /// Clean.
    pub text: String,
}

/// Output of a run, or of a task's runs.
#[derive(Clone, Debug)]
pub struct LogPane {
    /// Names the stream; what comes of an older one is dropped.
    pub stream: u64,
    /// What it is of, for the title.
    pub title: String,
    /// The task whose next runs are followed too; none for a single run.
    pub task: Option<TaskPath>,
    /// The lines kept.
    pub lines: VecDeque<Line>,
    /// Whether the end is shown as it grows.
    pub is_following: bool,
    /// The first line shown where it is not followed.
    pub top: usize,
    /// What is searched for.
    pub search: String,
    /// The search being typed.
    pub prompt: Option<Field>,
    /// Streams that are not over.
    pub open: usize,
    /// What the center was asked for: a task or a run.
    pub of: String,
    /// Whether a stream broke, so that all is read anew once the center is back.
    pub is_broken: bool,
    /// The runs whose output was asked for.
    pub runs: Vec<RunId>,
    begun: BTreeMap<(AgentName, Slot, RunId, u16), Begun>,
    marks: Vec<String>,
}

#[derive(Clone, Default, Debug)]
struct Begun {
    line: Vec<u8>,
    offset: Option<u64>,
}

impl LogPane {
    /// Nothing read yet.
    pub fn new(stream: u64, title: String, task: Option<TaskPath>) -> Self {
        Self {
            stream,
            title,
            task,
            lines: VecDeque::new(),
            is_following: true,
            top: 0,
            search: String::new(),
            prompt: None,
            open: 0,
            of: String::new(),
            is_broken: false,
            runs: Vec::new(),
            begun: BTreeMap::new(),
            marks: Vec::new(),
        }
    }

    /// Whether lines of more than one source are shown.
    pub fn is_marked(&self) -> bool {
        self.marks.len() > 1
    }

    /// Takes a chunk in; bytes that are not what they must be are told as such.
    pub fn take(&mut self, chunk: &LogView) {
        let Ok(bytes) = BASE64.decode(&chunk.data) else {
            self.remark("the center sent output that cannot be read");
            return;
        };
        if !self.runs.contains(&chunk.run_id) {
            self.runs.push(chunk.run_id.clone());
        }
        let mark = format!("{}/{}", chunk.agent, chunk.slot);
        if !self.marks.contains(&mark) {
            self.marks.push(mark.clone());
        }
        let key = (
            chunk.agent.clone(),
            chunk.slot,
            chunk.run_id.clone(),
            chunk.attempt,
        );
        let mut begun = self.begun.remove(&key).unwrap_or_default();
        if let Some(expected) = begun.offset.filter(|expected| *expected != chunk.offset) {
            self.flush(&mark, &std::mem::take(&mut begun.line));
            self.remark(&match chunk.offset.checked_sub(expected) {
                Some(gap) => format!("{gap} bytes of {mark} are not kept"),
                None => format!("the command of {mark} has cut its output"),
            });
        }
        begun.offset = Some(chunk.offset + bytes.len() as u64);
        begun.line.extend_from_slice(&bytes);
        begun.line = self.whole_lines(&mark, &std::mem::take(&mut begun.line));
        self.begun.insert(key, begun);
    }

    fn whole_lines(&mut self, mark: &str, bytes: &[u8]) -> Vec<u8> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            self.push(mark, &rest[..end]);
            rest = &rest[end + 1..];
        }
        while rest.len() > LONGEST_LINE {
            self.push(mark, &rest[..LONGEST_LINE]);
            rest = &rest[LONGEST_LINE..];
        }
        rest.to_vec()
    }

    fn flush(&mut self, mark: &str, line: &[u8]) {
        if !line.is_empty() {
            self.push(mark, line);
        }
    }

    fn push(&mut self, mark: &str, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = text::output(&String::from_utf8_lossy(line));
        self.push_line(Line {
            mark: mark.to_owned(),
            text,
        });
    }

    /// Says something of our own between the lines.
    pub fn remark(&mut self, text: &str) {
        self.push_line(Line {
            mark: String::new(),
            text: format!("── {text}"),
        });
    }

    fn push_line(&mut self, line: Line) {
        self.lines.push_back(line);
        if self.lines.len() > MOST_LINES {
            self.lines.pop_front();
            self.top = self.top.saturating_sub(1);
        }
    }

    /// The streams are over; what has begun and will not end any more is shown.
    pub fn finish(&mut self) {
        for ((agent, slot, ..), begun) in std::mem::take(&mut self.begun) {
            self.flush(&format!("{agent}/{slot}"), &begun.line);
        }
    }

    /// What was read is read anew.
    pub fn restart(&mut self) {
        self.lines.clear();
        self.begun.clear();
        self.is_broken = false;
        self.open = 1;
    }

    /// A stream broke.
    pub fn end(&mut self, why: &str) {
        self.finish();
        self.is_broken = true;
        self.remark(why);
    }

    /// The first line shown, of `height` that fit.
    pub fn first_shown(&self, height: usize) -> usize {
        let last = self.lines.len().saturating_sub(height);
        if self.is_following {
            last
        } else {
            self.top.min(last)
        }
    }

    /// Scrolls by so many lines; at the end it follows again.
    pub fn scroll(&mut self, lines: isize, height: usize) {
        let last = self.lines.len().saturating_sub(height);
        self.top = self
            .first_shown(height)
            .saturating_add_signed(lines)
            .min(last);
        self.is_following = self.top == last && lines > 0;
    }

    /// Goes to the next line that has what is searched for, before or behind the first one shown; whether
    /// there is one.
    pub fn search_on(&mut self, forward: bool, height: usize) -> bool {
        let from = self.first_shown(height);
        let wanted = self.search.to_lowercase();
        if wanted.is_empty() {
            return false;
        }
        let matches = |at: &usize| self.lines[*at].text.to_lowercase().contains(&wanted);
        let found = if forward {
            (from + 1..self.lines.len())
                .chain(0..self.lines.len().min(from + 1))
                .find(matches)
        } else {
            (0..from)
                .rev()
                .chain((from..self.lines.len()).rev())
                .find(matches)
        };
        if let Some(at) = found {
            self.top = at;
            self.is_following = false;
        }
        found.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(agent: &str, offset: u64, text: &str) -> LogView {
        LogView {
            run_id: RunId::hash(b"r"),
            agent: agent.parse().unwrap(),
            slot: Slot(0),
            attempt: 1,
            offset,
            at: None,
            data: BASE64.encode(text),
        }
    }

    fn check(chunks: &[LogView], wanted: &[&str]) {
        let mut pane = LogPane::new(1, "t".to_owned(), None);
        for chunk in chunks {
            pane.take(chunk);
        }
        pane.end("end");
        let lines: Vec<String> = pane
            .lines
            .iter()
            .map(|line| format!("{}|{}", line.mark, line.text))
            .collect();
        assert_eq!(lines, wanted);
    }

    #[test]
    fn chunks_become_lines() {
        check(
            &[chunk("a1", 0, "one\ntw"), chunk("a1", 6, "o\nthree")],
            &["a1/0|one", "a1/0|two", "a1/0|three", "|── end"],
        );
        check(
            &[
                chunk("a1", 0, "a"),
                chunk("a2", 0, "b\n"),
                chunk("a1", 1, "c\n"),
            ],
            &["a2/0|b", "a1/0|ac", "|── end"],
        );
        check(
            &[chunk("a1", 0, "a\n"), chunk("a1", 10, "b\n")],
            &[
                "a1/0|a",
                "|── 8 bytes of a1/0 are not kept",
                "a1/0|b",
                "|── end",
            ],
        );
        check(
            &[chunk("a1", 0, "\u{1b}[31mred\u{1b}[2J\tx\u{7}\r\n")],
            &["a1/0|red     x", "|── end"],
        );
    }

    #[test]
    fn a_search_goes_around() {
        let mut pane = LogPane::new(1, "t".to_owned(), None);
        pane.take(&chunk("a1", 0, "x\nfind\ny\nFind\nz\nz\nz\n"));
        pane.search = "find".to_owned();
        pane.is_following = false;
        let found: Vec<usize> = [true, true, true, false]
            .map(|forward| {
                assert!(pane.search_on(forward, 2));
                pane.top
            })
            .to_vec();
        assert_eq!(found, [1, 3, 1, 3]);
        pane.search = "absent".to_owned();
        assert!(!pane.search_on(true, 2));
    }
}
