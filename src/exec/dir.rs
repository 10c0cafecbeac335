//! The state directory: who may write it, the lock, and where the keeper's files are.
//!
//!     DIR/keeper.lock      held while a keeper lives and while a child is half started
//!     DIR/keeper.sock      where the agent connects
//!     DIR/policy.toml      what may run
//!     DIR/keeper/          the keeper's own: journal, marks, the last agent, records of sub-reapers
//!     DIR/output/XX/       output, a file per attempt
//!
//! DIR may belong to the agent's account while the keeper is root; what root writes and believes therefore lies
//! in directories that are root's own, checked at start.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
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
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&path, flags, Mode::empty())
            .map_err(|e| KeeperError::io("open", &path)(e.into()))?;
        let dir = Self {
            path,
            fd,
            owner: meta.uid(),
            uid,
        };
        for own in [dir.own(), dir.stubs(), dir.output()] {
            make_own(&own, uid)?;
        }
        Ok(dir)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn own(&self) -> PathBuf {
        self.path.join("keeper")
    }

    pub fn journal(&self) -> PathBuf {
        self.own().join("journal")
    }

    /// Damaged journals that were kept aside.
    pub fn kept_aside(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.own())
            .into_iter()
            .flatten()
            .flatten();
        let paths = entries.map(|entry| entry.path().display().to_string());
        let mut kept: Vec<String> = paths.filter(|path| path.contains(".bad-")).collect();
        kept.sort();
        kept
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
        self.path.join("output")
    }

    pub fn policy(&self) -> PathBuf {
        self.path.join("policy.toml")
    }

    /// Takes the lock: at once, or when the last half-started child of a dead keeper has executed.
    pub fn lock(&self) -> Result<OwnedFd, KeeperError> {
        let path = self.path.join("keeper.lock");
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

    /// Listens at the socket; the lock is held, so whatever lies there is left over.
    pub fn listen(&self) -> Result<UnixListener, KeeperError> {
        let path = short(&self.fd);
        let shown = self.path.join("keeper.sock");
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(KeeperError::io("replace", shown)(e));
            }
            _ => {}
        }
        let before = rustix::process::umask(Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(&path);
        rustix::process::umask(before);
        let listener = listener.map_err(KeeperError::io("listen at", &shown))?;
        if self.owner != self.uid {
            std::os::unix::fs::lchown(&path, Some(self.owner), None)
                .map_err(KeeperError::io("give the agent", &shown))?;
        }
        listener
            .set_nonblocking(true)
            .map_err(KeeperError::io("listen at", &shown))?;
        Ok(listener)
    }
}

/// The socket's path through a descriptor of its directory: paths of sockets end at 107 bytes.
fn short(dir: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/keeper.sock", dir.as_raw_fd()))
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

fn make_own(path: &Path, uid: u32) -> Result<(), KeeperError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
            return Err(KeeperError::io("make", path)(e));
        }
        _ => {}
    }
    let meta = std::fs::symlink_metadata(path).map_err(KeeperError::io("look at", path))?;
    check_private(path, &meta, meta.uid() != uid)
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
