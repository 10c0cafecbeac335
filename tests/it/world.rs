//! A real fleet in a temporary directory: a center, agents with their keepers, and the client, all of them the built
//! programs. It holds the id of everything that it starts, and ends all of it when it is dropped.
#![allow(
    dead_code,
    reason = "shared by the tests and the benchmarks; each uses a part"
)]
#![allow(
    clippy::unwrap_used,
    reason = "what a test's helper cannot do fails the test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

pub use crate::programs::*;

/// Appends one line about a run to `$LEDGER`; run by itself, or sourced at the begin of a shell line.
pub const NOTE: &str = include_str!("../workload/note.sh");

/// A run as `ucron runs -o json` tells it.
#[allow(clippy::struct_field_names, reason = "the name in the contract")]
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Run {
    pub run_id: String,
    pub task: String,
    pub agent: Option<String>,
    pub slot: u16,
    pub attempt: u16,
    pub cause: String,
    pub scheduled_at: String,
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
    pub late_ms: Option<i64>,
    pub outcome: Option<String>,
    pub reason: String,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    pub pid: Option<u32>,
}

impl Run {
    pub fn is(&self, outcome: &str) -> bool {
        self.outcome.as_deref() == Some(outcome)
    }
}

/// Milliseconds since 1970 of a time as the client tells it.
pub fn millis(time: &str) -> i64 {
    let parsed: jiff::Timestamp = time.parse().unwrap();
    parsed.as_millisecond()
}

/// A fleet.
pub struct World {
    dir: TempDir,
    center: Option<Child>,
    agents: BTreeMap<String, Option<Child>>,
}

impl World {
    /// The directories and nothing else.
    pub fn bare() -> Self {
        let dir = tempfile::Builder::new().prefix("ucron-it").tempdir();
        let dir = dir.unwrap();
        let world = Self {
            dir,
            center: None,
            agents: BTreeMap::new(),
        };
        // The commands' account goes through the first and writes in the second.
        world.make_dir("", 0o711);
        world.make_dir("work", 0o777);
        std::fs::write(world.work("note.sh"), NOTE).unwrap();
        world
    }

    /// A center, no group, no agent.
    pub fn empty() -> Self {
        Self::made(&[])
    }

    /// The same, made by an `init` with these flags.
    pub fn made(flags: &[&str]) -> Self {
        let mut world = Self::bare();
        let mut init = program(CENTER);
        init.args(["init", "--listen", "127.0.0.1:0", "--state"]);
        init.arg(world.path("center")).args(flags);
        ask(&mut init, "").exits(0);
        world.start_center();
        world
    }

    /// A center and these agents, each in a group, online.
    pub fn new(agents: &[(&str, &str)]) -> Self {
        Self::empty().with(agents)
    }

    /// These agents too, each in a group, online.
    pub fn with(self, agents: &[(&str, &str)]) -> Self {
        let mut world = self;
        let groups: BTreeSet<_> = agents.iter().map(|(_, group)| group).collect();
        for group in groups {
            world.must(&["group", "add", group]);
        }
        for (agent, group) in agents {
            world.join(agent, group);
            world.start_agent(agent);
        }
        for (agent, _) in agents {
            world.is_online(agent);
        }
        world
    }

    /// One agent `a1` in the group `web`.
    pub fn small() -> Self {
        Self::new(&[("a1", "web")])
    }

    fn make_dir(&self, name: &str, mode: u32) {
        let path = self.path(name);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file that the commands may write.
    pub fn work(&self, name: &str) -> PathBuf {
        self.path("work").join(name)
    }

    pub fn work_name(&self, name: &str) -> String {
        self.work(name).display().to_string()
    }

    /// What the commands wrote into a file; nothing where there is none.
    pub fn written(&self, name: &str) -> String {
        std::fs::read_to_string(self.work(name)).unwrap_or_default()
    }

    pub fn address(&self) -> String {
        let text = std::fs::read_to_string(self.path("center/center.addr")).unwrap();
        text.lines().next().unwrap().to_owned()
    }

    fn background(&self, program_path: &str, state: &str) -> Child {
        self.background_of(program(program_path), state, &[])
    }

    fn background_of(&self, mut command: Command, state: &str, flags: &[&str]) -> Child {
        let path = self.path(&format!("{state}.log"));
        let mut log = std::fs::File::options();
        let log = log.append(true).create(true).open(path).unwrap();
        command.args(["run", "--state"]).arg(self.path(state));
        command.env("UCRON_FAILPOINT", self.failpoint(state));
        command.args(flags);
        command.env("UCRON_CLOCK", self.path(&format!("{state}.clock")));
        command
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    /// The file that names where a program of this state directory is to end.
    pub fn failpoint(&self, state: &str) -> PathBuf {
        self.path(&format!("{state}.failpoint"))
    }

    pub fn start_center(&mut self) {
        let _ = std::fs::remove_file(self.path("center/center.addr"));
        self.center = Some(self.background(CENTER, "center"));
        let address = self.path("center/center.addr");
        eventually("the center answers", || address.exists());
    }

    pub fn center_pid(&self) -> u32 {
        self.center.as_ref().unwrap().id()
    }

    /// Ends the center as a crash does.
    pub fn kill_center(&mut self) {
        let mut center = self.center.take().unwrap();
        center.kill().unwrap();
        center.wait().unwrap();
    }

    /// Makes an agent a member; it does not run yet.
    pub fn join(&mut self, agent: &str, group: &str) {
        let token = self.must(&["token", "agent", "--group", group]);
        let mut join = program(AGENT);
        join.args(["join", &self.address(), "--name", agent, "--state"]);
        ask(join.arg(self.path(agent)), &token).exits(0);
        self.agents.insert(agent.to_owned(), None);
    }

    pub fn start_agent(&mut self, agent: &str) {
        let child = self.background(AGENT, agent);
        self.agents.insert(agent.to_owned(), Some(child));
    }

    /// Starts an agent through another program, whose last argument so far is the agent's.
    pub fn start_agent_through(&mut self, agent: &str, command: Command, flags: &[&str]) {
        let child = self.background_of(command, agent, flags);
        self.agents.insert(agent.to_owned(), Some(child));
    }

    pub fn agent_pid(&self, agent: &str) -> u32 {
        self.agents[agent].as_ref().unwrap().id()
    }

    /// Ends an agent as a crash does; its keeper stays.
    pub fn kill_agent(&mut self, agent: &str) {
        let mut child = self.agents.get_mut(agent).unwrap().take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Whether an agent's process has ended by itself, or by a failpoint; it is taken off the list then.
    pub fn has_ended(&mut self, agent: &str) -> bool {
        let child = self.agents.get_mut(agent).unwrap();
        let ended = child
            .as_mut()
            .is_none_or(|child| child.try_wait().unwrap().is_some());
        if ended {
            *child = None;
        }
        ended
    }

    /// Asks an agent to end, and waits for that.
    pub fn end_agent(&mut self, agent: &str) -> ExitStatus {
        let mut child = self.agents.get_mut(agent).unwrap().take().unwrap();
        signal(child.id(), Signal::TERM);
        eventually("the agent ends", || child.try_wait().unwrap().is_some());
        child.wait().unwrap()
    }

    /// The keeper of an agent.
    pub fn keeper_pid(&self, agent: &str) -> u32 {
        found("the agent's keeper", || self.find_keeper(agent))
    }

    /// The keeper of an agent, if one runs now.
    pub fn find_keeper(&self, agent: &str) -> Option<u32> {
        let state = self.path(agent).display().to_string();
        let is_keeper = |pid: &u32| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|bytes| {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let words: Vec<_> = text.split('\0').collect();
                words
                    .first()
                    .is_some_and(|word| word.ends_with("ucron-keeper"))
                    && words.contains(&"run")
            })
        };
        processes_with(&state).into_iter().find(is_keeper)
    }

    /// Lets an agent's keeper run these accounts only.
    pub fn allow_users(&self, agent: &str, users: &[&str]) {
        let text = format!("users = {users:?}\n");
        let path = self.path(agent).join("policy.toml");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
    }

    pub fn agent(&self, name: &str) -> Value {
        let agents = self.json(&["agents"]);
        let mut agents = agents.as_array().unwrap().iter();
        agents.find(|agent| agent["name"] == name).unwrap().clone()
    }

    pub fn is_online(&self, agent: &str) {
        eventually("the agent is online", || {
            self.agent(agent)["state"] == "online"
        });
    }

    fn client(&self, home: &str, args: &[&str]) -> Command {
        let mut command = program(CLIENT);
        command
            .env("HOME", self.path("nothing"))
            .arg("--home")
            .arg(self.path(home))
            .args(args);
        command
    }

    /// The client with another operator's home.
    pub fn as_operator(&self, home: &str, args: &[&str]) -> Answer {
        ask(&mut self.client(home, args), "")
    }

    /// The client as admin.
    pub fn ucron(&self, args: &[&str]) -> Answer {
        self.as_operator("center/admin", args)
    }

    /// The client as admin, for what must succeed; its data without the last line's end.
    #[track_caller]
    pub fn must(&self, args: &[&str]) -> String {
        let answer = self.ucron(args);
        assert_eq!(answer.code, 0, "{args:?}: {answer:?}");
        answer.out.trim_end().to_owned()
    }

    /// What a command writes, byte for byte.
    pub fn raw(&self, args: &[&str]) -> Vec<u8> {
        let done = self.client("center/admin", args).output().unwrap();
        assert!(done.status.success(), "{args:?}: {done:?}");
        done.stdout
    }

    /// Data of a reading command.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let mut all = args.to_vec();
        all.extend(["-o", "json"]);
        let answer = self.ucron(&all);
        assert_eq!(answer.code, 0, "{args:?}: {answer:?}");
        answer.json()
    }

    /// The client in the background; the test ends it, or it ends by itself.
    pub fn spawn(&self, args: &[&str]) -> Running {
        let mut command = self.client("center/admin", args);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Running::new(child.spawn().unwrap())
    }

    /// Adds a task of the tests' account: name and group as `group/name`; its id.
    #[track_caller]
    pub fn add(&self, task: &str, flags: &[&str], work: &[&str]) -> String {
        self.must(&Self::add_args(task, flags, work, &run_user()))
    }

    /// The arguments of `add`; work is one shell line or several words.
    pub fn add_args<'a>(
        task: &'a str,
        flags: &[&'a str],
        work: &[&'a str],
        user: &'a str,
    ) -> Vec<&'a str> {
        let (group, name) = task.split_once('/').unwrap();
        let mut args = vec!["add", "--group", group, "--name", name, "--user", user];
        args.extend(flags);
        match work {
            [line] => args.extend(["--shell", line]),
            words => {
                args.push("--");
                args.extend(words);
            }
        }
        args
    }

    /// The runs of a task, the oldest first.
    pub fn runs(&self, task: &str) -> Vec<Run> {
        self.runs_of(&["--task", task])
    }

    /// The runs that these flags ask for, the oldest first.
    pub fn runs_of(&self, flags: &[&str]) -> Vec<Run> {
        let mut args = vec!["runs", "--limit", "0"];
        args.extend(flags);
        let mut runs: Vec<Run> = serde_json::from_value(self.json(&args)).unwrap();
        runs.reverse();
        runs
    }

    /// Waits for the first run of a task that is as wanted.
    pub fn run_where(&self, task: &str, what: &str, wanted: impl Fn(&Run) -> bool) -> Run {
        found(&format!("a run of {task}: {what}"), || {
            self.runs(task).into_iter().find(&wanted)
        })
    }

    /// Waits for the first run of a task that has ended.
    pub fn ended(&self, task: &str) -> Run {
        self.run_where(task, "ended", |run| run.outcome.is_some())
    }

    /// Runs a task now and waits for its end; the run.
    pub fn run_now(&self, task: &str) -> Run {
        let answer = self.ucron(&["run", "--wait", task]);
        assert!([0, 1].contains(&answer.code), "{answer:?}");
        let id = answer.out.lines().next().unwrap();
        let run = self.runs(task).into_iter().find(|run| run.run_id == id);
        run.unwrap()
    }

    /// The returned end of a run's output.
    pub fn tail(&self, run: &Run) -> String {
        let shown = self.json(&["show", &run.run_id]);
        let tail = shown["tail"].as_str();
        tail.unwrap_or_else(|| panic!("no tail: {shown}"))
            .to_owned()
    }

    /// Pids of a daemon's processes by agent and slot, where all of them run.
    pub fn daemon_pids(&self, task: &str, wanted: usize) -> BTreeMap<(String, u64), u32> {
        found(&format!("{wanted} processes of {task} run"), || {
            let processes = self.json(&["ps", task]);
            let running = processes.as_array().unwrap().iter();
            let running: BTreeMap<_, _> = running
                .filter(|process| process["state"] == "running")
                .map(|process| {
                    let agent = process["agent"].as_str().unwrap().to_owned();
                    let pid = process["pid"].as_u64().unwrap().try_into().unwrap();
                    ((agent, process["slot"].as_u64().unwrap()), pid)
                })
                .collect();
            (running.len() == wanted).then_some(running)
        })
    }

    /// The flags and words of a command that writes a line into the ledger.
    pub fn note_flags(&self) -> [String; 4] {
        [
            "--env".to_owned(),
            format!("LEDGER={}", self.work_name("ledger")),
            "--env".to_owned(),
            format!("NOTE={}", self.work_name("note.sh")),
        ]
    }

    fn end_agents(&mut self) {
        let states: Vec<_> = self.agents.keys().map(|name| self.path(name)).collect();
        for child in self.agents.values_mut().filter_map(Option::as_mut) {
            end(child);
        }
        for state in states {
            end_keeper(&state);
        }
    }
}

/// Ends a keeper and its processes. One that was killed left its processes to the next, which ends them.
pub fn end_keeper(state: &Path) {
    let mut next = None;
    if !ucron::exec::is_running(state) {
        let mut run = program(KEEPER);
        run.args(["run", "--log", "error", "--state"]).arg(state);
        next = run.spawn().ok();
    }
    let deadline = Instant::now() + PATIENCE;
    let stop = || {
        let mut stop = program(KEEPER);
        stop.args(["stop", "--state"]).arg(state);
        let stop = stop.stdout(Stdio::null()).stderr(Stdio::null()).status();
        stop.is_ok_and(|status| status.success())
    };
    while !stop() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    if let Some(mut next) = next {
        end(&mut next);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.end_agents();
        if let Some(center) = self.center.as_mut() {
            end(center);
        }
        if std::thread::panicking() {
            self.tell_logs();
        }
    }
}

impl World {
    /// What the programs said, beside a failed test.
    fn tell_logs(&self) {
        for name in ["center"]
            .into_iter()
            .chain(self.agents.keys().map(String::as_str))
        {
            let log = std::fs::read_to_string(self.path(&format!("{name}.log")));
            let keeper = std::fs::read_to_string(self.path(name).join("keeper.log"));
            for text in [log, keeper].into_iter().flatten() {
                tell(&format!("--- {name}\n{text}"));
            }
        }
    }
}
