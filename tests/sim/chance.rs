//! Histories from a seed: random tasks, agents, faults and operators, then everything is healed and every promise
//! that holds at the end is checked.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use ucron::model::{AgentName, Cause, Outcome, Target, Task, UnixMs};
use ucron::proto::request::{
    AgentDrain, AgentRemove, GroupAssign, Request, RunKill, TaskRemove, TaskRestart, TaskRun,
    TaskStart, TaskStop,
};
use ucron::rule::{RuleKind, Schedule, Zone};

use crate::plant::Plant;
use crate::random::Dice;
use crate::task::TaskText;
use crate::world::{World, group};

/// How long faults happen, and how long the world is whole after them; at the end of that all tasks are stopped.
const FAULTY: i64 = 120_000;
const WHOLE: i64 = 90_000;
/// After the stop everything must end: the longest command, its retries, a stop sequence.
const ENDING: i64 = 90_000;

/// Of so many histories one is of parted hosts.
const PARTED: u64 = 5;

const RULES: [&str; 8] = [
    "* * * * * *",
    "*/2 * * * * *",
    "*/5 * * * * *",
    "*/7 * * * * *",
    "@every 700ms",
    "@every 3s",
    "11,31,51 * * * * *",
    "@reboot",
];
const TAKES: [&str; 6] = ["0s", "100ms", "900ms", "2500ms", "12s", "4s"];

/// What a history came to.
#[derive(Clone, Copy, Default, Debug)]
pub struct Played {
    /// Instants at which tasks were due.
    pub occurrences: usize,
    /// Runs with an outcome: one for each occurrence, target and slot.
    pub runs: usize,
    /// Commands started.
    pub starts: usize,
}

/// Plays one seed, with a bug planted or none; panics where a promise is broken.
pub fn play(seed: u64, plant: Option<Plant>) -> Played {
    let mut dice = Dice::new(seed);
    let mut history = History::new(&mut dice, seed);
    history.world.plant = plant;
    history.begin(&mut dice);
    while history.world.time < FAULTY {
        let pause = match (dice.percent(30), history.parted) {
            (true, _) => 60,
            (_, false) => 1_500,
            (_, true) => 6_000,
        };
        history.pass(1 + dice.below_i64(pause));
        history.something(&mut dice);
    }
    // Whatever jumped is taken back.
    history.pass(1_001);
    history.world.heal_all();
    // By the clock that shows less: the other may be taken back.
    let healed_at = history.world.center_now().at.min(history.world.true_time());
    history.pass(WHOLE);
    history.is_settled(healed_at);
    let stopped_at = history.world.center_now().at;
    history.stop_all();
    history.pass(ENDING);
    history.judge(stopped_at);
    history.played()
}

struct History {
    world: World,
    tasks: Vec<TaskText>,
    hosts: usize,
    /// Whether it is about tasks of target `one` and links that go dead for long, and little else.
    parted: bool,
}

impl History {
    fn new(dice: &mut Dice, seed: u64) -> Self {
        let mut hosts = 1 + usize::try_from(dice.below(3)).unwrap();
        let parted = seed.is_multiple_of(PARTED);
        if parted {
            hosts = hosts.max(2);
        }
        let agents: Vec<(String, Vec<String>)> = (1..=hosts)
            .map(|number| (format!("a{number}"), vec!["g".to_owned()]))
            .collect();
        let mut world = World::new(&agents, seed ^ 0xabcd);
        world.center.lost_after = Duration::from_mins(1);
        world.center.commit_takes = dice.pick(&[0, 2, 2, 15, 400]);
        world.hop = dice.pick(&[0, 0, 1, 5]);
        for net in &mut world.nets {
            net.delay = dice.pick(&[0, 1, 1, 20, 300]);
            net.jitter = dice.pick(&[0, 0, 3, 200]);
            net.spread = dice.pick(&[0, 0, 400]);
            net.repeats = dice.pick(&[0, 0, 20]);
        }
        for host in &mut world.hosts {
            host.skew = dice.pick(&[0, 0, 0, 700, -700, 600_000, -600_000]);
        }
        // An estimate may be wrong by half of what a round trip takes.
        world.truth.tolerance = 1_200;
        let count = 1 + dice.below(5);
        let mut tasks: Vec<_> = (0..count).map(|number| task(dice, number)).collect();
        be_late(&mut tasks, &mut Dice::new(seed ^ 0x1a7e));
        if parted {
            tasks = (0..5).map(rare).collect();
        }
        Self {
            world,
            tasks,
            hosts,
            parted,
        }
    }

    fn begin(&mut self, dice: &mut Dice) {
        self.world.center_starts();
        for host in 0..self.hosts {
            if dice.percent(90) {
                self.world.keeper_starts(host);
                self.world.agent_starts(host);
            }
        }
        for task in self.tasks.clone() {
            self.world.ask("admin", task.add());
            self.pass(dice.below_i64(3_000));
        }
    }

    fn pass(&mut self, millis: i64) {
        let until = self.world.time + millis;
        while self.world.time < until {
            let next = (self.world.time + 50).min(until);
            self.world.run_until(next);
            self.world.check();
        }
    }

    fn something(&mut self, dice: &mut Dice) {
        let host = usize::try_from(dice.below(self.hosts as u64)).unwrap();
        self.world.freeze_or_thaw();
        if self.parted && dice.percent(70) {
            self.world.half_link(dice, host);
        } else if dice.percent(80) {
            self.world.fault(dice, host);
        } else {
            self.operator(dice, host);
        }
    }

    fn operator(&mut self, dice: &mut Dice, host: usize) {
        let number = usize::try_from(dice.below(self.tasks.len() as u64)).unwrap();
        let task = self.tasks[number].name().to_owned();
        let agent = AgentName::parse(&format!("a{}", host + 1)).unwrap();
        let ask = match dice.below(12) {
            10 => {
                let Some(run) = self.live_run(dice) else {
                    return;
                };
                Request::RunKill(RunKill { run, signal: None })
            }
            11 if dice.percent(60) => Request::TaskRestart(TaskRestart {
                task,
                one_by_one: dice.percent(50),
            }),
            11 if host > 0 && dice.percent(10) => {
                self.world.truth.removed.insert(host);
                Request::AgentRemove(AgentRemove { agent })
            }
            0 | 1 => Request::TaskStop(TaskStop {
                task,
                finish: dice.percent(30),
            }),
            2 | 3 => Request::TaskStart(TaskStart { task }),
            4 => Request::TaskRun(TaskRun { task }),
            5 | 6 => {
                let Some(edit) = self.edit(dice, number) else {
                    return;
                };
                edit
            }
            7 => Request::AgentDrain(AgentDrain {
                agent,
                drain: dice.percent(40),
                daemons: dice.percent(50),
            }),
            8 => Request::GroupAssign(GroupAssign {
                group: group("g"),
                agents: vec![agent],
                assign: dice.percent(70),
            }),
            _ if dice.percent(20) => Request::TaskRemove(TaskRemove { task }),
            _ if !self.world.desk.asked.is_empty() => {
                let of = self.world.desk.asked.len() as u64;
                let number = usize::try_from(dice.below(of)).unwrap();
                // A client repeats what it has no answer for, or a moment after.
                if number + 3 > self.world.desk.asked.len() {
                    self.world.ask_again(number);
                }
                return;
            }
            _ => return,
        };
        self.world.ask("admin", ask);
    }

    fn live_run(&self, dice: &mut Dice) -> Option<String> {
        let alive: Vec<_> = self.world.truth.alive().collect();
        let at = usize::try_from(dice.below(alive.len() as u64)).unwrap();
        Some(alive.get(at)?.run.run_id.to_string())
    }

    fn edit(&mut self, dice: &mut Dice, number: usize) -> Option<Request> {
        let old = self.stored(number)?;
        let text = &mut self.tasks[number];
        if dice.percent(60) && !text.is_daemon() {
            text.set_rule(dice.pick(&RULES));
        }
        if dice.percent(40) {
            text.set_takes(dice.pick(&TAKES));
        }
        if dice.percent(20) {
            text.set_processes(1 + u16::try_from(dice.below(3)).unwrap());
        }
        if dice.percent(10) {
            text.set_target(dice.pick(&["all", "one", "a1"]));
        }
        Some(text.edit_request(&old))
    }

    fn stored(&self, number: usize) -> Option<Task> {
        let name = self.tasks[number].name();
        let mut tasks = self.world.store.live_tasks();
        tasks.find(|task| task.name.as_str() == name).cloned()
    }

    /// What was due before everything was healed has its outcome by now, unless it may yet be caught up.
    fn is_settled(&self, healed_at: UnixMs) {
        let runs: BTreeSet<_> = self.world.truth.alive().map(|p| &p.run.run_id).collect();
        let now = self.world.center_now().at;
        let open = self.world.store.runs.values().filter(|run| {
            let old = run.row.run.scheduled_at < healed_at && run.row.start_before < now;
            run.ending.is_none() && old && !runs.contains(&run.row.run.run_id)
        });
        let open: Vec<_> = open.map(|run| &run.row).collect();
        assert!(
            open.is_empty(),
            "open long after everything was healed: {open:#?}\n{}",
            self.world.last_log()
        );
    }

    fn played(&self) -> Played {
        let runs = self.world.store.runs.values();
        let instants: BTreeSet<_> = runs
            .map(|run| (&run.row.run.task, run.row.run.scheduled_at))
            .collect();
        Played {
            occurrences: instants.len(),
            runs: self.world.store.runs.len(),
            starts: self.world.truth.processes.len(),
        }
    }

    fn stop_all(&mut self) {
        let tasks: Vec<Task> = self.world.store.live_tasks().cloned().collect();
        for task in tasks {
            let task = task.id.to_string();
            let ask = Request::TaskStop(TaskStop {
                task,
                finish: false,
            });
            self.world.ask("admin", ask);
        }
    }

    fn judge(&mut self, stopped_at: UnixMs) {
        let mut broken = Vec::new();
        self.judge_runs(&mut broken);
        self.judge_occurrences(stopped_at, &mut broken);
        for asked in &self.world.desk.asked {
            if asked.answer.is_none() {
                broken.push(format!("never answered: {:?}", asked.ask));
            }
        }
        // Every task is stopped and every agent is there: nothing can be wrong but clocks, which nobody sets right.
        let kept = self.world.store.memories.values();
        let kept = kept.chain([&self.world.center.kept]);
        let kept =
            kept.map(|text| serde_json::from_str::<serde_json::Value>(text).unwrap_or_default());
        let wrong = kept.filter(|memory| !memory["held"].is_null());
        let wrong = wrong.filter(|memory| memory["key"]["kind"] != "clock");
        broken.extend(wrong.map(|wrong| format!("still wrong: {wrong}")));
        broken.extend(self.judge_notices());
        broken.extend(self.world.judge_freezes());
        let alive: Vec<String> = self
            .world
            .truth
            .alive()
            .filter(|process| !self.world.truth.removed.contains(&process.host))
            .map(|process| format!("still alive: {:?}", process.run))
            .collect();
        broken.extend(alive);
        assert!(
            broken.is_empty(),
            "at the end: {broken:#?}\n{}",
            self.world.last_log()
        );
    }

    /// Of each condition beginnings and ends take turns; what a center has told just before it died the next one may
    /// not know.
    fn judge_notices(&self) -> Vec<String> {
        let mut begun = std::collections::BTreeMap::new();
        let crashes = &self.world.center.crashes;
        let mut broken = Vec::new();
        for (at, json) in &self.world.center.notices {
            let notice: serde_json::Value = serde_json::from_str(json).unwrap();
            let key = format!(
                "{} {} {}",
                notice["condition"], notice["task"], notice["agent"]
            );
            let begins = notice["event"] == "began";
            let (before, since) = begun.insert(key, (begins, *at)).unwrap_or_default();
            let is_new = crashes.iter().any(|crash| (since..=*at).contains(crash));
            if before == begins && !is_new {
                broken.push(format!("told out of turn at {at} ms: {json}"));
            }
        }
        broken
    }

    fn judge_runs(&self, broken: &mut Vec<String>) {
        for run in self.world.store.runs.values() {
            let id = &run.row.run.run_id;
            let started = self.world.truth.has_started(id);
            let Some(ending) = &run.ending else {
                // By a clock that was set back it is not due yet.
                if run.row.run.scheduled_at > self.world.center_now().at {
                    continue;
                }
                broken.push(format!("run {id} is open: {:?}", run.row));
                continue;
            };
            let says_not = matches!(ending.outcome, Outcome::Missed | Outcome::Skipped);
            if self.world.truth.is_known_started(id) && says_not {
                broken.push(format!("run {id} was started but is {ending:?}"));
            }
            let says_so = !says_not && ending.outcome != Outcome::Lost && ending.attempt > 0;
            if !started && says_so {
                broken.push(format!("run {id} was never started but is {ending:?}"));
            }
            let host = run.row.agent.as_ref().and_then(|agent| {
                let of = |host: &&crate::host::Host| host.id == *agent;
                self.world.hosts.iter().find(of)
            });
            let known = host.is_some_and(|host| {
                host.boots == 1 && !self.world.truth.removed.contains(&host.number)
            });
            if ending.outcome == Outcome::Lost && known && started {
                broken.push(format!("run {id} ended and its end was lost: {ending:?}"));
            }
            if ending.reason.is_empty() {
                broken.push(format!("run {id} has no reason: {ending:?}"));
            }
        }
        for process in self.world.truth.processes.values() {
            // What a keeper alone decided may be gone with the power of its host.
            let forgotten = process.run.cause == Cause::Daemon
                && (self.world.hosts[process.host].boots > 1
                    || self.world.truth.removed.contains(&process.host));
            if !forgotten && !self.world.store.runs.contains_key(&process.run.run_id) {
                broken.push(format!("started and nobody knows: {process:?}"));
            }
        }
    }

    /// Every occurrence of an enabled task has a run; where the members never changed, one for each and its slots.
    fn judge_occurrences(&self, stopped_at: UnixMs, broken: &mut Vec<String>) {
        let store = &self.world.store;
        for (id, versions) in &store.versions {
            let mut runs: BTreeMap<UnixMs, usize> = BTreeMap::new();
            let of = store.runs.values().map(|run| &run.row.run);
            for run in of.filter(|run| run.task == *id && run.cause.is_of_rule()) {
                *runs.entry(run.scheduled_at).or_default() += 1;
            }
            for (at, version) in versions.iter().enumerate() {
                let Some(task) = &version.task else { continue };
                let until = versions.get(at + 1).map_or(stopped_at, |next| next.from);
                if task.enabled && !task.spec.work.daemon {
                    let span = version.due_after..until.min(stopped_at);
                    self.judge_version(task, span, &runs, broken);
                }
            }
        }
    }

    fn judge_version(
        &self,
        task: &Task,
        span: Range<UnixMs>,
        runs: &BTreeMap<UnixMs, usize>,
        broken: &mut Vec<String>,
    ) {
        if task.spec.rule.kind() == RuleKind::Reboot {
            return;
        }
        let schedule = Schedule::new(task.spec.rule.clone(), Zone::utc());
        let wanted = self.runs_wanted(task);
        let mut at = span.start;
        while let Ok(Some(next)) = schedule.next_after(at) {
            if next >= span.end {
                return;
            }
            let found = runs.get(&next).copied().unwrap_or(0);
            if found < wanted {
                let path = task.path();
                broken.push(format!(
                    "{path} was due at {next}: {found} runs of {wanted}"
                ));
            }
            at = next;
        }
    }

    /// How many runs an occurrence has at least.
    fn runs_wanted(&self, task: &Task) -> usize {
        let agents = match &task.spec.target {
            Target::Named(names) => names.len(),
            // Where no agent could take it there is one run, whatever the slots.
            target if target.is_one() => return 1,
            Target::Word(_) => self.hosts,
        };
        let steady = self.world.store.regrouped.len() == self.hosts;
        if steady {
            agents * usize::from(task.spec.work.processes)
        } else {
            1
        }
    }
}

/// A task of target `one` whose last run is over and told before the next is planned: only then can that be given to
/// another agent.
fn rare(number: u64) -> TaskText {
    let mut text = TaskText::new(&format!("t{number}"));
    let seconds = [1, 21, 41].map(|second| (second + 4 * number).to_string());
    text.set_rule(&format!("{} * * * * *", seconds.join(",")));
    text.set_target("one");
    text
}

/// Some tasks catch up, some spread their starts; from dice of their own, so that a seed stays what it was.
fn be_late(tasks: &mut [TaskText], dice: &mut Dice) {
    for task in tasks {
        if dice.percent(25) {
            task.set_catch_up(dice.pick(&["5s", "30s", "1h"]));
        }
        if dice.percent(15) {
            task.set_jitter(dice.pick(&["300ms", "4s", "30s"]));
        }
    }
}

fn task(dice: &mut Dice, number: u64) -> TaskText {
    let daemon = dice.percent(15);
    let mut text = TaskText::new(&format!("t{number}"));
    text.set_takes(dice.pick(&TAKES));
    text.set_target(dice.pick(&["all", "all", "one", "one", "a1"]));
    if daemon {
        text.make_daemon();
    } else {
        text.set_rule(dice.pick(&RULES));
        text.set_overlap(dice.pick(&["skip", "skip", "queue", "replace", "allow"]));
        text.set_behaviour(
            i32::try_from(dice.below(2)).unwrap(),
            dice.percent(15),
            u16::try_from(dice.below(3)).unwrap(),
        );
    }
    text
}
