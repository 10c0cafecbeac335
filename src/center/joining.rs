//! `ucron-center join`: a further center of a fleet whose store is a database. The key is made here; the certificate
//! and the fleet's certificate authority come from the center that leads, through TLS that is pinned by the token.
//! The settings file is written last: without it nothing counts, and a second `join` starts over.

use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

use super::init::{CA_DIR, Init, InitError, choose_ports, clear_leftovers, settings_text};
use super::place::{FLEET, PlaceFault};
use super::sealing;
use crate::auth::{Authority, AuthorityError};
use crate::clock;
use crate::config::{CenterSettings, Settings};
use crate::files::{FileError, make_private_dir, write_private};
use crate::model::{PeerRole, Token};
use crate::proto::identity::{Identity, IdentityError};
use crate::proto::join::{self, JoinFault, Joined};
use crate::store::{Place, Store, StoreError};

/// What `join` is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Joining {
    /// Centers of the fleet, `HOST:PORT`; the one that leads answers.
    pub centers: Vec<String>,
    /// The token.
    pub token: Token,
    /// Where others reach the new center; the addresses to listen on where none.
    pub advertise: Vec<String>,
    /// The rest, as for `init`.
    pub init: Init,
}

/// Why `join` failed.
#[derive(Debug, Error)]
pub enum JoiningError {
    /// What `init` can fail at too.
    #[error(transparent)]
    Init(#[from] InitError),
    /// A file is one center's.
    #[error(
        "a SQLite file is one center's; several share a database (`--store mysql://…`; `ucron-center store copy` moves a fleet there)"
    )]
    File,
    /// The database is not the fleet's.
    #[error(
        "`{0}` holds no fleet; name the database that the fleet's other centers use. The token is not used up"
    )]
    NoFleet(Place),
    /// The database is that of another fleet.
    #[error("`{place}` is the store of fleet {found}, but the token is of fleet {own}")]
    Foreign {
        /// The database.
        place: Place,
        /// Its fleet.
        found: String,
        /// The token's.
        own: String,
    },
    /// The center that answered gave no authority.
    #[error("`{0}` gave no certificate authority; upgrade that center")]
    NoAuthority(String),
    /// The authority given is not the token's.
    #[error("`{0}` gave a certificate authority that is not the one in the token")]
    OtherAuthority(String),
    /// No center let it in.
    #[error(transparent)]
    Join(#[from] JoinFault),
    /// No center was named.
    #[error("name a center of the fleet with `--center HOST:PORT`")]
    NoCenter,
    /// Where the store is.
    #[error(transparent)]
    Place(#[from] PlaceFault),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The authority.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The state directory.
    #[error(transparent)]
    Directory(#[from] FileError),
}

/// Joins; gives the addresses on which the new center will listen.
pub async fn join(ask: &Joining) -> Result<Vec<SocketAddr>, JoiningError> {
    let dir: &PathBuf = &ask.init.dir;
    if dir.join(CenterSettings::FILE).exists() {
        return Err(InitError::Exists(dir.display().to_string()).into());
    }
    let place = ask.init.store.place(dir)?;
    let found = fleet_of(&place).await?;
    make_private_dir(dir)?;
    clear_leftovers(dir)?;
    let listen = choose_ports(&ask.init.listen)?;
    // Before the token is used up.
    let seal =
        sealing::key_or_new(dir, ask.init.ca_key_file.as_deref()).map_err(InitError::from)?;
    let (center, identity, joined) = ask_centers(&ask.centers, &ask.token).await?;
    if found != joined.fleet {
        return Err(JoiningError::Foreign {
            place,
            found,
            own: joined.fleet,
        });
    }
    let authority = joined
        .authority
        .ok_or_else(|| JoiningError::NoAuthority(center.clone()))?;
    let authority = Authority::store(&dir.join(CA_DIR), &authority.0, seal.as_ref())?;
    if authority.pin() != ask.token.pin() {
        return Err(JoiningError::OtherAuthority(center));
    }
    identity.store(dir)?;
    let text = settings_text(&ask.init, &listen) + &advertise_line(&ask.advertise);
    write_private(&dir.join(CenterSettings::FILE), text.as_bytes())?;
    Ok(listen)
}

fn advertise_line(addresses: &[String]) -> String {
    let quoted = |at: &String| toml::Value::String(at.clone()).to_string();
    let quoted: Vec<String> = addresses.iter().map(quoted).collect();
    if quoted.is_empty() {
        return String::new();
    }
    format!("advertise = [{}]\n", quoted.join(", "))
}

/// The fleet whose store this is: looked at before the token is used.
async fn fleet_of(place: &Place) -> Result<String, JoiningError> {
    if matches!(place, Place::Sqlite(_)) {
        return Err(JoiningError::File);
    }
    let store = Store::open(place, clock::now()).await?;
    let found = store.meta(FLEET).await;
    store.close().await;
    found?.ok_or_else(|| JoiningError::NoFleet(place.clone()))
}

/// Asks one center after the other: only the one that leads lets anybody in.
async fn ask_centers(
    centers: &[String],
    token: &Token,
) -> Result<(String, Identity, Joined), JoiningError> {
    let mut last = JoiningError::NoCenter;
    for center in centers {
        match join::join(center, token, PeerRole::Center, None).await {
            Ok((identity, joined)) => return Ok((center.clone(), identity, joined)),
            Err(fault) => last = fault.into(),
        }
    }
    Err(last)
}
