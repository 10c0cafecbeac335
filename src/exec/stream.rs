//! Output on its way to a reader: a window of bytes that are not yet taken, on from attempt to attempt, to the
//! end of the run where the reader follows.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::notes::{self, Mark};
use super::output;
use super::wire::{Event, LOG_CHUNK, LOG_WINDOW, LogFrom};
use crate::model::{RunId, UnixMs};

/// One reader's stream.
#[derive(Debug)]
pub(super) struct Stream {
    id: u64,
    pub run_id: RunId,
    /// Whether later attempts follow.
    moves_on: bool,
    attempt: u16,
    file: File,
    offset: u64,
    /// What is known of when this attempt's bytes were written.
    marks: Vec<Mark>,
    /// Sent and not yet taken.
    under_way: u64,
    pub follow: bool,
}

/// What a reader asks for.
#[derive(Debug)]
pub(super) struct Reading {
    pub stream: u64,
    pub run_id: RunId,
    pub attempt: Option<u16>,
    pub from: LogFrom,
    pub follow: bool,
}

/// What is known of the run while its output is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// Whether it has no outcome yet.
    pub active: bool,
    /// Its present attempt.
    pub attempt: Option<u16>,
    /// Now, in the center's time.
    pub now: UnixMs,
    /// What to add to the host's clock to have the center's time.
    pub skew_ms: i64,
}

impl Stream {
    /// Opens the output that is asked for.
    pub fn open(base: &Path, reading: Reading, progress: Progress) -> Result<Self, String> {
        let place = match reading.from {
            LogFrom::Place { attempt, .. } => Some(attempt),
            LogFrom::Lines(_) | LogFrom::Since(_) | LogFrom::Offset(_) => None,
        };
        let attempt = reading
            .attempt
            .or(place)
            .or_else(|| output::last_attempt(base, &reading.run_id))
            .or(progress.attempt)
            .unwrap_or(1);
        let key = (reading.run_id.clone(), attempt);
        let file = match output::open(base, &key) {
            Ok(file) => file,
            // A run that waits for its start has an empty output.
            Err(_) if progress.active => {
                output::create(base, &key).map_err(|e| format!("cannot open the output: {e}"))?
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(format!("this host has no output of run {}", reading.run_id));
            }
            Err(e) => return Err(format!("cannot open the output: {e}")),
        };
        let marks = notes::marks(base, &key);
        let loss = notes::loss(base, &key);
        let offset = match reading.from {
            LogFrom::Offset(offset) | LogFrom::Place { offset, .. } => Ok(offset),
            LogFrom::Lines(lines) => output::last_lines(&file, lines, loss),
            LogFrom::Since(since) => {
                let offset = loss.skip(notes::offset_since(&marks, since));
                output::line_begin(&file, offset, loss)
            }
        };
        let offset = offset.map_err(|e| format!("cannot read the output: {e}"))?;
        Ok(Self {
            id: reading.stream,
            run_id: reading.run_id,
            moves_on: reading.attempt.is_none(),
            attempt,
            file,
            offset,
            marks,
            under_way: 0,
            follow: reading.follow,
        })
    }

    /// The reader has taken bytes.
    pub fn credit(&mut self, bytes: u64) {
        self.under_way = self.under_way.saturating_sub(bytes);
    }

    /// The next events, as far as the window allows; true with the last of them.
    pub fn pump(&mut self, base: &Path, progress: Progress) -> (Vec<Event>, bool) {
        let mut events = Vec::new();
        let loss = notes::loss(base, &(self.run_id.clone(), self.attempt));
        loop {
            self.offset = loss.skip(self.offset);
            let room = LOG_WINDOW.saturating_sub(self.under_way);
            if room == 0 {
                return (events, false);
            }
            let want = room.min(loss.room(self.offset)).min(LOG_CHUNK as u64);
            match self.read(want, progress) {
                Ok(Some(event)) => events.push(event),
                Ok(None) if self.was_cut() => self.offset = 0,
                Ok(None) => break,
                Err(e) => {
                    events.push(self.end(Some(format!("cannot read the output: {e}"))));
                    return (events, true);
                }
            }
        }
        if self.follow && self.turn(base, progress) {
            return (events, false);
        }
        events.push(self.end(None));
        (events, true)
    }

    /// The next piece, written up to one instant.
    fn read(&mut self, want: u64, progress: Progress) -> io::Result<Option<Event>> {
        let passed = |mark: &Mark| mark.size <= self.offset;
        let next = self.marks.get(self.marks.partition_point(passed)).copied();
        let want = want.min(next.map_or(u64::MAX, |mark| mark.size - self.offset));
        let mut bytes = vec![0; usize::try_from(want).unwrap_or(LOG_CHUNK)];
        let len = self.file.read_at(&mut bytes, self.offset)?;
        let at = match next {
            Some(mark) => Some(mark.at),
            None if progress.active => Some(progress.now),
            None => self.changed_at(progress.skew_ms),
        };
        Ok((len > 0).then(|| self.piece(&bytes[..len], at)))
    }

    /// When the file was written for the last time.
    fn changed_at(&self, skew_ms: i64) -> Option<UnixMs> {
        let meta = self.file.metadata().ok()?;
        let host = meta.mtime() * 1000 + meta.mtime_nsec() / 1_000_000;
        Some(UnixMs(host + skew_ms))
    }

    /// Whether the command has made its file shorter than what was read of it.
    fn was_cut(&self) -> bool {
        let size = self.file.metadata().map_or(u64::MAX, |meta| meta.len());
        size < self.offset
    }

    /// At the end of what is there: whether more may come, perhaps of a later attempt.
    fn turn(&mut self, base: &Path, progress: Progress) -> bool {
        let later = progress
            .attempt
            .filter(|attempt| *attempt > self.attempt && self.moves_on);
        if let Some(attempt) = later
            && let Ok(file) = output::open(base, &(self.run_id.clone(), attempt))
        {
            self.marks = notes::marks(base, &(self.run_id.clone(), attempt));
            self.attempt = attempt;
            self.file = file;
            self.offset = 0;
            return true;
        }
        progress.active
    }

    fn piece(&mut self, bytes: &[u8], at: Option<UnixMs>) -> Event {
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        self.under_way += bytes.len() as u64;
        Event::Log {
            stream: self.id,
            attempt: self.attempt,
            offset,
            at,
            data: STANDARD.encode(bytes),
        }
    }

    fn end(&self, error: Option<String>) -> Event {
        Event::LogEnd {
            stream: self.id,
            error,
        }
    }
}
