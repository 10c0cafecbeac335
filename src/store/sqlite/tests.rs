//! What only the SQLite file promises: its mode, its schema and upgrades, its copies.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::ValueRef;
use tempfile::TempDir;

use super::file;
use super::migrate::{MIGRATIONS, Migration, migrate};
use crate::model::{Ending, Outcome, UnixMs};
use crate::store::checksum::hex;
use crate::store::copy::TABLES;
use crate::store::tests::sqlite::World;
use crate::store::tests::{NOW, sample};
use crate::store::{AgentRow, RunQuery, SchemaError, Store, StoreError, Write};

/// The schema and some content of version 1, as released; never edited.
const GOLDEN_1: &str = include_str!("../../../tests/schema/sqlite-1.sql");
/// Likewise of version 3, with an agent that is dialled.
const GOLDEN_3: &str = include_str!("../../../tests/schema/sqlite-3.sql");
/// Likewise of version 4, with what a run took.
const GOLDEN_4: &str = include_str!("../../../tests/schema/sqlite-4.sql");

/// The same of version 2.
const GOLDEN_2: &str = include_str!("../../../tests/schema/sqlite-2.sql");
/// Likewise of version 5, with a run whose output is not whole.
const GOLDEN_5: &str = include_str!("../../../tests/schema/sqlite-5.sql");

/// Likewise of version 6, with runs that did not succeed.
const GOLDEN_6: &str = include_str!("../../../tests/schema/sqlite-6.sql");

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
    check_schema(2, GOLDEN_2);
    check_schema(3, GOLDEN_3);
    check_schema(4, GOLDEN_4);
    check_schema(5, GOLDEN_5);
    check_schema(6, GOLDEN_6);
}

fn dialled() -> Write {
    Write::PutAgent(Box::new(AgentRow {
        dial_address: Some("[2001:db8::1]:9501".parse().unwrap()),
        ..sample::agent(3, "dialled")
    }))
}

/// A run of which is known what it took.
fn measured() -> [Write; 2] {
    let row = sample::run(1, 700_000);
    let mut ending = sample::ending(Outcome::Failed);
    ending.peak_memory_bytes = Some(1 << 41);
    ending.cpu_ms = Some(77);
    let run_id = row.run.run_id.clone();
    let plan = Write::PlanRun(row);
    let ending = Box::new(ending);
    let end = Write::EndRun {
        run_id,
        only_of: None,
        ending,
    };
    [plan, end]
}

#[tokio::test]
async fn a_store_of_version_4_opens_without_loss() {
    let mut batch = sample::additions();
    batch.push(dialled());
    batch.extend(measured());
    check_opens(4, GOLDEN_4, batch).await;
}

#[tokio::test]
async fn a_store_of_version_3_opens_without_loss() {
    let mut batch = sample::additions();
    batch.extend(sample::additions_2());
    batch.push(dialled());
    check_opens(3, GOLDEN_3, batch).await;
}

/// A run whose output has a gap, and was cut by its command.
fn gapped() -> Write {
    let row = Box::new(sample::run(1, 9000));
    let ending = Box::new(Ending {
        output_gap: Some(1 << 39),
        output_cut: Some(77),
        ..sample::ending(Outcome::Succeeded)
    });
    Write::RecordRun { row, ending }
}

#[tokio::test]
async fn a_store_of_version_5_opens_without_loss() {
    let mut batch = sample::additions();
    batch.extend([dialled(), gapped()]);
    check_opens(5, GOLDEN_5, batch).await;
}

#[tokio::test]
async fn a_store_of_version_6_opens_without_loss() {
    let mut batch = sample::additions();
    batch.extend(sample::additions_2());
    batch.extend([dialled(), gapped()]);
    batch.extend(measured());
    check_opens(6, GOLDEN_6, batch).await;
}

#[tokio::test]
async fn a_store_of_version_2_opens_without_loss() {
    let both = sample::additions().into_iter().chain(sample::additions_2());
    check_opens(2, GOLDEN_2, both.collect()).await;
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
