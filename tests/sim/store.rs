//! The store in memory: applies [`Write`]s to rows as `src/store` does, and keeps what was committed apart from
//! what was only asked for. Breaks of a promise that show in the rows are collected in `broken`.

use std::collections::{BTreeMap, BTreeSet};

use ucron::model::{
    AgentId, Cause, Ending, GroupName, OperatorId, Outcome, RequestId, RunId, Slot, Task, TaskId,
    TaskPath, UnixMs,
};
use ucron::store::{
    AgentRow, AnswerRow, AuditRow, GroupRow, OperatorRow, RunQuery, RunRow, Snapshot, SpanRow,
    StoredRun, TokenRow, Truth, Write, outcome_json,
};

/// Milliseconds that an estimate of the center's clock may be off: half a round trip, which on a link that is not given
/// up takes three heartbeats at most.
const EARLY: i64 = 4_500;

/// How long an agent may start what is due by a clock that was set back, milliseconds.
const UNHEARD: i64 = 60_000;

/// A run's row.
#[derive(Clone, Debug)]
pub struct Run {
    /// As planned.
    pub row: RunRow,
    /// How it ended.
    pub ending: Option<Ending>,
    /// When the outcome it has now was committed.
    pub ended_at: Option<UnixMs>,
    /// Whether it was `lost` before.
    pub was_lost: bool,
    /// Agents that it was given to, in order.
    pub given: Vec<Option<AgentId>>,
}

/// What an operator made of a task, from this instant on.
#[derive(Clone, Debug)]
pub struct Version {
    /// Since when.
    pub from: UnixMs,
    /// What it is due at is due after this.
    pub due_after: UnixMs,
    /// The task; none once it is removed.
    pub task: Option<Task>,
}

/// The rows.
#[derive(Clone, Debug, Default)]
pub struct MemStore {
    groups: BTreeMap<GroupName, GroupRow>,
    tasks: BTreeMap<TaskId, Task>,
    cursors: BTreeMap<TaskId, UnixMs>,
    removed_tasks: BTreeSet<TaskId>,
    agents: BTreeMap<AgentId, AgentRow>,
    removed_agents: BTreeSet<AgentId>,
    operators: BTreeMap<OperatorId, OperatorRow>,
    tokens: BTreeMap<String, TokenRow>,
    holders: BTreeMap<TaskId, AgentId>,
    answers: BTreeMap<(RequestId, OperatorId), AnswerRow>,
    audit: Vec<AuditRow>,
    /// What the leader remembers.
    pub memories: BTreeMap<String, String>,
    /// Spans by task, target, slot and beginning; their occurrences are among the runs, too.
    pub spans: BTreeMap<(TaskId, Option<AgentId>, Slot, UnixMs), SpanRow>,
    /// Runs by id.
    pub runs: BTreeMap<RunId, Run>,
    /// Every version of every task, for who asks what was due.
    pub versions: BTreeMap<TaskId, Vec<Version>>,
    /// When the members of a group, or who of them is drained, last changed.
    pub regrouped: Vec<(UnixMs, AgentId)>,
    /// Whether the center's clock was set back, so that what is stored is no measure of time.
    pub set_back: bool,
    /// Whether it lost its last transactions, so that it may say `missed` of what ran.
    pub forgot: bool,
    /// The latest instant that the center's clock has shown.
    pub latest: UnixMs,
    /// Broken promises.
    pub broken: Vec<String>,
}

impl MemStore {
    /// Makes a batch durable at this instant.
    pub fn commit(&mut self, now: UnixMs, batch: Vec<Write>) {
        for write in batch {
            self.apply(now, write);
        }
        self.latest = self.latest.max(now);
    }

    fn apply(&mut self, now: UnixMs, write: Write) {
        match write {
            Write::PutGroup(row) => drop(self.groups.insert(row.name.clone(), row)),
            Write::RemoveGroup(name) => drop(self.groups.remove(&name)),
            Write::PutTask(task) => self.put_task(*task),
            Write::RemoveTask { task, at } => {
                self.removed_tasks.insert(task.clone());
                let version = Version {
                    from: at,
                    due_after: at,
                    task: None,
                };
                self.versions.entry(task).or_default().push(version);
            }
            Write::SetCursor { task, at } => drop(self.cursors.insert(task, at)),
            Write::PutAgent(row) => self.put_agent(now, *row),
            Write::RemoveAgent { agent, .. } => {
                self.regrouped.push((now, agent.clone()));
                self.removed_agents.insert(agent);
            }
            Write::PutOperator(row) => drop(self.operators.insert(row.id.clone(), *row)),
            Write::RemoveOperator { operator, .. } => drop(self.operators.remove(&operator)),
            Write::PutToken(row) => drop(self.tokens.insert(row.hash.clone(), row)),
            Write::RemoveToken { hash } => drop(self.tokens.remove(&hash)),
            Write::SetHolder { task, agent } => match agent {
                Some(agent) => drop(self.holders.insert(task, agent)),
                None => drop(self.holders.remove(&task)),
            },
            Write::PutAnswer(row) => {
                let key = (row.request_id.clone(), row.operator.clone());
                self.answers.entry(key).or_insert(row);
            }
            Write::Audit(row) => self.audit.push(*row),
            Write::Remember { name, text } => match text {
                Some(text) => drop(self.memories.insert(name, text)),
                None => drop(self.memories.remove(&name)),
            },
            write => self.apply_run(now, write),
        }
    }

    fn apply_run(&mut self, now: UnixMs, write: Write) {
        match write {
            Write::PlanRun(row) => self.plan(row),
            Write::CatchUpRun { run_id } => {
                if let Some(run) = self.open(&run_id) {
                    run.row.run.cause = Cause::CatchUp;
                }
            }
            Write::FoldRun { run_id } => {
                if self.open(&run_id).is_some() {
                    self.runs.remove(&run_id);
                }
            }
            Write::PutSpan(span) => self.put_span(now, *span),
            Write::ReviseRun {
                run_id,
                revision,
                delay,
                start_before,
            } => {
                if let Some(run) = self.open(&run_id) {
                    run.row.run.revision = revision;
                    run.row.run.delay = delay;
                    run.row.start_before = start_before;
                }
            }
            Write::ReassignRun { run_id, from, to } => {
                let run = self.open(&run_id).filter(|run| run.row.agent == from);
                if let Some(run) = run {
                    run.row.agent = Some(to.clone());
                    run.given.push(Some(to));
                }
            }
            Write::EndRun {
                run_id,
                only_of,
                ending,
            } => {
                let run = self.runs.get(&run_id);
                let others = only_of.is_some() && run.is_some_and(|run| run.row.agent != only_of);
                if !others {
                    self.end(now, &run_id, *ending);
                }
            }
            Write::RecordRun { row, ending } => {
                let id = row.run.run_id.clone();
                self.plan(*row);
                self.end(now, &id, *ending);
            }
            Write::TakeTruth(truth) => self.take_truth(now, *truth),
            other => panic!("not a write of runs: {other:?}"),
        }
    }

    /// What ran has run. Where the store forgot nothing, only `lost` gives way.
    fn take_truth(&mut self, now: UnixMs, truth: Truth) {
        let id = truth.row.run.run_id.clone();
        if self.forgot {
            self.plan(truth.row.clone());
            let unstarted = |ending: &Ending| ending.attempt == 0;
            if let Some(run) = self.runs.get_mut(&id) {
                let was = run.ending.take_if(|ending| unstarted(ending));
                if let Some(was) = was {
                    let before = Some(outcome_json(was.outcome, &was.reason));
                    self.audit.push(AuditRow {
                        before,
                        ..truth.audit
                    });
                }
            }
            self.cut_spans(&truth.row);
        }
        self.end(now, &id, truth.ending);
    }

    fn cut_spans(&mut self, row: &RunRow) {
        let at = row.run.scheduled_at;
        let is_of = |span: &SpanRow| {
            let place = (&span.task, &span.target, span.slot);
            place == (&row.run.task, &row.target, row.run.slot) && span.tells(at)
        };
        let found: Vec<SpanRow> = self.spans.values().filter(|s| is_of(s)).cloned().collect();
        for span in found {
            let key = |span: &SpanRow| {
                let SpanRow {
                    task,
                    target,
                    slot,
                    from,
                    ..
                } = span.clone();
                (task, target, slot, from)
            };
            self.spans.remove(&key(&span));
            for part in span.without(at).into_iter().flatten() {
                self.spans.insert(key(&part), part);
            }
        }
    }

    /// A span's occurrences stand among the runs, each once.
    fn put_span(&mut self, now: UnixMs, span: SpanRow) {
        let key = (span.task.clone(), span.target.clone(), span.slot, span.from);
        let known = self
            .spans
            .get(&key)
            .map_or(UnixMs(span.from.0 - 1), |known| known.to);
        let schedule = span.schedule();
        let mut at = known;
        while let Some(next) = schedule.first_in(at, span.to) {
            let (row, ending) = (span.run(next), span.ending(next));
            let id = row.run.run_id.clone();
            // After its clock was set back a center may plan again what has ended, and miss it.
            let known = self.runs.get(&id);
            if known.is_some_and(|run| run.ending.is_none() || !self.set_back) {
                self.broken.push(format!(
                    "run {id}, due at {next}, has a row and is in {span:?}"
                ));
            }
            self.plan(row);
            if let Some(run) = self.runs.get_mut(&id).filter(|run| run.ending.is_none()) {
                run.ending = Some(ending);
                run.ended_at = Some(now.max(next));
            }
            at = next;
        }
        let first = UnixMs(span.from.0 - 1);
        let counted = schedule.count_in(first, span.to, u64::MAX).count;
        if span.count.is_some_and(|count| count != counted) {
            self.broken.push(format!(
                "{counted} occurrences were counted wrong: {span:?}"
            ));
        }
        self.spans.insert(key, span);
    }

    fn put_task(&mut self, task: Task) {
        let versions = self.versions.entry(task.id.clone()).or_default();
        // What was due by the clock before it was set back was due by an older version.
        let is_old = self.set_back && !versions.is_empty();
        let from = task.changed_at;
        versions.push(Version {
            from,
            due_after: if is_old {
                from.max(UnixMs(self.latest.0 + UNHEARD))
            } else {
                from
            },
            task: Some(task.clone()),
        });
        self.tasks.insert(task.id.clone(), task);
    }

    fn put_agent(&mut self, now: UnixMs, row: AgentRow) {
        let old = self.agents.get(&row.id);
        if old.is_none_or(|old| old.groups != row.groups || old.draining != row.draining) {
            self.regrouped.push((now, row.id.clone()));
        }
        self.agents.insert(row.id.clone(), row);
    }

    fn open(&mut self, id: &RunId) -> Option<&mut Run> {
        self.runs.get_mut(id).filter(|run| run.ending.is_none())
    }

    fn plan(&mut self, row: RunRow) {
        let given = vec![row.agent.clone()];
        self.runs.entry(row.run.run_id.clone()).or_insert(Run {
            row,
            ending: None,
            ended_at: None,
            was_lost: false,
            given,
        });
    }

    fn end(&mut self, now: UnixMs, id: &RunId, mut ending: Ending) {
        let Some(run) = self.runs.get_mut(id) else {
            return self
                .broken
                .push(format!("run {id} ended that was never planned: {ending:?}"));
        };
        // An agent decides by its estimate of the center's clock.
        let early = now.0 + EARLY < run.row.run.scheduled_at.0 && ending.attempt == 0;
        if early && ending.outcome == Outcome::Skipped && !self.set_back {
            self.broken
                .push(format!("run {id} was skipped before its scheduled_at"));
        }
        match &run.ending {
            None => {}
            Some(old) if old.outcome == Outcome::Lost && ending.outcome != Outcome::Lost => {
                run.was_lost = true;
                let before = format!(" (told as lost before: {})", old.reason);
                ending.reason.push_str(&before);
            }
            Some(old) => {
                // A report repeated says the same; the truth after `missed` or `skipped` is a broken promise. Of two
                // sides that both know that nothing was started the first one's reason stands.
                let both_unstarted = ending.attempt == 0 && old.attempt == 0;
                let other = ending.outcome != old.outcome && ending.outcome != Outcome::Lost;
                // After its clock was set back a center may plan it again, and miss it, which changes nothing.
                let planned_again = self.set_back && ending.attempt == 0;
                if other && !both_unstarted && !planned_again {
                    self.broken.push(format!(
                        "run {id} has two outcomes: {} ({}), then {} ({})",
                        old.outcome, old.reason, ending.outcome, ending.reason
                    ));
                }
                return;
            }
        }
        run.ending = Some(ending);
        run.ended_at = Some(now);
    }

    /// What a center reads at its start.
    pub fn snapshot(&self) -> Snapshot {
        let tasks: Vec<Task> = self.live_tasks().cloned().collect();
        Snapshot {
            groups: self.groups.values().cloned().collect(),
            cursors: tasks
                .iter()
                .filter_map(|task| Some((task.id.clone(), *self.cursors.get(&task.id)?)))
                .collect(),
            agents: self.live_agents().cloned().collect(),
            operators: self.operators.values().cloned().collect(),
            tokens: self.tokens.values().cloned().collect(),
            open_runs: self
                .runs
                .values()
                .filter(|run| run.ending.is_none())
                .map(|run| run.row.clone())
                .collect(),
            open_spans: self
                .spans
                .values()
                .filter(|span| span.count.is_none())
                .cloned()
                .collect(),
            holders: self
                .holders
                .iter()
                .filter(|(task, _)| !self.removed_tasks.contains(*task))
                .map(|(task, agent)| (task.clone(), agent.clone()))
                .collect(),
            last_runs: tasks
                .iter()
                .filter_map(|task| self.last_run(&task.id))
                .collect(),
            answers: self.answers.values().cloned().collect(),
            memories: self.memories.clone(),
            tasks,
        }
    }

    /// Tasks that are not removed.
    pub fn live_tasks(&self) -> impl Iterator<Item = &Task> {
        self.tasks
            .values()
            .filter(|task| !self.removed_tasks.contains(&task.id))
    }

    /// Agents that are not removed.
    pub fn live_agents(&self) -> impl Iterator<Item = &AgentRow> {
        self.agents
            .values()
            .filter(|agent| !self.removed_agents.contains(&agent.id))
    }

    /// A task, also a removed one.
    pub fn task(&self, id: &TaskId) -> Option<&Task> {
        self.tasks.get(id)
    }

    /// An agent, also a removed one.
    pub fn agent(&self, id: &AgentId) -> Option<&AgentRow> {
        self.agents.get(id)
    }

    fn last_run(&self, task: &TaskId) -> Option<StoredRun> {
        let query = RunQuery {
            task: Some(task.clone()),
            limit: 1,
            ..RunQuery::default()
        };
        self.query(&query).pop()
    }

    fn stored(&self, run: &Run) -> StoredRun {
        let task = &self.tasks[&run.row.run.task];
        let agent = run.row.agent.as_ref().and_then(|id| self.agents.get(id));
        StoredRun {
            row: run.row.clone(),
            path: TaskPath {
                group: task.group.clone(),
                name: task.name.clone(),
            },
            agent_name: agent.map(|row| row.name.clone()),
            ending: run.ending.clone(),
            span: None,
        }
    }

    /// The runs asked for, newest first.
    pub fn query(&self, query: &RunQuery) -> Vec<StoredRun> {
        let wanted = |run: &&Run| {
            let outcome = run.ending.as_ref().map(|ending| ending.outcome);
            let group = &self.tasks[&run.row.run.task].group;
            query.task.as_ref().is_none_or(|t| *t == run.row.run.task)
                && query.groups.as_ref().is_none_or(|of| of.contains(group))
                && (query.agent.is_none() || query.agent == run.row.agent)
                && (query.outcome.is_none() || query.outcome == outcome)
                && query.since.is_none_or(|at| run.row.run.scheduled_at >= at)
                && query.until.is_none_or(|at| run.row.run.scheduled_at < at)
                && query
                    .id_suffix
                    .as_ref()
                    .is_none_or(|end| run.row.run.run_id.as_str().ends_with(end))
                && (query.open || outcome.is_some())
        };
        let mut found: Vec<&Run> = self.runs.values().filter(wanted).collect();
        found.sort_by_key(|run| {
            std::cmp::Reverse((run.row.run.scheduled_at, run.row.run.run_id.clone()))
        });
        if query.limit > 0 {
            found.truncate(query.limit as usize);
        }
        found.into_iter().map(|run| self.stored(run)).collect()
    }

    /// The audit log, newest first.
    pub fn audit(&self, groups: Option<&BTreeSet<GroupName>>, limit: u32) -> Vec<AuditRow> {
        let seen = |row: &&AuditRow| {
            groups.is_none_or(|of| row.group.as_ref().is_some_and(|group| of.contains(group)))
        };
        let limit = if limit == 0 {
            usize::MAX
        } else {
            limit as usize
        };
        self.audit
            .iter()
            .rev()
            .filter(seen)
            .take(limit)
            .cloned()
            .collect()
    }
}
