//! Misses in a row, told as spans. Two kinds: a stretch of time in which nothing is run (the center was down, the
//! rate is over) is written whole, with the cursor, and counted behind what is to be planned, in bounded steps; a run
//! that nobody took lengthens the span of its place. Decides nothing about what is missed, but how it is told.

use std::collections::{BTreeMap, BTreeSet};

use super::core::Core;
use super::event::Now;
use super::events::{Audience, EventLog};
use crate::model::{AgentId, Ending, Outcome, RunId, Slot, Task, TaskId, UnixMs};
use crate::rule::Schedule;
use crate::store::{Folded, RunRow, SpanRow, Write};

/// Occurrences counted per event at most; the rest follows in the next.
const MOST_COUNTED: u64 = 1_000;

/// A task's target and slot: whose misses are one row.
type Place = (TaskId, Option<AgentId>, Slot);

/// Where a stretch begins and ends; by the end, so that what is over comes first.
type Stretch = (UnixMs, TaskId, UnixMs, String);

/// A stretch that is not counted yet.
#[derive(Debug)]
struct Uncounted {
    schedule: Schedule,
    /// One for each target and slot.
    rows: Vec<SpanRow>,
    count: u64,
    last: Option<UnixMs>,
}

/// What is told as spans.
#[derive(Debug, Default)]
pub struct Spans {
    uncounted: BTreeMap<Stretch, Uncounted>,
    /// The last span of each place that a miss may lengthen.
    last: BTreeMap<Place, SpanRow>,
    /// Those that this batch lengthens.
    lengthened: BTreeSet<Place>,
}

impl Spans {
    /// What the store has not counted yet.
    pub fn new(rows: &[SpanRow]) -> Self {
        let mut spans = Self::default();
        for row in rows {
            spans.add(row.clone());
        }
        spans
    }

    fn add(&mut self, row: SpanRow) {
        let key = (row.to, row.task.clone(), row.from, row.reason.clone());
        let fresh = || Uncounted {
            schedule: row.schedule(),
            rows: Vec::new(),
            count: 0,
            last: None,
        };
        let stretch = self.uncounted.entry(key).or_insert_with(fresh);
        stretch.rows.push(row);
    }

    /// When the first stretch that is not counted is over.
    pub fn next_over(&self) -> Option<UnixMs> {
        self.uncounted.keys().next().map(|(to, ..)| *to)
    }

    /// Stretches of a task that reach to `at` or beyond it.
    fn of_task(
        &self,
        task: &TaskId,
        at: UnixMs,
    ) -> impl Iterator<Item = (UnixMs, UnixMs, &Schedule)> {
        let newest_first = self.uncounted.iter().rev();
        newest_first
            .take_while(move |((to, ..), _)| *to >= at)
            .filter(move |((_, of, ..), _)| of == task)
            .map(|((to, _, from, _), stretch)| (*from, *to, &stretch.schedule))
    }

    /// The first occurrence of a task from `at` to `until` that is told as missed already.
    pub fn first_told(&self, task: &TaskId, at: UnixMs, until: UnixMs) -> Option<UnixMs> {
        let before = UnixMs(at.0 - 1);
        self.of_task(task, at)
            .filter_map(|(from, to, schedule)| {
                schedule.first_in(before.max(UnixMs(from.0 - 1)), to.min(until))
            })
            .min()
    }

    /// An occurrence that is told as missed has run: what is left of its stretch is two.
    fn cut(&mut self, place: &Place, at: UnixMs) {
        let is_of = |row: &SpanRow| {
            (&row.task, &row.target, row.slot) == (&place.0, &place.1, place.2) && row.tells(at)
        };
        let mut cut: Vec<SpanRow> = Vec::new();
        for stretch in self.uncounted.values_mut() {
            cut.extend(stretch.rows.extract_if(.., |row| is_of(row)));
        }
        self.uncounted.retain(|_, stretch| !stretch.rows.is_empty());
        for part in cut.iter().flat_map(|row| row.without(at)).flatten() {
            self.add(part);
        }
    }

    /// A stretch that is over by now.
    fn take_over(&mut self, now: UnixMs) -> Option<(Stretch, Uncounted)> {
        let first = self.uncounted.first_entry()?;
        (first.key().0 <= now).then(|| first.remove_entry())
    }
}

impl Core {
    /// Every occurrence of a task from `from` to `to` is missed on every target: one row each, counted later.
    pub(super) fn miss_stretch(
        &mut self,
        now: Now,
        task: &Task,
        (from, to): (UnixMs, UnixMs),
        reason: &str,
    ) {
        let Some(entry) = self.fleet.tasks.get(&task.id) else {
            return;
        };
        let schedule = entry.schedule.clone();
        for (slot, target, agent) in self.places(task) {
            let row = SpanRow {
                task: task.id.clone(),
                revision: task.revision,
                target,
                agent,
                slot,
                rule: schedule.rule().clone(),
                zone: schedule.zone().clone(),
                from,
                to,
                count: None,
                reason: reason.to_owned(),
                began_at: now.at,
                closed_at: now.at,
            };
            self.write(Write::PutSpan(Box::new(row.clone())));
            self.spans.add(row);
        }
    }

    /// Counts stretches that are over, as many occurrences as one event may take, and tells those that are done.
    pub(super) fn count_spans(&mut self, now: Now) {
        let mut left = MOST_COUNTED;
        while left > 0 {
            let Some((key, mut stretch)) = self.spans.take_over(now.at) else {
                return;
            };
            let (to, _, from, _) = key;
            let after = stretch.last.unwrap_or(UnixMs(from.0 - 1));
            let counted = stretch.schedule.count_in(after, to, left);
            stretch.count += counted.count;
            stretch.last = counted.last.or(stretch.last);
            left = left.saturating_sub(counted.count.max(1));
            if counted.done {
                self.close_stretch(now, stretch);
            } else {
                self.spans.uncounted.insert(key, stretch);
            }
        }
    }

    fn close_stretch(&mut self, now: Now, stretch: Uncounted) {
        let Uncounted {
            rows, count, last, ..
        } = stretch;
        for mut row in rows {
            row.to = last.unwrap_or(row.to);
            row.count = Some(count);
            row.closed_at = now.at;
            self.write(Write::PutSpan(Box::new(row.clone())));
            self.tell_span(now, &row);
        }
    }

    /// A run of which nothing was handed out is missed. Where the task's rule gives its instant, it lengthens the
    /// span of its place, or begins one.
    pub(super) fn miss_unsent(&mut self, now: Now, id: &RunId, reason: &str) {
        let Some(run) = self.open.get(id) else { return };
        if !self.is_told_by_rule(&run.row) {
            return self.end_missed(now, id, reason);
        }
        let Some(run) = self.open.remove(id) else {
            return;
        };
        self.write(Write::FoldRun { run_id: id.clone() });
        self.miss_unplanned(now, &run.row, reason);
    }

    /// A run that was never written is missed.
    pub(super) fn miss_unplanned(&mut self, now: Now, row: &RunRow, reason: &str) {
        self.keep_from_planning(now, row.run.scheduled_at, &row.run.run_id);
        self.lengthen(now, row, reason);
        let ending = Ending::unstarted(Outcome::Missed, reason, now.at);
        self.tell_ended(now, row, &ending);
    }

    fn is_told_by_rule(&self, row: &RunRow) -> bool {
        let entry = self.fleet.tasks.get(&row.run.task);
        row.run.cause.is_of_rule()
            && entry.is_some_and(|entry| {
                entry.task.revision == row.run.revision
                    && entry.schedule.is_due_at(row.run.scheduled_at)
            })
    }

    fn lengthen(&mut self, now: Now, row: &RunRow, reason: &str) {
        let Some(entry) = self.fleet.tasks.get(&row.run.task) else {
            return;
        };
        let at = row.run.scheduled_at;
        let key = (row.run.task.clone(), row.target.clone(), row.run.slot);
        let follows = |span: &SpanRow| {
            span.revision == row.run.revision
                && (&span.agent, span.reason.as_str()) == (&row.agent, reason)
                && entry.schedule.first_in(span.to, at) == Some(at)
        };
        let last = self.spans.last.get_mut(&key).filter(|span| follows(span));
        if let Some(span) = last {
            span.to = at;
            span.count = span.count.map(|count| count + 1);
            span.closed_at = now.at;
        } else {
            let span = SpanRow {
                task: row.run.task.clone(),
                revision: row.run.revision,
                target: row.target.clone(),
                agent: row.agent.clone(),
                slot: row.run.slot,
                rule: entry.schedule.rule().clone(),
                zone: entry.schedule.zone().clone(),
                from: at,
                to: at,
                count: Some(1),
                reason: reason.to_owned(),
                began_at: now.at,
                closed_at: now.at,
            };
            self.write_lengthened(&key);
            self.spans.last.insert(key.clone(), span);
        }
        self.spans.lengthened.insert(key);
    }

    /// Writes a span that this batch has lengthened, before another takes its place.
    fn write_lengthened(&mut self, key: &Place) {
        if self.spans.lengthened.remove(key)
            && let Some(span) = self.spans.last.get(key)
        {
            self.write(Write::PutSpan(Box::new(span.clone())));
        }
    }

    /// A run has run that may be told as missed; the store cuts the rows alike.
    pub(super) fn cut_spans(&mut self, row: &RunRow) {
        let key = (row.run.task.clone(), row.target.clone(), row.run.slot);
        let at = row.run.scheduled_at;
        let last = self.spans.last.get(&key);
        if last.is_some_and(|span| span.tells(at)) {
            self.write_lengthened(&key);
            self.spans.last.remove(&key);
        }
        self.spans.cut(&key, at);
    }

    /// Forgets what belongs to a task that is gone; what was lengthened since the last batch is written.
    pub(super) fn forget_spans(&mut self, task: &TaskId) {
        let lengthened = self.spans.lengthened.iter();
        let of_task: Vec<Place> = lengthened.filter(|(of, ..)| of == task).cloned().collect();
        for key in of_task {
            self.write_lengthened(&key);
        }
        self.spans.last.retain(|(of, ..), _| of != task);
    }

    /// Spans that were lengthened since the last batch: one write each, however many misses there were.
    pub(super) fn write_spans(&mut self) {
        for key in std::mem::take(&mut self.spans.lengthened) {
            if let Some(span) = self.spans.last.get(&key) {
                let write = Write::PutSpan(Box::new(span.clone()));
                self.write(write);
            }
        }
    }

    /// What everybody learns of a stretch of misses: one event with the count, the task's last run.
    fn tell_span(&mut self, now: Now, row: &SpanRow) {
        let (run, ending) = (row.run(row.to), row.ending(row.to));
        let count = row.count.unwrap_or(1);
        if count == 1 {
            return self.tell_ended(now, &run, &ending);
        }
        self.watch_stretch(now, row);
        let mut view = self.ended_view(&run, &ending);
        view.span = Some(super::views::span_view(Folded {
            from: row.from,
            count,
        }));
        let mut event = EventLog::blank(now.at, "runs_missed");
        event.task = Some(view.task.clone());
        event.agent.clone_from(&view.agent);
        event.slot = Some(view.slot);
        event.outcome = view.outcome;
        event.reason = format!("{count} from {} to {}: {}", row.from, row.to, row.reason);
        let group = view.group.clone();
        let recent = usize::try_from(count).unwrap_or(usize::MAX);
        self.remember(&row.task, &view, false, recent);
        self.publish(Audience::Group(group), event);
        self.touch_ended(&view);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Revision;
    use crate::rule::{Rule, Zone};

    fn row(rule: &str, from: i64, to: i64) -> SpanRow {
        SpanRow {
            task: "01hzzzzzzzzzzzzzzzzzzzzzzz".parse().unwrap(),
            revision: Revision(1),
            target: None,
            agent: None,
            slot: Slot(0),
            rule: Rule::parse(rule).unwrap(),
            zone: Zone::utc(),
            from: UnixMs(from),
            to: UnixMs(to),
            count: None,
            reason: "rate".to_owned(),
            began_at: UnixMs(0),
            closed_at: UnixMs(0),
        }
    }

    fn check(spans: &[SpanRow], at: i64, until: i64, told: Option<i64>) {
        let spans = Spans::new(spans);
        let task = row("@hourly", 0, 0).task;
        let found = spans.first_told(&task, UnixMs(at), UnixMs(until));
        assert_eq!(found, told.map(UnixMs), "{at}..{until}");
    }

    #[test]
    fn only_what_a_stretch_holds_by_its_own_rule_is_told_already() {
        let spans = [row("@every 2ms", 600, 998), row("@every 5ms", 1_500, 1_995)];
        check(&spans, 600, 600, Some(600));
        check(&spans, 601, 601, None);
        check(&spans, 500, 999, Some(600));
        check(&spans, 601, 999, Some(602));
        check(&spans, 999, 1_400, None);
        check(&spans, 999, 3_000, Some(1_500));
        check(&spans, 1_996, 3_000, None);
    }
}
