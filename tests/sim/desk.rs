//! Operators: what they ask of the center, and what they are told.

use std::collections::{BTreeMap, VecDeque};

use ucron::center::{Event, SessionId};
use ucron::model::OperatorId;
use ucron::proto::client::{Credit, FromClient, RequestFrame, ToClient};
use ucron::proto::hello::ErrorFrame;
use ucron::proto::request::{Answer, Changed, Item, Request};

use crate::truth::Stop;
use crate::world::{BEGIN, Happening, World};

/// One operator's client.
#[derive(Debug)]
pub struct Client {
    operator: OperatorId,
    session: Option<SessionId>,
    /// What it was told, in order, with the time.
    pub told: Vec<(i64, ToClient)>,
    /// Whether it takes the items of streams.
    pub reads: bool,
    /// Items that it has not taken.
    untaken: VecDeque<u64>,
}

/// A request that was made.
#[derive(Clone, Debug)]
pub struct Asked {
    /// By whom.
    pub operator: String,
    /// Its number on the client's link.
    pub id: u64,
    /// What.
    pub ask: Request,
    /// Names it for a repetition.
    pub request_id: String,
    /// Whose stop it is.
    pub stops: Option<Stop>,
    /// Which of what was asked about freezes it is; none where it is asked again.
    pub freezes: Option<u64>,
    /// The answer in words.
    pub answer: Option<String>,
}

/// All operators.
#[derive(Debug, Default)]
pub struct Desk {
    /// By name.
    pub clients: BTreeMap<String, Client>,
    /// Everything asked, in order.
    pub asked: Vec<Asked>,
    sessions: u64,
}

impl Desk {
    /// An operator.
    pub fn add(&mut self, name: &str, operator: OperatorId) {
        let client = Client {
            operator,
            session: None,
            told: Vec::new(),
            reads: true,
            untaken: VecDeque::new(),
        };
        self.clients.insert(name.to_owned(), client);
    }
}

/// Sessions of clients are numbered from here, those of agents from 1.
const FIRST_SESSION: u64 = 1 << 40;

impl World {
    /// Every operator connects.
    pub fn connect_clients(&mut self) {
        let names: Vec<String> = self.desk.clients.keys().cloned().collect();
        for name in names {
            self.desk.sessions += 1;
            let session = SessionId(FIRST_SESSION + self.desk.sessions);
            let client = self.desk.clients.get_mut(&name).unwrap();
            client.session = Some(session);
            let operator = client.operator.clone();
            let address = "10.1.0.1:1".to_owned();
            self.center_event(Event::ClientUp {
                session,
                operator,
                protocol: 1,
                address,
            });
        }
    }

    /// The center is gone: what is not answered will not be.
    pub fn disconnect_clients(&mut self) {
        for client in self.desk.clients.values_mut() {
            client.session = None;
            client.untaken.clear();
        }
        for asked in self.desk.asked.iter_mut().filter(|a| a.answer.is_none()) {
            asked.answer = Some("no answer: the center is gone".to_owned());
        }
    }

    /// An operator asks; the number of the request.
    pub fn ask(&mut self, operator: &str, ask: Request) -> usize {
        let request_id = format!("request-{}", self.desk.asked.len());
        let stops = self.before_asking(&ask);
        self.ask_as(operator, ask, &request_id, stops)
    }

    /// An operator asks the same as before once more: one that was answered is answered from memory and changes
    /// nothing, so that a stop repeated after a start stops nothing (seed 2353).
    pub fn ask_again(&mut self, number: usize) -> usize {
        let asked = self.desk.asked[number].clone();
        if matches!(asked.ask, Request::TaskStart(_)) {
            self.before_asking(&asked.ask);
        }
        self.ask_as(&asked.operator, asked.ask, &asked.request_id, asked.stops)
    }

    fn ask_as(
        &mut self,
        operator: &str,
        ask: Request,
        request_id: &str,
        stops: Option<Stop>,
    ) -> usize {
        let number = self.desk.asked.len();
        let id = number as u64 + 1;
        let freezes = self.asks_of_freezes(&ask);
        let is_first = request_id == format!("request-{number}");
        self.note(&format!("{operator} asks {ask:?}"));
        self.desk.asked.push(Asked {
            operator: operator.to_owned(),
            id,
            ask: ask.clone(),
            request_id: request_id.to_owned(),
            stops,
            freezes: freezes.filter(|_| is_first),
            answer: None,
        });
        let Some(session) = self.desk.clients[operator].session else {
            self.desk.asked[number].answer = Some("no center".to_owned());
            return number;
        };
        let frame = RequestFrame {
            id,
            request_id: Some(request_id.parse().unwrap()),
            ask,
        };
        let frame = FromClient::Request(Box::new(frame));
        self.center_event(Event::ClientFrame(session, frame));
        number
    }

    /// A task that is started or changed may run again from the moment at which that is asked.
    fn before_asking(&mut self, ask: &Request) -> Option<Stop> {
        let (text, stop, finish) = match ask {
            Request::TaskStop(ask) => (&ask.task, true, ask.finish),
            Request::TaskStart(ask) => (&ask.task, false, false),
            _ => return None,
        };
        let task = self
            .store
            .live_tasks()
            .find(|task| task.path().to_string() == *text || task.name.as_str() == text)?;
        let id = task.id.clone();
        if !stop {
            self.truth.stopped.remove(&id);
            // A stop that is still under way may be answered after this start.
            for asked in &mut self.desk.asked {
                if asked.stops.as_ref().is_some_and(|stop| stop.task == id) {
                    asked.stops = None;
                }
            }
        }
        let at = self.center_now().at;
        stop.then_some(Stop {
            task: id,
            at,
            finish,
        })
    }

    /// A message for a client.
    pub fn tell_client(&mut self, session: SessionId, frame: ToClient) {
        let time = self.time;
        let Some((name, client)) = self
            .desk
            .clients
            .iter_mut()
            .find(|(_, client)| client.session == Some(session))
        else {
            return;
        };
        let name = name.clone();
        client.told.push((time, frame.clone()));
        match frame {
            ToClient::Answer(answer) => {
                self.answered(&name, answer.id, words(&answer.answer), &answer.answer);
            }
            ToClient::Refused(refused) => {
                let code = format!("{:?}", refused.refusal.code).to_lowercase();
                let text = format!("refused {code}: {}", refused.refusal.message);
                self.answered(&name, refused.id, text, &Answer::Done);
            }
            ToClient::Item(item) => {
                client.untaken.push_back(item.id);
                if client.reads {
                    self.after(0, Happening::TakeItems(name));
                }
            }
            _ => {}
        }
    }

    /// A client takes what it was sent.
    pub fn take_items(&mut self, name: &str) {
        loop {
            let client = self.desk.clients.get_mut(name).unwrap();
            let (Some(id), Some(session)) = (client.untaken.pop_front(), client.session) else {
                return;
            };
            let frame = FromClient::Credit(Credit { id, items: 1 });
            self.center_event(Event::ClientFrame(session, frame));
        }
    }

    fn answered(&mut self, name: &str, id: u64, text: String, answer: &Answer) {
        self.note(&format!("{name} is told: {text}"));
        let found = self.desk.asked.iter_mut().find(|asked| asked.id == id);
        let Some(asked) = found else { return };
        if asked.answer.is_some() {
            let again = format!("request {id} was answered twice: {text}");
            self.truth.broken.push(again);
            return;
        }
        asked.answer = Some(text);
        let (stops, freezes) = (asked.stops.clone(), asked.freezes);
        if let (Some(number), Answer::Frozen(frozen)) = (freezes, answer) {
            self.frozen(number, frozen);
        }
        if let (Some(mut stop), Answer::Changed(hit)) = (stops, answer)
            && hit.unconfirmed.is_empty()
        {
            stop.at = self.center_now().at;
            self.truth.stopped.insert(stop.task.clone(), stop);
        }
    }

    /// A client is thrown out.
    pub fn close_client(&mut self, session: SessionId, error: &ErrorFrame) {
        self.note(&format!("a client is closed: {}", error.message));
        for client in self.desk.clients.values_mut() {
            if client.session == Some(session) {
                client.session = None;
            }
        }
    }

    /// The items that an operator got, in words.
    pub fn items(&self, name: &str) -> Vec<&Item> {
        let told = self.desk.clients[name].told.iter();
        told.filter_map(|(_, frame)| match frame {
            ToClient::Item(item) => Some(&item.item),
            _ => None,
        })
        .collect()
    }
}

/// An answer as an operator would tell it.
fn words(answer: &Answer) -> String {
    match answer {
        Answer::Saved(saved) => {
            let did = match (saved.created, saved.changed) {
                (true, _) => "created",
                (_, true) => "saved",
                _ => "unchanged",
            };
            format!("{did} r{}{}", saved.task.revision, hit_words(&saved.hit))
        }
        Answer::Changed(hit) => {
            let did = if hit.changed { "changed" } else { "unchanged" };
            format!("{did}{}", hit_words(hit))
        }
        Answer::Frozen(frozen) => format!(
            "frozen {} of {}{}",
            frozen.occurrences,
            frozen.count,
            hit_words(&frozen.hit)
        ),
        Answer::Started(started) => format!("started {}", started.runs.len()),
        Answer::Runs(page) => {
            let runs = page.runs.iter().map(|run| {
                let outcome = run.outcome.map_or("open".to_owned(), |o| o.to_string());
                format!("{} {outcome}", run.task)
            });
            format!("runs {}", runs.collect::<Vec<_>>().join(", "))
        }
        Answer::Status(status) => {
            let frozen = status.freezes.iter();
            let frozen = frozen.map(|freeze| format!("frozen {}: {}", freeze.group, freeze.reason));
            let all: Vec<String> = frozen.chain(status.problems.iter().cloned()).collect();
            format!("status {}", all.join("; "))
        }
        Answer::Done => "done".to_owned(),
        other => format!("{other:?}"),
    }
}

fn hit_words(hit: &Changed) -> String {
    let mut text = format!(" cancelled {} stopped {}", hit.cancelled, hit.stopped);
    for left in &hit.unconfirmed {
        let until = left.may_fire_until.map_or_else(String::new, |at| {
            format!(" until {}s", (at.0 - BEGIN) / 1_000)
        });
        text = format!("{text} unconfirmed {}{until}", left.agent);
    }
    text
}
