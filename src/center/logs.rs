//! Output on its way from agents to a client: one client request may read several runs; items carry the run.

use std::collections::{BTreeMap, VecDeque};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::clients::Stream;
use super::core::Core;
use super::event::{Effect, SessionId};
use crate::model::{AgentId, Ending, RunId, Slot};
use crate::proto::agent::{CloseLog, LogChunk, LogCredit, LogEnd, ReadLog, ToAgent};
use crate::proto::client::{End, ItemFrame, ToClient};
use crate::proto::request::{Item, LogRead, Refusal, RefusalCode};
use crate::proto::view::LogView;

/// A client's request for output.
#[derive(Debug, Default)]
pub struct LogStream {
    sources: BTreeMap<u64, Source>,
    /// Bytes of each item that the client has not taken yet, and where they came from.
    untaken: VecDeque<(u64, u64)>,
    /// What went wrong with sources that are over.
    trouble: Option<String>,
}

/// One run being read.
#[derive(Debug)]
struct Source {
    session: SessionId,
    run_id: RunId,
    agent: AgentId,
    slot: Slot,
    over: bool,
}

/// A run whose output is wanted.
#[derive(Clone, Debug)]
pub struct LogSource {
    /// The run.
    pub run_id: RunId,
    /// Where its output is.
    pub agent: AgentId,
    /// Its slot.
    pub slot: Slot,
    /// What the agent returned of it when it had ended; read where the agent is away.
    pub kept: Option<KeptTail>,
}

/// The returned end of a run's output.
#[derive(Clone, Debug)]
pub struct KeptTail {
    /// The attempt it is of.
    pub attempt: u16,
    /// Where in the output it begins.
    pub offset: u64,
    /// The text.
    pub text: String,
}

impl KeptTail {
    /// What an ending has, if anything.
    pub fn of(ending: &Ending) -> Option<Self> {
        let text = ending.tail.clone()?;
        let all = ending.output_bytes.unwrap_or_default();
        Some(Self {
            attempt: ending.attempt,
            offset: all.saturating_sub(text.len() as u64),
            text,
        })
    }

    /// The last lines of it.
    fn last(mut self, lines: Option<u64>) -> Self {
        let Some(wanted) = lines.and_then(|lines| usize::try_from(lines).ok()) else {
            return self;
        };
        let ends = self.text.trim_end_matches('\n').rmatch_indices('\n');
        let cut = match wanted.checked_sub(1) {
            Some(before) => ends.map(|(at, _)| at + 1).nth(before).unwrap_or(0),
            None => self.text.len(),
        };
        self.text.drain(..cut);
        self.offset += cut as u64;
        self
    }
}

impl Core {
    /// Asks the agents for the output of these runs and opens the client's stream.
    pub(super) fn open_logs(
        &mut self,
        session: SessionId,
        request: u64,
        ask: &LogRead,
        of: Vec<LogSource>,
    ) {
        let mut stream = LogStream::default();
        for source in of {
            let Some(link) = self.sessions.of(&source.agent).map(|link| link.id) else {
                if self.tell_kept(session, request, ask, &source) {
                    continue;
                }
                let name = self.fleet.agent_name(&source.agent);
                stream.trouble = Some(format!(
                    "agent {name} is offline; its output is on its host"
                ));
                continue;
            };
            let number = self.ticket().0;
            let read = ReadLog {
                stream: number,
                run_id: source.run_id.clone(),
                attempt: ask.attempt,
                lines: ask.lines,
                follow: ask.follow,
            };
            self.now(Effect::ToAgent(link, Box::new(ToAgent::ReadLog(read))));
            let LogSource {
                run_id,
                agent,
                slot,
                kept: _,
            } = source;
            stream.sources.insert(
                number,
                Source {
                    session: link,
                    run_id,
                    agent,
                    slot,
                    over: false,
                },
            );
        }
        if let Some(client) = self.clients.get_mut(session) {
            client.streams.insert(request, Stream::Logs(stream));
        }
        self.end_logs(session, request);
    }

    /// Sends what the center has of a run's output; whether that is what was asked for.
    fn tell_kept(
        &mut self,
        session: SessionId,
        request: u64,
        ask: &LogRead,
        source: &LogSource,
    ) -> bool {
        let wanted = |kept: &&KeptTail| ask.attempt.is_none_or(|attempt| attempt == kept.attempt);
        let Some(kept) = source.kept.as_ref().filter(wanted).cloned() else {
            return false;
        };
        let Some(agent) = self
            .fleet
            .agents
            .get(&source.agent)
            .map(|row| row.name.clone())
        else {
            return false;
        };
        let kept = kept.last(ask.lines);
        let item = Item::Log(LogView {
            run_id: source.run_id.clone(),
            agent,
            slot: source.slot,
            attempt: kept.attempt,
            offset: kept.offset,
            data: BASE64.encode(&kept.text),
        });
        let item = ItemFrame { id: request, item };
        self.now(Effect::ToClient(session, Box::new(ToClient::Item(item))));
        true
    }

    /// A piece of output from an agent.
    pub(super) fn log_chunk(&mut self, link: SessionId, chunk: LogChunk) {
        let mut found = None;
        for (session, request, logs) in self.clients.logs_mut() {
            if let Some(source) = logs
                .sources
                .get(&chunk.stream)
                .filter(|source| source.session == link)
            {
                found = Some((
                    session,
                    request,
                    source.run_id.clone(),
                    source.agent.clone(),
                    source.slot,
                ));
                logs.untaken
                    .push_back((chunk.stream, decoded_len(&chunk.data)));
                break;
            }
        }
        let Some((session, id, run_id, agent, slot)) = found else {
            return;
        };
        let Some(agent) = self.fleet.agents.get(&agent).map(|row| row.name.clone()) else {
            return;
        };
        let LogChunk {
            attempt,
            offset,
            data,
            ..
        } = chunk;
        let item = Item::Log(LogView {
            run_id,
            agent,
            slot,
            attempt,
            offset,
            data,
        });
        self.now(Effect::ToClient(
            session,
            Box::new(ToClient::Item(ItemFrame { id, item })),
        ));
    }

    /// A run's output is over.
    pub(super) fn log_end(&mut self, link: SessionId, end: LogEnd) {
        let mut found = None;
        for (session, request, logs) in self.clients.logs_mut() {
            if let Some(source) = logs
                .sources
                .get_mut(&end.stream)
                .filter(|source| source.session == link)
            {
                source.over = true;
                logs.trouble = logs.trouble.take().or(end.error);
                found = Some((session, request));
                break;
            }
        }
        if let Some((session, request)) = found {
            self.end_logs(session, request);
        }
    }

    /// An agent's link is gone: what was read over it is over.
    pub(super) fn end_logs_of(&mut self, link: SessionId) {
        let mut touched = Vec::new();
        for (session, request, logs) in self.clients.logs_mut() {
            for source in logs
                .sources
                .values_mut()
                .filter(|source| source.session == link && !source.over)
            {
                source.over = true;
                logs.trouble = Some("the agent's link was lost".to_owned());
                touched.push((session, request));
            }
        }
        for (session, request) in touched {
            self.end_logs(session, request);
        }
    }

    /// Ends the client's stream once nothing more can come.
    fn end_logs(&mut self, session: SessionId, request: u64) {
        let Some(client) = self.clients.get_mut(session) else {
            return;
        };
        let Some(Stream::Logs(logs)) = client.streams.get_mut(&request) else {
            return;
        };
        if logs.sources.values().any(|source| !source.over) {
            return;
        }
        let refusal = logs.trouble.take().map(|message| Refusal {
            code: RefusalCode::Failed,
            message,
            hint: None,
        });
        client.streams.remove(&request);
        self.now(Effect::ToClient(
            session,
            Box::new(ToClient::End(End {
                id: request,
                refusal,
            })),
        ));
    }

    /// The client has taken items: the agents may send as many bytes more.
    pub(super) fn log_credit(&mut self, session: SessionId, request: u64, items: u64) {
        let Some(client) = self.clients.get_mut(session) else {
            return;
        };
        let Some(Stream::Logs(logs)) = client.streams.get_mut(&request) else {
            return;
        };
        let mut taken: BTreeMap<u64, u64> = BTreeMap::new();
        for _ in 0..items {
            let Some((stream, bytes)) = logs.untaken.pop_front() else {
                break;
            };
            *taken.entry(stream).or_default() += bytes;
        }
        let credits: Vec<(SessionId, LogCredit)> = taken
            .into_iter()
            .filter_map(|(stream, bytes)| {
                Some((
                    logs.sources.get(&stream)?.session,
                    LogCredit { stream, bytes },
                ))
            })
            .collect();
        for (link, credit) in credits {
            self.now(Effect::ToAgent(link, Box::new(ToAgent::LogCredit(credit))));
        }
    }

    /// The client reads no more.
    pub(super) fn close_logs(&mut self, logs: &LogStream) {
        for (stream, source) in logs.sources.iter().filter(|(_, source)| !source.over) {
            let close = ToAgent::CloseLog(CloseLog { stream: *stream });
            self.now(Effect::ToAgent(source.session, Box::new(close)));
        }
    }
}

/// Bytes that a base 64 text stands for.
fn decoded_len(text: &str) -> u64 {
    let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_what_is_kept_keep_their_place() {
        let check = |text: &str, lines: Option<u64>, expected: (&str, u64)| {
            let kept = KeptTail {
                attempt: 1,
                offset: 100,
                text: text.to_owned(),
            };
            let kept = kept.last(lines);
            assert_eq!((kept.text.as_str(), kept.offset), expected, "{text:?}");
        };
        check("a\nb\nc\n", None, ("a\nb\nc\n", 100));
        check("a\nb\nc\n", Some(2), ("b\nc\n", 102));
        check("a\nb\nc", Some(1), ("c", 104));
        check("a\nb\nc\n", Some(9), ("a\nb\nc\n", 100));
        check("a\n", Some(0), ("", 102));
        check("", Some(1), ("", 100));
    }
}
