//! What an agent must know of a task to do its work: the command, the account, and the policies of a process.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{UserName, ms, ms_option};

/// Bytes that a task's text may have at most, in JSON.
pub const MAX_TEXT: usize = 64 * 1024;
/// Parallel processes of one task on one agent at most.
pub const MAX_PROCESSES: u16 = 1000;
/// Retries of one run at most.
pub const MAX_RETRIES: u16 = 1000;

/// A value of a task that cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SpecError {
    /// The command is empty.
    #[error("the command is empty; give `-- COMMAND ARG…` or `--shell LINE`")]
    EmptyCommand,
    /// A NUL byte where the kernel takes none.
    #[error("{what} has a NUL character, which no process can be given")]
    Nul {
        /// The field.
        what: &'static str,
    },
    /// A number outside its range.
    #[error("{what} is {found}; allowed are {allowed}")]
    Range {
        /// The flag.
        what: &'static str,
        /// The value given.
        found: String,
        /// The range in words.
        allowed: &'static str,
    },
    /// An environment variable that cannot be set.
    #[error("the environment variable `{}` {why}", name.escape_debug())]
    Variable {
        /// Its name.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A path that is not absolute.
    #[error("{what} `{}` is not an absolute path", path.escape_debug())]
    Relative {
        /// The flag.
        what: &'static str,
        /// The path given.
        path: String,
    },
    /// An unknown word where a few are allowed.
    #[error("{what} `{}` is unknown; allowed are {allowed}", found.escape_debug())]
    Word {
        /// The flag.
        what: &'static str,
        /// The word given.
        found: String,
        /// The words allowed.
        allowed: &'static str,
    },
    /// Two settings that do not go together.
    #[error("{0}")]
    Together(&'static str),
    /// The text is larger than [`MAX_TEXT`].
    #[error("the task's text has {0} bytes; at most {MAX_TEXT} are allowed")]
    TooLarge(usize),
}

/// What is executed: in JSON a string for a shell line, an array for a vector.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Execute {
    /// `/bin/sh -c LINE`.
    Shell(String),
    /// The program and its arguments.
    Vector(Vec<String>),
}

impl fmt::Display for Execute {
    /// For people: a shell line as it is, a vector with quotes where the shell would need them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shell(line) => f.write_str(line),
            Self::Vector(words) => {
                let quoted: Vec<String> = words.iter().map(|word| quote(word)).collect();
                f.write_str(&quoted.join(" "))
            }
        }
    }
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

macro_rules! words {
    ($(#[$doc:meta])* $type:ident, $what:literal, $allowed:literal, $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
        pub enum $type {
            $($(#[$vdoc])* #[serde(rename = $word)] $variant),+
        }

        impl $type {
            /// The word on the command line and in JSON.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = SpecError;

            fn from_str(text: &str) -> Result<Self, SpecError> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(SpecError::Word { what: $what, found: text.to_owned(), allowed: $allowed }),
                }
            }
        }
    };
}

words!(
    /// What happens when a run is due while another of the same task and slot is active.
    Overlap, "--overlap", "skip, queue, replace and allow",
    /// The new one is skipped.
    Skip = "skip",
    /// One waits.
    Queue = "queue",
    /// The active one is stopped, the new one starts when its tree is gone.
    Replace = "replace",
    /// Both run.
    Allow = "allow",
);
words!(
    /// Whether a daemon's slot is started again after its process ended.
    Restart, "--restart", "always, on-failure and never",
    /// After every end.
    Always = "always",
    /// After every end that is not a success.
    OnFailure = "on-failure",
    /// Never.
    Never = "never",
);
words!(
    /// What of the output goes to the center with the result.
    Output, "--output", "none and tail",
    /// Nothing; all of it stays on the host.
    None = "none",
    /// The last 64 KiB.
    Tail = "tail",
);
words!(
    /// What a limit is of; named as in `setrlimit(2)`.
    LimitKind, "--limit", "nofile, as, cpu, nproc, core, fsize, data, stack and memlock",
    /// Open files.
    Nofile = "nofile",
    /// Address space, bytes.
    As = "as",
    /// CPU time, seconds.
    Cpu = "cpu",
    /// Processes of the user.
    Nproc = "nproc",
    /// Core file, bytes.
    Core = "core",
    /// File size, bytes.
    Fsize = "fsize",
    /// Data segment, bytes.
    Data = "data",
    /// Stack, bytes.
    Stack = "stack",
    /// Locked memory, bytes.
    Memlock = "memlock",
);

/// One resource limit, soft and hard alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// What is limited.
    pub kind: LimitKind,
    /// The limit in its kind's unit.
    pub value: u64,
}

impl FromStr for Limit {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let unknown = || SpecError::Word {
            what: "--limit",
            found: text.to_owned(),
            allowed: "KIND=NUMBER, for example nofile=4096",
        };
        let (kind, value) = text.split_once('=').ok_or_else(unknown)?;
        Ok(Self {
            kind: kind.parse()?,
            value: value.parse().map_err(|_| unknown())?,
        })
    }
}

/// Time between attempts: the first wait, doubling up to the longest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backoff {
    /// Before the second attempt.
    #[serde(rename = "first_ms", with = "ms")]
    pub first: Duration,
    /// At most.
    #[serde(rename = "longest_ms", with = "ms")]
    pub longest: Duration,
}

impl Backoff {
    /// The wait before `attempt` (2 is the first retry): doubling, capped. No jitter.
    pub fn before(&self, attempt: u16) -> Duration {
        let doublings = u32::from(attempt.saturating_sub(2)).min(30);
        self.first
            .saturating_mul(1 << doublings)
            .min(self.longest.max(self.first))
    }
}

/// When a fatal slot of a daemon is tried once more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parole {
    /// Only by `ucron start`.
    Never,
    /// After this time.
    #[serde(rename = "after_ms")]
    After(#[serde(with = "ms")] Duration),
}

/// A signal by its name without `SIG`, as `--stop-signal` takes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub struct StopSignal(i32);

/// Names and Linux numbers (x86, ARM, RISC-V; `signal(7)`) of the signals that may ask a process to stop.
const SIGNALS: [(&str, i32); 9] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ABRT", 6),
    ("KILL", 9),
    ("USR1", 10),
    ("USR2", 12),
    ("TERM", 15),
    ("WINCH", 28),
];

impl StopSignal {
    /// TERM, the default.
    pub const TERM: Self = Self(15);
    /// KILL.
    pub const KILL: Self = Self(9);

    /// The signal's number.
    pub fn number(self) -> i32 {
        self.0
    }

    /// The signal's name without `SIG`.
    pub fn name(self) -> &'static str {
        SIGNALS
            .iter()
            .find(|(_, number)| *number == self.0)
            .map_or("TERM", |(name, _)| name)
    }
}

impl From<StopSignal> for &'static str {
    fn from(signal: StopSignal) -> Self {
        signal.name()
    }
}

impl TryFrom<String> for StopSignal {
    type Error = SpecError;

    fn try_from(text: String) -> Result<Self, SpecError> {
        text.parse()
    }
}

impl FromStr for StopSignal {
    type Err = SpecError;

    /// Reads `TERM`, `SIGTERM` or `15`, in any case.
    fn from_str(text: &str) -> Result<Self, SpecError> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        SIGNALS
            .iter()
            .find(|(known, number)| *known == name || number.to_string() == name)
            .map(|(_, number)| Self(*number))
            .ok_or_else(|| SpecError::Word {
                what: "signal",
                found: text.to_owned(),
                allowed: "HUP, INT, QUIT, ABRT, KILL, USR1, USR2, TERM and WINCH",
            })
    }
}

impl fmt::Display for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What an agent must know of a task to do its work.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// What is executed.
    pub execute: Execute,
    /// The account it runs as.
    pub run_user: UserName,
    /// Kept running rather than run at occurrences.
    pub daemon: bool,
    /// Parallel processes per agent, 1–1000.
    pub processes: u16,
    /// What happens when a run is due while another is active.
    pub overlap: Overlap,
    /// Longest time of one attempt.
    #[serde(rename = "timeout_ms", with = "ms_option")]
    pub timeout: Option<Duration>,
    /// Further attempts after `failed` and `timed_out`.
    pub retries: u16,
    /// Time between attempts.
    pub backoff: Backoff,
    /// Exit codes that count as success.
    pub success_codes: BTreeSet<u8>,
    /// What of the output goes to the center.
    pub output: Output,
    /// Working directory; the home, or `/`, where none is given.
    pub cwd: Option<String>,
    /// File mode mask, 0–0o777.
    pub umask: u16,
    /// Scheduling priority, -20–19.
    pub nice: i8,
    /// Environment variables of the task.
    pub env: BTreeMap<String, String>,
    /// A file on the host with further `NAME=value` lines, opened with the run_user's rights.
    pub env_file: Option<String>,
    /// Resource limits.
    pub limits: Vec<Limit>,
    /// First signal of the stop sequence.
    pub stop_signal: StopSignal,
    /// Time between that signal and KILL.
    #[serde(rename = "grace_ms", with = "ms")]
    pub grace: Duration,
    /// Daemons: when a slot is started again.
    pub restart: Restart,
    /// Daemons: how long a process must run to count as running.
    #[serde(rename = "start_seconds_ms", with = "ms")]
    pub start_seconds: Duration,
    /// Daemons: starts in a row that may fail before the slot is fatal.
    pub start_retries: u16,
    /// Daemons: when a fatal slot is tried again.
    pub parole: Parole,
}

impl Work {
    /// Work with every policy at its default.
    pub fn new(execute: Execute, run_user: UserName) -> Self {
        Self {
            execute,
            run_user,
            daemon: false,
            processes: 1,
            overlap: Overlap::Skip,
            timeout: None,
            retries: 0,
            backoff: Backoff {
                first: Duration::from_secs(1),
                longest: Duration::from_mins(1),
            },
            success_codes: BTreeSet::from([0]),
            output: Output::None,
            cwd: None,
            umask: 0o022,
            nice: 0,
            env: BTreeMap::new(),
            env_file: None,
            limits: Vec::new(),
            stop_signal: StopSignal::TERM,
            grace: Duration::from_secs(10),
            restart: Restart::Always,
            start_seconds: Duration::from_secs(1),
            start_retries: 3,
            parole: Parole::After(Duration::from_mins(10)),
        }
    }

    /// Checks what the types alone do not hold; the first fault found.
    pub fn check(&self) -> Result<(), SpecError> {
        self.check_command()?;
        self.check_numbers()?;
        for (name, value) in &self.env {
            check_variable(name, value)?;
        }
        check_path("--cwd", self.cwd.as_deref())?;
        check_path("--env-file", self.env_file.as_deref())
    }

    fn check_command(&self) -> Result<(), SpecError> {
        let words: &[String] = match &self.execute {
            Execute::Shell(line) => std::slice::from_ref(line),
            Execute::Vector(words) => words,
        };
        if words.first().is_none_or(|word| word.trim().is_empty()) {
            return Err(SpecError::EmptyCommand);
        }
        if words.iter().any(|word| word.contains('\0')) {
            return Err(SpecError::Nul {
                what: "the command",
            });
        }
        Ok(())
    }

    fn check_numbers(&self) -> Result<(), SpecError> {
        let range = |ok: bool, what, found: String, allowed| {
            if ok {
                Ok(())
            } else {
                Err(SpecError::Range {
                    what,
                    found,
                    allowed,
                })
            }
        };
        let processes = (1..=MAX_PROCESSES).contains(&self.processes);
        range(
            processes,
            "--processes",
            self.processes.to_string(),
            "1-1000",
        )?;
        range(
            self.retries <= MAX_RETRIES,
            "--retries",
            self.retries.to_string(),
            "0-1000",
        )?;
        range(
            self.umask <= 0o777,
            "--umask",
            format!("{:o}", self.umask),
            "000-777 (octal)",
        )?;
        range(
            (-20..=19).contains(&self.nice),
            "--nice",
            self.nice.to_string(),
            "-20-19",
        )?;
        let timeout = self.timeout.is_none_or(|span| !span.is_zero());
        range(timeout, "--timeout", "0".to_owned(), "1ms and more")?;
        let codes = !self.success_codes.is_empty();
        range(
            codes,
            "--success-codes",
            "empty".to_owned(),
            "one or more of 0-255",
        )
    }
}

fn check_variable(name: &str, value: &str) -> Result<(), SpecError> {
    let fault = |why| {
        Err(SpecError::Variable {
            name: name.to_owned(),
            why,
        })
    };
    if name.is_empty() || name.contains(['=', '\0']) {
        return fault("has no name, or `=` or NUL in it");
    }
    if name.starts_with("UCRON_") {
        return fault("cannot be set; UCRON_* is set by ucron itself");
    }
    if value.contains('\0') {
        return fault("has a NUL in its value");
    }
    Ok(())
}

fn check_path(what: &'static str, path: Option<&str>) -> Result<(), SpecError> {
    match path {
        Some(path) if path.contains('\0') => Err(SpecError::Nul { what }),
        Some(path) if !path.starts_with('/') => Err(SpecError::Relative {
            what,
            path: path.to_owned(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work() -> Work {
        Work::new(
            Execute::Vector(vec!["true".into()]),
            UserName::parse("nobody").unwrap(),
        )
    }

    fn check(change: impl Fn(&mut Work), wanted: &str) {
        let mut work = work();
        change(&mut work);
        let got = work
            .check()
            .err()
            .map_or_else(|| "ok".to_owned(), |e| e.to_string());
        assert_eq!(got, wanted);
    }

    #[test]
    fn what_the_types_do_not_hold_is_checked() {
        check(|_| {}, "ok");
        check(
            |w| w.execute = Execute::Vector(vec![]),
            "the command is empty; give `-- COMMAND ARG…` or `--shell LINE`",
        );
        check(
            |w| w.execute = Execute::Shell("a\0".into()),
            "the command has a NUL character, which no process can be given",
        );
        check(|w| w.processes = 0, "--processes is 0; allowed are 1-1000");
        check(
            |w| w.cwd = Some("tmp".into()),
            "--cwd `tmp` is not an absolute path",
        );
        check(
            |w| drop(w.env.insert("UCRON_TASK".into(), String::new())),
            "the environment variable `UCRON_TASK` cannot be set; UCRON_* is set by ucron itself",
        );
    }

    #[test]
    fn backoff_doubles_up_to_its_longest() {
        let backoff = Backoff {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(5),
        };
        let waits: Vec<u64> = (2..7)
            .map(|attempt| backoff.before(attempt).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 5, 5]);
    }

    #[test]
    fn signals_are_read_by_name_and_number() {
        for text in ["TERM", "sigterm", "15"] {
            assert_eq!(text.parse::<StopSignal>().unwrap(), StopSignal::TERM);
        }
        assert!("SEGV".parse::<StopSignal>().is_err());
    }

    #[test]
    fn work_survives_json() {
        let json = serde_json::to_string(&work()).unwrap();
        assert_eq!(serde_json::from_str::<Work>(&json).unwrap(), work());
    }
}
