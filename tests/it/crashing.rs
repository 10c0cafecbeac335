//! The recovery table of ARCHITECTURE.md, row by row: a program is ended exactly there, as `kill -9` does, and what
//! the next one makes of it is held against the promises: no attempt starts twice, no outcome is lost, the exit
//! status is the true one wherever anybody can know it and `lost` with a reason elsewhere, nothing hangs.
//!
//! The places are failpoints of debug builds, listed by the programs themselves (`ucron-agent failpoints`).
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use std::collections::BTreeSet;

use rustix::process::Signal;

use crate::ledger::{Line, ledger, now};
use crate::world::{
    AGENT, KEEPER, Run, World, ask, eventually, found, needs_root, program, signal,
};

/// Who is ended.
const ITSELF: &str = "self";
const PARENT: &str = "parent";

/// What is done so that the place is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum When {
    /// A rule plans a run a moment ahead.
    Planned,
    /// A planned run is cancelled.
    Cancelled,
    /// Runs are due while the last one lives.
    Overlapping,
    /// A run starts; its command ends only when the next program is there.
    Running,
    /// A run starts and ends by itself.
    Ending,
    /// It fails, and has one more attempt.
    Retried,
    /// Its program is not there.
    Missing,
    /// It is killed by an operator.
    Killed,
    /// The keeper is killed, and the next one is ended too.
    KeeperKilled,
}

/// How the run ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// With the command's own exit code, 3.
    Exact,
    /// The same where the kernel tells the exit status of a process that is not the keeper's child.
    ExactByKernel,
    /// Not started.
    Skipped,
    /// By KILL, before the command was reached.
    Killed,
    /// Not found: 127.
    NotFound,
    /// Before the command; with this reason.
    Setup(&'static str),
    /// By the stop sequence.
    Stopped,
    /// Nobody knows; with this reason.
    Lost(&'static str),
}

struct Row {
    point: &'static str,
    who: &'static str,
    when: When,
    end: End,
}

const fn row(point: &'static str, who: &'static str, when: When, end: End) -> Row {
    Row {
        point,
        who,
        when,
        end,
    }
}

const NO_STUB: &str = "sub-reaper";

const IN_AGENT: &[Row] = &[
    row("agent-plan-received", ITSELF, When::Planned, End::Exact),
    row("agent-plan-written", ITSELF, When::Planned, End::Exact),
    row("agent-plan-synced", ITSELF, When::Planned, End::Exact),
    row(
        "agent-cancel-received",
        ITSELF,
        When::Cancelled,
        End::Skipped,
    ),
    row("agent-cancel-synced", ITSELF, When::Cancelled, End::Skipped),
    row(
        "agent-decision-made",
        ITSELF,
        When::Overlapping,
        End::Skipped,
    ),
    row(
        "agent-decision-synced",
        ITSELF,
        When::Overlapping,
        End::Skipped,
    ),
    row("agent-run-due", ITSELF, When::Ending, End::Exact),
    row("agent-start-told", ITSELF, When::Ending, End::Exact),
    row("agent-end-heard", ITSELF, When::Ending, End::Exact),
    row("agent-report-sent", ITSELF, When::Ending, End::Exact),
    row(
        "agent-report-acknowledged",
        ITSELF,
        When::Ending,
        End::Exact,
    ),
    row("agent-run-dropped", ITSELF, When::Ending, End::Exact),
];

/// Rows that are the same however trees are held together.
const IN_KEEPER: &[Row] = &[
    row("keeper-start-heard", ITSELF, When::Ending, End::Exact),
    row("keeper-starting-written", ITSELF, When::Ending, End::Exact),
    row("keeper-before-clone", ITSELF, When::Ending, End::Exact),
    row("child-before-mark", ITSELF, When::Ending, End::Killed),
    row("child-marked", ITSELF, When::Ending, End::Killed),
    row("keeper-cloned", ITSELF, When::Running, End::ExactByKernel),
    row(
        "keeper-started-written",
        ITSELF,
        When::Running,
        End::ExactByKernel,
    ),
    row("keeper-stop-written", ITSELF, When::Killed, End::Stopped),
    row("keeper-waiting-written", ITSELF, When::Retried, End::Exact),
    row("keeper-ended-written", ITSELF, When::Ending, End::Exact),
    row("keeper-ended-synced", ITSELF, When::Ending, End::Exact),
    row("keeper-forget-heard", ITSELF, When::Ending, End::Exact),
    row("keeper-forget-written", ITSELF, When::Ending, End::Exact),
    row(
        "journal-made-anew",
        ITSELF,
        When::KeeperKilled,
        End::ExactByKernel,
    ),
    row("child-exec-failed", PARENT, When::Missing, End::NotFound),
];

/// With a cgroup the child's parent is the keeper.
const WITH_CGROUP: &[Row] = &[
    row(
        "child-before-mark",
        PARENT,
        When::Running,
        End::ExactByKernel,
    ),
    row("child-marked", PARENT, When::Running, End::ExactByKernel),
    row(
        "keeper-exit-seen",
        ITSELF,
        When::Ending,
        End::Lost("no keeper was there"),
    ),
];

/// Otherwise it is the sub-reaper, whose parent is the keeper.
const WITH_STUB: &[Row] = &[
    row(
        "child-before-mark",
        PARENT,
        When::Running,
        End::Lost(NO_STUB),
    ),
    row("child-marked", PARENT, When::Running, End::Lost(NO_STUB)),
    row("keeper-exit-seen", ITSELF, When::Ending, End::Exact),
    row("stub-begun", ITSELF, When::Ending, End::Setup(NO_STUB)),
    row("stub-begun", PARENT, When::Ending, End::Exact),
    row("stub-recorded", ITSELF, When::Ending, End::Setup(NO_STUB)),
    row("stub-recorded", PARENT, When::Ending, End::Exact),
    row("stub-cloned", ITSELF, When::Running, End::Lost(NO_STUB)),
    row("stub-cloned", PARENT, When::Running, End::Exact),
    row(
        "stub-started-written",
        ITSELF,
        When::Running,
        End::Lost(NO_STUB),
    ),
    row("stub-started-written", PARENT, When::Running, End::Exact),
    row("stub-exit-seen", ITSELF, When::Ending, End::Lost(NO_STUB)),
    row("stub-exit-seen", PARENT, When::Ending, End::Exact),
    row("stub-exit-written", ITSELF, When::Ending, End::Exact),
    row("stub-exit-written", PARENT, When::Ending, End::Exact),
];

/// A fleet of one agent whose keeper holds trees together in this way.
fn fleet(trees: &str) -> World {
    let mut world = World::empty();
    world.must(&["group", "add", "web"]);
    world.join("a1", "web");
    let settings = format!("tree = \"{trees}\"\n");
    std::fs::write(world.path("a1/keeper.toml"), settings).unwrap();
    world.start_agent("a1");
    world.is_online("a1");
    world.add("web/probe", &["--rule", YEARLY], &["true"]);
    world
}

const YEARLY: &str = "0 0 1 1 *";

/// One row played in a fleet.
struct Play<'a> {
    world: &'a mut World,
    row: &'a Row,
    task: String,
    go: String,
}

impl Play<'_> {
    fn add(&self, rule: &str, more: &[&str], line: &str) -> String {
        let note = self.world.note_flags();
        let mut flags: Vec<&str> = note.iter().map(String::as_str).collect();
        flags.extend(["--rule", rule]);
        flags.extend(more);
        self.world.add(&self.task, &flags, &[line])
    }

    /// Writes its line, waits until it may end, and exits with 3.
    fn line(&self) -> String {
        format!(
            ". $NOTE; while ! test -e {}; do sleep 0.02; done; exit 3",
            self.go
        )
    }

    fn let_go(&self) {
        std::fs::write(&self.go, "").unwrap();
    }

    fn arm(&self) {
        let line = format!("{} 1 {}\n", self.row.point, self.row.who);
        std::fs::write(self.world.failpoint("a1"), line).unwrap();
    }

    fn run(&self) {
        // Where the agent is ended meanwhile it has not confirmed.
        drop(self.world.ucron(&["run", &self.task]));
    }

    /// An instant so many milliseconds ahead.
    fn at(ahead: i64) -> String {
        format!("@at {}", ucron::model::UnixMs(now() + ahead))
    }

    fn begin(&self) {
        match self.row.when {
            When::Planned => {
                self.let_go();
                self.arm();
                self.add(&Self::at(1500), &[], &self.line());
            }
            When::Cancelled => {
                let id = self.add(&Self::at(4000), &[], &self.line());
                eventually("the plan is on the agent's disk", || {
                    let journal = std::fs::read_to_string(self.world.path("a1/agent.journal"));
                    let journal = journal.unwrap();
                    let mut lines = journal.lines();
                    lines.any(|line| line.contains("planned") && line.contains(&id))
                });
                self.arm();
                drop(self.world.ucron(&["stop", &self.task]));
            }
            When::Overlapping => {
                self.arm();
                self.add("@every 1s", &[], ". $NOTE; sleep 1.3; exit 3");
            }
            When::Running => {
                self.arm();
                self.add(YEARLY, &[], &self.line());
                self.run();
            }
            When::Ending => {
                self.let_go();
                self.arm();
                self.add(YEARLY, &[], &self.line());
                self.run();
            }
            When::Retried => {
                self.let_go();
                self.arm();
                self.add(YEARLY, &["--retries", "1", "--backoff", "1s"], &self.line());
                self.run();
            }
            When::Missing => {
                self.arm();
                self.world
                    .add(&self.task, &["--rule", YEARLY], &["/nowhere/at-all", "x"]);
                self.run();
            }
            When::Killed => {
                self.add(YEARLY, &["--grace", "1s"], &self.line());
                self.run();
                eventually("it runs", || !self.lines().is_empty());
                self.arm();
                let run = self
                    .world
                    .run_where(&self.task, "started", |run| run.pid.is_some());
                drop(self.world.ucron(&["kill", &run.run_id]));
            }
            When::KeeperKilled => {
                self.add(YEARLY, &[], &self.line());
                self.run();
                eventually("it runs", || !self.lines().is_empty());
                self.arm();
                signal(self.world.keeper_pid("a1"), Signal::KILL);
            }
        }
    }

    /// What the task's commands wrote.
    fn lines(&self) -> Vec<Line> {
        let mut lines = ledger(self.world);
        lines.retain(|line| line.task == self.task);
        lines
    }

    /// Waits for the strike and until every program is there again.
    fn recover(&mut self) {
        let file = self.world.failpoint("a1");
        eventually("the place is reached", || !file.exists());
        if self.row.point.starts_with("agent-") {
            eventually("the agent is ended", || self.world.has_ended("a1"));
            self.world.start_agent("a1");
        }
        self.world.is_online("a1");
        let probe = self.world.run_now("web/probe");
        assert!(probe.is("succeeded"), "nothing hangs: {probe:?}");
        self.let_go();
    }

    fn check(&self) {
        if self.row.when == When::Overlapping {
            return self.check_overlapping();
        }
        let run = self.world.ended(&self.task);
        let lines = self.lines();
        let of_run = lines.iter().all(|line| line.run_id == run.run_id);
        assert!(of_run, "{lines:?}");
        let attempts: Vec<u16> = lines.iter().map(|line| line.attempt).collect();
        let ends = |outcome: &str, code: Option<i32>, starts: &[u16]| {
            assert!(run.is(outcome), "{run:?}");
            assert_eq!((run.exit_code, &attempts[..]), (code, starts), "{run:?}");
        };
        let once: &[u16] = if self.row.when == When::Retried {
            &[1, 2]
        } else {
            &[1]
        };
        match self.row.end {
            End::Exact => ends("failed", Some(3), once),
            End::ExactByKernel if kernel_tells() => ends("failed", Some(3), once),
            End::ExactByKernel => ends("lost", None, once),
            End::Skipped => ends("skipped", None, &[]),
            End::Killed => {
                ends("failed", None, &[]);
                assert_eq!(run.signal, Some(9));
            }
            End::NotFound => ends("failed", Some(127), &[]),
            End::Setup(reason) => {
                ends("failed", None, &[]);
                assert!(run.reason.contains(reason), "{run:?}");
            }
            End::Stopped => ends("stopped", run.exit_code, &[1]),
            End::Lost(reason) => {
                assert!(run.is("lost") && run.reason.contains(reason), "{run:?}");
                // Where it was ended at once it may not have come to write.
                assert!(attempts.len() <= 1, "{lines:?}");
            }
        }
        self.nothing_is_left();
    }

    /// Every second one is due while the last one runs.
    fn check_overlapping(&self) {
        let ended = |outcome: &str, runs: &[Run]| runs.iter().filter(|run| run.is(outcome)).count();
        eventually("some more runs are skipped", || {
            let runs = self.world.runs(&self.task);
            ended("skipped", &runs) >= 2 && ended("failed", &runs) >= 2
        });
        self.world.must(&["stop", &self.task]);
        let runs = found("all of them have ended", || {
            let runs = self.world.runs(&self.task);
            runs.iter().all(|run| run.outcome.is_some()).then_some(runs)
        });
        let lines = self.lines();
        for run in runs {
            let starts = lines
                .iter()
                .filter(|line| line.run_id == run.run_id)
                .count();
            match run.outcome.as_deref().unwrap() {
                "failed" => assert_eq!((run.exit_code, starts), (Some(3), 1), "{run:?}"),
                "skipped" | "missed" => assert_eq!(starts, 0, "{run:?}"),
                "stopped" => assert!(starts <= 1, "{run:?}"),
                _ => panic!("{run:?}"),
            }
        }
        self.nothing_is_left();
    }

    fn nothing_is_left(&self) {
        eventually("no process of the task is left", || {
            let processes = self.world.json(&["ps", &self.task]);
            let listed = processes.as_array().unwrap().len();
            let alive = self
                .lines()
                .iter()
                .any(|line| crate::world::is_alive(line.pid));
            listed == 0 && !alive
        });
        self.world.must(&["rm", &self.task]);
    }
}

/// Since 6.15 the kernel tells the exit status of any process to who holds its pidfd.
fn kernel_tells() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut parts = release
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    (parts.next(), parts.next()) >= (Some(6), Some(15))
}

fn play(world: &mut World, rows: &[Row]) {
    for row in rows {
        crate::world::tell(&format!("{} {} {:?}", row.point, row.who, row.when));
        let mut play = Play {
            task: format!("web/{}-{}", row.point, row.who),
            go: world.work_name(&format!("go-{}-{}", row.point, row.who)),
            world,
            row,
        };
        play.begin();
        play.recover();
        play.check();
    }
}

#[test]
fn an_agent_ended_anywhere_in_a_runs_way_loses_and_doubles_nothing() {
    play(&mut fleet("auto"), IN_AGENT);
}

#[test]
fn a_keeper_with_cgroups_ended_anywhere_loses_and_doubles_nothing() {
    if !needs_root("cgroups") {
        return;
    }
    let mut world = fleet("cgroup");
    play(&mut world, IN_KEEPER);
    play(&mut world, WITH_CGROUP);
}

#[test]
fn a_keeper_with_sub_reapers_ended_anywhere_loses_and_doubles_nothing() {
    play(&mut fleet("subreaper"), IN_KEEPER);
}

#[test]
fn a_sub_reaper_ended_anywhere_loses_and_doubles_nothing() {
    play(&mut fleet("subreaper"), WITH_STUB);
}

/// The names that the programs list.
fn listed() -> BTreeSet<String> {
    let list = |path: &str| ask(program(path).arg("failpoints"), "").exits(0).out;
    let text = list(AGENT) + &list(KEEPER);
    let names = text.lines().map(|line| line.split(':').next().unwrap());
    names.map(str::to_owned).collect()
}

#[test]
fn every_failpoint_is_struck_by_a_test_and_stands_in_the_recovery_table() {
    let all = [IN_AGENT, IN_KEEPER, WITH_CGROUP, WITH_STUB];
    let rows = all.into_iter().flatten().map(|row| row.point.to_owned());
    assert_eq!(rows.collect::<BTreeSet<_>>(), listed());
    let page = include_str!("../../ARCHITECTURE.md");
    let cells = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let table: BTreeSet<String> = cells
        .filter_map(|line| Some(line.split_once(" |")?.0))
        .flat_map(|cell| cell.split('`'))
        .filter(|name| listed().contains(*name))
        .map(str::to_owned)
        .collect();
    assert_eq!(table, listed());
}
