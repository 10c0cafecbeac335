//! Help texts as they are committed under tests/snapshots. UCRON_UPDATE=1 writes them anew.

use std::path::Path;

use crate::cli::args;

fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/snapshots")
        .join(name);
    if std::env::var_os("UCRON_UPDATE").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        text, kept,
        "{name} has changed; if that is meant, set UCRON_UPDATE=1 once"
    );
}

#[test]
fn help_texts_are_as_committed() {
    let table = args::table().term_width(100);
    check("ucron.help", &table.clone().render_help().to_string());
    for command in table.get_subcommands() {
        let mut command = command.clone().term_width(100);
        check(
            &format!("ucron-{}.help", command.get_name()),
            &command.render_help().to_string(),
        );
    }
}

#[test]
fn the_table_is_sound_and_every_command_has_an_example() {
    args::table().debug_assert();
    for command in args::table().get_subcommands() {
        let example = |command: &clap::Command| {
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                help.contains("Example"),
                "{} has no example",
                command.get_name()
            );
        };
        if command.has_subcommands() {
            command.get_subcommands().for_each(example);
        } else {
            example(command);
        }
    }
}
