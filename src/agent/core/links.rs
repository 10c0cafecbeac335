//! Links to centers: who leads, heartbeats, lease, the state told at connect, frames to their deeds.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::super::estimate::Exchange;
use super::super::event::{LinkId, Now};
use super::super::record::Record;
use super::super::runs::{Held, Phase};
use super::{AgentCore, SILENT_AFTER};
use crate::exec::wire::{BootMs, Command};
use crate::model::{Epoch, HostPolicy, RunId};
use crate::proto::agent::{
    Confirm, FromAgent, Heartbeat, HeartbeatAck, HeldAssignment, HeldRun, RunningRun, State,
    ToAgent,
};
use crate::proto::hello::{ErrorFrame, LinkError, Welcome};

/// Bytes of one member of the state in JSON at most: a run under way with its longest numbers takes some 270.
const STATE_MEMBER: usize = 400;
/// How soon an agent asks again that was given no lease.
const LEASE_AGAIN: Duration = Duration::from_millis(250);
/// Confirmations kept for orders that are repeated on their link.
const CONFIRMS: usize = 32;

/// One link to one center.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// The center's epoch, 0 while it stands by.
    pub epoch: Epoch,
    /// When it came up.
    pub up_at: BootMs,
    /// Whether the state was sent on it.
    pub stated: bool,
    /// Numbers of the reports sent on it and the closed runs in each.
    pub reported: BTreeMap<u64, Vec<RunId>>,
    /// The last report's number.
    pub report: u64,
    heard: BootMs,
    next_beat: BootMs,
    last_order: u64,
    confirms: VecDeque<Confirm>,
}

/// Whether an order is new on its link.
pub(super) enum Repetition {
    /// Never seen.
    First,
    /// Its confirmation waits for the disk.
    UnderWay,
    /// It was confirmed so.
    Confirmed(Confirm),
}

impl Link {
    /// Takes note of an order's number.
    pub fn takes(&mut self, seq: u64) -> Repetition {
        if seq > self.last_order {
            self.last_order = seq;
            return Repetition::First;
        }
        let known = self.confirms.iter().find(|confirm| confirm.seq == seq);
        known
            .cloned()
            .map_or(Repetition::UnderWay, Repetition::Confirmed)
    }

    /// Keeps a confirmation for repetitions.
    pub fn confirmed(&mut self, confirm: Confirm) {
        if self.confirms.len() == CONFIRMS {
            self.confirms.pop_front();
        }
        self.confirms.push_back(confirm);
    }

    fn silent_at(&self, heartbeat: Duration) -> BootMs {
        self.heard.plus(heartbeat * SILENT_AFTER)
    }
}

impl AgentCore {
    pub(super) fn link_up(&mut self, link: LinkId, welcome: &Welcome, sent: BootMs, now: Now) {
        let held = Link {
            epoch: welcome.epoch,
            up_at: now.boot,
            heard: now.boot,
            next_beat: now.boot,
            ..Link::default()
        };
        self.links.insert(link, held);
        self.lead_changed();
        self.learn_time(
            link,
            Exchange {
                sent,
                received_at: welcome.now,
                answered_at: welcome.now,
                back: now.boot,
            },
            now,
        );
        if welcome.epoch > Epoch(0) {
            self.center_heard(now);
            self.admitted();
        }
        self.send_state(link);
    }

    pub(super) fn link_down(&mut self, link: LinkId) {
        if self.links.remove(&link).is_none() {
            return;
        }
        self.deferred.retain(|(of, _)| *of != link);
        self.close_streams(link);
        if self.links.is_empty() {
            self.drop_texts();
        }
        self.lead_changed();
    }

    /// The link whose center leads: the highest epoch.
    pub(super) fn leader(&self) -> Option<LinkId> {
        self.links
            .iter()
            .filter(|(_, link)| link.epoch > Epoch(0))
            .max_by_key(|(_, link)| link.epoch)
            .map(|(id, _)| *id)
    }

    /// A center has said its epoch: one that rises has just taken the lead and is told everything.
    pub(super) fn link_epoch(&mut self, link: LinkId, epoch: Epoch) {
        let Some(held) = self.links.get_mut(&link) else {
            return;
        };
        if epoch == held.epoch {
            return;
        }
        let rises = epoch > held.epoch;
        held.epoch = epoch;
        if rises {
            held.stated = false;
        }
        self.lead_changed();
        if rises {
            self.send_state(link);
        }
    }

    pub(super) fn frame(&mut self, link: LinkId, frame: ToAgent, now: Now) {
        let Some(held) = self.links.get_mut(&link) else {
            return;
        };
        held.heard = now.boot;
        if held.epoch > Epoch(0) {
            self.center_heard(now);
        }
        match frame {
            ToAgent::HeartbeatAck(ack) => self.acknowledged_beat(link, ack, now),
            ToAgent::Order(order) => self.order(link, order, now),
            ToAgent::Acknowledge(ack) => self.acknowledged(link, ack.seq, now),
            ToAgent::ReadLog(read) => self.read_log(link, read),
            ToAgent::LogCredit(credit) => self.log_credit(link, credit),
            ToAgent::CloseLog(close) => self.close_log(link, close.stream),
            ToAgent::Error(error) if error.code == LinkError::Copied => {
                self.refused(&error.message);
                self.link_down(link);
            }
            ToAgent::Error(error) => {
                self.warn(format!("a center closes the link: {}", error.message));
                self.link_down(link);
            }
            // Said again by a center that has just taken the lead, or knows of others.
            ToAgent::Welcome(welcome) => self.link_epoch(link, welcome.epoch),
        }
    }

    fn acknowledged_beat(&mut self, link: LinkId, ack: HeartbeatAck, now: Now) {
        self.link_epoch(link, ack.epoch);
        let sent = BootMs(ack.sent_boot_ms);
        if sent > now.boot {
            return;
        }
        let exchange = Exchange {
            sent,
            received_at: ack.received_at,
            answered_at: ack.sent_at,
            back: now.boot,
        };
        self.learn_time(link, exchange, now);
        if ack.epoch == Epoch(0) || ack.epoch < self.epoch {
            return;
        }
        if ack.lease.length.is_zero() {
            return self.ask_again(link, now);
        }
        self.settled();
        self.raise_epoch(ack.epoch);
        let end = sent.plus(ack.lease.length);
        self.lease = self.lease.max(Some(end));
    }

    /// A leader gives no lease until it has made good what the agent holds: with the next heartbeat at its time, runs
    /// of target `one` would be missed meanwhile.
    fn ask_again(&mut self, link: LinkId, now: Now) {
        if let Some(held) = self.links.get_mut(&link) {
            held.next_beat = held.next_beat.min(now.boot.plus(LEASE_AGAIN));
        }
    }

    fn learn_time(&mut self, link: LinkId, exchange: Exchange, now: Now) {
        if self.leader().is_some_and(|leader| leader != link) || !self.clock.learn(exchange) {
            return;
        }
        let Some((offset_ms, error_ms)) = self.clock.offset() else {
            return;
        };
        self.furthest = self.furthest.max(Some(offset_ms));
        self.note(Record::Offset {
            offset_ms,
            error_ms,
        });
        self.tell(Command::Clock { offset_ms });
        let far = self.clock.is_far(now);
        if far && !self.clock_far {
            let skew = self.clock.skew(now).unwrap_or_default();
            self.warn(format!(
                "the host's clock is {skew} ms off the center's; only the center's counts until it is right"
            ));
        }
        self.clock_far = far;
    }

    /// Heartbeats that are due, and the end of links that are silent.
    pub(super) fn beat(&mut self, now: Now) {
        let heartbeat = self.heartbeat;
        let ids: Vec<LinkId> = self.links.keys().copied().collect();
        for id in ids {
            let Some(link) = self.links.get_mut(&id) else {
                continue;
            };
            if now.boot >= link.silent_at(heartbeat) {
                self.close_silent(id);
            } else if now.boot >= link.next_beat {
                link.next_beat = now.boot.plus(heartbeat);
                self.send_beat(id, now);
            }
        }
    }

    fn send_beat(&mut self, link: LinkId, now: Now) {
        let beat = Heartbeat {
            sent_at: now.wall,
            sent_boot_ms: now.boot.0,
            skew_ms: self.clock.skew(now),
            running: u32::try_from(self.runs.active_len()).unwrap_or(u32::MAX),
            trouble: self.troubles(now),
        };
        self.send(link, FromAgent::Heartbeat(beat));
    }

    fn close_silent(&mut self, link: LinkId) {
        let silence = (self.heartbeat * SILENT_AFTER).as_secs();
        let error = ErrorFrame {
            code: LinkError::Timeout,
            message: format!("the center was silent for {silence} s"),
        };
        self.close_link(link, error);
    }

    pub(super) fn next_beat(&self) -> Option<BootMs> {
        self.links
            .values()
            .map(|link| link.next_beat.min(link.silent_at(self.heartbeat)))
            .min()
    }

    /// Tells everything held, in parts, then the reports that are not acknowledged: once links are served, and
    /// never to a center that stands by, which would only have to forget it.
    pub(super) fn send_state(&mut self, link: LinkId) {
        let leads = self
            .links
            .get(&link)
            .is_some_and(|held| held.epoch > Epoch(0));
        if !self.ready || !leads {
            return;
        }
        for part in self.state() {
            self.send(link, FromAgent::State(part));
        }
        self.told_armed.extend(self.cancelling.keys().cloned());
        if let Some(policy) = self.policy.clone() {
            self.send(link, FromAgent::Policy(Box::new(policy)));
        }
        if let Some(held) = self.links.get_mut(&link) {
            held.stated = true;
            // A leader that knows the state may give the lease, which due runs may wait for.
            held.next_beat = held.up_at;
        }
        if self.has_problems() {
            self.send_problems(link);
        }
        self.lead_changed();
    }

    /// The host allows something else: leaders that know the state hear it at once, others with the state.
    pub(super) fn policy_changed(&mut self, policy: &HostPolicy) {
        if self.policy.as_ref() == Some(policy) {
            return;
        }
        self.policy = Some(policy.clone());
        let stated = self.links.iter().filter(|(_, held)| held.stated);
        let stated: Vec<LinkId> = stated.map(|(link, _)| *link).collect();
        for link in stated {
            self.send(link, FromAgent::Policy(Box::new(policy.clone())));
        }
    }

    fn state(&self) -> Vec<State> {
        let mut parts = vec![State::default()];
        let most = (self.max_frame / 2 / STATE_MEMBER).max(1);
        let mut len = 0;
        let mut room = |parts: &mut Vec<State>| {
            len += 1;
            if len > most {
                len = 1;
                parts.push(State::default());
            }
            parts.len() - 1
        };
        for (task, assigned) in &self.assigned {
            let at = room(&mut parts);
            parts[at].assigned.push(HeldAssignment {
                task: task.clone(),
                revision: assigned.revision,
            });
        }
        for held in self.runs.iter() {
            let at = room(&mut parts);
            tell(held, &mut parts[at]);
        }
        for (run_id, revision) in &self.cancelling {
            if self.runs.get(run_id).is_none() {
                let at = room(&mut parts);
                parts[at].armed.push(HeldRun {
                    run_id: run_id.clone(),
                    revision: *revision,
                });
            }
        }
        if let Some(last) = parts.last_mut() {
            last.last = true;
        }
        parts
    }
}

/// A run given to the keeper without an answer yet counts as armed: its start is not known. So does one whose closing is
/// not on the disk: another life may start it.
fn tell(held: &Held, state: &mut State) {
    let running = |attempt, pid, started_at| RunningRun {
        run: held.run.clone(),
        attempt,
        pid,
        started_at,
    };
    if held.is_closed_in_memory() {
        return state.armed.push(HeldRun {
            run_id: held.run.run_id.clone(),
            revision: held.run.revision,
        });
    }
    match &held.phase {
        Phase::Armed | Phase::Due | Phase::Queued | Phase::Starting => state.armed.push(HeldRun {
            run_id: held.run.run_id.clone(),
            revision: held.run.revision,
        }),
        Phase::Running {
            attempt,
            pid,
            started_at,
        } => state
            .running
            .push(running(*attempt, Some(*pid), *started_at)),
        Phase::Waiting {
            attempt,
            started_at,
        } => state.running.push(running(*attempt, None, *started_at)),
        Phase::Closed(closed) if !closed.acknowledged => {
            state.ended.push(held.run.run_id.clone());
        }
        Phase::Closed(_) => {}
    }
}
