//! What only MySQL promises: leases that run out, its schema and upgrades, connections lost, refused and encrypted.
//! On the private server; where there is none nothing is tried, and the tests say so.

use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::migrate::{MIGRATIONS, Migration, migrate};
use super::session::{Kind, Session};
use crate::model::Epoch;
use crate::store::tests::mysql::{own_database, server};
use crate::store::tests::{NOW, content, sample};
use crate::store::{Database, Lead, Place, SchemaError, Secret, Store, StoreError, Tls, Write};

/// The schema and some content of version 1, as released; never edited.
const GOLDEN_1: &str = include_str!("../../../tests/schema/mysql-1.sql");

/// A new database on the private server.
fn database() -> Option<Database> {
    let found = server().map(own_database);
    if found.is_none() {
        eprintln!("skipped, needs the packages mariadb-server-core and mariadb-client-core");
    }
    found
}

fn sql(text: &str) -> String {
    server().unwrap().sql(text)
}

async fn open(database: &Database) -> Result<Store, StoreError> {
    Store::open(&Place::Mysql(Box::new(database.clone())), NOW).await
}

async fn check_refused(database: &Database, wanted: impl Fn(&StoreError) -> bool) {
    let fault = open(database).await.err().unwrap();
    assert!(wanted(&fault), "{fault:?}");
    assert!(!format!("{fault:?} {fault}").contains("se:cret"));
}

#[tokio::test]
async fn a_lease_is_respected_until_it_runs_out_or_is_given_back() {
    let Some(mut database) = database() else {
        return;
    };
    let one = open(&database).await.unwrap();
    database.lease = Duration::from_mins(10);
    let (two, three) = (
        open(&database).await.unwrap(),
        open(&database).await.unwrap(),
    );
    let first = one.take_lead("c1").await.unwrap();
    let Lead::Held {
        holder,
        epoch,
        left,
    } = two.try_take_lead("c2").await.unwrap()
    else {
        panic!("taken");
    };
    assert_eq!((holder.as_str(), epoch), ("c1", Epoch(1)));
    assert!(left <= Duration::from_secs(3), "{left:?}");
    sql(&format!(
        "UPDATE {}.lease SET expires_at = 1",
        database.name
    ));
    // Run out and taken by nobody: no batch, but a renewal makes it good.
    let empty = || one.commit(&first, Vec::new(), NOW);
    assert_eq!(empty().await, Err(StoreError::Lapsed));
    one.renew(&first).await.unwrap();
    empty().await.unwrap();
    sql(&format!(
        "UPDATE {}.lease SET expires_at = 1",
        database.name
    ));
    let second = two.take_lead("c2").await.unwrap();
    assert_eq!(second.epoch, Epoch(2));
    assert_eq!(empty().await, Err(StoreError::NotLeader));
    assert_eq!(one.renew(&first).await, Err(StoreError::NotLeader));
    two.release(&second).await.unwrap();
    assert_eq!(three.take_lead("c3").await.unwrap().epoch, Epoch(3));
}

#[tokio::test]
async fn of_many_that_ask_at_once_one_has_the_lead() {
    let Some(database) = database() else { return };
    let mut stores = Vec::new();
    for _ in 0..6 {
        stores.push(open(&database).await.unwrap());
    }
    let asked = stores.iter().enumerate().map(|(n, store)| {
        let store = store.clone();
        async move { store.try_take_lead(&format!("c{n}")).await }
    });
    // Each store has a thread of its own, so asking is at once although this waits in turn.
    let mut answers = Vec::new();
    for answer in asked.map(Box::pin).collect::<Vec<_>>() {
        answers.push(answer.await.unwrap());
    }
    let taken = answers.iter().filter(|lead| matches!(lead, Lead::Taken(_)));
    assert_eq!(taken.count(), 1, "{answers:?}");
}

#[tokio::test]
async fn a_batch_goes_through_although_the_connection_was_cut() {
    let Some(database) = database() else { return };
    let store = open(&database).await.unwrap();
    let guard = store.take_lead("c1").await.unwrap();
    for name in ["a", "b", "c"] {
        let ids = sql(&format!(
            "SELECT id FROM information_schema.processlist WHERE db = '{}'",
            database.name
        ));
        for id in ids.lines() {
            sql(&format!("KILL CONNECTION {id}"));
        }
        store.renew(&guard).await.unwrap();
        let batch = vec![Write::PutGroup(sample::group(name))];
        store.commit(&guard, batch, NOW).await.unwrap();
    }
    assert_eq!(store.load().await.unwrap().groups.len(), 3);
}

#[tokio::test]
async fn a_lock_of_another_is_waited_for_shortly_and_then_told() {
    let Some(database) = database() else { return };
    let store = open(&database).await.unwrap();
    let guard = store.take_lead("c1").await.unwrap();
    let mut other = Session::new(&database, Kind::Mover);
    let lock = async |conn: &mut Conn| {
        conn.query_drop("START TRANSACTION").await?;
        conn.query_drop("SELECT * FROM lease FOR UPDATE").await?;
        Ok(())
    };
    other.run(lock).await.unwrap();
    let busy = store.commit(&guard, Vec::new(), NOW).await;
    assert!(matches!(busy, Err(StoreError::Busy { .. })), "{busy:?}");
    let busy = store.load().await;
    assert!(matches!(busy, Err(StoreError::Busy { .. })), "{busy:?}");
    other.close().await;
    store.renew(&guard).await.unwrap();
    store.commit(&guard, Vec::new(), NOW).await.unwrap();
}

#[tokio::test]
async fn what_keeps_a_center_from_its_database_is_told_by_meaning() {
    let Some(right) = database() else { return };
    let with = |change: &dyn Fn(&mut Database)| {
        let mut database = right.clone();
        change(&mut database);
        database
    };
    let denied = with(&|d| d.password = Some(Secret::new("wrong")));
    check_refused(&denied, |e| matches!(e, StoreError::Denied { .. })).await;
    let missing = with(&|d| d.name = "fleet_missing".into());
    check_refused(&missing, |e| matches!(e, StoreError::NoDatabase { .. })).await;
    let closed = with(&|d| d.port = 1);
    check_refused(&closed, |e| matches!(e, StoreError::Unreachable { .. })).await;
    // A host that answers nothing: a socket that accepts and is silent.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let silent = with(&|d| d.port = port);
    check_refused(&silent, |e| e.to_string().contains("no answer within 3 s")).await;
}

#[tokio::test]
async fn the_connection_is_encrypted_and_the_server_known_by_its_authority() {
    let Some(mut database) = database() else {
        return;
    };
    let ca = Some(server().unwrap().ca());
    database.tls = Tls::On { ca };
    let mut session = Session::new(&database, Kind::Reader);
    let cipher = async |conn: &mut Conn| {
        let row: Option<(String, String)> =
            conn.query_first("SHOW STATUS LIKE 'Ssl_version'").await?;
        Ok(row)
    };
    let (_, version) = session.run(cipher).await.unwrap().unwrap();
    assert!(version.starts_with("TLSv1."), "{version}");
    session.close().await;
    open(&database).await.unwrap();
    database.tls = Tls::On { ca: None };
    check_refused(&database, |e| e.to_string().contains("store_ca")).await;
}

#[tokio::test]
async fn schemas_that_are_newer_changed_or_something_elses_are_refused() {
    let Some(database) = database() else { return };
    let path = || database.to_string().into();
    open(&database).await.unwrap();
    let name = &database.name;
    sql(&format!(
        "INSERT INTO {name}.schema_migration VALUES (99, 'x', 1, 1)"
    ));
    let known = MIGRATIONS.last().unwrap().version;
    let newer = SchemaError::Newer {
        path: path(),
        found: 99,
        known,
    };
    check_refused(&database, |e| *e == newer.clone().into()).await;
    sql(&format!(
        "DELETE FROM {name}.schema_migration WHERE version = 99;
         UPDATE {name}.schema_migration SET checksum = 'x' WHERE version = 1"
    ));
    let changed = SchemaError::Changed {
        path: path(),
        version: 1,
    };
    check_refused(&database, |e| *e == changed.clone().into()).await;
    sql(&format!("DROP TABLE {name}.schema_migration"));
    let foreign = SchemaError::Foreign { path: path() };
    check_refused(&database, |e| *e == foreign.clone().into()).await;
}

/// What the server says of the schema: columns, keys and references.
fn schema(name: &str) -> String {
    sql(&format!(
        "SELECT table_name, column_name, column_type, is_nullable, collation_name, generation_expression, extra
           FROM information_schema.columns WHERE table_schema = '{name}' ORDER BY 1, ordinal_position;
         SELECT table_name, index_name, seq_in_index, column_name, non_unique
           FROM information_schema.statistics WHERE table_schema = '{name}' ORDER BY 1, 2, 3;
         SELECT table_name, column_name, referenced_table_name
           FROM information_schema.key_column_usage
           WHERE table_schema = '{name}' AND referenced_table_name IS NOT NULL ORDER BY 1, 2"
    ))
}

#[tokio::test]
async fn an_interrupted_migration_goes_on_where_it_stopped() {
    let Some(database) = database() else { return };
    let step = |version, sql| Migration { version, sql };
    let one = step(
        1,
        "CREATE TABLE a (x BIGINT);\nCREATE TABLE b (x BIGINT);\n",
    );
    let mut session = Session::new(&database, Kind::Mover);
    let mut bring = async |all: &[Migration]| {
        let job = async |conn: &mut Conn| migrate(conn, &database, all, NOW).await;
        session.run(job).await
    };
    bring(&[one]).await.unwrap();
    let broken = step(
        2,
        "ALTER TABLE a ADD COLUMN y BIGINT;\nINSERT INTO nowhere VALUES (1);\n",
    );
    bring(&[one, broken]).await.unwrap_err();
    let name = &database.name;
    let steps =
        format!("SELECT steps, applied_at IS NULL FROM {name}.schema_migration WHERE version = 2");
    assert_eq!(sql(&steps), "1\t1\n");
    // The table that was missing is there now. That a statement was done and not counted is no hindrance.
    sql(&format!(
        "CREATE TABLE {name}.nowhere (x BIGINT); UPDATE {name}.schema_migration SET steps = 0 WHERE version = 2"
    ));
    bring(&[one, broken]).await.unwrap();
    assert_eq!(sql(&steps), "2\t0\n");
    bring(&[one, broken]).await.unwrap();
    assert_eq!(sql(&format!("SELECT count(*) FROM {name}.nowhere")), "1\n");
}

/// The rows of every table as statements.
fn rows(name: &str) -> String {
    let mut text = String::new();
    for table in crate::store::copy::TABLES {
        let columns = table.columns.join(", ");
        let quoted: Vec<String> = table
            .columns
            .iter()
            .map(|column| format!("IF({column} IS NULL, 'NULL', QUOTE({column}))"))
            .collect();
        text.push_str(&sql(&format!(
            "SELECT CONCAT('INSERT INTO {} ({columns}) VALUES (', CONCAT_WS(', ', {}), ');')
             FROM {name}.{} ORDER BY 1",
            table.name,
            quoted.join(", "),
            table.name
        )));
    }
    text
}

#[tokio::test]
async fn a_database_of_version_1_opens_without_loss() {
    let (Some(old), Some(new)) = (database(), database()) else {
        return;
    };
    let store = open(&new).await.unwrap();
    let guard = store.take_lead("c1").await.unwrap();
    store
        .commit(&guard, sample::additions(), NOW)
        .await
        .unwrap();
    assert!(
        GOLDEN_1.starts_with(MIGRATIONS[0].sql),
        "version 1 is released and never edited"
    );
    sql(&format!("USE {};\n{GOLDEN_1}", old.name));
    let opened = open(&old).await.unwrap();
    assert_eq!(schema(&old.name), schema(&new.name));
    assert_eq!(rows(&old.name), rows(&new.name));
    assert_eq!(content(&opened).await, content(&store).await);
}
