//! Output files: one per attempt, written by the processes themselves; the keeper makes them, looks at their
//! size, keeps the cap by punching out the middle, reads their end, and takes away the old ones.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FallocateFlags;
use serde::{Deserialize, Serialize};

use super::dir::{open_append, output_path, parse_file_name};
use super::supervise::{Key, OutputEnd};

/// Part of the cap that the head keeps when the middle is punched out.
const HEAD_SHARE: u64 = 4;
/// Punching works on whole blocks of the file system.
const BLOCK: u64 = 4096;

/// A part of the output that was taken out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Gap {
    pub from: u64,
    pub to: u64,
}

/// Makes an attempt's file.
pub(super) fn create(base: &Path, key: &Key) -> io::Result<File> {
    let path = output_path(base, key);
    match open_append(&path, 0o640) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            if let Some(shard) = path.parent() {
                let made = std::fs::DirBuilder::new().mode(0o700).create(shard);
                made.or_else(|e| if shard.is_dir() { Ok(()) } else { Err(e) })?;
            }
            open_append(&path, 0o640)
        }
        done => done,
    }
}

/// Opens an attempt's file for reading.
pub(super) fn open(base: &Path, key: &Key) -> io::Result<File> {
    File::open(output_path(base, key))
}

/// Takes an attempt's file away.
pub(super) fn remove(base: &Path, key: &Key) {
    let path = output_path(base, key);
    drop(std::fs::remove_file(gap_path(&path)));
    drop(std::fs::remove_file(path));
}

/// The last attempt of a run that has a file.
pub(super) fn last_attempt(base: &Path, run_id: &crate::model::RunId) -> Option<u16> {
    let any = output_path(base, &(run_id.clone(), 1));
    let entries = std::fs::read_dir(any.parent()?).ok()?;
    entries
        .flatten()
        .filter_map(|entry| parse_file_name(entry.file_name().to_str()?))
        .filter(|(id, _)| id == run_id)
        .map(|(_, attempt)| attempt)
        .max()
}

/// Size and, where wanted, the last bytes of an attempt's output.
pub(super) fn end(base: &Path, key: &Key, tail: Option<usize>) -> OutputEnd {
    let Ok(file) = open(base, key) else {
        return OutputEnd::default();
    };
    let Ok(meta) = file.metadata() else {
        return OutputEnd::default();
    };
    let size = meta.len();
    let tail = tail.and_then(|max| read_tail(&file, size, max).ok());
    OutputEnd {
        bytes: Some(size),
        tail,
    }
}

fn read_tail(file: &File, size: u64, max: usize) -> io::Result<String> {
    let from = size.saturating_sub(max as u64);
    let mut bytes = vec![0; usize::try_from(size - from).unwrap_or(0)];
    let len = read_full(file, &mut bytes, from)?;
    bytes.truncate(len);
    // A cut in the middle of a character leaves up to three bytes of it.
    let start = if from == 0 {
        0
    } else {
        bytes
            .iter()
            .take(3)
            .take_while(|byte| **byte & 0xc0 == 0x80)
            .count()
    };
    let mut text = String::from_utf8_lossy(&bytes[start..]).into_owned();
    while text.len() > max {
        text.remove(0);
    }
    Ok(text)
}

fn read_full(file: &File, bytes: &mut [u8], from: u64) -> io::Result<usize> {
    let mut len = 0;
    while len < bytes.len() {
        match file.read_at(&mut bytes[len..], from + len as u64)? {
            0 => break,
            more => len += more,
        }
    }
    Ok(len)
}

/// Where the last `lines` lines begin.
pub(super) fn last_lines(file: &File, lines: u64) -> io::Result<u64> {
    let size = file.metadata()?.len();
    if lines == 0 {
        return Ok(size);
    }
    let mut seen = 0;
    let mut end = size;
    let mut bytes = vec![0u8; 64 * 1024];
    while end > 0 {
        let from = end.saturating_sub(bytes.len() as u64);
        let part = &mut bytes[..usize::try_from(end - from).unwrap_or(0)];
        let len = read_full(file, part, from)?;
        for at in (0..len).rev() {
            let offset = from + at as u64;
            // The newline that ends the output ends a line and begins none.
            if part[at] == b'\n' && offset + 1 < size {
                seen += 1;
                if seen == lines {
                    return Ok(offset + 1);
                }
            }
        }
        end = from;
    }
    Ok(0)
}

fn gap_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".gap");
    name.into()
}

/// What was taken out of an attempt's output.
pub(super) fn gap(base: &Path, key: &Key) -> Option<Gap> {
    let text = std::fs::read(gap_path(&output_path(base, key))).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Keeps the cap: head and tail stay where they are, the middle's blocks are given back. The gap is recorded
/// before it is punched, so its zeros are never shown as output.
pub(super) fn keep_cap(base: &Path, key: &Key, cap: u64) -> io::Result<()> {
    let path = output_path(base, key);
    let meta = std::fs::metadata(&path)?;
    // A file may be long and hold little: what counts is what it takes on the disk.
    if meta.blocks() * 512 <= cap {
        return Ok(());
    }
    let head = round_up(cap / HEAD_SHARE);
    let keep = cap / 2;
    let to = meta.len().saturating_sub(keep) / BLOCK * BLOCK;
    if to <= head {
        return Ok(());
    }
    let gap = Gap { from: head, to };
    let new = path.with_extension("gap-new");
    std::fs::write(&new, serde_json::to_vec(&gap)?)?;
    File::open(&new)?.sync_all()?;
    std::fs::rename(new, gap_path(&path))?;
    let file = open_append(&path, 0o640)?;
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(file, flags, head, to - head)?;
    Ok(())
}

fn round_up(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK) * BLOCK
}

/// What of the output stays on the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Bytes of all output together.
    pub bytes: u64,
    /// Age of an ended attempt's output.
    pub age: Duration,
}

/// Takes away what is too old, then the oldest until the rest fits; never of an attempt that is kept.
pub(super) fn sweep(base: &Path, keep: &HashSet<Key>, retention: Retention, now_secs: i64) {
    let mut files = list(base);
    files.sort_by_key(|file| file.changed);
    let mut total: u64 = files.iter().map(|file| file.bytes).sum();
    for file in files {
        let span = u64::try_from(now_secs - file.changed).unwrap_or(0);
        let old = span > retention.age.as_secs();
        if (old || total > retention.bytes) && !keep.contains(&file.key) {
            total = total.saturating_sub(file.bytes);
            remove(base, &file.key);
        }
    }
}

struct Kept {
    key: Key,
    changed: i64,
    bytes: u64,
}

fn list(base: &Path) -> Vec<Kept> {
    let Ok(shards) = std::fs::read_dir(base) else {
        return Vec::new();
    };
    shards
        .flatten()
        .filter_map(|shard| std::fs::read_dir(shard.path()).ok())
        .flat_map(Iterator::flatten)
        .filter_map(|entry| {
            let key = parse_file_name(entry.file_name().to_str()?)?;
            let meta = entry.metadata().ok()?;
            Some(Kept {
                key,
                changed: meta.mtime(),
                bytes: meta.blocks() * 512,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::model::RunId;

    fn key(name: &str) -> Key {
        (RunId::hash(name.as_bytes()), 1)
    }

    #[test]
    fn the_last_lines_are_found_and_the_tail_is_cut_at_characters() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = create(dir.path(), &key("a")).unwrap();
        file.write_all("ä1\nä2\nä3\n".as_bytes()).unwrap();
        let check = |lines, wanted| assert_eq!(last_lines(&file, lines).unwrap(), wanted);
        check(0, 12);
        check(1, 8);
        check(2, 4);
        check(3, 0);
        check(9, 0);
        let tail = |max| end(dir.path(), &key("a"), Some(max)).tail.unwrap();
        assert_eq!(tail(3), "3\n");
        assert_eq!(tail(4), "ä3\n");
        assert_eq!(tail(100), "ä1\nä2\nä3\n");
        assert_eq!(end(dir.path(), &key("a"), None).bytes, Some(12));
        assert_eq!(last_attempt(dir.path(), &key("a").0), Some(1));
    }

    #[test]
    fn the_cap_is_kept_by_punching_the_middle() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = create(dir.path(), &key("a")).unwrap();
        let cap = 256 * 1024;
        for _ in 0..64 {
            file.write_all(&[b'x'; 16 * 1024]).unwrap();
            keep_cap(dir.path(), &key("a"), cap).unwrap();
        }
        let meta = file.metadata().unwrap();
        assert_eq!(meta.len(), 1024 * 1024);
        assert!(
            meta.blocks() * 512 <= cap + 64 * 1024,
            "{}",
            meta.blocks() * 512
        );
        let gap = gap(dir.path(), &key("a")).unwrap();
        assert_eq!(gap.from, cap / 4);
        assert!(gap.to > 768 * 1024);
    }

    #[test]
    fn old_output_goes_and_kept_output_stays() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            create(dir.path(), &key(name))
                .unwrap()
                .write_all(b"x")
                .unwrap();
        }
        let keep = HashSet::from([key("a")]);
        let retention = Retention {
            bytes: 0,
            age: Duration::from_mins(1),
        };
        sweep(dir.path(), &keep, retention, 0);
        assert!(open(dir.path(), &key("a")).is_ok());
        assert!(open(dir.path(), &key("b")).is_err());
    }
}
