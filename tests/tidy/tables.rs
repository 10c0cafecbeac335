//! The tables of the architecture. A change here is a change of the architecture: say why in ARCHITECTURE.md.

/// A place where a rule does not hold.
pub struct Exception {
    /// A file, or a folder that ends in `/`.
    pub place: &'static str,
    /// Why.
    pub reason: &'static str,
}

const fn but(place: &'static str, reason: &'static str) -> Exception {
    Exception { place, reason }
}

/// Room, and the rooms it may import.
pub const ROOMS: &[(&str, &[&str])] = &[
    ("rule", &[]),
    ("model", &["rule"]),
    ("proto", &["model", "rule", "clock", "files"]),
    ("store", &["model", "rule", "files"]),
    ("auth", &["model", "files"]),
    (
        "center",
        &[
            "rule", "model", "proto", "store", "auth", "clock", "workers", "config", "files",
        ],
    ),
    ("exec", &["model", "clock", "config", "files"]),
    (
        "agent",
        &[
            "model", "proto", "exec", "clock", "workers", "config", "files",
        ],
    ),
    (
        // `import` reads the ancestor's table through the store's driver.
        "cli",
        &[
            "model", "rule", "proto", "clock", "workers", "config", "files", "store",
        ],
    ),
    (
        "tui",
        &["cli", "model", "rule", "proto", "clock", "workers"],
    ),
    ("clock", &["model"]),
    ("workers", &[]),
    ("config", &["rule"]),
    ("files", &[]),
];

/// Main, and the rooms it may import.
pub const BINS: &[(&str, &[&str])] = &[
    ("src/bin/ucron-center.rs", &["center"]),
    ("src/bin/ucron-agent.rs", &["agent", "exec"]),
    ("src/bin/ucron-keeper.rs", &["exec", "config", "files"]),
    // Has `ucron dev`, which runs all of them by starting itself again.
    (
        "src/bin/ucron/",
        &[
            "cli", "tui", "center", "agent", "exec", "config", "clock", "workers", "files",
            "model", "proto", "rule",
        ],
    ),
];

/// Foreign crate, the rooms it lives in, and exceptions.
pub const CRATES: &[(&str, &[&str], &[Exception])] = &[
    ("ratatui", &["src/tui/"], &[]),
    ("crossterm", &["src/tui/"], &[]),
    (
        "rustls",
        &["src/proto/", "src/auth/ca.rs"],
        &[
            but(
                "src/agent/session.rs",
                "hands on the configuration that proto's tls made",
            ),
            but(
                "src/agent/joining.rs",
                "hands on the configuration that proto's tls made",
            ),
            but(
                "src/center/accept.rs",
                "hands on the configuration that proto's tls made",
            ),
        ],
    ),
    ("tokio_rustls", &["src/proto/"], &[]),
    ("rcgen", &["src/proto/identity.rs", "src/auth/ca.rs"], &[]),
    (
        "x509_parser",
        &["src/proto/identity.rs", "src/auth/ca.rs"],
        &[],
    ),
    ("ring", &["src/proto/tls.rs", "src/auth/"], &[]),
    ("rusqlite", &["src/store/sqlite/"], &[]),
    ("mysql_async", &["src/store/mysql/"], &[]),
    ("croner", &["src/rule/"], &[]),
    (
        "jiff",
        &["src/rule/"],
        &[but(
            "src/cli/print/time.rs",
            "instants in the terminal's zone",
        )],
    ),
    (
        "clap",
        &[
            "src/cli/args/",
            "src/center/args.rs",
            "src/exec/arguments.rs",
            "src/agent/arguments.rs",
            "src/bin/",
        ],
        &[but(
            "src/center/program.rs",
            "reads the argument table of args.rs",
        )],
    ),
    (
        "rustix",
        &["src/exec/", "src/clock.rs"],
        &[
            but("src/bin/ucron/dev.rs", "the account it runs as"),
            but(
                "src/center/notify.rs",
                "ends a notify command's process group",
            ),
            but(
                "src/tui/run/",
                "watches the terminal for its end, and stops itself for the shell",
            ),
            but(
                "src/cli/terminal.rs",
                "asks the terminal for its width and to hide what is typed",
            ),
        ],
    ),
    (
        "nix",
        &["src/exec/"],
        &[but(
            "src/bin/ucron/dev.rs",
            "ends the programs it started, by pid and signal",
        )],
    ),
    ("libc", &["src/exec/"], &[]),
    (
        "anyhow",
        &["src/bin/", "src/cli/"],
        &[
            but(
                "src/exec/arguments.rs",
                "the program's own end: errors that only a person reads",
            ),
            but(
                "src/center/program.rs",
                "the program's own end: errors that only a person reads",
            ),
        ],
    ),
    (
        "tokio",
        &[
            "src/clock.rs",
            "src/workers.rs",
            "src/proto/",
            "src/store/sqlite/",
            "src/store/mysql/",
            "src/cli/",
            "src/tui/",
            "src/bin/",
        ],
        &[
            but("src/center/accept.rs", "shell"),
            but("src/center/lead.rs", "shell"),
            but(
                "src/store/copy.rs",
                "a channel of pages between two databases",
            ),
            but("src/store/mod.rs", "the same channel"),
            but("src/center/dialling.rs", "shell"),
            but("src/center/notify.rs", "shell"),
            but("src/center/program.rs", "shell"),
            but("src/center/run.rs", "shell"),
            but("src/center/shell.rs", "shell"),
            but("src/center/step_down.rs", "shell"),
            but("src/agent/arguments.rs", "shell"),
            but("src/agent/joining.rs", "shell"),
            but("src/agent/keepers.rs", "shell"),
            but("src/agent/session.rs", "shell"),
            but("src/agent/shell.rs", "shell"),
        ],
    ),
];

/// Pure modules, each with the words that it may have all the same.
pub const PURE: &[(&str, &[&str])] = &[
    ("src/rule/", &["std::fs"]), // zone.rs looks whether the system's zone data is newer
    ("src/model/", &[]),
    ("src/auth/access.rs", &[]),
    ("src/proto/codec.rs", &[]),
    ("src/proto/redial.rs", &[]),
    ("src/proto/strict.rs", &[]),
    ("src/exec/supervise/", &[]),
    ("src/agent/core.rs", &[]),
    ("src/agent/core/", &[]),
    ("src/agent/estimate.rs", &[]),
    ("src/agent/event.rs", &[]),
    ("src/agent/record.rs", &[]),
    ("src/agent/runs.rs", &[]),
    ("src/center/adding.rs", &[]),
    ("src/center/changes.rs", &[]),
    ("src/center/clients.rs", &[]),
    ("src/center/conditions.rs", &[]),
    ("src/center/core.rs", &[]),
    ("src/center/ends.rs", &[]),
    ("src/center/entropy.rs", &[]),
    ("src/center/event.rs", &[]),
    ("src/center/events.rs", &[]),
    ("src/center/fleet.rs", &[]),
    ("src/center/follow.rs", &[]),
    ("src/center/hosts.rs", &[]),
    ("src/center/join.rs", &[]),
    ("src/center/lateness.rs", &[]),
    ("src/center/kept.rs", &[]),
    ("src/center/logs.rs", &[]),
    ("src/center/memory.rs", &[]),
    ("src/center/notices.rs", &[]),
    ("src/center/orders.rs", &[]),
    ("src/center/planner.rs", &[]),
    ("src/center/reads.rs", &[]),
    ("src/center/reconcile.rs", &[]),
    ("src/center/reports.rs", &[]),
    ("src/center/rolling.rs", &[]),
    ("src/center/requests/", &[]),
    ("src/center/failing.rs", &[]),
    ("src/center/outrun.rs", &[]),
    ("src/center/roster.rs", &[]),
    ("src/center/runs.rs", &[]),
    ("src/center/select.rs", &[]),
    ("src/center/sessions.rs", &[]),
    ("src/center/standby.rs", &[]),
    ("src/center/standbys.rs", &[]),
    ("src/center/steady.rs", &[]),
    ("src/center/tasks.rs", &[]),
    ("src/center/telling.rs", &[]),
    ("src/center/views.rs", &[]),
    ("src/center/watch.rs", &[]),
    ("src/center/watching.rs", &[]),
    ("src/cli/ancestor/", &[]),
    ("src/cli/spec.rs", &[]),
    ("src/tui/keys.rs", &[]),
    ("src/tui/state/", &[]),
    ("src/tui/text.rs", &[]),
    ("src/tui/update/", &[]),
    ("src/tui/view/", &[]),
    ("src/cli/document/", &["crate::config"]),
];

/// What a pure module has nothing to do with.
pub const PURE_WORDS: &[&str] = &[
    "async",
    "await",
    "std::fs",
    "std::net",
    "std::thread",
    "std::process",
    "crate::clock",
    "crate::workers",
    "crate::config",
    "crate::files",
    "Instant::now",
    "SystemTime",
    "tracing",
];

/// A word of code, the rule, and the files in which it stands.
pub const CODE_WORDS: &[(&str, &str, &[Exception])] = &[
    (
        "unsafe",
        "unsafe code is in exec's system file only",
        &[but("src/exec/sys.rs", "system calls")],
    ),
    (
        "SystemTime::now",
        "only src/clock.rs reads the wall clock",
        &[],
    ),
    (
        "Instant::now",
        "deadlines of waits only; the boot-time clock is src/clock.rs's",
        &[
            but(
                "src/proto/handshake.rs",
                "tokio's clock: time limit of a handshake",
            ),
            but("src/proto/link.rs", "tokio's clock: time limit of a line"),
            but(
                "src/cli/command/login.rs",
                "tokio's clock: how long a center is looked for",
            ),
            but(
                "src/agent/joining.rs",
                "tokio's clock: how long a center is asked to let an agent join",
            ),
            but(
                "src/cli/session/wire.rs",
                "tokio's clock: time limit of a handshake",
            ),
            but(
                "src/agent/session.rs",
                "tokio's clock: whether a link was steady",
            ),
            but(
                "src/cli/session/dial.rs",
                "tokio's clock: time limit of reaching a center",
            ),
            but("src/agent/keepers.rs", "when a keeper is looked for again"),
            but("src/bin/ucron/dev.rs", "time limits of starts and ends"),
            but("src/tui/run/shell.rs", "when the next frame is drawn"),
            but("src/exec/account.rs", "age of a cached account"),
            but("src/exec/dir.rs", "time limit of a lock"),
            but("src/exec/program.rs", "time limit of a start"),
        ],
    ),
    (
        "Command::new",
        "programs are started in one file each",
        &[
            but("src/exec/program.rs", "starts the keeper's program"),
            but("src/bin/ucron/start.rs", "starts this executable again"),
            but("src/cli/editor.rs", "starts the operator's editor"),
            but(
                "src/center/notify.rs",
                "starts the notify commands of the settings",
            ),
        ],
    ),
    (
        "tokio::spawn",
        "only src/workers.rs spawns",
        &[but("src/workers.rs", "named workers with a stop token")],
    ),
    (
        "process::exit",
        "return an ExitCode from main, so that everything is dropped",
        &[but(
            "src/tui/run/watchdog.rs",
            "the terminal is gone and the main thread spins in a foreign reader",
        )],
    ),
];

/// Words, in parts so that this file does not have them, and the rule; in every text of the project.
pub const TEXT_WORDS: &[(&[&str], &str)] = &[
    (&["todo", "!"], "finish it"),
    (&["TO", "DO"], "finish it"),
    (&["FIX", "ME"], "finish it"),
    (&["unimple", "mented!"], "finish it"),
    (&["#[ig", "nore"], "no test is left out"),
    (&["/wo", "rk/"], "no path of one machine"),
    (&["sha", "red/"], "the repository stands alone"),
];

/// Lines of a file at most.
pub const MOST_LINES: usize = 500;

/// Longer ones.
pub const LONG_FILES: &[Exception] = &[
    but(
        "src/exec/keeper/mod.rs",
        "the keeper's one loop and its state",
    ),
    but(
        "src/exec/sys.rs",
        "the only unsafe file: what needs it is gathered here",
    ),
    but(
        "src/model/work.rs",
        "one noun with its words, its checks and their tests",
    ),
    but(
        "tests/agent.rs",
        "a center and a keeper in memory beside what they show",
    ),
];
