//! What becomes of a run's outcome when an agent tells how it ended although the center holds no open run of it: given up
//! as `lost`; told as `missed` or `skipped` by a store that had forgotten that it was handed out (a replica that lost its
//! last transactions was promoted); or forgotten whole. What ran has run: that wins, once. The same for every database:
//! an engine finds the rows and writes what is decided here.

use super::rows::{AuditRow, RunRow};
use super::span::SpanRow;
use crate::model::{Cause, Ending, Outcome, UnixMs};

/// Occurrences of a calendar that are counted while a batch is written; more are left to the center.
const MOST_COUNTED: u64 = 10_000;

/// How a run ended, by the word of who started it.
#[derive(Clone, PartialEq, Debug)]
pub struct Truth {
    /// The run, as it was planned.
    pub row: RunRow,
    /// Its ending.
    pub ending: Ending,
    /// The entry of the audit log, where another outcome gives way; what that was is filled in.
    pub audit: AuditRow,
}

/// What a run's row holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Told {
    pub(super) outcome: Option<Outcome>,
    pub(super) reason: String,
}

/// What is to be written for a truth, besides the run with its ending.
#[derive(PartialEq, Debug)]
pub(super) struct Correction {
    /// Whether the row's outcome gives way.
    pub(super) reopens: bool,
    /// Spans that tell the run, with what is left of each before and after it.
    pub(super) cuts: Vec<(SpanRow, [Option<SpanRow>; 2])>,
    /// What the audit log says.
    pub(super) audit: Option<AuditRow>,
}

impl Truth {
    /// The run as its row has it, and whether it was started late because its task catches up.
    pub(super) fn planned(&self) -> (RunRow, bool) {
        let mut row = self.row.clone();
        let caught_up = row.run.cause == Cause::CatchUp;
        if caught_up {
            row.run.cause = Cause::Rule;
        }
        (row, caught_up)
    }

    /// What the run's row and the spans of its place make of it.
    pub(super) fn correct(&self, row: Option<&Told>, spans: Vec<SpanRow>) -> Correction {
        let at = self.row.run.scheduled_at;
        let by_rule = self.row.run.cause.is_of_rule();
        let tell = spans.into_iter().filter(|span| by_rule && span.tells(at));
        let cuts: Vec<_> = tell
            .map(|span| {
                let rest = span.without(at);
                (span, rest)
            })
            .collect();
        let unstarted = |told: &&Told| {
            let outcome = told.outcome;
            outcome.is_some_and(|outcome| matches!(outcome, Outcome::Missed | Outcome::Skipped))
        };
        let lost = |told: &&Told| told.outcome == Some(Outcome::Lost);
        let reopens = row.as_ref().is_some_and(unstarted);
        let before = row.filter(|told| unstarted(told) || lost(told));
        let before = before.map(|told| (told.outcome, told.reason.as_str()));
        let spanned = cuts.first().map(|(span, _)| span.reason.as_str());
        let before = before.or(spanned.map(|reason| (Some(Outcome::Missed), reason)));
        let audit = before.map(|(outcome, reason)| AuditRow {
            before: outcome.map(|outcome| outcome_json(outcome, reason)),
            ..self.audit.clone()
        });
        Correction {
            reopens,
            cuts,
            audit,
        }
    }
}

/// An outcome and its reason, as the audit log has them.
pub fn outcome_json(outcome: Outcome, reason: &str) -> String {
    serde_json::json!({ "outcome": outcome.as_str(), "reason": reason }).to_string()
}

impl SpanRow {
    /// Whether the occurrence at this instant is among those that it tells.
    pub fn tells(&self, at: UnixMs) -> bool {
        (self.from..=self.to).contains(&at) && self.schedule().is_due_at(at)
    }

    /// What is left before and after an occurrence that it shall not tell. The first keeps its beginning.
    pub fn without(&self, at: UnixMs) -> [Option<Self>; 2] {
        let (first, last) = (UnixMs(self.from.0 - 1), self.to);
        [(first, UnixMs(at.0 - 1)), (at, last)].map(|(after, until)| self.part(after, until))
    }

    /// The part of it after an instant, up to another; none where nothing is in it.
    fn part(&self, after: UnixMs, until: UnixMs) -> Option<Self> {
        let schedule = self.schedule();
        let from = schedule.first_in(after, until)?;
        let mut part = Self {
            from: from.max(self.from),
            to: until,
            ..self.clone()
        };
        if after < self.from {
            part.from = self.from;
        }
        if self.count.is_some() {
            let counted = schedule.count_in(after, until, MOST_COUNTED);
            part.count = counted.done.then_some(counted.count);
            part.to = counted.last.filter(|_| counted.done).unwrap_or(until);
        }
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Revision, Slot};
    use crate::rule::{Rule, Zone};

    fn span(rule: &str, from: i64, to: i64, count: Option<u64>) -> SpanRow {
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
            count,
            reason: "away".to_owned(),
            began_at: UnixMs(0),
            closed_at: UnixMs(0),
        }
    }

    type Part = Option<(i64, i64, Option<u64>)>;

    fn check(span: &SpanRow, at: i64, parts: [Part; 2]) {
        let told = |part: Option<SpanRow>| part.map(|part| (part.from.0, part.to.0, part.count));
        assert_eq!(span.without(UnixMs(at)).map(told), parts, "{at}");
    }

    #[test]
    fn a_span_is_cut_where_an_occurrence_ran_after_all() {
        let seconds = span("@every 1s", 1_000, 9_000, Some(9));
        let (left, right) = ((1_000, 3_000, Some(3)), (5_000, 9_000, Some(5)));
        check(&seconds, 4_000, [Some(left), Some(right)]);
        check(&seconds, 1_000, [None, Some((2_000, 9_000, Some(8)))]);
        check(&seconds, 9_000, [Some((1_000, 8_000, Some(8))), None]);
        check(
            &span("@every 1s", 1_000, 1_000, Some(1)),
            1_000,
            [None, None],
        );
        let open = span("*/2 * * * * *", 500, 9_500, None);
        let (left, right) = ((500, 3_999, None), (6_000, 9_500, None));
        check(&open, 4_000, [Some(left), Some(right)]);
        check(&open, 2_000, [None, Some((4_000, 9_500, None))]);
    }

    #[test]
    fn only_what_is_due_in_it_is_told_by_a_span() {
        let seconds = span("@every 1s", 1_000, 9_000, Some(9));
        for (at, tells) in [(999, false), (1_000, true), (1_500, false), (9_000, true)] {
            assert_eq!(seconds.tells(UnixMs(at)), tells, "{at}");
        }
    }
}
