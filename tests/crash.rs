//! The dashboard's own defect: it panics in the middle of the screen. This program is both
//! the test and, in a terminal, a dashboard drawn by a view that panics where it is told to; so nothing in the real
//! one is there for the test alone.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

#[path = "it/programs.rs"]
mod programs;
#[path = "it/terminal/screen.rs"]
mod screen;
#[path = "it/world.rs"]
mod world;

use std::path::Path;
use std::process::ExitCode;

use ratatui::buffer::Buffer;
use screen::Screen;
use ucron::model::UnixMs;
use ucron::tui::state::{self, State};
use ucron::tui::view::{self, Drawn, Theme};
use world::World;

/// Names the client home to the program in the terminal.
const HOME: &str = "UCRON_TEST_CRASH_HOME";

fn main() -> ExitCode {
    if let Some(home) = std::env::var_os(HOME) {
        let options = ucron::tui::Options::at(Path::new(&home));
        return ucron::tui::run(&options.drawn_by(fragile));
    }
    a_panic_gives_the_terminal_back_and_can_be_read();
    ExitCode::SUCCESS
}

/// The real view, but for one that cannot be drawn.
fn fragile(state: &State, now: UnixMs, theme: Theme, buffer: &mut Buffer) -> Drawn {
    assert!(
        state.screen != state::Screen::Events,
        "the events cannot be drawn"
    );
    view::draw(state, now, theme, buffer)
}

fn a_panic_gives_the_terminal_back_and_can_be_read() {
    let world = World::small();
    let own = std::env::current_exe().unwrap();
    let home = world.path("center/admin");
    let program = format!("{HOME}='{}' '{}'", home.display(), own.display());
    let Some(screen) = Screen::with(&world, 80, 40, &program) else {
        return;
    };
    screen.shows("agents by group");
    assert!(screen.is_taken());
    screen.press(&["6"]);
    screen.is_left_with(101);
    screen.shows("ucron: the dashboard failed, which is a defect");
    screen.shows("the events cannot be drawn");
    screen.shows("crash.rs");
}
