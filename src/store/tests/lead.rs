//! The lead: whoever took it last writes, nobody else. Written so that it holds with leases and without.

use super::super::Home;
use super::sample::group;
use super::{NOW, World};
use crate::model::Epoch;
use crate::store::{LeaseGuard, Store, StoreError, Write};

async fn check(store: &Store, guard: &LeaseGuard, wanted: Result<(), StoreError>) {
    let batch = vec![Write::PutGroup(group("web"))];
    assert_eq!(store.commit(guard, batch, NOW).await, wanted, "{guard:?}");
}

#[tokio::test]
async fn a_deposed_center_writes_nothing() {
    let World {
        folder,
        store,
        guard,
    } = World::new().await;
    assert_eq!(guard.epoch, Epoch(1));
    let other = folder.open().await;
    store.release(&guard).await.unwrap();
    let next = other.take_lead("c2").await.unwrap();
    assert_eq!(next.epoch, Epoch(2));
    check(&store, &guard, Err(StoreError::NotLeader)).await;
    assert!(store.load().await.unwrap().groups.is_empty());
    check(&other, &next, Ok(())).await;
    let raised = store.raise_epoch(&guard, Epoch(7)).await;
    assert_eq!(raised, Err(StoreError::NotLeader));
    assert_eq!(store.renew(&guard).await, Err(StoreError::NotLeader));
    // Giving back what is another's gives nothing away.
    store.release(&guard).await.unwrap();
    check(&other, &next, Ok(())).await;
}

#[tokio::test]
async fn the_same_epoch_of_another_holder_is_not_the_lead() {
    let world = World::new().await;
    let holder = "c2".to_owned();
    let forged = LeaseGuard {
        holder,
        ..world.guard.clone()
    };
    check(&world.store, &forged, Err(StoreError::NotLeader)).await;
}

#[tokio::test]
async fn an_epoch_is_raised_above_what_was_seen() {
    let world = World::new().await;
    let store = &world.store;
    let same = store.raise_epoch(&world.guard, Epoch(0)).await.unwrap();
    assert_eq!(same, world.guard);
    let raised = store.raise_epoch(&world.guard, Epoch(41)).await.unwrap();
    assert_eq!(raised.epoch, Epoch(42));
    check(store, &world.guard, Err(StoreError::NotLeader)).await;
    check(store, &raised, Ok(())).await;
    assert_eq!(store.take_lead("c1").await.unwrap().epoch, Epoch(43));
}

#[tokio::test]
async fn the_lead_is_renewed_by_time_and_given_back() {
    let world = World::new().await;
    world.store.renew(&world.guard).await.unwrap();
    check(&world.store, &world.guard, Ok(())).await;
    world.store.release(&world.guard).await.unwrap();
    // Nobody took it: it can be had again.
    world.store.renew(&world.guard).await.unwrap();
    check(&world.store, &world.guard, Ok(())).await;
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_drop_without_close() {
    let World {
        folder,
        store,
        guard,
    } = World::new().await;
    check(&store, &guard, Ok(())).await;
    drop(store);
    let store = folder.open().await;
    assert_eq!(store.load().await.unwrap().groups, [group("web")]);
}

#[tokio::test]
async fn a_closed_store_says_so_to_other_handles() {
    let world = World::new().await;
    let other = world.store.clone();
    world.store.close().await;
    check(&other, &world.guard, Err(StoreError::Closed)).await;
    assert_eq!(other.load().await, Err(StoreError::Closed));
    other.close().await;
}
