//! From the driver's errors to the store's: what an operator can do about each, and which pass by themselves.
//! The numbers are those of the servers' error lists, the same for MySQL and MariaDB unless said.

use std::fmt::Display;
use std::io;
use std::time::Duration;

use mysql_async::{DriverError, Error, FromRowError, FromValueError, IoError, ServerError};

use crate::store::{Database, StoreError};

/// What went wrong in a try.
#[derive(Debug)]
pub(super) enum Fault {
    /// The driver or the server.
    Sql(Error),
    /// Decided here.
    Store(StoreError),
    /// No answer in this time; what was asked may still be carried out.
    Slow(Duration),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<FromRowError> for Fault {
    fn from(error: FromRowError) -> Self {
        damaged(error)
    }
}

impl From<FromValueError> for Fault {
    fn from(error: FromValueError) -> Self {
        damaged(error)
    }
}

/// A column does not hold what it must.
#[allow(
    clippy::needless_pass_by_value,
    reason = "it is a function for `map_err`"
)]
pub(super) fn damaged(cause: impl Display) -> Fault {
    Fault::Store(StoreError::Corrupt {
        cause: format!("{cause}"),
    })
}

/// A deadlock, which with Galera is also a commit that another node's came before; a lock wait that took too long; a row
/// that changed since it was read (MariaDB 11.6 and later).
const LOCKED: [u16; 3] = [1213, 1205, 1020];
/// A node of Galera that is not, or no longer, part of a quorum; a COMMIT that could not be carried out. Whether the other
/// nodes have it is not known.
const SPLIT: [u16; 2] = [1047, 1180];
/// The server ends the connection: shutdown, killed (MariaDB), killed, silent for too long (MySQL).
const CUT: [u16; 4] = [1053, 1927, 1317, 4031];

impl Fault {
    fn code(&self) -> Option<u16> {
        match self {
            Self::Sql(Error::Server(error)) => Some(error.code),
            _ => None,
        }
    }

    /// Whether the connection is of no more use.
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            Self::Sql(Error::Server(error)) => CUT.contains(&error.code),
            Self::Sql(_) | Self::Slow(_) => true,
            Self::Store(_) => false,
        }
    }

    /// Whether a second try may go better.
    pub(super) fn passes(&self) -> bool {
        let locked = self.code().is_some_and(|code| LOCKED.contains(&code));
        let lost = matches!(self, Self::Sql(_)) && self.ends_connection();
        locked || (lost && !matches!(self, Self::Sql(Error::Io(IoError::Tls(_)))))
    }

    /// Whether it is open whether what was asked has been done.
    pub(super) fn is_open(&self) -> bool {
        self.ends_connection() || self.code().is_some_and(|code| SPLIT.contains(&code))
    }
}

/// No connection.
pub(super) fn unreachable(database: &Database, cause: &str) -> Fault {
    Fault::Store(StoreError::Unreachable {
        server: database.server(),
        cause: cause.to_owned(),
    })
}

/// The fault in the words of operators.
pub(super) fn told(fault: Fault, database: &Database) -> StoreError {
    match fault {
        Fault::Store(error) => error,
        Fault::Slow(limit) => StoreError::Unreachable {
            server: database.server(),
            cause: format!("no answer within {} s", limit.as_secs()),
        },
        Fault::Sql(Error::Server(error)) => of_server(&error, database),
        Fault::Sql(Error::Io(error)) => StoreError::Unreachable {
            server: database.server(),
            cause: of_connection(&error),
        },
        Fault::Sql(Error::Driver(error)) => of_driver(&error, database),
        Fault::Sql(error) => StoreError::Statement {
            cause: error.to_string(),
        },
    }
}

fn of_connection(error: &IoError) -> String {
    match error {
        // A certificate that is not believed comes as data that is not understood.
        IoError::Io(error) if error.kind() == io::ErrorKind::InvalidData => of_tls(error),
        IoError::Io(error) => error.to_string(),
        IoError::Tls(error) => of_tls(error),
    }
}

fn of_tls(error: &dyn Display) -> String {
    format!("TLS: {error}; name the authority of its certificate with `store_ca` (--store-ca)")
}

fn of_driver(error: &DriverError, database: &Database) -> StoreError {
    let cause = match error {
        DriverError::NoClientSslFlagFromServer => "it offers no TLS; turn TLS on there, or where the network between is trusted set `store_tls = \"off\"`".to_owned(),
        DriverError::FromRow { .. } | DriverError::FromValue { .. } => {
            return StoreError::Corrupt { cause: error.to_string() };
        }
        DriverError::ConnectionClosed => "it closed the connection".to_owned(),
        other => other.to_string(),
    };
    StoreError::Unreachable {
        server: database.server(),
        cause,
    }
}

fn of_server(error: &ServerError, database: &Database) -> StoreError {
    let server = database.server();
    let cause = format!("{} (error {})", error.message, error.code);
    match error.code {
        1049 => StoreError::NoDatabase {
            server,
            name: database.name.clone(),
        },
        // Account, database, table, column, routine; too little privilege; expired; locked; TLS demanded.
        1044 | 1045 | 1142 | 1143 | 1227 | 1370 | 1698 | 1820 | 3118 | 3159 | 4151 | 1130 => {
            StoreError::Denied { server, cause }
        }
        1205 | 1213 | 1020 => StoreError::Busy { cause },
        1047 => StoreError::Unreachable {
            server,
            cause: format!("a node of a Galera cluster without a quorum: {cause}"),
        },
        // Too many connections (of the server, of the account), and what ends one.
        1040 | 1203 | 1226 | 1053 | 1927 | 1317 | 4031 => StoreError::Unreachable { server, cause },
        // Disk full, table full, writing failed, read-only in its several ways.
        1021 | 1114 | 1026 | 1030 | 1290 | 1792 | 1836 | 1180 => StoreError::NotWritable { cause },
        // Duplicate, foreign key, too long, wrong characters, out of range.
        1062 | 1586 | 1452 | 1451 | 1216 | 1217 | 1406 | 1366 | 1264 | 1153 => {
            StoreError::Refused { cause }
        }
        1034 | 1033 | 1194 | 1712 => StoreError::Corrupt { cause },
        _ => StoreError::Statement { cause },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Place;

    fn database() -> Database {
        match Place::parse("mysql://u@db.example/fleet") {
            Ok(Place::Mysql(database)) => *database,
            other => panic!("{other:?}"),
        }
    }

    fn check(code: u16, wanted: &str) {
        let error = Fault::Sql(Error::Server(ServerError {
            code,
            message: "what it said".into(),
            state: "HY000".into(),
        }));
        let text = told(error, &database()).to_string();
        assert!(text.contains(wanted), "{code}: {text}");
    }

    #[test]
    fn what_the_server_says_is_told_by_meaning() {
        check(1049, "has no database `fleet`");
        check(1045, "denied access: what it said (error 1045)");
        check(1040, "cannot reach the database server `db.example:3306`");
        check(1213, "locked by another program");
        check(1047, "a node of a Galera cluster without a quorum");
        check(1290, "cannot be written");
        check(1114, "cannot be written");
        check(1062, "contradicts");
        check(1064, "fault of ucron");
    }

    #[test]
    fn what_may_have_been_committed_is_open() {
        for (code, open) in [(1047, true), (1180, true), (1053, true), (1213, false)] {
            let fault = Fault::Sql(Error::Server(ServerError {
                code,
                message: String::new(),
                state: String::new(),
            }));
            assert_eq!(fault.is_open(), open, "{code}");
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let server = |code| {
            Fault::Sql(Error::Server(ServerError {
                code,
                message: String::new(),
                state: String::new(),
            }))
        };
        for (fault, again) in [
            (server(1213), true),
            (server(1205), true),
            (server(1053), true),
            (server(1062), false),
            (Fault::Sql(DriverError::ConnectionClosed.into()), true),
            (Fault::Slow(Duration::from_secs(1)), false),
            (Fault::Store(StoreError::NotLeader), false),
        ] {
            assert_eq!(fault.passes(), again, "{fault:?}");
        }
    }
}
