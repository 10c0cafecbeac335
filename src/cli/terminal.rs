//! What the client asks the terminal: how wide it is, and not to show what is typed.

use std::io;

use rustix::termios::{self, LocalModes, OptionalActions, Termios};

/// Columns of stdout's terminal; none where stdout is no terminal. COLUMNS says it where the terminal does not.
pub fn width() -> Option<usize> {
    let stdout = io::stdout();
    if !termios::isatty(&stdout) {
        return None;
    }
    let told = termios::tcgetwinsize(&stdout).map_or(0, |size| usize::from(size.ws_col));
    let columns = std::env::var("COLUMNS")
        .ok()
        .and_then(|text| text.parse().ok());
    Some(match told {
        0 => columns.filter(|columns| *columns > 0).unwrap_or(80),
        told => told,
    })
}

/// While it lives, stdin's terminal shows nothing of what is typed.
pub struct Silence(Option<Termios>);

impl Silence {
    /// From now on; nothing where stdin is no terminal.
    pub fn of_stdin() -> Self {
        let Ok(before) = termios::tcgetattr(io::stdin()) else {
            return Self(None);
        };
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        // Where it cannot be silenced the token is seen by who types it; that is no reason to refuse.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Flush, &silent);
        Self(Some(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // The terminal may be gone, then there is nothing to put back.
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}
