//! `ucron-center step-down`: asks the center of a state directory, through the store, to give up the lead, and waits
//! until another has it.

use std::path::Path;
use std::time::Duration;

use thiserror::Error;

use super::lead::{rows, step_down_text};
use super::place::{self, PlaceFault, StoreAsk};
use super::roster::{CenterRow, STEP_DOWN};
use crate::clock;
use crate::config::{CenterSettings, ConfigError, Settings};
use crate::model::{Epoch, UnixMs};
use crate::proto::identity::{Identity, IdentityError};
use crate::store::{Store, StoreError};

/// A center that has not said for so long that it lives does not stand by.
const LIVES: Duration = Duration::from_secs(10);
/// How long another is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// Why the lead was not handed over.
#[derive(Debug, Error)]
pub enum StepDownError {
    /// The store is a file.
    #[error("the store is a SQLite file: there is no other center to take the lead")]
    Alone,
    /// It does not lead.
    #[error("the center in `{dir}` does not lead; {leader}")]
    NotLeader {
        /// The state directory.
        dir: String,
        /// Who does, in words.
        leader: String,
    },
    /// Nobody would take the lead.
    #[error("no other center stands by, so that nobody would take the lead; start one first")]
    NoStandby,
    /// Nobody else took it, so that it leads again.
    #[error("no other center took the lead, and this one leads again; look at `ucron status`")]
    Again,
    /// Nobody took it.
    #[error("no other center has taken the lead within {} s; look at `ucron status`", PATIENCE.as_secs())]
    Late,
    /// Settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The center's identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The store.
    #[error(transparent)]
    Place(#[from] PlaceFault),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Asks and waits; gives the center that leads then.
pub async fn step_down(dir: &Path) -> Result<CenterRow, StepDownError> {
    let settings = CenterSettings::load(dir, &[])?;
    let identity = Identity::load(dir)?;
    let place = StoreAsk::of(&settings).place(dir)?;
    let uri = identity.uri();
    let store = place::open(&place, &uri.fleet.to_string(), clock::now()).await?;
    let done = hand_over(&store, dir, &uri.id).await;
    store.close().await;
    done
}

async fn hand_over(store: &Store, dir: &Path, own: &str) -> Result<CenterRow, StepDownError> {
    if !store.has_lease() {
        return Err(StepDownError::Alone);
    }
    let before = rows(store).await?;
    let epoch = leads(&before, own).map_err(|leader| StepDownError::NotLeader {
        dir: dir.display().to_string(),
        leader,
    })?;
    let now = clock::now();
    if !before.iter().any(|row| row.id != own && lives(row, now)) {
        return Err(StepDownError::NoStandby);
    }
    store
        .set_meta(STEP_DOWN, &step_down_text(own, epoch))
        .await?;
    let waiting = next_leader(store, own, epoch);
    let found = tokio::time::timeout(PATIENCE, waiting).await;
    found.unwrap_or(Err(StepDownError::Late))
}

/// Waits until a center leads with a higher epoch; it must be another.
async fn next_leader(store: &Store, own: &str, epoch: Epoch) -> Result<CenterRow, StepDownError> {
    loop {
        let now = rows(store).await?;
        match now.into_iter().find(|row| row.epoch > epoch) {
            Some(row) if row.id != own => return Ok(row),
            Some(_) => return Err(StepDownError::Again),
            None => tokio::time::sleep(LOOK).await,
        }
    }
}

/// The epoch with which the center `own` leads; else who does, in words.
fn leads(rows: &[CenterRow], own: &str) -> Result<Epoch, String> {
    let leading = rows.iter().filter(|row| row.epoch > Epoch(0));
    match leading.max_by_key(|row| row.epoch) {
        Some(row) if row.id == own => Ok(row.epoch),
        Some(row) => {
            let place = row.addresses.first().unwrap_or(&row.id);
            Err(format!("the leader is {place}"))
        }
        None => Err("nobody leads now".to_owned()),
    }
}

fn lives(row: &CenterRow, now: UnixMs) -> bool {
    row.seen_at.plus(LIVES) > now
}
