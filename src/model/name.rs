//! Validated names. A value of these types is proof that the text keeps the rule for names: 1–64 letters
//! and digits (any script), `.`, `_`, `-`, not starting with `.` or `-`, not `all` or `one`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// Characters a name may have at most.
pub const MAX_NAME: usize = 64;

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("the {what} is empty; give 1-{MAX_NAME} letters, digits, `.`, `_` or `-`")]
    Empty {
        /// What the name is for.
        what: &'static str,
    },
    /// More than [`MAX_NAME`] characters.
    #[error("the {what} has {len} characters; at most {MAX_NAME} are allowed")]
    TooLong {
        /// What the name is for.
        what: &'static str,
        /// Characters read.
        len: usize,
    },
    /// A character that no name has.
    #[error("the {what} `{}` has {found:?}; allowed are letters, digits, `.`, `_` and `-`", text.escape_debug())]
    Character {
        /// What the name is for.
        what: &'static str,
        /// The text as given.
        text: String,
        /// The first wrong character.
        found: char,
    },
    /// Starts with `.` or `-`.
    #[error("the {what} `{text}` starts with `{found}`; start with a letter, a digit or `_`")]
    Start {
        /// What the name is for.
        what: &'static str,
        /// The text as given.
        text: String,
        /// The wrong first character.
        found: char,
    },
    /// A word that the command line keeps for itself.
    #[error("the {what} `{text}` is reserved; choose another name")]
    Reserved {
        /// What the name is for.
        what: &'static str,
        /// The text as given.
        text: String,
    },
    /// A task's path without its group, or with more than one `/`.
    #[error("`{}` is not `group/task`", text.escape_debug())]
    Path {
        /// The text as given.
        text: String,
    },
}

fn check(what: &'static str, text: &str) -> Result<(), NameError> {
    let owned = || text.to_owned();
    let Some(first) = text.chars().next() else {
        return Err(NameError::Empty { what });
    };
    let len = text.chars().count();
    if len > MAX_NAME {
        return Err(NameError::TooLong { what, len });
    }
    if let Some(found) = text.chars().find(|c| !is_name_char(*c)) {
        return Err(NameError::Character {
            what,
            text: owned(),
            found,
        });
    }
    if first == '.' || first == '-' {
        return Err(NameError::Start {
            what,
            text: owned(),
            found: first,
        });
    }
    if text == "all" || text == "one" {
        return Err(NameError::Reserved {
            what,
            text: owned(),
        });
    }
    Ok(())
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '_' | '-')
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// The name if `text` keeps the rule for names.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                check($what, text)?;
                Ok(Self(text.to_owned()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <Cow<'de, str>>::deserialize(deserializer)?;
                Self::parse(&text).map_err(de::Error::custom)
            }
        }
    };
}

name!(
    /// A group's name (`gid`).
    GroupName, "group name"
);
name!(
    /// A task's name within its group.
    TaskName, "task name"
);
name!(
    /// An agent's name, unique in the fleet.
    AgentName, "agent name"
);
name!(
    /// An operator's name, unique in the fleet.
    OperatorName, "operator name"
);
name!(
    /// A Unix account that a task runs as. Whether it exists is known only on the host.
    UserName, "user name"
);

/// `group/task`, as people and scripts write a task.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskPath {
    /// The task's group.
    pub group: GroupName,
    /// The task's name in it.
    pub name: TaskName,
}

impl fmt::Display for TaskPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.group, self.name))
    }
}

impl fmt::Debug for TaskPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl FromStr for TaskPath {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let Some((group, name)) = text.split_once('/') else {
            return Err(NameError::Path {
                text: text.to_owned(),
            });
        };
        Ok(Self {
            group: GroupName::parse(group)?,
            name: TaskName::parse(name)?,
        })
    }
}

impl Serialize for TaskPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TaskPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_name(text: &str, wanted: Option<&str>) {
        let got = TaskName::parse(text).err().map(|e| e.to_string());
        assert_eq!(got.as_deref(), wanted, "{text:?}");
    }

    #[test]
    fn names_keep_their_rule() {
        check_name("nightly-dump", None);
        check_name("Übung_2.b", None);
        check_name("备份", None);
        check_name("_x", None);
        check_name(&"a".repeat(64), None);
        check_name(
            "",
            Some("the task name is empty; give 1-64 letters, digits, `.`, `_` or `-`"),
        );
        check_name(
            "all",
            Some("the task name `all` is reserved; choose another name"),
        );
        check_name(
            "-rf",
            Some("the task name `-rf` starts with `-`; start with a letter, a digit or `_`"),
        );
        check_name(
            "a b",
            Some("the task name `a b` has ' '; allowed are letters, digits, `.`, `_` and `-`"),
        );
        check_name(
            "a\u{1b}[1m",
            Some(
                "the task name `a\\u{1b}[1m` has '\\u{1b}'; allowed are letters, digits, `.`, `_` and `-`",
            ),
        );
        check_name(
            &"a".repeat(65),
            Some("the task name has 65 characters; at most 64 are allowed"),
        );
    }

    #[test]
    fn a_path_is_group_slash_task() {
        assert_eq!(
            "web/dump".parse::<TaskPath>().unwrap().to_string(),
            "web/dump"
        );
        assert!("dump".parse::<TaskPath>().is_err());
        assert!("web/dump/x".parse::<TaskPath>().is_err());
    }
}
