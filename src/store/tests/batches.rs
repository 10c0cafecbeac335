//! Batches: what is written comes back, twice is once, all or nothing.

use std::collections::BTreeMap;

use super::sample::*;
use super::{NOW, World};
use crate::model::*;
use crate::store::*;

#[tokio::test]
async fn every_row_comes_back_as_it_was_written() {
    let world = World::with_fleet().await;
    let (open, ended) = (run(1, 1000), run_on(2, 2000, None, Cause::Operator));
    world
        .commit(vec![
            Write::SetCursor {
                task: task_id(2),
                at: UnixMs(1500),
            },
            Write::PutToken(agent_token()),
            Write::PutToken(operator_token()),
            Write::PlanRun(open.clone()),
            Write::PlanRun(ended.clone()),
            end(&ended, Outcome::TimedOut),
            Write::PutAnswer(answer("r1", NOW)),
            Write::Audit(Box::new(entry(1, None))),
        ])
        .await;
    let snapshot = world.store.load().await.unwrap();
    let stored = StoredRun {
        path: "Web/dump".parse().unwrap(),
        agent_name: Some(AgentName::parse("a1").unwrap()),
        ending: Some(ending(Outcome::TimedOut)),
        row: ended,
    };
    assert_eq!(
        snapshot.tasks,
        [task(1, "web", "dump"), plain_task(2, "Web", "dump")]
    );
    assert_eq!(
        snapshot.cursors,
        BTreeMap::from([(task_id(2), UnixMs(1500))])
    );
    assert_eq!(snapshot.groups[0], group("Web"));
    assert_eq!(snapshot.groups[1].run_users, None);
    assert_eq!(snapshot.agents[0], agent(1, "a1"));
    assert_eq!(snapshot.agents[1].boot_id, None);
    assert_eq!(snapshot.operators, [operator(1, "admin")]);
    assert_eq!(snapshot.tokens, [agent_token(), operator_token()]);
    assert_eq!(snapshot.open_runs, [open]);
    assert_eq!(snapshot.last_runs, [stored]);
    assert_eq!(snapshot.answers, [answer("r1", NOW)]);
    assert_eq!(world.store.audit(None, 0).await.unwrap(), [entry(1, None)]);
}

#[tokio::test]
async fn every_change_written_twice_is_as_written_once() {
    let (once, twice) = (World::new().await, World::new().await);
    for change in every_change() {
        let before = once.content().await;
        once.commit(vec![change.clone()]).await;
        twice.commit(vec![change.clone(), change.clone()]).await;
        twice.commit(vec![change.clone()]).await;
        let after = once.content().await;
        assert_ne!(before, after, "{change:?} changes nothing");
        assert_eq!(after, twice.content().await, "{change:?}");
    }
}

#[tokio::test]
async fn a_change_replaces_the_whole_row_but_not_the_cursor() {
    let world = World::with_fleet().await;
    let (task, at) = (task_id(1), UnixMs(77));
    world.commit(vec![Write::SetCursor { task, at }]).await;
    let changed = plain_task(1, "Web", "other");
    let moved = AgentRow {
        groups: [group_name("Web")].into(),
        dial_address: Some("a1.example:9501".parse().unwrap()),
        ..agent(1, "renamed")
    };
    let demoted = OperatorRow {
        role: None,
        roles: BTreeMap::new(),
        ..operator(1, "admin")
    };
    world
        .commit(vec![
            Write::PutTask(Box::new(changed.clone())),
            Write::PutAgent(Box::new(moved.clone())),
            Write::PutOperator(Box::new(demoted.clone())),
        ])
        .await;
    let snapshot = world.store.load().await.unwrap();
    assert_eq!(snapshot.tasks[0], changed);
    assert_eq!(snapshot.cursors[&task_id(1)], at);
    assert_eq!(snapshot.agents[0], moved);
    assert_eq!(snapshot.operators, [demoted]);
}

#[tokio::test]
async fn a_batch_is_written_whole_or_not_at_all() {
    let world = World::with_fleet().await;
    let batch = vec![
        Write::PutGroup(group("new")),
        // The name is taken by task 1.
        Write::PutTask(Box::new(task(9, "web", "dump"))),
    ];
    let refused = world.store.commit(&world.guard, batch, NOW).await;
    assert!(
        matches!(refused, Err(StoreError::Refused { .. })),
        "{refused:?}"
    );
    assert_eq!(world.store.load().await.unwrap().groups.len(), 2);
}

#[tokio::test]
async fn the_name_of_what_was_removed_is_free_and_its_history_keeps_it() {
    let world = World::with_fleet().await;
    let row = run(1, 1000);
    world
        .commit(vec![
            Write::PlanRun(row.clone()),
            end(&row, Outcome::Failed),
            Write::RemoveTask {
                task: task_id(1),
                at: NOW,
            },
            Write::RemoveAgent {
                agent: agent_id(1),
                at: NOW,
            },
            Write::PutTask(Box::new(task(3, "web", "dump"))),
            Write::PutAgent(Box::new(agent(3, "a1"))),
        ])
        .await;
    let runs = world.all_runs().await;
    assert_eq!(runs[0].path.to_string(), "web/dump");
    assert_eq!(runs[0].agent_name, Some(AgentName::parse("a1").unwrap()));
    let snapshot = world.store.load().await.unwrap();
    assert_eq!(snapshot.tasks[1].id, task_id(3));
    assert_eq!(snapshot.last_runs, []);
}

#[tokio::test]
async fn a_removed_group_leaves_no_member_and_no_role() {
    let world = World::with_fleet().await;
    world
        .commit(vec![
            Write::RemoveGroup(group_name("web")),
            Write::PutGroup(group("web")),
        ])
        .await;
    let snapshot = world.store.load().await.unwrap();
    assert_eq!(snapshot.agents[0].groups, [group_name("Web")].into());
    assert_eq!(snapshot.operators[0].roles, BTreeMap::new());
    assert_eq!(snapshot.operators[0].role, Some(Role::Viewer));
}

#[tokio::test]
async fn an_answer_is_kept_for_ten_minutes_and_the_first_one_holds() {
    let world = World::new().await;
    let other = AnswerRow {
        answer: "{}".into(),
        ..answer("r1", NOW)
    };
    world
        .commit(vec![
            Write::PutAnswer(answer("r1", NOW)),
            Write::PutAnswer(other),
        ])
        .await;
    assert_eq!(
        world.store.load().await.unwrap().answers,
        [answer("r1", NOW)]
    );
    let later = UnixMs(NOW.0 + 600_001);
    let batch = vec![Write::PutAnswer(answer("r2", later))];
    world
        .store
        .commit(&world.guard, batch, later)
        .await
        .unwrap();
    assert_eq!(
        world.store.load().await.unwrap().answers,
        [answer("r2", later)]
    );
}

#[tokio::test]
async fn values_of_the_fleet_are_kept() {
    let world = World::new().await;
    assert_eq!(world.store.meta("fleet").await.unwrap(), None);
    for value in ["f1", "f2"] {
        world.store.set_meta("fleet", value).await.unwrap();
        assert_eq!(
            world.store.meta("fleet").await.unwrap().as_deref(),
            Some(value)
        );
    }
}

#[tokio::test]
async fn the_audit_log_is_read_newest_first_and_by_group() {
    let world = World::new().await;
    let entries = [entry(1, None), entry(2, Some("web")), entry(3, Some("Web"))];
    let batch = entries.iter().cloned().map(|e| Write::Audit(Box::new(e)));
    world.commit(batch.collect()).await;
    let [none, web, other] = entries;
    let all = world.store.audit(None, 2).await.unwrap();
    assert_eq!(all, [other, web.clone()]);
    let groups = Some([group_name("web")].into());
    assert_eq!(world.store.audit(groups, 0).await.unwrap(), [web]);
    assert_eq!(world.store.audit(Some([].into()), 0).await.unwrap(), []);
    assert_eq!(world.store.audit(None, 0).await.unwrap()[2], none);
}
