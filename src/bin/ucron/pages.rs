//! `ucron gen`: man pages and completion scripts of the four programs. Synopsis, flags and examples come from the
//! argument tables; the prose is written by hand in man/src, where `@SYNOPSIS`, `@COMMANDS`, `@FLAGS` and `@KEYS` mark
//! their places.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Arg, Command, CommandFactory};
use clap_complete::{Shell, generate_to};
use ucron::cli::args::{self, GenArgs, Generated};
use ucron::{agent, center, exec};

/// Columns of a line of prose.
const WIDTH: usize = 76;

/// One man page: name, section, prose, argument table.
struct Page {
    name: &'static str,
    section: u8,
    prose: &'static str,
    table: Command,
}

fn pages() -> [Page; 4] {
    [
        Page {
            name: "ucron",
            section: 1,
            prose: include_str!("../../../man/src/ucron.1"),
            table: args::table(),
        },
        Page {
            name: "ucron-center",
            section: 8,
            prose: include_str!("../../../man/src/ucron-center.8"),
            table: center::CenterArgs::command(),
        },
        Page {
            name: "ucron-agent",
            section: 8,
            prose: include_str!("../../../man/src/ucron-agent.8"),
            table: agent::Arguments::command(),
        },
        Page {
            name: "ucron-keeper",
            section: 8,
            prose: include_str!("../../../man/src/ucron-keeper.8"),
            table: exec::arguments::Arguments::command(),
        },
    ]
}

/// Writes what is asked for.
pub fn main(args: &GenArgs) -> ExitCode {
    let written = match args.what {
        Generated::Man => write_pages(&args.dir),
        Generated::Completions => write_completions(&args.dir),
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            // Where stderr is gone nobody reads it.
            let _ = writeln!(std::io::stderr(), "ucron: {fault:#}");
            ExitCode::FAILURE
        }
    }
}

fn make(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make `{}`", dir.display()))
}

fn write_pages(dir: &Path) -> Result<()> {
    make(dir)?;
    for page in pages() {
        let path = dir.join(format!("{}.{}", page.name, page.section));
        std::fs::write(&path, text(&page))
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(())
}

fn write_completions(dir: &Path) -> Result<()> {
    make(dir)?;
    for page in pages() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut table = page.table.clone();
            generate_to(shell, &mut table, page.name, dir)
                .with_context(|| format!("cannot write completions for {shell}"))?;
        }
    }
    Ok(())
}

fn text(page: &Page) -> String {
    let mut table = page.table.clone();
    table.build();
    let mut out = String::new();
    for line in page.prose.lines() {
        match line {
            "@SYNOPSIS" => synopsis(&mut out, &table),
            "@COMMANDS" => commands(&mut out, &table, ""),
            "@FLAGS" => flags(&mut out, table.get_arguments().filter(|arg| !is_help(arg))),
            "@KEYS" => keys(&mut out),
            line => push(&mut out, line),
        }
    }
    out
}

/// The dashboard's keys, from the table that drives them.
fn keys(out: &mut String) {
    push(out, ".Bl -tag -width Ds");
    for row in ucron::tui::keys::TABLE {
        let shown = row.shown.replace('↑', "Up").replace('↓', "Down");
        let shown = shown.replace('…', "-");
        // The marks keep words from being read as macros or as punctuation.
        let words: Vec<String> = shown
            .split_whitespace()
            .map(|word| format!("\\&{word}"))
            .collect();
        push(out, &format!(".It Ic {}", words.join(" ")));
        let asks: Vec<String> = row
            .confirm
            .iter()
            .map(|(key, does)| format!("`{key}` {does}"))
            .collect();
        if asks.is_empty() {
            prose(out, row.help);
        } else {
            prose(out, &format!("{}; asks: {}", row.help, asks.join(", ")));
        }
    }
    push(out, ".El");
}

fn push(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

/// Commands without commands of their own, each with its words.
fn leaves<'a>(table: &'a Command, words: &str) -> Vec<(String, &'a Command)> {
    let shown = table
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set() && sub.get_name() != "help");
    shown
        .flat_map(|sub| {
            let words = format!("{words}{}", sub.get_name());
            if sub.has_subcommands() {
                leaves(sub, &format!("{words} "))
            } else {
                vec![(words, sub)]
            }
        })
        .collect()
}

fn synopsis(out: &mut String, table: &Command) {
    for (words, command) in leaves(table, "") {
        push(out, ".Nm");
        push(out, &format!(".Cm {words}"));
        let own = command
            .get_arguments()
            .filter(|arg| !arg.is_positional() && !arg.is_global_set() && !arg.is_hide_set());
        let (required, others): (Vec<&Arg>, Vec<&Arg>) = own.partition(|arg| arg.is_required_set());
        for arg in required {
            push(out, &format!(".{}", heading(arg)));
        }
        if others.into_iter().any(|arg| !is_help(arg)) {
            push(out, ".Op Ar option ...");
        }
        for arg in command.get_positionals() {
            let several = if arg.get_num_args().is_some_and(|n| n.max_values() > 1) {
                " ..."
            } else {
                ""
            };
            let name = value_of(arg);
            let form = if arg.is_required_set() { "" } else { "Op " };
            let mark = if arg.is_last_set() { "Fl \\- " } else { "" };
            push(out, &format!(".{form}{mark}Ar {name}{several}"));
        }
    }
}

fn commands(out: &mut String, table: &Command, words: &str) {
    for (words, command) in leaves(table, words) {
        push(out, &format!(".Ss {words}"));
        if let Some(about) = command.get_about() {
            prose(
                out,
                &format!("{}.", about.to_string().trim_end_matches('.')),
            );
        }
        let help = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        let (words, examples) = help.split_once("Example").unwrap_or((&help, ""));
        if !words.trim().is_empty() {
            prose(out, words);
        }
        let own = command
            .get_arguments()
            .filter(|arg| !arg.is_global_set() && !is_help(arg) && !arg.is_hide_set());
        flags(out, own);
        let lines: Vec<&str> = examples
            .lines()
            .skip(1)
            .filter(|line| !line.trim().is_empty())
            .collect();
        if !lines.is_empty() {
            push(out, ".Bd -literal -offset indent");
            for line in &lines {
                push(out, &escape(line.trim()));
            }
            push(out, ".Ed");
        }
    }
}

fn is_help(arg: &Arg) -> bool {
    matches!(arg.get_id().as_str(), "help" | "version")
}

fn flags<'a>(out: &mut String, args: impl Iterator<Item = &'a Arg>) {
    let mut args = args.peekable();
    if args.peek().is_none() {
        return;
    }
    push(out, ".Bl -tag -width Ds");
    for arg in args {
        push(out, &format!(".It {}", heading(arg)));
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        prose(out, &sentence(&help, arg));
    }
    push(out, ".El");
}

/// What a flag is for, with its default.
fn sentence(help: &str, arg: &Arg) -> String {
    let defaults: Vec<_> = arg
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy())
        .collect();
    let takes_value = arg.get_action().takes_values();
    if defaults.is_empty() || !takes_value || help.contains("[default") {
        return help.to_owned();
    }
    format!("{help} [default: {}]", defaults.join(" "))
}

/// A flag or argument as the head of an item.
fn heading(arg: &Arg) -> String {
    if arg.is_last_set() {
        return format!("Fl \\- Ar {} ...", value_of(arg));
    }
    if arg.is_positional() {
        return format!("Ar {}", value_of(arg));
    }
    let short = arg.get_short().map(|short| format!("Fl {short}"));
    let long = arg.get_long().map(|long| format!("Fl \\-{long}"));
    let mut text = [short, long]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" , ");
    if arg.get_action().takes_values() {
        let _ = write!(text, " Ar {}", value_of(arg));
    }
    text
}

fn value_of(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let names: Vec<String> = names.iter().map(|name| escape(name)).collect();
    names.join(" ")
}

fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('…', "...");
    match text.chars().next() {
        Some('.' | '\'') => format!("\\&{text}"),
        _ => text,
    }
}

/// Free text: a new line for each sentence, none longer than [`WIDTH`], backquotes as quotes.
fn prose(out: &mut String, text: &str) {
    let mut line = String::new();
    let mut open = false;
    for word in text.split_whitespace() {
        let ends = word.ends_with(['.', '?', '!']) && word.len() > 2;
        let mut shown = String::new();
        for c in word.replace('\\', "\\e").replace('…', "...").chars() {
            if c == '`' {
                shown.push_str(if open { "\\(cq" } else { "\\(oq" });
                open = !open;
            } else {
                shown.push(c);
            }
        }
        if !line.is_empty() && line.len() + shown.len() >= WIDTH {
            flush(out, &mut line);
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&shown);
        if ends {
            flush(out, &mut line);
        }
    }
    flush(out, &mut line);
}

fn flush(out: &mut String, line: &mut String) {
    if !line.is_empty() {
        let guard = if line.starts_with(['.', '\'']) {
            "\\&"
        } else {
            ""
        };
        push(out, &format!("{guard}{line}"));
        line.clear();
    }
}
