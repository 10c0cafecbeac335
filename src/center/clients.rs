//! Clients that are connected, what they may do, and the streams they read. A stream sends at most a window of
//! items beyond what its client has taken; a client that stops reading costs nothing.

use std::collections::BTreeMap;

use super::core::Core;
use super::event::{Effect, Now, SessionId};
use super::failing::{Fate, Health};
use super::logs::LogStream;
use super::requests::{Reply, answer};
use super::watch::Watcher;
use crate::auth::Access;
use crate::model::{OperatorId, OperatorName, RequestId};
use crate::proto::client::{FromClient, RefusedFrame, RequestFrame, ToClient};
use crate::proto::hello::{ErrorFrame, LinkError};
use crate::proto::request::{Answer, Refusal, RefusalCode, Request};
use crate::store::{AnswerRow, OperatorRow, Write};

/// One client's link.
#[derive(Debug)]
pub struct ClientSession {
    /// Whose it is.
    pub operator: OperatorId,
    /// The protocol version spoken.
    pub protocol: u32,
    /// From where.
    pub address: String,
    /// Streams it reads, by request.
    pub streams: BTreeMap<u64, Stream>,
}

/// A stream being read.
#[derive(Debug)]
pub enum Stream {
    /// Events.
    Events {
        /// Number of the next event to look at.
        next: u64,
        /// Items that may be sent.
        credit: u64,
        /// Go on when the end is reached.
        follow: bool,
    },
    /// Output of runs.
    Logs(LogStream),
    /// The fleet.
    Watch(Watcher),
}

/// All clients.
#[derive(Debug, Default)]
pub struct Clients {
    by_id: BTreeMap<SessionId, ClientSession>,
}

impl Clients {
    /// One client.
    pub fn get(&self, id: SessionId) -> Option<&ClientSession> {
        self.by_id.get(&id)
    }

    /// One client, to be changed.
    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut ClientSession> {
        self.by_id.get_mut(&id)
    }

    /// All of them.
    pub fn ids(&self) -> Vec<(SessionId, u32)> {
        let all = self.by_id.iter();
        all.map(|(id, client)| (*id, client.protocol)).collect()
    }

    /// Clients of an operator.
    pub fn of(&self, operator: &OperatorId) -> Vec<SessionId> {
        let theirs = self
            .by_id
            .iter()
            .filter(|(_, client)| client.operator == *operator);
        theirs.map(|(id, _)| *id).collect()
    }

    /// One stream.
    pub fn stream_mut(&mut self, session: SessionId, request: u64) -> Option<&mut Stream> {
        self.by_id.get_mut(&session)?.streams.get_mut(&request)
    }

    /// All streams.
    pub fn streams_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.by_id
            .values_mut()
            .flat_map(|client| client.streams.values_mut())
    }

    /// Streams that watch the fleet.
    pub fn watching(&self) -> Vec<(SessionId, u64)> {
        self.streams_that(|stream| matches!(stream, Stream::Watch(_)))
    }

    pub(super) fn streams_that(&self, is: impl Fn(&Stream) -> bool) -> Vec<(SessionId, u64)> {
        let all = self.by_id.iter().flat_map(|(session, client)| {
            client
                .streams
                .iter()
                .map(move |(request, stream)| (*session, *request, stream))
        });
        all.filter(|(.., stream)| is(stream))
            .map(|(session, request, _)| (session, request))
            .collect()
    }

    /// All log streams.
    pub fn logs_mut(&mut self) -> impl Iterator<Item = (SessionId, u64, &mut LogStream)> {
        self.by_id.iter_mut().flat_map(|(session, client)| {
            client
                .streams
                .iter_mut()
                .filter_map(move |(request, stream)| match stream {
                    Stream::Logs(logs) => Some((*session, *request, logs)),
                    Stream::Events { .. } | Stream::Watch(_) => None,
                })
        })
    }
}

/// Who asks, and on which link: what every request is answered from.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The link.
    pub session: SessionId,
    /// The request.
    pub request: u64,
    /// Who.
    pub operator: OperatorName,
    /// From where.
    pub address: String,
    /// What they may do.
    pub access: Access,
}

/// What an operator may do.
pub(super) fn access_of(row: &OperatorRow) -> Access {
    Access {
        everywhere: row.role,
        groups: row.roles.clone(),
    }
}

impl Core {
    /// A client has said hello.
    pub(super) fn client_up(
        &mut self,
        now: Now,
        id: SessionId,
        operator: &OperatorId,
        protocol: u32,
        address: String,
    ) {
        if !self.fleet.operators.contains_key(operator) {
            let message =
                "this operator was removed from the fleet; ask for a new token".to_owned();
            self.now(Effect::Close(
                id,
                ErrorFrame {
                    code: LinkError::Identity,
                    message,
                },
            ));
            return;
        }
        let session = ClientSession {
            operator: operator.clone(),
            protocol,
            address,
            streams: BTreeMap::new(),
        };
        self.clients.by_id.insert(id, session);
        let welcome = self.welcome(now, protocol, None);
        self.now(Effect::ToClient(id, Box::new(ToClient::Welcome(welcome))));
    }

    /// A client is gone.
    pub(super) fn client_down(&mut self, id: SessionId) {
        self.changes.client_gone(id);
        self.waits.retain(|waiter| waiter.asker.session != id);
        let Some(client) = self.clients.by_id.remove(&id) else {
            return;
        };
        for stream in client.streams.into_values() {
            self.close_stream(stream);
        }
    }

    fn close_stream(&mut self, stream: Stream) {
        if let Stream::Logs(logs) = stream {
            self.close_logs(&logs);
        }
    }

    /// One message of a client.
    pub(super) fn client_frame(&mut self, now: Now, id: SessionId, frame: FromClient) {
        match frame {
            FromClient::Hello(_) => {
                let message = "a second hello".to_owned();
                self.now(Effect::Close(
                    id,
                    ErrorFrame {
                        code: LinkError::Unexpected,
                        message,
                    },
                ));
            }
            FromClient::Request(request) => self.request(now, id, *request),
            FromClient::Credit(credit) => self.credit(id, credit.id, credit.items),
            FromClient::Cancel(cancel) => {
                let stream = self
                    .clients
                    .get_mut(id)
                    .and_then(|client| client.streams.remove(&cancel.id));
                if let Some(stream) = stream {
                    self.close_stream(stream);
                }
                self.waits.retain(|waiter| {
                    (waiter.asker.session, waiter.asker.request) != (id, cancel.id)
                });
            }
            FromClient::Error(_) => self.client_down(id),
        }
    }

    pub(super) fn asker(&self, session: SessionId, request: u64) -> Option<Asker> {
        let client = self.clients.get(session)?;
        let row = self.fleet.operators.get(&client.operator)?;
        Some(Asker {
            session,
            request,
            operator: row.name.clone(),
            address: client.address.clone(),
            access: access_of(row),
        })
    }

    fn request(&mut self, now: Now, session: SessionId, frame: RequestFrame) {
        let Some(asker) = self.asker(session, frame.id) else {
            return;
        };
        if self.answer_again(&asker, &frame) {
            return;
        }
        if let (true, Health::Reloading { trouble }) = (frame.ask.is_change(), &self.health) {
            let refusal = unavailable(trouble, Fate::Unchanged);
            self.refuse(session, frame.id, refusal);
            return;
        }
        // How things are is no promise: it is said also while a batch is under way, or none can be.
        let at_once = matches!(frame.ask, Request::Status(_))
            || (!frame.ask.is_change() && self.health != Health::Well);
        let kept = frame
            .request_id
            .clone()
            .filter(|_| frame.ask.is_change() && !frame.ask.has_secret());
        let reply = answer(self, now, &asker, frame.ask);
        let change = self.drafts.change.take();
        match reply {
            Ok(Reply::Answer(answer)) if at_once => self.answer_now(&asker, Ok(Some(*answer))),
            Ok(Reply::Answer(answer)) => {
                self.keep_answer(now, session, kept, &answer);
                self.answer_later(session, frame.id, *answer);
            }
            Ok(Reply::Later(preliminary)) => {
                if let Some(id) = &kept {
                    self.changes.set_request_id(session, frame.id, id);
                }
                let preliminary = self.preliminary(change, *preliminary);
                self.keep_answer(now, session, kept, &preliminary);
            }
            Ok(Reply::Pending) => {
                if let Some(id) = &kept {
                    self.adding.set_request_id(session, frame.id, id);
                }
            }
            Err(refusal) => self.refuse(session, frame.id, refusal),
        }
    }

    /// A request repeated gets its first answer again.
    fn answer_again(&mut self, asker: &Asker, frame: &RequestFrame) -> bool {
        let Some(id) = &frame.request_id else {
            return false;
        };
        if self.adding.follow(id, asker) {
            return true;
        }
        let client = self.clients.get(asker.session);
        let same = |row: &&AnswerRow| client.is_some_and(|client| client.operator == row.operator);
        let Some(row) = self.answers.get(id).filter(same) else {
            return false;
        };
        let answer = serde_json::from_str::<Answer>(&row.answer);
        if self.changes.follow(id, asker.session, frame.id) {
            return true;
        }
        let Ok(answer) = answer else {
            return false;
        };
        self.answer_later(asker.session, frame.id, answer);
        true
    }

    /// What was answered in the end, in place of what was known when the change was made.
    pub(super) fn keep_final(&mut self, id: &RequestId, answer: &Answer) {
        if let (Some(row), Ok(text)) = (self.answers.get_mut(id), serde_json::to_string(answer)) {
            row.answer = text;
        }
    }

    pub(super) fn keep_answer(
        &mut self,
        now: Now,
        session: SessionId,
        request_id: Option<RequestId>,
        answer: &Answer,
    ) {
        let Some(request_id) = request_id else { return };
        let Some(operator) = self
            .clients
            .get(session)
            .map(|client| client.operator.clone())
        else {
            return;
        };
        let Ok(answer) = serde_json::to_string(answer) else {
            return;
        };
        let row = AnswerRow {
            request_id: request_id.clone(),
            operator,
            answer,
            at: now.at,
        };
        self.write(Write::PutAnswer(row.clone()));
        let oldest = now.at.minus(super::core::KEEP_ANSWERS);
        self.answers.retain(|_, row| row.at >= oldest);
        self.answers.insert(request_id, row);
    }

    pub(super) fn refuse(&mut self, session: SessionId, id: u64, refusal: Refusal) {
        self.later(Effect::ToClient(
            session,
            Box::new(ToClient::Refused(RefusedFrame { id, refusal })),
        ));
    }

    /// What was promised to clients and will not be: they are told what is known of it.
    pub(super) fn take_back(&mut self, dropped: Vec<Effect>, trouble: &str, fate: Fate) {
        let mut refused = Vec::new();
        for effect in dropped {
            match effect {
                Effect::ToClient(session, frame) => match *frame {
                    ToClient::Answer(answer) => refused.push((session, answer.id)),
                    frame => self.now(Effect::ToClient(session, Box::new(frame))),
                },
                Effect::Issue(session, _) => {
                    let message = trouble.to_owned();
                    self.now(Effect::Close(
                        session,
                        ErrorFrame {
                            code: LinkError::Internal,
                            message,
                        },
                    ));
                }
                _ => {}
            }
        }
        self.refuse_all(refused, &unavailable(trouble, fate));
    }

    /// Changes whose agents have not confirmed: written long ago, or in the batch that failed.
    pub(super) fn refuse_changes(&mut self, trouble: &str) {
        let refused = self.changes.clear();
        self.refuse_all(refused, &unavailable(trouble, Fate::Open));
    }

    fn refuse_all(&mut self, asked: Vec<(SessionId, u64)>, refusal: &Refusal) {
        for (session, id) in asked {
            let refusal = refusal.clone();
            let frame = RefusedFrame { id, refusal };
            let frame = Box::new(ToClient::Refused(frame));
            self.now(Effect::ToClient(session, frame));
        }
    }
}

fn unavailable(trouble: &str, fate: Fate) -> Refusal {
    let (told, hint) = match fate {
        Fate::Unchanged => (
            "this request changed nothing",
            "look at the center's store, then say it again",
        ),
        Fate::Open => (
            "whether this was changed is not known",
            "look when the store answers again, before you say it again",
        ),
    };
    Refusal {
        code: RefusalCode::Unavailable,
        message: format!("{trouble}; {told}"),
        hint: Some(hint.to_owned()),
    }
}
