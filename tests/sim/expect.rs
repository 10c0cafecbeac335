//! What a scenario's file says of the history, held against what the store has.

use crate::scenario::Player;
use crate::store::Run;
use crate::task::millis;
use crate::world::BEGIN;

impl Player {
    /// The lines of `runs` and the history name the same runs.
    pub fn compare_runs(&self) {
        let mut runs: Vec<&Run> = self.world.store.runs.values().collect();
        runs.sort_by_key(|run| (run.row.run.scheduled_at, run.row.run.run_id.clone()));
        let mut left: Vec<(String, &Run)> = runs
            .into_iter()
            .map(|run| (self.describe(run), run))
            .collect();
        for line in &self.script.runs {
            let wanted = Wanted::parse(line);
            let before = left.len();
            left.retain(|(_, run)| !wanted.is(self, run));
            let found = before - left.len();
            if found != wanted.count {
                let rest: Vec<&String> = left.iter().map(|(text, _)| text).collect();
                panic!(
                    "`{line}` found {found} runs, wanted {}; left are {rest:#?}\n{}",
                    wanted.count,
                    self.world.last_log()
                );
            }
        }
        // What is planned for after the end is not told yet.
        let end = BEGIN + self.world.time;
        left.retain(|(_, run)| run.ending.is_some() || run.row.run.scheduled_at.0 < end);
        let rest: Vec<&String> = left.iter().map(|(text, _)| text).collect();
        assert!(
            rest.is_empty(),
            "runs that the file does not tell: {rest:#?}\n{}",
            self.world.last_log()
        );
    }

    fn describe(&self, run: &Run) -> String {
        let store = &self.world.store;
        let task = &store.task(&run.row.run.task).unwrap().name;
        let agent = self.agent_of(run);
        let at = run.row.run.scheduled_at.0 - BEGIN;
        match &run.ending {
            None => format!("{task} {agent} {at}ms open"),
            Some(ending) => format!(
                "{task} {agent} {at}ms {} late {:?} by {:?}: {}",
                ending.outcome,
                late(run),
                run.ended_at.map(|at| at.0 - BEGIN),
                ending.reason
            ),
        }
    }

    fn agent_of(&self, run: &Run) -> String {
        let agent = run.row.agent.as_ref();
        let row = agent.and_then(|id| self.world.store.agent(id));
        row.map_or_else(|| "-".to_owned(), |row| row.name.to_string())
    }
}

fn late(run: &Run) -> Option<i64> {
    let started = run.ending.as_ref()?.started_at?;
    Some(started.0 - run.row.run.scheduled_at.0)
}

/// Milliseconds that links, disks and the estimate of a clock may add to a lateness.
const HOPS: i64 = 10;

/// A line of `runs`.
struct Wanted {
    task: String,
    agent: String,
    from: i64,
    to: i64,
    outcome: String,
    count: usize,
    late: Option<i64>,
    by: Option<i64>,
    reason: String,
}

impl Wanted {
    fn parse(line: &str) -> Self {
        let (head, reason) = line.split_once(": ").unwrap_or((line, ""));
        let words: Vec<&str> = head.split_whitespace().collect();
        let [task, agent, time, outcome, rest @ ..] = &words[..] else {
            panic!("`{line}` is not TASK AGENT TIME OUTCOME …");
        };
        let (from, to) = time.split_once("..").unwrap_or((time, time));
        let mut wanted = Self {
            task: (*task).to_owned(),
            agent: (*agent).to_owned(),
            from: millis(from),
            to: millis(to),
            outcome: (*outcome).to_owned(),
            count: 1,
            late: None,
            by: None,
            reason: reason.trim().to_owned(),
        };
        let mut rest = rest.iter();
        while let Some(word) = rest.next() {
            match *word {
                "late" => wanted.late = Some(millis(rest.next().expect("a time"))),
                "by" => wanted.by = Some(millis(rest.next().expect("a time"))),
                count => {
                    let number = count.strip_prefix('x').and_then(|n| n.parse().ok());
                    wanted.count = number.unwrap_or_else(|| panic!("`{count}` in `{line}`"));
                }
            }
        }
        wanted
    }

    /// Started on time, unless the line says otherwise; what an operator asks for takes its way.
    fn is(&self, player: &Player, run: &Run) -> bool {
        let row = &run.row.run;
        let name = &player.world.store.task(&row.task).unwrap().name;
        let at = row.scheduled_at.0 - BEGIN;
        let outcome = run.ending.as_ref().map_or("open", |e| e.outcome.as_str());
        let reason = run.ending.as_ref().map_or("", |e| e.reason.as_str());
        let late = match (late(run), self.late) {
            (None, _) => true,
            // A late start follows from what happened, and every hop on the way took its milliseconds.
            (Some(late), Some(wanted)) => (late - wanted).abs() <= HOPS,
            (Some(late), None) => late == 0 || row.cause != ucron::model::Cause::Rule,
        };
        let by = self
            .by
            .is_none_or(|by| run.ended_at.is_some_and(|at| at.0 - BEGIN <= by));
        name.as_str() == self.task
            && (self.agent == "*" || player.agent_of(run) == self.agent)
            && (self.from..=self.to).contains(&at)
            && outcome == self.outcome
            && reason.contains(&self.reason)
            && late
            && by
    }
}
