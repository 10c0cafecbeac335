//! The man pages: those committed are what `ucron gen man` writes, every command has an example on its page, and what
//! the page about rules shows in its tables is what the program says. Their examples are run by tests/it/examples.rs.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "this test starts the program that it tests, and stops where something is not as it must be"
)]

use std::process::Command;

use clap::CommandFactory;

#[path = "it/page.rs"]
mod page;

use page::committed;

const MADE: [&str; 4] = [
    "ucron.1",
    "ucron-center.8",
    "ucron-agent.8",
    "ucron-keeper.8",
];

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
        let kept = committed(&format!("man/{name}"));
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
    let examples = page::of_man(&committed(&format!("man/{page}")));
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

/// What `ucron` writes to its standard output.
fn ucron(args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ucron"));
    let done = command.args(args).env("TZ", "UTC").output().unwrap();
    assert!(done.status.success(), "{args:?}: {done:?}");
    String::from_utf8(done.stdout).unwrap()
}

/// The rows of the page about rules below a line, each with its columns.
fn rows<'a>(page: &'a str, after: &str) -> Vec<Vec<&'a str>> {
    let (_, rest) = page.split_once(after).unwrap();
    let (table, _) = rest.split_once("\n.El").unwrap();
    let rows = table
        .lines()
        .filter_map(|line| line.strip_prefix(".It Li "));
    rows.map(|row| row.split(" Ta ").collect()).collect()
}

#[test]
fn the_page_about_rules_says_them_in_the_programs_words() {
    let page = committed("man/ucron-rule.5");
    let rows = rows(&page, ".Sh EXAMPLES");
    assert!(rows.len() > 15, "{rows:?}");
    for row in rows {
        let said = ucron(&["next", row[0]]);
        assert_eq!(said.lines().next(), Some(row[1]), "{}", row[0]);
    }
}

/// Whether a row of times is what is shown: `...` leaves out some, an offset is given only where it tells something.
fn are_shown(times: &[String], shown: &str) -> bool {
    let parts: Vec<&str> = shown.split(", ").collect();
    let wanted: Vec<&str> = parts
        .iter()
        .copied()
        .filter(|part| *part != "\\&...")
        .collect();
    let is = |times: &[String]| {
        times.len() == wanted.len()
            && times
                .iter()
                .zip(&wanted)
                .all(|(time, part)| time.starts_with(part))
    };
    match (parts.first(), parts.last()) {
        (Some(&"not at all"), _) => times.is_empty(),
        (Some(&"\\&..."), _) => times.windows(wanted.len()).any(is),
        (_, Some(&"\\&...")) => times.len() > wanted.len() && is(&times[..wanted.len()]),
        _ => is(times),
    }
}

#[test]
fn the_page_about_rules_tells_clock_changes_as_the_program_does() {
    let page = committed("man/ucron-rule.5");
    for (day, before) in [("2026-03-08", "2026-03-07"), ("2026-11-01", "2026-10-31")] {
        let rows = rows(&page, &format!("New York, {day}:"));
        assert!(rows.len() > 4, "{rows:?}");
        for row in rows {
            let from = format!("{before}T23:59:59");
            let zone = "America/New_York";
            let said = ucron(&[
                "next", row[0], "--tz", zone, "--from", &from, "-n", "60", "-o", "json",
            ]);
            let all: Vec<String> = serde_json::from_str(&said).unwrap();
            let of_day = all
                .iter()
                .filter_map(|at| at.strip_prefix(day)?.strip_prefix('T'));
            let times: Vec<String> = of_day
                .map(|at| format!("{} {}", &at[..5], &at[8..]))
                .collect();
            let shown = row[2].trim_end_matches(", once");
            assert!(are_shown(&times, shown), "{} on {day}: {times:?}", row[0]);
        }
    }
}
