//! A command line carried out over a session that is open already, its output kept: what the dashboard's command
//! line does.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use super::args::{self, Parsed};
use super::client::Input;
use super::fault::Fault;
use super::print::{Out, Style};
use super::session::Session;
use super::{help_text, perform};
use crate::rule::Zone;

/// What a command wrote on both streams, in order.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Carries out these words, which stand after `ucron`, for a screen of this width: what was written and the exit
/// code. Nobody is asked: what wants a `--yes` says so.
pub async fn within(
    session: Session,
    words: Vec<String>,
    width: usize,
    zone: &Zone,
) -> (Vec<String>, u8) {
    let parsed = match args::parse(std::iter::once("ucron".to_owned()).chain(words)) {
        Parsed::Command(parsed) => *parsed,
        Parsed::Help(text) => return (split(text.as_bytes()), 0),
        Parsed::Wrong(fault) => return (said(&fault), fault.code.exit_code()),
    };
    let Some(command) = parsed.command else {
        return (split(help_text().as_bytes()), 0);
    };
    let mut global = parsed.global;
    if global.timezone.is_none() && !global.utc {
        global.timezone = Some(zone.clone());
    }
    let kept = Kept::default();
    let style = Style::new(&global, Some(width), crate::clock::now);
    let mut out = Out::new(Box::new(kept.clone()), Box::new(kept.clone()), style);
    let mut input = Input::new(Box::new(tokio::io::empty()), false);
    let reach = async || Ok(session);
    let exit = perform(&global, command, &mut out, &mut input, reach).await;
    let flushed = out.flush();
    let bytes = std::mem::take(&mut *kept.0.lock().unwrap_or_else(PoisonError::into_inner));
    let mut lines = split(&bytes);
    lines.extend(flushed.err().iter().flat_map(said));
    (lines, exit.0)
}

fn said(fault: &Fault) -> Vec<String> {
    let lines = fault.message.lines().map(str::to_owned);
    lines.chain(fault.hint.clone()).collect()
}

fn split(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes)
        .lines()
        .map(str::to_owned)
        .collect()
}
