//! The books of a loaded fleet: what was due, what the center's history says, and what the commands themselves wrote
//! down; the three must agree. Shared by the tests and the benchmarks.
#![allow(
    dead_code,
    reason = "shared by the tests and the benchmarks; each uses a part"
)]
#![allow(
    clippy::unwrap_used,
    reason = "what a test's helper cannot do fails the test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::world::{PATIENCE, Run, World, ask, millis, program, run_uid, within};

/// A line that a command wrote about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    pub task: String,
    pub agent: String,
    pub run_id: String,
    pub scheduled_at: i64,
    pub started_at: i64,
    pub pid: u32,
    pub uid: u32,
    pub cause: String,
    pub slot: u16,
    pub attempt: u16,
}

impl Line {
    fn parse(line: &str) -> Self {
        let words: Vec<_> = line.split(' ').collect();
        let [
            task,
            agent,
            run_id,
            scheduled,
            started,
            pid,
            uid,
            cause,
            slot,
            attempt,
        ] = words[..]
        else {
            panic!("a torn line: {line:?}");
        };
        Self {
            task: task.to_owned(),
            agent: agent.to_owned(),
            run_id: run_id.to_owned(),
            scheduled_at: millis(scheduled),
            started_at: started.parse().unwrap(),
            pid: pid.parse().unwrap(),
            uid: uid.parse().unwrap(),
            cause: cause.to_owned(),
            slot: slot.parse().unwrap(),
            attempt: attempt.parse().unwrap(),
        }
    }
}

/// Everything that the commands of a fleet wrote.
pub fn ledger(world: &World) -> Vec<Line> {
    world.written("ledger").lines().map(Line::parse).collect()
}

/// Now, in milliseconds since 1970.
pub fn now() -> i64 {
    ucron::clock::now().0
}

/// Waits for an instant.
pub fn until(at: i64) {
    let ahead = u64::try_from(at - now()).unwrap_or(0);
    let limit = Duration::from_millis(ahead) + PATIENCE;
    within(limit, "the instant comes", || now() >= at);
}

/// The program that writes a run's line, made by the C compiler that the build has.
fn note_program(world: &World) -> String {
    let source = world.path("note.c");
    std::fs::write(&source, include_str!("../workload/note.c")).unwrap();
    let path = world.work_name("note");
    let mut compiler = program("cc");
    compiler.args(["-O2", "-static", "-o", &path]).arg(&source);
    ask(&mut compiler, "").exits(0);
    path
}

/// One occurrence on one agent.
pub type Due = (String, String, i64);

/// Tasks that are due each second on every agent of the group `web`, watched for some seconds.
pub struct Load {
    tasks: Vec<String>,
    agents: Vec<String>,
    pub from: i64,
    pub to: i64,
}

impl Load {
    /// Adds the tasks; the watch begins with a full second, once all of them are planned.
    pub fn begin(world: &World, tasks: usize, agents: &[&str], seconds: i64) -> Self {
        let tasks: Vec<_> = (0..tasks)
            .map(|n| format!("web/every-second-{n}"))
            .collect();
        let note = world.note_flags();
        let when = ["--rule", "* * * * * *", "--overlap", "allow"];
        let mut flags: Vec<&str> = note.iter().map(String::as_str).chain(when).collect();
        // All at one instant, unless a long run asks for them spread over the second.
        let jitter = std::env::var("UCRON_JITTER").unwrap_or_default();
        if !jitter.is_empty() {
            flags.extend(["--jitter", &jitter]);
        }
        let program = note_program(world);
        for task in &tasks {
            // With an argument it is no shell line.
            world.add(task, &flags, &[&program, "."]);
        }
        let from = (now() / 1000 + 2) * 1000;
        Self {
            tasks,
            agents: agents.iter().map(|name| (*name).to_owned()).collect(),
            from,
            to: from + seconds * 1000,
        }
    }

    /// Waits for so many seconds after the begin.
    pub fn until_second(&self, second: i64) {
        until(self.from + second * 1000);
    }

    fn due(&self) -> BTreeSet<Due> {
        let mut due = BTreeSet::new();
        for at in (self.from..self.to).step_by(1000) {
            for task in &self.tasks {
                let of = |agent: &String| (task.clone(), agent.clone(), at);
                due.extend(self.agents.iter().map(of));
            }
        }
        due
    }

    fn is_watched(&self, at: i64) -> bool {
        (self.from..self.to).contains(&at)
    }

    /// The center's history of the watch.
    fn history(&self, world: &World) -> BTreeMap<Due, Vec<Run>> {
        let mut history: BTreeMap<Due, Vec<Run>> = BTreeMap::new();
        for task in &self.tasks {
            for run in world.runs(task) {
                let at = millis(&run.scheduled_at);
                if self.is_watched(at) && run.cause == "rule" {
                    let agent = run.agent.clone().unwrap_or_default();
                    let due = (run.task.clone(), agent, at);
                    history.entry(due).or_default().push(run);
                }
            }
        }
        history
    }

    /// What the commands wrote of the watch.
    fn written(&self, world: &World) -> BTreeMap<Due, Vec<Line>> {
        let mut written: BTreeMap<Due, Vec<Line>> = BTreeMap::new();
        for line in ledger(world) {
            if self.is_watched(line.scheduled_at) && self.tasks.contains(&line.task) {
                let due = (line.task.clone(), line.agent.clone(), line.scheduled_at);
                written.entry(due).or_default().push(line);
            }
        }
        written
    }

    /// Waits for the end of the watch, and until the center knows how all of it ended; the books. The tasks are
    /// stopped then.
    pub fn close(&self, world: &World) -> Books {
        until(self.to + 500);
        let due = self.due();
        let mut history = BTreeMap::new();
        within(2 * PATIENCE, "the history is complete", || {
            history = self.history(world);
            let has_ended = |due| {
                let runs: &Vec<Run> = match history.get(due) {
                    Some(runs) => runs,
                    None => return false,
                };
                runs.iter().all(|run| run.outcome.is_some())
            };
            // What is missing for good is told below, with names.
            due.iter().all(has_ended) || now() > self.to + 60_000
        });
        world.must(&["stop", "--group", "web"]);
        Books {
            due,
            history,
            written: self.written(world),
        }
    }
}

/// What was due, what the center says, what the commands say.
pub struct Books {
    pub due: BTreeSet<Due>,
    pub history: BTreeMap<Due, Vec<Run>>,
    pub written: BTreeMap<Due, Vec<Line>>,
}

impl Books {
    /// Every occurrence has exactly one run and one outcome; what succeeded was written once, and what did not start
    /// was not written. Returns what did not succeed.
    pub fn agree(&self) -> Vec<Run> {
        let mut faults = Vec::new();
        let mut others = Vec::new();
        for due in &self.due {
            let runs = self.history.get(due).map_or(&[][..], Vec::as_slice);
            let lines = self.written.get(due).map_or(&[][..], Vec::as_slice);
            match (runs, lines) {
                ([run], [line]) if run.is("succeeded") => faults.extend(differ(run, line)),
                ([run], []) if run.is("missed") || run.is("skipped") => others.push(run.clone()),
                ([run], _) if run.is("lost") => others.push(run.clone()),
                _ => faults.push(format!("{due:?}: history {runs:?}, written {lines:?}")),
            }
        }
        let never_due = |found: &&Due| !self.due.contains(*found);
        faults.extend(
            self.history
                .keys()
                .filter(never_due)
                .map(|due| format!("never due: {due:?}")),
        );
        faults.extend(
            self.written
                .keys()
                .filter(never_due)
                .map(|due| format!("never due: {due:?}")),
        );
        assert!(
            faults.is_empty(),
            "{} of {} do not agree:\n{}",
            faults.len(),
            self.due.len(),
            faults[..faults.len().min(20)].join("\n")
        );
        others
    }

    /// How late the runs were started, in milliseconds, sorted.
    pub fn lateness(&self) -> Vec<i64> {
        let runs = self.history.values().flatten();
        let mut late: Vec<_> = runs.filter_map(|run| run.late_ms).collect();
        late.sort_unstable();
        late
    }
}

/// What the center's row and the command's own line say differently.
pub fn differ(run: &Run, line: &Line) -> Option<String> {
    let same = run.run_id == line.run_id
        && run.pid == Some(line.pid)
        && run.slot == line.slot
        && run.attempt == line.attempt
        && run.cause == line.cause
        && millis(&run.scheduled_at) == line.scheduled_at
        && line.uid == run_uid()
        && line.started_at >= line.scheduled_at;
    (!same).then(|| format!("{run:?} is not {line:?}"))
}

/// A distribution in words.
pub fn spread(sorted: &[i64]) -> String {
    let Some(last) = sorted.len().checked_sub(1) else {
        return "nothing".to_owned();
    };
    let at = |part: usize| sorted[last * part / 1000];
    format!(
        "{} runs, min {} p50 {} p90 {} p99 {} p99.9 {} max {} ms",
        sorted.len(),
        sorted[0],
        at(500),
        at(900),
        at(990),
        at(999),
        sorted[last]
    )
}
