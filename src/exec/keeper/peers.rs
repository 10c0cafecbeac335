//! Peers at the socket: one of them is the agent; `ucron-keeper stop` is another that says one word.

use std::io::ErrorKind;

use rustix::event::epoll;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::{AGAIN_EVERY, Course, FOLLOW_EVERY, Keeper, LISTENER, Source};
use crate::exec::account::name_of;
use crate::exec::clock::boot_now;
use crate::exec::connection::{Connection, Input};
use crate::exec::dir::StateDir;
use crate::exec::failpoint::{self, Point};
use crate::exec::starter::Job;
use crate::exec::stream::{Progress, Reading, Stream};
use crate::exec::supervise::Event;
use crate::exec::wire::{self, BootMs, Command, KEEPER_PROTOCOL};
use crate::model::{AgentName, RunId};

/// Connected peers at most; the oldest that is not the agent goes first.
const MAX_PEERS: usize = 16;

/// Readers of output at most: each holds a descriptor, and starts need some too.
const MAX_STREAMS: usize = 256;

impl Keeper {
    pub(super) fn accept(&mut self) {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                Err(e) => return self.rest_from_accepting(&e),
            };
            let peer = match Connection::new(stream) {
                Ok(peer) => peer,
                Err(e) => {
                    warn!(error = %e, "a peer could not be taken on");
                    continue;
                }
            };
            if ![0, self.dir.uid, self.dir.owner].contains(&peer.uid) {
                warn!(uid = peer.uid, "a peer of another account was turned away");
                continue;
            }
            self.take_on(peer);
        }
    }

    /// A peer that cannot be let in would wake the loop for ever.
    fn rest_from_accepting(&mut self, e: &std::io::Error) {
        warn!(error = %e, "the keeper cannot take on a peer; it tries again");
        let _ = epoll::delete(&self.poll, &self.listener);
        self.next_accept = Some(boot_now().plus(AGAIN_EVERY));
    }

    pub(super) fn accept_again(&mut self) {
        self.next_accept = None;
        let data = epoll::EventData::new_u64(LISTENER);
        if epoll::add(&self.poll, &self.listener, data, epoll::EventFlags::IN).is_err() {
            self.next_accept = Some(boot_now().plus(AGAIN_EVERY));
        }
    }

    fn take_on(&mut self, peer: Connection) {
        if self.peers.len() >= MAX_PEERS {
            let oldest = self
                .peers
                .keys()
                .copied()
                .find(|token| Some(*token) != self.agent);
            if let Some(oldest) = oldest {
                self.drop_peer(oldest);
            }
        }
        let token = self.next_token;
        self.next_token += 1;
        let data = epoll::EventData::new_u64(token);
        if let Err(e) = epoll::add(&self.poll, peer.fd(), data, epoll::EventFlags::IN) {
            warn!(error = %e, "a peer could not be taken on");
            return;
        }
        self.sources.insert(token, Source::Peer);
        self.peers.insert(token, peer);
    }

    fn drop_peer(&mut self, token: u64) {
        self.sources.remove(&token);
        if let Some(peer) = self.peers.remove(&token) {
            // By hand: a child that is half started may hold a copy, and the loop would be woken for ever.
            let _ = epoll::delete(&self.poll, peer.fd());
            peer.close();
        }
        if self.agent == Some(token) {
            self.agent = None;
            self.streams.clear();
            self.next_follow = None;
        }
    }

    pub(super) fn serve_peer(&mut self, token: u64, flags: epoll::EventFlags) {
        if flags.contains(epoll::EventFlags::OUT) {
            self.flush(token);
        }
        let Some(peer) = self.peers.get_mut(&token) else {
            return;
        };
        for input in peer.read() {
            match input {
                Input::Command(command) => self.obey(token, *command),
                Input::Bad(why) => {
                    warn!(%why, "a peer said something that is no command; the link is closed");
                    self.drop_peer(token);
                }
                Input::Closed => self.drop_peer(token),
            }
            if !self.peers.contains_key(&token) {
                return;
            }
        }
    }

    fn obey(&mut self, token: u64, command: Command) {
        match command {
            Command::Hello { protocol, agent } => self.greet(token, protocol, agent),
            Command::Shutdown { leave: true } => {
                info!("the keeper ends and leaves its processes to the next one");
                self.course = Course::Leave;
            }
            Command::Shutdown { leave: false } => {
                info!("the keeper ends every process, then itself");
                self.tell(Event::Shutdown);
            }
            command if self.agent == Some(token) => self.obey_agent(command),
            _ => self.drop_peer(token),
        }
    }

    fn greet(&mut self, token: u64, protocol: u32, agent: AgentName) {
        if protocol != KEEPER_PROTOCOL {
            warn!(
                agent = protocol,
                keeper = KEEPER_PROTOCOL,
                "the agent speaks another version of the keeper's protocol; restart the older of the two"
            );
        }
        if let Some(old) = self.agent.filter(|old| *old != token) {
            self.drop_peer(old);
        }
        // What waits for the former agent is in the set that this one gets.
        self.held.clear();
        self.agent = Some(token);
        let uid = self
            .peers
            .get(&token)
            .map_or(self.dir.owner, |peer| peer.uid);
        self.remember_agent(LastAgent { name: agent, uid });
        self.say(&wire::Event::Hello {
            protocol: KEEPER_PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: rustix::process::getpid().as_raw_pid(),
            boot_id: self.boot_id.clone(),
            user: name_of(self.dir.uid),
            kept: self.dir.kept_aside(),
        });
        self.told_policy = 0;
        self.tell_policy();
        self.tell(Event::Connected);
    }

    /// Tells the agent what the host allows, when it has not heard that yet.
    pub(super) fn tell_policy(&mut self) {
        if self.agent.is_none() {
            return;
        }
        let changes = self.workshop.policy.changes() + 1;
        if changes == self.told_policy {
            return;
        }
        self.told_policy = changes;
        let agents = self.workshop.agent_uids.lock();
        let agents = agents.map(|uids| uids.clone()).unwrap_or_default();
        let policy = self.workshop.policy.view(&agents);
        self.say(&wire::Event::Policy(Box::new(policy)));
    }

    /// For `UCRON_AGENT` and the policy, also of the next keeper.
    fn remember_agent(&self, agent: LastAgent) {
        if let Ok(mut uids) = self.workshop.agent_uids.lock()
            && !uids.contains(&agent.uid)
        {
            uids.push(agent.uid);
        }
        if last_agent(&self.dir).as_ref() != Some(&agent) {
            let path = self.dir.agent();
            let text = serde_json::to_vec(&agent).map_err(std::io::Error::from);
            if let Err(e) = text.and_then(|text| std::fs::write(&path, text)) {
                warn!(path = %path.display(), error = %e, "the keeper cannot note its agent");
            }
        }
        if let Ok(mut name) = self.workshop.agent.lock() {
            *name = Some(agent.name);
        }
    }

    fn obey_agent(&mut self, command: Command) {
        match command {
            Command::Assign(assignment) if let Err(fault) = assignment.text.work.check() => {
                warn!(task = %assignment.text.task, %fault, "a daemon's text is refused");
            }
            Command::Clock { offset_ms } => self.clock.offset_ms = Some(offset_ms),
            Command::Arm { run } => {
                let key = (run.run_id, 1);
                if self.workshop.armed.want(&key) {
                    self.hand_out(Job::Arm(key));
                }
            }
            Command::Disarm { run_id } => self.hand_out(Job::Disarm((run_id, 1))),
            Command::ReadLog {
                stream,
                run_id,
                attempt,
                from,
                follow,
            } => self.read_log(Reading {
                stream,
                run_id,
                attempt,
                from,
                follow,
            }),
            Command::LogCredit { stream, bytes } => {
                if let Some(reader) = self.streams.get_mut(&stream) {
                    reader.credit(bytes);
                    self.pump(stream);
                }
            }
            Command::CloseLog { stream } => drop(self.streams.remove(&stream)),
            command => {
                match &command {
                    Command::Start(_) => failpoint::reach(Point::KeeperStartHeard),
                    Command::Forget { .. } => failpoint::reach(Point::KeeperForgetHeard),
                    _ => {}
                }
                if let Some(event) = event(command) {
                    self.tell(event);
                }
            }
        }
    }

    /// Tells the agent, if there is one.
    pub(super) fn say(&mut self, event: &wire::Event) {
        let Some(token) = self.agent else {
            return;
        };
        let Some(peer) = self.peers.get_mut(&token) else {
            return;
        };
        if peer.say(event) {
            self.flush(token);
        } else {
            warn!("the agent does not read; the link is closed");
            self.drop_peer(token);
        }
    }

    fn flush(&mut self, token: u64) {
        let Some(peer) = self.peers.get_mut(&token) else {
            return;
        };
        let flags = if peer.flush() {
            epoll::EventFlags::IN | epoll::EventFlags::OUT
        } else {
            epoll::EventFlags::IN
        };
        let data = epoll::EventData::new_u64(token);
        let _ = epoll::modify(&self.poll, peer.fd(), data, flags);
    }

    fn progress(&self, run_id: &RunId) -> Progress {
        Progress {
            active: self.supervisor.is_active(run_id),
            attempt: self.supervisor.attempt(run_id),
            now: self.clock.now().center,
            skew_ms: self.clock.skew_ms(),
        }
    }

    fn read_log(&mut self, reading: Reading) {
        let stream = reading.stream;
        let progress = self.progress(&reading.run_id);
        if self.streams.len() >= MAX_STREAMS {
            return self.say(&wire::Event::LogEnd {
                stream,
                error: Some(format!(
                    "{MAX_STREAMS} readers of output are served already"
                )),
            });
        }
        match Stream::open(&self.workshop.output, reading, progress) {
            Ok(reader) => {
                if reader.follow {
                    self.next_follow
                        .get_or_insert(boot_now().plus(FOLLOW_EVERY));
                }
                self.streams.insert(stream, reader);
                self.pump(stream);
            }
            Err(why) => self.say(&wire::Event::LogEnd {
                stream,
                error: Some(why),
            }),
        }
    }

    fn pump(&mut self, stream: u64) {
        let Some(run_id) = self
            .streams
            .get(&stream)
            .map(|reader| reader.run_id.clone())
        else {
            return;
        };
        let progress = self.progress(&run_id);
        let Some(reader) = self.streams.get_mut(&stream) else {
            return;
        };
        let (events, over) = reader.pump(&self.workshop.output, progress);
        if over {
            self.streams.remove(&stream);
        }
        for event in events {
            self.say(&event);
        }
    }

    /// The readers of a run whose command has ended.
    pub(super) fn pump_run(&mut self, run_id: &RunId) {
        let streams: Vec<u64> = self
            .streams
            .iter()
            .filter(|(_, reader)| reader.run_id == *run_id)
            .map(|(stream, _)| *stream)
            .collect();
        for stream in streams {
            self.pump(stream);
        }
    }

    pub(super) fn pump_followers(&mut self, now: BootMs) {
        let streams: Vec<u64> = self
            .streams
            .iter()
            .filter(|(_, reader)| reader.follow)
            .map(|(stream, _)| *stream)
            .collect();
        self.next_follow = (!streams.is_empty()).then(|| now.plus(FOLLOW_EVERY));
        for stream in streams {
            self.pump(stream);
        }
    }
}

/// The agent that was connected last.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LastAgent {
    pub name: AgentName,
    pub uid: u32,
}

/// The agent that a former keeper had.
pub(super) fn last_agent(dir: &StateDir) -> Option<LastAgent> {
    serde_json::from_slice(&std::fs::read(dir.agent()).ok()?).ok()
}

/// Commands that the supervisor decides on.
fn event(command: Command) -> Option<Event> {
    Some(match command {
        Command::Start(start) => Event::Start(start),
        Command::Stop { run_id, reason } => Event::Stop { run_id, reason },
        Command::Kill {
            run_id,
            signal,
            reason,
        } => Event::Kill {
            run_id,
            signal,
            reason,
        },
        Command::Assign(assignment) => Event::Assign(assignment),
        Command::Withdraw {
            task,
            reason,
            finish,
        } => Event::Withdraw {
            task,
            reason,
            finish,
        },
        Command::Restart {
            task,
            one_by_one,
            only_down,
            reason,
        } => Event::Restart {
            task,
            one_by_one,
            only_down,
            reason,
        },
        Command::Forget { run_id } => Event::Forget { run_id },
        _ => return None,
    })
}
