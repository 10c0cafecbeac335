//! Scenarios: files an operator can read (`tests/scenarios/*.toml`), played on a world.
//!
//! `agents`: lines `NAME GROUP…`. `[[task]]`: what `ucron add` would be told, and how its command behaves. `events`:
//! lines `TIME WHAT`, or `TIME OPERATOR: COMMAND => part of the answer`. `runs`: lines
//! `TASK AGENT TIME OUTCOME [xN] [late D] [by T] [: part of the reason]`, TIME being one or `FROM..TO`; together they
//! name every run of the history, once each.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use ucron::model::{AgentName, Execute, Overlap, Target, Task, TaskName, TaskSpec, UserName, Work};
use ucron::proto::request::{
    AgentDrain, AgentRemove, GroupAssign, IfExists, Request, RunKill, RunList, RunWait, TaskAdd,
    TaskEdit, TaskRemove, TaskRestart, TaskRun, TaskStart, TaskStop,
};
use ucron::rule::{Rule, parse_duration_or_zero};

use crate::center::Disk;
use crate::store::Run;
use crate::world::{BEGIN, World, group};

/// A file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    /// What is shown; one or two sentences.
    #[allow(dead_code, reason = "for whoever reads the file")]
    about: String,
    agents: Vec<String>,
    #[serde(default)]
    operators: Vec<String>,
    #[serde(default)]
    task: Vec<TaskText>,
    /// How long it goes on.
    until: String,
    #[serde(default)]
    lost_after: Option<String>,
    #[serde(default)]
    events: Vec<String>,
    #[serde(default)]
    runs: Vec<String>,
}

/// A task.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskText {
    name: String,
    #[serde(default = "default_group")]
    group: String,
    #[serde(default)]
    rule: Option<String>,
    #[serde(default)]
    takes: Option<String>,
    #[serde(default)]
    exit: i32,
    #[serde(default)]
    ignores_term: bool,
    #[serde(default)]
    overlap: Option<String>,
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    daemon: bool,
    #[serde(default)]
    processes: Option<u16>,
    #[serde(default)]
    retries: Option<u16>,
    #[serde(default)]
    timeout: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Added by an `add` among the events, not at the beginning.
    #[serde(default)]
    later: bool,
}

fn default_group() -> String {
    "g".to_owned()
}

/// Milliseconds of `10s`, `0s`, `1m30s`, `1.5s`.
pub fn millis(text: &str) -> i64 {
    if let Some((seconds, part)) = text.strip_suffix('s').and_then(|text| text.split_once('.')) {
        let thousandths: i64 = format!("{part:0<3}").parse().unwrap();
        return seconds.parse::<i64>().unwrap() * 1_000 + thousandths;
    }
    let span = parse_duration_or_zero(text);
    let span = span.unwrap_or_else(|e| panic!("`{text}` is no duration: {e}"));
    i64::try_from(span.as_millis()).unwrap()
}

fn span(text: &str) -> Duration {
    Duration::from_millis(millis(text).unsigned_abs())
}

impl TaskText {
    /// A task of this name that does nothing yet.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            group: default_group(),
            rule: None,
            takes: None,
            exit: 0,
            ignores_term: false,
            overlap: None,
            target: None,
            daemon: false,
            processes: None,
            retries: None,
            timeout: None,
            env: BTreeMap::new(),
            later: false,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is a daemon.
    pub fn is_daemon(&self) -> bool {
        self.daemon
    }

    /// Makes it a daemon.
    pub fn make_daemon(&mut self) {
        self.daemon = true;
        self.takes = None;
    }

    /// Sets when it is due.
    pub fn set_rule(&mut self, rule: &str) {
        self.rule = Some(rule.to_owned());
    }

    /// Sets how long its command takes.
    pub fn set_takes(&mut self, takes: &str) {
        self.takes = Some(takes.to_owned());
    }

    /// Sets a variable of its command.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.env.insert(name.to_owned(), value.to_owned());
    }

    /// Sets where it runs.
    pub fn set_target(&mut self, target: &str) {
        self.target = Some(target.to_owned());
    }

    /// Sets how many slots it has.
    pub fn set_processes(&mut self, processes: u16) {
        self.processes = Some(processes);
    }

    /// Sets what happens when it is due while it runs.
    pub fn set_overlap(&mut self, overlap: &str) {
        self.overlap = Some(overlap.to_owned());
    }

    /// Sets how its command ends.
    pub fn set_behaviour(&mut self, exit: i32, ignores_term: bool, retries: u16) {
        self.exit = exit;
        self.ignores_term = ignores_term;
        self.retries = Some(retries);
    }

    /// The request that makes a stored task this one.
    pub fn edit_request(&self, old: &Task) -> Request {
        Request::TaskEdit(Box::new(TaskEdit {
            task: old.id.to_string(),
            revision: old.revision,
            group: group(&self.group),
            name: old.name.clone(),
            spec: self.spec(),
            dry_run: false,
        }))
    }

    fn spec(&self) -> TaskSpec {
        let takes = self.takes.as_deref().unwrap_or("0s");
        let takes = if takes == "for ever" || self.daemon && self.takes.is_none() {
            "for-ever".to_owned()
        } else {
            millis(takes).to_string()
        };
        let mut words = vec!["work".to_owned(), takes, self.exit.to_string()];
        if self.ignores_term {
            words.push("ignores-term".to_owned());
        }
        let mut work = Work::new(Execute::Vector(words), UserName::parse("nobody").unwrap());
        work.daemon = self.daemon;
        work.processes = self.processes.unwrap_or(1);
        work.retries = self.retries.unwrap_or(0);
        work.timeout = self.timeout.as_deref().map(span);
        work.env = self.env.clone();
        if let Some(overlap) = &self.overlap {
            work.overlap = overlap.parse::<Overlap>().unwrap();
        }
        let rule = match &self.rule {
            Some(rule) => rule.as_str(),
            None => "@always",
        };
        let mut spec = TaskSpec::new(Rule::parse(rule).unwrap(), work);
        spec.target = target(self.target.as_deref().unwrap_or("all"));
        spec
    }

    /// The request that adds it.
    pub fn add(&self) -> Request {
        Request::TaskAdd(Box::new(TaskAdd {
            group: group(&self.group),
            name: TaskName::parse(&self.name).unwrap(),
            enabled: true,
            spec: self.spec(),
            if_exists: IfExists::Fail,
            dry_run: false,
        }))
    }
}

fn target(text: &str) -> Target {
    match text {
        "all" => Target::ALL,
        "one" => Target::ONE,
        names => Target::Named(names.split(',').map(agent_name).collect()),
    }
}

fn agent_name(text: &str) -> AgentName {
    AgentName::parse(text.trim()).unwrap()
}

/// Plays a file; panics where something is not as it says, or a promise is broken.
pub fn play(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    let script: Script =
        toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut player = Player::new(script);
    player.play();
}

struct Player {
    script: Script,
    world: World,
    tasks: BTreeMap<String, TaskText>,
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
        self.compare_runs();
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
                world.center_event(ucron::center::Event::Wake);
            }
            ["store", "fails"] => world.center.disk = Disk::Full,
            ["store", "lies"] => world.center.disk = Disk::Lies,
            ["store", "works"] => world.center.disk = Disk::Well,
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

    fn compare_runs(&self) {
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

fn signed(text: &str) -> i64 {
    match text.strip_prefix('-') {
        Some(text) => -millis(text),
        None => millis(text.strip_prefix('+').unwrap_or(text)),
    }
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
