//! A real terminal of a test: tmux types and reads the screen.
#![allow(
    dead_code,
    reason = "shared by the tests of the dashboard; each uses a part"
)]

use std::path::{Path, PathBuf};

use crate::programs::{CLIENT, ask, eventually, program, tell};
use crate::world::World;

/// A terminal. Its server is of this test alone, and ends with it.
pub struct Screen {
    socket: PathBuf,
}

impl Screen {
    /// With the dashboard of a fleet in it; then says what it ended with and how the terminal is set. None, and a
    /// line that says so, where there is no tmux.
    pub fn open(world: &World, columns: u16, rows: u16) -> Option<Self> {
        let home = world.path("center/admin");
        let program = format!("'{CLIENT}' --home '{}'", home.display());
        Self::with(world, columns, rows, &program)
    }

    /// The same with another program.
    pub fn with(world: &World, columns: u16, rows: u16, program: &str) -> Option<Self> {
        let line = format!("echo before; {program}; echo left with $?; stty -a; exec cat");
        Self::begin(&world.path("tmux"), columns, rows, &line)
    }

    /// With a shell that knows jobs.
    pub fn shell(world: &World, columns: u16, rows: u16) -> Option<Self> {
        Self::begin(&world.path("tmux"), columns, rows, "exec sh -i")
    }

    fn begin(socket: &Path, columns: u16, rows: u16, line: &str) -> Option<Self> {
        if program("tmux").arg("-V").output().is_err() {
            tell("skipped: no tmux; install the Debian package tmux");
            return None;
        }
        let screen = Self {
            socket: socket.to_owned(),
        };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        screen.tmux(&["new-session", "-d", "-x", &columns, "-y", &rows, line]);
        Some(screen)
    }

    pub fn tmux(&self, args: &[&str]) -> String {
        let mut command = program("tmux");
        command.arg("-f").arg("/dev/null").arg("-S");
        ask(command.arg(&self.socket).args(args), "").exits(0).out
    }

    /// Presses keys by tmux's names.
    pub fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Presses a key that the screen offers in these words.
    #[track_caller]
    pub fn takes(&self, offer: &str, key: &str) {
        self.shows(offer);
        self.press(&[key]);
    }

    pub fn type_in(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    /// The characters on the screen.
    pub fn text(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// The same with how they look.
    pub fn look(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e"])
    }

    #[track_caller]
    pub fn shows(&self, text: &str) {
        self.becomes(&format!("has `{text}`"), |screen| screen.contains(text));
    }

    /// Waits until the characters are so.
    #[track_caller]
    pub fn becomes(&self, what: &str, is_so: impl Fn(&str) -> bool) {
        let mut last = String::new();
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually(&format!("the screen {what}"), || {
                last = self.text();
                is_so(&last)
            });
        }));
        assert!(seen.is_ok(), "the screen never {what}:\n{last}");
    }

    /// Whether a program has the terminal's other screen.
    pub fn is_taken(&self) -> bool {
        self.is_set("alternate_on")
    }

    fn is_set(&self, flag: &str) -> bool {
        let wanted = format!("#{{{flag}}}");
        self.tmux(&["display-message", "-p", &wanted]).trim() == "1"
    }

    /// The program has ended with this code, and the terminal is as it was before: what stood there is back, the
    /// cursor is seen, keys are echoed and read by lines.
    #[track_caller]
    pub fn is_left_with(&self, code: u8) {
        self.shows(&format!("left with {code}"));
        self.shows("icanon");
        let text = self.text();
        assert!(!self.is_taken(), "the other screen is still there:\n{text}");
        assert!(self.is_set("cursor_flag"), "no cursor:\n{text}");
        assert!(text.contains("before"), "what stood there is gone:\n{text}");
        for wanted in ["icanon", "echo", "isig", "opost", "icrnl"] {
            let is_on = text.split([' ', '\n', ';']).any(|word| word == wanted);
            assert!(is_on, "not {wanted}:\n{text}");
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Where the server has ended already there is nothing to end.
        let mut command = program("tmux");
        let _ = command
            .arg("-S")
            .arg(&self.socket)
            .arg("kill-server")
            .output();
    }
}
