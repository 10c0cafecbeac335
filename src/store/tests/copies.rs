//! Copies from store to store, whole or refused.

use tempfile::TempDir;

use super::super::Home;
use super::sample::{additions, group, operator};
use super::{NOW, World, content};
use crate::store::{CopyError, CopyHow, Store, StoreError, Write};

const PLAIN: CopyHow = CopyHow {
    replace: false,
    epochs: 0,
};

/// A store with a row in every table.
async fn full() -> World {
    let world = World::new().await;
    world.commit(additions()).await;
    world.store.set_meta("fleet", "f1").await.unwrap();
    world
}

#[tokio::test]
async fn a_fleet_is_copied_to_sqlite_and_back_row_by_row() {
    let (world, file) = (full().await, TempDir::new().unwrap());
    let middle = file.open().await;
    let sums = world.store.copy_to(&middle, PLAIN).await.unwrap();
    assert!(sums.iter().all(|sum| sum.rows > 0), "{sums:?}");
    assert_eq!(content(&middle).await, world.content().await);
    assert_eq!(middle.meta("fleet").await.unwrap().as_deref(), Some("f1"));

    let back = World::new().await;
    assert_eq!(middle.copy_to(&back.store, PLAIN).await.unwrap(), sums);
    assert_eq!(back.content().await, world.content().await);
    assert!(!back.store.is_unfinished().await.unwrap());
    let epoch = back.store.take_lead("c1").await.unwrap().epoch;
    assert!(epoch > world.guard.epoch, "{epoch:?}");
}

#[tokio::test]
async fn what_a_store_holds_is_replaced_only_when_told_so() {
    let (from, to) = (full().await, World::new().await);
    to.commit(vec![Write::PutGroup(group("old"))]).await;
    let before = to.content().await;
    let refused = from.store.copy_to(&to.store, PLAIN).await;
    assert_eq!(refused, Err(CopyError::Occupied(to.folder.place())));
    assert_eq!(to.content().await, before);
    let how = CopyHow {
        replace: true,
        ..PLAIN
    };
    from.store.copy_to(&to.store, how).await.unwrap();
    assert_eq!(to.content().await, from.content().await);
}

#[tokio::test]
async fn a_copy_that_was_interrupted_is_told_and_done_again() {
    let (from, to) = (full().await, World::new().await);
    to.store.set_meta("copy_unfinished", "1").await.unwrap();
    to.commit(vec![Write::PutOperator(Box::new(operator(7, "half")))])
        .await;
    assert!(to.store.is_unfinished().await.unwrap());
    from.store.copy_to(&to.store, PLAIN).await.unwrap();
    assert_eq!(to.content().await, from.content().await);
    assert!(!to.store.is_unfinished().await.unwrap());
}

#[tokio::test]
async fn a_backup_is_a_file_and_is_put_back_with_later_epochs() {
    let (world, folder) = (full().await, TempDir::new().unwrap());
    let backup = folder.path().join("backup.db");
    world.store.backup(&backup, NOW).await.unwrap();
    let before = world.content().await;
    world.commit(vec![Write::PutGroup(group("later"))]).await;
    world.store.release(&world.guard).await.unwrap();
    let place = world.folder.place();
    world.store.close().await;

    let beside = folder.path().join("beside.db");
    let put = Store::restore(&backup, &place, &beside, true, NOW).await;
    put.unwrap();
    assert!(!beside.exists());
    let store = world.folder.open().await;
    assert_eq!(content(&store).await, before);
    let epoch = store.take_lead("c1").await.unwrap().epoch;
    assert!(epoch.0 > 1_000_000, "{epoch:?}");
}

#[tokio::test]
async fn nothing_is_restored_from_what_is_no_backup() {
    let (world, folder) = (full().await, TempDir::new().unwrap());
    let wrong = folder.path().join("wrong");
    std::fs::write(&wrong, "no database at all".repeat(100)).unwrap();
    let before = world.content().await;
    for file in [wrong, folder.path().join("missing")] {
        let beside = folder.path().join("beside.db");
        let put = Store::restore(&file, &world.folder.place(), &beside, true, NOW).await;
        assert!(
            matches!(
                put,
                Err(CopyError::Store(
                    StoreError::Corrupt { .. } | StoreError::Open { .. }
                ))
            ),
            "{put:?}"
        );
        assert!(!beside.exists());
    }
    assert_eq!(world.content().await, before);
}
