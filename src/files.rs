//! Private files: written whole or not at all, 0600 in directories of 0700 under any umask, and refused when
//! others could read or write them. Anyone with a shell may import it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a private file or directory cannot be used.
#[derive(Debug, Error)]
pub enum FileError {
    /// The system refused.
    #[error("cannot {attempt} `{}`: {source}", path.display())]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Others have access.
    #[error(
        "`{}` is open to others (mode {found:04o}); run `chmod {wanted:o} {}`",
        path.display(), path.display()
    )]
    Wide {
        /// The file or directory.
        path: PathBuf,
        /// Its mode.
        found: u32,
        /// The mode it must have.
        wanted: u32,
    },
}

impl FileError {
    /// Whether the file is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

fn fault(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError::Io {
        attempt,
        path,
        source,
    }
}

/// Makes a directory (and its parents) that only its owner can enter. One that is there must be so already.
pub fn make_private_dir(path: &Path) -> Result<(), FileError> {
    if path.is_dir() {
        return check_private(path);
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(fault("make", path))?;
    // A umask of 0777 leaves nothing of the mode asked for.
    fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(fault("chmod", path))
}

/// Refuses a file or directory to which anyone but its owner has access.
pub fn check_private(path: &Path) -> Result<(), FileError> {
    let meta = fs::metadata(path).map_err(fault("look at", path))?;
    let found = meta.permissions().mode() & 0o7777;
    let others = found & 0o077;
    if others == 0 {
        return Ok(());
    }
    Err(FileError::Wide {
        path: path.to_owned(),
        found,
        wanted: if meta.is_dir() { 0o700 } else { 0o600 },
    })
}

/// Reads a private file whole.
pub fn read_private(path: &Path) -> Result<String, FileError> {
    check_private(path)?;
    fs::read_to_string(path).map_err(fault("read", path))
}

/// Writes a private file so that after a crash either the old or the new text is there, whole: a new file
/// beside it, synced, then renamed into place.
pub fn write_private(path: &Path, text: &[u8]) -> Result<(), FileError> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let beside = PathBuf::from(name);
    let written = write_synced(&beside, text).and_then(|()| {
        fs::rename(&beside, path).map_err(fault("rename a new file to", path))?;
        sync_dir(path)
    });
    if written.is_err() {
        // The first error is the one to tell; a file left over is replaced the next time.
        let _ = fs::remove_file(&beside);
    }
    written
}

fn write_synced(path: &Path, text: &[u8]) -> Result<(), FileError> {
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(fault("make", path))?;
    file.set_permissions(Permissions::from_mode(0o600))
        .map_err(fault("chmod", path))?;
    file.write_all(text).map_err(fault("write", path))?;
    file.sync_all().map_err(fault("sync", path))
}

fn sync_dir(path: &Path) -> Result<(), FileError> {
    let dir = match path.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    };
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(fault("sync", dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_private_file_is_written_narrow_and_refused_when_wide() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("a/b");
        make_private_dir(&dir).unwrap();
        assert_eq!(mode(&dir), 0o700);
        let path = dir.join("key");
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(read_private(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);

        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let text = read_private(&path).unwrap_err().to_string();
        let shown = path.display();
        assert_eq!(
            text,
            format!("`{shown}` is open to others (mode 0640); run `chmod 600 {shown}`")
        );
        fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(
            make_private_dir(&dir),
            Err(FileError::Wide { .. })
        ));
    }

    #[test]
    fn a_missing_file_is_told_apart() {
        let home = tempfile::tempdir().unwrap();
        assert!(
            read_private(&home.path().join("x"))
                .unwrap_err()
                .is_missing()
        );
    }
}
