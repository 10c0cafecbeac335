//! A run's text turned into everything a start needs: arguments, environment, account, directory, limits. What
//! must be looked up is looked up here, before the clone.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::BorrowedFd;

use rustix::process::{Resource, getrlimit};
use serde::{Deserialize, Serialize};

use super::account::Account;
use super::mark::Mark;
use super::supervise::{Failure, Order};
use super::sys::{self, Directory, Identity, Rlimit, Spawn};
use crate::model::{AgentName, Execute, Limit, LimitKind, Work};

/// PATH of every run, unless the task sets its own.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// Open files that a program may have unless it asks for more: `select(2)` knows no higher ones.
const SESSION_NOFILE: u64 = 1024;
/// Bytes of an environment file at most.
const MAX_ENV_FILE: u64 = 64 * 1024;

/// One start, complete; JSON between the keeper and a sub-reaper.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Launch {
    pub run_id: String,
    pub attempt: u16,
    pub files: Vec<CString>,
    pub argv: Vec<CString>,
    pub envp: Vec<CString>,
    pub identity: Option<Identity>,
    pub directory: CString,
    pub or_root: bool,
    pub umask: u32,
    pub nice: Option<i32>,
    pub limits: Vec<Rlimit>,
}

impl Launch {
    /// The start with its descriptors.
    pub fn spawn<'a>(
        &'a self,
        null: BorrowedFd<'a>,
        output: BorrowedFd<'a>,
        marks: BorrowedFd<'a>,
        lock: BorrowedFd<'a>,
        cgroup: Option<BorrowedFd<'a>>,
    ) -> Spawn<'a> {
        Spawn {
            files: self.files.clone(),
            argv: self.argv.clone(),
            envp: self.envp.clone(),
            identity: self.identity.clone(),
            directory: Some(Directory {
                path: self.directory.clone(),
                or_root: self.or_root,
            }),
            umask: self.umask,
            nice: self.nice,
            limits: self.limits.clone(),
            stdin: null,
            stdout: output,
            stderr: output,
            keep: Vec::new(),
            lock: Some(lock),
            cgroup,
            mark: Some(Mark {
                fd: marks,
                run_id: &self.run_id,
                attempt: self.attempt,
            }),
        }
    }
}

/// What the keeper is, as far as a start depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Host {
    /// Whether it is root and changes accounts.
    pub root: bool,
    /// The limit of open files with which it was started; its own is higher.
    pub nofile: Rlimit,
}

/// Puts a start together.
pub(super) fn prepare(
    order: &Order,
    agent: &AgentName,
    account: &Account,
    host: &Host,
) -> Result<Launch, Failure> {
    let work = &order.text.work;
    let env = environment(order, agent, account, host)?;
    let setup = |what: &str| Failure::Setup(format!("{what} has a NUL character"));
    let text = |text: &str, what: &str| CString::new(text).map_err(|_| setup(what));
    let words = words(&work.execute);
    let argv = words
        .iter()
        .map(|word| text(word, "the command"))
        .collect::<Result<Vec<_>, _>>()?;
    let files = files(&words[0], env.get("PATH").map_or(PATH, String::as_str))
        .iter()
        .map(|file| text(file, "the command"))
        .collect::<Result<Vec<_>, _>>()?;
    let envp = env
        .iter()
        .map(|(name, value)| text(&format!("{name}={value}"), "the environment"))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Launch {
        run_id: order.run.run_id.to_string(),
        attempt: order.attempt,
        files,
        argv,
        envp,
        identity: host.root.then(|| account.identity.clone()),
        directory: text(work.cwd.as_deref().unwrap_or(&account.home), "cwd")?,
        or_root: work.cwd.is_none(),
        umask: u32::from(work.umask),
        nice: (host.root || work.nice != 0).then(|| i32::from(work.nice)),
        limits: limits(work, host),
    })
}

fn words(execute: &Execute) -> Vec<String> {
    match execute {
        Execute::Shell(line) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
        Execute::Vector(words) if words.is_empty() => vec![String::new()],
        Execute::Vector(words) => words.clone(),
    }
}

/// The files that `execvp` would try.
fn files(program: &str, path: &str) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    path.split(':')
        .map(|dir| if dir.is_empty() { "." } else { dir })
        .map(|dir| format!("{dir}/{program}"))
        .collect()
}

fn environment(
    order: &Order,
    agent: &AgentName,
    account: &Account,
    host: &Host,
) -> Result<BTreeMap<String, String>, Failure> {
    let work = &order.text.work;
    let mut env: BTreeMap<String, String> = [
        ("HOME", account.home.as_str()),
        ("USER", &account.name),
        ("LOGNAME", &account.name),
        ("SHELL", "/bin/sh"),
        ("PATH", PATH),
        ("LANG", "C.UTF-8"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    if let Some(path) = &work.env_file {
        let text = read_env_file(path, account, host)
            .map_err(|why| Failure::Setup(format!("the environment file `{path}` {why}")))?;
        let lines = parse_env_file(&text)
            .map_err(|why| Failure::Setup(format!("the environment file `{path}` {why}")))?;
        env.extend(lines);
    }
    env.extend(work.env.clone());
    env.extend(own_variables(order, agent));
    Ok(env)
}

fn own_variables(order: &Order, agent: &AgentName) -> [(String, String); 11] {
    let run = &order.run;
    [
        ("UCRON_TASK", order.text.name.to_string()),
        ("UCRON_GROUP", order.text.group.to_string()),
        ("UCRON_AGENT", agent.to_string()),
        ("UCRON_RUN_ID", run.run_id.to_string()),
        ("UCRON_SLOT", run.slot.to_string()),
        ("UCRON_PROCESSES", order.text.work.processes.to_string()),
        ("UCRON_ATTEMPT", order.attempt.to_string()),
        ("UCRON_SCHEDULED_AT", run.scheduled_at.to_string()),
        ("UCRON_CAUSE", run.cause.to_string()),
        ("UCRON_REVISION", run.revision.to_string()),
        ("UCRON_EPOCH", order.epoch.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
}

fn read_env_file(path: &str, account: &Account, host: &Host) -> Result<String, String> {
    let file = if host.root {
        let path = CString::new(path).map_err(|e| e.to_string())?;
        sys::open_as(&account.identity, &path).map(File::from)
    } else {
        File::open(path)
    };
    let file = file.map_err(|e| format!("cannot be opened by `{}`: {e}", account.name))?;
    let meta = file
        .metadata()
        .map_err(|e| format!("cannot be read: {e}"))?;
    if !meta.is_file() {
        return Err("is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(MAX_ENV_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| format!("cannot be read: {e}"))?;
    if bytes.len() as u64 > MAX_ENV_FILE {
        return Err(format!("has more than {MAX_ENV_FILE} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())
}

/// `NAME=value` lines; empty lines and those that start with `#` are passed over. Values are taken as they are.
fn parse_env_file(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let pair = line.split_once('=').filter(|(name, _)| !name.is_empty());
        let Some((name, value)) = pair else {
            return Err(format!("has no `NAME=value` in line {number}"));
        };
        if name.starts_with("UCRON_") {
            return Err(format!(
                "sets `{name}` in line {number}; UCRON_* is set by ucron itself"
            ));
        }
        pairs.push((name.to_owned(), value.to_owned()));
    }
    Ok(pairs)
}

fn limits(work: &Work, host: &Host) -> Vec<Rlimit> {
    let mut limits = vec![host.nofile];
    limits.extend(work.limits.iter().map(|limit| Rlimit {
        resource: resource(limit.kind).0,
        soft: limit.value,
        hard: limit.value,
    }));
    limits
}

/// The first limit of the task that lies above the keeper's own.
pub(super) fn raised(limits: &[Limit], host: &Host) -> Option<&'static str> {
    let above = |limit: &&Limit| {
        let own = match limit.kind {
            LimitKind::Nofile => Some(host.nofile.hard),
            kind => getrlimit(resource(kind).1).maximum,
        };
        own.is_some_and(|own| limit.value > own)
    };
    limits.iter().find(above).map(|limit| limit.kind.as_str())
}

fn resource(kind: LimitKind) -> (u32, Resource) {
    match kind {
        LimitKind::Nofile => (libc::RLIMIT_NOFILE, Resource::Nofile),
        LimitKind::As => (libc::RLIMIT_AS, Resource::As),
        LimitKind::Cpu => (libc::RLIMIT_CPU, Resource::Cpu),
        LimitKind::Nproc => (libc::RLIMIT_NPROC, Resource::Nproc),
        LimitKind::Core => (libc::RLIMIT_CORE, Resource::Core),
        LimitKind::Fsize => (libc::RLIMIT_FSIZE, Resource::Fsize),
        LimitKind::Data => (libc::RLIMIT_DATA, Resource::Data),
        LimitKind::Stack => (libc::RLIMIT_STACK, Resource::Stack),
        LimitKind::Memlock => (libc::RLIMIT_MEMLOCK, Resource::Memlock),
    }
}

/// Raises the keeper's own limit of open files; what it was, for the runs. What root starts gets the soft limit of
/// every session (`pam_limits(8)`, `systemd.exec(5)`), wherever the keeper was started.
pub(super) fn raise_nofile(root: bool) -> Rlimit {
    let before = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    // Without more descriptors fewer runs can be armed; nothing else changes.
    let _ = rustix::process::setrlimit(Resource::Nofile, raised);
    let hard = before.maximum.unwrap_or(u64::MAX);
    let soft = if root {
        SESSION_NOFILE.min(hard)
    } else {
        before.current.unwrap_or(u64::MAX)
    };
    Rlimit {
        resource: libc::RLIMIT_NOFILE,
        soft,
        hard,
    }
}

/// A child's failure in words and with its exit code.
pub(super) fn failure(launch: &Launch, stage: sys::Stage, error: &std::io::Error) -> Failure {
    let program = launch
        .argv
        .first()
        .map(|word| word.to_string_lossy())
        .unwrap_or_default();
    if stage != sys::Stage::Exec {
        let place = match stage {
            sys::Stage::Directory => format!(" `{}`", launch.directory.to_string_lossy()),
            _ => String::new(),
        };
        return Failure::Setup(format!("{}{place}: {error}", stage.words()));
    }
    exec_failure(&program, error.raw_os_error().unwrap_or(0))
}

/// The failure of an execve.
pub(super) fn exec_failure(program: &str, errno: i32) -> Failure {
    let missing = matches!(errno, libc::ENOENT | libc::ENOTDIR);
    let there = program.contains('/') && std::path::Path::new(program).exists();
    let why = match errno {
        libc::ENOENT if there => "its interpreter is not found".to_owned(),
        libc::ENOENT => "not found".to_owned(),
        libc::EACCES => "not executable".to_owned(),
        libc::ENOEXEC => "not a program, and no script with a `#!` line".to_owned(),
        errno => std::io::Error::from_raw_os_error(errno).to_string(),
    };
    Failure::Exec {
        code: if missing { 127 } else { 126 },
        reason: format!("`{program}`: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_for_as_execvp_does() {
        assert_eq!(files("/bin/x", PATH), ["/bin/x"]);
        assert_eq!(files("x", "/a::/b"), ["/a/x", "./x", "/b/x"]);
    }

    #[test]
    fn environment_files_are_lines_of_name_and_value() {
        let check = |text: &str, wanted: &str| {
            let got = match parse_env_file(text) {
                Ok(pairs) => format!("{pairs:?}"),
                Err(why) => why,
            };
            assert_eq!(got, wanted);
        };
        check("# c\n\nA=b c\nB==\n", r#"[("A", "b c"), ("B", "=")]"#);
        check("A\n", "has no `NAME=value` in line 1");
        check(
            "UCRON_X=1",
            "sets `UCRON_X` in line 1; UCRON_* is set by ucron itself",
        );
    }
}
