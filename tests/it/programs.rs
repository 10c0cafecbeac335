//! Programs of the tests: started, asked, watched, ended; and the one way to wait.
#![allow(
    dead_code,
    reason = "shared by the tests and the benchmarks; each uses a part"
)]
#![allow(
    clippy::unwrap_used,
    reason = "what a test's helper cannot do fails the test"
)]

use std::io::Write;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::Value;

pub const CLIENT: &str = env!("CARGO_BIN_EXE_ucron");
pub const CENTER: &str = env!("CARGO_BIN_EXE_ucron-center");
pub const AGENT: &str = env!("CARGO_BIN_EXE_ucron-agent");
pub const KEEPER: &str = env!("CARGO_BIN_EXE_ucron-keeper");

/// The longest wait for anything that takes a moment; reached only where a test fails.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until a condition holds; the one way to wait.
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    within(PATIENCE, what, condition);
}

/// [`eventually`] for what takes long by its nature.
pub fn within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until something is there.
pub fn found<T>(what: &str, mut search: impl FnMut() -> Option<T>) -> T {
    let mut place = None;
    eventually(what, || {
        place = search();
        place.is_some()
    });
    place.unwrap()
}

/// A program, without the environment of who runs the tests.
#[allow(clippy::disallowed_methods, reason = "tests start the built programs")]
pub fn program(path: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(path);
    command
        .env_remove("UCRON_HOME")
        .env_remove("XDG_CONFIG_HOME")
        .env("TZ", "UTC")
        .stdin(Stdio::null());
    command
}

pub fn is_root() -> bool {
    geteuid().is_root()
}

/// True as root; otherwise says what is not checked.
pub fn needs_root(what: &str) -> bool {
    if !is_root() {
        tell(&format!("skipped, needs root: {what}"));
    }
    is_root()
}

/// The account that the tests' commands run as: nobody where that can be, else the own.
pub fn run_user() -> String {
    if is_root() {
        return "nobody".to_owned();
    }
    let own = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap();
    own.unwrap().name
}

/// The uid of [`run_user`].
pub fn run_uid() -> u32 {
    let user = nix::unistd::User::from_name(&run_user()).unwrap();
    user.unwrap().uid.as_raw()
}

pub fn signal(pid: u32, signal: Signal) {
    // It may have ended meanwhile.
    let _ = kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), signal);
}

/// Whether a process is there and no zombie.
pub fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|text| !text.rsplit_once(") ").unwrap().1.starts_with(['Z', 'X']))
}

/// Living processes whose arguments or environment name this text.
pub fn processes_with(text: &str) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let names = |pid: u32, file: &str| {
        std::fs::read(format!("/proc/{pid}/{file}"))
            .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text))
    };
    pids.filter(|pid| *pid != std::process::id())
        .filter(|pid| is_alive(*pid))
        .filter(|pid| names(*pid, "cmdline") || names(*pid, "environ"))
        .collect()
}

/// What a program answered.
#[derive(Debug)]
pub struct Answer {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Answer {
    /// Fails where the exit code is another.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The words on stderr have this.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.err.contains(text), "no `{text}` in {self:?}");
        self
    }
}

/// Runs a program to its end with these words on its standard input.
pub fn ask(command: &mut Command, input: &str) -> Answer {
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    // One that does not read its input has closed it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let done = child.wait_with_output().unwrap();
    Answer {
        code: done.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&done.stdout).into_owned(),
        err: String::from_utf8_lossy(&done.stderr).into_owned(),
    }
}

/// Kills a child that has not ended.
pub fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// A program in the background, and what it has written so far.
pub struct Running {
    child: Child,
    out: Reader,
    err: Reader,
}

/// Collects what a program writes.
type Reader = Arc<Mutex<String>>;

fn read(mut from: impl std::io::Read + Send + 'static) -> Reader {
    let text = Reader::default();
    let to = text.clone();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            let more = String::from_utf8_lossy(&bytes[..count]).into_owned();
            to.lock().unwrap().push_str(&more);
        }
    });
    text
}

impl Running {
    /// Takes over a child whose output is piped.
    pub fn new(mut child: Child) -> Self {
        let out = read(child.stdout.take().unwrap());
        let err = read(child.stderr.take().unwrap());
        Self { child, out, err }
    }

    pub fn out(&self) -> String {
        self.out.lock().unwrap().clone()
    }

    pub fn err(&self) -> String {
        self.err.lock().unwrap().clone()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until its data has this.
    pub fn shows(&self, text: &str) {
        eventually(&format!("`{text}` is shown"), || self.out().contains(text));
    }

    /// The exit status once it has ended by itself.
    pub fn ended(&mut self) -> ExitStatus {
        eventually("the program ends", || {
            self.child.try_wait().unwrap().is_some()
        });
        self.child.wait().unwrap()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Words that are shown where the test passes, too.
pub fn tell(words: &str) {
    // Where stderr is gone nobody reads it.
    let _ = writeln!(std::io::stderr(), "{words}");
}
