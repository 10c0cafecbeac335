//! A long history, written past the center with bulk SQL while it is down: runs of 31.6 days in the order of time, of
//! a thousand tasks on fifty agents. One task has a fifth of them and never fails, one has ten; on one agent nothing
//! fails. The same rows in either database.
#![allow(
    clippy::unwrap_used,
    reason = "what a benchmark cannot prepare ends it"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};

use crate::database::Server;

const AGENTS: i64 = 50;
const TASKS: i64 = 1_000;
const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;
/// How far back it reaches: a twentieth of it is older than 30 days.
const REACH: i64 = 316 * DAY / 10;
/// Rows that MariaDB reads at once.
const CHUNK: i64 = 250_000;

/// The task that an operator made, after which all others are made.
pub const TEMPLATE: &str = "template";
/// Number of the task with a fifth of all runs, none of which failed.
pub const BUSY: i64 = 0;
/// Number of the task with ten runs.
pub const RARE: i64 = TASKS - 1;
/// Number of the agent on which nothing fails.
pub const SOUND: i64 = AGENTS - 1;

pub fn task_id(number: i64) -> String {
    format!("01hzzzzzzzzzzzzzzzzt{number:06}")
}

pub fn task_name(number: i64) -> String {
    format!("past-{number:03}")
}

pub fn agent_id(number: i64) -> String {
    format!("01hzzzzzzzzzzzzzzzza{number:06}")
}

pub fn agent_name(number: i64) -> String {
    format!("host-{number:02}")
}

/// So many runs, the last due at this instant.
#[derive(Clone, Copy)]
pub struct Past {
    pub runs: i64,
    pub until: i64,
}

struct Row {
    run_id: String,
    task: i64,
    agent: i64,
    slot: i64,
    at: i64,
    outcome: &'static str,
}

const COLUMNS: &str =
    "run_id, run_id_back, task, revision, target, agent, slot, cause, scheduled_at, start_before,
    outcome, reason, exit_code, pid, attempt, started_at, finished_at, output_bytes";

impl Past {
    fn row(self, number: i64) -> Row {
        // Scattered, and the same every time.
        let hash = number * 2_654_435_761 % (1 << 32);
        let task = match (number % (self.runs / 10).max(1), hash % 5) {
            (0, _) => RARE,
            (_, 0) => BUSY,
            _ => 1 + hash / 5 % (TASKS - 2),
        };
        let agent = hash / 4_990 % AGENTS;
        let outcome = match hash / 249_500 % 1000 {
            _ if task == BUSY || agent == SOUND => "succeeded",
            0..30 => "failed",
            30..35 => "timed_out",
            35..45 => "skipped",
            45..50 => "stopped",
            50..52 => "lost",
            _ => "succeeded",
        };
        // Due at full minutes, as most of what people plan.
        let at = self.until - (self.runs - number) * (REACH / self.runs);
        let scattered = number
            .wrapping_mul(-7_046_029_254_386_353_131)
            .cast_unsigned();
        Row {
            run_id: format!("{scattered:016x}{number:010x}")
                .chars()
                .rev()
                .collect(),
            task,
            agent,
            slot: number % 1024,
            at: at / MINUTE * MINUTE,
            outcome,
        }
    }
}

/// A database without its center.
pub enum Base<'a> {
    Sqlite(PathBuf),
    Maria(&'a Server, String),
}

impl Base<'_> {
    /// Writes tasks, agents and runs.
    pub fn fill(&self, past: Past) {
        let tasks = (0..TASKS).map(|number| {
            let (id, name) = (task_id(number), task_name(number));
            copy("task", TASK, TEMPLATE, &[("id", &id), ("task_name", &name)])
        });
        let agents = (0..AGENTS).map(|number| {
            let (id, name) = (agent_id(number), agent_name(number));
            copy("agent", AGENT, "a1", &[("id", &id), ("name", &name)])
        });
        let all: Vec<String> = tasks.chain(agents).collect();
        // An argument of the client has a longest length.
        for some in all.chunks(100) {
            self.execute(&format!("BEGIN; {}; COMMIT", some.join("; ")));
        }
        match self {
            Self::Sqlite(path) => fill_sqlite(path, past),
            Self::Maria(server, name) => fill_maria(server, name, past),
        }
    }

    fn execute(&self, sql: &str) {
        match self {
            Self::Sqlite(path) => Connection::open(path).unwrap().execute_batch(sql).unwrap(),
            Self::Maria(server, name) => drop(server.sql(&format!("USE {name}; {sql}"))),
        }
    }

    /// The number that a question has as its answer.
    pub fn number(&self, sql: &str) -> i64 {
        match self {
            Self::Sqlite(path) => {
                let connection = Connection::open(path).unwrap();
                connection.query_row(sql, [], |row| row.get(0)).unwrap()
            }
            Self::Maria(server, name) => {
                let answer = server.sql(&format!("USE {name}; {sql}"));
                answer.trim().parse().unwrap()
            }
        }
    }
}

const TASK: &str = "id, gid, task_name, rule, execute, shell, run_user, processes, enabled, finishing, revision, \
     spec, cursor_at, saved_at, changed_by, changed_at";
const AGENT: &str = "id, name, draining, drain_daemons, incarnation, created_at";

/// A copy of the row of this name with other values.
fn copy(table: &str, columns: &str, of: &str, differs: &[(&str, &str)]) -> String {
    let value = |column: &str| {
        let mut other = differs.iter().filter(|(name, _)| *name == column);
        other
            .next()
            .map_or(column.to_owned(), |(_, value)| format!("'{value}'"))
    };
    let values: Vec<String> = columns.split(", ").map(value).collect();
    let name = if table == "task" { "task_name" } else { "name" };
    let values = values.join(", ");
    format!("INSERT INTO {table} ({columns}) SELECT {values} FROM {table} WHERE {name} = '{of}'")
}

fn fill_sqlite(path: &Path, past: Past) {
    let mut connection = Connection::open(path).unwrap();
    connection
        .execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -524288")
        .unwrap();
    for chunk in chunks(past.runs) {
        let tx = connection.transaction().unwrap();
        let insert = format!(
            "INSERT INTO run ({COLUMNS}) VALUES (?1, ?2, ?3, 1, ?4, ?4, ?5, 'rule', ?6, ?6 + 60000, ?7,
             'exited with code 0', 0, 4711, 1, ?6 + 2, ?6 + 1000, 12)"
        );
        for number in chunk {
            let row = past.row(number);
            let back: String = row.run_id.chars().rev().take(8).collect();
            let values = params![
                row.run_id,
                back,
                task_id(row.task),
                agent_id(row.agent),
                row.slot,
                row.at,
                row.outcome
            ];
            tx.prepare_cached(&insert).unwrap().execute(values).unwrap();
        }
        tx.commit().unwrap();
    }
}

fn fill_maria(server: &Server, name: &str, past: Past) {
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    // The server is somebody else.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let file = folder.path().join("rows");
    for chunk in chunks(past.runs) {
        let mut text = String::new();
        for number in chunk {
            let Row {
                run_id,
                task,
                agent,
                slot,
                at,
                outcome,
            } = past.row(number);
            let back: String = run_id.chars().rev().take(8).collect();
            let (task, agent, before) = (task_id(task), agent_id(agent), at + MINUTE);
            let (started, finished) = (at + 2, at + 1000);
            writeln!(
                text,
                "{run_id}\t{back}\t{task}\t1\t{agent}\t{agent}\t{slot}\trule\t{at}\t{before}\t{outcome}\t\
                 exited with code 0\t0\t4711\t1\t{started}\t{finished}\t12"
            )
            .unwrap();
        }
        std::fs::write(&file, text).unwrap();
        let file = file.display();
        server.sql(&format!(
            "USE {name}; SET SESSION foreign_key_checks = 0; LOAD DATA INFILE '{file}' INTO TABLE run ({COLUMNS})"
        ));
    }
}

/// Numbers of runs that are written at once.
fn chunks(runs: i64) -> impl Iterator<Item = std::ops::Range<i64>> {
    let starts = (0..runs).step_by(usize::try_from(CHUNK).unwrap());
    starts.map(move |start| start..runs.min(start + CHUNK))
}
