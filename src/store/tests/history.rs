//! Runs: one outcome each, found by every question, pruned as told.

use std::time::Duration;

use super::sample::*;
use super::{NOW, World};
use crate::model::*;
use crate::store::*;

/// Writes outcomes one after the other to the run of the instant `at`; the one that holds.
async fn check_outcomes(world: &World, at: i64, given: &[Outcome], holds: Outcome) {
    let row = run(1, at);
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
    let world = World::with_fleet().await;
    let mut at = 0;
    for first in Outcome::ALL.into_iter().filter(|o| *o != Lost) {
        for second in Outcome::ALL {
            at += 1;
            check_outcomes(&world, at, &[first, second], first).await;
        }
        at += 1;
        check_outcomes(&world, at, &[Lost, first, Succeeded, Lost], first).await;
    }
}

#[tokio::test]
async fn the_truth_about_a_lost_run_says_what_was_told_before() {
    let world = World::with_fleet().await;
    let row = run(1, 1000);
    let lost = Ending {
        reason: "agent a1 silent since T".to_owned(),
        ..ending(Outcome::Lost)
    };
    let lost = Write::EndRun {
        run_id: row.run.run_id.clone(),
        only_of: None,
        ending: Box::new(lost),
    };
    world.commit(vec![Write::PlanRun(row.clone()), lost]).await;
    // A report that is repeated finds it said.
    for _ in 0..2 {
        world.commit(vec![end(&row, Outcome::Succeeded)]).await;
        let told = world.all_runs().await[0].ending.clone().unwrap();
        let wanted = "exit code 3 (told as lost before: agent a1 silent since T)";
        assert_eq!(told.reason, wanted);
    }
}

/// Seed 1278: an agent that had a run of target `one` before another, and was away, said `missed` of it.
#[tokio::test]
async fn an_agent_that_started_nothing_ends_only_runs_that_are_its_own() {
    let check = async |first: Option<Outcome>, by: u64, holds: Option<Outcome>| {
        let world = World::with_fleet().await;
        let row = run_on(1, 1000, Some(agent_id(1)), Cause::Rule);
        world.commit(vec![Write::PlanRun(row.clone())]).await;
        world
            .commit(first.map(|first| end(&row, first)).into_iter().collect())
            .await;
        world
            .commit(vec![end_by(&agent_id(by), &row, Outcome::Missed)])
            .await;
        let ending = world.all_runs().await[0].ending.clone();
        assert_eq!(ending.map(|ending| ending.outcome), holds, "agent {by}");
    };
    check(None, 1, Some(Outcome::Missed)).await;
    check(None, 2, None).await;
    check(Some(Outcome::Lost), 1, Some(Outcome::Missed)).await;
    check(Some(Outcome::Lost), 2, Some(Outcome::Lost)).await;
    check(Some(Outcome::Failed), 1, Some(Outcome::Failed)).await;
}

#[tokio::test]
async fn what_a_run_took_is_kept() {
    let world = World::with_fleet().await;
    let row = run(1, 1000);
    let ending = Ending {
        peak_memory_bytes: Some(1 << 41),
        cpu_ms: Some(77),
        ..ending(Outcome::Failed)
    };
    let run_id = row.run.run_id.clone();
    let boxed = Box::new(ending.clone());
    let ended = Write::EndRun {
        run_id,
        only_of: None,
        ending: boxed,
    };
    world.commit(vec![Write::PlanRun(row), ended]).await;
    assert_eq!(world.all_runs().await[0].ending, Some(ending));
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
                delay: Duration::ZERO,
                start_before: UnixMs(63_000),
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

fn query(change: impl FnOnce(&mut RunQuery)) -> RunQuery {
    let mut query = RunQuery::default();
    change(&mut query);
    query
}

fn by_task(n: u64, change: impl FnOnce(&mut RunQuery)) -> RunQuery {
    let task = Some(task_id(n));
    RunQuery {
        task,
        ..query(change)
    }
}

fn by_agent(n: u64, change: impl FnOnce(&mut RunQuery)) -> RunQuery {
    let agent = Some(agent_id(n));
    RunQuery {
        agent,
        ..query(change)
    }
}

fn by_groups(names: &[&str]) -> RunQuery {
    query(|q| q.groups = Some(names.iter().copied().map(group_name).collect()))
}

#[tokio::test]
async fn runs_are_found_by_task_group_agent_outcome_and_time() {
    use Outcome::*;
    let (world, _) = history().await;
    let cases: [(RunQuery, &[i64]); 13] = [
        (query(|_| {}), &[7, 6, 5, 4, 3, 2, 1, 0]),
        (query(|q| (q.open, q.limit) = (true, 3)), &[9, 8, 7]),
        (by_task(1, |_| {}), &[6, 4, 2, 0]),
        (by_task(1, |q| (q.open, q.limit) = (true, 2)), &[8, 6]),
        (by_task(2, |q| q.outcome = Some(Lost)), &[7]),
        (by_groups(&["Web"]), &[7, 5, 3, 1]),
        (by_groups(&["web", "Web"]), &[7, 6, 5, 4, 3, 2, 1, 0]),
        (by_groups(&[]), &[]),
        (query(|q| q.outcome = Some(Failed)), &[5, 4]),
        (
            query(|q| (q.outcome, q.since) = (Some(Succeeded), Some(UnixMs(2)))),
            &[3, 2],
        ),
        (by_agent(2, |_| {}), &[]),
        (by_agent(1, |q| q.outcome = Some(Lost)), &[7, 6]),
        (by_agent(1, |q| q.since = Some(UnixMs(6))), &[7, 6]),
    ];
    for (query, wanted) in cases {
        check_query(&world, query, wanted).await;
    }
}

#[tokio::test]
async fn a_run_is_found_by_the_end_of_its_id() {
    let (world, rows) = history().await;
    let id = rows[5].run.run_id.as_str();
    let cases: [(&str, &[i64]); 7] = [
        (id, &[5]),
        (&id[10..], &[5]),
        (&id[18..], &[5]),
        (&id[20..], &[5]),
        (&format!("_{}", &id[1..]), &[]),
        (&id.to_uppercase(), &[]),
        ("%", &[]),
    ];
    for (suffix, wanted) in cases {
        let suffix = suffix.to_owned();
        check_query(&world, query(|q| q.id_suffix = Some(suffix)), wanted).await;
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
        let gone = world
            .store
            .prune(&world.guard, &keep, UnixMs(now), step)
            .await
            .unwrap();
        assert!(gone.rows <= step);
        if gone.is_over {
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
    world
        .store
        .prune(&world.guard, &Keep::default(), NOW, 100)
        .await
        .unwrap();
    check_query(&world, RunQuery::default(), &[7]).await;
}

/// How a run of the task's rule ended, by the word of the agent that started it.
fn truth(row: &RunRow, outcome: Outcome) -> Write {
    Write::TakeTruth(Box::new(Truth {
        row: row.clone(),
        ending: ending(outcome),
        audit: entry(row.run.scheduled_at.0, Some("web")),
    }))
}

#[tokio::test]
async fn what_ran_has_run_whatever_was_said_of_it_and_that_is_audited_once() {
    use Outcome::*;
    let mut at = 0;
    for (first, holds) in [
        (None, Succeeded),
        (Some(Missed), Succeeded),
        (Some(Skipped), Succeeded),
        (Some(Lost), Succeeded),
        (Some(Failed), Failed),
        (Some(Stopped), Stopped),
    ] {
        at += 1;
        let world = World::with_fleet().await;
        let row = run(1, at);
        if let Some(first) = first {
            let said = vec![Write::PlanRun(row.clone()), end(&row, first)];
            world.commit(said).await;
        }
        for outcome in [Succeeded, Failed, Succeeded] {
            world.commit(vec![truth(&row, outcome)]).await;
        }
        let runs = world.all_runs().await;
        assert_eq!(runs.len(), 1);
        let outcome = runs[0].ending.as_ref().map(|ending| ending.outcome);
        assert_eq!(outcome, Some(holds), "{first:?}");
        let entries = world.store.audit(None, 0).await.unwrap();
        let gave_way = first.is_some_and(|first| first != holds);
        assert_eq!(entries.len(), usize::from(gave_way), "{entries:?}");
        for entry in entries {
            let before = entry.before.unwrap_or_default();
            assert!(before.contains(first.unwrap().as_str()), "{before}");
        }
    }
}

#[tokio::test]
async fn a_span_no_longer_tells_a_run_that_ran_after_all() {
    let seconds = |count, row: &RunRow| SpanRow {
        rule: crate::rule::Rule::parse("@every 1s").unwrap(),
        slot: row.run.slot,
        target: row.target.clone(),
        count,
        ..span_of(1, 1_000, 5_000)
    };
    for (count, at) in [(None, 3_000), (Some(5), 3_000), (Some(5), 1_000)] {
        let world = World::with_fleet().await;
        let row = run(1, at);
        let span = Write::PutSpan(Box::new(seconds(count, &row)));
        // In one batch, as of a center that reads a forgetful store and hears of the run meanwhile.
        let batch = vec![span, truth(&row, Outcome::Succeeded)];
        world.commit(batch).await;
        world.commit(vec![truth(&row, Outcome::Failed)]).await;
        let told: Vec<(i64, Outcome)> = world
            .all_runs()
            .await
            .iter()
            .map(|run| {
                let outcome = run.ending.as_ref().unwrap().outcome;
                (run.row.run.scheduled_at.0, outcome)
            })
            .collect();
        let wanted = (1..=5).rev().map(|second| {
            let ran = second * 1_000 == at;
            let outcome = if ran {
                Outcome::Succeeded
            } else {
                Outcome::Missed
            };
            (second * 1_000, outcome)
        });
        assert_eq!(told, wanted.collect::<Vec<_>>(), "{count:?}");
        assert_eq!(world.store.audit(None, 0).await.unwrap().len(), 1);
    }
}
