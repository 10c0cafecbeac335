//! The marks that children leave in `keeper/started` as their last act before execve: the proof that an
//! attempt was started, and as which process. One raw write each, without allocation, checksummed; written
//! and not synced, because a mark must outlive the keeper, not the host.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;

use super::journal::checksum;
use crate::model::RunId;

/// Bytes of one mark at most.
pub const LINE: usize = 128;

/// Where a child writes its mark, and for which attempt.
#[derive(Debug)]
pub struct Mark<'a> {
    /// The file, open for appending.
    pub fd: BorrowedFd<'a>,
    /// The run's id: 26 characters.
    pub run_id: &'a str,
    /// The attempt.
    pub attempt: u16,
}

impl Mark<'_> {
    /// Fills `line` with "this attempt is process `pid`, alive at `boot_ns`"; the number of bytes.
    pub fn started(&self, pid: i32, boot_ns: u64, line: &mut [u8; LINE]) -> usize {
        self.fill(b'S', u64::from(pid.unsigned_abs()), boot_ns, line)
    }

    /// Fills `line` with "execve failed with `errno`"; the number of bytes.
    pub fn failed(&self, errno: i32, line: &mut [u8; LINE]) -> usize {
        self.fill(b'X', u64::from(errno.unsigned_abs()), 0, line)
    }

    fn fill(&self, kind: u8, first: u64, second: u64, line: &mut [u8; LINE]) -> usize {
        let mut pen = Pen { line, len: 0 };
        pen.bytes(&[kind, b' ']);
        pen.bytes(self.run_id.as_bytes());
        for number in [u64::from(self.attempt), first, second] {
            pen.bytes(b" ");
            pen.number(number);
        }
        let sum = checksum(&pen.line[..pen.len]);
        pen.bytes(b" ");
        pen.number(sum);
        pen.bytes(b"\n");
        pen.len
    }
}

/// Writes into the line; what does not fit is left out, and the checksum then fails.
struct Pen<'a> {
    line: &'a mut [u8; LINE],
    len: usize,
}

impl Pen<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if let Some(place) = self.line.get_mut(self.len) {
                *place = *byte;
                self.len += 1;
            }
        }
    }

    fn number(&mut self, mut number: u64) {
        let mut digits = [0u8; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + u8::try_from(number % 10).unwrap_or(0);
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.bytes(&digits[at..]);
    }
}

/// What a mark says of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Marked {
    /// It was executed.
    Started {
        /// As this process.
        pid: i32,
        /// Alive at this time of the boot-time clock, in nanoseconds.
        boot_ns: u64,
    },
    /// execve failed.
    Failed {
        /// With this error.
        errno: i32,
    },
}

/// Reads all marks; a torn or foreign line is passed over. The last of an attempt counts.
pub fn read(text: &[u8]) -> HashMap<(RunId, u16), Marked> {
    text.split(|byte| *byte == b'\n')
        .filter_map(parse)
        .collect()
}

fn parse(line: &[u8]) -> Option<((RunId, u16), Marked)> {
    let line = std::str::from_utf8(line).ok()?;
    let (body, sum) = line.rsplit_once(' ')?;
    if sum.parse() != Ok(checksum(body.as_bytes())) {
        return None;
    }
    let mut words = body.split(' ');
    let kind = words.next()?;
    let run_id = words.next()?.parse().ok()?;
    let attempt = words.next()?.parse().ok()?;
    let first = words.next()?.parse().ok()?;
    let boot_ns = words.next()?.parse().ok()?;
    let marked = match kind {
        "S" => Marked::Started {
            pid: first,
            boot_ns,
        },
        "X" => Marked::Failed { errno: first },
        _ => return None,
    };
    Some(((run_id, attempt), marked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_a_torn_one_is_not() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let run_id = RunId::hash(b"a");
        let mark = Mark {
            fd: null.as_fd(),
            run_id: run_id.as_str(),
            attempt: 3,
        };
        let mut text = Vec::new();
        let mut line = [0; LINE];
        let len = mark.started(i32::MAX, u64::MAX, &mut line);
        text.extend_from_slice(&line[..len]);
        let started = Marked::Started {
            pid: i32::MAX,
            boot_ns: u64::MAX,
        };
        let key = (run_id.clone(), 3);
        assert_eq!(read(&text), HashMap::from([(key.clone(), started)]));
        assert_eq!(read(&text[..len - 2]), HashMap::new());
        let len = mark.failed(2, &mut line);
        text.extend_from_slice(&line[..len]);
        assert_eq!(read(&text)[&key], Marked::Failed { errno: 2 });
    }
}
