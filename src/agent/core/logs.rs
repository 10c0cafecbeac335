//! Output passed on: a stream of a link is a stream of the keeper under another number. Flow control is the
//! reader's; the agent holds no output.

use std::collections::BTreeMap;

use super::super::event::LinkId;
use super::AgentCore;
use super::keeper::KeeperState;
use crate::exec::wire::{Command, Event, LogFrom};
use crate::proto::agent::{FromAgent, LogChunk, LogCredit, LogEnd, ReadLog};

/// Open streams: the keeper's number to link and number there.
#[derive(Debug, Default)]
pub(super) struct Streams {
    last: u64,
    open: BTreeMap<u64, (LinkId, u64)>,
}

impl Streams {
    fn of(&self, link: LinkId, stream: u64) -> Option<u64> {
        let wanted = (link, stream);
        self.open
            .iter()
            .find(|(_, there)| **there == wanted)
            .map(|(here, _)| *here)
    }
}

impl AgentCore {
    pub(super) fn read_log(&mut self, link: LinkId, read: ReadLog) {
        if matches!(self.keeper, KeeperState::Away) {
            let error = "the agent has no keeper at the moment; ask again";
            return self.end_log(link, read.stream, Some(error.to_owned()));
        }
        if self.streams.of(link, read.stream).is_some() {
            let error = "the stream's number is in use on this link";
            return self.end_log(link, read.stream, Some(error.to_owned()));
        }
        self.streams.last += 1;
        let stream = self.streams.last;
        self.streams.open.insert(stream, (link, read.stream));
        self.tell(Command::ReadLog {
            stream,
            run_id: read.run_id,
            attempt: read.attempt,
            from: read.lines.map_or(LogFrom::Offset(0), LogFrom::Lines),
            follow: read.follow,
        });
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
    }

    /// A link is gone, and with it the readers on it.
    pub(super) fn close_streams(&mut self, link: LinkId) {
        let mut closed = Vec::new();
        self.streams.open.retain(|stream, (of, _)| {
            let kept = *of != link;
            if !kept {
                closed.push(*stream);
            }
            kept
        });
        for stream in closed {
            self.tell(Command::CloseLog { stream });
        }
    }

    /// The keeper is gone, and with it what is read.
    pub(super) fn end_streams(&mut self, error: &str) {
        for (link, stream) in std::mem::take(&mut self.streams.open).into_values() {
            self.end_log(link, stream, Some(error.to_owned()));
        }
    }

    /// Passes a piece or the end of output on.
    pub(super) fn log(&mut self, event: Event) {
        match event {
            Event::Log {
                stream,
                attempt,
                offset,
                data,
            } => {
                if let Some((link, stream)) = self.streams.open.get(&stream).copied() {
                    let chunk = LogChunk {
                        stream,
                        attempt,
                        offset,
                        data,
                    };
                    self.send(link, FromAgent::Log(chunk));
                }
            }
            Event::LogEnd { stream, error } => {
                if let Some((link, stream)) = self.streams.open.remove(&stream) {
                    self.end_log(link, stream, error);
                }
            }
            _ => {}
        }
    }

    fn end_log(&mut self, link: LinkId, stream: u64, error: Option<String>) {
        self.send(link, FromAgent::LogEnd(LogEnd { stream, error }));
    }
}
