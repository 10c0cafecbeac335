//! Where the key is that seals the authority's private key: in a file outside the state directory, or in a credential
//! of the service manager's. Sealing itself is `auth`'s.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::auth::{RandomError, SealError, SealKey};
use crate::files::{FileError, read_private, write_private};

/// The credential's name.
const CREDENTIAL: &str = "ucron-ca-key";
/// The variable in which the service manager names the directory of credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Why there is no key.
#[derive(Debug, Error)]
pub enum SealingError {
    /// Its file.
    #[error("the sealing key cannot be read or made: {0}")]
    File(#[from] FileError),
    /// It protects nothing there.
    #[error(
        "`{}` is in the state directory: whoever has that has both; name a file elsewhere with `ca_key_file` (--ca-key-file)", .0.display()
    )]
    Inside(PathBuf),
    /// The credential.
    #[error("cannot read the credential `{}`: {source}", path.display())]
    Credential {
        /// Its file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// What is in it.
    #[error("`{}`: {source}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: SealError,
    },
    /// No random numbers.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// The sealing key: of this file, else of the service's credential; none where there is neither.
pub(super) fn key(dir: &Path, file: Option<&Path>) -> Result<Option<SealKey>, SealingError> {
    let Some(file) = file else {
        return credential(std::env::var_os(CREDENTIALS).map(PathBuf::from));
    };
    outside(dir, file)?;
    parse(file, &read_private(file)?).map(Some)
}

/// The same, made where the file is not there.
pub(super) fn key_or_new(dir: &Path, file: Option<&Path>) -> Result<Option<SealKey>, SealingError> {
    if let Some(file) = file.filter(|file| !file.exists()) {
        outside(dir, file)?;
        let made = SealKey::make()?;
        write_private(file, format!("{}\n", made.reveal()).as_bytes())?;
    }
    key(dir, file)
}

/// The service manager guards the directory; the modes in it are its own.
fn credential(dir: Option<PathBuf>) -> Result<Option<SealKey>, SealingError> {
    let path = dir.map(|dir| dir.join(CREDENTIAL));
    let Some(path) = path.filter(|path| path.exists()) else {
        return Ok(None);
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&path, &text).map(Some),
        Err(source) => Err(SealingError::Credential { path, source }),
    }
}

fn parse(path: &Path, text: &str) -> Result<SealKey, SealingError> {
    SealKey::parse(text).map_err(|source| SealingError::Key {
        path: path.to_owned(),
        source,
    })
}

/// Links and `..` are looked through; a file that is to be made has a directory that is there.
fn outside(dir: &Path, file: &Path) -> Result<(), SealingError> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let parent = file.parent().unwrap_or(file);
    let dir = real(dir);
    if real(parent).starts_with(&dir) || real(file).starts_with(&dir) {
        return Err(SealingError::Inside(file.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_outside_the_state_directory() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("state");
        crate::files::make_private_dir(&dir).unwrap();
        let file = home.path().join("ca-key");
        assert!(key(&dir, Some(&file)).is_err());
        let made = key_or_new(&dir, Some(&file)).unwrap();
        assert!(made.is_some());
        assert_eq!(key_or_new(&dir, Some(&file)).unwrap(), made);
        assert_eq!(key(&dir, Some(&file)).unwrap(), made);
        let inside = key_or_new(&dir, Some(&dir.join("ca-key"))).unwrap_err();
        assert!(inside.to_string().contains("is in the state directory"));
        write_private(&file, b"geheim").unwrap();
        let short = key(&dir, Some(&file)).unwrap_err().to_string();
        assert!(short.contains("at least 32"), "{short}");
    }

    #[test]
    fn a_credential_of_the_service_is_a_key() {
        let home = tempfile::tempdir().unwrap();
        let dir = || Some(home.path().to_owned());
        assert_eq!(credential(dir()).unwrap(), None);
        let made = SealKey::make().unwrap();
        std::fs::write(home.path().join(CREDENTIAL), made.reveal()).unwrap();
        assert_eq!(credential(dir()).unwrap(), Some(made));
        assert_eq!(credential(None).unwrap(), None);
    }
}
