//! `ucron-center store copy`, `backup` and `restore`: the fleet from one store to another, to a file and back.

use std::path::Path;

use thiserror::Error;

use super::place::{PlaceFault, StoreAsk};
use super::run::{RunError, lock};
use crate::clock;
use crate::config::{CenterSettings, ConfigError, Settings};
use crate::store::{CopyError, CopyHow, Place, Store, StoreError, TableSum};

/// Why nothing was moved.
#[derive(Debug, Error)]
pub enum MoveError {
    /// A center runs, or there is none.
    #[error(transparent)]
    Run(#[from] Box<RunError>),
    /// Settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A store's place.
    #[error(transparent)]
    Place(#[from] PlaceFault),
    /// A store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The copy.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// Nothing to copy.
    #[error("there is no file `{0}`")]
    Missing(String),
    /// From and to are one.
    #[error("`{0}` cannot be copied onto itself")]
    Same(Place),
}

impl From<RunError> for MoveError {
    fn from(error: RunError) -> Self {
        Self::Run(Box::new(error))
    }
}

/// Who has the lead of a store that is copied.
const HOLDER: &str = "copy";

/// Copies the store `from` to `to`. No center runs in `dir` meanwhile, nor leads in one of the two elsewhere.
pub async fn copy(
    dir: &Path,
    from: &str,
    to: &str,
    replace: bool,
) -> Result<(Vec<TableSum>, Place), MoveError> {
    let _lock = lock(dir)?;
    let ask = StoreAsk::of(&CenterSettings::load(dir, &[])?);
    let (from, to) = (ask.with_url(from).place(dir)?, ask.with_url(to).place(dir)?);
    if from == to {
        return Err(MoveError::Same(from));
    }
    exists(&from)?;
    let (source, target) = (
        Store::open(&from, clock::now()).await?,
        Store::open(&to, clock::now()).await?,
    );
    let copied = copy_led(&source, &target, replace).await;
    source.close().await;
    target.close().await;
    Ok((copied?, to))
}

/// Takes the lead of both, so that nobody else writes, and gives it back.
async fn copy_led(
    source: &Store,
    target: &Store,
    replace: bool,
) -> Result<Vec<TableSum>, MoveError> {
    let from = source.take_lead(HOLDER).await?;
    target.take_lead(HOLDER).await?;
    let how = CopyHow { replace, epochs: 0 };
    let copied = source.copy_to(target, how).await;
    source.release(&from).await?;
    // The copy has raised the epoch: the lead that is given back is a new one.
    let to = target.take_lead(HOLDER).await?;
    target.release(&to).await?;
    Ok(copied?)
}

fn exists(place: &Place) -> Result<(), MoveError> {
    match place {
        Place::Sqlite(path) if !path.exists() => {
            Err(MoveError::Missing(path.display().to_string()))
        }
        _ => Ok(()),
    }
}

/// Writes a backup of the store of the center in `dir`, running or not.
pub async fn backup(dir: &Path, file: &Path) -> Result<(), MoveError> {
    let place = StoreAsk::of(&CenterSettings::load(dir, &[])?).place(dir)?;
    exists(&place)?;
    let store = Store::open(&place, clock::now()).await?;
    let written = store.backup(file, clock::now()).await;
    store.close().await;
    Ok(written?)
}

/// Puts a backup in the place of the store of the center in `dir`, which does not run.
pub async fn restore(dir: &Path, file: &Path, replace: bool) -> Result<Place, MoveError> {
    let _lock = lock(dir)?;
    let place = StoreAsk::of(&CenterSettings::load(dir, &[])?).place(dir)?;
    exists(&Place::Sqlite(file.to_owned()))?;
    let beside = match &place {
        Place::Sqlite(path) => path.with_extension("restoring"),
        Place::Mysql(_) => dir.join("restoring"),
    };
    Store::restore(file, &place, &beside, replace, clock::now()).await?;
    Ok(place)
}
