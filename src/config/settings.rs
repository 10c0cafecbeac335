//! What each program can be told, with the defaults and what must fit together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::values::{Bytes, list, span};
use super::{LogFormat, LogLevel, Settings};
use crate::rule::{Zone, format_duration};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);

/// Missed heartbeats after which a peer counts as silent.
const SILENT_AFTER: u32 = 3;
/// Renewals in one length of the center's lease.
const RENEWALS: u32 = 3;
/// A task's text has at most 64 KiB and its frame stays under half the limit.
const LEAST_FRAME: Bytes = Bytes(256 << 10);

/// Encryption of the connection to a database.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreTls {
    /// Unless the server is on this host.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

impl StoreTls {
    /// Its word in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

/// Settings of `ucron-center`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CenterSettings {
    /// Addresses to listen on, `ADDR:PORT`.
    #[serde(deserialize_with = "list::deserialize")]
    pub listen: Vec<String>,
    /// Addresses told to agents, clients and other centers, `HOST:PORT`; those of `listen` where none, but for
    /// wildcards.
    #[serde(deserialize_with = "list::deserialize")]
    pub advertise: Vec<String>,
    /// Where the store is; a SQLite file in the state directory where none.
    pub store: Option<String>,
    /// A file with the password of the store's database.
    pub store_password_file: Option<PathBuf>,
    /// A variable of the environment with that password.
    pub store_password_env: Option<String>,
    /// Whether the connection to the database is encrypted.
    pub store_tls: StoreTls,
    /// The authority of the database server's certificate, a PEM file.
    pub store_ca: Option<PathBuf>,
    /// The file of the key that seals the authority's private key on disk.
    pub ca_key_file: Option<PathBuf>,
    /// Zone of tasks without one.
    pub timezone: Zone,
    /// How far ahead runs are sent to their agents.
    #[serde(deserialize_with = "span::deserialize")]
    pub lead: Duration,
    /// How often agents give a sign of life; silent after three missed.
    #[serde(deserialize_with = "span::deserialize")]
    pub heartbeat: Duration,
    /// How long a center keeps the lead without renewing; it renews three times as often.
    #[serde(deserialize_with = "span::deserialize")]
    pub lease: Duration,
    /// How long runs that have ended are kept, failures excepted.
    #[serde(deserialize_with = "span::deserialize")]
    pub history: Duration,
    /// How many ended runs of one task are kept.
    pub history_runs: u32,
    /// How long failures are kept.
    #[serde(deserialize_with = "span::deserialize")]
    pub history_failures: Duration,
    /// The program, with its arguments, that is told of every condition; none where empty.
    #[serde(deserialize_with = "list::deserialize")]
    pub notify: Vec<String>,
    /// The same for single groups.
    pub notify_group: BTreeMap<String, Vec<String>>,
    /// How long such a program may take.
    #[serde(deserialize_with = "span::deserialize")]
    pub notify_timeout: Duration,
    /// Longest frame.
    pub max_frame: Bytes,
    /// What is logged.
    pub log: LogLevel,
    /// How.
    pub log_format: LogFormat,
}

impl Default for CenterSettings {
    fn default() -> Self {
        Self {
            listen: vec!["0.0.0.0:9502".to_owned()],
            advertise: Vec::new(),
            store: None,
            store_password_file: None,
            store_password_env: None,
            store_tls: StoreTls::default(),
            store_ca: None,
            ca_key_file: None,
            timezone: Zone::utc(),
            lead: 10 * SECOND,
            heartbeat: 3 * SECOND,
            lease: 3 * SECOND,
            history: 30 * DAY,
            history_runs: 10_000,
            history_failures: 90 * DAY,
            notify: Vec::new(),
            notify_group: BTreeMap::new(),
            notify_timeout: 30 * SECOND,
            max_frame: Bytes(1 << 20),
            log: LogLevel::default(),
            log_format: LogFormat::default(),
        }
    }
}

impl CenterSettings {
    /// How long after its last sign of life an agent counts as silent.
    pub fn silent_after(&self) -> Duration {
        self.heartbeat * SILENT_AFTER
    }

    /// How often the center renews its lease.
    pub fn renew_every(&self) -> Duration {
        self.lease / RENEWALS
    }
}

impl Settings for CenterSettings {
    const FILE: &'static str = "center.toml";
    const KEYS: &'static [&'static str] = &[
        "listen",
        "advertise",
        "store",
        "store_password_file",
        "store_password_env",
        "store_tls",
        "store_ca",
        "ca_key_file",
        "timezone",
        "lead",
        "heartbeat",
        "lease",
        "history",
        "history_runs",
        "history_failures",
        "notify",
        "notify_group",
        "notify_timeout",
        "max_frame",
        "log",
        "log_format",
    ];

    fn misfits(&self) -> Vec<String> {
        let lead = format_duration(self.lead);
        let takeover = self.lease + self.renew_every();
        let mut misfits = small_frame(self.max_frame);
        if self.listen.is_empty() {
            misfits.push("`listen` is empty; give at least one ADDR:PORT".to_owned());
        }
        let groups = self
            .notify_group
            .iter()
            .map(|(group, words)| (group.as_str(), words));
        misfits
            .extend(groups.filter_map(|(group, words)| no_program("notify_group", group, words)));
        if !self.notify.is_empty() {
            misfits.extend(no_program("notify", "", &self.notify));
        }
        if self.silent_after() >= self.lead {
            misfits.push(format!(
                "`lead` ({lead}) must be longer than three heartbeats ({}); raise `lead` or lower `heartbeat`",
                format_duration(self.silent_after())
            ));
        }
        if takeover * 2 >= self.lead {
            misfits.push(format!(
                "a takeover (`lease` and a third of it, {}) must be shorter than half of `lead` ({lead}); \
                 raise `lead` or lower `lease`",
                format_duration(takeover)
            ));
        }
        misfits
    }
}

/// Nobody knows in which directory or with which PATH a center was started.
fn no_program(key: &str, group: &str, words: &[String]) -> Option<String> {
    let program = words.first().map_or("", String::as_str);
    let whose = if group.is_empty() {
        format!("`{key}`")
    } else {
        format!("`{key}` of `{}`", group.escape_debug())
    };
    (!program.starts_with('/'))
        .then(|| format!("{whose} names no program; give its absolute path, then its arguments"))
}

fn small_frame(max_frame: Bytes) -> Vec<String> {
    if max_frame >= LEAST_FRAME {
        return Vec::new();
    }
    vec![format!(
        "`max_frame` ({max_frame}) is too small for a task's text; give at least {LEAST_FRAME}"
    )]
}

/// Settings of `ucron-agent`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentSettings {
    /// Address to wait on for the center, `ADDR:PORT`; the agent dials where none.
    pub listen: Option<String>,
    /// The centers, `ADDR:PORT`, in place of those learnt when joining; those where empty.
    #[serde(deserialize_with = "list::deserialize")]
    pub centers: Vec<String>,
    /// How often the agent gives a sign of life.
    #[serde(deserialize_with = "span::deserialize")]
    pub heartbeat: Duration,
    /// The program, with its arguments, that the keeper starts when no center was heard for too long; none where
    /// empty.
    #[serde(deserialize_with = "list::deserialize")]
    pub on_center_silent: Vec<String>,
    /// The account it runs as.
    pub on_center_silent_user: Option<String>,
    /// After how much silence.
    #[serde(deserialize_with = "span::deserialize")]
    pub center_silent_after: Duration,
    /// Longest frame.
    pub max_frame: Bytes,
    /// What is logged.
    pub log: LogLevel,
    /// How.
    pub log_format: LogFormat,
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self {
            listen: None,
            centers: Vec::new(),
            heartbeat: 3 * SECOND,
            on_center_silent: Vec::new(),
            on_center_silent_user: None,
            center_silent_after: Duration::from_mins(5),
            max_frame: Bytes(1 << 20),
            log: LogLevel::default(),
            log_format: LogFormat::default(),
        }
    }
}

impl Settings for AgentSettings {
    const FILE: &'static str = "agent.toml";
    const KEYS: &'static [&'static str] = &[
        "listen",
        "centers",
        "heartbeat",
        "on_center_silent",
        "on_center_silent_user",
        "center_silent_after",
        "max_frame",
        "log",
        "log_format",
    ];

    fn misfits(&self) -> Vec<String> {
        let mut misfits = small_frame(self.max_frame);
        if self.center_silent_after <= self.heartbeat * SILENT_AFTER {
            misfits.push(format!(
                "`center_silent_after` ({}) must be longer than three heartbeats ({})",
                format_duration(self.center_silent_after),
                format_duration(self.heartbeat * SILENT_AFTER)
            ));
        }
        if !self.on_center_silent.is_empty() {
            misfits.extend(no_program("on_center_silent", "", &self.on_center_silent));
            if self.on_center_silent_user.is_none() {
                misfits.push(
                    "`on_center_silent` runs as nobody yet; name its account in `on_center_silent_user`"
                        .to_owned(),
                );
            }
        }
        misfits
    }
}

/// How the keeper holds the processes of a run together.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TreeKind {
    /// A cgroup where one can be made, else a sub-reaper.
    #[default]
    Auto,
    /// A cgroup of its own.
    Cgroup,
    /// A sub-reaper of its own.
    Subreaper,
}

/// A table whose content is another reader's.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct ElsewhereRead;

impl<'de> Deserialize<'de> for ElsewhereRead {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        toml::Table::deserialize(from).map(|_| Self)
    }
}

/// Settings of `ucron-keeper`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeeperSettings {
    /// How long output stays on the host.
    #[serde(deserialize_with = "span::deserialize")]
    pub output_age: Duration,
    /// How much output stays on the host in all.
    pub output_size: Bytes,
    /// How much of one attempt's output is kept: head and tail.
    pub output_cap: Bytes,
    /// How processes are held together.
    pub tree: TreeKind,
    /// A table, which the keeper reads by itself.
    policy: ElsewhereRead,
    /// What is logged.
    pub log: LogLevel,
    /// How.
    pub log_format: LogFormat,
}

impl Default for KeeperSettings {
    fn default() -> Self {
        Self {
            output_age: 7 * DAY,
            output_size: Bytes(1 << 30),
            output_cap: Bytes(64 << 20),
            tree: TreeKind::default(),
            policy: ElsewhereRead,
            log: LogLevel::default(),
            log_format: LogFormat::default(),
        }
    }
}

impl Settings for KeeperSettings {
    const FILE: &'static str = "keeper.toml";
    const KEYS: &'static [&'static str] = &[
        "output_age",
        "output_size",
        "output_cap",
        "tree",
        "policy",
        "log",
        "log_format",
    ];

    fn misfits(&self) -> Vec<String> {
        if self.output_cap <= self.output_size {
            return Vec::new();
        }
        vec![format!(
            "`output_cap` ({}) is more than all output may be, `output_size` ({})",
            self.output_cap, self.output_size
        )]
    }
}
