//! Output on its way from agents to a client: one client request may read several runs; items carry the run. Who
//! follows waits out an agent that is away, and goes on with a daemon's next process.

use std::collections::{BTreeMap, VecDeque};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::clients::Stream;
use super::core::Core;
use super::event::{Effect, SessionId};
use super::kept::KeptTail;
use super::runs::SlotKey;
use crate::model::{AgentId, RunId, Slot, TaskId};
use crate::proto::agent::{
    CloseLog, LogChunk, LogCredit, LogEnd, LogPlace, ReadLog, ToAgent, decoded_len,
};
use crate::proto::client::{End, ItemFrame, ToClient};
use crate::proto::request::{Item, LogRead, Refusal, RefusalCode};
use crate::proto::view::LogView;

/// A client's request for output.
#[derive(Debug)]
pub struct LogStream {
    ask: LogRead,
    /// The daemon that is followed: the stream goes on with whatever process it gets.
    daemon: Option<TaskId>,
    sources: BTreeMap<u64, Source>,
    /// Bytes of each item that the client has not taken yet, and where they came from.
    untaken: VecDeque<(u64, u64)>,
    /// What went wrong with sources that are over.
    trouble: Option<String>,
}

/// One run being read.
#[derive(Debug)]
struct Source {
    of: LogSource,
    /// What the client has of it.
    place: Option<LogPlace>,
    state: Reading,
}

/// How far a source is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reading {
    /// Read over this link.
    On(SessionId),
    /// The agent is away; when it is back, the reading goes on.
    Away,
    /// The daemon's process has ended; its next one will be read.
    Next,
    /// Nothing more comes.
    Over,
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
    /// The daemon whose next process is read after it.
    pub goes_on: Option<TaskId>,
    /// What the agent returned of it when it had ended; read where the agent is away.
    pub kept: Option<KeptTail>,
}

impl LogSource {
    fn is_slot(&self, key: &SlotKey) -> bool {
        self.goes_on.as_ref() == Some(&key.task) && self.agent == key.agent && self.slot == key.slot
    }
}

impl Core {
    /// Asks the agents for the output of these runs and opens the client's stream.
    pub(super) fn open_logs(
        &mut self,
        session: SessionId,
        request: u64,
        ask: &LogRead,
        daemon: Option<TaskId>,
        of: Vec<LogSource>,
    ) {
        let mut logs = LogStream {
            ask: ask.clone(),
            daemon,
            sources: BTreeMap::new(),
            untaken: VecDeque::new(),
            trouble: None,
        };
        for source in of {
            let waits = logs.daemon.is_some();
            if !waits && !self.sessions.is_linked(&source.agent) {
                if self.tell_kept(session, request, ask, &source) {
                    continue;
                }
                let name = self.fleet.agent_name(&source.agent);
                logs.trouble = Some(format!(
                    "agent {name} is offline; its output is on its host"
                ));
                continue;
            }
            let known = ask.after.iter().find(|run| run.run_id == source.run_id);
            let place = known.map(|run| LogPlace {
                attempt: run.attempt,
                offset: run.offset,
            });
            self.read_source(&mut logs, source, place, ask.lines);
        }
        if let Some(client) = self.clients.get_mut(session) {
            client.streams.insert(request, Stream::Logs(logs));
        }
        self.end_logs(session, request);
    }

    /// Asks an agent for a run's output, or waits for the agent.
    fn read_source(
        &mut self,
        logs: &mut LogStream,
        of: LogSource,
        place: Option<LogPlace>,
        lines: Option<u64>,
    ) {
        let number = self.ticket().0;
        let link = self.sessions.of(&of.agent).map(|link| link.id);
        if let Some(link) = link {
            let read = ReadLog {
                stream: number,
                run_id: of.run_id.clone(),
                attempt: logs.ask.attempt,
                lines,
                follow: logs.ask.follow,
                since: logs.ask.since,
                place,
            };
            self.now(Effect::ToAgent(link, Box::new(ToAgent::ReadLog(read))));
        }
        let state = link.map_or(Reading::Away, Reading::On);
        logs.sources.insert(number, Source { of, place, state });
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
            at: Some(kept.at),
            data: BASE64.encode(&kept.text),
        });
        let item = ItemFrame { id: request, item };
        self.now(Effect::ToClient(session, Box::new(ToClient::Item(item))));
        true
    }

    /// A piece of output from an agent.
    pub(super) fn log_chunk(&mut self, link: SessionId, chunk: LogChunk) {
        let Some((session, id, of)) = self.source_reads(link, &chunk) else {
            return;
        };
        let Some(agent) = self.fleet.agents.get(&of.agent).map(|row| row.name.clone()) else {
            return;
        };
        let item = Item::Log(LogView {
            run_id: of.run_id,
            agent,
            slot: of.slot,
            attempt: chunk.attempt,
            offset: chunk.offset,
            at: chunk.at,
            data: chunk.data,
        });
        let item = ToClient::Item(ItemFrame { id, item });
        self.now(Effect::ToClient(session, Box::new(item)));
    }

    /// The client's stream that a piece is for; the piece is counted in.
    fn source_reads(
        &mut self,
        link: SessionId,
        chunk: &LogChunk,
    ) -> Option<(SessionId, u64, LogSource)> {
        for (session, request, logs) in self.clients.logs_mut() {
            let Some(source) = logs
                .sources
                .get_mut(&chunk.stream)
                .filter(|source| source.state == Reading::On(link))
            else {
                continue;
            };
            let bytes = decoded_len(&chunk.data);
            source.place = Some(LogPlace {
                attempt: chunk.attempt,
                offset: chunk.offset + bytes,
            });
            logs.untaken.push_back((chunk.stream, bytes));
            return Some((session, request, source.of.clone()));
        }
        None
    }

    /// A run's output is over, or cannot be read.
    pub(super) fn log_end(&mut self, link: SessionId, end: LogEnd) {
        let mut found = None;
        for (session, request, logs) in self.clients.logs_mut() {
            let Some(source) = logs
                .sources
                .get_mut(&end.stream)
                .filter(|source| source.state == Reading::On(link))
            else {
                continue;
            };
            let waits = logs.ask.follow && source.of.goes_on.is_some();
            source.state = if waits { Reading::Next } else { Reading::Over };
            if !waits {
                logs.trouble = logs.trouble.take().or(end.error);
            }
            found = Some((session, request));
            break;
        }
        let Some((session, request)) = found else {
            return;
        };
        self.go_on(session, request, |source| source.state == Reading::Next);
        self.end_logs(session, request);
    }

    /// An agent's link is gone: what was read over it is over, but for those who follow.
    pub(super) fn end_logs_of(&mut self, link: SessionId) {
        let mut touched = Vec::new();
        for (session, request, logs) in self.clients.logs_mut() {
            let follow = logs.ask.follow;
            let read = |source: &&mut Source| source.state == Reading::On(link);
            for source in logs.sources.values_mut().filter(read) {
                source.state = if follow { Reading::Away } else { Reading::Over };
                if !follow {
                    logs.trouble = Some("the agent's link was lost".to_owned());
                }
                touched.push((session, request));
            }
        }
        for (session, request) in touched {
            self.end_logs(session, request);
        }
    }

    /// An agent is back: who follows output there goes on.
    pub(super) fn resume_logs(&mut self, agent: &AgentId) {
        for (session, request) in self.all_logs() {
            self.go_on(session, request, |source| {
                source.state == Reading::Away && source.of.agent == *agent
            });
        }
    }

    /// A daemon's slot may have another process: who follows the daemon reads that one next.
    pub(super) fn follow_slot(&mut self, key: &SlotKey) {
        for (session, request) in self.all_logs() {
            self.go_on(session, request, |source| {
                source.state == Reading::Next && source.of.is_slot(key)
            });
            self.join_slot(session, request, key);
        }
    }

    /// A slot that a daemon was given while its output is followed.
    fn join_slot(&mut self, session: SessionId, request: u64, key: &SlotKey) {
        let run = self.slots.get(key).and_then(|slot| slot.run_id.clone());
        let (Some(run_id), Some(Stream::Logs(logs))) =
            (run, self.clients.stream_mut(session, request))
        else {
            return;
        };
        let wanted = logs.daemon.as_ref() == Some(&key.task);
        let known = logs.sources.values().any(|source| source.of.is_slot(key));
        let name = logs.ask.agent.clone();
        if !wanted
            || known
            || name.is_some_and(|name| name.as_str() != self.fleet.agent_name(&key.agent))
        {
            return;
        }
        let source = LogSource {
            run_id,
            agent: key.agent.clone(),
            slot: key.slot,
            goes_on: Some(key.task.clone()),
            kept: None,
        };
        self.with_logs(session, request, |core, logs| {
            core.read_source(logs, source, None, None);
        });
    }

    /// Does something to a stream that asks the fleet: it is taken out meanwhile and put back.
    fn with_logs(
        &mut self,
        session: SessionId,
        request: u64,
        what: impl FnOnce(&mut Self, &mut LogStream),
    ) {
        let streams = |core: &mut Self| {
            let client = core.clients.get_mut(session)?;
            client.streams.remove(&request)
        };
        let Some(Stream::Logs(mut logs)) = streams(self) else {
            return;
        };
        what(self, &mut logs);
        if let Some(client) = self.clients.get_mut(session) {
            client.streams.insert(request, Stream::Logs(logs));
        }
    }

    fn all_logs(&self) -> Vec<(SessionId, u64)> {
        let logs = |stream: &Stream| matches!(stream, Stream::Logs(_));
        self.clients.streams_that(logs)
    }

    /// Reads on what these sources waited for, where it is there.
    fn go_on(&mut self, session: SessionId, request: u64, which: impl Fn(&Source) -> bool) {
        let Some(Stream::Logs(logs)) = self.clients.stream_mut(session, request) else {
            return;
        };
        let mut found = Vec::new();
        logs.sources.retain(|_, source| {
            let goes = which(source);
            if goes {
                found.push((source.of.clone(), source.place, source.state));
            }
            !goes
        });
        if found.is_empty() {
            return;
        }
        self.with_logs(session, request, |core, logs| {
            for (of, place, state) in found {
                let lines = logs.ask.lines;
                match (state, core.next_process(&of)) {
                    (Reading::Next, Some(next)) => core.read_source(logs, next, None, None),
                    (Reading::Next, None) => {
                        let number = core.ticket().0;
                        logs.sources.insert(number, Source { of, place, state });
                    }
                    _ => core.read_source(logs, of, place, lines),
                }
            }
        });
    }

    /// The process that followed a daemon's last one.
    fn next_process(&self, of: &LogSource) -> Option<LogSource> {
        let key = SlotKey {
            agent: of.agent.clone(),
            task: of.goes_on.clone()?,
            slot: of.slot,
        };
        let run_id = self.slots.get(&key)?.run_id.clone()?;
        (run_id != of.run_id).then(|| LogSource {
            run_id,
            kept: None,
            ..of.clone()
        })
    }

    /// Ends the client's stream once nothing more can come.
    fn end_logs(&mut self, session: SessionId, request: u64) {
        let Some(client) = self.clients.get_mut(session) else {
            return;
        };
        let Some(Stream::Logs(logs)) = client.streams.get_mut(&request) else {
            return;
        };
        if logs.daemon.is_some() {
            return;
        }
        if logs
            .sources
            .values()
            .any(|source| source.state != Reading::Over)
        {
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
            .filter_map(|(stream, bytes)| match logs.sources.get(&stream)?.state {
                Reading::On(link) => Some((link, LogCredit { stream, bytes })),
                Reading::Away | Reading::Next | Reading::Over => None,
            })
            .collect();
        for (link, credit) in credits {
            self.now(Effect::ToAgent(link, Box::new(ToAgent::LogCredit(credit))));
        }
    }

    /// The client reads no more.
    pub(super) fn close_logs(&mut self, logs: &LogStream) {
        for (stream, source) in &logs.sources {
            if let Reading::On(link) = source.state {
                let close = ToAgent::CloseLog(CloseLog { stream: *stream });
                self.now(Effect::ToAgent(link, Box::new(close)));
            }
        }
    }
}
