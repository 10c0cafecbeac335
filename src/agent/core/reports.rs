//! Reports: numbered per link, repeated on a new one until acknowledged. Starts and slot states are told as
//! they come and never repeated: the state and the slots at connect say the same.

use super::super::event::{LinkId, Now};
use super::super::record::{Closing, Record};
use super::super::runs::Phase;
use serde::Serialize;

use super::{After, AgentCore};
use crate::exec::wire::Command;
use crate::model::{Ending, Outcome, RunId};
use crate::proto::agent::{FromAgent, Report, RunEvent};

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
        let limit = self.max_frame / 2;
        let mut part = Part::default();
        for saying in std::mem::take(&mut self.reports.events) {
            let Some((event, closed)) = self.event_of(saying) else {
                continue;
            };
            let (event, bytes) = fit(event, limit);
            if !part.events.is_empty() && part.bytes + bytes > limit {
                self.send_report(link, std::mem::take(&mut part));
            }
            part.bytes += bytes;
            part.events.push(event);
            part.closed.extend(closed);
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

/// An event and its bytes of JSON; a tail that no frame can hold stays on the host, where it can be read.
fn fit(mut event: RunEvent, limit: usize) -> (RunEvent, usize) {
    let bytes = json_len(&event);
    if bytes <= limit {
        return (event, bytes);
    }
    if let RunEvent::Ended { ending, .. } | RunEvent::AttemptEnded { ending, .. } = &mut event {
        ending.tail = None;
    }
    let bytes = json_len(&event);
    (event, bytes)
}

/// Bytes of a value in JSON, a comma included.
fn json_len(value: &impl Serialize) -> usize {
    let mut count = Count(1);
    // Messages have nothing that JSON cannot hold, and counting does not fail.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

struct Count(usize);

impl std::io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UnixMs;

    fn ended(tail: &str) -> RunEvent {
        let id = RunId::hash(tail.as_bytes());
        RunEvent::Ended {
            run: crate::model::RunRef {
                task: id.as_str().parse().unwrap(),
                run_id: id,
                revision: crate::model::Revision(1),
                slot: crate::model::Slot(0),
                cause: crate::model::Cause::Rule,
                scheduled_at: UnixMs(0),
            },
            ending: Ending {
                tail: Some(tail.to_owned()),
                ..Ending::unstarted(Outcome::Succeeded, "exit 0", UnixMs(0))
            },
        }
    }

    #[test]
    fn an_event_is_counted_as_json_writes_it_and_fits_a_frame() {
        let check = |tail: &str, limit: usize, kept: bool| {
            let (event, bytes) = fit(ended(tail), limit);
            assert_eq!(bytes, serde_json::to_string(&event).unwrap().len() + 1);
            assert_eq!(event == ended(tail), kept, "{} bytes", tail.len());
        };
        check("hello", 1 << 17, true);
        check(&"x".repeat(1 << 16), 1 << 17, true);
        check(&"\u{1}".repeat(1 << 16), 1 << 17, false);
        check(&"\u{1}".repeat(1 << 16), 1 << 19, true);
    }
}
