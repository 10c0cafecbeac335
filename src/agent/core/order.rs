//! Orders: journalled as one, confirmed once durable, idempotent when repeated. Of the stop sequences none
//! waits for the disk.

use super::super::event::{Effect, LinkId, Now};
use super::super::record::{Planned, Record};
use super::super::runs::{Held, Phase};
use super::links::Repetition;
use super::{After, AgentCore, Assigned};
use crate::exec::wire::{Assignment, Command};
use crate::model::{Epoch, Outcome, Revision, RunId, TaskId};
use crate::proto::agent::{
    Cancel, Confirm, FromAgent, HeldAssignment, Kill, Order, PlannedRun, RefusedRun, RestartSlots,
    RunEvent, Withdraw,
};
use crate::proto::hello::{ErrorFrame, LinkError};

impl AgentCore {
    /// Takes an order in, or defers it until links are served.
    pub(super) fn order(&mut self, link: LinkId, order: Order, now: Now) {
        if !self.ready {
            self.deferred.push((link, order));
            return;
        }
        if order.epoch < self.epoch {
            return self.refuse_epoch(link, order.epoch);
        }
        match self.links.get_mut(&link).map(|held| held.takes(order.seq)) {
            Some(Repetition::First) => {}
            Some(Repetition::Confirmed(confirm)) => {
                return self.send(link, FromAgent::Confirm(confirm));
            }
            Some(Repetition::UnderWay) | None => return,
        }
        self.raise_epoch(order.epoch);
        self.link_epoch(link, order.epoch);
        self.carry_order(link, order, now);
    }

    fn carry_order(&mut self, link: LinkId, order: Order, now: Now) {
        let epoch = order.epoch;
        let mut confirm = Confirm {
            seq: order.seq,
            ..Confirm::default()
        };
        let mut armed = Vec::new();
        for text in order.texts {
            self.texts.insert(text, false);
        }
        for cancel in order.cancel {
            self.cancel(cancel, &mut confirm);
        }
        for planned in order.plan {
            self.plan(planned, epoch, &mut confirm, &mut armed, now);
        }
        for withdraw in order.withdraw {
            self.withdraw(withdraw);
        }
        for assign in order.assign {
            self.assign(&assign, epoch);
        }
        for restart in order.restart {
            self.restart(restart);
        }
        for kill in order.kill {
            self.kill(kill, now);
        }
        self.after.push(After::Confirm(link, confirm, armed));
    }

    fn refuse_epoch(&mut self, link: LinkId, epoch: Epoch) {
        let message = format!(
            "an order of epoch {epoch} is refused: an order of epoch {} came before it; \
             this center no longer leads",
            self.epoch
        );
        self.close_link(
            link,
            ErrorFrame {
                code: LinkError::Epoch,
                message,
            },
        );
    }

    pub(super) fn raise_epoch(&mut self, epoch: Epoch) {
        if epoch > self.epoch {
            self.epoch = epoch;
            self.write(Record::Epoch { epoch });
        }
    }

    fn cancel(&mut self, cancel: Cancel, confirm: &mut Confirm) {
        let Some(held) = self.runs.get(&cancel.run_id) else {
            // An earlier cancel may not be on the disk yet, and its plan is: this order is not confirmed before.
            if self.cancelling.contains_key(&cancel.run_id) {
                self.after.push(After::Cancelled(cancel.run_id.clone()));
                self.write(Record::Cancelled {
                    run_id: cancel.run_id,
                });
            }
            return;
        };
        let unsure = self.is_unsure(held);
        if held.is_open() && !unsure {
            return self.disarm(&cancel.run_id);
        }
        if unsure {
            confirm.started.push(cancel.run_id.clone());
            // A cancel without a reason comes with the plan that takes its place: the old text keeps the run.
            if !cancel.reason.is_empty() {
                let reason = cancel.reason.clone();
                self.unsure_cancels.insert(cancel.run_id.clone(), reason);
            }
            if cancel.stop {
                self.stop(Command::Stop {
                    run_id: cancel.run_id,
                    reason: cancel.reason,
                });
            }
            return;
        }
        if !held.has_started() {
            // That it will not start may not be on the disk yet, where the next life finds it planned: this order is
            // not confirmed before.
            if held.is_closed_in_memory() {
                self.write(Record::Cancelled {
                    run_id: cancel.run_id,
                });
            }
            return;
        }
        let active = held.is_active();
        confirm.started.push(cancel.run_id.clone());
        if active && cancel.stop {
            self.stop(Command::Stop {
                run_id: cancel.run_id,
                reason: cancel.reason,
            });
        }
    }

    pub(super) fn disarm(&mut self, run_id: &RunId) {
        if let Some(held) = self.runs.remove(run_id) {
            self.cancelling.insert(run_id.clone(), held.run.revision);
        }
        self.write(Record::Cancelled {
            run_id: run_id.clone(),
        });
        self.after.push(After::Cancelled(run_id.clone()));
        self.tell(Command::Disarm {
            run_id: run_id.clone(),
        });
    }

    fn plan(
        &mut self,
        planned: PlannedRun,
        epoch: Epoch,
        confirm: &mut Confirm,
        armed: &mut Vec<RunId>,
        now: Now,
    ) {
        let run_id = planned.run.run_id.clone();
        if let Some(reason) = self.why_not(&planned, now) {
            confirm.refused.push(RefusedRun { run_id, reason });
        } else if self.is_to_arm(&planned) {
            self.arm(planned, epoch, now);
            armed.push(run_id);
        } else if self.runs.get(&run_id).is_some_and(|held| !held.on_disk) {
            // Its record is under way: this order shares its fate.
            armed.push(run_id);
        } else {
            self.report_again(&run_id);
        }
    }

    /// Why a run cannot be armed. A run that is known is never refused for being late.
    fn why_not(&self, planned: &PlannedRun, now: Now) -> Option<String> {
        let run = &planned.run;
        match self.runs.get(&run.run_id) {
            Some(held) if held.is_unstarted_one() => {
                return Some("it was given back and that is not acknowledged yet".to_owned());
            }
            Some(held) if !held.is_open() => return None,
            _ => {}
        }
        let Some(text) = self.texts.get(&run.task, run.revision) else {
            return Some(format!(
                "the text of revision {} was not sent",
                run.revision
            ));
        };
        if text.work.daemon {
            return Some("a daemon is assigned, not planned".to_owned());
        }
        (self.clock.boot(planned.start_before, now) < now.boot).then(|| "too late".to_owned())
    }

    fn is_to_arm(&self, planned: &PlannedRun) -> bool {
        self.runs
            .get(&planned.run.run_id)
            .is_none_or(|held| held.is_open() && held.run != planned.run && !self.is_unsure(held))
    }

    /// Of what a former life may have given to the keeper only the keeper's set will tell.
    fn is_unsure(&self, held: &Held) -> bool {
        matches!(held.phase, Phase::Starting | Phase::Queued) && !self.keeper.is_ready()
    }

    fn arm(&mut self, planned: PlannedRun, epoch: Epoch, now: Now) {
        let run = planned.run;
        self.write_text(&run.task, run.revision);
        let planned = Planned {
            start_before: self.clock.boot(planned.start_before, now),
            run: run.clone(),
            catch_up: planned.catch_up,
            epoch,
        };
        self.write(Record::Planned(planned.clone()));
        let mut held = Held::armed(planned);
        if !self.keeper.is_ready() {
            self.doubt(&mut held, now);
        }
        self.runs.insert(held);
        self.tell(Command::Arm { run });
    }

    fn write_text(&mut self, task: &TaskId, revision: Revision) {
        if let Some(text) = self.texts.mark_written(task, revision) {
            self.write(Record::Text {
                text: Box::new(text),
            });
        }
    }

    /// A closed run was planned again: its center has forgotten how it ended.
    fn report_again(&mut self, run_id: &RunId) {
        self.runs.update(run_id, |held| {
            if let Phase::Closed(closed) = &mut held.phase {
                closed.acknowledged = false;
            }
        });
        self.may_report_again(run_id);
    }

    fn assign(&mut self, assign: &HeldAssignment, epoch: Epoch) {
        let wanted = Assigned {
            revision: assign.revision,
            epoch,
        };
        let Some(text) = self.texts.get(&assign.task, assign.revision).cloned() else {
            return self.warn(format!(
                "the center assigned task {} in revision {}, whose text it did not send",
                assign.task, assign.revision
            ));
        };
        let held = self.assigned.insert(assign.task.clone(), wanted);
        if held.is_some_and(|held| held.revision == assign.revision) {
            return;
        }
        self.write_text(&assign.task, assign.revision);
        self.write(Record::Assigned {
            task: assign.task.clone(),
            revision: assign.revision,
            epoch,
        });
        let assignment = Box::new(Assignment { text, epoch });
        self.after.push(After::Keeper(Command::Assign(assignment)));
    }

    fn withdraw(&mut self, withdraw: Withdraw) {
        if self.assigned.remove(&withdraw.task).is_some() {
            self.write(Record::Withdrawn {
                task: withdraw.task.clone(),
            });
        }
        self.after.push(After::Keeper(Command::Withdraw {
            task: withdraw.task,
            reason: withdraw.reason,
            finish: withdraw.finish,
        }));
    }

    fn restart(&mut self, restart: RestartSlots) {
        self.after.push(After::Keeper(Command::Restart {
            task: restart.task,
            one_by_one: restart.one_by_one,
            only_down: restart.only_down,
            reason: restart.reason,
        }));
    }

    fn kill(&mut self, kill: Kill, now: Now) {
        let Kill {
            run_id,
            signal,
            reason,
        } = kill;
        match self.runs.get(&run_id) {
            Some(held) if held.is_active() => self.stop(match signal {
                Some(signal) => Command::Kill {
                    run_id,
                    signal,
                    reason,
                },
                None => Command::Stop { run_id, reason },
            }),
            Some(held) if held.is_open() => self.end(&run_id, Outcome::Skipped, reason, now),
            _ => {}
        }
    }

    /// Sends the confirmation of an order and keeps it for a repetition of that order.
    pub(super) fn confirm(&mut self, link: LinkId, confirm: Confirm) {
        if let Some(held) = self.links.get_mut(&link) {
            held.confirmed(confirm.clone());
            return self.send(link, FromAgent::Confirm(confirm));
        }
        // A state told since on another link named them as armed.
        for RefusedRun { run_id, reason } in confirm.refused {
            if self.runs.get(&run_id).is_none() {
                self.say(RunEvent::NotStarted { run_id, reason });
            }
        }
    }

    /// Takes back the arming of runs whose record could not be written.
    pub(super) fn refuse(
        &mut self,
        confirm: &mut Confirm,
        armed: Vec<RunId>,
        reason: &str,
        refused: &mut Vec<RunId>,
    ) {
        for run_id in armed {
            if self.runs.get(&run_id).is_some_and(Held::is_open) {
                self.runs.remove(&run_id);
                self.tell(Command::Disarm {
                    run_id: run_id.clone(),
                });
                confirm.refused.push(RefusedRun {
                    run_id: run_id.clone(),
                    reason: format!("the agent's journal cannot be written: {reason}"),
                });
                refused.push(run_id);
            }
        }
    }

    /// Closes the link from this side.
    pub(super) fn close_link(&mut self, link: LinkId, error: ErrorFrame) {
        if self.links.contains_key(&link) {
            self.out.push(Effect::CloseLink { link, error });
            self.link_down(link);
        }
    }
}
