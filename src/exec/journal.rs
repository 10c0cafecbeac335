//! An append-only file of checksummed JSON lines, for the keeper's records and the agent's. A torn tail is cut
//! off with a log line; corruption before the tail is quarantined beside the journal, loudly, and what stands
//! behind it is not believed, because records build on one another. The journal grows until its owner rewrites
//! it: a new file, synced, renamed into place.
//!
//! A line is `CHECKSUM JSON\n`, the checksum 16 hexadecimal digits (FNV-1a over the JSON).

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tracing::{error, warn};

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

/// An open journal of records `T`.
#[derive(Debug)]
pub struct Journal<T> {
    path: PathBuf,
    file: File,
    len: u64,
    records: PhantomData<fn(T)>,
}

impl<T: Serialize + DeserializeOwned> Journal<T> {
    /// Opens or makes the journal (mode 0600) and reads its records.
    pub fn open(path: &Path) -> Result<(Self, Vec<T>), JournalError> {
        let fail = |what| io_error(what, path);
        let mut file = open_file(path, OpenOptions::new().read(true)).map_err(fail("open"))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(fail("read"))?;
        let (records, good) = parse(&bytes);
        if good < bytes.len() {
            mend(path, &bytes, good).map_err(fail("quarantine a part of"))?;
            file.set_len(good as u64).map_err(fail("cut"))?;
            file.sync_all().map_err(fail("sync"))?;
        }
        let journal = Self {
            path: path.to_owned(),
            file,
            len: good as u64,
            records: PhantomData,
        };
        Ok((journal, records))
    }

    /// Writes records behind the others, in one write; they outlive this process, not yet the host. On an error
    /// none of them is in the journal.
    pub fn append(&mut self, records: &[T]) -> Result<(), JournalError> {
        let lines = self.lines(records)?;
        if let Err(source) = self.file.write_all(&lines) {
            // Half a line would hide everything behind it.
            if let Err(e) = self.file.set_len(self.len) {
                error!(path = %self.path.display(), error = %e, "cannot take back half a record");
            }
            return Err(io_error("append to", &self.path)(source));
        }
        self.len += lines.len() as u64;
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
        std::fs::rename(&new, &self.path).map_err(fail("rename"))?;
        if let Some(dir) = self.path.parent() {
            File::open(dir)
                .and_then(|dir| dir.sync_all())
                .map_err(fail("sync the directory of"))?;
        }
        self.len = lines.len() as u64;
        self.file = file;
        Ok(())
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.len
    }

    /// A second handle on the file as it is now, to sync it from another thread.
    pub fn handle(&self) -> Result<File, JournalError> {
        self.file.try_clone().map_err(io_error("open", &self.path))
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

/// The records up to the first line that is not whole, and how many bytes they take.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> (Vec<T>, usize) {
    let mut records = Vec::new();
    let mut good = 0;
    while let Some(len) = bytes[good..].iter().position(|byte| *byte == b'\n') {
        let Some(record) = parse_line(&bytes[good..good + len]) else {
            break;
        };
        records.push(record);
        good += len + 1;
    }
    (records, good)
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

/// Tells of what is cut off; all but a torn last line is kept in `NAME.bad`.
fn mend(path: &Path, bytes: &[u8], good: usize) -> io::Result<()> {
    let rest = &bytes[good..];
    let torn = rest
        .iter()
        .position(|byte| *byte == b'\n')
        .is_none_or(|at| at + 1 == rest.len());
    if torn {
        warn!(path = %path.display(), bytes = rest.len(), "cut a torn record off the journal");
        return Ok(());
    }
    let bad = path.with_extension("bad");
    let mut file = open_file(&bad, &mut OpenOptions::new())?;
    file.write_all(rest)?;
    file.sync_all()?;
    error!(
        path = %path.display(), at = good, bytes = rest.len(), kept = %bad.display(),
        "the journal is corrupt before its end; what follows is not believed and kept aside"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(damage: impl Fn(&mut Vec<u8>), wanted: &[u32], kept: bool) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.journal");
        let (mut journal, _) = Journal::<u32>::open(&path).unwrap();
        journal.append(&[1, 2]).unwrap();
        journal.append(&[3]).unwrap();
        journal.sync().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        damage(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        let (mut journal, records) = Journal::<u32>::open(&path).unwrap();
        assert_eq!(records, wanted);
        assert_eq!(path.with_extension("bad").exists(), kept);
        journal.append(&[9]).unwrap();
        let (_, records) = Journal::<u32>::open(&path).unwrap();
        assert_eq!(records, [wanted, &[9]].concat());
    }

    #[test]
    fn records_are_read_back_and_damage_is_cut_off_or_kept_aside() {
        check(|_| {}, &[1, 2, 3], false);
        check(|bytes| bytes.truncate(bytes.len() - 1), &[1, 2], false);
        check(|bytes| bytes.truncate(bytes.len() - 5), &[1, 2], false);
        check(|bytes| *bytes.last_mut().unwrap() = b'x', &[1, 2], false);
        check(
            |bytes| bytes.extend_from_slice(b"\0\0\0"),
            &[1, 2, 3],
            false,
        );
        check(|bytes| bytes[20] ^= 1, &[1], true);
        check(|bytes| bytes[0] = b'z', &[], true);
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
        let (_, records) = Journal::<String>::open(&path).unwrap();
        assert_eq!(records, ["new", "more"]);
    }
}
