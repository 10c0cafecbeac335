//! The state directory: who may write it, the lock, and where the keeper's files are.
//!
//!     DIR/keeper.lock      held while a keeper lives and while a child is half started; DIR/keeper/lock in an agent's DIR
//!     DIR/keeper.sock      where the agent connects
//!     DIR/policy.toml      what may run
//!     DIR/keeper/          the keeper's own: journal, marks, the last agent, records of sub-reapers
//!     DIR/output/XX/       output, a file per attempt
//!
//! DIR may belong to the agent's account while the keeper is root; what root writes and believes therefore lies
//! in directories that are root's own, checked at start and from then on reached through their descriptors: the
//! agent's account can give their names to something else, and root follows no name in a directory of others.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};

use super::error::KeeperError;
use super::supervise::Key;
use super::tree::{has_ended, open_pid};

/// How long a new keeper waits for half-started children of the last one.
const LOCK_WAIT: Duration = Duration::from_secs(30);

/// An opened and checked state directory.
#[derive(Debug)]
pub(super) struct StateDir {
    path: PathBuf,
    fd: OwnedFd,
    /// `DIR/keeper` and `DIR/output`, which are this keeper's.
    own: OwnedFd,
    output: OwnedFd,
    /// Owner of DIR: the agent's account.
    pub owner: u32,
    /// Who this keeper is.
    pub uid: u32,
}

impl StateDir {
    /// Checks DIR and makes the keeper's own directories in it.
    pub fn open(path: &Path) -> Result<Self, KeeperError> {
        let path = path.canonicalize().map_err(KeeperError::io("open", path))?;
        let uid = rustix::process::geteuid().as_raw();
        let meta = std::fs::metadata(&path).map_err(KeeperError::io("look at", &path))?;
        let strange = uid != 0 && meta.uid() != uid;
        check_private(&path, &meta, strange)?;
        warn_of_parents(&path);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&path, flags, Mode::empty())
            .map_err(|e| KeeperError::io("open", &path)(e.into()))?;
        let dir = Self {
            own: open_own(&fd, &path, "keeper", uid)?,
            output: open_own(&fd, &path, "output", uid)?,
            path,
            fd,
            owner: meta.uid(),
            uid,
        };
        drop(open_own(&dir.own, &dir.path.join("keeper"), "stubs", uid)?);
        Ok(dir)
    }

    /// Whether DIR is the agent's and not this keeper's.
    pub fn is_agents(&self) -> bool {
        self.owner != self.uid
    }

    /// A directory of this keeper's: by its name where nobody else can give that to another.
    fn room(&self, name: &str, fd: &OwnedFd) -> PathBuf {
        if self.is_agents() {
            through(fd)
        } else {
            self.path.join(name)
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn own(&self) -> PathBuf {
        self.room("keeper", &self.own)
    }

    pub fn journal(&self) -> PathBuf {
        self.own().join("journal")
    }

    pub fn marks(&self) -> PathBuf {
        self.own().join("started")
    }

    /// Who the last agent was.
    pub fn agent(&self) -> PathBuf {
        self.own().join("agent")
    }

    pub fn stubs(&self) -> PathBuf {
        self.own().join("stubs")
    }

    pub fn output(&self) -> PathBuf {
        self.room("output", &self.output)
    }

    /// What a keeper of root's says in a directory of the agent's: by name, since the descriptors end here.
    pub fn log(&self) -> PathBuf {
        self.own().join("log")
    }

    pub fn policy(&self) -> PathBuf {
        self.path.join("policy.toml")
    }

    /// Takes the lock: at once, or when the last half-started child of a dead keeper has executed.
    pub fn lock(&self) -> Result<OwnedFd, KeeperError> {
        let path = if self.is_agents() {
            self.own().join("lock")
        } else {
            self.path.join("keeper.lock")
        };
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(KeeperError::io("open", &path))?;
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file.into()),
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(e) => return Err(KeeperError::io("lock", &path)(e.into())),
            }
            if connect(&self.path).is_ok() {
                return Err(KeeperError::Running(self.path.clone()));
            }
            if Instant::now() > deadline {
                return Err(KeeperError::Locked(path));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Listens at the socket; the lock is held, so whatever lies there is left over. It is made in a directory of
    /// this keeper's and moved to its place when it is the agent's: no name in DIR is given away, only an inode.
    pub fn listen(&self) -> Result<UnixListener, KeeperError> {
        let shown = self.path.join("keeper.sock");
        let fail = |what| KeeperError::io(what, &shown);
        let made = through(&self.own).join("sock");
        match std::fs::remove_file(&made) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(fail("replace")(e)),
            _ => {}
        }
        let before = rustix::process::umask(Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(&made);
        rustix::process::umask(before);
        let listener = listener.map_err(fail("listen at"))?;
        if self.is_agents() {
            std::os::unix::fs::lchown(&made, Some(self.owner), None)
                .map_err(fail("give the agent"))?;
        }
        rustix::fs::renameat(&self.own, "sock", &self.fd, "keeper.sock")
            .map_err(|e| fail("replace")(e.into()))?;
        listener.set_nonblocking(true).map_err(fail("listen at"))?;
        Ok(listener)
    }
}

/// A directory through its descriptor: short, and the same whatever becomes of its name.
fn through(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// The socket's path through a descriptor of its directory: paths of sockets end at 107 bytes.
fn short(dir: &OwnedFd) -> PathBuf {
    through(dir).join("keeper.sock")
}

/// Connects to the keeper of DIR, however long the path.
pub(super) fn connect(dir: &Path) -> io::Result<UnixStream> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(dir, flags, Mode::empty())?;
    let stream = UnixStream::connect(short(&fd))?;
    // For an instant a half-started child holds a dead keeper's socket open, and it would answer for ever.
    let keeper = rustix::net::sockopt::socket_peercred(&stream)?.pid;
    if open_pid(keeper.as_raw_pid()).is_ok_and(|pidfd| !has_ended(&pidfd)) {
        Ok(stream)
    } else {
        Err(io::ErrorKind::ConnectionRefused.into())
    }
}

fn check_private(path: &Path, meta: &Metadata, strange: bool) -> Result<(), KeeperError> {
    let refuse = |fault: String, remedy| {
        Err(KeeperError::Unsafe {
            path: path.to_owned(),
            fault,
            remedy,
        })
    };
    if !meta.is_dir() {
        return refuse("is not a directory".to_owned(), "name the state directory");
    }
    if strange {
        return refuse(
            format!("belongs to user {}", meta.uid()),
            "it must belong to the account that runs this program",
        );
    }
    if meta.mode() & 0o077 != 0 {
        return refuse(
            format!("is open to others (mode {:o})", meta.mode() & 0o777),
            "`chmod 0700` it",
        );
    }
    Ok(())
}

/// Makes a directory of the keeper's own, or takes the one that is there, never through a link.
fn open_own(parent: &OwnedFd, shown: &Path, name: &str, uid: u32) -> Result<OwnedFd, KeeperError> {
    let path = shown.join(name);
    match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
        Err(e) if e != rustix::io::Errno::EXIST => {
            return Err(KeeperError::io("make", path)(e.into()));
        }
        _ => {}
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(parent, name, flags, Mode::empty())
        .map_err(|e| KeeperError::io("open", &path)(e.into()))?;
    let meta = std::fs::metadata(through(&fd)).map_err(KeeperError::io("look at", &path))?;
    check_private(&path, &meta, meta.uid() != uid)?;
    Ok(fd)
}

/// Whether a state directory's files are believed: where it is this program's own.
pub(super) fn believes(path: &Path) -> bool {
    let own = rustix::process::geteuid().as_raw();
    std::fs::metadata(path).is_ok_and(|meta| meta.uid() == own)
}

/// Tells of a directory above DIR in which everybody could put another DIR in its place.
fn warn_of_parents(path: &Path) {
    let open =
        |parent: &&Path| std::fs::metadata(parent).is_ok_and(|meta| meta.mode() & 0o1002 == 0o002);
    if let Some(parent) = path.ancestors().skip(1).find(open) {
        tracing::warn!(
            "everybody can write `{}` and give the state directory's name to another; `chmod o-w` it",
            parent.display()
        );
    }
}

/// `XX/RUNID.ATTEMPT` under `base`, `XX` the id's last characters: directories stay small.
pub(super) fn output_path(base: &Path, key: &Key) -> PathBuf {
    let id = key.0.as_str();
    base.join(&id[id.len() - 2..]).join(file_name(key))
}

/// `RUNID.ATTEMPT`.
pub(super) fn file_name(key: &Key) -> String {
    format!("{}.{}", key.0, key.1)
}

/// Reads `RUNID.ATTEMPT`.
pub(super) fn parse_file_name(name: &str) -> Option<Key> {
    let (run_id, attempt) = name.split_once('.')?;
    Some((run_id.parse().ok()?, attempt.parse().ok()?))
}

/// Opens a file of the keeper's own for appending.
pub(super) fn open_append(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .read(true)
        .create(true)
        .mode(mode)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}
