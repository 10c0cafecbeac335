//! What only the SQLite file promises: its mode, its schema and upgrades, its copies, the indexes used.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, params_from_iter};
use tempfile::TempDir;

use super::migrate::{MIGRATIONS, Migration, migrate};
use super::{file, runs, write_run};
use crate::model::{Outcome, UnixMs};
use crate::store::checksum::hex;
use crate::store::copy::TABLES;
use crate::store::tests::sqlite::World;
use crate::store::tests::{NOW, sample};
use crate::store::{AgentRow, RunQuery, SchemaError, Store, StoreError, Write};

/// The schema and some content of version 1, as released; never edited.
const GOLDEN_1: &str = include_str!("../../../tests/schema/sqlite-1.sql");
/// Likewise of version 3, with an agent that is dialled.
const GOLDEN_3: &str = include_str!("../../../tests/schema/sqlite-3.sql");

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test]
async fn the_file_and_its_log_are_only_the_owners() {
    let world = World::with_fleet().await;
    for name in ["center.db", "center.db-wal", "center.db-shm"] {
        assert_eq!(mode(&world.folder.path().join(name)), 0o600, "{name}");
    }
    world.store.close().await;
    let path = world.folder.path().join("center.db");
    assert!(!file::with_suffix(&path, "-wal").exists(), "not closed");
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    check_refused(
        &path,
        &StoreError::Exposed {
            path: path.clone(),
            mode: 0o640,
        },
    );
}

fn check_refused(path: &Path, wanted: &StoreError) {
    assert_eq!(Store::open_sqlite(path, NOW).err().as_ref(), Some(wanted));
}

/// A closed store that was changed from outside.
async fn changed_by(sql: &str) -> (TempDir, std::path::PathBuf) {
    let World { folder, store, .. } = World::new().await;
    store.close().await;
    let path = folder.path().join("center.db");
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    (folder, path)
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let (_folder, path) = changed_by("INSERT INTO schema_migration VALUES (99, 'x', 0)").await;
    let known = MIGRATIONS.last().unwrap().version;
    let newer = SchemaError::Newer {
        path: path.clone(),
        found: 99,
        known,
    };
    check_refused(&path, &newer.into());
}

#[tokio::test]
async fn a_schema_of_another_text_is_refused() {
    let (_folder, path) = changed_by("UPDATE schema_migration SET checksum = 'x'").await;
    check_refused(
        &path,
        &SchemaError::Changed {
            path: path.clone(),
            version: 1,
        }
        .into(),
    );
}

#[test]
fn a_database_of_something_else_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("other.db");
    file::prepare(&path).unwrap();
    Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE t (x)")
        .unwrap();
    check_refused(&path, &SchemaError::Foreign { path: path.clone() }.into());
    fs::write(
        &path,
        "no database, but long enough to be looked at as one".repeat(99),
    )
    .unwrap();
    let refused = Store::open_sqlite(&path, NOW).err();
    assert!(
        matches!(refused, Some(StoreError::Corrupt { .. })),
        "{refused:?}"
    );
}

fn schema(connection: &Connection) -> String {
    let mut select = connection
        .prepare(
            "SELECT sql || ';' || char(10) FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid",
        )
        .unwrap();
    let rows = select.query_map([], |row| row.get::<_, String>(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn an_interrupted_migration_leaves_the_file_as_it_was_and_a_copy() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("center.db");
    file::prepare(&path).unwrap();
    let mut connection = file::open_writer(&path).unwrap();
    let step = |version, sql| Migration { version, sql };
    let (one, two) = (
        step(1, "CREATE TABLE a (x);"),
        step(2, "CREATE TABLE b (x);"),
    );
    migrate(&mut connection, &path, &[one], NOW).unwrap();
    let before = schema(&connection);
    let broken = step(3, "CREATE TABLE c (x); INSERT INTO nowhere VALUES (1);");
    migrate(&mut connection, &path, &[one, two, broken], NOW).unwrap_err();
    assert_eq!(schema(&connection), before);
    let copy = folder.path().join("center.db.before-2");
    assert_eq!(schema(&Connection::open(&copy).unwrap()), before);
    assert_eq!(mode(&copy), 0o600);
    migrate(&mut connection, &path, &[one, two], NOW).unwrap();
    assert!(schema(&connection).contains("CREATE TABLE b"));
}

/// Schema and content as statements.
fn dump(connection: &Connection) -> String {
    let mut text = schema(connection);
    let mut tables = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid")
        .unwrap();
    let names = tables.query_map([], |row| row.get::<_, String>(0)).unwrap();
    for name in names.map(Result::unwrap) {
        let mut select = connection
            .prepare(&format!("SELECT * FROM {name}"))
            .unwrap();
        let width = select.column_count();
        let mut rows = select.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values = (0..width).map(|i| literal(row.get_ref(i).unwrap()));
            let values = values.collect::<Vec<_>>().join(", ");
            writeln!(text, "INSERT INTO {name} VALUES ({values});").unwrap();
        }
    }
    text
}

fn literal(value: ValueRef) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Text(text) if text.iter().any(u8::is_ascii_control) => {
            format!("CAST(x'{}' AS TEXT)", hex(text))
        }
        ValueRef::Text(text) => format!("'{}'", str::from_utf8(text).unwrap().replace('\'', "''")),
        other => panic!("no column holds {other:?}"),
    }
}

fn check_schema(version: i64, golden: &str) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("center.db");
    file::prepare(&path).unwrap();
    let mut connection = file::open_writer(&path).unwrap();
    let upto = MIGRATIONS.iter().filter(|step| step.version <= version);
    let upto: Vec<Migration> = upto.copied().collect();
    migrate(&mut connection, &path, &upto, UnixMs(0)).unwrap();
    // Includes the checksum of its text.
    for line in dump(&connection).lines() {
        assert!(golden.lines().any(|golden| golden == line), "{line}");
    }
    assert!(golden.starts_with(&schema(&connection)));
}

#[test]
fn the_schemas_are_as_released() {
    check_schema(1, GOLDEN_1);
    check_schema(3, GOLDEN_3);
}

fn dialled() -> Write {
    Write::PutAgent(Box::new(AgentRow {
        dial_address: Some("[2001:db8::1]:9501".parse().unwrap()),
        ..sample::agent(3, "dialled")
    }))
}

#[tokio::test]
async fn a_store_of_version_3_opens_without_loss() {
    let mut batch = sample::additions();
    batch.push(dialled());
    check_opens(3, GOLDEN_3, batch).await;
}

#[tokio::test]
async fn a_store_of_version_1_opens_without_loss() {
    check_opens(1, GOLDEN_1, sample::additions()).await;
}

/// Writes the golden file of a version that is new, whose file is empty still.
fn write_golden(version: i64, store: &Path) -> ! {
    let connection = Connection::open(store).unwrap();
    let zero = "UPDATE schema_migration SET applied_at = 0";
    connection.execute(zero, []).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join(format!("tests/schema/sqlite-{version}.sql"));
    fs::write(&path, dump(&connection)).unwrap();
    panic!("{} was written: look at it, and run again", path.display());
}

async fn check_opens(version: i64, golden: &str, batch: Vec<Write>) {
    let World {
        folder,
        store,
        guard,
    } = World::new().await;
    store.commit(&guard, batch, NOW).await.unwrap();
    if golden.is_empty() {
        write_golden(version, &folder.path().join("center.db"));
    }
    let path = folder.path().join("old.db");
    file::prepare(&path).unwrap();
    Connection::open(&path)
        .unwrap()
        .execute_batch(golden)
        .unwrap();
    let old = Store::open_sqlite(&path, NOW).unwrap();
    assert_eq!(old.load().await, store.load().await);
    let all = || RunQuery {
        open: true,
        ..RunQuery::default()
    };
    assert_eq!(old.runs(all()).await, store.runs(all()).await);
    assert_eq!(old.audit(None, 0).await, store.audit(None, 0).await);
    assert_eq!(
        old.take_lead("c1").await.unwrap().epoch.0,
        guard.epoch.0 + 1
    );
}

#[tokio::test]
async fn a_backup_made_while_in_use_is_the_whole_store() {
    let world = World::with_fleet().await;
    let path = world.folder.path().join("backup.db");
    fs::write(&path, "an older one").unwrap();
    world.store.backup(&path, NOW).await.unwrap();
    assert_eq!(mode(&path), 0o600);
    let copy = Store::open_sqlite(&path, NOW).unwrap();
    assert_eq!(copy.load().await, world.store.load().await);
}

#[test]
fn a_full_disk_is_told_as_such_and_passes() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("center.db");
    file::prepare(&path).unwrap();
    let connection = file::open_writer(&path).unwrap();
    connection
        .execute_batch("CREATE TABLE t (x); PRAGMA max_page_count = 8")
        .unwrap();
    let insert = || connection.execute("INSERT INTO t VALUES (zeroblob(100000))", []);
    let full = StoreError::from(insert().unwrap_err());
    assert!(matches!(full, StoreError::NotWritable { .. }), "{full:?}");
    connection
        .execute_batch("PRAGMA max_page_count = 1000")
        .unwrap();
    insert().unwrap();
}

/// Every combination of the parts of a question.
fn every_query() -> Vec<RunQuery> {
    let outcomes = [None, Some(Outcome::Succeeded), Some(Outcome::Failed)];
    let mut queries = Vec::new();
    for bits in 0..64 {
        for outcome in outcomes {
            let has = |bit: u32| bits >> bit & 1 == 1;
            queries.push(RunQuery {
                task: has(0).then(|| sample::task_id(1)),
                groups: has(1).then(|| [sample::group_name("web")].into()),
                agent: has(2).then(|| sample::agent_id(1)),
                outcome,
                until: None,
                since: has(3).then_some(NOW),
                id_suffix: has(4).then(|| "abc".into()),
                open: has(5),
                limit: 50,
            });
        }
    }
    queries
}

#[tokio::test]
async fn no_question_reads_all_runs() {
    let world = World::new().await;
    let connection = file::open_reader(&world.folder.path().join("center.db")).unwrap();
    for query in every_query() {
        let (sql, values) = runs::statement(&query);
        let mut explain = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap();
        let steps = explain
            .query_map(params_from_iter(values), |row| {
                row.get::<_, String>("detail")
            })
            .unwrap();
        let plan: Vec<String> = steps.map(Result::unwrap).collect();
        check_plan(&plan, query.id_suffix.is_some());
    }
}

#[tokio::test]
async fn no_change_of_a_run_reads_all_runs() {
    let world = World::new().await;
    let connection = file::open_reader(&world.folder.path().join("center.db")).unwrap();
    for sql in [write_run::REVISE, write_run::REASSIGN, write_run::ENDED] {
        let mut explain = connection
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap();
        let nulls = params_from_iter(vec![
            rusqlite::types::Value::Null;
            explain.parameter_count()
        ]);
        let step: String = explain.query_row(nulls, |row| row.get("detail")).unwrap();
        assert_eq!(
            step, "SEARCH run USING INDEX run_unsettled (run_id=?)",
            "{sql}"
        );
    }
}

fn check_plan(plan: &[String], sorted: bool) {
    let searched = |step: &String| step.starts_with("SEARCH r USING INDEX run_");
    assert!(plan.iter().any(searched), "{plan:?}");
    let scanned = |step: &String| {
        ["SCAN r ", "SCAN run", "SCAN t"]
            .iter()
            .any(|word| step.starts_with(word))
            || step == "SCAN r"
    };
    assert!(!plan.iter().any(scanned), "{plan:?}");
    let sorts_all = plan
        .iter()
        .any(|step| step == "USE TEMP B-TREE FOR ORDER BY");
    assert!(!sorts_all || sorted, "{plan:?}");
}

/// A table or column that is not copied would be lost on the way to another store.
#[tokio::test]
async fn every_table_and_column_is_copied() {
    let world = World::new().await;
    let connection = file::open_reader(&world.folder.path().join("center.db")).unwrap();
    let mut select = connection
        .prepare(
            "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c
             WHERE t.type = 'table' AND t.name NOT IN ('lease', 'schema_migration')",
        )
        .unwrap();
    let rows = select
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    let found: BTreeSet<(String, String)> = rows.map(Result::unwrap).collect();
    let copied = TABLES.iter().flat_map(|table| {
        let columns = table.columns.iter();
        columns.map(|column| (table.name.to_owned(), (*column).to_owned()))
    });
    assert_eq!(copied.collect::<BTreeSet<_>>(), found);
}
