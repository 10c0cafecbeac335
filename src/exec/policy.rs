//! The host's last word, read from its file: which accounts, groups and commands may run here. The rules and the
//! words of a refusal are `model`'s; this owns where they stand, who may have written them, and when they are
//! read again.
//!
//! The first of these that is there counts: the file given by `--policy`; `DIR/policy.toml` and the table `[policy]`
//! of `DIR/keeper.toml`, where DIR is the keeper's own; for a root keeper the table `[policy]` of
//! `/etc/ucron/keeper.toml`; `DIR/policy.toml` where DIR is the agent's, who can take it away but not change it.
//!
//! A policy that others could have written allows nothing. One that cannot be understood is told, with its line,
//! and the former one stays; where there is no former one, nothing is run.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags};
use serde::Deserialize;
use tracing::{error, info, warn};

use super::account::{Account, name_of};
use super::dir::StateDir;
use crate::config::{FileFault, system_file};
use crate::model::{GroupName, HostPolicy, PolicyRules, RunAs, Work};

/// Bytes of a policy at most.
const MAX_FILE: u64 = 64 * 1024;

/// What the policy decides on.
#[derive(Debug)]
pub(super) struct Question<'a> {
    /// The account.
    pub account: &'a Account,
    /// The accounts of the agent.
    pub agents: &'a [u32],
    /// The task's group.
    pub group: &'a GroupName,
    /// The task's text.
    pub work: &'a Work,
    /// A wanted limit that lies above the keeper's own, if any.
    pub raised: Option<&'static str>,
}

/// A file in which the policy may stand.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Source {
    path: PathBuf,
    /// Whether it is a settings file, in which the policy is a table.
    settings: bool,
    /// Whether it must be there.
    required: bool,
    /// Whether the agent's account could take it away.
    removable: bool,
}

impl Source {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            settings: false,
            required: false,
            removable: false,
        }
    }

    fn place(&self) -> String {
        let table = if self.settings {
            ", table `[policy]`"
        } else {
            ""
        };
        format!("`{}`{table}", self.path.display())
    }
}

/// Where the policy of a state directory may stand, in order.
fn sources(dir: &StateDir, given: Option<&Path>) -> Vec<Source> {
    if let Some(path) = given {
        let mut source = Source::new(path.to_owned());
        source.required = true;
        return vec![source];
    }
    let own = Source::new(dir.policy());
    let settings = |path: PathBuf| Source {
        settings: true,
        ..Source::new(path)
    };
    let system = settings(system_file("keeper.toml"));
    let in_dir = settings(dir.path().join("keeper.toml"));
    match (dir.uid == 0, dir.is_agents()) {
        (true, true) => {
            let removable = Source {
                removable: true,
                ..own
            };
            vec![system, removable]
        }
        (true, false) => vec![own, in_dir, system],
        (false, _) => vec![own, in_dir],
    }
}

/// The policy, kept until its files change.
#[derive(Debug)]
pub(super) struct PolicyFile {
    sources: Vec<Source>,
    uid: u32,
    seen: Mutex<Seen>,
    changes: AtomicU64,
}

/// Identity of a file's content.
type Stamp = Option<(u64, u64, i64, i64, u64)>;
/// Rules and the source in which they stand.
type Found = Option<(usize, PolicyRules)>;

#[derive(Debug, Default)]
struct Seen {
    stamps: Option<Vec<Stamp>>,
    /// What counts, or why nothing is run.
    standing: Option<Result<Found, String>>,
}

/// Why a file gives no rules.
#[derive(Debug)]
enum Fault {
    /// Others could have written it.
    Unsafe(String),
    /// It cannot be read, or says what is no policy.
    Broken(String),
}

impl PolicyFile {
    /// Reads the policy of a state directory; faults are told in the log.
    pub fn open(dir: &StateDir, given: Option<&Path>) -> Self {
        let policy = Self::new(sources(dir, given), dir.uid);
        if let Ok(Some((at, _))) = policy.standing()
            && policy.sources[at].removable
        {
            warn!(
                "the policy {} lies in a directory of the agent's account, which can take it away; put it in {}",
                policy.sources[at].place(),
                policy.sources[0].place()
            );
        }
        policy
    }

    fn new(sources: Vec<Source>, uid: u32) -> Self {
        Self {
            sources,
            uid,
            seen: Mutex::default(),
            changes: AtomicU64::new(0),
        }
    }

    /// Refuses, in words, what the host does not allow.
    pub fn check(&self, question: &Question<'_>) -> Result<(), String> {
        let uid = question.account.identity.uid;
        let run_as = RunAs {
            name: &question.account.name,
            is_root: uid == 0,
            is_keeper: uid == self.uid,
            is_agent: question.agents.contains(&uid),
        };
        let policy = self.view(&[]);
        policy.check(run_as, question.group, question.work)?;
        question
            .raised
            .map_or(Ok(()), |limit| policy.check_raised(limit))
    }

    /// What is allowed, complete; `agents` are the accounts of the agent.
    pub fn view(&self, agents: &[u32]) -> HostPolicy {
        let (found, fault) = match self.standing() {
            Ok(found) => (found, None),
            Err(fault) => (None, Some(fault)),
        };
        let at = found.as_ref().map_or(0, |(at, _)| *at);
        HostPolicy {
            keeper: name_of(self.uid),
            root: self.uid == 0,
            agents: agents
                .iter()
                .filter(|uid| **uid != self.uid)
                .map(|uid| name_of(*uid))
                .collect(),
            place: self.sources[at].place(),
            rules: found.map(|(_, rules)| rules),
            fault,
        }
    }

    /// Grows whenever another policy counts.
    pub fn changes(&self) -> u64 {
        // A change that nobody has asked for yet is seen here.
        drop(self.standing());
        self.changes.load(Ordering::SeqCst)
    }

    /// Reads the files again even if they look the same.
    pub fn read_again(&self) {
        self.seen().stamps = None;
        if self.standing().is_ok() {
            info!("the policy was read again");
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // What a thread that panicked left here is whole: it is set in one assignment each.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn standing(&self) -> Result<Found, String> {
        let stamps: Vec<Stamp> = self.sources.iter().map(stamp).collect();
        let mut seen = self.seen();
        if let (Some(known), Some(standing)) = (&seen.stamps, &seen.standing)
            && *known == stamps
        {
            return standing.clone();
        }
        let standing = self.replace(seen.standing.as_ref(), self.read());
        if seen.standing.as_ref() != Some(&standing) {
            self.changes.fetch_add(1, Ordering::SeqCst);
        }
        seen.stamps = Some(stamps);
        seen.standing = Some(standing.clone());
        standing
    }

    /// What counts from here on: mostly what was read, sometimes what counted before.
    fn replace(
        &self,
        former: Option<&Result<Found, String>>,
        read: Result<Found, Fault>,
    ) -> Result<Found, String> {
        match (read, former) {
            (Ok(None), Some(Ok(Some((at, rules))))) if self.sources[*at].removable => {
                error!(
                    "the policy {} is gone; the agent's account can do that, so what it said stays until this keeper ends",
                    self.sources[*at].place()
                );
                Ok(Some((*at, rules.clone())))
            }
            (Ok(found), _) => Ok(found),
            (Err(Fault::Broken(why)), Some(Ok(former))) => {
                error!("the former policy stays: {why}");
                Ok(former.clone())
            }
            (Err(Fault::Broken(why) | Fault::Unsafe(why)), _) => {
                error!("nothing is run: {why}");
                // The first line says it; the rest is a picture of the place.
                Err(why.lines().next().unwrap_or_default().to_owned())
            }
        }
    }

    /// The first source that is there.
    fn read(&self) -> Result<Found, Fault> {
        for (at, source) in self.sources.iter().enumerate() {
            if let Some(rules) = read_source(source, self.uid)? {
                return Ok(Some((at, rules)));
            }
        }
        Ok(None)
    }
}

fn stamp(source: &Source) -> Stamp {
    let meta = std::fs::symlink_metadata(&source.path).ok()?;
    Some((
        meta.dev(),
        meta.ino(),
        meta.ctime(),
        meta.ctime_nsec(),
        meta.size(),
    ))
}

fn read_source(source: &Source, uid: u32) -> Result<Option<PolicyRules>, Fault> {
    let path = &source.path;
    let broken = |e: &io::Error| {
        Fault::Broken(format!(
            "the policy `{}` cannot be read: {e}",
            path.display()
        ))
    };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) if !source.required => return Ok(None),
        Err(rustix::io::Errno::LOOP) => return Err(others_could_write(path)),
        Err(e) => return Err(broken(&e.into())),
    };
    let meta = file.metadata().map_err(|e| broken(&e))?;
    let owned = meta.uid() == uid || meta.uid() == 0;
    // A second name could be that of another file of root's, put there by whoever owns the directory.
    let alone = !source.removable || meta.nlink() == 1;
    if !meta.is_file() || !owned || !alone || meta.mode() & 0o022 != 0 {
        return Err(others_could_write(path));
    }
    let mut text = String::new();
    file.take(MAX_FILE)
        .read_to_string(&mut text)
        .map_err(|e| broken(&e))?;
    if text.len() as u64 == MAX_FILE {
        let large = io::Error::other(format!("it has {MAX_FILE} bytes or more"));
        return Err(broken(&large));
    }
    parse(path, &text, source.settings).map_err(|fault| {
        let path = path.display();
        Fault::Broken(format!("the policy `{path}` cannot be used: {fault}"))
    })
}

fn others_could_write(path: &Path) -> Fault {
    Fault::Unsafe(format!(
        "the policy `{}` must be a file of the keeper's account that nobody else can write",
        path.display()
    ))
}

/// A settings file, as far as the policy goes.
#[derive(Deserialize)]
struct Tables {
    policy: Option<PolicyRules>,
}

/// The rules of a text; a table `[policy]` counts in every file, and nothing else in one of settings.
fn parse(path: &Path, text: &str, settings: bool) -> Result<Option<PolicyRules>, FileFault> {
    let fault = |e: &toml::de::Error| {
        let at = e.span().map_or(0, |span| span.start);
        FileFault::at(path, text, at, e.message())
    };
    let tables: Tables = toml::from_str(text).map_err(|e| fault(&e))?;
    let rules = match tables.policy {
        Some(rules) => rules,
        None if settings => return Ok(None),
        None => toml::from_str(text).map_err(|e| fault(&e))?,
    };
    match rules.fault() {
        Some(why) => {
            let at = text.find("commands").unwrap_or(0);
            Err(FileFault::at(path, text, at, &why))
        }
        None => Ok(Some(rules)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tempfile::TempDir;

    use super::*;

    struct Files {
        dir: TempDir,
        policy: PolicyFile,
    }

    impl Files {
        /// Two files: `first`, then `second`, which has settings too.
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let mut sources = vec![
                Source::new(dir.path().join("first")),
                Source::new(dir.path().join("second")),
            ];
            sources[1].settings = true;
            let policy = PolicyFile::new(sources, rustix::process::geteuid().as_raw());
            Self { dir, policy }
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.dir.path().join(name);
            drop(std::fs::remove_file(&path));
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        }

        /// The users that count, or why there are none.
        fn check(&self, wanted: &str) {
            let got = match self.policy.standing() {
                Ok(Some((at, rules))) => format!("{at} {}", rules.users.join(" ")),
                Ok(None) => "none".to_owned(),
                Err(why) => why,
            };
            assert!(got.contains(wanted), "{got}");
        }
    }

    #[test]
    fn the_first_file_that_is_there_counts() {
        let files = Files::new();
        files.check("none");
        files.write("second", "log = \"info\"\n");
        files.check("none");
        files.write("second", "log = \"info\"\n[policy]\nusers = [\"b\"]\n");
        files.check("1 b");
        files.write("first", "users = [\"a\"]\n");
        files.check("0 a");
        files.write("first", "[policy]\nusers = [\"c\"]\n");
        files.check("0 c");
    }

    #[test]
    fn what_cannot_be_understood_leaves_the_former_policy() {
        let files = Files::new();
        files.write("first", "user = []\n");
        files.check("first:1:1: ");
        files.write("first", "users = [\"a\"]\n");
        let before = files.policy.changes();
        files.check("0 a");
        files.write("first", "users = [\"a\"\n");
        files.check("0 a");
        files.write("first", "users = []\ncommands = [[\"rsync\"]]\n");
        files.check("0 a");
        assert_eq!(files.policy.changes(), before);
        files.write("first", "users = []\n");
        files.check("0 ");
        assert_eq!(files.policy.changes(), before + 1);
    }

    #[test]
    fn what_others_could_have_written_allows_nothing() {
        let files = Files::new();
        files.write("first", "users = [\"a\"]\n");
        files.check("0 a");
        let path = files.dir.path().join("first");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o664)).unwrap();
        files.check("nobody else can write");
        files.write("real", "users = [\"a\"]\n");
        std::fs::remove_file(&path).unwrap();
        symlink("real", &path).unwrap();
        files.check("nobody else can write");
    }

    #[test]
    fn a_policy_that_the_agent_took_away_still_counts() {
        let mut files = Files::new();
        files.policy.sources[0].removable = true;
        files.write("first", "users = [\"a\"]\n");
        files.check("0 a");
        std::fs::remove_file(files.dir.path().join("first")).unwrap();
        files.check("0 a");
        files.write("first", "users = [\"b\"]\n");
        files.check("0 b");
        let link = files.dir.path().join("link");
        std::fs::hard_link(files.dir.path().join("first"), link).unwrap();
        files.check("nobody else can write");
    }

    #[test]
    fn a_file_that_is_asked_for_must_be_there() {
        let mut files = Files::new();
        files.policy.sources[0].required = true;
        files.check("cannot be read: No such file");
    }
}
