//! Privileges of the agent's program. Started as root on a directory of another account, it becomes that account
//! before it speaks to anybody, and leaves one small process behind that is still root: the attendant, which
//! starts the keeper of that one directory when it is asked to, and can do nothing else. It ends with the agent.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::{Mutex, PoisonError};

use nix::unistd::{Gid, Uid, User, getgrouplist, getresgid, getresuid};
use nix::unistd::{setgroups, setresgid, setresuid};

use super::error::KeeperError;
use super::program::KeeperProgram;

/// What the agent asks of its attendant.
const ASK: &str = "start";
/// What the attendant answers when a keeper answers.
const DONE: &str = "done";

/// The agent's end of its attendant.
#[derive(Debug)]
pub(super) struct Attendant(Mutex<Ends>);

#[derive(Debug)]
struct Ends {
    /// Ends when its input does.
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Attendant {
    /// Takes an attendant that was started with both pipes.
    pub fn new(mut child: Child) -> io::Result<Self> {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        let ask = child.stdin.take().ok_or_else(gone)?;
        let answers = child.stdout.take().ok_or_else(gone)?;
        Ok(Self(Mutex::new(Ends {
            child,
            ask,
            answers: BufReader::new(answers),
        })))
    }

    /// Asks for a keeper; returns when one answers.
    pub fn start(&self) -> Result<(), KeeperError> {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = ends.ask(ASK);
        let answer = told.map_err(|e| {
            let ended = ends.child.try_wait().ok().flatten();
            let ended = ended.map(|status| format!(" ({status})"));
            let ended = ended.unwrap_or_default();
            KeeperError::Attendant(format!(
                "the attendant is gone{ended}: {e}; restart the agent as root"
            ))
        })?;
        if answer == DONE {
            Ok(())
        } else {
            Err(KeeperError::Attendant(answer))
        }
    }
}

impl Ends {
    fn ask(&mut self, word: &str) -> io::Result<String> {
        writeln!(self.ask, "{word}")?;
        let mut answer = String::new();
        if self.answers.read_line(&mut answer)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(answer.trim_end().to_owned())
    }
}

/// The attendant's main: a keeper of `dir` for every line that asks for one, until the agent is gone.
pub fn attend(dir: &Path, program: &KeeperProgram) -> io::Result<()> {
    let mut answers = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let answer = match (line?.as_str(), program.start(dir)) {
            (ASK, Ok(())) => DONE.to_owned(),
            (ASK, Err(e)) => e.to_string().replace('\n', " "),
            _ => "this is no word of an agent".to_owned(),
        };
        writeln!(answers, "{answer}")?;
        answers.flush()?;
    }
    Ok(())
}

/// Whether this is root, and `dir` another account's: who speaks for `dir` should not be root then.
pub fn steps_down(dir: &Path) -> bool {
    is_root() && std::fs::metadata(dir).is_ok_and(|meta| meta.uid() != 0)
}

/// Whether this program runs as root.
pub fn is_root() -> bool {
    Uid::effective().is_root()
}

/// Becomes the account to which `dir` belongs, with all its groups, for good; its name.
pub fn become_owner(dir: &Path) -> Result<String, KeeperError> {
    let meta = std::fs::metadata(dir).map_err(KeeperError::io("look at", dir))?;
    let (uid, gid) = (Uid::from_raw(meta.uid()), Gid::from_raw(meta.gid()));
    let fail = || KeeperError::system::<nix::Error>("become the owner of the state directory");
    let user = User::from_uid(uid).map_err(fail())?;
    let (name, gid, groups) = match user {
        Some(user) => {
            let name = std::ffi::CString::new(user.name.as_str()).unwrap_or_default();
            let groups = getgrouplist(&name, user.gid).map_err(fail())?;
            (user.name, user.gid, groups)
        }
        None => (uid.to_string(), gid, vec![gid]),
    };
    setgroups(&groups).map_err(fail())?;
    setresgid(gid, gid, gid).map_err(fail())?;
    setresuid(uid, uid, uid).map_err(fail())?;
    let (uids, gids) = (getresuid().map_err(fail())?, getresgid().map_err(fail())?);
    let dropped = [uids.real, uids.effective, uids.saved] == [uid; 3]
        && [gids.real, gids.effective, gids.saved] == [gid; 3]
        && setresuid(uid, Uid::from_raw(0), uid).is_err();
    if dropped {
        Ok(name)
    } else {
        Err(fail()(nix::Error::EPERM))
    }
}

/// Makes a file this program's standard input: what root may read is opened before it steps down.
pub fn read_instead_of_stdin(path: &Path) -> Result<(), KeeperError> {
    let file = File::open(path).map_err(KeeperError::io("open", path))?;
    rustix::stdio::dup2_stdin(&file).map_err(|e| KeeperError::io("read", path)(e.into()))
}
