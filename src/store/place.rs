//! Where a store is: `sqlite:PATH`, or `mysql://USER@HOST[:PORT]/DATABASE`. The password is never part of it,
//! because URLs stand in arguments and settings, which others may read.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// MySQL's own port.
const PORT: u16 = 3306;
/// The center's lease of the design.
const LEASE: Duration = Duration::from_secs(3);

/// Where a store is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A database of a MySQL or MariaDB server.
    Mysql(Box<Database>),
}

/// A database of a server, and how it is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Database {
    /// The account there.
    pub user: String,
    /// Name or address of the server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The database.
    pub name: String,
    /// The account's password.
    pub password: Option<Secret>,
    /// Whether the connection is encrypted.
    pub tls: Tls,
    /// How long the lead is held without a renewal.
    pub lease: Duration,
}

/// Encryption of the connection to a database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Tls {
    /// None.
    Off,
    /// Required; the server's certificate must be of an authority of this file, of a public one where none.
    On {
        /// PEM file.
        ca: Option<PathBuf>,
    },
}

/// A password; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` as a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why a text names no store. Repeats nothing of a text that may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlaceError {
    /// Neither of the two kinds.
    #[error(
        "the store `{0}` is of an unknown kind; give `sqlite:PATH` or `mysql://USER@HOST[:PORT]/DATABASE`"
    )]
    Kind(String),
    /// A password in the URL.
    #[error(
        "the store's URL holds a password, which others can read; take it out of the URL and name a file that holds it with `store_password_file` (--store-password-file), or a variable of the environment with `store_password_env`"
    )]
    Password,
    /// A part that is missing or wrong.
    #[error(
        "the store's URL {fault}; it has the form `mysql://USER@HOST[:PORT]/DATABASE`, everything else stands in center.toml"
    )]
    Part {
        /// Which, and what is wrong with it.
        fault: &'static str,
    },
}

impl Place {
    /// Reads a store's URL.
    pub fn parse(text: &str) -> Result<Self, PlaceError> {
        if let Some(path) = text.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
            return Ok(Self::Sqlite(path.into()));
        }
        match text.split_once("://") {
            Some(("mysql" | "mariadb", rest)) => {
                Database::parse(rest).map(|database| Self::Mysql(Box::new(database)))
            }
            Some((kind, _)) => Err(PlaceError::Kind(format!("{kind}://..."))),
            None => Err(PlaceError::Kind(text.to_owned())),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Mysql(database) => write!(f, "{database}"),
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mysql://{}@{}/{}", self.user, self.server(), self.name)
    }
}

impl Database {
    fn parse(rest: &str) -> Result<Self, PlaceError> {
        let fault = |fault| PlaceError::Part { fault };
        let (user, rest) = rest.rsplit_once('@').ok_or(fault("names no user"))?;
        if user.contains(':') {
            return Err(PlaceError::Password);
        }
        let (server, name) = rest.split_once('/').ok_or(fault("names no database"))?;
        let (host, port) = split_port(server).ok_or(fault("has a wrong host or port"))?;
        let plain = |c: char| c.is_alphanumeric() || "_-.".contains(c);
        let checks = [
            (user.is_empty(), "names no user"),
            (host.is_empty(), "names no host"),
            (name.is_empty(), "names no database"),
            (
                !name.chars().all(plain),
                "has a database name of other characters than letters, digits, `_`, `-` and `.`",
            ),
        ];
        if let Some((_, words)) = checks.into_iter().find(|(wrong, _)| *wrong) {
            return Err(fault(words));
        }
        let tls = if is_local(host) {
            Tls::Off
        } else {
            Tls::On { ca: None }
        };
        Ok(Self {
            user: user.to_owned(),
            host: host.to_owned(),
            port,
            name: name.to_owned(),
            password: None,
            tls,
            lease: LEASE,
        })
    }

    /// Host and port.
    pub fn server(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// `HOST`, `HOST:PORT`, `[IPV6]`, `[IPV6]:PORT`.
fn split_port(server: &str) -> Option<(&str, u16)> {
    let (host, port) = match server.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => server.split_at(server.find(':').unwrap_or(server.len())),
    };
    match port.strip_prefix(':') {
        Some(port) => Some((host, port.parse().ok().filter(|port| *port > 0)?)),
        None => port.is_empty().then_some((host, PORT)),
    }
}

/// Whether nothing of the connection leaves the host.
fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, wanted: &str) {
        let read = match Place::parse(text) {
            Ok(Place::Mysql(database)) => format!("{database} {:?}", database.tls),
            Ok(place) => place.to_string(),
            Err(fault) => fault.to_string(),
        };
        assert!(read.contains(wanted), "{text}: {read}");
    }

    #[test]
    fn a_store_is_named_by_a_file_or_a_url() {
        check("sqlite:/var/x.db", "sqlite:/var/x.db");
        check("mysql://u@localhost/db", "mysql://u@localhost:3306/db Off");
        check("mysql://u@127.0.0.9:7/db", "mysql://u@127.0.0.9:7/db Off");
        check("mysql://u@[::1]/db", "mysql://u@[::1]:3306/db Off");
        check(
            "mariadb://u@x@db.example/fleet",
            "mysql://u@x@db.example:3306/fleet On { ca: None }",
        );
    }

    #[test]
    fn what_names_no_store_is_refused_with_the_reason() {
        check("center.db", "unknown kind");
        check("sqlite:", "unknown kind");
        check("postgres://u:secret@h/d", "`postgres://...`");
        check("mysql://h/d", "names no user");
        check("mysql://@h/d", "names no user");
        check("mysql://u@h", "names no database");
        check("mysql://u@h/", "names no database");
        check("mysql://u@h/d?ssl=off", "other characters");
        check("mysql://u@h:x/d", "wrong host or port");
        check("mysql://u@h:0/d", "wrong host or port");
        check("mysql://u@/d", "names no host");
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_repeated() {
        for text in [
            "mysql://u:secret@h/d",
            "mysql://u:secret@h",
            "mysql://u:@h/d",
        ] {
            let fault = Place::parse(text).unwrap_err();
            assert!(!fault.to_string().contains("secret"), "{fault}");
        }
        check("mysql://u:secret@h/d", "--store-password-file");
        assert_eq!(format!("{:?}", Secret::new("secret")), "***");
    }
}
