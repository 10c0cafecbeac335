//! The keys of a `[[task]]`: the flags' names, and what each value may be.

use std::fmt::Display;
use std::str::FromStr;

use toml::Spanned;
use toml::de::DeValue;

use super::{Draft, HIDDEN};
use crate::cli::args::value;
use crate::model::{AgentName, GroupName, Limit, LimitKind, Target, TaskName};
use crate::rule::{Rule, Zone};

/// Every key, in the order in which they are written.
pub const KEYS: [&str; 32] = [
    "group",
    "name",
    "rule",
    "tz",
    "user",
    "execute",
    "disabled",
    "note",
    "target",
    "daemon",
    "processes",
    "catch-up",
    "misfire-grace",
    "jitter",
    "timeout",
    "retries",
    "backoff",
    "success-codes",
    "overlap",
    "stop-signal",
    "grace",
    "output",
    "cwd",
    "umask",
    "nice",
    "env",
    "env-file",
    "limit",
    "restart",
    "start-seconds",
    "start-retries",
    "parole",
];

/// What is wrong with a value, and where in the file, in bytes.
pub struct Slip {
    pub at: usize,
    pub message: String,
}

impl Slip {
    pub fn new(at: usize, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { at, message }
    }
}

type Found<'a, 'i> = &'a Spanned<DeValue<'i>>;

/// Takes over one key that is among [`KEYS`]; `text` is the whole file.
pub fn set(draft: &mut Draft, key: &str, found: Found<'_, '_>, text: &str) -> Result<(), Slip> {
    let flags = &mut draft.flags;
    match key {
        "group" => draft.group = Some(read(found, GroupName::parse)?),
        "name" => draft.name = Some(read(found, TaskName::parse)?),
        "disabled" => draft.disabled = truth(found)?,
        "rule" => flags.rule = Some(rule(found, text)?),
        "tz" => flags.timezone = Some(read(found, Zone::parse)?),
        "user" => flags.user = Some(read(found, value::user)?),
        "execute" => execute(draft, found)?,
        "note" => flags.note = Some(word(found)?.to_owned()),
        "target" => flags.target = Some(target(found)?),
        "daemon" => flags.daemon = truth(found)?,
        "processes" => flags.processes = Some(number(found)?),
        "catch-up" => flags.catch_up = truth(found)?,
        "misfire-grace" => flags.misfire_grace = Some(read(found, value::duration_or_zero)?),
        "jitter" => flags.jitter = Some(read(found, value::duration_or_zero)?),
        "timeout" => flags.timeout = Some(read(found, value::duration)?),
        "retries" => flags.retries = Some(number(found)?),
        "backoff" => flags.backoff = Some(read(found, value::backoff)?),
        "success-codes" => flags.success_codes = Some(codes(found)?),
        "overlap" => flags.overlap = Some(read(found, str::parse)?),
        "stop-signal" => flags.stop_signal = Some(read(found, str::parse)?),
        "grace" => flags.grace = Some(read(found, value::duration_or_zero)?),
        "output" => flags.output = Some(read(found, str::parse)?),
        "cwd" => flags.cwd = Some(word(found)?.to_owned()),
        "umask" => flags.umask = Some(read(found, value::umask)?),
        "nice" => flags.nice = Some(number(found)?),
        "env" => env(draft, found)?,
        "env-file" => flags.env_file = Some(word(found)?.to_owned()),
        "limit" => limits(draft, found)?,
        "restart" => flags.restart = Some(read(found, str::parse)?),
        "start-seconds" => flags.start_seconds = Some(read(found, value::duration_or_zero)?),
        "start-retries" => flags.start_retries = Some(number(found)?),
        "parole" => flags.parole = Some(read(found, value::parole)?),
        _ => {}
    }
    Ok(())
}

/// What a value is, for people.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn wants(found: Found<'_, '_>, wanted: &str) -> Slip {
    let message = format!("this is {}; it wants {wanted}", kind(found.get_ref()));
    Slip::new(found.span().start, message)
}

fn word<'a>(found: Found<'a, '_>) -> Result<&'a str, Slip> {
    match found.get_ref() {
        DeValue::String(text) => Ok(text),
        _ => Err(wants(found, "a text in quotes")),
    }
}

fn read<T, E: Display>(
    found: Found<'_, '_>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, Slip> {
    parse(word(found)?).map_err(|error| Slip::new(found.span().start, error.to_string()))
}

fn truth(found: Found<'_, '_>) -> Result<bool, Slip> {
    match found.get_ref() {
        DeValue::Boolean(is) => Ok(*is),
        _ => Err(wants(found, "true or false, without quotes")),
    }
}

fn number<T: FromStr>(found: Found<'_, '_>) -> Result<T, Slip> {
    let digits = match found.get_ref() {
        DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
        DeValue::String(digits) => digits,
        _ => return Err(wants(found, "a whole number")),
    };
    digits.parse().map_err(|_| {
        let message = format!("`{}` is out of range", digits.escape_debug());
        Slip::new(found.span().start, message)
    })
}

/// A rule; what is wrong in it is pointed at where it stands in the file.
fn rule(found: Found<'_, '_>, text: &str) -> Result<Rule, Slip> {
    let given = word(found)?;
    Rule::parse(given).map_err(|error| {
        let start = found.span().start;
        let is_plain = text
            .get(start + 1..)
            .is_some_and(|rest| rest.starts_with(given));
        let inside = if is_plain { 1 + error.span.start } else { 0 };
        let message = format!("{error}; allowed: {}", error.allowed());
        Slip::new(start + inside, message)
    })
}

/// A shell line, or the program with its arguments.
fn execute(draft: &mut Draft, found: Found<'_, '_>) -> Result<(), Slip> {
    let DeValue::Array(words) = found.get_ref() else {
        let line = word(found).map_err(|_| wants(found, "a shell line, or a list of words"))?;
        draft.flags.shell = Some(line.to_owned());
        return Ok(());
    };
    let words: Result<Vec<&str>, Slip> = words.iter().map(word).collect();
    draft.flags.argv = words?.into_iter().map(str::to_owned).collect();
    if draft.flags.argv.is_empty() {
        return Err(Slip::new(found.span().start, "the command is empty"));
    }
    Ok(())
}

fn target(found: Found<'_, '_>) -> Result<Target, Slip> {
    match found.get_ref() {
        DeValue::Array(names) => {
            let names = names.iter().map(|name| read(name, AgentName::parse));
            Ok(Target::Named(names.collect::<Result<_, _>>()?))
        }
        _ => read(found, value::target),
    }
}

fn codes(found: Found<'_, '_>) -> Result<Vec<u8>, Slip> {
    match found.get_ref() {
        DeValue::Array(codes) => codes.iter().map(number).collect(),
        _ => Err(wants(found, "a list of exit codes, like [0, 3]")),
    }
}

fn env(draft: &mut Draft, found: Found<'_, '_>) -> Result<(), Slip> {
    let DeValue::Table(variables) = found.get_ref() else {
        return Err(wants(found, "variables, like env.LEVEL = \"debug\""));
    };
    for (name, found) in variables {
        let value = word(found)?;
        if value == HIDDEN {
            let message = "`***` stands for a value that is hidden from you; give the value itself";
            return Err(Slip::new(found.span().start, message));
        }
        let variable = (name.get_ref().to_string(), value.to_owned());
        draft.flags.env.push(variable);
    }
    Ok(())
}

fn limits(draft: &mut Draft, found: Found<'_, '_>) -> Result<(), Slip> {
    let DeValue::Table(limits) = found.get_ref() else {
        return Err(wants(found, "limits, like limit.nofile = 4096"));
    };
    let mut limits: Vec<_> = limits.iter().collect();
    limits.sort_by_key(|(name, _)| name.span().start);
    for (name, found) in limits {
        let kind: Result<LimitKind, _> = name.get_ref().parse();
        let kind = kind.map_err(|error| Slip::new(name.span().start, error.to_string()))?;
        let value = number(found)?;
        draft.flags.limit.push(Limit { kind, value });
    }
    Ok(())
}
