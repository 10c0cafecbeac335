//! The systemd units in config/: what systemd says of them, and what must not change in them by accident.

#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

const UNITS: [(&str, &str); 4] = [
    (
        "ucron-center.service",
        include_str!("../config/ucron-center.service"),
    ),
    (
        "ucron-agent.service",
        include_str!("../config/ucron-agent.service"),
    ),
    (
        "ucron-keeper.service",
        include_str!("../config/ucron-keeper.service"),
    ),
    ("ucron.slice", include_str!("../config/ucron.slice")),
];

fn unit(name: &str) -> &'static str {
    UNITS.iter().find(|(known, _)| *known == name).unwrap().1
}

fn check_line(name: &str, line: &str) {
    assert!(
        unit(name).lines().any(|known| known == line),
        "{name}: {line}"
    );
}

/// Runs `systemd-analyze`, or says that there is none.
#[allow(clippy::disallowed_methods, reason = "tests start the host's programs")]
fn analyze(args: &[&str], files: &[&Path]) -> Option<Output> {
    let output = Command::new("systemd-analyze")
        .args(args)
        .args(files)
        .output();
    if output.is_err() {
        let words = "skipped, needs systemd-analyze: what systemd says of the units";
        drop(writeln!(std::io::stderr(), "{words}"));
    }
    output.ok()
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The units in a directory, with the built programs in place of the installed ones.
fn written() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let built = Path::new(env!("CARGO_BIN_EXE_ucron-agent"))
        .parent()
        .unwrap();
    let built = format!("ExecStart={}/", built.display());
    for (name, text) in UNITS {
        let text = text.replace("ExecStart=/usr/bin/", &built);
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

#[test]
fn systemd_finds_no_fault_with_the_units() {
    let dir = written();
    let files = UNITS.map(|(name, _)| dir.path().join(name));
    let files = files.each_ref().map(std::path::PathBuf::as_path);
    let Some(output) = analyze(&["verify", "--man=no"], &files) else {
        return;
    };
    assert!(output.status.success(), "{}", said(&output));
    // It also tells of units of the host; of ours there must be nothing.
    assert!(!said(&output).contains("ucron"), "{}", said(&output));
}

#[test]
fn what_speaks_to_the_network_is_well_shut_in() {
    let dir = written();
    for name in ["ucron-center.service", "ucron-agent.service"] {
        let file = dir.path().join(name);
        let args = ["security", "--offline=true", "--threshold=20", "--no-pager"];
        let Some(output) = analyze(&args, &[&file]) else {
            return;
        };
        let words = said(&output);
        // Before version 250 it cannot judge a file.
        let unknown = words.contains("unrecognized option");
        assert!(unknown || output.status.success(), "{words}");
    }
}

#[test]
fn the_two_units_keep_their_shares() {
    // The agent: no root, no commands of its own, no keeper of its own.
    check_line("ucron-agent.service", "User=ucron");
    check_line("ucron-agent.service", "NoNewPrivileges=yes");
    check_line("ucron-agent.service", "CapabilityBoundingSet=");
    let start = "ExecStart=/usr/bin/ucron-agent run --state /var/lib/ucron-agent --no-keeper";
    check_line("ucron-agent.service", start);
    // The keeper: its end ends nothing else, and it has no network.
    check_line("ucron-keeper.service", "KillMode=process");
    check_line("ucron-keeper.service", "IPAddressDeny=any");
    check_line("ucron-keeper.service", "Requires=ucron.slice");
    for word in ["Delegate=", "User=", "PrivateTmp=", "NoNewPrivileges="] {
        let has = unit("ucron-keeper.service")
            .lines()
            .any(|line| line.starts_with(word));
        assert!(
            !has,
            "every command would have `{word}` too, or it would keep the keeper from starting"
        );
    }
    // Neither unit's end is the other's.
    for name in ["ucron-agent.service", "ucron-keeper.service"] {
        for word in ["BindsTo=", "PartOf="] {
            assert!(!unit(name).contains(word), "{name}: {word}");
        }
    }
}
