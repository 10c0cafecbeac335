//! What a host lets ucron run: the keeper's policy, decided by the keeper for every start and, from what the keeper
//! has told, by the center for the warnings of `add`. Owns the words of a refusal; reads no file.

use serde::{Deserialize, Serialize};

use super::{Execute, GroupName, UserName, Work};

/// The rules of a policy file.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRules {
    /// Accounts that may be run as; `*` is every account but root and the agent's own.
    pub users: Vec<String>,
    /// Groups of agents whose tasks may start commands; all where none are named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<GroupName>>,
    /// Leading elements of the vectors that may be run; every command where none are named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commands: Option<Vec<Vec<String>>>,
    /// Whether shell lines may be run; where nothing is said, only without `commands`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<bool>,
    /// Whether a task may set variables although `commands` says what it may run.
    #[serde(default)]
    pub environment: bool,
    /// Whether negative `nice` is allowed.
    #[serde(default)]
    pub negative_nice: bool,
    /// Whether limits above the keeper's own are allowed.
    #[serde(default)]
    pub raise_limits: bool,
}

impl PolicyRules {
    /// What cannot be meant so, in words.
    pub fn fault(&self) -> Option<String> {
        for prefix in self.commands.iter().flatten() {
            match prefix.first() {
                None => return Some("`commands` has an empty prefix, which allows everything; leave `commands` out for that".to_owned()),
                Some(program) if !program.starts_with('/') => {
                    return Some(format!(
                        "the prefix `{program}` of `commands` is no absolute path: a task's PATH would decide what it is"
                    ));
                }
                Some(_) => {}
            }
        }
        None
    }
}

/// What a keeper allows, complete: its account, the file that counts, and its rules.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostPolicy {
    /// Account of the keeper.
    pub keeper: String,
    /// Whether that is root, which alone can run other accounts.
    pub root: bool,
    /// Accounts of the agent, as which a root keeper runs nothing.
    pub agents: Vec<String>,
    /// Where to write what is to be allowed, in words: a file, or a table in one.
    pub place: String,
    /// The rules that stand there; none where nothing does.
    pub rules: Option<PolicyRules>,
    /// Why nothing is run at all, if so.
    pub fault: Option<String>,
}

/// An account, and what it is to the keeper.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunAs<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it is root, under whatever name.
    pub is_root: bool,
    /// Whether it is the keeper's.
    pub is_keeper: bool,
    /// Whether it is the agent's.
    pub is_agent: bool,
}

impl HostPolicy {
    /// An account of which only the name is known.
    pub fn run_as<'a>(&self, user: &'a UserName) -> RunAs<'a> {
        let name = user.as_str();
        RunAs {
            name,
            is_root: name == "root",
            is_keeper: name == self.keeper,
            is_agent: self.agents.iter().any(|agent| agent == name),
        }
    }

    /// Refuses, in words that say what would allow it, a task of this group with this text as this account.
    pub fn check(&self, run_as: RunAs<'_>, group: &GroupName, work: &Work) -> Result<(), String> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        self.check_account(run_as)?;
        let Some(rules) = &self.rules else {
            return self.check_nice(work);
        };
        self.check_group(rules, group)?;
        self.check_command(rules, work)?;
        self.check_nice(work)
    }

    fn check_account(&self, run_as: RunAs<'_>) -> Result<(), String> {
        let RunAs { name, .. } = run_as;
        if !self.root && !run_as.is_keeper {
            return Err(format!(
                "this keeper is not root and runs its own account only, not `{name}`"
            ));
        }
        if self.root && run_as.is_agent && !run_as.is_root {
            return Err(format!(
                "`{name}` is the agent's own account, which runs nothing"
            ));
        }
        let named = |wanted: &str| {
            let users = self.rules.iter().flat_map(|rules| &rules.users);
            users.into_iter().any(|user| user == wanted)
        };
        let all = self.rules.is_none() || named("*");
        if named(name) || (all && (!run_as.is_root || !self.root)) {
            return Ok(());
        }
        Err(format!(
            "the policy of this host does not allow user `{name}`; to allow it, write `users = [\"{name}\"]` in {}",
            self.place
        ))
    }

    fn check_group(&self, rules: &PolicyRules, group: &GroupName) -> Result<(), String> {
        let allowed = rules
            .groups
            .as_ref()
            .is_none_or(|groups| groups.contains(group));
        if allowed {
            return Ok(());
        }
        Err(format!(
            "the policy of this host does not allow tasks of group `{group}`; to allow them, add it to `groups` in {}",
            self.place
        ))
    }

    fn check_command(&self, rules: &PolicyRules, work: &Work) -> Result<(), String> {
        let place = &self.place;
        let Execute::Vector(words) = &work.execute else {
            return if rules.shell.unwrap_or(rules.commands.is_none()) {
                Ok(())
            } else {
                Err(format!(
                    "the policy of this host does not allow shell lines; to allow them, write `shell = true` in {place}"
                ))
            };
        };
        let Some(commands) = &rules.commands else {
            return Ok(());
        };
        if !commands.iter().any(|prefix| words.starts_with(prefix)) {
            return Err(format!(
                "the policy of this host does not allow the command `{}`; to allow it, add its first words to `commands` in {place}",
                work.execute
            ));
        }
        if !rules.environment && (!work.env.is_empty() || work.env_file.is_some()) {
            return Err(format!(
                "the policy of this host names commands, whose tasks set no variables; to allow that, write `environment = true` in {place}"
            ));
        }
        Ok(())
    }

    fn check_nice(&self, work: &Work) -> Result<(), String> {
        let allowed = self.rules.as_ref().is_some_and(|rules| rules.negative_nice);
        if work.nice >= 0 || allowed {
            return Ok(());
        }
        Err(format!(
            "negative nice is not allowed; to allow it, write `negative_nice = true` in {}",
            self.place
        ))
    }

    /// Refuses a limit above the keeper's own.
    pub fn check_raised(&self, limit: &str) -> Result<(), String> {
        if self.rules.as_ref().is_some_and(|rules| rules.raise_limits) {
            return Ok(());
        }
        Err(format!(
            "the limit `{limit}` is above the host's; to allow it, write `raise_limits = true` in {}",
            self.place
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(root: bool, rules: Option<PolicyRules>) -> HostPolicy {
        HostPolicy {
            keeper: if root { "root" } else { "me" }.to_owned(),
            root,
            agents: vec!["ucron".to_owned()],
            place: "`/d/policy.toml`".to_owned(),
            rules,
            fault: None,
        }
    }

    fn rules(users: &[&str]) -> PolicyRules {
        PolicyRules {
            users: users.iter().map(|user| (*user).to_owned()).collect(),
            ..PolicyRules::default()
        }
    }

    fn work(user: &str, words: &[&str]) -> Work {
        let execute = match words {
            ["-c", line] => Execute::Shell((*line).to_owned()),
            words => Execute::Vector(words.iter().map(|word| (*word).to_owned()).collect()),
        };
        Work::new(execute, user.parse().unwrap())
    }

    fn check(policy: &HostPolicy, work: &Work, answer: &str) {
        let group = "web".parse().unwrap();
        let got = policy.check(policy.run_as(&work.run_user), &group, work);
        let got = got.err().unwrap_or_else(|| "ok".to_owned());
        assert!(got.contains(answer), "{got}");
    }

    #[test]
    fn the_host_decides_who_runs() {
        let of = |user: &str| work(user, &["true"]);
        let none = policy(true, None);
        check(&none, &of("www"), "ok");
        let wanted = "write `users = [\"root\"]` in `/d/policy.toml`";
        check(&none, &of("root"), wanted);
        check(&none, &of("ucron"), "agent's own account");
        let root = policy(true, Some(rules(&["root"])));
        check(&root, &of("root"), "ok");
        check(&root, &of("www"), "does not allow user `www`");
        let all = policy(true, Some(rules(&["*"])));
        check(&all, &of("www"), "ok");
        check(&all, &of("root"), "does not allow");
        check(&all, &of("ucron"), "agent's own account");
        let named = policy(true, Some(rules(&["ucron"])));
        check(&named, &of("ucron"), "agent's own account");
        check(&policy(false, None), &of("me"), "ok");
        check(&policy(false, None), &of("www"), "own account only");
        check(
            &policy(false, Some(rules(&[]))),
            &of("me"),
            "does not allow",
        );
    }

    #[test]
    fn root_under_another_name_is_root() {
        let all = policy(true, Some(rules(&["*"])));
        let toor = RunAs {
            name: "toor",
            is_root: true,
            is_keeper: true,
            is_agent: false,
        };
        let work = work("toor", &["true"]);
        let group = "web".parse().unwrap();
        let refusal = all.check(toor, &group, &work).unwrap_err();
        assert!(refusal.contains("does not allow user `toor`"), "{refusal}");
    }

    #[test]
    fn groups_may_be_named() {
        let mut some = rules(&["*"]);
        some.groups = Some(vec!["db".parse().unwrap()]);
        let work = work("www", &["true"]);
        check(&policy(true, Some(some.clone())), &work, "group `web`");
        some.groups = Some(vec!["db".parse().unwrap(), "web".parse().unwrap()]);
        check(&policy(true, Some(some)), &work, "ok");
    }

    #[test]
    fn commands_are_leading_elements_of_the_vector() {
        let mut some = rules(&["*"]);
        let prefix = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        some.commands = Some(vec![
            prefix(&["/bin/true"]),
            prefix(&["/bin/systemctl", "reload"]),
        ]);
        let named = policy(true, Some(some.clone()));
        check(&named, &work("www", &["/bin/true"]), "ok");
        check(&named, &work("www", &["/bin/true", "x"]), "ok");
        let reload = ["/bin/systemctl", "reload", "nginx"];
        check(&named, &work("www", &reload), "ok");
        check(
            &named,
            &work("www", &["/bin/systemctl"]),
            "does not allow the command",
        );
        let stop = ["/bin/systemctl", "stop", "nginx"];
        check(&named, &work("www", &stop), "`/bin/systemctl stop nginx`");
        check(&named, &work("www", &["true"]), "the command `true`");
        check(&named, &work("www", &["/bin/truer"]), "the command");
        check(
            &named,
            &work("www", &["-c", "/bin/true"]),
            "write `shell = true`",
        );
        let mut preload = work("www", &["/bin/true"]);
        preload.env.insert("LD_PRELOAD".to_owned(), "x".to_owned());
        check(&named, &preload, "write `environment = true`");
        some.shell = Some(true);
        some.environment = true;
        let more = policy(true, Some(some));
        check(&more, &work("www", &["-c", "/bin/true"]), "ok");
        check(&more, &preload, "ok");
        let mut no_shell = rules(&["*"]);
        no_shell.shell = Some(false);
        let no_shell = policy(true, Some(no_shell));
        check(&no_shell, &work("www", &["-c", "true"]), "shell lines");
        check(&no_shell, &work("www", &["true"]), "ok");
    }

    #[test]
    fn what_the_kernel_guards_needs_a_line_of_its_own() {
        let mut first = work("www", &["true"]);
        first.nice = -1;
        check(&policy(true, None), &first, "negative_nice = true");
        let mut some = rules(&["*"]);
        assert!(
            policy(true, Some(some.clone()))
                .check_raised("nofile")
                .is_err()
        );
        some.negative_nice = true;
        some.raise_limits = true;
        let some = policy(true, Some(some));
        check(&some, &first, "ok");
        assert_eq!(some.check_raised("nofile"), Ok(()));
    }

    #[test]
    fn a_policy_that_cannot_be_read_allows_nothing() {
        let mut broken = policy(true, None);
        broken.fault = Some("the policy cannot be used".to_owned());
        check(&broken, &work("www", &["true"]), "cannot be used");
    }

    #[test]
    fn prefixes_that_say_nothing_are_faults() {
        let mut some = rules(&["*"]);
        some.commands = Some(vec![vec![]]);
        assert!(some.fault().unwrap().contains("empty prefix"));
        some.commands = Some(vec![vec!["rsync".to_owned()]]);
        assert!(some.fault().unwrap().contains("no absolute path"));
        some.commands = Some(vec![vec!["/bin/true".to_owned()]]);
        assert_eq!(some.fault(), None);
    }
}
