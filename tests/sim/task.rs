//! A task of a scenario: what `ucron add` would be told, and how its command behaves.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use ucron::model::{
    AgentName, Execute, Overlap, Target, Task, TaskName, TaskSpec, UserName, Watch, Work,
};
use ucron::proto::request::{IfExists, Request, TaskAdd, TaskEdit};
use ucron::rule::{Rule, parse_duration_or_zero};

use crate::world::group;

/// A task.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "flags of the command line")]
pub struct TaskText {
    /// Its name.
    pub name: String,
    /// Its group.
    #[serde(default = "default_group")]
    pub group: String,
    /// When it is due.
    #[serde(default)]
    pub rule: Option<String>,
    /// How long its command takes.
    #[serde(default)]
    pub takes: Option<String>,
    /// How its command ends.
    #[serde(default)]
    pub exit: i32,
    #[serde(default)]
    ignores_term: bool,
    #[serde(default)]
    unseen: bool,
    /// Why the host does not bring it to its command.
    #[serde(default)]
    fails: Option<String>,
    /// The end of its output.
    #[serde(default)]
    says: Option<String>,
    #[serde(default)]
    overlap: Option<String>,
    /// Where it runs.
    #[serde(default)]
    pub target: Option<String>,
    #[serde(default)]
    daemon: bool,
    /// How many slots it has.
    #[serde(default)]
    pub processes: Option<u16>,
    #[serde(default)]
    retries: Option<u16>,
    #[serde(default)]
    timeout: Option<String>,
    #[serde(default)]
    catch_up: bool,
    #[serde(default)]
    misfire_grace: Option<String>,
    #[serde(default)]
    jitter: Option<String>,
    #[serde(default)]
    max_rate: Option<u32>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    warn_late: Option<String>,
    #[serde(default)]
    warn_failures: Option<u16>,
    #[serde(default)]
    max_duration: Option<String>,
    #[serde(default)]
    min_duration: Option<String>,
    /// The file tells nothing of its runs.
    #[serde(default)]
    pub untold: bool,
    /// Added by an `add` among the events, not at the beginning.
    #[serde(default)]
    pub later: bool,
}

fn default_group() -> String {
    "g".to_owned()
}

/// Milliseconds of `10s`, `0s`, `1m30s`, `1.5s`, `1m1.5s`.
pub fn millis(text: &str) -> i64 {
    if let Some((seconds, part)) = text.strip_suffix('s').and_then(|text| text.split_once('.')) {
        let thousandths: i64 = format!("{part:0<3}").parse().unwrap();
        return millis(&format!("{seconds}s")) + thousandths;
    }
    let span = parse_duration_or_zero(text);
    let span = span.unwrap_or_else(|e| panic!("`{text}` is no duration: {e}"));
    i64::try_from(span.as_millis()).unwrap()
}

/// A duration.
pub fn span(text: &str) -> Duration {
    Duration::from_millis(millis(text).unsigned_abs())
}

impl TaskText {
    /// A task of this name that does nothing yet.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            group: default_group(),
            rule: None,
            takes: None,
            exit: 0,
            ignores_term: false,
            unseen: false,
            fails: None,
            says: None,
            overlap: None,
            target: None,
            daemon: false,
            processes: None,
            retries: None,
            timeout: None,
            catch_up: false,
            misfire_grace: None,
            jitter: None,
            max_rate: None,
            env: BTreeMap::new(),
            warn_late: None,
            warn_failures: None,
            max_duration: None,
            min_duration: None,
            untold: false,
            later: false,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is a daemon.
    pub fn is_daemon(&self) -> bool {
        self.daemon
    }

    /// Makes it a daemon.
    pub fn make_daemon(&mut self) {
        self.daemon = true;
        self.takes = None;
    }

    /// Sets when it is due.
    pub fn set_rule(&mut self, rule: &str) {
        self.rule = Some(rule.to_owned());
    }

    /// Sets how long its command takes.
    pub fn set_takes(&mut self, takes: &str) {
        self.takes = Some(takes.to_owned());
    }

    /// Sets a variable of its command.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.env.insert(name.to_owned(), value.to_owned());
    }

    /// Sets where it runs.
    pub fn set_target(&mut self, target: &str) {
        self.target = Some(target.to_owned());
    }

    /// Sets how many slots it has.
    pub fn set_processes(&mut self, processes: u16) {
        self.processes = Some(processes);
    }

    /// Sets what happens when it is due while it runs.
    pub fn set_overlap(&mut self, overlap: &str) {
        self.overlap = Some(overlap.to_owned());
    }

    /// Sets over how long its starts are spread.
    pub fn set_jitter(&mut self, jitter: &str) {
        self.jitter = Some(jitter.to_owned());
    }

    /// Lets it catch up for so long.
    pub fn set_catch_up(&mut self, grace: &str) {
        self.catch_up = true;
        self.misfire_grace = Some(grace.to_owned());
    }

    /// Sets how its command ends.
    pub fn set_behaviour(&mut self, exit: i32, ignores_term: bool, retries: u16) {
        self.exit = exit;
        self.ignores_term = ignores_term;
        self.retries = Some(retries);
    }

    /// The request that makes a stored task this one.
    pub fn edit_request(&self, old: &Task) -> Request {
        Request::TaskEdit(Box::new(TaskEdit {
            task: old.id.to_string(),
            revision: old.revision,
            group: group(&self.group),
            name: old.name.clone(),
            spec: self.spec(),
            dry_run: false,
        }))
    }

    fn spec(&self) -> TaskSpec {
        let takes = self.takes.as_deref().unwrap_or("0s");
        let takes = if takes == "for ever" || self.daemon && self.takes.is_none() {
            "for-ever".to_owned()
        } else {
            millis(takes).to_string()
        };
        let mut words = vec!["work".to_owned(), takes, self.exit.to_string()];
        if self.ignores_term {
            words.push("ignores-term".to_owned());
        }
        if self.unseen {
            words.push("unseen".to_owned());
        }
        words.extend(self.fails.iter().map(|why| format!("fails={why}")));
        words.extend(self.says.iter().map(|text| format!("says={text}")));
        let mut work = Work::new(Execute::Vector(words), UserName::parse("nobody").unwrap());
        work.daemon = self.daemon;
        work.processes = self.processes.unwrap_or(1);
        work.retries = self.retries.unwrap_or(0);
        work.timeout = self.timeout.as_deref().map(span);
        work.env = self.env.clone();
        if let Some(overlap) = &self.overlap {
            work.overlap = overlap.parse::<Overlap>().unwrap();
        }
        let rule = match &self.rule {
            Some(rule) => rule.as_str(),
            None => "@always",
        };
        let mut spec = TaskSpec::new(Rule::parse(rule).unwrap(), work);
        spec.catch_up = self.catch_up;
        if let Some(grace) = &self.misfire_grace {
            spec.misfire_grace = span(grace);
        }
        if let Some(jitter) = &self.jitter {
            spec.jitter = span(jitter);
        }
        if let Some(rate) = self.max_rate {
            spec.max_rate = rate;
        }
        spec.target = target(self.target.as_deref().unwrap_or("all"));
        self.watch(&mut spec.watch);
        spec
    }

    fn watch(&self, watch: &mut Watch) {
        watch.late = self.warn_late.as_deref().map(span).or(watch.late);
        watch.failures = self.warn_failures.unwrap_or(watch.failures);
        watch.longest = self.max_duration.as_deref().map(span);
        watch.shortest = self.min_duration.as_deref().map(span);
    }

    /// The request that adds it.
    pub fn add(&self) -> Request {
        Request::TaskAdd(Box::new(TaskAdd {
            group: group(&self.group),
            name: TaskName::parse(&self.name).unwrap(),
            enabled: true,
            spec: self.spec(),
            if_exists: IfExists::Fail,
            dry_run: false,
        }))
    }
}

fn target(text: &str) -> Target {
    match text {
        "all" => Target::ALL,
        "one" => Target::ONE,
        names => Target::Named(names.split(',').map(agent_name).collect()),
    }
}

/// An agent's name.
pub fn agent_name(text: &str) -> AgentName {
    AgentName::parse(text.trim()).unwrap()
}
