//! `ucron-center run`: takes the state directory and the lead, listens, and runs the loop until it is told to
//! stop.

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::warn;

use super::accept::Accept;
use super::core::CoreSettings;
use super::dialling::Dialling;
use super::event::Now;
use super::init::{CA_DIR, dial_address};
use super::lead::{Seat, Tenure};
use super::notify::{KEPT_FILE, Notifier, NotifyCommands};
use super::place::{self, PlaceFault, StoreAsk};
use super::roster::CenterRow;
use super::sealing::{self, SealingError};
use super::shell::{Parts, Shell};
use crate::auth::{Authority, AuthorityError};
use crate::clock;
use crate::config::{CenterSettings, ConfigError};
use crate::files::{FileError, check_private};
use crate::model::Epoch;
use crate::proto::identity::{Identity, IdentityError};
use crate::proto::tls::{TlsError, server_config};
use crate::store::{Keep, LeaseGuard, Place, Store, StoreError};
use crate::workers::Workers;

/// Why a center cannot run.
#[derive(Debug, Error)]
pub enum RunError {
    /// The directory holds no center.
    #[error("`{0}` holds no center; make one with `ucron-center init --state {0}`")]
    Missing(String),
    /// Another center has the directory.
    #[error("another center runs in `{0}`; stop it first")]
    Locked(String),
    /// The lock file.
    #[error("cannot lock `{path}`: {source}")]
    Lock {
        /// The file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// An address is no `ADDR:PORT`.
    #[error("`listen` has `{0}`, which is no numeric ADDR:PORT")]
    Address(String),
    /// An address cannot be listened on.
    #[error(
        "cannot listen on {address}: {source}; is another program there? change `listen` in center.toml"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// Where the store is, or whose.
    #[error(transparent)]
    Place(#[from] PlaceFault),
    /// Settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Files.
    #[error(transparent)]
    File(#[from] FileError),
    /// The certificate authority.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The key that seals it.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// The center's identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system.
    #[error("cannot {attempt}: {source}")]
    System {
        /// What was attempted.
        attempt: &'static str,
        /// Why not.
        source: std::io::Error,
    },
}

/// How long the end may take.
const DRAIN: Duration = Duration::from_secs(5);
/// Ended runs pruned at a time: some milliseconds of the store's writer, for which a batch may have to wait.
const PRUNE_STEP: usize = 200;
/// The pause after a step, as many times as long as the step took: most of the store's time is for batches.
const PRUNE_REST: u32 = 4;
/// That pause at least and at most.
const PRUNE_PAUSE: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(5)];
const PRUNE_EVERY: Duration = Duration::from_mins(10);
/// How often a center that stands by looks whether it leads.
const PRUNE_WAIT: Duration = Duration::from_secs(10);

/// Runs the center in `dir` until `workers` are told to stop: leading, or standing by.
/// `kept` says how long history is kept, `commands` what is started when something is wrong; both may change
/// meanwhile.
pub async fn run(
    dir: &Path,
    settings: CenterSettings,
    kept: watch::Receiver<Keep>,
    commands: watch::Receiver<NotifyCommands>,
    workers: Workers,
) -> Result<(), RunError> {
    let _lock = lock(dir)?;
    let place = StoreAsk::of(&settings).place(dir)?;
    let identity = Identity::load(dir)?;
    let seal = sealing::key(dir, settings.ca_key_file.as_deref())?;
    let authority = Authority::load(&dir.join(CA_DIR), seal.as_ref())?;
    let listen = addresses(&settings)?;
    let listeners = bind(&listen).await?;
    let fleet = identity.uri().fleet.to_string();
    let Some(store) = open_store(&place, &fleet, &workers).await? else {
        return Ok(());
    };
    let dialled: Vec<String> = listen
        .iter()
        .map(|at| dial_address(*at).to_string())
        .collect();
    let told = told(&settings, &listen);
    let tenure = Tenure::new(store.has_lease().then_some(settings.lease), holder()?);
    let (shell, inbox) = Shell::new(Parts {
        settings: core_settings(&settings, &identity, &authority, dialled.clone()),
        store: store.clone(),
        authority,
        tenure: tenure.clone(),
        address_file: dir.join("center.addr"),
        told: told.clone(),
        workers: workers.clone(),
    })?;
    let seat = Seat {
        store: store.clone(),
        tenure: tenure.clone(),
        inbox: inbox.clone(),
        every: settings.renew_every(),
        row: CenterRow {
            id: identity.uri().id.clone(),
            addresses: told,
            epoch: Epoch(0),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seen_at: clock::now(),
        },
    };
    let seat = seat.start(&workers);
    let file = dir.join(KEPT_FILE);
    let notifier = Notifier::new(file, commands, workers.clone(), inbox.clone());
    let accept = Accept::new(
        server_config(&identity)?,
        inbox,
        settings.max_frame.as_len(),
        workers.clone(),
    );
    for listener in listeners {
        accept.listen(listener);
    }
    prune(&workers, store.clone(), tenure, kept);
    let ended = shell
        .run(Dialling::new(accept, identity), seat, notifier)
        .await;
    workers.stop();
    workers.drain(DRAIN).await;
    store.close().await;
    ended
}

/// What a core is told but its epoch and its seed, which are of its term.
fn core_settings(
    settings: &CenterSettings,
    identity: &Identity,
    authority: &Authority,
    addresses: Vec<String>,
) -> CoreSettings {
    CoreSettings {
        fleet: identity.uri().fleet.clone(),
        epoch: Epoch(0),
        zone: settings.timezone.clone(),
        lead: settings.lead,
        silent: settings.silent_after(),
        lost_after: Duration::from_hours(1),
        addresses,
        pin: authority.pin(),
        seed: [0; 32],
    }
}

/// Where others are told to dial. Of a wildcard nobody knows what it is from elsewhere.
fn told(settings: &CenterSettings, listen: &[SocketAddr]) -> Vec<String> {
    if !settings.advertise.is_empty() {
        return settings.advertise.clone();
    }
    let listen = listen.iter().filter(|at| !at.ip().is_unspecified());
    listen.map(ToString::to_string).collect()
}

/// Opens the store; a database that does not answer yet is waited for.
async fn open_store(
    place: &Place,
    fleet: &str,
    workers: &Workers,
) -> Result<Option<Store>, RunError> {
    let mut told = false;
    loop {
        let fault = match place::open(place, fleet, clock::now()).await {
            Ok(store) => return Ok(Some(store)),
            Err(PlaceFault::Store(fault)) if fault.may_pass() => fault,
            Err(fault) => return Err(fault.into()),
        };
        if !told {
            warn!("{fault}; it is tried again every second");
            told = true;
        }
        let pause = tokio::time::sleep(Duration::from_secs(1));
        if workers.token().run_until_cancelled(pause).await.is_none() {
            return Ok(None);
        }
    }
}

/// Both clocks, now.
pub(super) fn now() -> Now {
    Now {
        at: clock::now(),
        mono: clock::boot_time(),
    }
}

/// How long history is kept.
pub fn keep(settings: &CenterSettings) -> Keep {
    Keep {
        age: settings.history,
        per_task: settings.history_runs,
        failures_age: settings.history_failures,
    }
}

/// Takes the state directory: one program at a time changes what is in it.
pub(super) fn lock(dir: &Path) -> Result<File, RunError> {
    if !dir.join("center.toml").exists() {
        return Err(RunError::Missing(dir.display().to_string()));
    }
    check_private(dir)?;
    let path = dir.join("center.lock");
    let fault = |source| RunError::Lock {
        path: path.display().to_string(),
        source,
    };
    let file = File::create(&path).map_err(fault)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(RunError::Locked(dir.display().to_string())),
        Err(TryLockError::Error(source)) => Err(fault(source)),
    }
}

fn addresses(settings: &CenterSettings) -> Result<Vec<SocketAddr>, RunError> {
    settings
        .listen
        .iter()
        .map(|text| text.parse().map_err(|_| RunError::Address(text.clone())))
        .collect()
}

async fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, RunError> {
    let mut listeners = Vec::new();
    for address in addresses {
        let bound = TcpListener::bind(address).await;
        listeners.push(bound.map_err(|source| RunError::Listen {
            address: *address,
            source,
        })?);
    }
    Ok(listeners)
}

/// Names this process for the lease: unique for each start.
fn holder() -> Result<String, RunError> {
    let boot = clock::boot_id().map_err(|source| RunError::System {
        attempt: "read the boot id",
        source,
    })?;
    Ok(format!(
        "{boot}-{}-{}",
        std::process::id(),
        clock::boot_time().as_nanos()
    ))
}

/// Prunes history in small steps, for as long as the center leads; at once when what is kept changes.
fn prune(workers: &Workers, store: Store, tenure: Tenure, mut kept: watch::Receiver<Keep>) {
    let stop = workers.token().clone();
    workers.spawn("prune", async move {
        loop {
            let keep = *kept.borrow_and_update();
            let pause = match tenure.guard(clock::boot_time()) {
                Some(guard) => prune_step(&store, &guard, &keep).await,
                None => PRUNE_WAIT,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                Ok(()) = kept.changed() => {}
                () = stop.cancelled() => return,
            }
        }
    });
}

/// One step, and how long to rest after it.
async fn prune_step(store: &Store, guard: &LeaseGuard, keep: &Keep) -> Duration {
    let begun = clock::boot_time();
    match store.prune(guard, keep, clock::now(), PRUNE_STEP).await {
        Ok(pruned) if pruned.is_over => PRUNE_EVERY,
        Ok(_) => {
            let spent = clock::boot_time().saturating_sub(begun);
            let [least, most] = PRUNE_PAUSE;
            (spent * PRUNE_REST).clamp(least, most)
        }
        Err(StoreError::NotLeader | StoreError::Lapsed) => PRUNE_WAIT,
        Err(fault) => {
            warn!("cannot prune history: {fault}");
            PRUNE_EVERY
        }
    }
}
