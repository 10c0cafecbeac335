//! The dashboard through a real terminal: tmux types and reads the screen.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops where something is not as it must be, and says what it skips"
)]

use std::path::PathBuf;

use crate::programs::{CLIENT, ask, eventually, processes_with, program, run_user};
use crate::world::World;

/// A terminal with the dashboard of a fleet in it. Its server is of this test alone, and ends with it.
struct Screen {
    socket: PathBuf,
}

impl Screen {
    /// None, and a line that says so, where there is no tmux.
    fn open(world: &World, columns: u16, rows: u16) -> Option<Self> {
        if program("tmux").arg("-V").output().is_err() {
            println!("skipped: no tmux; install the Debian package tmux");
            return None;
        }
        let screen = Self {
            socket: world.path("tmux"),
        };
        let home = world.path("center/admin");
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let command = format!(
            "'{CLIENT}' --home '{}'; echo left with $?; exec cat",
            home.display()
        );
        screen.tmux(&["new-session", "-d", "-x", &columns, "-y", &rows, &command]);
        Some(screen)
    }

    fn tmux(&self, args: &[&str]) -> String {
        let mut command = program("tmux");
        command.arg("-f").arg("/dev/null").arg("-S");
        ask(command.arg(&self.socket).args(args), "").exits(0).out
    }

    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn type_in(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    fn text(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    fn shows(&self, text: &str) {
        let mut last = String::new();
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually(&format!("the screen shows `{text}`"), || {
                last = self.text();
                last.contains(text)
            });
        }));
        assert!(seen.is_ok(), "no `{text}` in\n{last}");
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

#[test]
fn a_task_is_added_followed_filtered_stopped_and_deleted_at_a_terminal() {
    let world = World::small();
    let Some(screen) = Screen::open(&world, 80, 24) else {
        return;
    };
    screen.shows("● a1");
    screen.press(&["a"]);
    // The group that is selected is filled in already.
    screen.shows("letters, digits");
    screen.press(&["Enter"]);
    screen.type_in("hello");
    screen.press(&["Enter"]);
    screen.type_in("@every 1s");
    screen.shows("every second");
    screen.press(&["Enter", "Enter"]);
    screen.type_in(&run_user());
    screen.press(&["Enter"]);
    screen.type_in("echo spoken");
    screen.press(&["C-s"]);
    screen.shows("web/hello added");
    screen.press(&["l"]);
    screen.shows("spoken");
    screen.press(&["Escape"]);
    screen.shows("agents by group");
    screen.press(&["2"]);
    screen.shows("STATE");
    screen.press(&["/"]);
    screen.type_in("hell");
    screen.press(&["Enter"]);
    screen.shows("1 of 1");
    screen.press(&["?"]);
    screen.shows("this help");
    screen.press(&["Escape"]);
    screen.shows("web/hello");
    screen.press(&["s"]);
    screen.shows("stop web/hello?");
    screen.press(&["y"]);
    screen.shows("web/hello stopped");
    screen.press(&["d"]);
    screen.shows("delete web/hello?");
    screen.press(&["y"]);
    eventually("the task is gone", || {
        world.ucron(&["show", "web/hello"]).code == 3
    });
    screen.press(&["q"]);
    screen.shows("left with 0");
}

#[test]
fn a_screen_survives_resizing_and_the_centers_death_and_ends_with_its_terminal() {
    let mut world = World::small();
    let user = run_user();
    world.must(&[
        "add",
        "--group",
        "web",
        "--name",
        "tick",
        "--rule",
        "@every 1s",
        "--user",
        &user,
        "--",
        "true",
    ]);
    let Some(screen) = Screen::open(&world, 80, 24) else {
        return;
    };
    screen.shows("web/tick");
    screen.tmux(&["resize-window", "-x", "200", "-y", "50"]);
    screen.shows("last runs");
    screen.tmux(&["resize-window", "-x", "20", "-y", "5"]);
    screen.tmux(&["resize-window", "-x", "80", "-y", "24"]);
    screen.shows("recent failures");
    world.kill_center();
    screen.shows("no center");
    world.start_center();
    eventually("the center is there again", || {
        !screen.text().contains("no center")
    });
    screen.shows("web/tick");
    let home = world.path("center/admin").display().to_string();
    assert!(!processes_with(&home).is_empty());
    screen.tmux(&["kill-server"]);
    eventually("nothing is left of it", || processes_with(&home).is_empty());
}
