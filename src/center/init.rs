//! `ucron-center init`: the state directory, the certificate authority, the center's own identity, the store,
//! the first operator with a client home. The settings file is written last: without it nothing counts, and a
//! second `init` starts over.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use thiserror::Error;
use ulid::Ulid;

use super::place::{FLEET, PlaceFault, StoreAsk};
use super::sealing::{self, SealingError};
use crate::auth::{Authority, AuthorityError};
use crate::clock;
use crate::config::{CenterSettings, Settings, StoreTls};
use crate::files::{FileError, make_private_dir, write_private};
use crate::model::{FleetId, OperatorId, OperatorName, PeerRole, PeerUri, Role, UnixMs};
use crate::proto::identity::{
    CertificateFault, Identity, IdentityError, PrivateKey, store_centers,
};
use crate::rule::Zone;
use crate::store::{OperatorRow, Place, Snapshot, Store, StoreError, Write};

/// What `init` is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Init {
    /// The state directory.
    pub dir: PathBuf,
    /// Addresses to listen on; a port of 0 is chosen now, for good.
    pub listen: Vec<SocketAddr>,
    /// The store; a file in the state directory where its URL is none.
    pub store: StoreAsk,
    /// The file of the key that seals the authority's; made where there is none.
    pub ca_key_file: Option<PathBuf>,
    /// Zone of tasks that name none.
    pub timezone: Option<Zone>,
}

/// What `init` has made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Initialised {
    /// Where the center will answer, the address to dial first.
    pub addresses: Vec<SocketAddr>,
    /// The first operator's client home.
    pub home: PathBuf,
}

/// Why `init` failed.
#[derive(Debug, Error)]
pub enum InitError {
    /// There is a center already.
    #[error(
        "`{0}` holds a center already; run it with `ucron-center run --state {0}`, or choose another directory"
    )]
    Exists(String),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another with `--listen ADDR:PORT`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The certificate authority.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The key that seals it.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// An identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A certificate just made.
    #[error(transparent)]
    Certificate(#[from] CertificateFault),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Where it is.
    #[error(transparent)]
    Place(#[from] PlaceFault),
    /// The store is a fleet's.
    #[error(
        "`{0}` holds a fleet already, and nothing was changed there; name an empty database, or run the center that it belongs to"
    )]
    Occupied(Place),
    /// What was begun before cannot be taken away.
    #[error("cannot take away `{path}`, left by an `init` that was interrupted: {source}")]
    Leftover {
        /// The path.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
}

/// Folder of the certificate authority in the state directory.
pub(super) const CA_DIR: &str = "ca";
/// The store's file in the state directory.
pub(super) const STORE_FILE: &str = "center.db";
/// The first operator, and the client home of it in the state directory.
const ADMIN: &str = "admin";

/// Makes a center. Everything it makes is private to the caller's account.
pub async fn init(ask: &Init) -> Result<Initialised, InitError> {
    if ask.dir.join(CenterSettings::FILE).exists() {
        return Err(InitError::Exists(ask.dir.display().to_string()));
    }
    let place = ask.store.place(&ask.dir)?;
    ask.store.misfit(&place)?;
    make_private_dir(&ask.dir)?;
    let begun = Identity::load(&ask.dir)
        .ok()
        .map(|identity| identity.uri().fleet.to_string());
    clear_leftovers(&ask.dir)?;
    let addresses = choose_ports(&ask.listen)?;
    let now = clock::now();
    let fleet = FleetId::from(Ulid::generate());
    let seal = sealing::key_or_new(&ask.dir, ask.ca_key_file.as_deref())?;
    let authority = Authority::create(&ask.dir.join(CA_DIR), &fleet, now, seal.as_ref())?;
    let id = Ulid::generate().to_string().to_lowercase();
    make_identity(&authority, &ask.dir, &fleet, PeerRole::Center, id, now)?;
    let admin = OperatorId::from(Ulid::generate());
    let home = ask.dir.join(ADMIN);
    make_identity(
        &authority,
        &home,
        &fleet,
        PeerRole::Operator,
        admin.to_string(),
        now,
    )?;
    let dialled: Vec<String> = addresses
        .iter()
        .map(|at| dial_address(*at).to_string())
        .collect();
    store_centers(&home, &dialled)?;
    make_store(&place, begun.as_deref(), &fleet, admin, now).await?;
    write_private(
        &ask.dir.join(CenterSettings::FILE),
        settings_text(ask, &addresses).as_bytes(),
    )?;
    Ok(Initialised {
        addresses: addresses.into_iter().map(dial_address).collect(),
        home,
    })
}

pub(super) fn clear_leftovers(dir: &Path) -> Result<(), InitError> {
    for name in [CA_DIR, ADMIN] {
        remove(&dir.join(name), |path| std::fs::remove_dir_all(path))?;
    }
    for name in [STORE_FILE, "center.db-wal", "center.db-shm"] {
        remove(&dir.join(name), |path| std::fs::remove_file(path))?;
    }
    Ok(())
}

fn remove(path: &Path, how: impl Fn(&Path) -> std::io::Result<()>) -> Result<(), InitError> {
    match how(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(InitError::Leftover {
            path: path.display().to_string(),
            source,
        }),
        _ => Ok(()),
    }
}

/// Turns a port of 0 into a free one.
pub(super) fn choose_ports(listen: &[SocketAddr]) -> Result<Vec<SocketAddr>, InitError> {
    let choose = |address: &SocketAddr| {
        let bound = TcpListener::bind(address).and_then(|listener| listener.local_addr());
        bound.map_err(|source| InitError::Listen {
            address: *address,
            source,
        })
    };
    listen
        .iter()
        .map(|at| if at.port() == 0 { choose(at) } else { Ok(*at) })
        .collect()
}

/// The address to dial: loopback for one that stands for all.
pub(super) fn dial_address(listen: SocketAddr) -> SocketAddr {
    let ip = match listen {
        SocketAddr::V4(at) if at.ip().is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(at) if at.ip().is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        other => other.ip(),
    };
    SocketAddr::new(ip, listen.port())
}

fn make_identity(
    authority: &Authority,
    dir: &Path,
    fleet: &FleetId,
    role: PeerRole,
    id: String,
    now: UnixMs,
) -> Result<(), InitError> {
    let key = PrivateKey::make()?;
    let uri = PeerUri {
        fleet: fleet.clone(),
        role,
        id,
    };
    let issued = authority.issue(&key.request()?, &uri, now)?;
    Identity::new(key, &issued.certificate, authority.certificate())?.store(dir)?;
    Ok(())
}

/// Makes the store. `begun` is the fleet of an `init` that was interrupted in this directory.
async fn make_store(
    place: &Place,
    begun: Option<&str>,
    fleet: &FleetId,
    admin: OperatorId,
    now: UnixMs,
) -> Result<(), InitError> {
    let store = Store::open(place, now).await?;
    let lead = store.take_lead("init").await?;
    let before = store.load().await?;
    let found = store.meta(FLEET).await?;
    let ours = found.is_none() || found.as_deref() == begun;
    if !(ours && is_begun(&before)) {
        store.release(&lead).await?;
        return Err(InitError::Occupied(place.clone()));
    }
    store.set_meta(FLEET, &fleet.to_string()).await?;
    // What an `init` that was interrupted has left of its operator.
    let old = before.operators.into_iter().map(|row| row.id);
    let mut batch: Vec<Write> = old
        .map(|operator| Write::RemoveOperator { operator, at: now })
        .collect();
    batch.push(Write::PutOperator(Box::new(OperatorRow {
        id: admin,
        name: OperatorName::parse(ADMIN).expect("a plain word is a name"),
        role: Some(Role::Admin),
        roles: std::collections::BTreeMap::new(),
        logged_in: true,
        created_at: now,
    })));
    store.commit(&lead, batch, now).await?;
    store.release(&lead).await?;
    store.close().await;
    Ok(())
}

/// Whether nothing is in a store but what `init` itself writes.
fn is_begun(found: &Snapshot) -> bool {
    let operators = &found.operators;
    let only_admin = operators.len() < 2 && operators.iter().all(|row| row.name.as_str() == ADMIN);
    only_admin && found.groups.is_empty() && found.agents.is_empty() && found.tasks.is_empty()
}

pub(super) fn settings_text(ask: &Init, addresses: &[SocketAddr]) -> String {
    let listen: Vec<String> = addresses.iter().map(|at| format!("\"{at}\"")).collect();
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let shown = |path: Option<&PathBuf>| path.map(|path| path.display().to_string());
    let tls = Some(ask.store.tls.as_str()).filter(|_| ask.store.tls != StoreTls::Auto);
    let lines = [
        Some(
            "# Made by `ucron-center init`; config/center.toml in the sources tells every key."
                .to_owned(),
        ),
        Some(format!("listen = [{}]", listen.join(", "))),
        ask.timezone
            .as_ref()
            .map(|zone| format!("timezone = {}", quoted(zone.name()))),
    ];
    let store = [
        ("store", ask.store.url.clone()),
        (
            "store_password_file",
            shown(ask.store.password_file.as_ref()),
        ),
        ("store_password_env", ask.store.password_env.clone()),
        ("store_ca", shown(ask.store.ca.as_ref())),
        ("store_tls", tls.map(str::to_owned)),
        ("ca_key_file", shown(ask.ca_key_file.as_ref())),
    ];
    let store = store
        .into_iter()
        .map(|(key, value)| Some(format!("{key} = {}", quoted(&value?))));
    lines
        .into_iter()
        .chain(store)
        .flatten()
        .map(|line| line + "\n")
        .collect()
}
