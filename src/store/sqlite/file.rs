//! The database file: made with mode 0600 under any umask, refused where others may read it, opened with the
//! settings that durability rests on, copied by the backup interface.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::store::StoreError;

/// Only its owner reads and writes a store.
const MODE: u32 = 0o600;
/// Longest wait for another program's lock; short, because the center must go on telling that it waits.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// Statements kept prepared: more than there are kinds of writes and of queries.
const STATEMENTS: usize = 128;

/// Makes the file if there is none and checks that it is only its owner's.
pub(super) fn prepare(path: &Path) -> Result<(), StoreError> {
    match create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => refuse_exposed(path),
        made => made.map(drop).map_err(|e| cannot_open(path, &e)),
    }
}

/// Makes a new file; its mode is set again because the umask may have taken bits away.
fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(MODE))?;
    Ok(file)
}

fn refuse_exposed(path: &Path) -> Result<(), StoreError> {
    let meta = fs::metadata(path).map_err(|e| cannot_open(path, &e))?;
    let mode = meta.permissions().mode() & 0o7777;
    if mode & !0o700 == 0 {
        return Ok(());
    }
    Err(StoreError::Exposed {
        path: path.to_owned(),
        mode,
    })
}

fn cannot_open(path: &Path, cause: &dyn std::fmt::Display) -> StoreError {
    StoreError::Open {
        path: path.to_owned(),
        cause: cause.to_string(),
    }
}

/// The connection that writes.
pub(super) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = connect(path, flags)?;
    // The answer is the mode that holds: a file system without shared memory keeps the old one.
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(cannot_open(
            path,
            &format!(
                "its file system allows no write-ahead log (journal mode `{mode}`); use a local one"
            ),
        ));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Pages after which a commit also moves the log into the file: rarer than by default, so that most pages
    // that a burst writes again and again are moved once.
    connection.pragma_update(None, "wal_autocheckpoint", 4096)?;
    // After a burst the log is cut back to this.
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    Ok(connection)
}

/// A connection that only reads, beside the writer.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    connect(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let connection = Connection::open_with_flags(path, flags).map_err(|e| cannot_open(path, &e))?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // Negative: kibibytes. Holds the ends of all indexes that are written, and a page of history.
    connection.pragma_update(None, "cache_size", -16 * 1024)?;
    Ok(connection)
}

/// Copies the database at `from`, in use or not, to `to`: complete and on disk, or not there.
pub(in crate::store) fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let part = with_suffix(to, ".part");
    remove(&part)?;
    create(&part).map_err(|e| cannot_open(&part, &e))?;
    copy_pages(from, &part)?;
    File::open(&part)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(&part, to))
        .and_then(|()| sync_folder(to))
        .map_err(|e| cannot_open(to, &e))
}

fn copy_pages(from: &Path, to: &Path) -> Result<(), StoreError> {
    let source = open_reader(from)?;
    let mut target = connect(
        to,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    let backup = Backup::new(&source, &mut target)?;
    // All pages in one step are one read transaction: writers go on, and nothing begins anew.
    match backup.step(-1)? {
        StepResult::Done => Ok(()),
        _ => Err(StoreError::Busy {
            cause: format!("`{}` could not be copied", from.display()),
        }),
    }
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(cannot_open(path, &e)),
        _ => Ok(()),
    }
}

/// Removes a database that nobody has open, where there is one.
pub(in crate::store) fn remove_store(path: &Path) -> Result<(), StoreError> {
    for suffix in ["-wal", "-shm", ""] {
        remove(&with_suffix(path, suffix))?;
    }
    Ok(())
}

/// Renames a database that nobody has open; one that is there is replaced.
pub(in crate::store) fn rename_store(from: &Path, to: &Path) -> Result<(), StoreError> {
    // One that was not closed well has the rest of it in its log.
    if with_suffix(from, "-wal").exists() {
        open_writer(from)?.close().map_err(|(_, e)| e)?;
    }
    for suffix in ["-wal", "-shm"] {
        remove(&with_suffix(to, suffix))?;
    }
    File::open(from)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(from, to))
        .and_then(|()| sync_folder(to))
        .map_err(|e| cannot_open(to, &e))
}

fn sync_folder(of: &Path) -> io::Result<()> {
    match of.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// `path` with `suffix` after its whole name.
pub(in crate::store) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
