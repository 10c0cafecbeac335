//! The built `ucron-keeper`, driven through `exec`'s client: what processes see, how they end, what is left of
//! them, and what a keeper's death changes. As root the runs are those of `nobody`; as an ordinary user they are
//! the caller's own, and what needs root says so.

#![allow(
    clippy::unwrap_used,
    reason = "what a test's helper cannot do fails the test"
)]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Program, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;
use ucron::exec::wire::{Assignment, Command, Event, LogFrom, RunState, SlotState, Start};
use ucron::exec::{KeeperLink, LinkEvent};
use ucron::model::{
    AgentName, Cause, Ending, Epoch, Execute, Outcome, Output, Revision, RunId, RunRef, Slot,
    TaskId, TaskName, TaskText, UnixMs, UserName, Work,
};

/// Longest wait for anything; reached only when a test fails.
const DEADLINE: Duration = Duration::from_secs(20);

fn is_root() -> bool {
    geteuid().is_root()
}

/// True as root; otherwise says what is not checked.
fn needs_root(what: &str) -> bool {
    if !is_root() {
        drop(writeln!(std::io::stderr(), "skipped, needs root: {what}"));
    }
    is_root()
}

fn own_name() -> String {
    nix::unistd::User::from_uid(nix::unistd::geteuid())
        .unwrap()
        .unwrap()
        .name
}

/// The account of the runs.
fn run_user() -> String {
    if is_root() {
        "nobody".to_owned()
    } else {
        own_name()
    }
}

fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A keeper in a directory of its own. Its end ends every process that it holds.
struct World {
    dir: TempDir,
    keeper: Option<Child>,
    trees: &'static str,
}

impl World {
    fn new(trees: &'static str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("ucron-keeper")
            .tempdir()
            .unwrap();
        let mut world = Self {
            dir,
            keeper: None,
            trees,
        };
        // The runs' account writes beside the state directory.
        std::fs::set_permissions(world.dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        for (name, mode) in [("state", 0o700), ("work", 0o777)] {
            let path = world.dir.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        }
        world.start();
        world
    }

    /// Every way to hold trees together that this account can use.
    fn each(test: impl Fn(&mut World)) {
        for trees in ["stub", "cgroup"] {
            if trees == "cgroup" && !needs_root("cgroups") {
                continue;
            }
            test(&mut Self::new(trees));
        }
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn work(&self, name: &str) -> PathBuf {
        self.dir.path().join("work").join(name)
    }

    fn start(&mut self) {
        let child = Program::new(env!("CARGO_BIN_EXE_ucron-keeper"))
            .args(["run", "--trees", self.trees, "--log", "warn", "--state"])
            .arg(self.state())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        self.keeper = Some(child);
        eventually("the keeper answers", || {
            ucron::exec::is_running(&self.state())
        });
    }

    fn keeper_pid(&self) -> i32 {
        i32::try_from(self.keeper.as_ref().unwrap().id()).unwrap()
    }

    /// Ends the keeper by a signal and waits for its end.
    fn end_keeper(&mut self, signal: Signal) {
        kill(self.keeper_pid(), signal);
        self.keeper.take().unwrap().wait().unwrap();
    }

    fn agent(&self) -> Agent {
        Agent::connect(&self.state())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.keeper.is_none() {
            // The next keeper finds what is left, and ends it.
            self.start();
        }
        drop(ucron::exec::stop(&self.state(), false));
        if let Some(mut keeper) = self.keeper.take() {
            let deadline = Instant::now() + DEADLINE;
            while keeper.try_wait().unwrap().is_none() {
                if Instant::now() > deadline {
                    drop(keeper.kill());
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

fn kill(pid: i32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
}

fn is_alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|text| !text.rsplit_once(") ").unwrap().1.starts_with(['Z', 'X']))
}

struct Agent {
    link: KeeperLink,
    events: Receiver<LinkEvent>,
    /// Events that were passed over, for those who come for them later.
    passed: RefCell<Vec<Event>>,
}

impl Agent {
    fn connect(state: &Path) -> Self {
        let (sender, events) = channel();
        let name = AgentName::parse("a1").unwrap();
        let link =
            KeeperLink::connect(state, &name, move |event| drop(sender.send(event))).unwrap();
        Self {
            link,
            events,
            passed: RefCell::default(),
        }
    }

    fn send(&self, command: Command) {
        self.link.send(&command).unwrap();
    }

    /// The first event that is wanted; others are kept.
    fn wait<T>(&self, what: &str, wanted: impl Fn(&Event) -> Option<T>) -> T {
        let mut passed = self.passed.borrow_mut();
        if let Some(at) = passed.iter().position(|event| wanted(event).is_some()) {
            return wanted(&passed.remove(at)).unwrap();
        }
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(LinkEvent::Event(event)) => match wanted(&event) {
                    Some(found) => return found,
                    None => passed.push(*event),
                },
                Ok(LinkEvent::Closed) => panic!("the link was closed before: {what}"),
                Err(_) => panic!("not in time: {what}"),
            }
        }
    }

    fn started(&self, run: &RunId) -> i32 {
        self.wait("a start", |event| match event {
            Event::Started { run: of, pid, .. } if of.run_id == *run => Some(*pid),
            Event::Ended { run: of, ending } if of.run_id == *run => panic!("ended: {ending:?}"),
            _ => None,
        })
    }

    fn ended(&self, run: &RunId) -> Ending {
        self.wait("an end", |event| match event {
            Event::Ended { run: of, ending } if of.run_id == *run => Some(ending.clone()),
            Event::Known {
                run: of,
                state: RunState::Ended(ending),
            } if of.run_id == *run => Some(ending.as_ref().clone()),
            _ => None,
        })
    }

    fn slot(&self, slot: u16, state: SlotState) -> ucron::exec::wire::SlotStatus {
        self.wait("a slot's state", |event| match event {
            Event::Slot(status) if status.slot == Slot(slot) && status.state == state => {
                Some(status.clone())
            }
            _ => None,
        })
    }

    fn run(&self, work: Work) -> Ending {
        let start = start(work);
        let run = start.run.run_id.clone();
        self.send(Command::Start(Box::new(start)));
        self.ended(&run)
    }
}

fn shell(line: impl Into<String>) -> Work {
    Work::new(
        Execute::Shell(line.into()),
        UserName::parse(&run_user()).unwrap(),
    )
}

fn vector(words: &[&str]) -> Work {
    let mut work = shell("");
    work.execute = Execute::Vector(words.iter().map(|word| (*word).to_owned()).collect());
    work
}

fn text(work: Work) -> TaskText {
    TaskText {
        task: "01hzzzzzzzzzzzzzzzzzzzzzzz".parse::<TaskId>().unwrap(),
        revision: Revision(1),
        group: "g".parse().unwrap(),
        name: TaskName::parse("dump").unwrap(),
        one: false,
        work,
    }
}

fn start(work: Work) -> Start {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::SeqCst);
    let mut text = text(work);
    // A text is sent once per revision; each of these tests' runs has its own.
    text.revision = Revision(u32::try_from(count).unwrap() + 1);
    Start {
        run: RunRef {
            run_id: RunId::hash(format!("{}-{count}", std::process::id()).as_bytes()),
            task: text.task.clone(),
            revision: text.revision,
            slot: Slot(0),
            cause: Cause::Rule,
            scheduled_at: UnixMs(1_795_366_200_007),
        },
        text,
        epoch: Epoch(7),
        start_before: None,
        not_after: None,
        replaces: None,
    }
}

fn with_tail(mut work: Work) -> Work {
    work.output = Output::Tail;
    work
}

/// Runs it and returns what it printed.
fn output(agent: &Agent, work: Work) -> String {
    let ending = agent.run(with_tail(work));
    assert_eq!(ending.outcome, Outcome::Succeeded, "{ending:?}");
    ending.tail.unwrap()
}

#[test]
fn exits_are_exact() {
    World::each(|world| {
        let agent = world.agent();
        let check = |work: Work, outcome, code, signal, reason: &str| {
            let ending = agent.run(work);
            assert_eq!(ending.outcome, outcome, "{ending:?}");
            assert_eq!((ending.exit_code, ending.signal), (code, signal));
            assert_eq!(ending.reason, reason);
        };
        let succeeded = Outcome::Succeeded;
        let failed = Outcome::Failed;
        check(
            shell("exit 0"),
            succeeded,
            Some(0),
            None,
            "exited with code 0",
        );
        check(shell("exit 3"), failed, Some(3), None, "exited with code 3");
        let mut three = shell("exit 3");
        three.success_codes = BTreeSet::from([0, 3]);
        check(three, succeeded, Some(3), None, "exited with code 3");
        let kill = "killed by signal 9 (KILL)";
        check(shell("kill -9 $$"), failed, None, Some(9), kill);
        let missing = "exec: `nosuch`: not found";
        check(vector(&["nosuch", "x"]), failed, Some(127), None, missing);
        let not = "exec: `/etc/passwd`: not executable";
        check(vector(&["/etc/passwd"]), failed, Some(126), None, not);
        let mut cwd = shell("pwd");
        cwd.cwd = Some("/nosuch".to_owned());
        let reason =
            "setup: entering its directory `/nosuch`: No such file or directory (os error 2)";
        check(cwd, failed, None, None, reason);
        let mut nobody = shell("true");
        nobody.run_user = UserName::parse("no-such-account").unwrap();
        let reason = "setup: there is no account `no-such-account` on this host";
        check(nobody, failed, None, None, reason);
    });
}

#[test]
fn a_process_sees_what_the_design_says_and_nothing_else() {
    World::each(|world| {
        let agent = world.agent();
        let mut env = vector(&["env"]);
        env.env.insert("MINE".to_owned(), "a b".to_owned());
        let seen = output(&agent, env);
        let names: BTreeSet<&str> = seen
            .lines()
            .filter_map(|line| Some(line.split_once('=')?.0))
            .collect();
        let wanted = [
            "HOME",
            "LANG",
            "LOGNAME",
            "MINE",
            "PATH",
            "SHELL",
            "UCRON_AGENT",
            "UCRON_ATTEMPT",
            "UCRON_CAUSE",
            "UCRON_EPOCH",
            "UCRON_GROUP",
            "UCRON_PROCESSES",
            "UCRON_REVISION",
            "UCRON_RUN_ID",
            "UCRON_SCHEDULED_AT",
            "UCRON_SLOT",
            "UCRON_TASK",
            "USER",
        ];
        assert_eq!(names, BTreeSet::from(wanted));
        for line in [
            "MINE=a b",
            "UCRON_TASK=dump",
            "UCRON_AGENT=a1",
            "UCRON_SCHEDULED_AT=2026-11-22T16:50:00.007Z",
            "UCRON_EPOCH=7",
            "UCRON_CAUSE=rule",
            "PATH=/usr/local/bin:/usr/bin:/bin",
        ] {
            assert!(seen.lines().any(|seen| seen == line), "{line} in {seen}");
        }
        assert!(seen.contains(&format!("USER={}\n", run_user())));
        let fds = output(&agent, shell("ls -l /proc/self/fd"));
        let targets: Vec<&str> = fds
            .lines()
            .filter_map(|line| Some(line.split_once(" -> ")?.1))
            .collect();
        // The fourth is the one with which ls reads the directory.
        assert_eq!(targets.len(), 4, "{fds}");
        assert_eq!(targets[0], "/dev/null");
        assert!(
            targets[1].contains("/output/") && targets[1] == targets[2],
            "{fds}"
        );
        let status = output(
            &agent,
            shell("umask; grep -E '^Sig(Blk|Ign)' /proc/self/status; pwd"),
        );
        let lines: Vec<&str> = status.lines().collect();
        assert_eq!(lines[0], "0022");
        assert!(
            lines[1..3]
                .iter()
                .all(|line| line.ends_with("\t0000000000000000")),
            "{status}"
        );
        let ids = output(
            &agent,
            vector(&["/bin/sh", "-c", "cut -d' ' -f5,6 /proc/$$/stat; echo $$"]),
        );
        let (of, own) = ids.trim().split_once('\n').unwrap();
        assert_eq!(
            of,
            format!("{own} {own}"),
            "leads its own process group and session"
        );
    });
}

#[test]
fn a_process_has_all_groups_of_its_account() {
    if !needs_root("running as another account") {
        return;
    }
    // An account of this host with a supplementary group, if it has one.
    let groups = std::fs::read_to_string("/etc/group").unwrap();
    let member = groups
        .lines()
        .filter_map(|line| {
            line.rsplit_once(':')?
                .1
                .split(',')
                .find(|name| !name.is_empty())
        })
        .find(|name| *name != "root")
        .unwrap_or("nobody");
    World::each(|world| {
        let agent = world.agent();
        let mut work = shell("id -u; id -G");
        work.run_user = UserName::parse(member).unwrap();
        let seen = output(&agent, work);
        let wanted = |flag: &str| {
            let answer = Program::new("id").args([flag, member]).output().unwrap();
            String::from_utf8(answer.stdout).unwrap()
        };
        let sorted = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<BTreeSet<_>>()
        };
        let (uid, gids) = seen.split_once('\n').unwrap();
        assert_eq!(uid, wanted("-u").trim());
        assert_eq!(sorted(gids), sorted(&wanted("-G")));
    });
}

#[test]
fn settings_of_a_task_reach_its_process() {
    World::each(|world| {
        let agent = world.agent();
        let file = world.work("env");
        std::fs::write(&file, "# note\nFROM_FILE=1\nMINE=file\n").unwrap();
        let mut work = shell("echo $FROM_FILE $MINE; umask; nice; ulimit -n; pwd");
        work.env_file = Some(file.to_str().unwrap().to_owned());
        work.env.insert("MINE".to_owned(), "task".to_owned());
        work.umask = 0o027;
        work.nice = 5;
        work.limits = vec!["nofile=77".parse().unwrap()];
        work.cwd = Some("/usr".to_owned());
        assert_eq!(output(&agent, work), "1 task\n0027\n5\n77\n/usr\n");
        if is_root() {
            chown(&file, Some(0), Some(0)).unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
            let mut work = shell("true");
            work.env_file = Some(file.to_str().unwrap().to_owned());
            let ending = agent.run(work);
            assert!(
                ending.reason.contains("cannot be opened by `nobody`"),
                "{}",
                ending.reason
            );
        }
    });
}

#[test]
fn a_hostile_tree_is_gone_after_its_stop_sequence() {
    World::each(|world| {
        let agent = world.agent();
        let bystander = start(shell("setsid sleep 300 & exec sleep 300"));
        let bystander_id = bystander.run.run_id.clone();
        agent.send(Command::Start(Box::new(bystander)));
        let innocent = agent.started(&bystander_id);
        let pids = world.work("pids");
        let script = format!(
            "trap '' TERM; echo $$ >> {0}\n\
             (trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$ >> {0}; while :; do sleep 1; done' &) &\n\
             env -i setsid sh -c 'trap \"\" TERM; (echo $$ >> {0}; while :; do sleep 1; done) & wait' &\n\
             while :; do sleep 1; done",
            pids.display()
        );
        let mut work = shell(script);
        work.timeout = Some(Duration::from_millis(700));
        work.grace = Duration::from_millis(300);
        let begun = Instant::now();
        let ending = agent.run(work);
        assert_eq!(ending.outcome, Outcome::TimedOut);
        assert_eq!(ending.reason, "ran longer than 700ms");
        let read = || -> Vec<i32> {
            let text = std::fs::read_to_string(&pids).unwrap();
            text.lines().map(|line| line.parse().unwrap()).collect()
        };
        assert_eq!(read().len(), 3);
        eventually("nothing of the tree is left", || {
            read().into_iter().all(|pid| !is_alive(pid))
        });
        assert!(
            begun.elapsed() < Duration::from_secs(3),
            "{:?}",
            begun.elapsed()
        );
        assert!(is_alive(innocent));
        let reason = "stopped by admin".to_owned();
        agent.send(Command::Stop {
            run_id: bystander_id.clone(),
            reason,
        });
        let ending = agent.ended(&bystander_id);
        assert_eq!(
            (ending.outcome, ending.reason.as_str()),
            (Outcome::Stopped, "stopped by admin")
        );
    });
}

#[test]
fn what_a_command_leaves_behind_is_ended() {
    World::each(|world| {
        let agent = world.agent();
        let pids = world.work("left");
        let line = format!(
            "setsid sh -c 'echo $$ >> {}; exec sleep 300' & sleep 0.3",
            pids.display()
        );
        assert_eq!(agent.run(shell(line)).outcome, Outcome::Succeeded);
        let pid: i32 = std::fs::read_to_string(&pids)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        eventually("the rest of the tree is gone", || !is_alive(pid));
    });
}

#[test]
fn retries_follow_failures_and_the_last_attempt_counts() {
    World::each(|world| {
        let agent = world.agent();
        let file = world.work("attempts");
        let line = format!(
            "echo $UCRON_ATTEMPT >> {}; exit $((3 - UCRON_ATTEMPT))",
            file.display()
        );
        let mut work = shell(line);
        work.retries = 5;
        work.backoff.first = Duration::from_millis(20);
        let ending = agent.run(work);
        assert_eq!((ending.outcome, ending.attempt), (Outcome::Succeeded, 3));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "1\n2\n3\n");
        let mut refused = shell("true");
        refused.cwd = Some("/nosuch".to_owned());
        refused.retries = 3;
        assert_eq!(agent.run(refused).attempt, 1);
    });
}

#[test]
fn a_start_is_idempotent_and_results_wait_for_the_agent() {
    World::each(|world| {
        let file = world.work("once");
        let line = format!("echo x >> {}; exit 4", file.display());
        let again = start(shell(line));
        let run = again.run.run_id.clone();
        let agent = world.agent();
        agent.send(Command::Start(Box::new(again.clone())));
        agent.send(Command::Start(Box::new(again.clone())));
        drop(agent);
        eventually("the command ran", || file.exists());
        let agent = world.agent();
        assert_eq!(agent.ended(&run).exit_code, Some(4));
        drop(agent);
        let agent = world.agent();
        assert_eq!(
            agent.ended(&run).exit_code,
            Some(4),
            "told until it is confirmed"
        );
        agent.send(Command::Start(Box::new(again.clone())));
        assert_eq!(agent.ended(&run).exit_code, Some(4));
        world.end_keeper(Signal::TERM);
        world.start();
        let agent = world.agent();
        agent.send(Command::Start(Box::new(again)));
        assert_eq!(
            agent.ended(&run).exit_code,
            Some(4),
            "known to the next keeper"
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "x\n");
        agent.send(Command::Forget {
            run_id: run.clone(),
        });
        drop(agent);
        let agent = world.agent();
        let known = agent.wait("the set's end", |event| match event {
            Event::Known { .. } => Some(true),
            Event::SetEnd => Some(false),
            _ => None,
        });
        assert!(!known, "forgotten once confirmed");
    });
}

#[test]
fn late_starts_are_refused() {
    World::each(|world| {
        let agent = world.agent();
        let mut late = start(shell("true"));
        late.start_before = Some(ucron::exec::wire::BootMs(1));
        let run = late.run.run_id.clone();
        agent.send(Command::Start(Box::new(late)));
        let ending = agent.ended(&run);
        assert_eq!(ending.outcome, Outcome::Missed);
        assert!(ending.reason.starts_with("too late: "), "{}", ending.reason);
        let mut expired = start(shell("true"));
        expired.not_after = Some(ucron::exec::wire::BootMs(1));
        let run = expired.run.run_id.clone();
        agent.send(Command::Start(Box::new(expired)));
        agent.wait("the refusal", |event| match event {
            Event::NotStarted { run_id, .. } if *run_id == run => Some(()),
            _ => None,
        });
    });
}

#[test]
fn a_run_that_replaces_another_starts_when_its_tree_is_gone() {
    World::each(|world| {
        let agent = world.agent();
        let mut work = shell("trap '' TERM; while :; do sleep 1; done");
        work.grace = Duration::from_millis(200);
        let first = start(work);
        let old = first.run.run_id.clone();
        agent.send(Command::Start(Box::new(first)));
        let pid = agent.started(&old);
        let mut second = start(shell(format!(
            "kill -0 {pid} 2>/dev/null && exit 1; exit 0"
        )));
        second.replaces = Some(old.clone());
        let new = second.run.run_id.clone();
        agent.send(Command::Start(Box::new(second)));
        let ending = agent.ended(&old);
        assert_eq!(
            (ending.outcome, ending.reason),
            (Outcome::Stopped, format!("replaced by run {new}"))
        );
        assert_eq!(agent.ended(&new).outcome, Outcome::Succeeded);
    });
}

#[test]
fn processes_outlive_a_killed_keeper_and_are_found_by_the_next() {
    World::each(|world| {
        let agent = world.agent();
        let go = world.work("go");
        let line = format!(
            "while ! test -e {}; do sleep 0.05; done; exit 5",
            go.display()
        );
        let mut work = shell(line);
        work.timeout = Some(Duration::from_secs(60));
        let long = start(work);
        let run = long.run.run_id.clone();
        agent.send(Command::Start(Box::new(long.clone())));
        let pid = agent.started(&run);
        world.end_keeper(Signal::KILL);
        assert!(is_alive(pid));
        world.start();
        let agent = world.agent();
        let found = agent.wait("the run", |event| match event {
            Event::Known {
                run: of,
                state: RunState::Running { pid, .. },
            } if of.run_id == run => Some(*pid),
            _ => None,
        });
        assert_eq!(found, pid);
        agent.send(Command::Start(Box::new(long)));
        std::fs::write(&go, "").unwrap();
        let ending = agent.ended(&run);
        assert_eq!(
            (ending.outcome, ending.exit_code),
            (Outcome::Failed, Some(5)),
            "{ending:?}"
        );
    });
}

#[test]
fn what_ended_without_a_keeper_is_lost_or_known_to_its_sub_reaper() {
    World::each(|world| {
        let agent = world.agent();
        let long = start(shell("exec sleep 300"));
        let run = long.run.run_id.clone();
        agent.send(Command::Start(Box::new(long)));
        let pid = agent.started(&run);
        world.end_keeper(Signal::KILL);
        kill(pid, Signal::KILL);
        eventually("it is gone", || !is_alive(pid));
        world.start();
        let ending = world.agent().ended(&run);
        if world.trees == "stub" {
            assert_eq!(
                (ending.outcome, ending.signal),
                (Outcome::Failed, Some(9)),
                "{ending:?}"
            );
        } else {
            assert_eq!(ending.outcome, Outcome::Lost);
            assert!(ending.reason.contains("no keeper"), "{}", ending.reason);
        }
    });
}

fn daemon(mut work: Work, processes: u16) -> Command {
    work.daemon = true;
    work.processes = processes;
    work.start_seconds = Duration::from_millis(100);
    work.grace = Duration::from_millis(500);
    let mut text = text(work);
    text.revision = Revision(u32::from(processes));
    Command::Assign(Box::new(Assignment {
        text,
        epoch: Epoch(1),
    }))
}

#[test]
fn daemons_are_kept_alive_until_they_are_withdrawn() {
    World::each(|world| {
        let agent = world.agent();
        let task = text(shell("")).task;
        agent.send(daemon(shell("exec sleep 300"), 2));
        let first = agent.slot(0, SlotState::Running).pid.unwrap();
        let second = agent.slot(1, SlotState::Running).pid.unwrap();
        kill(first, Signal::KILL);
        let status = agent.slot(0, SlotState::Running);
        assert_eq!(status.restarts, 1);
        let third = status.pid.unwrap();
        assert_ne!(third, first);
        assert!(is_alive(second) && is_alive(third));
        world.end_keeper(Signal::KILL);
        world.start();
        let agent = world.agent();
        agent.wait("its assignment", |event| match event {
            Event::Assigned { task: of, .. } if *of == task => Some(()),
            _ => None,
        });
        let found = agent.wait("its slot", |event| match event {
            Event::Slot(status) if status.slot == Slot(1) => Some(status.pid),
            _ => None,
        });
        assert_eq!(found, Some(second), "the same process");
        agent.send(daemon(shell("exec sleep 300"), 1));
        agent.slot(1, SlotState::Stopped);
        assert!(
            !is_alive(second) && is_alive(third),
            "the surplus slot alone ends"
        );
        agent.send(Command::Restart {
            task: task.clone(),
            one_by_one: false,
            reason: "restarted by admin".to_owned(),
        });
        let fourth = agent.wait("its new process", |event| match event {
            Event::Slot(status) if status.slot == Slot(0) && status.state == SlotState::Running => {
                status.pid.filter(|pid| *pid != third)
            }
            _ => None,
        });
        assert!(!is_alive(third));
        agent.send(Command::Withdraw {
            task,
            reason: "stopped by admin".to_owned(),
        });
        agent.slot(0, SlotState::Stopped);
        assert!(!is_alive(fourth));
    });
}

#[test]
fn a_daemon_that_does_not_stay_up_becomes_fatal_with_its_last_words() {
    World::each(|world| {
        let agent = world.agent();
        let mut work = shell("echo cannot bind; exit 7");
        work.start_retries = 2;
        work.backoff.first = Duration::from_millis(20);
        agent.send(daemon(work, 1));
        let status = agent.slot(0, SlotState::Fatal);
        let wanted = "ended 3 times in a row within 100ms of its start; last: exited with code 7; last output: cannot bind";
        assert_eq!(status.reason, wanted);
    });
}

#[test]
fn logs_are_followed_to_the_end_of_the_run() {
    use base64::Engine;
    World::each(|world| {
        let agent = world.agent();
        let go = world.work("go");
        let line = format!(
            "echo old; echo first >&2; while ! test -e {}; do sleep 0.02; done; seq 100000; echo last",
            go.display()
        );
        let run = start(shell(line));
        let run_id = run.run.run_id.clone();
        agent.send(Command::Start(Box::new(run)));
        agent.started(&run_id);
        let mut text = Vec::new();
        let piece = |agent: &Agent| {
            let piece = agent.wait("a piece of output", |event| match event {
                Event::Log { data, .. } => Some(Some(
                    base64::engine::general_purpose::STANDARD
                        .decode(data)
                        .unwrap(),
                )),
                Event::LogEnd { error, .. } => {
                    assert_eq!(*error, None);
                    Some(None)
                }
                _ => None,
            });
            if let Some(bytes) = &piece {
                let bytes = bytes.len() as u64;
                agent.send(Command::LogCredit { stream: 1, bytes });
            }
            piece
        };
        let output = world.state().join("output");
        eventually("two lines", || has_bytes(&output, 10));
        agent.send(Command::ReadLog {
            stream: 1,
            run_id,
            attempt: None,
            from: LogFrom::Lines(1),
            follow: true,
        });
        text.extend(piece(&agent).unwrap());
        assert_eq!(text, b"first\n");
        std::fs::write(&go, "").unwrap();
        while let Some(bytes) = piece(&agent) {
            text.extend(bytes);
        }
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.lines().count(), 100_002);
        assert!(text.ends_with("\n100000\nlast\n"));
    });
}

/// Whether a file below has this many bytes.
fn has_bytes(dir: &Path, bytes: u64) -> bool {
    std::fs::read_dir(dir).unwrap().flatten().any(|entry| {
        let meta = entry.metadata().unwrap();
        if meta.is_dir() {
            has_bytes(&entry.path(), bytes)
        } else {
            meta.len() >= bytes
        }
    })
}

#[test]
fn the_policy_has_the_last_word() {
    let world = World::new("stub");
    let agent = world.agent();
    let mut other = shell("true");
    if !is_root() {
        other.run_user = UserName::parse("root").unwrap();
        let ending = agent.run(other);
        assert!(
            ending
                .reason
                .starts_with("refused: this keeper is not root"),
            "{ending:?}"
        );
        return;
    }
    other.run_user = UserName::parse("root").unwrap();
    let ending = agent.run(other.clone());
    let policy = world.state().join("policy.toml");
    let wanted = format!("write `users = [\"root\"]` in `{}`", policy.display());
    assert!(
        ending.reason.starts_with("refused: ") && ending.reason.contains(&wanted),
        "{ending:?}"
    );
    assert_eq!(ending.outcome, Outcome::Failed);
    std::fs::write(&policy, "users = [\"root\"]\n").unwrap();
    assert_eq!(agent.run(other.clone()).outcome, Outcome::Succeeded);
    assert!(
        agent
            .run(shell("true"))
            .reason
            .contains("does not allow user `nobody`")
    );
    std::fs::set_permissions(&policy, PermissionsExt::from_mode(0o666)).unwrap();
    assert!(agent.run(other).reason.contains("nobody else can write"));
}

#[test]
fn a_second_keeper_an_open_directory_and_a_long_path_are_told() {
    let world = World::new("stub");
    let second = Program::new(env!("CARGO_BIN_EXE_ucron-keeper"))
        .args(["run", "--state"])
        .arg(world.state())
        .output()
        .unwrap();
    assert!(!second.status.success());
    let words = String::from_utf8(second.stderr).unwrap();
    assert!(words.contains("a keeper is running for"), "{words}");
    let open = world.work("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o770)).unwrap();
    let refused = Program::new(env!("CARGO_BIN_EXE_ucron-keeper"))
        .args(["run", "--state"])
        .arg(&open)
        .output()
        .unwrap();
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && words.contains("is open to others"),
        "{words}"
    );
    let long = world.dir.path().join("x".repeat(150)).join("y".repeat(100));
    std::fs::create_dir_all(&long).unwrap();
    std::fs::set_permissions(&long, PermissionsExt::from_mode(0o700)).unwrap();
    let program = ucron::exec::KeeperProgram {
        program: env!("CARGO_BIN_EXE_ucron-keeper").into(),
        args: Vec::new(),
    };
    program.start(&long).unwrap();
    assert!(ucron::exec::is_running(&long));
    ucron::exec::stop(&long, false).unwrap();
    assert!(!ucron::exec::is_running(&long));
}

#[test]
fn stop_ends_every_process_and_leave_none() {
    World::each(|world| {
        let agent = world.agent();
        let long = start(shell("exec sleep 300"));
        let run = long.run.run_id.clone();
        agent.send(Command::Start(Box::new(long)));
        let pid = agent.started(&run);
        ucron::exec::stop(&world.state(), true).unwrap();
        world.keeper.take().unwrap().wait().unwrap();
        assert!(is_alive(pid));
        world.start();
        ucron::exec::stop(&world.state(), false).unwrap();
        world.keeper.take().unwrap().wait().unwrap();
        assert!(!is_alive(pid));
        world.start();
        assert_eq!(world.agent().ended(&run).outcome, Outcome::Stopped);
    });
}
