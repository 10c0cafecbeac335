//! An append-only file of checksummed JSON lines, for the keeper's records and the agent's. A torn tail (a last
//! line without its end) is cut off with a log line. Lines before it that cannot be read are damage: the whole file
//! is kept as `NAME.bad-TIME`, loudly, and nothing can be appended until the owner has rewritten the journal from
//! what it still believes. Each readable line is true by itself; what the damaged ones said nobody knows, so the
//! owner must not take what follows for complete. The journal grows until its owner rewrites it: a new file,
//! synced, renamed into place.
//!
//! A line is `CHECKSUM JSON\n`, the checksum 16 hexadecimal digits (FNV-1a over the JSON).

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tracing::{error, warn};

use super::failpoint::{self, Point};
use crate::clock;

/// Why a journal cannot be used.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The file system refused.
    #[error("cannot {what} the journal `{}`: {source}", path.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds lines that cannot be read and was not made anew yet.
    #[error("the journal `{}` is damaged and must be made anew first", .0.display())]
    Damaged(PathBuf),
    /// A record that JSON cannot hold.
    #[error("cannot write a record of the journal `{}` as JSON: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

/// FNV-1a, 64 bits: finds what a crash or a bad disk does; it is no defence against forgers.
pub const fn checksum(bytes: &[u8]) -> u64 {
    let mut sum = 0xcbf2_9ce4_8422_2325u64;
    let mut at = 0;
    while at < bytes.len() {
        sum = (sum ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    sum
}

/// What a journal held when it was opened.
#[derive(Debug)]
pub struct Contents<T> {
    /// The records that can be read, oldest first.
    pub records: Vec<T>,
    /// Some that came before others cannot.
    pub damage: Option<Damage>,
}

/// Lines of a journal that nobody can read any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// The journal as it was found.
    pub kept: PathBuf,
    /// How many lines cannot be read.
    pub lines: usize,
}

/// An open journal of records `T`.
#[derive(Debug)]
pub struct Journal<T> {
    path: PathBuf,
    /// Shared with who syncs it: a host without descriptors must not hold results back.
    file: Arc<File>,
    len: u64,
    /// Whether it holds lines that cannot be read.
    damaged: bool,
    /// Whether something that was not to be there may stand behind `len`.
    torn: bool,
    records: PhantomData<fn(T)>,
}

impl<T: Serialize + DeserializeOwned> Journal<T> {
    /// Opens or makes the journal (mode 0600) and reads its records.
    pub fn open(path: &Path) -> Result<(Self, Contents<T>), JournalError> {
        let fail = |what| io_error(what, path);
        let mut file = open_file(path, OpenOptions::new().read(true)).map_err(fail("open"))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(fail("read"))?;
        let whole = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let (records, lines) = parse(&bytes[..whole]);
        let damage = match lines {
            0 => None,
            _ => Some(keep_aside(path, lines).map_err(fail("keep aside"))?),
        };
        if damage.is_none() && whole < bytes.len() {
            let torn = bytes.len() - whole;
            warn!(path = %path.display(), bytes = torn, "cut a torn record off the journal");
            file.set_len(whole as u64).map_err(fail("cut"))?;
            file.sync_all().map_err(fail("sync"))?;
        }
        let journal = Self {
            path: path.to_owned(),
            file: Arc::new(file),
            len: whole as u64,
            damaged: damage.is_some(),
            torn: false,
            records: PhantomData,
        };
        Ok((journal, Contents { records, damage }))
    }

    /// Writes records behind the others, in one write; they outlive this process, not yet the host. On an error
    /// none of them is in the journal, once [`Self::mend`] has returned well.
    pub fn append(&mut self, records: &[T]) -> Result<(), JournalError> {
        if self.damaged {
            return Err(JournalError::Damaged(self.path.clone()));
        }
        self.mend()?;
        let lines = self.lines(records)?;
        if let Err(source) = (&*self.file).write_all(&lines) {
            // Half a line would hide everything behind it.
            self.torn = true;
            if let Err(e) = self.mend() {
                error!(error = %e, "cannot take back half a record");
            }
            return Err(io_error("append to", &self.path)(source));
        }
        self.len += lines.len() as u64;
        Ok(())
    }

    /// Takes back everything appended since the journal had this size, because it could not be synced: what the next
    /// life of its owner reads must be what this one was told.
    pub fn take_back(&mut self, size: u64) -> Result<(), JournalError> {
        self.len = self.len.min(size);
        self.torn = true;
        self.mend()
    }

    /// Makes certain that nothing of a failed append is left; nothing to do where none failed.
    pub fn mend(&mut self) -> Result<(), JournalError> {
        if self.torn {
            let found = self.file.metadata();
            let found = found.map_err(io_error("measure", &self.path))?.len();
            // A file system that has become read-only took nothing, and lets nothing be cut.
            if found != self.len {
                let cut = self.file.set_len(self.len);
                cut.map_err(io_error("cut", &self.path))?;
            }
            self.torn = false;
        }
        Ok(())
    }

    /// Returns when everything appended is on the disk.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.file.sync_data().map_err(io_error("sync", &self.path))
    }

    /// Replaces all records by these: synced, then renamed into place, so a crash leaves the one or the other.
    pub fn rewrite(&mut self, records: &[T]) -> Result<(), JournalError> {
        let lines = self.lines(records)?;
        let new = self.path.with_extension("new");
        let fail = |what| io_error(what, &self.path);
        let mut file = open_file(&new, OpenOptions::new().read(true)).map_err(fail("make anew"))?;
        file.set_len(0).map_err(fail("make anew"))?;
        file.write_all(&lines).map_err(fail("make anew"))?;
        file.sync_all().map_err(fail("sync"))?;
        failpoint::reach(Point::JournalMadeAnew);
        std::fs::rename(&new, &self.path).map_err(fail("rename"))?;
        if let Some(dir) = self.path.parent() {
            File::open(dir)
                .and_then(|dir| dir.sync_all())
                .map_err(fail("sync the directory of"))?;
        }
        self.len = lines.len() as u64;
        self.torn = false;
        self.file = Arc::new(file);
        self.damaged = false;
        Ok(())
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.len
    }

    /// The file as it is now, to sync it from another thread.
    pub fn handle(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    fn lines(&self, records: &[T]) -> Result<Vec<u8>, JournalError> {
        let mut lines = Vec::new();
        for record in records {
            let json = serde_json::to_string(record).map_err(|source| JournalError::Json {
                path: self.path.clone(),
                source,
            })?;
            let sum = checksum(json.as_bytes());
            lines.extend_from_slice(format!("{sum:016x} {json}\n").as_bytes());
        }
        Ok(lines)
    }
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Io { what, path, source }
}

fn open_file(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options
        .write(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_APPEND | libc::O_NOFOLLOW)
        .open(path)
}

/// The records of whole lines, and how many lines are none.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> (Vec<T>, usize) {
    let mut records = Vec::new();
    let mut unreadable = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match parse_line(&line[..line.len() - 1]) {
            Some(record) => records.push(record),
            None => unreadable += 1,
        }
    }
    (records, unreadable)
}

fn parse_line<T: DeserializeOwned>(line: &[u8]) -> Option<T> {
    let line = std::str::from_utf8(line).ok()?;
    let (sum, json) = line.split_once(' ')?;
    let sum = u64::from_str_radix(sum, 16).ok()?;
    if sum != checksum(json.as_bytes()) {
        return None;
    }
    serde_json::from_str(json).ok()
}

/// Gives the file a second name under which it stays when the journal is made anew.
fn keep_aside(path: &Path, lines: usize) -> io::Result<Damage> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".bad-{}", clock::now()));
    let kept = PathBuf::from(name);
    match std::fs::hard_link(path, &kept) {
        // Of the same millisecond: the same file.
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    error!(
        path = %path.display(), lines, kept = %kept.display(),
        "the journal is damaged before its end; it is kept aside, and what it cannot say for certain is lost"
    );
    Ok(Damage { kept, lines })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was kept aside.
    fn kept(dir: &Path) -> Vec<Vec<u8>> {
        let entries = std::fs::read_dir(dir).unwrap().flatten();
        let bad = entries.filter(|entry| entry.file_name().to_str().unwrap().contains(".bad-"));
        bad.map(|entry| std::fs::read(entry.path()).unwrap())
            .collect()
    }

    fn check(damage: impl Fn(&mut Vec<u8>), wanted: &[u32], lines: usize) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.journal");
        let (mut journal, _) = Journal::<u32>::open(&path).unwrap();
        journal.append(&[1, 2]).unwrap();
        journal.append(&[3]).unwrap();
        journal.sync().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        damage(&mut bytes);
        std::fs::write(&path, &bytes).unwrap();
        let (mut journal, found) = Journal::<u32>::open(&path).unwrap();
        assert_eq!(found.records, wanted);
        assert_eq!(found.damage.map_or(0, |damage| damage.lines), lines);
        if lines > 0 {
            assert!(matches!(
                journal.append(&[8]),
                Err(JournalError::Damaged(_))
            ));
            journal.rewrite(&found.records).unwrap();
            assert_eq!(kept(dir.path()), [bytes], "as it was found");
        }
        journal.append(&[9]).unwrap();
        let (_, found) = Journal::<u32>::open(&path).unwrap();
        assert_eq!(found.records, [wanted, &[9]].concat());
        assert_eq!(found.damage, None);
    }

    #[test]
    fn a_torn_tail_is_cut_off_and_a_damaged_journal_kept_aside() {
        check(|_| {}, &[1, 2, 3], 0);
        check(|bytes| bytes.truncate(bytes.len() - 1), &[1, 2], 0);
        check(|bytes| bytes.truncate(bytes.len() - 5), &[1, 2], 0);
        check(|bytes| *bytes.last_mut().unwrap() = b'x', &[1, 2], 0);
        check(|bytes| bytes.extend_from_slice(b"\0\0\0"), &[1, 2, 3], 0);
        check(|bytes| bytes[20] ^= 1, &[1, 3], 1);
        check(|bytes| bytes[0] = b'z', &[2, 3], 1);
        check(|bytes| bytes[5] = b'\n', &[2, 3], 2);
        check(|bytes| bytes[40] ^= 1, &[1, 2], 1);
        check(|bytes| bytes[..21].fill(0), &[3], 1);
    }

    #[test]
    fn a_damaged_journal_stays_damaged_until_it_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.journal");
        std::fs::write(&path, "nonsense\n").unwrap();
        for _ in 0..2 {
            let (_, found) = Journal::<u32>::open(&path).unwrap();
            assert!(found.damage.is_some());
        }
        let (mut journal, _) = Journal::<u32>::open(&path).unwrap();
        journal.rewrite(&[]).unwrap();
        let (_, found) = Journal::<u32>::open(&path).unwrap();
        assert_eq!(found.damage, None);
    }

    #[test]
    fn what_is_taken_back_is_not_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.journal");
        let (mut journal, _) = Journal::<u32>::open(&path).unwrap();
        journal.append(&[1]).unwrap();
        let size = journal.size();
        journal.append(&[2, 3]).unwrap();
        journal.take_back(size).unwrap();
        journal.append(&[4]).unwrap();
        let (_, found) = Journal::<u32>::open(&path).unwrap();
        assert_eq!(found.records, [1, 4]);
    }

    #[test]
    fn rewriting_replaces_all_records() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.journal");
        let (mut journal, _) = Journal::<String>::open(&path).unwrap();
        journal.append(&["old".to_owned()]).unwrap();
        journal.rewrite(&["new".to_owned()]).unwrap();
        journal.append(&["more".to_owned()]).unwrap();
        let size = journal.size();
        assert_eq!(size, std::fs::metadata(&path).unwrap().len());
        let (_, found) = Journal::<String>::open(&path).unwrap();
        assert_eq!(found.records, ["new", "more"]);
    }
}
