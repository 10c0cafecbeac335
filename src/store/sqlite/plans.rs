//! How the database carries out what is asked of it: with any number of runs it looks at few.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::{file, load, prune, runs, spans, write_run};
use crate::store::RunQuery;
use crate::store::tests::every_query;
use crate::store::tests::sqlite::World;

fn connection(world: &World) -> Connection {
    file::open_reader(&world.folder.path().join("center.db")).unwrap()
}

/// The steps of a statement.
fn plan(connection: &Connection, sql: &str, values: Option<Vec<Value>>) -> Vec<String> {
    let mut explain = connection
        .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
        .unwrap();
    let nulls = vec![Value::Null; explain.parameter_count()];
    let values = params_from_iter(values.unwrap_or(nulls));
    let steps = explain.query_map(values, |row| row.get("detail")).unwrap();
    steps.map(Result::unwrap).collect()
}

/// Runs and spans are searched, never read one after the other, and not sorted where an index has their order.
fn check_plan(plan: &[String], is_sorted: bool) {
    let reads = |step: &&String| step.starts_with("SEARCH ") || step.starts_with("SCAN ");
    assert!(plan.iter().any(|step| reads(&step)), "{plan:?}");
    let tables = ["run", "r", "n", "span", "s", "t", "task"];
    for step in plan.iter().filter(reads) {
        let mut words = step.split(' ');
        let (how, table) = (words.next().unwrap(), words.next().unwrap());
        // That index holds those that are not counted and no others.
        let is_small = step.ends_with(" USING INDEX span_uncounted");
        let is_searched = how == "SEARCH" || is_small;
        assert!(is_searched || !tables.contains(&table), "{plan:?}");
    }
    let sorts_all = plan
        .iter()
        .any(|step| step == "USE TEMP B-TREE FOR ORDER BY");
    assert!(!sorts_all || is_sorted, "{plan:?}");
}

#[tokio::test]
async fn no_question_reads_all_runs_or_spans() {
    let world = World::new().await;
    let connection = connection(&world);
    for query in every_query() {
        let (sql, values) = runs::statement(&query);
        check_plan(
            &plan(&connection, &sql, Some(values)),
            query.id_suffix.is_some(),
        );
        check_spans(&connection, &query);
    }
}

fn check_spans(connection: &Connection, query: &RunQuery) {
    for (sql, values) in spans::questions(query) {
        check_plan(&plan(connection, &sql, Some(values)), false);
    }
}

#[tokio::test]
async fn pruning_and_starting_search_through_indexes() {
    let world = World::new().await;
    let connection = connection(&world);
    let statements = [
        prune::TOO_OLD,
        prune::FLOOR,
        prune::BELOW,
        spans::TOO_OLD,
        spans::TOO_MANY,
        spans::LAST,
        spans::UNCOUNTED,
        load::OPEN_RUNS,
        &load::last_run(),
    ];
    for sql in statements {
        // Those that are open are few, and some must be in the order of their ids.
        let is_open = [spans::UNCOUNTED, load::OPEN_RUNS].contains(&sql);
        check_plan(&plan(&connection, sql, None), is_open);
    }
}

#[tokio::test]
async fn no_change_of_a_run_reads_all_runs() {
    let world = World::new().await;
    let connection = connection(&world);
    for sql in [write_run::REVISE, write_run::REASSIGN, write_run::ENDED] {
        let step = &plan(&connection, sql, None)[0];
        assert_eq!(
            step, "SEARCH run USING INDEX run_unsettled (run_id=?)",
            "{sql}"
        );
    }
}
