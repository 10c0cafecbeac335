//! What is said when the command line makes no sense: what was wrong, what is allowed, what to do next.

use std::error::Error as _;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{Command, Parsed, Ucron};
use crate::cli::fault::Fault;

/// A parser's complaint in the house's words.
pub(super) fn explain(error: &clap::Error, args: &[OsString]) -> Parsed {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Parsed::Help(error.to_string()),
        _ => Parsed::Wrong(
            Fault::usage(sentence(error, &command(args))).hint(hint(error, &command(args))),
        ),
    }
}

fn sentence(error: &clap::Error, command: &str) -> String {
    let arg = text(error, ContextKind::InvalidArg);
    let value = text(error, ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::UnknownArgument => format!("unknown argument `{}`", bare(&arg)),
        ErrorKind::InvalidSubcommand => {
            format!(
                "unknown command `{}`",
                text(error, ContextKind::InvalidSubcommand)
            )
        }
        ErrorKind::MissingSubcommand => format!("`{command}` wants a command"),
        ErrorKind::InvalidValue if value.is_empty() => format!("`{arg}` wants a value"),
        ErrorKind::InvalidValue => {
            let allowed = text(error, ContextKind::ValidValue);
            format!("`{value}` is nothing that `{arg}` takes; allowed are {allowed}")
        }
        ErrorKind::ValueValidation => refused_value(error, &arg, &value),
        ErrorKind::MissingRequiredArgument => {
            format!("{} is missing", list(error, ContextKind::InvalidArg))
        }
        ErrorKind::ArgumentConflict => conflict(error, &arg),
        ErrorKind::NoEquals => format!("`{arg}` wants its value after `=`"),
        ErrorKind::TooManyValues => format!("`{value}` is one value too many for `{arg}`"),
        ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            format!("`{arg}` wants more values")
        }
        ErrorKind::InvalidUtf8 => "an argument is not UTF-8".to_owned(),
        _ => error
            .to_string()
            .trim_start_matches("error: ")
            .trim_end()
            .to_owned(),
    }
}

fn refused_value(error: &clap::Error, arg: &str, value: &str) -> String {
    let why = error.source().map_or_else(String::new, ToString::to_string);
    // The standard library's words for a text that is no number.
    let why = why.replace("invalid digit found in string", "not a whole number");
    let why = why.replace("..=", "-");
    // A rule's caret has to stand under the rule, so it begins on a line of its own.
    if why.contains('\n') {
        return format!("bad value for `{arg}`\n{why}");
    }
    if why.contains(value) && !value.is_empty() {
        return format!("bad value for `{arg}`: {why}");
    }
    format!("bad value `{}` for `{arg}`: {why}", value.escape_debug())
}

fn conflict(error: &clap::Error, arg: &str) -> String {
    let other = list(error, ContextKind::PriorArg);
    if other == format!("`{arg}`") {
        return format!("`{arg}` is given twice");
    }
    format!("`{arg}` and {other} do not go together")
}

fn hint(error: &clap::Error, command: &str) -> String {
    let near = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand]
        .map(|kind| match error.get(kind) {
            Some(ContextValue::Strings(texts)) => texts.join("` or `"),
            _ => text(error, kind),
        })
        .into_iter()
        .find(|near| !near.is_empty());
    match (error.kind(), near) {
        (_, Some(near)) => format!("did you mean `{near}`? see `{command} --help`"),
        (ErrorKind::MissingSubcommand, None) => {
            let known = text(error, ContextKind::ValidSubcommand);
            format!("one of {known}; see `{command} --help`")
        }
        _ => format!("see `{command} --help`"),
    }
}

/// `ucron group add`: the commands among the arguments, as far as they are known.
fn command(args: &[OsString]) -> String {
    let mut table = super::table();
    let mut words = vec!["ucron".to_owned()];
    for arg in args.iter().skip(1).filter_map(|arg| arg.to_str()) {
        if let Some(known) = table.find_subcommand(arg).cloned() {
            words.push(known.get_name().to_owned());
            table = known;
        } else if !arg.starts_with('-') && words.len() > 1 {
            break;
        }
    }
    words.join(" ")
}

/// `--unknown=value` without its value, which may be a secret.
fn bare(arg: &str) -> String {
    let name = arg.split_once('=').map_or(arg, |(name, _)| name);
    name.escape_debug().to_string()
}

fn text(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        Some(ContextValue::StyledStr(text)) => text.to_string(),
        Some(ContextValue::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn list(error: &clap::Error, kind: ContextKind) -> String {
    let quote = |text: &String| format!("`{text}`");
    match error.get(kind) {
        Some(ContextValue::Strings(texts)) => {
            texts.iter().map(quote).collect::<Vec<_>>().join(", ")
        }
        Some(ContextValue::String(text)) => quote(text),
        _ => "an argument".to_owned(),
    }
}

/// What the table itself cannot say.
pub(super) fn check(ucron: &Ucron) -> Result<(), Fault> {
    match &ucron.command {
        Some(Command::Add(add)) => check_add(add),
        Some(Command::Stop(args)) => args.selection.check("stop"),
        Some(Command::Start(args)) => args.selection.check("start"),
        Some(Command::Restart(args)) => args.selection.check("restart"),
        Some(Command::Rm(args)) => args.selection.check("rm"),
        Some(Command::Run(args)) => {
            args.selection.check("run")?;
            if args.wait_timeout.is_some() && !args.wait && !args.follow {
                return Err(
                    Fault::usage("`--wait-timeout` wants `--wait` or `--follow`")
                        .hint("see `ucron run --help`"),
                );
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn check_add(add: &super::AddArgs) -> Result<(), Fault> {
    let hint = "see `ucron add --help`";
    if add.flags.user.is_none() {
        return Err(
            Fault::usage("`--user <USER>` is missing: the account the task runs as").hint(hint),
        );
    }
    if add.flags.shell.is_none() && add.flags.argv.is_empty() {
        let text = "the command is missing; give `-- COMMAND ARG…` or `--shell LINE`";
        return Err(Fault::usage(text).hint(hint));
    }
    if add.flags.rule.is_none() && !add.flags.daemon {
        let text = "`--rule <RULE>` is missing: when the task is due (or `--daemon`)";
        return Err(Fault::usage(text).hint(hint));
    }
    Ok(())
}

impl super::Selection {
    fn check(&self, verb: &str) -> Result<(), Fault> {
        if self.tasks.is_empty() && self.group.is_none() && !self.all {
            return Err(Fault::usage(format!(
                "`ucron {verb}` wants a TASK, `-`, `--group` or `--all`"
            ))
            .hint(format!("see `ucron {verb} --help`")));
        }
        Ok(())
    }
}
