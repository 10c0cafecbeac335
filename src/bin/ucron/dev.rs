//! `ucron dev`: a whole fleet in one directory, with sample tasks, until it is told to stop. Everything it starts
//! is this executable again; everything it starts is ended, and its directory removed, before it exits.

use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use ucron::files::{make_private_dir, write_private};

use super::start;

/// First argument that makes this executable a center, an agent, a keeper.
pub const CENTER: &str = "__center";
/// See [`CENTER`].
pub const AGENT: &str = "__agent";
/// See [`CENTER`].
pub const KEEPER: &str = "__keeper";

/// The group of the sample tasks, and the name of the agent.
const GROUP: &str = "dev";
const NAME: &str = "here";
/// How long the center may take to answer.
const READY: Duration = Duration::from_secs(20);
/// How long a program may take to end before it is killed.
const END: Duration = Duration::from_secs(4);

/// The sample tasks: name, flags, shell line.
const SAMPLES: [(&str, &[&str], &str); 6] = [
    (
        "clock",
        &["--rule", "* * * * * *", "--output=tail"],
        "date +%T",
    ),
    (
        "probe",
        &["--rule", "@every 2s", "--timeout", "5s"],
        "cat /proc/loadavg",
    ),
    (
        "report",
        &[
            "--rule",
            "*/5 * * * * *",
            "--output=tail",
            "--note",
            "takes a while",
        ],
        "echo begin; sleep 2; echo end",
    ),
    (
        "flaky",
        &[
            "--rule",
            "*/10 * * * * *",
            "--retries",
            "2",
            "--backoff",
            "500ms",
        ],
        "test $(($(date +%s) % 3)) -ne 0",
    ),
    (
        "broken",
        &["--rule", "*/15 * * * * *"],
        "echo 'no such table: orders' >&2; exit 3",
    ),
    (
        "worker",
        &["--daemon", "--processes", "2"],
        "while :; do echo \"slot $UCRON_SLOT at $(date +%T)\"; sleep 3; done",
    ),
];

/// Runs the fleet; the exit code of the program.
pub fn main(keep: Option<PathBuf>) -> ExitCode {
    match dev(keep) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            // Where stderr is gone nobody reads it.
            let _ = writeln!(std::io::stderr(), "ucron dev: {fault:#}");
            ExitCode::FAILURE
        }
    }
}

fn dev(keep: Option<PathBuf>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // From here on a signal ends the fleet in order, wherever it is being made.
    let mut stop = runtime.block_on(async { Stop::watch() })?;
    let mut fleet = Fleet::place(keep)?;
    let ran = runtime.block_on(async {
        tokio::select! {
            ran = fleet.run() => ran,
            () = stop.told() => Ok(()),
        }
    });
    let ended = fleet.end();
    ran.and(ended)
}

/// INT, TERM and HUP.
struct Stop([Signal; 3]);

impl Stop {
    fn watch() -> std::io::Result<Self> {
        let [int, term, hup] = [
            SignalKind::interrupt(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ];
        Ok(Self([signal(int)?, signal(term)?, signal(hup)?]))
    }

    async fn told(&mut self) {
        let [int, term, hup] = &mut self.0;
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
            _ = hup.recv() => {}
        }
    }
}

/// The fleet: its directory and the programs that run in it.
struct Fleet {
    dir: PathBuf,
    kept: bool,
    programs: Vec<Child>,
    viewer: Option<Child>,
}

impl Fleet {
    fn place(keep: Option<PathBuf>) -> Result<Self> {
        let kept = keep.is_some();
        let dir = match keep {
            Some(dir) => std::path::absolute(dir)?,
            None => fresh_dir(),
        };
        make_private_dir(&dir)?;
        Ok(Self {
            dir,
            kept,
            programs: Vec::new(),
            viewer: None,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    async fn run(&mut self) -> Result<()> {
        let made_before = self.path("center").join("center.toml").exists();
        self.start_center().await?;
        if !made_before {
            self.join_agent()?;
        }
        let agent = self.path("agent");
        self.start(AGENT, &agent, "agent.log")?;
        if !made_before {
            self.add_samples()?;
        }
        self.tell_how()?;
        self.view().await
    }

    async fn start_center(&mut self) -> Result<()> {
        let state = self.path("center");
        if !state.join("center.toml").exists() {
            let listen = OsStr::new("127.0.0.1:0");
            start::run(
                &words(
                    &[CENTER, "init", "--state"],
                    &[state.as_os_str(), OsStr::new("--listen"), listen],
                ),
                "",
            )?;
        }
        let address = state.join("center.addr");
        // One of a fleet that ran here before is no sign of life.
        let _ = std::fs::remove_file(&address);
        self.start(CENTER, &state, "center.log")?;
        let deadline = Instant::now() + READY;
        while !address.exists() {
            let ended = self
                .programs
                .last_mut()
                .is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))));
            if ended || Instant::now() > deadline {
                let log = std::fs::read_to_string(self.path("center.log")).unwrap_or_default();
                bail!(
                    "the center does not answer: {}",
                    log.lines().last().unwrap_or("it said nothing")
                );
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    fn start(&mut self, program: &str, state: &Path, log: &str) -> Result<()> {
        let args = words(&[program, "run", "--state"], &[state.as_os_str()]);
        let child = start::background(&args, &self.path(log))
            .with_context(|| format!("cannot start {program}"))?;
        self.programs.push(child);
        Ok(())
    }

    fn client(&self, args: &[&str], input: &str) -> Result<String> {
        let home = self.path("center/admin");
        let mut all = vec![OsStr::new("--home"), home.as_os_str()];
        all.extend(args.iter().map(OsStr::new));
        Ok(start::run(&all, input)?)
    }

    /// A group, and this host in it; the keeper may run the caller's own account, whoever that is.
    fn join_agent(&self) -> Result<()> {
        self.client(&["group", "add", GROUP], "")?;
        let token = self.client(&["token", "agent", "--group", GROUP], "")?;
        let center = std::fs::read_to_string(self.path("center/center.addr"))?;
        let agent = self.path("agent");
        let center = center.lines().next().context("the center has no address")?;
        let args = words(
            &[AGENT, "join", center, "--name", NAME, "--state"],
            &[agent.as_os_str()],
        );
        start::run(&args, &token)?;
        let policy = format!("users = [\"{}\"]\n", caller()?);
        Ok(write_private(
            &agent.join("policy.toml"),
            policy.as_bytes(),
        )?)
    }

    fn add_samples(&self) -> Result<()> {
        let user = caller()?;
        for (name, flags, line) in SAMPLES {
            let mut args = vec!["add", "--group", GROUP, "--name", name, "--user", &user];
            args.extend(flags);
            args.extend(["--shell", line]);
            self.client(&args, "")?;
        }
        Ok(())
    }

    fn tell_how(&self) -> Result<()> {
        let home = self.path("center/admin");
        let own = std::env::current_exe()?;
        let mut out = std::io::stderr().lock();
        writeln!(
            out,
            "A fleet runs in {}. In a second shell:",
            self.dir.display()
        )?;
        writeln!(out, "  UCRON_HOME={} {} ls", home.display(), own.display())?;
        Ok(())
    }

    /// Shows what happens, until the viewer ends.
    async fn view(&mut self) -> Result<()> {
        let home = self.path("center/admin");
        let mut args = words(&["--home"], &[home.as_os_str()]);
        // On a terminal `ucron` alone is the dashboard; elsewhere there is one line per event.
        if !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
            args.extend(words(&["events", "-f"], &[]));
        }
        let viewer = start::foreground(&args).context("cannot start the client")?;
        let pid = viewer.id();
        self.viewer = Some(viewer);
        let (ended, mut end) = mpsc::channel(1);
        std::thread::spawn(move || {
            wait_for(pid);
            // Where nobody waits the fleet is being ended already.
            let _ = ended.blocking_send(());
        });
        end.recv().await;
        Ok(())
    }

    /// Ends everything that was started, then takes the directory away.
    fn end(mut self) -> Result<()> {
        if let Some(mut viewer) = self.viewer.take() {
            end_child(&mut viewer);
        }
        let agent = self.path("agent");
        let mut keeper = Ok(());
        // The agent first, so that it does not start the keeper again.
        while let Some(mut child) = self.programs.pop() {
            let was_agent = self.programs.len() == 1;
            end_child(&mut child);
            if was_agent {
                keeper = Self::end_keeper(&agent);
            }
        }
        if !self.kept {
            std::fs::remove_dir_all(&self.dir)
                .with_context(|| format!("cannot remove {}", self.dir.display()))?;
        }
        keeper
    }

    fn end_keeper(agent: &Path) -> Result<()> {
        if !agent.join("keeper.sock").exists() {
            return Ok(());
        }
        start::run(
            &words(&[KEEPER, "stop", "--state"], &[agent.as_os_str()]),
            "",
        )?;
        Ok(())
    }
}

fn words(first: &[&str], rest: &[&OsStr]) -> Vec<OsString> {
    let first = first.iter().map(OsString::from);
    first.chain(rest.iter().map(OsString::from)).collect()
}

/// A directory of this run's own: its name has the pid and the time, and it is made with mode 0700.
fn fresh_dir() -> PathBuf {
    let base = ["XDG_RUNTIME_DIR", "TMPDIR"]
        .iter()
        .find_map(|name| std::env::var_os(name).filter(|v| !v.is_empty()));
    let base = base.unwrap_or_else(|| OsString::from("/tmp"));
    PathBuf::from(base).join(format!(
        "ucron-dev-{}-{}",
        std::process::id(),
        ucron::clock::now().0
    ))
}

/// The calling account's name.
fn caller() -> Result<String> {
    let uid = nix::unistd::Uid::effective();
    let user =
        nix::unistd::User::from_uid(uid)?.with_context(|| format!("uid {uid} has no account"))?;
    Ok(user.name)
}

/// Waits until a child has ended, and leaves its status for who owns it.
fn wait_for(pid: u32) {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return;
    };
    // An error means that there is nothing to wait for.
    let _ = waitid(
        WaitId::Pid(pid),
        WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
    );
}

/// TERM, then KILL for what does not end; the child's own id cannot be another's until it is waited for.
fn end_child(child: &mut Child) {
    let Ok(pid) = i32::try_from(child.id()) else {
        return;
    };
    let _ = nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGTERM,
    );
    let deadline = Instant::now() + END;
    while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    // An error means that it has ended meanwhile.
    let _ = child.kill();
    let _ = child.wait();
}
