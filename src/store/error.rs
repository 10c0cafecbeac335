//! What the store cannot do, in the words of operators. Independent of the database: the driver's own words
//! are kept as text.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// Why the store did not do what was asked. Nothing of a refused batch is written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// The guard is not of the present epoch and holder.
    #[error("another center has taken the lead; nothing was written")]
    NotLeader,
    /// Another center has the lead and its lease has not run out.
    #[error("another center ({holder}) has the lead of this store for another {} ms", left.as_millis())]
    Held {
        /// Who has it.
        holder: String,
        /// For how long, unless it renews.
        left: Duration,
    },
    /// The lease ran out before it was renewed, and no other center took it; it can be renewed.
    #[error("the lease ran out while the store did not answer; nothing was written")]
    Lapsed,
    /// The answer to a commit was lost; the batch is written whole or not at all.
    #[error(
        "the connection to the store was lost in a commit: {cause}; whether it was written is seen when the store answers again"
    )]
    Unknown {
        /// What was lost.
        cause: String,
    },
    /// The database server does not answer.
    #[error("cannot reach the database server `{server}`: {cause}")]
    Unreachable {
        /// Host and port.
        server: String,
        /// Why not.
        cause: String,
    },
    /// The server refuses the account.
    #[error(
        "the database server `{server}` denied access: {cause}; look at user, password (`store_password_file`) and grants"
    )]
    Denied {
        /// Host and port.
        server: String,
        /// What it said.
        cause: String,
    },
    /// The server has no such database.
    #[error(
        "the database server `{server}` has no database `{name}`, or none for this user; make it with `CREATE DATABASE {name} CHARACTER SET utf8mb4` and grant the user all on it"
    )]
    NoDatabase {
        /// Host and port.
        server: String,
        /// The database.
        name: String,
    },
    /// The server's version is too low.
    #[error(
        "the database server `{server}` is of version `{found}`; ucron needs MariaDB 10.6 or MySQL 8.0, or newer"
    )]
    Old {
        /// Host and port.
        server: String,
        /// Its version.
        found: String,
    },
    /// Another program holds the database; the same batch may be tried again.
    #[error(
        "the store is locked by another program: {cause}; nothing was written, it can be tried again"
    )]
    Busy {
        /// What the database said.
        cause: String,
    },
    /// Disk full, read-only, input/output error; the same batch may be tried again.
    #[error(
        "the store cannot be written: {cause}; nothing new is planned until it can (look at free space, and whether it is read-only)"
    )]
    NotWritable {
        /// What the database said.
        cause: String,
    },
    /// The database, or a row in it, is not what it must be.
    #[error("the store is damaged: {cause}; stop the center, keep a copy and restore a backup")]
    Corrupt {
        /// What is wrong.
        cause: String,
    },
    /// The schema is not one that this program works with.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The change contradicts what is stored: a name taken, a run of an unknown task.
    #[error("the store refused a change that contradicts what it holds: {cause}")]
    Refused {
        /// The rule that was broken.
        cause: String,
    },
    /// The file cannot be made or opened.
    #[error("cannot open the store `{}`: {cause}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// Others may read the file.
    #[error("the store `{}` has mode {mode:04o}, others may read it; `chmod 600` it", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A statement failed for a reason that is none of the above: a fault of ucron.
    #[error(
        "the store could not carry out a statement: {cause}; this is a fault of ucron, report it"
    )]
    Statement {
        /// What the database said.
        cause: String,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether it may pass by itself, so that trying again is worth while.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Unknown { .. }
                | Self::Busy { .. }
                | Self::NotWritable { .. }
        )
    }
}

/// Why a schema is not worked with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SchemaError {
    /// Made by a later program.
    #[error("the store `{}` has schema version {found}, this program knows versions up to {known}; upgrade ucron-center, or restore the copy made before the upgrade", path.display())]
    Newer {
        /// The file, or the database's URL.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest known.
        known: i64,
    },
    /// A migration was applied whose text was another.
    #[error("schema version {version} of the store `{}` was made by another text than this program's; it is not of a released ucron-center", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// The version.
        version: i64,
    },
    /// A database of something else.
    #[error("`{}` is a database, but not a store of ucron; name another, new or empty", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
}
