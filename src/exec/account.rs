//! Accounts of the host: looked up before a start, with all groups.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::unistd::{Gid, User, getgrouplist};

use super::sys::Identity;

/// How long a looked-up account is believed: a burst of starts asks the host's directory once.
const FRESH: Duration = Duration::from_secs(1);

/// An account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Account {
    pub name: String,
    pub home: String,
    pub identity: Identity,
}

/// Accounts looked up a moment ago.
#[derive(Debug, Default)]
pub(super) struct Accounts(Mutex<HashMap<String, (Instant, Account)>>);

impl Accounts {
    /// The account of this name, or why there is none, in words.
    pub fn find(&self, name: &str) -> Result<Account, String> {
        let known = |table: &HashMap<String, (Instant, Account)>| {
            table
                .get(name)
                .filter(|(at, _)| at.elapsed() < FRESH)
                .map(|(_, account)| account.clone())
        };
        if let Some(account) = self.0.lock().ok().and_then(|table| known(&table)) {
            return Ok(account);
        }
        let account = look_up(name)?;
        if let Ok(mut table) = self.0.lock() {
            table.retain(|_, (at, _)| at.elapsed() < FRESH);
            table.insert(name.to_owned(), (Instant::now(), account.clone()));
        }
        Ok(account)
    }
}

fn look_up(name: &str) -> Result<Account, String> {
    let user = User::from_name(name)
        .map_err(|e| format!("cannot look up the account `{name}`: {e}"))?
        .ok_or_else(|| format!("there is no account `{name}` on this host"))?;
    let gid = user.gid;
    let c_name = CString::new(name).map_err(|_| format!("`{name}` is no account's name"))?;
    let groups = getgrouplist(&c_name, gid)
        .map_err(|e| format!("cannot look up the groups of `{name}`: {e}"))?;
    Ok(Account {
        name: user.name,
        home: user.dir.to_string_lossy().into_owned(),
        identity: Identity {
            uid: user.uid.as_raw(),
            gid: gid.as_raw(),
            groups: groups.into_iter().map(Gid::as_raw).collect(),
        },
    })
}

/// The name of a user, or its number where it has none.
pub(super) fn name_of(uid: u32) -> String {
    match User::from_uid(uid.into()) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    }
}
