//! Runs: one outcome each, found by every question, pruned as told.

use std::time::Duration;

use super::sample::*;
use super::{NOW, World};
use crate::model::*;
use crate::store::*;

/// Writes outcomes one after the other; the one that holds.
async fn check_outcomes(given: &[Outcome], holds: Outcome) {
    let world = World::with_fleet().await;
    let row = run(1, 1000);
    world.commit(vec![Write::PlanRun(row.clone())]).await;
    for outcome in given {
        world.commit(vec![end(&row, *outcome)]).await;
    }
    let ending = world.all_runs().await[0].ending.clone().unwrap();
    assert_eq!(ending.outcome, holds, "{given:?}");
}

#[tokio::test]
async fn an_outcome_never_changes_except_that_lost_takes_the_truth() {
    use Outcome::*;
    for first in Outcome::ALL.into_iter().filter(|o| *o != Lost) {
        for second in Outcome::ALL {
            check_outcomes(&[first, second], first).await;
        }
        check_outcomes(&[Lost, first, Succeeded, Lost], first).await;
    }
}

#[tokio::test]
async fn an_ended_run_is_not_planned_revised_or_given_away() {
    let world = World::with_fleet().await;
    let row = run_on(1, 1000, None, Cause::Rule);
    let run_id = || row.run.run_id.clone();
    world
        .commit(vec![
            Write::PlanRun(row.clone()),
            end(&row, Outcome::Failed),
        ])
        .await;
    let before = world.all_runs().await;
    let changed = RunRow {
        agent: None,
        ..row.clone()
    };
    world
        .commit(vec![
            Write::PlanRun(changed),
            Write::ReviseRun {
                run_id: run_id(),
                revision: Revision(99),
            },
            Write::ReassignRun {
                run_id: run_id(),
                from: Some(agent_id(1)),
                to: agent_id(2),
            },
        ])
        .await;
    assert_eq!(world.all_runs().await, before);
}

#[tokio::test]
async fn a_run_is_given_away_only_from_where_it_is() {
    let world = World::with_fleet().await;
    let row = run_on(1, 1000, None, Cause::Rule);
    let give = |from: Option<AgentId>, to| Write::ReassignRun {
        run_id: row.run.run_id.clone(),
        from,
        to,
    };
    world.commit(vec![Write::PlanRun(row.clone())]).await;
    for (from, to, at) in [
        (None, agent_id(2), agent_id(1)),
        (Some(agent_id(1)), agent_id(2), agent_id(2)),
        (Some(agent_id(1)), agent_id(3), agent_id(2)),
    ] {
        world.commit(vec![give(from, to)]).await;
        assert_eq!(world.all_runs().await[0].row.agent, Some(at));
    }
}

#[tokio::test]
async fn a_recorded_run_of_an_unknown_task_is_left_out() {
    let world = World::with_fleet().await;
    let ending = Box::new(ending(Outcome::Failed));
    let row = Box::new(run(77, 1000));
    world.commit(vec![Write::RecordRun { row, ending }]).await;
    assert_eq!(world.all_runs().await, []);
}

/// Ten runs: task 1 at 0, 2, 4, … on agent 1, task 2 at 1, 3, 5, … for target one; of each five the first
/// two succeeded, then one failed, one lost, one open.
async fn history() -> (World, Vec<RunRow>) {
    let world = World::with_fleet().await;
    let mut rows = Vec::new();
    for at in 0..10 {
        let row = match at % 2 {
            0 => run(1, at),
            _ => run_on(2, at, None, Cause::Operator),
        };
        let outcome = [
            Outcome::Succeeded,
            Outcome::Succeeded,
            Outcome::Failed,
            Outcome::Lost,
        ];
        world.commit(vec![Write::PlanRun(row.clone())]).await;
        if let Some(outcome) = outcome.get(usize::try_from(at).unwrap() / 2) {
            world.commit(vec![end(&row, *outcome)]).await;
        }
        rows.push(row);
    }
    (world, rows)
}

async fn check_query(world: &World, query: RunQuery, wanted: &[i64]) {
    let runs = world.store.runs(query.clone()).await.unwrap();
    let got: Vec<i64> = runs.iter().map(|r| r.row.run.scheduled_at.0).collect();
    assert_eq!(got, wanted, "{query:?}");
}

#[tokio::test]
async fn runs_are_found_by_every_part_of_a_question() {
    let (world, rows) = history().await;
    let any = RunQuery::default;
    let id = rows[5].run.run_id.as_str();
    let cases: Vec<(RunQuery, &[i64])> = vec![
        (any(), &[7, 6, 5, 4, 3, 2, 1, 0]),
        (
            RunQuery {
                open: true,
                limit: 3,
                ..any()
            },
            &[9, 8, 7],
        ),
        (
            RunQuery {
                task: Some(task_id(1)),
                ..any()
            },
            &[6, 4, 2, 0],
        ),
        (
            RunQuery {
                task: Some(task_id(1)),
                open: true,
                limit: 2,
                ..any()
            },
            &[8, 6],
        ),
        (
            RunQuery {
                groups: Some([group_name("Web")].into()),
                ..any()
            },
            &[7, 5, 3, 1],
        ),
        (
            RunQuery {
                groups: Some([].into()),
                ..any()
            },
            &[],
        ),
        (
            RunQuery {
                outcome: Some(Outcome::Failed),
                ..any()
            },
            &[5, 4],
        ),
        (
            RunQuery {
                outcome: Some(Outcome::Succeeded),
                since: Some(UnixMs(2)),
                ..any()
            },
            &[3, 2],
        ),
        (
            RunQuery {
                task: Some(task_id(2)),
                outcome: Some(Outcome::Lost),
                ..any()
            },
            &[7],
        ),
        (
            RunQuery {
                agent: Some(agent_id(2)),
                ..any()
            },
            &[],
        ),
        (
            RunQuery {
                agent: Some(agent_id(1)),
                outcome: Some(Outcome::Lost),
                ..any()
            },
            &[7, 6],
        ),
        (
            RunQuery {
                agent: Some(agent_id(1)),
                since: Some(UnixMs(6)),
                ..any()
            },
            &[7, 6],
        ),
        (
            RunQuery {
                id_suffix: Some(id.into()),
                ..any()
            },
            &[5],
        ),
        (
            RunQuery {
                id_suffix: Some(id[18..].into()),
                ..any()
            },
            &[5],
        ),
        (
            RunQuery {
                id_suffix: Some(id[20..].into()),
                ..any()
            },
            &[5],
        ),
        (
            RunQuery {
                id_suffix: Some(format!("0{}", &id[1..])),
                ..any()
            },
            &[],
        ),
        (
            RunQuery {
                id_suffix: Some("%".into()),
                ..any()
            },
            &[],
        ),
    ];
    for (query, wanted) in cases {
        check_query(&world, query, wanted).await;
    }
}

#[tokio::test]
async fn runs_of_one_instant_come_in_the_order_of_their_ids() {
    let world = World::with_fleet().await;
    let batch = [run(1, 5), run_on(1, 5, None, Cause::Rule), run(2, 5)];
    world
        .commit(batch.into_iter().map(Write::PlanRun).collect())
        .await;
    let ids: Vec<RunId> = world
        .all_runs()
        .await
        .into_iter()
        .map(|r| r.row.run.run_id)
        .collect();
    assert!(ids.is_sorted_by(|a, b| a > b), "{ids:?}");
}

/// Prunes until nothing goes any more; what is left.
async fn check_prune(keep: Keep, now: i64, step: usize, left: &[i64]) {
    let (world, _) = history().await;
    loop {
        let gone = world.store.prune(&keep, UnixMs(now), step).await.unwrap();
        assert!(gone <= step);
        if gone == 0 {
            break;
        }
    }
    let open = RunQuery {
        open: true,
        ..RunQuery::default()
    };
    check_query(&world, open, left).await;
}

#[tokio::test]
async fn runs_are_kept_by_age_and_number_failures_longer() {
    let keep = |age, per_task, failures| Keep {
        age: Duration::from_millis(age),
        per_task,
        failures_age: Duration::from_millis(failures),
    };
    let all = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0];
    check_prune(Keep::default(), NOW.0, 100, &all[..4]).await;
    check_prune(Keep::default(), 10, 100, &all).await;
    check_prune(keep(8, 100, 100), 10, 1, &all[..8]).await;
    check_prune(keep(100, 3, 100), 10, 3, &all[..6]).await;
    // The latest ended run of a living task stays, open ones always.
    check_prune(keep(0, 1, 0), 1000, 100, &all[..4]).await;
}

#[tokio::test]
async fn of_a_removed_task_not_even_the_latest_run_stays() {
    let (world, _) = history().await;
    let (task, at) = (task_id(1), NOW);
    world.commit(vec![Write::RemoveTask { task, at }]).await;
    world.store.prune(&Keep::default(), NOW, 100).await.unwrap();
    check_query(&world, RunQuery::default(), &[7]).await;
}
