//! From settings to the store: its place with the password that is named elsewhere, and the store opened and found
//! to be this fleet's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::init::STORE_FILE;
use crate::config::{CenterSettings, StoreTls};
use crate::files::{FileError, read_private};
use crate::model::UnixMs;
use crate::store::{Database, Place, PlaceError, Secret, Store, StoreError, Tls};

/// The name in the store of the fleet's id.
pub(super) const FLEET: &str = "fleet";

/// What the settings say of the store.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoreAsk {
    /// Its URL; a file in the state directory where none.
    pub url: Option<String>,
    /// File of the database's password.
    pub password_file: Option<PathBuf>,
    /// Variable of the environment with the database's password.
    pub password_env: Option<String>,
    /// Whether the connection is encrypted.
    pub tls: StoreTls,
    /// The authority of the server's certificate, a PEM file.
    pub ca: Option<PathBuf>,
    /// How long the lead is held without a renewal; the store's own default where none.
    pub lease: Option<Duration>,
}

/// Why the store cannot be used.
#[derive(Debug, Error)]
pub enum PlaceFault {
    /// Its URL.
    #[error(transparent)]
    Url(#[from] PlaceError),
    /// The password's file.
    #[error("the database's password cannot be read: {0}")]
    File(#[from] FileError),
    /// The password's file has nothing in it.
    #[error("the database's password file `{}` is empty", .0.display())]
    Empty(PathBuf),
    /// The password's variable.
    #[error(
        "the settings say that the database's password is in the variable `{0}` of the environment, but it is not set"
    )]
    Variable(String),
    /// Two passwords.
    #[error("`store_password_file` and `store_password_env` are both set; keep one")]
    TwoPasswords,
    /// Settings of a database for a file.
    #[error("`{0}` is for a database, but the store is a SQLite file; take it out")]
    NoDatabase(&'static str),
    /// An authority where nothing is encrypted.
    #[error("`store_ca` is set, but `store_tls` is off; take one of them out")]
    CaWithoutTls,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A copy was interrupted.
    #[error(
        "a copy into the store `{0}` was not completed; do it again (`ucron-center store copy` or `restore`) before a center runs on it"
    )]
    Unfinished(Place),
    /// It is another fleet's.
    #[error(
        "the store `{place}` is that of fleet {found}, this center is of fleet {own}; look at `store` in center.toml"
    )]
    Foreign {
        /// The store.
        place: Place,
        /// Its fleet.
        found: String,
        /// The center's.
        own: String,
    },
}

impl StoreAsk {
    /// What a center's settings say.
    pub fn of(settings: &CenterSettings) -> Self {
        Self {
            url: settings.store.clone(),
            password_file: settings.store_password_file.clone(),
            password_env: settings.store_password_env.clone(),
            tls: settings.store_tls,
            ca: settings.store_ca.clone(),
            lease: Some(settings.lease),
        }
    }

    /// The same for another URL.
    pub fn with_url(&self, url: &str) -> Self {
        Self {
            url: Some(url.to_owned()),
            ..self.clone()
        }
    }

    /// Where the store is, with all that is needed to open it.
    pub fn place(&self, dir: &Path) -> Result<Place, PlaceFault> {
        let place = match &self.url {
            None => Place::Sqlite(dir.join(STORE_FILE)),
            Some(url) => Place::parse(url)?,
        };
        match place {
            Place::Sqlite(path) => Ok(Place::Sqlite(path)),
            Place::Mysql(database) => Ok(Place::Mysql(Box::new(self.complete(*database)?))),
        }
    }

    /// What is said of a database although the store is a file.
    pub fn misfit(&self, place: &Place) -> Result<(), PlaceFault> {
        let said = [
            (self.password_file.is_some(), "store_password_file"),
            (self.password_env.is_some(), "store_password_env"),
            (self.ca.is_some(), "store_ca"),
            (self.tls != StoreTls::Auto, "store_tls"),
        ];
        match (place, said.into_iter().find(|(said, _)| *said)) {
            (Place::Sqlite(_), Some((_, key))) => Err(PlaceFault::NoDatabase(key)),
            _ => Ok(()),
        }
    }

    fn complete(&self, mut database: Database) -> Result<Database, PlaceFault> {
        database.password = self.password()?;
        if let Some(lease) = self.lease {
            database.lease = lease;
        }
        database.tls = match (self.tls, database.tls, self.ca.clone()) {
            (StoreTls::Off, _, Some(_)) => return Err(PlaceFault::CaWithoutTls),
            (StoreTls::Off, ..) | (StoreTls::Auto, Tls::Off, None) => Tls::Off,
            (_, _, ca) => Tls::On { ca },
        };
        Ok(database)
    }

    fn password(&self) -> Result<Option<Secret>, PlaceFault> {
        match (&self.password_file, &self.password_env) {
            (Some(_), Some(_)) => Err(PlaceFault::TwoPasswords),
            (Some(path), None) => {
                let text = read_private(path)?;
                match text.lines().next().filter(|line| !line.is_empty()) {
                    Some(line) => Ok(Some(Secret::new(line))),
                    None => Err(PlaceFault::Empty(path.clone())),
                }
            }
            (None, Some(name)) => match std::env::var(name) {
                Ok(text) => Ok(Some(Secret::new(text))),
                Err(_) => Err(PlaceFault::Variable(name.clone())),
            },
            (None, None) => Ok(None),
        }
    }
}

/// Opens the store of the fleet `own` for a center to run on it.
pub(super) async fn open(place: &Place, own: &str, now: UnixMs) -> Result<Store, PlaceFault> {
    let store = Store::open(place, now).await?;
    if store.is_unfinished().await? {
        return Err(PlaceFault::Unfinished(place.clone()));
    }
    match store.meta(FLEET).await? {
        Some(found) if found != own => Err(PlaceFault::Foreign {
            place: place.clone(),
            found,
            own: own.to_owned(),
        }),
        _ => Ok(store),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ask: &StoreAsk, wanted: &str) {
        let read = match ask.place(Path::new("/s")) {
            Ok(Place::Mysql(database)) => {
                format!("{database} {:?} {:?}", database.tls, database.password)
            }
            Ok(place) => place.to_string(),
            Err(fault) => fault.to_string(),
        };
        assert!(read.contains(wanted), "{ask:?}: {read}");
    }

    fn ask(url: &str) -> StoreAsk {
        StoreAsk::default().with_url(url)
    }

    #[test]
    fn the_connection_is_encrypted_unless_the_host_is_local() {
        let ca = |url: &str, tls| StoreAsk {
            ca: Some("/ca".into()),
            tls,
            ..ask(url)
        };
        let tls = |url: &str, tls| StoreAsk { tls, ..ask(url) };
        let (local, far) = ("mysql://u@localhost/d", "mysql://u@db.example/d");
        check(&StoreAsk::default(), "sqlite:/s/center.db");
        check(&ask(local), "Off");
        check(&ask(far), "On { ca: None }");
        check(&tls(local, StoreTls::On), "On { ca: None }");
        check(&tls(far, StoreTls::Off), "Off");
        check(&ca(local, StoreTls::Auto), "On { ca: Some(\"/ca\") }");
        check(&ca(far, StoreTls::Off), "take one of them out");
    }

    #[test]
    fn the_password_is_in_a_private_file_or_a_variable() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("password");
        crate::files::write_private(&path, b"geheim\nrest").unwrap();
        let file = StoreAsk {
            password_file: Some(path.clone()),
            ..ask("mysql://u@localhost/d")
        };
        check(&file, "Some(***)");
        let both = StoreAsk {
            password_env: Some("X".into()),
            ..file.clone()
        };
        check(&both, "keep one");
        crate::files::write_private(&path, b"").unwrap();
        check(&file, "is empty");
        let missing = StoreAsk {
            password_env: Some("UCRON_NOT_SET".into()),
            ..ask("mysql://u@localhost/d")
        };
        check(&missing, "`UCRON_NOT_SET`");
        check(&ask("mysql://u:geheim@h/d"), "holds a password");
        assert!(file.misfit(&Place::Sqlite("x".into())).is_err());
    }
}
