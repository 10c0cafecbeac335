//! Moves a whole fleet from one store to another, of whatever kind: table by table, as one consistent reading, and
//! read again to be sure. Knows the tables only as names of columns, which are the same in every database.

use std::fmt;
use std::path::Path;

use thiserror::Error;
use tokio::sync::mpsc;

use super::checksum::of_fields;
use super::sqlite::file;
use super::{Place, Store, StoreError};
use crate::model::{Epoch, UnixMs};

/// Rows that travel together.
pub(super) const PAGE: usize = 500;
/// Pages on their way at most.
const PAGES: usize = 4;

/// What one column of one row holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Cell {
    Null,
    Int(i64),
    Text(String),
}

/// Rows of the table of this number in [`TABLES`].
#[derive(Debug)]
pub(super) struct Page {
    pub(super) table: usize,
    pub(super) rows: Vec<Vec<Cell>>,
}

/// A table that is copied.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static [&'static str],
}

/// All tables but the lease and the schema's own, those first to which others refer.
pub(super) const TABLES: &[Table] = &[
    Table {
        name: "meta",
        columns: &["name", "value"],
    },
    Table {
        name: "fleet_group",
        columns: &["gid", "run_users", "created_at"],
    },
    Table {
        name: "task",
        columns: &[
            "id",
            "gid",
            "task_name",
            "rule",
            "execute",
            "shell",
            "run_user",
            "timeout_ms",
            "processes",
            "enabled",
            "finishing",
            "revision",
            "spec",
            "cursor_at",
            "holder",
            "saved_at",
            "changed_by",
            "changed_at",
            "removed_at",
        ],
    },
    Table {
        name: "agent",
        columns: &[
            "id",
            "name",
            "draining",
            "drain_daemons",
            "boot_id",
            "boot_seen_at",
            "incarnation",
            "version",
            "last_seen_at",
            "created_at",
            "removed_at",
            "dial_address",
        ],
    },
    Table {
        name: "agent_group",
        columns: &["agent", "gid"],
    },
    Table {
        name: "operator",
        columns: &["id", "name", "logged_in", "created_at", "removed_at"],
    },
    Table {
        name: "operator_role",
        columns: &["operator", "gid", "role"],
    },
    Table {
        name: "token",
        columns: &["hash", "purpose", "operator", "gids", "expires_at"],
    },
    Table {
        name: "run",
        columns: &[
            "run_id",
            "run_id_back",
            "task",
            "revision",
            "target",
            "agent",
            "slot",
            "cause",
            "scheduled_at",
            "start_before",
            "outcome",
            "reason",
            "exit_code",
            "exit_signal",
            "pid",
            "attempt",
            "started_at",
            "finished_at",
            "output_bytes",
            "tail",
        ],
    },
    Table {
        name: "answer",
        columns: &["request_id", "operator", "answer", "answered_at"],
    },
    Table {
        name: "audit",
        columns: &[
            "seq",
            "digest",
            "at",
            "operator",
            "address",
            "deed",
            "subject",
            "gid",
            "before_json",
            "after_json",
        ],
    },
];

/// The name in `meta` that says that a copy into this store was not completed.
pub(super) const UNFINISHED: &str = "copy_unfinished";

/// What a table holds, in short: the sum is the same in whatever order the rows come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableSum {
    /// The table.
    pub table: &'static str,
    /// How many rows.
    pub rows: u64,
    /// Sum of the rows' checksums.
    pub checksum: u128,
}

impl fmt::Display for TableSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            table,
            rows,
            checksum,
        } = self;
        write!(f, "{table:<14} {rows:>10}  {checksum:032x}")
    }
}

/// Why a store was not copied.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CopyError {
    /// One of the two stores.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something is in the target already.
    #[error(
        "`{0}` holds a fleet already, and nothing was changed there; name an empty database or a new file, or give --replace to delete what it holds"
    )]
    Occupied(Place),
    /// What was read again is something else than what was written.
    #[error(
        "table `{table}` of `{place}` differs from its source after the copy ({found} instead of {wanted} rows, or the same number with other content); it is marked as unfinished, copy again with --replace"
    )]
    Differs {
        /// The target.
        place: Place,
        /// The table.
        table: &'static str,
        /// Rows there.
        found: u64,
        /// Rows of the source.
        wanted: u64,
    },
}

/// Sums of tables, as pages go by.
struct Sums(Vec<TableSum>);

impl Sums {
    fn new() -> Self {
        let empty = |table: &Table| TableSum {
            table: table.name,
            rows: 0,
            checksum: 0,
        };
        Self(TABLES.iter().map(empty).collect())
    }

    /// The mark is of the copy, not of the fleet.
    fn take_in(&mut self, page: &mut Page) {
        page.rows
            .retain(|row| page.table != 0 || row[0] != Cell::Text(UNFINISHED.to_owned()));
        let sum = &mut self.0[page.table];
        for row in &page.rows {
            sum.rows += 1;
            sum.checksum = sum.checksum.wrapping_add(checksum(row));
        }
    }
}

fn checksum(row: &[Cell]) -> u128 {
    let texts: Vec<Option<String>> = row
        .iter()
        .map(|cell| match cell {
            Cell::Null => None,
            Cell::Int(number) => Some(format!("i{number}")),
            Cell::Text(text) => Some(format!("t{text}")),
        })
        .collect();
    let bytes = of_fields(texts.iter().map(Option::as_deref));
    let (half, _) = bytes.split_at(16);
    half.iter()
        .fold(0, |sum, byte| sum << 8 | u128::from(*byte))
}

/// What to do with what the target holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CopyHow {
    /// Delete it; otherwise it must hold nothing.
    pub replace: bool,
    /// Added to the source's epoch: more than nothing where agents may have seen a later epoch than the source.
    pub epochs: u64,
}

impl Store {
    /// Copies everything into `to`, which is empty, or emptied first, and reads it again: what each table holds.
    /// Both stores may be in use by nobody else but for reading; while it goes on `to` is marked as unfinished, and
    /// no center runs on it.
    pub async fn copy_to(&self, to: &Store, how: CopyHow) -> Result<Vec<TableSum>, CopyError> {
        let unfinished = to.is_unfinished().await?;
        if !(how.replace || unfinished || to.is_empty().await?) {
            return Err(CopyError::Occupied(to.place()));
        }
        to.set_meta(UNFINISHED, "1").await?;
        to.clear(UNFINISHED).await?;
        let wanted = self.pour(Some(to)).await?;
        let found = to.pour(None).await?;
        for (wanted, found) in wanted.0.iter().zip(&found.0) {
            if wanted != found {
                return Err(CopyError::Differs {
                    place: to.place(),
                    table: wanted.table,
                    found: found.rows,
                    wanted: wanted.rows,
                });
            }
        }
        let epoch = self.epoch().await?;
        to.raise_epoch_to(Epoch(epoch.0.saturating_add(how.epochs)))
            .await?;
        to.remove_meta(UNFINISHED).await?;
        Ok(wanted.0)
    }

    /// Reads every table, as of one instant, into `to` if given.
    async fn pour(&self, to: Option<&Store>) -> Result<Sums, StoreError> {
        let (pages, mut arriving) = mpsc::channel(PAGES);
        let write = async {
            let mut sums = Sums::new();
            while let Some(mut page) = arriving.recv().await {
                sums.take_in(&mut page);
                if let Some(to) = to {
                    to.write_page(page).await?;
                }
            }
            // Dropped on an early return, which ends the reading too.
            drop(arriving);
            Ok(sums)
        };
        let (read, sums): (_, Result<Sums, StoreError>) =
            tokio::join!(self.read_pages(pages), write);
        // Where writing failed, reading only failed to hand on.
        let sums = sums?;
        read?;
        Ok(sums)
    }

    /// Whether a copy into this store was begun and not completed.
    pub async fn is_unfinished(&self) -> Result<bool, StoreError> {
        Ok(self.meta(UNFINISHED).await?.is_some())
    }

    /// Copies the tables into a SQLite file beside `path`, then renames it.
    pub(super) async fn backup_tables(&self, path: &Path, now: UnixMs) -> Result<(), StoreError> {
        let part = file::with_suffix(path, ".part");
        file::remove_store(&part)?;
        let to = Store::open_sqlite(&part, now)?;
        let how = CopyHow {
            replace: false,
            epochs: 0,
        };
        let copied = self.copy_to(&to, how).await;
        to.close().await;
        match copied {
            Ok(_) => file::rename_store(&part, path),
            Err(CopyError::Store(fault)) => Err(fault),
            Err(fault) => Err(StoreError::Corrupt {
                cause: fault.to_string(),
            }),
        }
    }

    /// Puts a backup in the place of what `place` holds; the backup itself stays as it is. A SQLite file that is
    /// there is kept as `FILE.before-restore`; what a database holds is deleted if `replace` says so. `beside` is a
    /// file that does not count, for as long as it takes.
    pub async fn restore(
        backup: &Path,
        place: &Place,
        beside: &Path,
        replace: bool,
        now: UnixMs,
    ) -> Result<(), CopyError> {
        file::remove_store(beside)?;
        file::copy(backup, beside)?;
        let put = match Store::open_sqlite(beside, now) {
            Ok(restored) => {
                let put = restored.put_in_place_of(place, replace, now).await;
                restored.close().await;
                put
            }
            Err(fault) => Err(fault.into()),
        };
        match place {
            Place::Sqlite(path) if put.is_ok() => {
                let old = file::with_suffix(path, ".before-restore");
                if path.exists() {
                    file::rename_store(path, &old)?;
                }
                file::rename_store(beside, path)?;
            }
            _ => file::remove_store(beside)?,
        }
        put
    }

    async fn put_in_place_of(
        &self,
        place: &Place,
        replace: bool,
        now: UnixMs,
    ) -> Result<(), CopyError> {
        let how = CopyHow {
            replace,
            epochs: EPOCHS,
        };
        if let Place::Mysql(_) = place {
            let to = Store::open(place, now).await?;
            to.take_lead(RESTORE).await?;
            let copied = self.copy_to(&to, how).await;
            // The copy has raised the epoch: the lead that is given back is a new one.
            let lead = to.take_lead(RESTORE).await?;
            to.release(&lead).await?;
            to.close().await;
            return copied.map(drop);
        }
        let epoch = self.epoch().await?;
        let above = Epoch(epoch.0.saturating_add(how.epochs));
        Ok(self.raise_epoch_to(above).await?)
    }
}

/// Who has the lead of a database while a backup is put into it.
const RESTORE: &str = "restore";
/// Epochs between a backup and what is made of it: agents have seen more than the backup knows, and refuse what
/// is below. No center takes the lead so often between two backups.
const EPOCHS: u64 = 1_000_000;
