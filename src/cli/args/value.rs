//! Values of flags that are no type of the model with a reading of its own: how they are read, and what is
//! said when they cannot be.

use std::time::Duration;

use super::{Format, Generated};
use crate::config::StoreTls;
use crate::model::{
    AgentName, Backoff, GroupName, Outcome, Parole, Patience, Role, StopSignal, Target, UserName,
};
use crate::proto::request::IfExists;
use crate::rule::{Rule, parse_duration, parse_duration_or_zero};

/// How data is written.
pub fn format(text: &str) -> Result<Format, String> {
    match text {
        "table" => Ok(Format::Table),
        "json" => Ok(Format::Json),
        "jsonl" => Ok(Format::Jsonl),
        _ => Err("formats are table, json and jsonl".to_owned()),
    }
}

/// What `gen` writes.
pub fn generated(text: &str) -> Result<Generated, String> {
    match text {
        "man" => Ok(Generated::Man),
        "completions" => Ok(Generated::Completions),
        _ => Err("man and completions can be written".to_owned()),
    }
}

/// When the connection to a database is encrypted.
pub fn store_tls(text: &str) -> Result<StoreTls, String> {
    match text {
        "auto" => Ok(StoreTls::Auto),
        "on" => Ok(StoreTls::On),
        "off" => Ok(StoreTls::Off),
        _ => Err("auto, on and off are known".to_owned()),
    }
}

/// What an import does where a name is taken.
pub fn fail_or_keep(text: &str) -> Result<IfExists, String> {
    match text {
        "fail" => Ok(IfExists::Fail),
        "keep" => Ok(IfExists::Keep),
        _ => Err("an import can fail or keep what is there".to_owned()),
    }
}

/// A duration of at least a millisecond.
pub fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

/// A duration where zero has a meaning.
pub fn duration_or_zero(text: &str) -> Result<Duration, String> {
    parse_duration_or_zero(text).map_err(|error| error.to_string())
}

/// A rule; what is wrong with it is shown with a caret.
pub fn rule(text: &str) -> Result<Rule, String> {
    Rule::parse(text).map_err(|error| error.caret())
}

/// `all`, `one`, or agents' names.
pub fn target(text: &str) -> Result<Target, String> {
    match text {
        "all" => Ok(Target::ALL),
        "one" => Ok(Target::ONE),
        names => {
            let names: Result<_, _> = names.split(',').map(AgentName::parse).collect();
            let names = names.map_err(|error| error.to_string())?;
            Ok(Target::Named(names))
        }
    }
}

/// `D` or `D..D`: the first wait, and the longest.
pub fn backoff(text: &str) -> Result<Backoff, String> {
    let (first, longest) = text.split_once("..").unwrap_or((text, text));
    let (first, longest) = (duration_or_zero(first)?, duration_or_zero(longest)?);
    if longest < first {
        return Err(
            "the second duration is shorter than the first; write it like 1s..1m".to_owned(),
        );
    }
    Ok(Backoff { first, longest })
}

/// A duration, or `never`.
pub fn parole(text: &str) -> Result<Parole, String> {
    match text {
        "never" => Ok(Parole::Never),
        span => duration(span)
            .map(Parole::After)
            .map_err(|error| format!("{error}; or `never`")),
    }
}

/// How late a start may be: a duration, or `never`.
pub fn patience(text: &str) -> Result<Patience, String> {
    match text {
        "never" => Ok(Patience(None)),
        span => duration(span)
            .map(|span| Patience(Some(span)))
            .map_err(|error| format!("{error}; or `never`")),
    }
}

/// A file mode mask in octal.
pub fn umask(text: &str) -> Result<u16, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
    u16::from_str_radix(text, 8)
        .ok()
        .filter(|mask| digits && *mask <= 0o777)
        .ok_or_else(|| "a mask is octal, 000-777, for example 027".to_owned())
}

/// `NAME=value`.
pub fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it like NAME=value".to_owned()),
    }
}

/// A role.
pub fn role(text: &str) -> Result<Role, String> {
    text.parse()
        .map_err(|_| "roles are viewer, operator and admin".to_owned())
}

/// An outcome.
pub fn outcome(text: &str) -> Result<Outcome, String> {
    text.parse().map_err(|_| {
        let words = Outcome::ALL.map(Outcome::as_str).join(", ");
        format!("outcomes are {words}")
    })
}

/// Any signal of Linux, by name or number.
pub fn signal(text: &str) -> Result<i32, String> {
    if let Ok(number @ 1..=64) = text.parse::<i32>() {
        return Ok(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    MORE_SIGNALS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, number)| *number)
        .or_else(|| name.parse::<StopSignal>().ok().map(StopSignal::number))
        .ok_or_else(|| "a signal is a name like TERM, HUP, USR1 or a number of 1-64".to_owned())
}

/// Signals that one may send but that nobody would begin a stop sequence with (`signal(7)`).
const MORE_SIGNALS: [(&str, i32); 4] = [("ALRM", 14), ("CONT", 18), ("STOP", 19), ("TSTP", 20)];

/// A number of lines; 0 stands for `all`.
pub fn lines(text: &str) -> Result<Lines, String> {
    match text {
        "all" => Ok(Lines(None)),
        number => number
            .parse()
            .map(|lines| Lines(Some(lines)))
            .map_err(|_| "write a number of lines, or `all`".to_owned()),
    }
}

/// The last lines, or all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lines(pub Option<u64>);

/// `CENTER:PORT`.
pub fn address(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    match port.map(|(_, port)| port.parse::<u16>()) {
        Some(Ok(1..)) => Ok(text.to_owned()),
        _ => Err("write it like center.example:9502 or [::1]:9502".to_owned()),
    }
}

/// A context's name keeps the rule for names, as it becomes a directory's.
pub fn context(text: &str) -> Result<String, String> {
    let name = GroupName::parse(text)
        .map_err(|error| error.to_string().replace("group name", "context"))?;
    Ok(name.as_str().to_owned())
}

/// A Unix account.
pub fn user(text: &str) -> Result<UserName, String> {
    UserName::parse(text).map_err(|error| error.to_string())
}

/// A regular expression.
pub fn pattern(text: &str) -> Result<regex::Regex, String> {
    regex::Regex::new(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;

    fn check<T: Debug>(got: Result<T, String>, wanted: &str) {
        let got = match got {
            Ok(value) => format!("{value:?}"),
            Err(text) => text,
        };
        assert_eq!(got, wanted);
    }

    #[test]
    fn values_are_read_or_refused_in_words() {
        check(target("all"), "Word(All)");
        check(target("a1,b2"), "Named({\"a1\", \"b2\"})");
        check(
            target("a1,"),
            "the agent name is empty; give 1-64 letters, digits, `.`, `_` or `-`",
        );
        check(backoff("1s..1m"), "Backoff { first: 1s, longest: 60s }");
        check(backoff("2s"), "Backoff { first: 2s, longest: 2s }");
        check(
            backoff("1m..1s"),
            "the second duration is shorter than the first; write it like 1s..1m",
        );
        check(parole("never"), "Never");
        check(patience("never"), "Patience(None)");
        check(patience("1m"), "Patience(Some(60s))");
        check(umask("027"), "23");
        check(umask("+27"), "a mask is octal, 000-777, for example 027");
        check(umask("1777"), "a mask is octal, 000-777, for example 027");
        check(variable("A=b=c"), "(\"A\", \"b=c\")");
        check(variable("A"), "write it like NAME=value");
        check(role("root"), "roles are viewer, operator and admin");
        check(signal("sigstop"), "19");
        check(signal("TERM"), "15");
        check(
            signal("65"),
            "a signal is a name like TERM, HUP, USR1 or a number of 1-64",
        );
        check(lines("all"), "Lines(None)");
        check(lines("-1"), "write a number of lines, or `all`");
        check(address("a:9502"), "\"a:9502\"");
        check(
            address("a:0"),
            "write it like center.example:9502 or [::1]:9502",
        );
        check(
            address("a"),
            "write it like center.example:9502 or [::1]:9502",
        );
    }
}
