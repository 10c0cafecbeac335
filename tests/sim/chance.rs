//! Histories from a seed: random tasks, agents, faults and operators, then everything is healed and every promise
//! that holds at the end is checked.

use ucron::model::{AgentName, Cause, Outcome, Task, UnixMs};
use ucron::proto::request::{
    AgentDrain, GroupAssign, Request, TaskRemove, TaskRun, TaskStart, TaskStop,
};
use ucron::rule::{RuleKind, Schedule, Zone};

use crate::center::Disk;
use crate::random::Dice;
use crate::task::TaskText;
use crate::world::{BEGIN, World, group};

/// How long faults happen, and how long the world is whole after them; at the end of that all tasks are stopped.
const FAULTY: i64 = 120_000;
const WHOLE: i64 = 90_000;
/// After the stop everything must end: the longest command, its retries, a stop sequence.
const ENDING: i64 = 90_000;

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

/// Plays one seed; panics where a promise is broken.
pub fn play(seed: u64) {
    let mut dice = Dice::new(seed);
    let mut history = History::new(&mut dice, seed);
    history.begin(&mut dice);
    while history.world.time < FAULTY {
        let pause = if dice.percent(30) { 60 } else { 2_500 };
        history.pass(1 + dice.below_i64(pause));
        history.something(&mut dice);
    }
    history.heal();
    history.pass(WHOLE);
    history.stop_all();
    history.pass(ENDING);
    history.judge();
}

struct History {
    world: World,
    tasks: Vec<TaskText>,
    hosts: usize,
}

impl History {
    fn new(dice: &mut Dice, seed: u64) -> Self {
        let hosts = 1 + usize::try_from(dice.below(3)).unwrap();
        let agents: Vec<(String, Vec<String>)> = (1..=hosts)
            .map(|number| (format!("a{number}"), vec!["g".to_owned()]))
            .collect();
        let mut world = World::new(&agents, seed ^ 0xabcd);
        world.center.lost_after = std::time::Duration::from_mins(1);
        world.center.commit_takes = dice.pick(&[0, 2, 2, 15, 400]);
        world.hop = dice.pick(&[0, 0, 1, 5]);
        for net in &mut world.nets {
            net.delay = dice.pick(&[0, 1, 1, 20, 300]);
            net.jitter = dice.pick(&[0, 0, 3, 200]);
        }
        // An estimate may be wrong by half of what a round trip takes.
        world.truth.tolerance = 600;
        let count = 1 + dice.below(5);
        let tasks = (0..count).map(|number| task(dice, number)).collect();
        Self {
            world,
            tasks,
            hosts,
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
        let takes = 500 + dice.below_i64(25_000);
        match dice.below(24) {
            0 => self.world.center_crashes(dice.percent(50)),
            1..=3 => self.world.center_starts(),
            4 => self.world.agent_crashes(host),
            5..=7 => self.world.agent_starts(host),
            8 => self.world.keeper_crashes(host),
            9..=10 => self.world.keeper_starts(host),
            11 => {
                self.world.nets[host].cut = true;
                self.world.reset_links(host);
            }
            12 => {
                self.world.nets[host].stall_up |= dice.percent(70);
                self.world.nets[host].stall_down |= dice.percent(70);
            }
            13..=15 => self.world.heal(host),
            16 if dice.percent(40) => self.world.reboot(host, takes, dice.percent(50)),
            17 => self.world.center.disk = dice.pick(&[Disk::Full, Disk::Lies]),
            18 => self.world.center.disk = Disk::Well,
            19 => self.world.hosts[host].disk_full = dice.percent(30),
            _ => self.operator(dice, host),
        }
    }

    fn operator(&mut self, dice: &mut Dice, host: usize) {
        let number = usize::try_from(dice.below(self.tasks.len() as u64)).unwrap();
        let task = self.tasks[number].name().to_owned();
        let agent = AgentName::parse(&format!("a{}", host + 1)).unwrap();
        let ask = match dice.below(10) {
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

    fn heal(&mut self) {
        self.world.note("everything is healed");
        self.world.center.disk = Disk::Well;
        self.world.center_starts();
        for host in 0..self.hosts {
            self.world.heal(host);
            self.world.hosts[host].disk_full = false;
            self.world.keeper_starts(host);
            self.world.agent_starts(host);
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

    fn judge(&mut self) {
        let mut broken = Vec::new();
        self.judge_runs(&mut broken);
        self.judge_occurrences(&mut broken);
        for asked in &self.world.desk.asked {
            if asked.answer.is_none() {
                broken.push(format!("never answered: {:?}", asked.ask));
            }
        }
        let alive: Vec<String> = self
            .world
            .truth
            .alive()
            .map(|process| format!("still alive: {:?}", process.run))
            .collect();
        broken.extend(alive);
        assert!(
            broken.is_empty(),
            "at the end: {broken:#?}\n{}",
            self.world.last_log()
        );
    }

    fn judge_runs(&self, broken: &mut Vec<String>) {
        for run in self.world.store.runs.values() {
            let id = &run.row.run.run_id;
            let started = self.world.truth.has_started(id);
            let Some(ending) = &run.ending else {
                broken.push(format!("run {id} is open: {:?}", run.row));
                continue;
            };
            let says_not = matches!(ending.outcome, Outcome::Missed | Outcome::Skipped);
            if started && says_not {
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
            let known = host.is_some_and(|host| host.boots == 1);
            if ending.outcome == Outcome::Lost && known && started {
                broken.push(format!("run {id} ended and its end was lost: {ending:?}"));
            }
            if ending.reason.is_empty() {
                broken.push(format!("run {id} has no reason: {ending:?}"));
            }
        }
        for process in self.world.truth.processes.values() {
            // What a keeper alone decided may be gone with the power of its host.
            let forgotten =
                process.run.cause == Cause::Daemon && self.world.hosts[process.host].boots > 1;
            if !forgotten && !self.world.store.runs.contains_key(&process.run.run_id) {
                broken.push(format!("started and nobody knows: {process:?}"));
            }
        }
    }

    /// Every occurrence of an enabled task has a run; where the members never changed, one for each.
    fn judge_occurrences(&self, broken: &mut Vec<String>) {
        let store = &self.world.store;
        let end = UnixMs(BEGIN + FAULTY + WHOLE);
        for versions in store.versions.values() {
            for (at, version) in versions.iter().enumerate() {
                let Some(task) = &version.task else { continue };
                let until = versions.get(at + 1).map_or(end, |next| next.from);
                if task.enabled && !task.spec.work.daemon {
                    self.judge_version(task, version.from, until.min(end), broken);
                }
            }
        }
    }

    fn judge_version(&self, task: &Task, from: UnixMs, until: UnixMs, broken: &mut Vec<String>) {
        if task.spec.rule.kind() == RuleKind::Reboot {
            return;
        }
        let schedule = Schedule::new(task.spec.rule.clone(), Zone::utc());
        let due: std::collections::BTreeSet<UnixMs> = self
            .world
            .store
            .runs
            .values()
            .filter(|run| run.row.run.task == task.id)
            .map(|run| run.row.run.scheduled_at)
            .collect();
        let mut at = from;
        while let Ok(Some(next)) = schedule.next_after(at) {
            if next >= until {
                return;
            }
            if !due.contains(&next) {
                broken.push(format!("{} was due at {next} and has no run", task.path()));
            }
            at = next;
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
