//! The terminal: taken when the dashboard opens, given back as it was whenever it ends, also by a panic.

use std::io::{self, BufWriter, Stdout, Write, stdout};
use std::sync::{Mutex, PoisonError};

use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::execute;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use rustix::process::{Signal, getpid, kill_process};

use crate::model::UnixMs;
use crate::tui::state::State;
use crate::tui::view::{Drawn, Theme, View};

/// One frame is written at once, so that a slow line shows it whole.
const FRAME: usize = 64 * 1024;

/// What panics said while nobody could read it.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// What panics said; none where there was no panic.
pub(super) fn panics() -> Option<String> {
    let said = PANICS.lock().unwrap_or_else(PoisonError::into_inner);
    (!said.is_empty()).then(|| said.join("\n"))
}

/// The terminal while the dashboard has it.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
    theme: Theme,
    view: View,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn open(view: View) -> io::Result<Self> {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        take()?;
        // A message in the middle of the screen is read by nobody: it is kept until the terminal is given back.
        std::panic::set_hook(Box::new(|panic| {
            let mut said = PANICS.lock().unwrap_or_else(PoisonError::into_inner);
            said.push(panic.to_string());
        }));
        let opened = Terminal::new(CrosstermBackend::new(BufWriter::with_capacity(
            FRAME,
            stdout(),
        )));
        let terminal = opened.inspect_err(|_| give_back())?;
        Ok(Self {
            terminal,
            theme: Theme {
                has_colors: !no_color,
            },
            view,
        })
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> io::Result<(u16, u16)> {
        let size = self.terminal.size()?;
        Ok((size.width, size.height))
    }

    /// Draws the state; only what differs from what stands there is written.
    pub(super) fn draw(&mut self, state: &State, now: UnixMs) -> io::Result<Drawn> {
        let (theme, view) = (self.theme, self.view);
        let mut drawn = Drawn::default();
        self.terminal.draw(|frame| {
            drawn = view(state, now, theme, frame.buffer_mut());
            if let Some(position) = drawn.cursor {
                frame.set_cursor_position(position);
            }
        })?;
        Ok(drawn)
    }

    /// Draws everything anew with the next frame.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.terminal.clear()
    }

    /// Gives the terminal to the shell and stops until called back.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        give_back();
        kill_process(getpid(), Signal::TSTP)?;
        take()?;
        self.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
        if !std::thread::panicking() {
            drop(std::panic::take_hook());
        }
    }
}

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste).inspect_err(|_| give_back())
}

/// Every step is tried: a terminal that is gone takes none of them.
fn give_back() {
    let _ = execute!(
        stdout(),
        DisableBracketedPaste,
        LeaveAlternateScreen,
        crossterm::cursor::Show
    );
    let _ = disable_raw_mode();
    let _ = stdout().flush();
}
