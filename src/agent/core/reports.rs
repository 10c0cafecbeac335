//! Reports: numbered per link, repeated on a new one until acknowledged. Starts and slot states are told as
//! they come and never repeated: the state and the slots at connect say the same.

use super::super::event::{LinkId, Now};
use super::super::record::{Closing, Record};
use super::super::runs::Phase;
use super::{After, AgentCore};
use crate::exec::wire::Command;
use crate::model::{Ending, Outcome, RunId};
use crate::proto::agent::{FromAgent, Report, RunEvent};

/// Bytes of free text in one report at most: six times that in JSON, should all of it be control characters,
/// and [`REPORT_EVENTS`] more of the rest are under half the frame limit of 1 MiB.
const REPORT_BYTES: usize = 64 * 1024;
/// Events in one report at most.
const REPORT_EVENTS: usize = 200;

/// What is still to be said on the leader's link.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// The link that it is meant for.
    to: Option<LinkId>,
    events: Vec<Saying>,
}

#[derive(Debug)]
enum Saying {
    Passing(RunEvent),
    Closed(RunId),
}

impl AgentCore {
    /// Says something that is not repeated; nothing where nobody leads.
    pub(super) fn say(&mut self, event: RunEvent) {
        if self.reports.to.is_some() {
            self.reports.events.push(Saying::Passing(event));
        }
    }

    /// Another link leads, or the leader knows nothing yet: it is told everything not acknowledged.
    pub(super) fn lead_changed(&mut self) {
        let leader = self.leader();
        let stated = leader.filter(|id| self.links.get(id).is_some_and(|link| link.stated));
        if stated == self.reports.to {
            return;
        }
        self.reports = Pending {
            to: stated,
            events: Vec::new(),
        };
        if stated.is_some() {
            self.repeat_all();
        }
    }

    fn repeat_all(&mut self) {
        let mut closed: Vec<_> = self
            .runs
            .iter()
            .filter(|held| is_to_report(&held.phase))
            .map(|held| (held.run.scheduled_at, held.run.run_id.clone()))
            .collect();
        closed.sort();
        let closed = closed.into_iter().map(|(_, id)| Saying::Closed(id));
        let slots = self.slots.values().cloned();
        let slots = slots.map(|slot| Saying::Passing(RunEvent::Slot(slot)));
        self.reports.events = closed.chain(slots).collect();
    }

    /// Closes a run with an outcome, by the agent's own decision.
    pub(super) fn end(
        &mut self,
        run_id: &RunId,
        outcome: Outcome,
        reason: impl Into<String>,
        now: Now,
    ) {
        let ending = Ending::unstarted(outcome, reason, self.clock.center(now));
        self.close(run_id, Closing::Ended(Box::new(ending)));
    }

    /// Closes a run by the agent's own decision: on disk before it is reported.
    pub(super) fn close(&mut self, run_id: &RunId, closing: Closing) {
        let Some(held) = self.runs.get(run_id) else {
            return;
        };
        self.write(Record::Closed {
            run: held.run.clone(),
            start_before: held.start_before,
            closing: closing.clone(),
        });
        self.runs.set(run_id, Phase::closed(closing, false));
        self.after.push(After::Report(run_id.clone()));
        self.tell(Command::Disarm {
            run_id: run_id.clone(),
        });
    }

    /// A closed run may be reported from here on.
    pub(super) fn may_report(&mut self, run_id: &RunId) {
        let Some(Phase::Closed(_)) = self.runs.get(run_id).map(|held| &held.phase) else {
            return;
        };
        self.runs.update(run_id, |held| {
            if let Phase::Closed(closed) = &mut held.phase {
                closed.durable = true;
            }
        });
        self.may_report_again(run_id);
    }

    /// Reports a closed run on the link that leads.
    pub(super) fn may_report_again(&mut self, run_id: &RunId) {
        let reported = self
            .runs
            .get(run_id)
            .is_some_and(|held| is_to_report(&held.phase));
        if reported && self.reports.to.is_some() {
            self.reports.events.push(Saying::Closed(run_id.clone()));
        }
    }

    /// Sends what is to be said, in as many frames as needed.
    pub(super) fn flush_reports(&mut self) {
        let Some(link) = self.reports.to else {
            return;
        };
        let mut part = Part::default();
        for saying in std::mem::take(&mut self.reports.events) {
            let Some((event, closed)) = self.event_of(saying) else {
                continue;
            };
            if !part.has_room_for(&event) {
                self.send_report(link, std::mem::take(&mut part));
            }
            part.push(event, closed);
        }
        if !part.events.is_empty() {
            self.send_report(link, part);
        }
    }

    fn event_of(&self, saying: Saying) -> Option<(RunEvent, Option<RunId>)> {
        let run_id = match saying {
            Saying::Passing(event) => return Some((event, None)),
            Saying::Closed(run_id) => run_id,
        };
        let held = self.runs.get(&run_id)?;
        let Phase::Closed(closed) = &held.phase else {
            return None;
        };
        let event = match closed.closing.clone() {
            Closing::Ended(ending) => RunEvent::Ended {
                run: held.run.clone(),
                ending: *ending,
            },
            Closing::NotStarted { reason } => RunEvent::NotStarted {
                run_id: run_id.clone(),
                reason,
            },
        };
        Some((event, Some(run_id)))
    }

    fn send_report(&mut self, to: LinkId, part: Part) {
        let Some(link) = self.links.get_mut(&to) else {
            return;
        };
        link.report += 1;
        let seq = link.report;
        link.reported.insert(seq, part.closed);
        let events = part.events;
        self.send(to, FromAgent::Report(Report { seq, events }));
    }

    /// A report is stored: what the keeper holds it may forget, once the journal no longer says that it is armed.
    pub(super) fn acknowledged(&mut self, link: LinkId, seq: u64, now: Now) {
        let closed = self
            .links
            .get_mut(&link)
            .and_then(|link| link.reported.remove(&seq));
        for run_id in closed.unwrap_or_default() {
            self.acknowledged_run(&run_id, now);
        }
    }

    fn acknowledged_run(&mut self, run_id: &RunId, now: Now) {
        let Some(held) = self.runs.get(run_id) else {
            return;
        };
        let Phase::Closed(closed) = &held.phase else {
            return;
        };
        let kept = matches!(closed.closing, Closing::Ended(_)) && held.start_before >= now.boot;
        if closed.by_keeper {
            self.drop_run(run_id);
            self.after.push(After::Keeper(Command::Forget {
                run_id: run_id.clone(),
            }));
        } else if kept {
            let before = held.start_before;
            self.kept.insert((before, run_id.clone()));
            self.runs.update(run_id, |held| {
                if let Phase::Closed(closed) = &mut held.phase {
                    closed.acknowledged = true;
                }
            });
        } else {
            self.drop_run(run_id);
        }
    }

    fn drop_run(&mut self, run_id: &RunId) {
        self.runs.remove(run_id);
        self.note(Record::Dropped {
            run_id: run_id.clone(),
        });
    }

    /// Drops the acknowledged decisions that no plan can ask for any more.
    pub(super) fn drop_kept(&mut self, now: Now) {
        while self
            .kept
            .first()
            .is_some_and(|(before, _)| *before < now.boot)
        {
            let Some((_, run_id)) = self.kept.pop_first() else {
                return;
            };
            let acknowledged = self.runs.get(&run_id).is_some_and(
                |held| matches!(&held.phase, Phase::Closed(closed) if closed.acknowledged),
            );
            if acknowledged {
                self.drop_run(&run_id);
            }
        }
    }
}

fn is_to_report(phase: &Phase) -> bool {
    matches!(phase, Phase::Closed(closed) if closed.durable && !closed.acknowledged)
}

/// One report in the making.
#[derive(Default)]
struct Part {
    events: Vec<RunEvent>,
    closed: Vec<RunId>,
    bytes: usize,
}

impl Part {
    fn has_room_for(&self, event: &RunEvent) -> bool {
        let fits = self.bytes + size(event) <= REPORT_BYTES && self.events.len() < REPORT_EVENTS;
        fits || self.events.is_empty()
    }

    fn push(&mut self, event: RunEvent, closed: Option<RunId>) {
        self.bytes += size(&event);
        self.events.push(event);
        self.closed.extend(closed);
    }
}

/// Bytes of the texts in an event that can be long; the rest is within the events' number.
fn size(event: &RunEvent) -> usize {
    match event {
        RunEvent::Ended { ending, .. } | RunEvent::AttemptEnded { ending, .. } => {
            ending.reason.len() + ending.tail.as_ref().map_or(0, String::len)
        }
        RunEvent::Slot(slot) => slot.reason.len(),
        RunEvent::Started { .. } | RunEvent::NotStarted { .. } => 0,
    }
}
