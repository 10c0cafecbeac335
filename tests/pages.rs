//! The man pages: those committed are what `ucron gen man` writes, every command has an example on its page, and what
//! the page about rules shows in its tables is what the program says. Their examples are run by tests/it/examples.rs.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "this test starts the program that it tests, and stops where something is not as it must be"
)]

use std::path::Path;
use std::process::Command;

use clap::CommandFactory;

#[path = "it/page.rs"]
mod page;

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

/// The words of every command of a program that has none below it.
fn commands(table: &clap::Command) -> Vec<Vec<String>> {
    let shown = table
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set() && sub.get_name() != "help");
    shown
        .flat_map(|sub| {
            let mut below = commands(sub);
            if below.is_empty() {
                below.push(Vec::new());
            }
            let name = sub.get_name().to_owned();
            below
                .into_iter()
                .map(move |words| [vec![name.clone()], words].concat())
        })
        .collect()
}

fn every_command_has_an_example(page: &str, table: &clap::Command) {
    let examples = page::of_man(&committed(page));
    for command in commands(table) {
        let mut wanted = vec![table.get_name()];
        wanted.extend(command.iter().map(String::as_str));
        assert!(
            examples.iter().any(|example| example.tries(&wanted)),
            "man/{page}: `{}` has no example",
            wanted.join(" ")
        );
    }
}

#[test]
fn every_command_of_every_program_has_an_example_on_its_page() {
    every_command_has_an_example("ucron.1", &ucron::cli::args::table());
    every_command_has_an_example("ucron-center.8", &ucron::center::CenterArgs::command());
    every_command_has_an_example("ucron-agent.8", &ucron::agent::Arguments::command());
    let keeper = ucron::exec::arguments::Arguments::command();
    every_command_has_an_example("ucron-keeper.8", &keeper);
}
