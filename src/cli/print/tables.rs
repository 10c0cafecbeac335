//! The tables of the listing commands: which fields, in which order, and which go first when it gets narrow.

use super::table::{Table, column};

/// `ucron ls`.
pub const TASKS: Table = Table {
    id: "id",
    columns: &[
        column("group", "GROUP", 1),
        column("task_name", "TASK", 0),
        column("enabled", "ON", 2),
        column("rule", "RULE", 3),
        column("next_at", "NEXT", 2),
        column("last_run", "LAST", 4),
        column("running", "RUNNING", 5),
        column("run_user", "USER", 7),
        column("target", "TARGET", 8),
        column("execute", "EXECUTE", 6),
    ],
};

/// `ucron runs`.
pub const RUNS: Table = Table {
    id: "run_id",
    columns: &[
        column("run_id", "RUN", 1),
        column("task", "TASK", 0),
        column("agent", "AGENT", 2),
        column("slot", "SLOT", 8),
        column("scheduled_at", "SCHEDULED", 3),
        column("late_ms", "LATE", 6),
        column("cause", "CAUSE", 9),
        column("outcome", "OUTCOME", 0),
        column("exit_code", "EXIT", 5),
        column("signal", "SIGNAL", 10),
        column("reason", "REASON", 4),
    ],
};

/// `ucron ps`.
pub const PROCESSES: Table = Table {
    id: "run_id",
    columns: &[
        column("run_id", "RUN", 2),
        column("task", "TASK", 0),
        column("agent", "AGENT", 1),
        column("slot", "SLOT", 5),
        column("pid", "PID", 3),
        column("state", "STATE", 0),
        column("started_at", "STARTED", 4),
        column("restarts", "RESTARTS", 7),
        column("revision", "REVISION", 8),
        column("reason", "REASON", 6),
    ],
};

/// `ucron agents`.
pub const AGENTS: Table = Table {
    id: "name",
    columns: &[
        column("name", "AGENT", 0),
        column("state", "STATE", 0),
        column("groups", "GROUPS", 1),
        column("running", "RUNNING", 3),
        column("last_seen_at", "SEEN", 2),
        column("skew_ms", "SKEW", 5),
        column("version", "VERSION", 6),
        column("address", "ADDRESS", 4),
    ],
};

/// `ucron groups`.
pub const GROUPS: Table = Table {
    id: "name",
    columns: &[
        column("name", "GROUP", 0),
        column("tasks", "TASKS", 1),
        column("agents", "AGENTS", 2),
        column("run_users", "RUN USERS", 3),
        column("frozen_until", "FROZEN UNTIL", 4),
    ],
};

/// What `ucron group freeze` keeps from running.
pub const FROZEN: Table = Table {
    id: "task",
    columns: &[
        column("task", "TASK", 0),
        column("occurrences", "OCCURRENCES", 1),
        column("first_at", "FIRST", 2),
        column("next_at", "NEXT AFTER IT", 3),
    ],
};

/// `ucron operators`.
pub const OPERATORS: Table = Table {
    id: "name",
    columns: &[
        column("name", "OPERATOR", 0),
        column("role", "ROLE", 1),
        column("groups", "GROUPS", 2),
        column("logged_in", "LOGGED IN", 3),
    ],
};

/// `ucron context ls`.
pub const CONTEXTS: Table = Table {
    id: "name",
    columns: &[
        column("name", "CONTEXT", 0),
        column("in_use", "IN USE", 0),
        column("operator", "OPERATOR", 2),
        column("fleet", "FLEET", 3),
        column("centers", "CENTERS", 1),
        column("home", "HOME", 4),
    ],
};

/// `ucron audit`; what was before and after is long, and in `-o json` or `--columns`.
pub const AUDIT: Table = Table {
    id: "at",
    columns: &[
        column("at", "AT", 2),
        column("operator", "OPERATOR", 0),
        column("deed", "DEED", 0),
        column("subject", "SUBJECT", 0),
        column("address", "FROM", 1),
    ],
};

/// `ucron import`: every row, and what becomes of it.
pub const IMPORTED: Table = Table {
    id: "id",
    columns: &[
        column("row", "ROW", 1),
        column("task", "TASK", 0),
        column("fate", "FATE", 0),
        column("enabled", "ON", 4),
        column("rule", "RULE", 2),
        column("run_user", "USER", 5),
        column("execute", "EXECUTE", 6),
        column("reason", "REASON", 3),
    ],
};

/// What verbs hit.
pub const CHANGES: Table = Table {
    id: "id",
    columns: &[column("task", "TASK", 0)],
};

/// Runs that were begun or told to end.
pub const STARTED: Table = Table {
    id: "run_id",
    columns: &[column("run_id", "RUN", 0), column("task", "TASK", 0)],
};
