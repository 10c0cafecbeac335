//! Scenarios: files an operator can read (`tests/scenarios/*.toml`), played on a world.
//!
//! `agents`: lines `NAME GROUP…`. `[[task]]`: what `ucron add` would be told, and how its command behaves. `events`:
//! lines `TIME WHAT`, or `TIME OPERATOR: COMMAND => part of the answer`. `runs`: lines
//! `TASK AGENT TIME OUTCOME [xN] [late D] [by T] [: part of the reason]`, TIME being one or `FROM..TO`; together they
//! name every run of the history, once each.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use ucron::model::{Task, UnixMs};
use ucron::proto::request::{
    AgentDrain, AgentRemove, GroupAssign, GroupFreeze, GroupThaw, Request, RunKill, RunList,
    RunWait, Status, TaskRemove, TaskRestart, TaskRun, TaskStart, TaskStop,
};

use crate::center::Disk;
use crate::task::{TaskText, agent_name, millis, span};
use crate::why::Why;
use crate::world::{BEGIN, World, group};

/// A file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// What is shown; one or two sentences.
    pub about: String,
    agents: Vec<String>,
    #[serde(default)]
    operators: Vec<String>,
    #[serde(default)]
    pub task: Vec<TaskText>,
    /// How long it goes on.
    until: String,
    #[serde(default)]
    lost_after: Option<String>,
    #[serde(default)]
    events: Vec<String>,
    /// The lines `FROM..TO began|ended CONDITION: part of the sentence` of what the notify command was told; where
    /// they are given, all of them.
    #[serde(default)]
    pub notices: Option<Vec<String>>,
    /// The lines of the history.
    #[serde(default)]
    pub runs: Vec<String>,
    /// How many rows tell all that was missed in a row.
    #[serde(default)]
    pub spans: Option<usize>,
}

/// Plays a file; panics where something is not as it says, or a promise is broken.
pub fn play(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    let script: Script =
        toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut player = Player::new(script);
    player.play();
}

/// A file being played.
pub struct Player {
    /// The file.
    pub script: Script,
    /// Its world.
    pub world: World,
    tasks: BTreeMap<String, TaskText>,
    /// What `why` shall say: the requests that it makes, about which instant, when, and a part of the answer.
    whys: Vec<Why>,
    /// Number of the last request, and of those whose answer is expected, with the expectation.
    last: usize,
    expected: Vec<(usize, String)>,
}

impl Player {
    fn new(script: Script) -> Self {
        let agents: Vec<(String, Vec<String>)> = script
            .agents
            .iter()
            .map(|line| {
                let mut words = line.split_whitespace().map(str::to_owned);
                (words.next().expect("an agent's name"), words.collect())
            })
            .collect();
        let mut world = World::new(&agents, 1);
        if let Some(lost_after) = &script.lost_after {
            world.center.lost_after = span(lost_after);
        }
        for line in &script.operators {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [name, role, of] = words[..] else {
                panic!("`{line}` is not NAME ROLE GROUP");
            };
            world.add_operator(name, None, &[(of, role.parse().unwrap())]);
        }
        let tasks = script
            .task
            .iter()
            .map(|task| (task.name.clone(), task.clone()))
            .collect();
        Self {
            script,
            world,
            tasks,
            whys: Vec::new(),
            last: 0,
            expected: Vec::new(),
        }
    }

    fn play(&mut self) {
        self.begin();
        for line in self.script.events.clone() {
            let (time, what) = line.split_once(' ').expect("TIME WHAT");
            self.until(millis(time));
            self.step(what.trim());
            self.world.check();
        }
        self.until(millis(&self.script.until.clone()));
        self.compare_answers();
        self.compare_notices();
        self.compare_runs();
        self.compare_spans();
    }

    /// Plays what only asks why.
    pub fn play_whys(script: Script) {
        let mut player = Self::new(script);
        player.begin();
        for line in player.script.events.clone() {
            let (time, what) = line.split_once(' ').expect("TIME WHAT");
            player.until(millis(time));
            player.step(what.trim());
        }
        player.until(millis(&player.script.until.clone()));
        player.compare_answers();
        for why in &player.whys {
            why.compare(&player.world);
        }
    }

    fn begin(&mut self) {
        for task in &self.script.task {
            self.world.add_group(&task.group);
        }
        self.world.center_starts();
        for host in 0..self.world.hosts.len() {
            self.world.keeper_starts(host);
            self.world.agent_starts(host);
        }
        for task in self.script.task.clone().iter().filter(|task| !task.later) {
            self.world.ask("admin", task.add());
        }
    }

    /// Time passes in steps, and every step is checked.
    fn until(&mut self, time: i64) {
        while self.world.time < time {
            let next = (self.world.time + 100).min(time);
            self.world.run_until(next);
            self.world.check();
        }
    }

    fn step(&mut self, what: &str) {
        let (what, answer) = match what.split_once("=>") {
            Some((what, answer)) => (what.trim(), Some(answer.trim().to_owned())),
            None => (what, None),
        };
        if let Some(rest) = what.strip_prefix("why ") {
            let wanted = answer.expect("what `why` says");
            self.whys.push(Why::ask(&mut self.world, rest, wanted));
            return;
        }
        if let Some((operator, command)) = what.split_once(": ") {
            let words: Vec<&str> = command.split_whitespace().collect();
            self.last = self.command(operator, &words);
            self.expected.extend(answer.map(|text| (self.last, text)));
            return;
        }
        let words: Vec<&str> = what.split_whitespace().collect();
        self.fault(&words);
    }

    fn fault(&mut self, words: &[&str]) {
        let world = &mut self.world;
        match words {
            ["center", "crashes"] => world.center_crashes(false),
            ["center", "crashes", "after", "its", "commit"] => world.center_crashes(true),
            ["center", "starts"] => world.center_starts(),
            ["center", "clock", shift] => {
                world.center.skew = signed(shift);
                // An agent that hears nothing of it starts by the clock as it was.
                let shift = world.center.skew.abs();
                world.truth.tolerance = world.truth.tolerance.max(shift);
                world.center_event(ucron::center::Event::Wake);
            }
            ["standby", address, "stands", "by"] => world.other_center(address, true),
            ["standby", address, "dies"] => world.other_center(address, false),
            ["notify", "fails"] => world.center.notify_fails = true,
            ["notify", "works"] => world.center.notify_fails = false,
            ["store", "fails"] => world.center.disk = Disk::Full,
            ["store", "lies"] => world.center.disk = Disk::Lies,
            ["store", "works"] => world.center.disk = Disk::Well,
            ["store", "is", "copied"] => world.center.copy = Some(world.store.clone()),
            ["store", "is", "the", "copy"] => world.store_is_the_copy(),
            ["store", "takes", time] => world.center.commit_takes = millis(time),
            ["link", name, rest @ ..] => {
                let host = self.host(name);
                self.link(host, rest);
            }
            ["agent", name, rest @ ..] => {
                let host = self.host(name);
                self.agent(host, rest);
            }
            ["keeper", name, "crashes"] => {
                let host = self.host(name);
                self.world.keeper_crashes(host);
            }
            ["keeper", name, "starts"] => {
                let host = self.host(name);
                self.world.keeper_starts(host);
            }
            ["keeper", name, "stops"] => {
                let host = self.host(name);
                self.world.stop_keeper(host);
            }
            ["host", name, "goes", "on"] => {
                let host = self.host(name);
                self.world.resume(host);
            }
            ["host", name, "reboots", "for", time] => {
                let host = self.host(name);
                self.world.reboot(host, millis(time), false);
            }
            ["host", name, "loses", "power", "for", time] => {
                let host = self.host(name);
                self.world.reboot(host, millis(time), true);
            }
            ["host", name, "clock", shift] => {
                let (host, shift) = (self.host(name), signed(shift));
                self.world.set_clock(host, shift);
            }
            ["running", task, hosts @ ..] => self.running(task, hosts),
            other => panic!("unknown event {other:?}"),
        }
    }

    fn link(&mut self, host: usize, words: &[&str]) {
        let world = &mut self.world;
        match words {
            ["cut"] => {
                world.nets[host].cut = true;
                world.reset_links(host);
            }
            ["stalls"] => {
                world.nets[host].stall_up = true;
                world.nets[host].stall_down = true;
            }
            ["stalls", "upwards"] => world.nets[host].stall_up = true,
            ["stalls", "downwards"] => world.nets[host].stall_down = true,
            ["heals"] => world.heal(host),
            ["takes", time] => world.nets[host].delay = millis(time),
            other => panic!("unknown link event {other:?}"),
        }
    }

    fn agent(&mut self, host: usize, words: &[&str]) {
        let world = &mut self.world;
        match words {
            ["crashes"] => world.agent_crashes(host),
            ["starts"] => world.agent_starts(host),
            ["stops"] => world.stop_agent(host),
            ["journal", "full"] => world.hosts[host].disk_full = true,
            ["journal", "writes"] => world.hosts[host].disk_full = false,
            ["rolled", "back"] => {
                world.agent_crashes(host);
                world.hosts[host].incarnation.0 -= 1;
            }
            other => panic!("unknown agent event {other:?}"),
        }
    }

    fn host(&self, name: &str) -> usize {
        let found = self.world.hosts.iter().position(|host| host.name == name);
        found.unwrap_or_else(|| panic!("no agent `{name}`"))
    }

    /// `running TASK HOST…`: one word for each live command of the task.
    fn running(&self, task: &str, wanted: &[&str]) {
        let id = &self.task(task).id;
        let hosts = self.world.truth.hosts_of(id);
        let mut names: Vec<&str> = hosts
            .iter()
            .map(|(host, _)| self.world.hosts[*host].name.as_str())
            .collect();
        names.sort_unstable();
        assert_eq!(
            names,
            wanted,
            "what runs of {task} at {} ms\n{}",
            self.world.time,
            self.world.last_log()
        );
    }

    fn task(&self, name: &str) -> Task {
        let named = |task: &&Task| task.name.as_str() == name;
        let found = self.world.store.live_tasks().find(named);
        found.unwrap_or_else(|| panic!("no task `{name}`")).clone()
    }

    fn command(&mut self, operator: &str, words: &[&str]) -> usize {
        if words == ["the", "same", "again"] {
            return self.world.ask_again(self.last);
        }
        let ask = self.request(words);
        self.world.ask(operator, ask)
    }

    fn request(&mut self, words: &[&str]) -> Request {
        let text = |word: &&str| (*word).to_owned();
        match words {
            ["add", name] => self.tasks[*name].add(),
            ["edit", name, rest @ ..] => self.edit(name, &rest.join(" ")),
            ["stop", task] => Request::TaskStop(TaskStop {
                task: text(task),
                finish: false,
            }),
            ["stop", "--finish", task] => Request::TaskStop(TaskStop {
                task: text(task),
                finish: true,
            }),
            ["start", task] => Request::TaskStart(TaskStart { task: text(task) }),
            ["restart", task] => Request::TaskRestart(TaskRestart {
                task: text(task),
                one_by_one: false,
            }),
            ["rm", task] => Request::TaskRemove(TaskRemove { task: text(task) }),
            ["run", task] => Request::TaskRun(TaskRun { task: text(task) }),
            ["runs"] => Request::RunList(RunList::default()),
            ["status"] => Request::Status(Status {}),
            ["wait", task] => Request::RunWait(RunWait {
                runs: self.operators_runs(task),
            }),
            ["kill", task] => Request::RunKill(RunKill {
                run: self.live_run(task),
                signal: None,
            }),
            ["agent", "drain", agent, rest @ ..] => Request::AgentDrain(AgentDrain {
                agent: agent_name(agent),
                drain: true,
                daemons: rest == ["--daemons"],
            }),
            ["agent", "undrain", agent] => Request::AgentDrain(AgentDrain {
                agent: agent_name(agent),
                drain: false,
                daemons: false,
            }),
            ["agent", "rm", agent] => Request::AgentRemove(AgentRemove {
                agent: agent_name(agent),
            }),
            ["group", "freeze", of, until, reason @ ..] => Request::GroupFreeze(GroupFreeze {
                group: group(of),
                until: Some(UnixMs(BEGIN + millis(until))),
                reason: reason.join(" "),
                dry_run: false,
            }),
            ["group", "thaw", of] => Request::GroupThaw(GroupThaw { group: group(of) }),
            ["group", verb, of, agents @ ..] => Request::GroupAssign(GroupAssign {
                group: group(of),
                agents: agents.iter().map(|agent| agent_name(agent)).collect(),
                assign: *verb == "assign",
            }),
            other => panic!("unknown command {other:?}"),
        }
    }

    /// `edit NAME key=value, …` with the keys of `[[task]]`.
    fn edit(&mut self, name: &str, changes: &str) -> Request {
        let old = self.task(name);
        let text = self.tasks.get_mut(name).expect("a task of the file");
        for change in changes.split("; ") {
            let (key, value) = change.split_once('=').expect("key=value");
            match key {
                "rule" => text.rule = Some(value.to_owned()),
                "takes" => text.takes = Some(value.to_owned()),
                "exit" => text.exit = value.parse().unwrap(),
                "target" => text.target = Some(value.to_owned()),
                "jitter" => text.set_jitter(value),
                "processes" => text.processes = Some(value.parse().unwrap()),
                "group" => value.clone_into(&mut text.group),
                other => panic!("unknown key {other}"),
            }
        }
        text.edit_request(&old)
    }

    fn operators_runs(&self, task: &str) -> Vec<ucron::model::RunId> {
        let id = self.task(task).id;
        let runs = self.world.store.runs.values();
        runs.map(|run| &run.row.run)
            .filter(|run| run.task == id && run.cause == ucron::model::Cause::Operator)
            .map(|run| run.run_id.clone())
            .collect()
    }

    fn live_run(&self, task: &str) -> String {
        let id = self.task(task).id;
        let mut alive = self.world.truth.alive();
        let process = alive.find(|process| process.run.task == id);
        process.expect("a live run").run.run_id.to_string()
    }

    fn compare_answers(&self) {
        for (number, wanted) in &self.expected {
            let asked = &self.world.desk.asked[*number];
            let told = asked.answer.as_deref().unwrap_or("nothing yet");
            assert!(
                told.contains(wanted.as_str()),
                "{} asked {:?} and was told `{told}`, not `{wanted}`\n{}",
                asked.operator,
                asked.ask,
                self.world.last_log()
            );
        }
    }
}

fn signed(text: &str) -> i64 {
    match text.strip_prefix('-') {
        Some(text) => -millis(text),
        None => millis(text.strip_prefix('+').unwrap_or(text)),
    }
}
