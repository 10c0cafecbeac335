//! The man pages: those committed are what `ucron gen man` writes, and every example on them is a command line that
//! the program takes.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "this test starts the program that it tests, and stops where something is not as it must be"
)]

use std::path::Path;
use std::process::Command;

use ucron::cli::args::{Parsed, parse};

const MADE: [&str; 4] = [
    "ucron.1",
    "ucron-center.8",
    "ucron-agent.8",
    "ucron-keeper.8",
];

fn committed(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man").join(name);
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn committed_pages_are_what_the_program_writes() {
    let dir = tempfile::tempdir().unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_ucron"))
        .args(["gen", "man"])
        .arg(dir.path())
        .status()
        .unwrap();
    assert!(ended.success());
    for name in MADE {
        let made = std::fs::read_to_string(dir.path().join(name)).unwrap();
        let kept = committed(name);
        let other = made
            .lines()
            .zip(kept.lines())
            .find(|(made, kept)| made != kept);
        assert!(
            made == kept,
            "man/{name} is not current (first at {other:?}): run `cargo run --bin ucron -- gen man man`"
        );
    }
}

#[test]
fn completion_scripts_know_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let ended = Command::new(env!("CARGO_BIN_EXE_ucron"))
        .args(["gen", "completions"])
        .arg(dir.path())
        .status()
        .unwrap();
    assert!(ended.success());
    for (name, word) in [
        ("ucron.bash", "undrain"),
        ("_ucron", "undrain"),
        ("ucron.fish", "undrain"),
        ("ucron-agent.bash", "join"),
    ] {
        let script = std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert!(script.contains(word), "{name} does not know `{word}`");
    }
}

/// The command lines of `ucron` in the literal blocks of a page; of a pipe each part that is one.
fn examples(page: &str) -> Vec<Vec<String>> {
    let mut literal = false;
    let mut found = Vec::new();
    for line in page.lines() {
        match line {
            line if line.starts_with(".Bd -literal") => literal = true,
            ".Ed" => literal = false,
            line if literal => {
                let words = words(&line.replace("\\e", "\\"));
                let commands = words.split(|word| matches!(word.as_str(), "|" | "||" | "&&"));
                let own =
                    commands.filter(|words| words.first().is_some_and(|word| word == "ucron"));
                found.extend(own.map(|words| {
                    words
                        .iter()
                        .take_while(|word| !matches!(word.as_str(), "<" | ">"))
                        .cloned()
                        .collect()
                }));
            }
            _ => {}
        }
    }
    found
}

/// Splits a line as a shell does, as far as the examples go: blanks, both quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[test]
fn every_example_is_taken() {
    let page = committed("ucron.1");
    let examples = examples(&page);
    for words in &examples {
        assert!(
            matches!(parse(words), Parsed::Command(_)),
            "not taken: {}",
            words.join(" ")
        );
    }
    let sections = page.lines().filter(|line| line.starts_with(".Ss "));
    for command in sections.map(|line| &line[4..]) {
        let wanted: Vec<&str> = std::iter::once("ucron").chain(command.split(' ')).collect();
        assert!(
            examples.iter().any(|words| begins(words, &wanted)),
            "`{command}` has no example"
        );
    }
}

fn begins(words: &[String], start: &[&str]) -> bool {
    words.len() >= start.len() && words.iter().zip(start).all(|(word, wanted)| word == wanted)
}
