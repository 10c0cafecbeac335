//! What the keeper notes beside an attempt's output: what is missing of it (`.gap`), and when it had grown to which
//! size (`.times`), so that output of several runs can be put in the order of time without a pump in its path.
//!
//! What is missing is recorded, synced, before it is taken out. Sizes are noted once a second at most and seldomer
//! the longer an output goes on; what is lost of them costs an order, no output.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::dir::{open_append, output_path};
use super::supervise::Key;
use crate::model::UnixMs;

/// Sizes noted of one attempt at most; beyond it every second one goes.
const MOST_MARKS: usize = 4096;
/// What is beside an output file, by the end of its name.
pub(super) const BESIDE: [&str; 4] = [".gap", ".times", ".gap.new", ".times.new"];

/// What is missing of an attempt's output.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub(super) struct Loss {
    /// The middle that was taken out begins here,
    pub from: u64,
    /// and ends here.
    pub to: u64,
    /// Bytes that the command took back by making its file shorter, as far as it was seen.
    #[serde(default)]
    pub cut: u64,
}

impl Loss {
    /// Where the next byte is that is there.
    pub fn skip(&self, offset: u64) -> u64 {
        if (self.from..self.to).contains(&offset) {
            self.to
        } else {
            offset
        }
    }

    /// Bytes from here to the middle that was taken out.
    pub fn room(&self, offset: u64) -> u64 {
        if self.to > self.from && offset < self.from {
            self.from - offset
        } else {
            u64::MAX
        }
    }

    /// The file was this long and is now shorter.
    pub fn shrunk(self, before: u64, now: u64) -> Self {
        let to = self.to.min(now);
        let gone = to <= self.from;
        Self {
            from: if gone { 0 } else { self.from },
            to: if gone { 0 } else { to },
            cut: self.cut + before.saturating_sub(now),
        }
    }
}

/// An instant and the size that was seen then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    pub at: UnixMs,
    pub size: u64,
}

/// A path with this behind its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// What is missing of an attempt's output.
pub(super) fn loss(base: &Path, key: &Key) -> Loss {
    let path = beside(&output_path(base, key), ".gap");
    let text = std::fs::read(path).ok();
    text.and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default()
}

/// Records what is missing; on the disk when this returns.
pub(super) fn put_loss(base: &Path, key: &Key, loss: Loss) -> io::Result<()> {
    let path = output_path(base, key);
    let new = beside(&path, ".gap.new");
    std::fs::write(&new, serde_json::to_vec(&loss)?)?;
    File::open(&new)?.sync_all()?;
    std::fs::rename(new, beside(&path, ".gap"))
}

/// The sizes noted, in their order; a line that was torn is left out.
pub(super) fn marks(base: &Path, key: &Key) -> Vec<Mark> {
    let path = beside(&output_path(base, key), ".times");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut marks: Vec<Mark> = text.lines().filter_map(parse).collect();
    // A clock that was set back, or a torn number, must not send a reader back.
    let mut last = 0;
    marks.retain(|mark| {
        let grows = mark.size > last;
        last = last.max(mark.size);
        grows
    });
    marks
}

fn parse(line: &str) -> Option<Mark> {
    let (at, size) = line.split_once(' ')?;
    Some(Mark {
        at: UnixMs(at.parse().ok()?),
        size: size.parse().ok()?,
    })
}

fn write_marks(to: &mut impl Write, marks: &[Mark]) -> io::Result<()> {
    let line = |mark: &Mark| format!("{} {}\n", mark.at.0, mark.size);
    to.write_all(marks.iter().map(line).collect::<String>().as_bytes())
}

/// Forgets the sizes noted: the file was made shorter.
pub(super) fn forget_marks(base: &Path, key: &Key) {
    drop(std::fs::remove_file(beside(
        &output_path(base, key),
        ".times",
    )));
}

/// Where a reader of what was written since then begins: behind the last size noted before.
pub(super) fn offset_since(marks: &[Mark], since: UnixMs) -> u64 {
    let before = marks.iter().take_while(|mark| mark.at < since);
    before.last().map_or(0, |mark| mark.size)
}

/// What is known of an attempt's size while it runs.
#[derive(Debug)]
pub(super) struct Growth {
    /// The size that was seen last.
    pub size: u64,
    marks: usize,
    /// Looks for one mark.
    every: u32,
    looks: u32,
}

impl Growth {
    /// Of a new attempt, or of one that a former keeper has looked after.
    pub fn of(base: &Path, key: &Key) -> Self {
        let marks = marks(base, key);
        let last = marks.last().map_or(0, |mark| mark.size);
        Self {
            size: last.max(loss(base, key).to),
            marks: marks.len(),
            every: 1,
            looks: 0,
        }
    }

    /// Notes a size, where it has grown and enough time is over.
    pub fn note(&mut self, base: &Path, key: &Key, mark: Mark) {
        self.looks += 1;
        if mark.size <= self.size || self.looks < self.every {
            return;
        }
        self.looks = 0;
        self.size = mark.size;
        // A disk that is full or gone takes nothing but an order of lines.
        drop(self.append(base, key, mark));
    }

    fn append(&mut self, base: &Path, key: &Key, mark: Mark) -> io::Result<()> {
        let path = beside(&output_path(base, key), ".times");
        write_marks(&mut open_append(&path, 0o600)?, &[mark])?;
        self.marks += 1;
        if self.marks > MOST_MARKS {
            self.thin(base, key)?;
        }
        Ok(())
    }

    fn thin(&mut self, base: &Path, key: &Key) -> io::Result<()> {
        let kept: Vec<Mark> = marks(base, key).into_iter().skip(1).step_by(2).collect();
        let path = output_path(base, key);
        let new = beside(&path, ".times.new");
        write_marks(&mut File::create(&new)?, &kept)?;
        std::fs::rename(new, beside(&path, ".times"))?;
        self.marks = kept.len();
        self.every *= 2;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::output::create;
    use crate::model::RunId;

    #[test]
    fn what_is_missing_is_skipped_and_shrinks_with_its_file() {
        let loss = Loss {
            from: 100,
            to: 900,
            cut: 0,
        };
        let check = |offset, skipped, room| {
            assert_eq!((loss.skip(offset), loss.room(offset)), (skipped, room));
        };
        check(0, 0, 100);
        check(100, 900, u64::MAX);
        check(899, 900, u64::MAX);
        check(900, 900, u64::MAX);
        assert_eq!(Loss::default().room(0), u64::MAX);
        let shrunk = |now| loss.shrunk(1000, now);
        assert_eq!((shrunk(500).to, shrunk(500).cut), (500, 500));
        assert_eq!((shrunk(0).from, shrunk(0).to, shrunk(0).cut), (0, 0, 1000));
    }

    #[test]
    fn sizes_are_noted_as_they_grow_and_thinned_when_they_are_many() {
        let dir = tempfile::tempdir().unwrap();
        let key = (RunId::hash(b"a"), 1);
        create(dir.path(), &key).unwrap();
        let mut growth = Growth::of(dir.path(), &key);
        let mark = |n: i64| Mark {
            at: UnixMs(n),
            size: u64::try_from(n).unwrap(),
        };
        growth.note(dir.path(), &key, mark(5));
        growth.note(dir.path(), &key, mark(5));
        growth.note(dir.path(), &key, mark(7));
        assert_eq!(marks(dir.path(), &key), [mark(5), mark(7)]);
        for n in 8..9000 {
            growth.note(dir.path(), &key, mark(n));
        }
        let kept = marks(dir.path(), &key);
        assert!(kept.len() <= MOST_MARKS, "{}", kept.len());
        assert!(kept.last().unwrap().size > 8900);
        assert_eq!(Growth::of(dir.path(), &key).size, kept.last().unwrap().size);
        assert_eq!(offset_since(&kept, UnixMs(0)), 0);
        assert_eq!(offset_since(&[mark(5), mark(7)], UnixMs(6)), 5);
        assert_eq!(offset_since(&[mark(5), mark(7)], UnixMs(8)), 7);
    }
}
