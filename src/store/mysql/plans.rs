//! How the server carries out what is asked of it: with any number of runs it looks at few. Its plans are read, and the
//! rows that it reads are counted, in a table of some thousand runs.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};

use super::fault::Fault;
use super::session::{Kind, Session};
use super::{load, prune, runs, spans, write_run};
use crate::model::Outcome;
use crate::store::RunQuery;
use crate::store::tests::mysql::{own_database, server};
use crate::store::tests::{NOW, every_query, sample};
use crate::store::{Database, Place, Store};

/// Runs in the table, due a second after the other up to [`NOW`].
const RUNS: u32 = 20_000;
/// Rows that one question may read: several for each of those that it answers with.
const MOST: u64 = 1_500;

/// A database of so many runs of three tasks, one of which has the most and never fails; none where there is no server.
async fn filled() -> Option<Database> {
    let server = server()?;
    let database = own_database(server);
    let store = Store::open(&Place::Mysql(Box::new(database.clone())), NOW).await;
    let store = store.unwrap();
    let guard = store.take_lead("c1").await.unwrap();
    store.commit(&guard, sample::fleet(), NOW).await.unwrap();
    store.close().await;
    let (task, agent, now) = (sample::task_id(1), sample::agent_id(1), NOW.0);
    let other = sample::task_id(2);
    server.sql(&format!(
        "USE {}; SET foreign_key_checks = 0;
         INSERT INTO run (run_id, run_id_back, task, revision, target, agent, slot, cause, scheduled_at, start_before,
             outcome, reason, attempt, finished_at)
         SELECT LEFT(MD5(seq), 26), LEFT(MD5(-seq), 8), IF(seq % 4, '{task}', '{other}'), 1, '{agent}', '{agent}',
             seq % 9, 'rule', {now} - seq * 1000, 0, IF(seq % 4 = 0 AND seq % 3 = 0, 'failed', 'succeeded'), '', 1, 0
         FROM seq_1_to_{RUNS};
         INSERT INTO span (task, target, slot, from_at, to_at, occurrences, agent, revision, rule, timezone, reason,
             began_at, closed_at)
         SELECT '{task}', '{agent}', 0, {now} - seq * 90000, {now} - seq * 90000 + 60000, 2, '{agent}', 1,
             '@every 60s', 'UTC', '', 0, 0 FROM seq_1_to_{RUNS};
         ANALYZE TABLE run, span",
        database.name
    ));
    Some(database)
}

/// Rows read through indexes in this session so far.
async fn rows_read(conn: &mut Conn) -> Result<u64, Fault> {
    let counts: Vec<(String, u64)> = conn
        .query(
            "SHOW SESSION STATUS WHERE Variable_name IN ('Handler_read_first', 'Handler_read_key',
            'Handler_read_last', 'Handler_read_next', 'Handler_read_prev')",
        )
        .await?;
    Ok(counts.iter().map(|(_, count)| count).sum())
}

/// Tables that a statement would read from their first row to their last.
async fn read_whole(conn: &mut Conn, sql: &str, values: Vec<Value>) -> Result<Vec<String>, Fault> {
    let steps: Vec<Row> = conn.exec(format!("EXPLAIN {sql}"), values).await?;
    let text = |row: &Row, name: &str| row.get::<Option<String>, _>(name).flatten();
    let whole = steps.iter().filter(|row| {
        let how = text(row, "type");
        ["ALL", "index"].contains(&how.as_deref().unwrap_or_default())
    });
    let tables = whole.filter_map(|row| text(row, "table"));
    // Tasks are few; what a question makes itself is in brackets.
    Ok(tables
        .filter(|table| ["r", "run", "n", "s", "span"].contains(&table.as_str()))
        .collect())
}

#[tokio::test]
async fn no_question_reads_all_runs_or_spans() {
    let Some(database) = filled().await else {
        return;
    };
    let mut session = Session::new(&database, Kind::Reader);
    for query in every_query() {
        let work = async |conn: &mut Conn| {
            for (sql, values) in questions(&query) {
                assert_eq!(
                    read_whole(conn, &sql, values).await?,
                    [""; 0],
                    "{query:?} {sql}"
                );
            }
            let before = rows_read(conn).await?;
            runs::runs(conn, &query).await?;
            let read = rows_read(conn).await? - before;
            assert!(read < MOST || is_broad(&query), "{read} rows: {query:?}");
            Ok(())
        };
        session.run(work).await.unwrap();
    }
}

/// All statements of a question.
fn questions(query: &RunQuery) -> Vec<(String, Vec<Value>)> {
    let floor = runs::floor(query);
    let hour = NOW.0 / 3_600_000;
    let statement = runs::statement(query, hour);
    let mut all: Vec<_> = floor.into_iter().chain([statement]).collect();
    all.extend(spans::questions(query));
    all
}

/// What is asked of an agent in some groups is looked for among all that it did; an id's end among the occurrences of
/// spans too.
fn is_broad(query: &RunQuery) -> bool {
    query.task.is_none() && query.agent.is_some() && query.groups.is_some()
}

#[tokio::test]
async fn pruning_and_starting_search_through_indexes() {
    let Some(database) = filled().await else {
        return;
    };
    let mut session = Session::new(&database, Kind::Reader);
    let task = || Value::from(sample::task_id(1).as_str());
    let (old, kept) = (|| Value::from(NOW.0 - 18_000_000), || Value::from(1000));
    let statements: [(&str, Vec<Value>); 10] = [
        (
            prune::TOO_OLD,
            vec![Outcome::Failed.as_str().into(), old(), kept()],
        ),
        (prune::FLOOR, vec![task(), kept()]),
        (
            prune::BELOW,
            vec![task(), Value::from(0), old(), Value::from(100)],
        ),
        (spans::TOO_OLD, vec![old(), Value::from(100)]),
        (spans::SPAN_FLOOR, vec![task(), kept()]),
        (spans::BELOW, vec![task(), old(), Value::from(100)]),
        (spans::LAST, vec![task()]),
        (load::OPEN_RUNS, vec![]),
        (&load::last_run(), vec![task(), task()]),
        (runs::LAST_HOUR, vec![Value::from(i64::MAX)]),
    ];
    for (sql, values) in statements {
        let work = async |conn: &mut Conn| {
            assert_eq!(
                read_whole(conn, sql, values.clone()).await?,
                [""; 0],
                "{sql}"
            );
            let before = rows_read(conn).await?;
            let _: Vec<Row> = conn.exec(sql, values.clone()).await?;
            let read = rows_read(conn).await? - before;
            assert!(read < 4 * MOST, "{read} rows: {sql}");
            Ok(())
        };
        session.run(work).await.unwrap();
    }
}

#[tokio::test]
async fn no_change_of_a_run_reads_all_runs() {
    let Some(database) = filled().await else {
        return;
    };
    let mut session = Session::new(&database, Kind::Reader);
    for sql in [write_run::REVISE, write_run::REASSIGN, write_run::ENDED] {
        let work = async |conn: &mut Conn| {
            let values = vec![Value::from("x"); sql.matches('?').count()];
            let steps: Vec<Row> = conn.exec(format!("EXPLAIN {sql}"), values).await?;
            let key = steps[0].get::<Option<String>, _>("key").flatten();
            Ok(key)
        };
        let key = session.run(work).await.unwrap();
        // A value that no run has is found missing before a plan is made.
        assert!(key.is_none_or(|key| key == "run_unsettled"), "{sql}");
    }
}
