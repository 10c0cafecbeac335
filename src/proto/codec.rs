//! Bytes to lines, lines to messages, and back. Whatever a peer sends ends in a message or a fault with a code
//! and a sentence; memory stays within the limit of one line. Pure: no I/O, no clock.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio_util::bytes::{Buf, BytesMut};

use super::hello::{ErrorFrame, LinkError};
use super::strict::check_json;

/// Bytes of one frame at most, where nothing else is set.
pub const MAX_FRAME: usize = 1024 * 1024;
/// Bytes of one frame at most before the peer is known: a token and a certificate request need far less.
pub const MAX_FIRST_FRAME: usize = 64 * 1024;
/// Levels of objects and arrays in one frame at most; the deepest message has seven.
pub const MAX_DEPTH: usize = 32;
/// Characters of a peer's own words given back to it at most.
const MAX_DETAIL: usize = 200;

/// Why a line is no message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", self.sentence())]
pub struct FrameFault {
    kind: FaultKind,
    detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultKind {
    TooLong(usize),
    NotUtf8,
    NotJson,
    NotObject,
    TooDeep,
    DuplicateKey,
    Unknown,
}

impl FrameFault {
    fn new(kind: FaultKind) -> Self {
        let detail = String::new();
        Self { kind, detail }
    }

    /// For programs.
    pub fn code(&self) -> LinkError {
        match self.kind {
            FaultKind::TooLong(_) => LinkError::TooLong,
            FaultKind::NotUtf8 => LinkError::NotUtf8,
            FaultKind::NotJson
            | FaultKind::NotObject
            | FaultKind::TooDeep
            | FaultKind::DuplicateKey => LinkError::NotJson,
            FaultKind::Unknown => LinkError::UnknownMessage,
        }
    }

    /// What was wrong, in a sentence that repeats nothing of the line: for logs and for strangers.
    pub fn sentence(&self) -> String {
        match self.kind {
            FaultKind::TooLong(limit) => format!("the line is longer than {limit} bytes"),
            FaultKind::NotUtf8 => "the line is not UTF-8".to_owned(),
            FaultKind::NotJson => "the line is not JSON".to_owned(),
            FaultKind::NotObject => "the line is no JSON object".to_owned(),
            FaultKind::TooDeep => format!("the JSON is nested more than {MAX_DEPTH} deep"),
            FaultKind::DuplicateKey => "an object has the same key twice".to_owned(),
            FaultKind::Unknown => {
                "the kind or a field of the message is unknown, missing, or has a wrong value"
                    .to_owned()
            }
        }
    }

    /// The error frame to answer with; a peer that is `known` also reads which part of its own line was meant.
    pub fn frame(&self, known: bool) -> ErrorFrame {
        let mut message = self.sentence();
        if known && !self.detail.is_empty() {
            message.push_str(": ");
            message.push_str(&self.detail);
        }
        ErrorFrame {
            code: self.code(),
            message,
        }
    }
}

/// Cuts a stream of bytes into lines: `\n` ends one, a `\r` before it is dropped.
#[derive(Debug)]
pub struct Lines {
    buffer: BytesMut,
    /// Bytes at the start of the buffer that are known to hold no end of line.
    searched: usize,
    limit: usize,
}

/// Room asked for before each read.
const READ_SIZE: usize = 8 * 1024;
/// A buffer that has grown beyond this for one long line is given back once it is empty.
const KEPT_SIZE: usize = 64 * 1024;

impl Lines {
    /// Lines of at most `limit` bytes, their end not counted.
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            searched: 0,
            limit,
        }
    }

    /// Changes the limit from the next line on.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Where the next bytes go; has room.
    pub fn room(&mut self) -> &mut BytesMut {
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_SIZE {
            self.buffer = BytesMut::new();
        }
        self.buffer.reserve(READ_SIZE);
        &mut self.buffer
    }

    /// Whether a line has begun and not ended. Ask after [`Lines::next_line`] gave none.
    pub fn has_begun(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The next whole line, if there is one.
    pub fn next_line(&mut self) -> Result<Option<BytesMut>, FrameFault> {
        let end = self.buffer[self.searched..]
            .iter()
            .position(|b| *b == b'\n');
        let Some(end) = end.map(|end| end + self.searched) else {
            self.searched = self.buffer.len();
            // One byte more than the limit may be the `\r` of an end that is still to come.
            return self
                .check_len(self.buffer.len().saturating_sub(1))
                .map(|()| None);
        };
        let mut line = self.buffer.split_to(end);
        self.buffer.advance(1);
        self.searched = 0;
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        self.check_len(line.len())?;
        Ok(Some(line))
    }

    fn check_len(&self, len: usize) -> Result<(), FrameFault> {
        if len > self.limit {
            return Err(FrameFault::new(FaultKind::TooLong(self.limit)));
        }
        Ok(())
    }
}

/// Reads one line as a message: UTF-8, one JSON object, not too deep, no key twice at any level, nothing that the
/// message does not have.
pub fn read_frame<M: DeserializeOwned>(line: &[u8]) -> Result<M, FrameFault> {
    let text = std::str::from_utf8(line).map_err(|_| FrameFault::new(FaultKind::NotUtf8))?;
    check_json(text).map_err(FrameFault::new)?;
    serde_json::from_str(text).map_err(|error| FrameFault {
        kind: FaultKind::Unknown,
        detail: shortened(&error.to_string()),
    })
}

/// Appends a message as one line that ends in `\r\n`.
pub fn write_frame<M: Serialize>(message: &M, into: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    serde_json::to_writer(&mut *into, message)?;
    into.extend_from_slice(b"\r\n");
    Ok(())
}

fn shortened(text: &str) -> String {
    text.chars()
        .flat_map(char::escape_debug)
        .take(MAX_DETAIL)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::client::FromClient;
    use super::*;

    const CREDIT: &str = r#"{"kind":"credit","id":1,"items":2}"#;

    fn check(line: &[u8], wanted: LinkError, sentence: &str) {
        let fault = read_frame::<FromClient>(line).unwrap_err();
        let shown = String::from_utf8_lossy(line);
        assert_eq!(fault.code(), wanted, "{shown}");
        let told = fault.frame(false).message;
        assert!(told.contains(sentence), "{shown}: {told}");
        assert!(!told.contains("secret"), "{told}");
    }

    #[test]
    fn every_malformed_line_has_its_answer() {
        use LinkError::{NotJson, NotUtf8, UnknownMessage};
        check(b"", NotJson, "not JSON");
        check(b"  ", NotJson, "not JSON");
        check(b"\0", NotJson, "not JSON");
        check(b"secret", NotJson, "not JSON");
        check(b"\xff\xfe", NotUtf8, "not UTF-8");
        check(b"{\"kind\":\"secret\xc3\"}", NotUtf8, "not UTF-8");
        check(b"[]", NotJson, "no JSON object");
        check(b"1", NotJson, "no JSON object");
        check(b"\"secret\"", NotJson, "no JSON object");
        check(b"{", NotJson, "not JSON");
        check(b"{}{}", NotJson, "not JSON");
        check(b"{\"a\":1e999}", NotJson, "not JSON");
        check(b"{\"a\":\"\\ud800\"}", NotJson, "not JSON");
        check(b"{} secret", NotJson, "not JSON");
        check(b"{}", UnknownMessage, "kind or a field");
        check(br#"{"kind":"secret"}"#, UnknownMessage, "kind or a field");
        check(br#"{"kind":"welcome"}"#, UnknownMessage, "kind or a field");
        check(br#"{"kind":"credit","id":1}"#, UnknownMessage, "missing");
        check(
            br#"{"kind":"credit","id":1,"items":-1}"#,
            UnknownMessage,
            "wrong value",
        );
        check(
            br#"{"kind":"credit","id":1,"items":2,"secret":3}"#,
            UnknownMessage,
            "unknown",
        );
        check(
            br#"{"kind":"credit","kind":"cancel","id":1}"#,
            NotJson,
            "same key twice",
        );
        check(
            br#"{"kind":"x","a":[{"b":{"c":1,"\u0063":2}}]}"#,
            NotJson,
            "same key twice",
        );
    }

    #[test]
    fn nesting_ends_at_its_limit() {
        let nested = |levels: usize| {
            let inner = levels - 1;
            format!("{{\"a\":{}{}}}", "[".repeat(inner), "]".repeat(inner))
        };
        check(nested(MAX_DEPTH).as_bytes(), LinkError::UnknownMessage, "");
        check(nested(MAX_DEPTH + 1).as_bytes(), LinkError::NotJson, "deep");
        check(nested(100_000).as_bytes(), LinkError::NotJson, "");
        check("{\"a\":".repeat(100_000).as_bytes(), LinkError::NotJson, "");
    }

    #[test]
    fn a_known_peer_reads_what_was_meant_within_bounds() {
        let line = format!(r#"{{"kind":"{}\u001b"}}"#, "x".repeat(1000));
        let fault = read_frame::<FromClient>(line.as_bytes()).unwrap_err();
        let told = fault.frame(true).message;
        assert!(told.contains("xxx"));
        assert!(told.len() < 400 && !told.contains('\u{1b}'));
        assert!(!fault.to_string().contains("xxx"));
    }

    fn lines(limit: usize, pieces: &[&str]) -> Vec<Result<String, LinkError>> {
        let mut lines = Lines::new(limit);
        let mut got = Vec::new();
        for piece in pieces {
            lines.room().extend_from_slice(piece.as_bytes());
            loop {
                match lines.next_line() {
                    Ok(Some(line)) => got.push(Ok(String::from_utf8(line.to_vec()).unwrap())),
                    Ok(None) => break,
                    Err(fault) => {
                        got.push(Err(fault.code()));
                        return got;
                    }
                }
            }
        }
        got
    }

    #[test]
    fn lines_end_in_either_way_however_they_arrive() {
        let ok = |texts: &[&str]| {
            texts
                .iter()
                .map(|t| Ok((*t).to_owned()))
                .collect::<Vec<_>>()
        };
        assert_eq!(lines(9, &["a\r\nb\nc"]), ok(&["a", "b"]));
        assert_eq!(
            lines(9, &["a", "\r", "\n", "\n", "b\rc\n"]),
            ok(&["a", "", "b\rc"])
        );
        assert_eq!(lines(3, &["abc\r\n", "abc\n"]), ok(&["abc", "abc"]));
        assert_eq!(lines(3, &["abcd\n"]), [Err(LinkError::TooLong)]);
        assert_eq!(lines(3, &["abc", "de"]), [Err(LinkError::TooLong)]);
        assert_eq!(
            lines(3, &["a\nabcdefgh"]),
            [Ok("a".to_owned()), Err(LinkError::TooLong)]
        );
    }

    #[test]
    fn a_message_is_one_line() {
        let message: FromClient = read_frame(CREDIT.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        write_frame(&message, &mut bytes).unwrap();
        assert_eq!(bytes, format!("{CREDIT}\r\n").as_bytes());
    }

    /// Numbers that look random and are the same each time (xorshift).
    fn scramble(state: &mut u64) -> usize {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        usize::try_from(*state >> 33).unwrap()
    }

    #[test]
    fn mutated_lines_never_panic() {
        let seeds = [
            CREDIT,
            r#"{"kind":"hello","protocol_min":1,"protocol_max":1,"version":"0","role":"operator","agent":null}"#,
            r#"{"kind":"request","id":1,"request_id":"r","ask":{"deed":"task_show","task":"a/b"}}"#,
            r#"{"kind":"error","code":"slow","message":"\u00fc"}"#,
        ];
        let splices: [&[u8]; 8] = [
            b"{",
            b"\"",
            b"[[",
            b"\xf0\x9f",
            b"\\u",
            b"null",
            b",",
            b"\n",
        ];
        let mut state = 42;
        for round in 0..20_000 {
            let mut line = seeds[round % seeds.len()].as_bytes().to_vec();
            for _ in 0..=scramble(&mut state) % 4 {
                let at = scramble(&mut state) % line.len();
                match scramble(&mut state) % 3 {
                    0 => line[at] = u8::try_from(scramble(&mut state) % 256).unwrap(),
                    1 => drop(line.remove(at)),
                    _ => {
                        drop(
                            line.splice(at..at, splices[scramble(&mut state) % 8].iter().copied()),
                        );
                    }
                }
            }
            let mut cut = Lines::new(300);
            cut.room().extend_from_slice(&line);
            while let Ok(Some(piece)) = cut.next_line() {
                let _ = read_frame::<FromClient>(&piece);
            }
            let _ = read_frame::<FromClient>(&line).map_err(|fault| fault.frame(true));
        }
    }
}
