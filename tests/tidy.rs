//! The architecture as a test: which room may import which, which foreign crates live where, what stands nowhere.
//! Tests within the rooms are free. An exception stands in a table with its reason; one that nothing needs any more
//! fails too.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/tables.rs"]
mod tables;

use source::{Source, all_files, is_word_at, sources};
use tables::{
    BINS, CODE_WORDS, CRATES, Exception, LONG_FILES, MOST_LINES, PURE, PURE_WORDS, ROOMS,
    TEXT_WORDS,
};

/// Fails with every finding, a line each.
fn report(rule: &str, findings: &[String]) {
    assert!(
        findings.is_empty(),
        "\n{rule}\n  {}\n",
        findings.join("\n  ")
    );
}

/// Whether a path is of this place: a file, or a folder that ends in `/`.
fn is_in(path: &str, place: &str) -> bool {
    path == place || (place.ends_with('/') && path.starts_with(place))
}

/// Takes out what the exceptions allow; an exception that nothing needs is a finding of its own.
fn except(findings: &[(String, String)], exceptions: &[Exception]) -> Vec<String> {
    let allowed = |path: &str| {
        exceptions
            .iter()
            .find(|exception| is_in(path, exception.place))
    };
    let unneeded = exceptions
        .iter()
        .filter(|exception| {
            !findings
                .iter()
                .any(|(path, _)| is_in(path, exception.place))
        })
        .map(|exception| {
            format!(
                "{}: the exception ({}) is not needed any more",
                exception.place, exception.reason
            )
        });
    let left = findings
        .iter()
        .filter(|(path, _)| allowed(path).is_none())
        .map(|(_, text)| text.clone());
    left.chain(unneeded).collect()
}

#[test]
fn rooms_import_what_the_table_allows() {
    let mut findings = Vec::new();
    for source in sources("src") {
        let Some(room) = source.room() else { continue };
        let allowed = ROOMS.iter().find(|(name, _)| *name == room);
        let allowed = allowed
            .unwrap_or_else(|| panic!("{}: room `{room}` is not in the table", source.path))
            .1;
        for (line, other) in source.rooms_imported() {
            let is_room = ROOMS.iter().any(|(name, _)| *name == other);
            if is_room && other != room && !allowed.contains(&other.as_str()) {
                findings.push(format!(
                    "{}:{line}: `{room}` imports `{other}`",
                    source.path
                ));
            }
        }
    }
    report(
        "a room imports only what its line in tests/tidy/tables.rs names:",
        &findings,
    );
}

#[test]
fn mains_import_their_own_program() {
    let mut findings = Vec::new();
    for source in sources("src/bin") {
        let own = BINS.iter().find(|(place, _)| is_in(&source.path, place));
        let own = own
            .unwrap_or_else(|| panic!("{}: this main is not in the table", source.path))
            .1;
        for (line, room) in source.paths_after("ucron::") {
            if ROOMS.iter().any(|(name, _)| *name == room) && !own.contains(&room.as_str()) {
                findings.push(format!(
                    "{}:{line}: this main imports `{room}`",
                    source.path
                ));
            }
        }
    }
    report("the programs never import one another:", &findings);
}

#[test]
fn foreign_crates_stay_in_their_rooms() {
    let mut findings = Vec::new();
    let all = sources("src");
    for (name, rooms, exceptions) in CRATES {
        let outside = all
            .iter()
            .filter(|source| !rooms.iter().any(|room| is_in(&source.path, room)));
        let found = outside.flat_map(|source| {
            let at = |line| {
                (
                    source.path.clone(),
                    format!("{}:{line}: `{name}`", source.path),
                )
            };
            source.crate_used(name).into_iter().map(at)
        });
        findings.extend(except(&found.collect::<Vec<_>>(), exceptions));
    }
    report(
        "a foreign crate is used in its rooms only, see tests/tidy/tables.rs:",
        &findings,
    );
}

#[test]
fn pure_modules_do_nothing_but_decide() {
    let mut findings = Vec::new();
    for source in sources("src") {
        let Some((_, free)) = PURE.iter().find(|(place, _)| is_in(&source.path, place)) else {
            continue;
        };
        for word in PURE_WORDS.iter().filter(|word| !free.contains(word)) {
            let at = |line| format!("{}:{line}: `{word}` in a pure module", source.path);
            findings.extend(source.lines_with(word).into_iter().map(at));
        }
    }
    report(
        "pure modules take `now` and values and return values; no I/O, no clock, no await:",
        &findings,
    );
}

#[test]
fn every_pure_module_of_the_table_is_there() {
    let all = sources("src");
    let gone = PURE
        .iter()
        .filter(|(place, _)| !all.iter().any(|source| is_in(&source.path, place)));
    report(
        "the table of pure modules names what is not there:",
        &gone
            .map(|(place, _)| (*place).to_owned())
            .collect::<Vec<_>>(),
    );
}

#[test]
fn some_words_stand_in_few_files_only() {
    let mut findings = Vec::new();
    let all = sources("src");
    for (word, rule, exceptions) in CODE_WORDS {
        let found = all.iter().flat_map(|source| {
            let at = |line| {
                (
                    source.path.clone(),
                    format!("{}:{line}: `{word}`: {rule}", source.path),
                )
            };
            source.lines_with(word).into_iter().map(at)
        });
        findings.extend(except(&found.collect::<Vec<_>>(), exceptions));
    }
    report("words that stand in few files only:", &findings);
}

#[test]
fn nothing_is_left_unfinished_or_bound_to_one_machine() {
    let mut findings = Vec::new();
    for (path, text) in all_files() {
        for (index, line) in text.lines().enumerate() {
            for (parts, rule) in TEXT_WORDS {
                if is_word_at(line, &parts.concat()) {
                    findings.push(format!(
                        "{path}:{}: `{}`: {rule}",
                        index + 1,
                        parts.concat()
                    ));
                }
            }
        }
    }
    report("words that stand nowhere:", &findings);
}

#[test]
fn files_are_short() {
    let too_long = |source: &Source| {
        let lines = source.text.lines().count();
        let text = format!("{}: {lines} lines, at most {MOST_LINES}", source.path);
        (lines > MOST_LINES).then(|| (source.path.clone(), text))
    };
    let mut all = sources("src");
    all.extend(sources("tests"));
    all.extend(sources("benches"));
    let found: Vec<(String, String)> = all.iter().filter_map(too_long).collect();
    report(
        "a file has one reason to change:",
        &except(&found, LONG_FILES),
    );
}
