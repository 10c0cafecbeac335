//! One peer at the keeper's socket: lines in, lines out, neither ever blocking the keeper.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use super::wire::{Command, Event};

/// Bytes of one command at most: a task's text is at most 64 KiB.
const MAX_LINE: usize = 1024 * 1024;
/// Reads of one peer in a row at most.
const MAX_READS: usize = 16;
/// Bytes waiting for a peer that does not read; what matters is said again at its next connect.
const MAX_WAITING: usize = 16 * 1024 * 1024;

/// A connected peer.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    /// The account of the peer.
    pub uid: u32,
    input: Vec<u8>,
    output: Vec<u8>,
    sent: usize,
    /// It does not listen any more; what it said before it left is still obeyed.
    deaf: bool,
}

/// What a peer sent.
#[derive(Debug)]
pub(super) enum Input {
    /// A command.
    Command(Box<Command>),
    /// Something that is none; why.
    Bad(String),
    /// Nothing any more.
    Closed,
}

impl Connection {
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let uid = rustix::net::sockopt::socket_peercred(&stream)?.uid.as_raw();
        Ok(Self {
            stream,
            uid,
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            deaf: false,
        })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Takes what has arrived.
    pub fn read(&mut self) -> Vec<Input> {
        let mut found = Vec::new();
        let mut bytes = [0u8; 16 * 1024];
        // What more there is wakes the loop again: nobody who never stops speaking keeps it from its work.
        for _ in 0..MAX_READS {
            match self.stream.read(&mut bytes) {
                Ok(0) => {
                    found.push(Input::Closed);
                    return found;
                }
                Ok(len) => self.input.extend_from_slice(&bytes[..len]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    found.push(Input::Closed);
                    return found;
                }
            }
            self.take_lines(&mut found);
        }
        if self.input.len() > MAX_LINE {
            found.push(Input::Bad("a line is too long".to_owned()));
        }
        self.input.shrink_to(bytes.len());
        found
    }

    fn take_lines(&mut self, found: &mut Vec<Input>) {
        let mut from = 0;
        while let Some(len) = self.input[from..].iter().position(|byte| *byte == b'\n') {
            let line = &self.input[from..from + len];
            found.push(match serde_json::from_slice(line) {
                Ok(command) => Input::Command(Box::new(command)),
                Err(e) => Input::Bad(e.to_string()),
            });
            from += len + 1;
        }
        self.input.drain(..from);
    }

    /// Puts an event in line; false where the peer has not read for too long.
    pub fn say(&mut self, event: &Event) -> bool {
        if self.deaf {
            return true;
        }
        if let Ok(json) = serde_json::to_vec(event) {
            self.output.extend_from_slice(&json);
            self.output.push(b'\n');
        }
        self.output.len() - self.sent <= MAX_WAITING
    }

    /// Writes what the peer takes now; whether something is left.
    pub fn flush(&mut self) -> bool {
        while self.sent < self.output.len() && !self.deaf {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(len) => self.sent += len,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return true,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.deaf = true,
            }
        }
        self.output.clear();
        self.output.shrink_to(64 * 1024);
        self.sent = 0;
        false
    }

    /// Tells the peer that it is over, whoever else holds a copy of the descriptor.
    pub fn close(&self) {
        drop(self.stream.shutdown(std::net::Shutdown::Both));
    }

    /// Writes all that is in line, for the keeper's end; gives up after a second.
    pub fn finish(&mut self) {
        let wait = std::time::Duration::from_secs(1);
        let ready = self
            .stream
            .set_nonblocking(false)
            .and_then(|()| self.stream.set_write_timeout(Some(wait)));
        if ready.is_ok() {
            // A peer that is gone asks again at the next keeper.
            self.flush();
        }
    }
}
