//! The host's last word: which accounts may run commands here. `DIR/policy.toml`:
//!
//!     users = ["deploy", "www-data"]     # names, or "*" for all but root and the agent's own account
//!
//! Without the file a root keeper runs every account but root and the agent's own; a keeper that is not root
//! runs its own account only. The file is read again when it changes. It must belong to the keeper's account
//! and be writable by nobody else; otherwise, and when it cannot be read as a policy, nothing is run.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::Deserialize;

use super::account::Account;

/// The file.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    /// Accounts that may be run as.
    users: Vec<String>,
    /// Whether negative `nice` is allowed.
    #[serde(default)]
    negative_nice: bool,
    /// Whether limits above the keeper's own are allowed.
    #[serde(default)]
    raise_limits: bool,
}

/// What the policy decides on.
#[derive(Debug)]
pub(super) struct Question<'a> {
    /// The account.
    pub account: &'a Account,
    /// The accounts of the agent.
    pub agents: &'a [u32],
    /// Wanted priority.
    pub nice: i8,
    /// A wanted limit that lies above the keeper's own, if any.
    pub raised: Option<&'static str>,
}

/// The policy file, kept until it changes.
#[derive(Debug)]
pub(super) struct PolicyFile {
    path: PathBuf,
    uid: u32,
    seen: Mutex<Option<Seen>>,
}

/// Identity of the file's content, and what it says.
type Seen = ((u64, i64, i64, u64), Result<Policy, String>);

impl PolicyFile {
    pub fn new(path: PathBuf, uid: u32) -> Self {
        Self {
            path,
            uid,
            seen: Mutex::new(None),
        }
    }

    /// Refuses, in words, what the host does not allow.
    pub fn check(&self, question: &Question<'_>) -> Result<(), String> {
        decide(self.uid, &self.path, self.policy()?.as_ref(), question)
    }

    fn policy(&self) -> Result<Option<Policy>, String> {
        let meta = match std::fs::symlink_metadata(&self.path) {
            Ok(meta) => meta,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => {
                return Err(format!(
                    "cannot read the policy `{}`: {e}",
                    self.path.display()
                ));
            }
        };
        let stamp = (meta.ino(), meta.ctime(), meta.ctime_nsec(), meta.size());
        let mut seen = self.seen.lock().map_err(|e| e.to_string())?;
        if let Some((known, policy)) = &*seen
            && *known == stamp
        {
            return policy.clone().map(Some);
        }
        let policy = if !meta.is_file() || meta.uid() != self.uid || meta.mode() & 0o022 != 0 {
            Err(format!(
                "the policy `{}` must be a file of the keeper's account that nobody else can write",
                self.path.display()
            ))
        } else {
            read(&self.path)
        };
        *seen = Some((stamp, policy.clone()));
        policy.map(Some)
    }
}

fn read(path: &Path) -> Result<Policy, String> {
    let fault = |why: String| format!("the policy `{}` cannot be used: {why}", path.display());
    let text = std::fs::read_to_string(path).map_err(|e| fault(e.to_string()))?;
    toml::from_str(&text).map_err(|e| fault(e.to_string().trim_end().replace('\n', " ")))
}

fn decide(
    uid: u32,
    path: &Path,
    policy: Option<&Policy>,
    question: &Question<'_>,
) -> Result<(), String> {
    let name = &question.account.name;
    let wanted = question.account.identity.uid;
    let file = path.display();
    if uid != 0 && wanted != uid {
        return Err(format!(
            "this keeper is not root and runs its own account only, not `{name}`"
        ));
    }
    if uid == 0 && wanted != 0 && question.agents.contains(&wanted) {
        return Err(format!(
            "`{name}` is the agent's own account, which runs nothing"
        ));
    }
    let named = policy.is_some_and(|policy| policy.users.contains(name));
    let all = policy.is_none_or(|policy| policy.users.iter().any(|user| user == "*"));
    let allowed = named || (all && (wanted != 0 || uid != 0));
    if !allowed {
        return Err(format!(
            "the policy of this host does not allow user `{name}`; to allow it, write `users = [\"{name}\"]` in `{file}`"
        ));
    }
    if question.nice < 0 && !policy.is_some_and(|policy| policy.negative_nice) {
        return Err(format!(
            "negative nice is not allowed; to allow it, write `negative_nice = true` in `{file}`"
        ));
    }
    if let Some(limit) = question.raised
        && !policy.is_some_and(|policy| policy.raise_limits)
    {
        return Err(format!(
            "the limit `{limit}` is above the host's; to allow it, write `raise_limits = true` in `{file}`"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::sys::Identity;
    use super::*;

    fn check(uid: u32, policy: Option<&str>, wanted: (&str, u32), nice: i8, answer: &str) {
        let account = Account {
            name: wanted.0.to_owned(),
            home: "/".to_owned(),
            identity: Identity {
                uid: wanted.1,
                gid: 1,
                groups: vec![],
            },
        };
        let policy: Option<Policy> = policy.map(|text| toml::from_str(text).unwrap());
        let question = Question {
            account: &account,
            agents: &[50],
            nice,
            raised: None,
        };
        let got = decide(uid, Path::new("/d/policy.toml"), policy.as_ref(), &question);
        let got = got.err().unwrap_or_else(|| "ok".to_owned());
        assert!(got.contains(answer), "{got}");
    }

    #[test]
    fn the_host_decides_who_runs() {
        check(0, None, ("www", 33), 0, "ok");
        check(
            0,
            None,
            ("root", 0),
            0,
            "write `users = [\"root\"]` in `/d/policy.toml`",
        );
        check(0, None, ("ucron", 50), 0, "agent's own account");
        check(0, Some("users = ['root']"), ("root", 0), 0, "ok");
        check(
            0,
            Some("users = ['root']"),
            ("www", 33),
            0,
            "does not allow user `www`",
        );
        check(0, Some("users = ['*']"), ("www", 33), 0, "ok");
        check(0, Some("users = ['*']"), ("root", 0), 0, "does not allow");
        check(7, None, ("me", 7), 0, "ok");
        check(7, None, ("www", 33), 0, "own account only");
        check(7, Some("users = []"), ("me", 7), 0, "does not allow");
        check(0, None, ("www", 33), -1, "negative_nice = true");
    }
}
