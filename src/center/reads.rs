//! Requests that are answered from history: what was asked is kept while the store reads.

use std::collections::{BTreeMap, BTreeSet};

use super::clients::Asker;
use super::core::Core;
use super::event::{Effect, Now, Ticket};
use super::logs::{KeptTail, LogSource};
use super::runs::{OpenRun, SlotKey, Stage};
use super::select::{no_run, no_task, refusal};
use crate::model::{Cause, RunId};
use crate::proto::agent::{Kill, SlotReport};
use crate::proto::client::{AnswerFrame, RefusedFrame, ToClient};
use crate::proto::request::{Answer, LogRead, Refusal, RefusalCode, RunList, RunPage};
use crate::proto::view::{AuditView, RunView};
use crate::store::{AuditRow, RunQuery, StoredRun};

/// A request that waits for the store.
#[derive(Debug)]
pub enum Reading {
    /// Runs: those in memory that match are merged in.
    List(Asker, RunList),
    /// One run by the end of its id.
    Show(Asker, String),
    /// One run's output by the end of its id.
    LogsOfRun(Asker, LogRead),
    /// The output of a task's last runs.
    LogsOfTask(Asker, LogRead),
    /// A run that somebody waited for.
    Waited(Asker),
    /// The audit log.
    Audit(Asker),
}

impl Core {
    /// Asks the store for runs.
    pub(super) fn read_runs(&mut self, query: RunQuery, reading: Reading) {
        let ticket = self.ticket();
        self.reading.insert(ticket, reading);
        self.now(Effect::ReadRuns(ticket, query));
    }

    /// The store has answered.
    pub(super) fn runs_read(
        &mut self,
        now: Now,
        ticket: Ticket,
        result: Result<Vec<StoredRun>, String>,
    ) {
        let Some(reading) = self.reading.remove(&ticket) else {
            return;
        };
        if let Reading::Waited(asker) = &reading {
            return self.waited_read(asker, ticket, result);
        }
        let asker = match &reading {
            Reading::List(asker, _)
            | Reading::Show(asker, _)
            | Reading::LogsOfRun(asker, _)
            | Reading::LogsOfTask(asker, _)
            | Reading::Waited(asker)
            | Reading::Audit(asker) => asker.clone(),
        };
        let done =
            result
                .map_err(|trouble| unreadable(&trouble))
                .and_then(|stored| match reading {
                    Reading::List(asker, ask) => Ok(Some(self.list(now, &asker, &ask, &stored))),
                    Reading::Show(asker, text) => self.show(&asker, &text, &stored).map(Some),
                    Reading::LogsOfRun(asker, ask) => self.logs_of_run(&asker, &ask, &stored),
                    Reading::LogsOfTask(asker, ask) => self.logs_of_task(&asker, &ask, &stored),
                    Reading::Waited(_) | Reading::Audit(_) => Ok(None),
                });
        self.answer_now(&asker, done);
    }

    pub(super) fn answer_now(&mut self, asker: &Asker, done: Result<Option<Answer>, Refusal>) {
        let id = asker.request;
        let frame = match done {
            Ok(None) => return,
            Ok(Some(answer)) => ToClient::Answer(Box::new(AnswerFrame { id, answer })),
            Err(refusal) => ToClient::Refused(RefusedFrame { id, refusal }),
        };
        self.now(Effect::ToClient(asker.session, Box::new(frame)));
    }

    /// Runs of memory and history, newest first, those of memory in place of the store's.
    fn list(&self, now: Now, asker: &Asker, ask: &RunList, stored: &[StoredRun]) -> Answer {
        let mut runs: BTreeMap<RunId, RunView> = self
            .live_runs()
            .filter(|view| self.matches(asker, ask, view))
            .map(|view| (view.run_id.clone(), view))
            .collect();
        let seen = stored.iter().map(|run| self.stored_view(run));
        // What is planned and not started is in `next`, not here.
        for view in seen.filter(|view| view.outcome.is_some() || view.started_at.is_some()) {
            runs.insert(view.run_id.clone(), view);
        }
        let mut runs: Vec<RunView> = runs
            .into_values()
            .filter(|view| {
                view.scheduled_at <= now.at || view.started_at.is_some() || view.outcome.is_some()
            })
            .collect();
        runs.sort_by(|a, b| (b.scheduled_at, &b.run_id).cmp(&(a.scheduled_at, &a.run_id)));
        let limit = if ask.limit == 0 {
            usize::MAX
        } else {
            ask.limit as usize
        };
        let more = runs.len() > limit;
        runs.truncate(limit);
        Answer::Runs(RunPage { runs, more })
    }

    /// Runs under way, daemons' processes included.
    pub(super) fn live_runs(&self) -> impl Iterator<Item = RunView> {
        let running = |run: &&OpenRun| matches!(run.stage, Stage::Running { .. });
        let runs = self
            .open
            .iter()
            .filter(running)
            .map(|run| self.open_view(run));
        let slots = self.slots.iter().filter(|(_, slot)| slot.pid.is_some());
        runs.chain(slots.filter_map(|(key, slot)| self.slot_run_view(key, slot)))
    }

    fn matches(&self, asker: &Asker, ask: &RunList, view: &RunView) -> bool {
        let task = ask
            .task
            .as_ref()
            .and_then(|text| self.find_task(asker, text).ok())
            .map(|entry| entry.task.path());
        asker.access.sees(&view.group)
            && ask.outcome.is_none()
            && (ask.task.is_none() || task.as_ref() == Some(&view.task))
            && ask.group.as_ref().is_none_or(|group| *group == view.group)
            && ask
                .agent
                .as_ref()
                .is_none_or(|agent| view.agent.as_ref() == Some(agent))
            && ask.since.is_none_or(|since| view.scheduled_at >= since)
            && ask.until.is_none_or(|until| view.scheduled_at < until)
    }

    fn show(&self, asker: &Asker, text: &str, stored: &[StoredRun]) -> Result<Answer, Refusal> {
        let [run] = one_seen(asker, text, stored)?;
        let mut view = self.stored_view(run);
        view.tail = run.ending.as_ref().and_then(|ending| ending.tail.clone());
        Ok(Answer::Run(Box::new(view)))
    }

    /// A run under way whose id ends with this text: open, or a daemon's process.
    pub(super) fn live_run(&self, asker: &Asker, text: &str) -> Result<Option<RunView>, Refusal> {
        let seen = |view: &RunView| asker.access.sees(&view.group);
        let ends = |view: &RunView| view.run_id.as_str().ends_with(text);
        let found: Vec<RunView> = self
            .live_runs()
            .filter(|view| ends(view) && seen(view))
            .collect();
        match found.as_slice() {
            [] => Ok(None),
            [view] => Ok(Some(view.clone())),
            many => Err(ambiguous(text, many.iter().map(|view| &view.run_id))),
        }
    }

    fn logs_of_run(
        &mut self,
        asker: &Asker,
        ask: &LogRead,
        stored: &[StoredRun],
    ) -> Result<Option<Answer>, Refusal> {
        let [run] = one_seen(asker, &ask.of, stored)?;
        let source = source_of(run).ok_or_else(|| {
            refusal(
                RefusalCode::Failed,
                "this run has no output: nothing was started".to_owned(),
                None,
            )
        })?;
        self.open_logs(asker.session, asker.request, ask, vec![source]);
        Ok(None)
    }

    /// The last run of every target and slot; those in memory are newer than any in the store.
    fn logs_of_task(
        &mut self,
        asker: &Asker,
        ask: &LogRead,
        stored: &[StoredRun],
    ) -> Result<Option<Answer>, Refusal> {
        let task = self.find_task(asker, &ask.of)?.task.clone();
        let mut latest = BTreeMap::new();
        let live = self
            .open
            .of_task(&task.id)
            .into_iter()
            .filter_map(|id| self.open.get(&id));
        for run in live.filter(|run| run.stage.has_started()) {
            if let Some(agent) = &run.row.agent {
                let source = LogSource {
                    run_id: run.id().clone(),
                    agent: agent.clone(),
                    slot: run.row.run.slot,
                    kept: None,
                };
                latest.insert((agent.clone(), run.row.run.slot), source);
            }
        }
        for (key, slot) in self.slots.iter().filter(|(key, _)| key.task == task.id) {
            if let Some(source) = slot_source(key, slot) {
                latest.insert((key.agent.clone(), key.slot), source);
            }
        }
        for source in stored.iter().filter_map(source_of) {
            latest
                .entry((source.agent.clone(), source.slot))
                .or_insert(source);
        }
        let agents: BTreeSet<_> = self
            .fleet
            .agents
            .values()
            .filter(|row| ask.agent.as_ref().is_none_or(|name| *name == row.name))
            .map(|row| row.id.clone())
            .collect();
        let sources: Vec<LogSource> = latest
            .into_values()
            .filter(|source| agents.contains(&source.agent))
            .collect();
        if sources.is_empty() {
            return Err(refusal(
                RefusalCode::NotFound,
                format!("task {} has no output: it has not run yet", task.path()),
                Some("`ucron next TASK` says when it will; `ucron run TASK` runs it now"),
            ));
        }
        self.open_logs(asker.session, asker.request, ask, sources);
        Ok(None)
    }

    /// The audit log was read.
    pub(super) fn audit_read(&mut self, ticket: Ticket, result: Result<Vec<AuditRow>, String>) {
        let Some(Reading::Audit(asker)) = self.reading.remove(&ticket) else {
            return;
        };
        let done = result
            .map_err(|trouble| unreadable(&trouble))
            .map(|rows| Some(Answer::Audit(rows.into_iter().map(audit_view).collect())));
        self.answer_now(&asker, done);
    }

    /// A signal, or the stop sequence, for one run under way.
    pub(super) fn kill_run(&mut self, view: &RunView, signal: Option<i32>, reason: String) {
        let agent = view
            .agent
            .as_ref()
            .and_then(|name| self.fleet.agent_named(name))
            .map(|row| row.id.clone());
        if let Some(agent) = agent.filter(|agent| self.sessions.is_linked(agent)) {
            self.drafts.of(&agent).kill.push(Kill {
                run_id: view.run_id.clone(),
                signal,
                reason,
            });
        }
    }
}

fn slot_source(key: &SlotKey, slot: &SlotReport) -> Option<LogSource> {
    Some(LogSource {
        run_id: slot.run_id.clone()?,
        agent: key.agent.clone(),
        slot: key.slot,
        kept: None,
    })
}

fn source_of(stored: &StoredRun) -> Option<LogSource> {
    let started = stored
        .ending
        .as_ref()
        .is_none_or(|ending| ending.attempt > 0);
    let agent = stored
        .row
        .agent
        .clone()
        .filter(|_| started || stored.row.run.cause == Cause::Daemon)?;
    Some(LogSource {
        run_id: stored.row.run.run_id.clone(),
        agent,
        slot: stored.row.run.slot,
        kept: stored.ending.as_ref().and_then(KeptTail::of),
    })
}

/// The one run that is meant, of those read.
fn one_seen<'a>(
    asker: &Asker,
    text: &str,
    stored: &'a [StoredRun],
) -> Result<[&'a StoredRun; 1], Refusal> {
    let seen: Vec<&StoredRun> = stored
        .iter()
        .filter(|run| asker.access.sees(&run.path.group))
        .collect();
    match seen.as_slice() {
        [] => Err(no_run(text)),
        [run] => Ok([run]),
        many => Err(ambiguous(text, many.iter().map(|run| &run.row.run.run_id))),
    }
}

fn ambiguous<'a>(text: &str, ids: impl Iterator<Item = &'a RunId>) -> Refusal {
    let ids: Vec<&str> = ids.map(RunId::as_str).take(10).collect();
    refusal(
        RefusalCode::Usage,
        format!("`{text}` is ambiguous: {}", ids.join(", ")),
        Some("give more of the id"),
    )
}

pub(super) fn unreadable(trouble: &str) -> Refusal {
    refusal(
        RefusalCode::Unavailable,
        format!("the center's store cannot be read: {trouble}"),
        None,
    )
}

fn audit_view(row: AuditRow) -> AuditView {
    let AuditRow {
        at,
        operator,
        address,
        deed,
        subject,
        before,
        after,
        ..
    } = row;
    AuditView {
        at,
        operator,
        address,
        deed,
        subject,
        before,
        after,
    }
}

/// Whether a text can be a RUN: the end of an id, at least four characters.
pub(super) fn is_run_text(text: &str) -> bool {
    let base32 = |b: u8| b.is_ascii_digit() || (b.is_ascii_lowercase() && !b"ilou".contains(&b));
    (4..=26).contains(&text.len()) && text.bytes().all(base32)
}

/// A task is meant that is not there.
pub(super) fn neither(text: &str) -> Refusal {
    no_task(text)
}
