//! Starting this executable again: as center, agent, keeper or client. The one place of `ucron dev` that makes
//! processes.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// This executable, with these first arguments; also where another was put in its place meanwhile.
#[allow(
    clippy::disallowed_methods,
    reason = "the one place where `ucron dev` starts programs"
)]
fn own<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> io::Result<Command> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0(std::env::current_exe()?).args(args);
    command.stdin(Stdio::null());
    Ok(command)
}

/// Starts a program that goes on in the background, out of reach of the terminal's signals, its words in a file.
pub fn background(args: &[impl AsRef<OsStr>], log: &Path) -> io::Result<Child> {
    let words = File::options().append(true).create(true).open(log)?;
    let mut command = own(args)?;
    command
        .stdout(words.try_clone()?)
        .stderr(words)
        .process_group(0)
        .spawn()
}

/// Runs a program to its end, with these words on its standard input; what it wrote to standard output.
pub fn run(args: &[impl AsRef<OsStr>], input: &str) -> io::Result<String> {
    let mut command = own(args)?;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        io::Write::write_all(&mut stdin, input.as_bytes())?;
    }
    let done = child.wait_with_output()?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let words: Vec<_> = args
        .iter()
        .map(|arg| arg.as_ref().to_string_lossy())
        .collect();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    Err(io::Error::other(format!(
        "`ucron {}` failed: {}",
        words.join(" "),
        said.trim()
    )))
}

/// Starts the client on this terminal, or on whatever standard output is.
pub fn foreground(args: &[impl AsRef<OsStr>]) -> io::Result<Child> {
    own(args)?.stdin(Stdio::inherit()).spawn()
}
