//! The operator's editor, and the private file it is opened on.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use super::client::Input;
use super::fault::{Fault, FaultCode};
use crate::files::{FileError, make_private_dir, read_private, write_private};

/// What opens where neither VISUAL nor EDITOR says it.
const DEFAULT: &str = "vi";

/// The editor of the environment; the default one only where somebody sits there.
pub fn of_environment(is_terminal: bool) -> Option<OsString> {
    ["VISUAL", "EDITOR"]
        .into_iter()
        .filter_map(std::env::var_os)
        .find(|editor| !editor.is_empty())
        .or_else(|| is_terminal.then(|| DEFAULT.into()))
}

/// A text in a private directory of its own, which stays until it is removed.
pub struct Draft {
    dir: PathBuf,
    name: String,
    path: PathBuf,
}

impl Draft {
    /// A new file for a text about this.
    pub fn new(name: &str, text: &str) -> Result<Self, Fault> {
        let dir = std::env::temp_dir().join(format!("ucron-edit-{}", ulid::Ulid::generate()));
        make_private_dir(&dir).map_err(unusable)?;
        let path = dir.join(format!("{name}.toml"));
        write_private(&path, text.as_bytes()).map_err(unusable)?;
        let name = name.to_owned();
        Ok(Self { dir, name, path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What stands in it now. Some editors make a new file with a mode of their own; the directory is private.
    pub fn read(&self) -> Result<String, Fault> {
        fs::set_permissions(
            &self.path,
            std::os::unix::fs::PermissionsExt::from_mode(0o600),
        )
        .map_err(|error| {
            let path = self.path.display();
            Fault::new(FaultCode::Failed, format!("cannot read `{path}`: {error}"))
        })?;
        read_private(&self.path).map_err(unusable)
    }

    /// Keeps another version of the text beside it.
    pub fn beside(&self, text: &str) -> Result<PathBuf, Fault> {
        let path = self.dir.join(format!("{}.present.toml", self.name));
        write_private(&path, text.as_bytes()).map_err(unusable)?;
        Ok(path)
    }

    /// Nobody wants it any more.
    pub fn remove(&self) {
        // A text left over in a private directory does no harm.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[allow(clippy::needless_pass_by_value, reason = "stands in map_err")]
fn unusable(error: FileError) -> Fault {
    Fault::new(FaultCode::Failed, error.to_string())
}

/// Opens the editor on a file and waits until it is left. An interrupt meanwhile is the editor's.
pub async fn open(input: &Input, file: &Path) -> Result<(), Fault> {
    let editor = input.editor.clone().unwrap_or_else(|| DEFAULT.into());
    let shown = editor.to_string_lossy().into_owned();
    let failed = |why: String| {
        Fault::new(
            FaultCode::Failed,
            format!("the editor `{shown}` failed: {why}"),
        )
        .hint("set VISUAL or EDITOR to another one")
    };
    let file = file.to_owned();
    let guard = input.leave_interrupts();
    let left = tokio::task::spawn_blocking(move || run(&editor, &file)).await;
    drop(guard);
    match left {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(failed(status.to_string())),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// Through the shell, as EDITOR may have arguments of its own (`code --wait`).
#[allow(
    clippy::disallowed_methods,
    reason = "the one place where the client starts a program"
)]
fn run(editor: &OsString, file: &Path) -> std::io::Result<ExitStatus> {
    let mut line = editor.clone();
    line.push(" \"$1\"");
    Command::new("/bin/sh")
        .arg("-c")
        .arg(line)
        .arg("ucron-edit")
        .arg(file)
        .status()
}
