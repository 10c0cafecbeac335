//! What the dashboard lives through, and how it leaves the terminal when it does not.

use rustix::process::Signal;

use super::screen::Screen;
use crate::programs::{CLIENT, eventually, found, processes_with, signal};
use crate::world::World;

/// The dashboard's process.
fn dashboard(world: &World) -> u32 {
    let home = world.path("center/admin").display().to_string();
    let is_it = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "ucron\n")
    };
    found("the dashboard runs", || {
        processes_with(&home).into_iter().find(is_it)
    })
}

#[test]
fn a_screen_survives_resizing_and_the_centers_death_and_ends_with_its_terminal() {
    let mut world = World::small();
    world.add("web/tick", &["--rule", "@every 1s"], &["true"]);
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
    screen.becomes("has the center again", |text| !text.contains("no center"));
    screen.shows("web/tick");
    let pid = dashboard(&world);
    screen.tmux(&["kill-server"]);
    eventually("nothing is left of it", || !crate::programs::is_alive(pid));
}

#[test]
fn suspended_it_gives_the_terminal_to_the_shell_and_takes_it_again() {
    let world = World::small();
    let Some(screen) = Screen::shell(&world, 80, 24) else {
        return;
    };
    let home = world.path("center/admin");
    screen.type_in(&format!("'{CLIENT}' --home '{}'", home.display()));
    screen.press(&["Enter"]);
    screen.shows("agents by group");
    assert!(screen.is_taken());
    screen.press(&["C-z"]);
    screen.shows("Stopped");
    assert!(!screen.is_taken(), "the shell's screen is back");
    screen.type_in("echo the shell says $((6*7))");
    screen.press(&["Enter"]);
    screen.shows("the shell says 42");
    world.must(&["group", "add", "meanwhile"]);
    screen.type_in("fg");
    screen.press(&["Enter"]);
    screen.shows("meanwhile");
    assert!(screen.is_taken());
    screen.press(&["?"]);
    screen.shows("this help");
    screen.press(&["q"]);
    screen.becomes("is the shell's again", |text| {
        text.contains("the shell says 42")
    });
    screen.type_in("echo left with $?");
    screen.press(&["Enter"]);
    screen.shows("left with 0");
}

#[test]
fn a_signal_ends_it_and_the_terminal_is_as_it_was() {
    let world = World::small();
    for (sent, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let Some(screen) = Screen::open(&world, 80, 24) else {
            return;
        };
        screen.shows("agents by group");
        assert!(screen.is_taken());
        signal(dashboard(&world), sent);
        screen.is_left_with(code);
        drop(screen);
        let socket = world.path("tmux").display().to_string();
        eventually("the terminal is gone", || {
            processes_with(&socket).is_empty()
        });
    }
}
