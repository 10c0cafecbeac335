//! Output files: one per attempt, written by the processes themselves; the keeper makes them, looks at their
//! size, keeps the cap by punching out the middle, reads their end, and takes away the old ones. What is noted
//! beside them is in `notes.rs`.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::FallocateFlags;

use super::dir::{open_append, output_path, parse_file_name};
use super::notes::{self, BESIDE, Loss, beside};
use super::supervise::{Key, OutputEnd};

/// Part of the cap that the head keeps when the middle is punched out.
const HEAD_SHARE: u64 = 4;
/// Punching works on whole blocks of the file system.
const BLOCK: u64 = 4096;
/// What has changed within this many seconds is not taken away for its size: it may be of a run that starts.
const FRESH: i64 = 60;

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
    for suffix in BESIDE {
        drop(std::fs::remove_file(beside(&path, suffix)));
    }
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
    let loss = notes::loss(base, key);
    let tail = tail.and_then(|max| read_tail(&file, size, max, loss).ok());
    OutputEnd {
        bytes: Some(size),
        gap: Some(loss.to - loss.from).filter(|bytes| *bytes > 0),
        cut: Some(loss.cut).filter(|bytes| *bytes > 0),
        tail,
    }
}

fn read_tail(file: &File, size: u64, max: usize, loss: Loss) -> io::Result<String> {
    let from = loss.skip(size.saturating_sub(max as u64));
    let len = size.saturating_sub(from).min(max as u64);
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
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
    let text = String::from_utf8_lossy(&bytes[start..]);
    // What stands for bytes that are no text is longer than they are.
    let over = text.len().saturating_sub(max);
    let cut = (over..=text.len()).find(|at| text.is_char_boundary(*at));
    Ok(text[cut.unwrap_or(0)..].to_owned())
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

/// Where the last `lines` lines begin; what was taken out of the middle holds none.
pub(super) fn last_lines(file: &File, lines: u64, loss: Loss) -> io::Result<u64> {
    let size = file.metadata()?.len();
    if lines == 0 {
        return Ok(size);
    }
    let mut seen = 0;
    let mut end = size;
    let mut bytes = vec![0u8; 64 * 1024];
    while end > 0 {
        if loss.from < loss.to && end == loss.to {
            end = loss.from;
            continue;
        }
        let floor = if end > loss.to { loss.to } else { 0 };
        let from = end.saturating_sub(bytes.len() as u64).max(floor);
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

/// Where the line begins that holds this byte, where that is near.
pub(super) fn line_begin(file: &File, offset: u64, loss: Loss) -> io::Result<u64> {
    let floor = if offset >= loss.to { loss.to } else { 0 };
    let from = offset.saturating_sub(64 * 1024).max(floor);
    let mut bytes = vec![0; usize::try_from(offset.saturating_sub(from)).unwrap_or(0)];
    let len = read_full(file, &mut bytes, from)?;
    let newline = bytes[..len].iter().rposition(|byte| *byte == b'\n');
    Ok(newline.map_or(from, |at| from + at as u64 + 1))
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
    let known = notes::loss(base, key);
    let from = if known.to > known.from {
        head.min(known.from)
    } else {
        head
    };
    notes::put_loss(base, key, Loss { from, to, ..known })?;
    let file = open_append(&path, 0o640)?;
    punch(&file, from, to - from)
}

fn punch(file: &File, from: u64, len: u64) -> io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(rustix::fs::fallocate(file, flags, from, len)?)
}

/// Whether the file system there can give back the middle of a file.
pub(super) fn can_punch(base: &Path) -> io::Result<bool> {
    let path = base.join("punch");
    let tried = open_append(&path, 0o600).and_then(|mut file| {
        file.write_all(&vec![b'x'; usize::try_from(4 * BLOCK).unwrap_or(0)])?;
        punch(&file, BLOCK, BLOCK)
    });
    drop(std::fs::remove_file(path));
    match tried {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::Unsupported => Ok(false),
        Err(e) => Err(e),
    }
}

/// The type of the file system that holds a path, as the kernel names it.
pub(super) fn file_system(path: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let of = |line: &str| {
        let (mount, system) = line.split_once(" - ")?;
        let at = mount.split(' ').nth(4)?.replace("\\040", " ");
        let kind = system.split(' ').next()?.to_owned();
        path.starts_with(&at).then_some((at.len(), kind))
    };
    // Of several at one place the last one is seen.
    let found = mounts.lines().filter_map(of).max_by_key(|(len, _)| *len);
    found.map_or_else(|| "unknown".to_owned(), |(_, kind)| kind)
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
        let span = now_secs - file.changed;
        let old = u64::try_from(span).unwrap_or(0) > retention.age.as_secs();
        let much = total > retention.bytes && span > FRESH;
        if (old || much) && !keep.contains(&file.key) {
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
            let Some(key) = parse_file_name(entry.file_name().to_str()?) else {
                remove_orphan(&entry.path());
                return None;
            };
            let meta = entry.metadata().ok()?;
            Some(Kept {
                key,
                changed: meta.mtime(),
                // An empty one takes a place too.
                bytes: (meta.blocks() * 512).max(BLOCK),
            })
        })
        .collect()
}

/// What stood beside an output that is gone.
fn remove_orphan(path: &Path) {
    let name = path.to_string_lossy();
    let of = BESIDE.iter().find_map(|suffix| name.strip_suffix(suffix));
    if of.is_some_and(|of| !Path::new(of).exists()) {
        drop(std::fs::remove_file(path));
    }
}

#[cfg(test)]
mod tests {
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
        let check =
            |lines, wanted| assert_eq!(last_lines(&file, lines, Loss::default()).unwrap(), wanted);
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
        let loss = notes::loss(dir.path(), &key("a"));
        assert_eq!(loss.from, cap / 4);
        assert!(loss.to > 768 * 1024);
        let end = end(dir.path(), &key("a"), Some(512 * 1024));
        assert_eq!((end.gap, end.cut), (Some(loss.to - loss.from), None));
        let tail = end.tail.unwrap();
        assert_eq!(tail.len() as u64, 1024 * 1024 - loss.to);
        assert!(tail.bytes().all(|byte| byte == b'x'));
    }

    #[test]
    fn lines_are_found_on_both_sides_of_the_gap() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = create(dir.path(), &key("a")).unwrap();
        let zeros = vec![0; 100_000];
        file.write_all(&[b"a\nb\n", &zeros[..], b"c\nd\ne\n"].concat())
            .unwrap();
        let loss = Loss {
            from: 4,
            to: 100_004,
            cut: 0,
        };
        let check = |lines, wanted| assert_eq!(last_lines(&file, lines, loss).unwrap(), wanted);
        check(1, 100_008);
        check(2, 100_006);
        check(3, 4);
        check(4, 2);
        check(5, 0);
        let begin = |offset| line_begin(&file, offset, loss).unwrap();
        assert_eq!(
            (begin(100_007), begin(100_005), begin(1)),
            (100_006, 100_004, 0)
        );
    }

    #[test]
    fn a_tail_of_bytes_that_are_no_text_keeps_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = create(dir.path(), &key("a")).unwrap();
        file.write_all(&vec![0xff; 200_000]).unwrap();
        let tail = end(dir.path(), &key("a"), Some(65536)).tail.unwrap();
        assert!((65534..=65536).contains(&tail.len()), "{}", tail.len());
    }

    #[test]
    fn the_file_system_is_named_and_tried() {
        let dir = tempfile::tempdir().unwrap();
        assert!(can_punch(dir.path()).is_ok());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(file_system(Path::new("/proc/self")), "proc");
    }

    #[test]
    fn old_output_goes_and_kept_output_stays() {
        let dir = tempfile::tempdir().unwrap();
        let orphan = output_path(dir.path(), &key("c"));
        std::fs::create_dir_all(orphan.parent().unwrap()).unwrap();
        std::fs::write(beside(&orphan, ".gap"), b"{}").unwrap();
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
        let made = file_changed(dir.path(), &key("b"));
        sweep(dir.path(), &keep, retention, made + FRESH);
        assert!(open(dir.path(), &key("b")).is_ok(), "it may be starting");
        assert!(!beside(&orphan, ".gap").exists());
        sweep(dir.path(), &keep, retention, made + FRESH + 1);
        assert!(open(dir.path(), &key("a")).is_ok());
        assert!(open(dir.path(), &key("b")).is_err());
    }

    fn file_changed(base: &Path, key: &Key) -> i64 {
        open(base, key).unwrap().metadata().unwrap().mtime()
    }
}
