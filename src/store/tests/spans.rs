//! Spans: written once however often, read as their occurrences or as one, pruned as told.

use std::time::Duration;

use super::sample::*;
use super::{NOW, World};
use crate::model::*;
use crate::store::*;

const STEP: i64 = 5 * 60_000;

/// A span of task 1 (`*/5 3 * * *` in Berlin) on agent 1 from 03:05 to 03:05 + `count` steps of a winter's day.
fn span(count: i64) -> SpanRow {
    let from = 1_799_028_300_000;
    SpanRow {
        to: UnixMs(from + (count - 1) * STEP),
        count: Some(count.unsigned_abs()),
        ..span_of(1, from, 0)
    }
}

fn put(span: &SpanRow) -> Write {
    Write::PutSpan(Box::new(span.clone()))
}

fn ask(change: impl FnOnce(&mut RunQuery)) -> RunQuery {
    let mut query = RunQuery::default();
    change(&mut query);
    query
}

async fn check(world: &World, query: RunQuery, wanted: &[i64]) {
    let runs = world.store.runs(query.clone()).await.unwrap();
    let from = span(1).from.0;
    let got: Vec<i64> = runs
        .iter()
        .map(|run| (run.row.run.scheduled_at.0 - from) / STEP)
        .collect();
    assert_eq!(got, wanted, "{query:?}");
}

#[tokio::test]
async fn a_span_is_read_as_its_occurrences_among_the_runs() {
    let world = World::with_fleet().await;
    let row = run(1, span(1).from.0 + 5 * STEP);
    let batch = vec![
        put(&span(5)),
        Write::PlanRun(row.clone()),
        end(&row, Outcome::Failed),
    ];
    world.commit(batch).await;
    check(&world, ask(|_| {}), &[5, 4, 3, 2, 1, 0]).await;
    check(&world, ask(|q| q.limit = 3), &[5, 4, 3]).await;
    check(
        &world,
        ask(|q| q.outcome = Some(Outcome::Missed)),
        &[4, 3, 2, 1, 0],
    )
    .await;
    check(&world, ask(|q| q.outcome = Some(Outcome::Failed)), &[5]).await;
    check(&world, ask(|q| q.task = Some(task_id(2))), &[]).await;
    check(
        &world,
        ask(|q| q.agent = Some(agent_id(1))),
        &[5, 4, 3, 2, 1, 0],
    )
    .await;
    check(&world, ask(|q| q.agent = Some(agent_id(2))), &[]).await;
    check(
        &world,
        ask(|q| q.groups = Some([group_name("Web")].into())),
        &[],
    )
    .await;
    let at = |n: i64| UnixMs(span(1).from.0 + n * STEP);
    check(
        &world,
        ask(|q| (q.since, q.until) = (Some(at(1)), Some(at(3)))),
        &[2, 1],
    )
    .await;
    check(&world, ask(|q| q.missed_until = Some(at(2))), &[5, 1, 0]).await;
    let fourth = span(5).run(at(3)).run.run_id;
    check(&world, ask(|q| q.after = Some((at(3), fourth))), &[2, 1, 0]).await;
}

#[tokio::test]
async fn an_occurrence_of_a_span_is_a_missed_run_and_found_by_its_id() {
    let world = World::with_fleet().await;
    world.commit(vec![put(&span(5))]).await;
    let at = UnixMs(span(1).from.0 + 2 * STEP);
    let row = span(5).run(at);
    let id = row.run.run_id.clone();
    let query = |id: &str| ask(|q| q.id_suffix = Some(id.to_owned()));
    let found = world.store.runs(query(&id.as_str()[18..])).await.unwrap();
    let [found] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!((&found.row, found.row.run.scheduled_at), (&row, at));
    assert_eq!(found.row.run.run_id, run(1, at.0).run.run_id.clone());
    let ending = found.ending.clone().unwrap();
    assert_eq!((ending.outcome, ending.attempt), (Outcome::Missed, 0));
    check(&world, query("zzzzzzzz"), &[]).await;
}

#[tokio::test]
async fn folded_a_span_is_one_run_with_the_count_of_what_is_asked() {
    let world = World::with_fleet().await;
    world.commit(vec![put(&span(5))]).await;
    let folded = |since: Option<UnixMs>| ask(|q| (q.fold, q.since) = (true, since));
    let one = world.store.runs(folded(None)).await.unwrap();
    let wanted = Folded {
        from: span(5).from,
        count: 5,
    };
    assert_eq!((one.len(), one[0].span), (1, Some(wanted)));
    assert_eq!(one[0].row.run.scheduled_at, span(5).to);
    let from = UnixMs(span(1).from.0 + 3 * STEP);
    let part = world.store.runs(folded(Some(from))).await.unwrap();
    assert_eq!(part[0].span, Some(Folded { from, count: 2 }));
}

#[tokio::test]
async fn a_span_grows_and_is_counted_once_however_often_it_is_written() {
    let world = World::with_fleet().await;
    let end = UnixMs(span(3).to.0 + 1_000);
    let uncounted = SpanRow {
        to: end,
        count: None,
        ..span(3)
    };
    world.commit(vec![put(&uncounted), put(&uncounted)]).await;
    check(&world, ask(|_| {}), &[2, 1, 0]).await;
    assert_eq!(world.store.load().await.unwrap().open_spans, [uncounted]);
    world.commit(vec![put(&span(3))]).await;
    assert_eq!(world.store.load().await.unwrap().open_spans, []);
    world.commit(vec![put(&span(4)), put(&span(4))]).await;
    check(&world, ask(|_| {}), &[3, 2, 1, 0]).await;
    let last = &world.store.load().await.unwrap().last_runs[0];
    assert_eq!(last.row.run.scheduled_at, span(4).to);
}

#[tokio::test]
async fn a_planned_run_that_is_folded_goes_unless_it_has_an_outcome() {
    let world = World::with_fleet().await;
    let (open, ended) = (run(1, 1000), run(1, 2000));
    let fold = |row: &RunRow| Write::FoldRun {
        run_id: row.run.run_id.clone(),
    };
    world
        .commit(vec![
            Write::PlanRun(open.clone()),
            Write::PlanRun(ended.clone()),
            end(&ended, Outcome::Lost),
            fold(&open),
            fold(&open),
            fold(&ended),
        ])
        .await;
    let left = world.all_runs().await;
    assert_eq!((left.len(), &left[0].row), (1, &ended));
}

#[tokio::test]
async fn a_delayed_run_that_is_caught_up_says_so() {
    let world = World::with_fleet().await;
    let mut row = run(1, 1000);
    row.run.delay = Duration::from_millis(250);
    let catch_up = Write::CatchUpRun {
        run_id: row.run.run_id.clone(),
    };
    world
        .commit(vec![Write::PlanRun(row.clone()), catch_up])
        .await;
    let read = world.all_runs().await.remove(0).row.run;
    assert_eq!((read.cause, read.delay), (Cause::CatchUp, row.run.delay));
    assert_eq!(read.run_id, row.run.run_id);
    // Planned again by another center it is the same run.
    world.commit(vec![Write::PlanRun(row)]).await;
    assert_eq!(world.all_runs().await.len(), 1);
}

#[tokio::test]
async fn spans_are_kept_by_age_and_number_the_last_of_a_living_task_always() {
    let keep = |age, per_task| Keep {
        age,
        per_task,
        failures_age: age,
    };
    let old = SpanRow {
        slot: Slot(1),
        ..span(2)
    };
    let all = Duration::from_hours(24 * 10_000);
    for (keep, left) in [
        (keep(all, 10), vec![4, 3, 2, 1, 1, 0, 0]),
        (keep(Duration::ZERO, 10), vec![4, 3, 2, 1, 0]),
        (keep(all, 1), vec![4, 3, 2, 1, 0]),
    ] {
        let world = World::with_fleet().await;
        world.commit(vec![put(&span(5)), put(&old)]).await;
        while !world
            .store
            .prune(&world.guard, &keep, NOW, 10)
            .await
            .unwrap()
            .is_over
        {}
        check(&world, ask(|_| {}), &left).await;
    }
}

#[tokio::test]
async fn of_a_removed_task_no_span_stays() {
    let world = World::with_fleet().await;
    let (task, at) = (task_id(1), NOW);
    world
        .commit(vec![put(&span(5)), Write::RemoveTask { task, at }])
        .await;
    check(&world, ask(|_| {}), &[4, 3, 2, 1, 0]).await;
    let keep = Keep {
        age: Duration::ZERO,
        ..Keep::default()
    };
    world
        .store
        .prune(&world.guard, &keep, NOW, 10)
        .await
        .unwrap();
    check(&world, ask(|_| {}), &[]).await;
}
