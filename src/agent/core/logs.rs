//! Output passed on: a stream of a link is a stream of the keeper under another number. Flow control is the
//! reader's; the agent holds no output. Who follows does not notice that a keeper was replaced: its stream is
//! opened anew where it was.

use std::collections::BTreeMap;

use super::super::event::LinkId;
use super::super::runs::Phase;
use super::AgentCore;
use super::keeper::KeeperState;
use crate::exec::wire::{Command, Event, LogFrom};
use crate::proto::agent::{FromAgent, LogChunk, LogCredit, LogEnd, LogPlace, ReadLog, decoded_len};

/// Open streams by the keeper's numbers.
#[derive(Debug, Default)]
pub(super) struct Streams {
    last: u64,
    open: BTreeMap<u64, Reader>,
    /// Those who follow and wait for a keeper, or for their run's start.
    waiting: Vec<Reader>,
}

/// One stream of a link.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Reader {
    link: LinkId,
    /// What is read, with the place that was reached.
    read: ReadLog,
}

impl Reader {
    fn is(&self, link: LinkId, stream: u64) -> bool {
        self.link == link && self.read.stream == stream
    }
}

impl Streams {
    fn of(&self, link: LinkId, stream: u64) -> Option<u64> {
        let found = self.open.iter().find(|(_, there)| there.is(link, stream));
        found.map(|(here, _)| *here)
    }

    fn has(&self, link: LinkId, stream: u64) -> bool {
        self.of(link, stream).is_some() || self.waiting.iter().any(|there| there.is(link, stream))
    }
}

fn from(read: &ReadLog) -> LogFrom {
    if let Some(LogPlace { attempt, offset }) = read.place {
        return LogFrom::Place { attempt, offset };
    }
    match (read.since, read.lines) {
        (Some(since), _) => LogFrom::Since(since),
        (None, Some(lines)) => LogFrom::Lines(lines),
        (None, None) => LogFrom::Offset(0),
    }
}

impl AgentCore {
    pub(super) fn read_log(&mut self, link: LinkId, read: ReadLog) {
        if self.streams.has(link, read.stream) {
            let error = "the stream's number is in use on this link";
            return self.end_log(link, read.stream, Some(error.to_owned()));
        }
        let away = matches!(self.keeper, KeeperState::Away);
        if away && !read.follow {
            let error = "the agent has no keeper at the moment; ask again";
            return self.end_log(link, read.stream, Some(error.to_owned()));
        }
        let reader = Reader { link, read };
        if away || self.waits_for_start(&reader) {
            self.streams.waiting.push(reader);
        } else {
            self.open_stream(reader);
        }
    }

    /// Whether the keeper has not heard of a run's start yet: to it the run is none, and its output over.
    fn waits_for_start(&self, reader: &Reader) -> bool {
        let is_before = |phase: &Phase| matches!(phase, Phase::Armed | Phase::Due | Phase::Queued);
        let held = self.runs.get(&reader.read.run_id);
        reader.read.follow && held.is_some_and(|held| is_before(&held.phase))
    }

    fn open_stream(&mut self, reader: Reader) {
        self.streams.last += 1;
        let stream = self.streams.last;
        let read = &reader.read;
        let command = Command::ReadLog {
            stream,
            run_id: read.run_id.clone(),
            attempt: read.attempt,
            from: from(read),
            follow: read.follow,
        };
        self.streams.open.insert(stream, reader);
        self.tell(command);
    }

    /// Who follows goes on as soon as there is a keeper, and it knows the run.
    pub(super) fn open_waiting(&mut self) {
        if self.streams.waiting.is_empty() || !self.keeper.is_ready() {
            return;
        }
        for reader in std::mem::take(&mut self.streams.waiting) {
            if self.waits_for_start(&reader) {
                self.streams.waiting.push(reader);
            } else {
                self.open_stream(reader);
            }
        }
    }

    pub(super) fn log_credit(&mut self, link: LinkId, credit: LogCredit) {
        if let Some(stream) = self.streams.of(link, credit.stream) {
            let bytes = credit.bytes;
            self.tell(Command::LogCredit { stream, bytes });
        }
    }

    pub(super) fn close_log(&mut self, link: LinkId, stream: u64) {
        if let Some(stream) = self.streams.of(link, stream) {
            self.streams.open.remove(&stream);
            self.tell(Command::CloseLog { stream });
        }
        self.streams.waiting.retain(|there| !there.is(link, stream));
    }

    /// A link is gone, and with it the readers on it.
    pub(super) fn close_streams(&mut self, link: LinkId) {
        let mut closed = Vec::new();
        self.streams.waiting.retain(|reader| reader.link != link);
        self.streams.open.retain(|stream, reader| {
            let kept = reader.link != link;
            if !kept {
                closed.push(*stream);
            }
            kept
        });
        for stream in closed {
            self.tell(Command::CloseLog { stream });
        }
    }

    /// The keeper is gone, and with it what is read; who follows waits for the next one.
    pub(super) fn end_streams(&mut self, error: &str) {
        for reader in std::mem::take(&mut self.streams.open).into_values() {
            if reader.read.follow {
                self.streams.waiting.push(reader);
            } else {
                self.end_log(reader.link, reader.read.stream, Some(error.to_owned()));
            }
        }
    }

    /// Passes a piece or the end of output on.
    pub(super) fn log(&mut self, event: Event) {
        match event {
            Event::Log {
                stream,
                attempt,
                offset,
                at,
                data,
            } => {
                if let Some(reader) = self.streams.open.get_mut(&stream) {
                    let offset_after = offset + decoded_len(&data);
                    reader.read.place = Some(LogPlace {
                        attempt,
                        offset: offset_after,
                    });
                    let chunk = LogChunk {
                        stream: reader.read.stream,
                        attempt,
                        offset,
                        at,
                        data,
                    };
                    let link = reader.link;
                    self.send(link, FromAgent::Log(chunk));
                }
            }
            Event::LogEnd { stream, error } => {
                if let Some(reader) = self.streams.open.remove(&stream) {
                    self.end_log(reader.link, reader.read.stream, error);
                }
            }
            _ => {}
        }
    }

    fn end_log(&mut self, link: LinkId, stream: u64, error: Option<String>) {
        self.send(link, FromAgent::LogEnd(LogEnd { stream, error }));
    }
}
