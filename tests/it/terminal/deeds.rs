//! What an engineer does on the dashboard, key by key, and what the center has of it afterwards.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use super::screen::Screen;
use crate::programs::{eventually, run_user};
use crate::world::World;

/// No key is pressed that the screen does not offer just then.
#[test]
fn with_only_the_screens_own_words_a_task_is_added_followed_stopped_and_deleted() {
    let world = World::small();
    let Some(screen) = Screen::open(&world, 80, 24) else {
        return;
    };
    screen.shows("● a1");
    screen.takes("? help", "?");
    screen.takes("a               add a task", "a");
    screen.shows("add a task");
    // The only group is filled in: the name is asked for.
    screen.shows("group      web");
    screen.shows("> name");
    screen.shows("letters, digits");
    screen.type_in("hello");
    screen.takes("Enter next", "Enter");
    screen.shows("*/5 * * * *, @every 10s, @daily");
    screen.type_in("@every 1s");
    screen.shows("every second");
    screen.takes("Enter next", "Enter");
    screen.shows("the center's, UTC");
    screen.takes("Enter next", "Enter");
    screen.shows("the account it runs as");
    screen.type_in(&run_user());
    screen.takes("Enter next", "Enter");
    screen.type_in("echo spoken");
    screen.takes("Ctrl-S save", "C-s");
    screen.shows("web/hello added");
    screen.takes("l logs", "l");
    screen.shows("spoken");
    screen.takes("Esc back", "Escape");
    screen.shows("agents by group");
    screen.takes("s stop", "s");
    screen.shows("stop web/hello?");
    screen.takes("y  end what runs", "y");
    screen.shows("web/hello stopped");
    screen.takes("d delete", "d");
    screen.shows("delete web/hello?");
    screen.takes("y  delete", "y");
    screen.shows("web/hello deleted");
    eventually("the task is gone", || {
        world.ucron(&["show", "web/hello"]).code == 3
    });
    screen.takes("q quit", "q");
    screen.is_left_with(0);
}

#[test]
fn an_edited_rule_says_in_words_what_it_means_before_it_is_saved() {
    let world = World::small();
    world.add("web/tick", &["--rule", "@yearly"], &["true"]);
    let Some(screen) = Screen::open(&world, 80, 24) else {
        return;
    };
    screen.press(&["2"]);
    screen.shows("web/tick");
    screen.takes("e edit", "e");
    screen.shows("edit web/tick");
    screen.press(&["C-u"]);
    screen.type_in("30 4 1 13 *");
    screen.shows("month");
    screen.press(&["C-s"]);
    screen.shows("edit web/tick");
    screen.press(&["C-u"]);
    screen.type_in("30 4 1 2 *");
    screen.shows("04:30");
    screen.shows("-02-01 04:30:00");
    assert_eq!(world.json(&["show", "web/tick"])["rule"], "@yearly");
    screen.press(&["C-s"]);
    screen.shows("web/tick changed");
    let task = world.json(&["show", "web/tick"]);
    assert_eq!(task["rule"], "30 4 1 2 *");
    assert_eq!(task["revision"], 2);
    screen.shows("30 4 1 2 *");
    screen.press(&["q"]);
    screen.is_left_with(0);
}

#[test]
fn a_task_run_now_is_seen_to_run_and_to_end() {
    let world = World::small();
    let go = world.work_name("go");
    let line = format!("until test -e {go}; do sleep 0.05; done; exit 7");
    world.add("web/tick", &["--rule", "@yearly"], &["sh", "-c", &line]);
    let Some(screen) = Screen::open(&world, 80, 24) else {
        return;
    };
    screen.press(&["2"]);
    screen.shows("web/tick");
    screen.takes("r run", "r");
    screen.shows("web/tick runs now; 1 run");
    screen.press(&["3"]);
    screen.becomes("has the run under way", |text| {
        text.lines()
            .any(|line| line.contains("web/tick") && line.contains("running"))
    });
    std::fs::write(world.work("go"), "").unwrap();
    screen.becomes("has its end", |text| {
        text.lines()
            .any(|line| line.contains("web/tick") && line.contains("exited with code 7"))
    });
    let runs = world.runs("web/tick");
    assert_eq!(runs.len(), 1);
    assert!(runs[0].is("failed"));
    screen.press(&["q"]);
    screen.is_left_with(0);
}

#[test]
fn output_is_searched_to_and_fro() {
    let world = World::small();
    let line = "i=1; while test $i -le 300; do echo row-$i; i=$((i+1)); done";
    world.add("web/rows", &["--rule", "@yearly"], &["sh", "-c", line]);
    world.run_now("web/rows");
    world.ended("web/rows");
    let Some(screen) = Screen::open(&world, 80, 24) else {
        return;
    };
    screen.press(&["2"]);
    screen.shows("web/rows");
    screen.takes("l logs", "l");
    screen.shows("row-300");
    screen.takes("/ search", "/");
    screen.type_in("ROW-42");
    screen.takes("Enter search", "Enter");
    screen.shows("standing still");
    let first = |text: &str, wanted: &str| text.lines().nth(3).is_some_and(|line| line == wanted);
    screen.becomes("has the match on top", |text| first(text, "row-42"));
    let look = screen.look();
    let (before, _) = look.split_once("row-42").unwrap();
    let is_reversed = before.rsplit('\n').next().unwrap().contains("7m");
    assert!(is_reversed, "the match does not stand out: {look:?}");
    screen.press(&["/"]);
    screen.type_in("row-4");
    screen.press(&["Enter"]);
    screen.becomes("goes on", |text| first(text, "row-43"));
    screen.press(&["n"]);
    screen.becomes("goes on", |text| first(text, "row-44"));
    screen.press(&["N", "N"]);
    screen.becomes("goes back", |text| first(text, "row-42"));
    screen.press(&["/"]);
    screen.type_in("absent");
    screen.press(&["Enter"]);
    screen.shows("no line has `absent`");
    screen.takes("f follow", "f");
    screen.shows("row-300");
    screen.press(&["Escape"]);
    screen.shows("STATE");
}

#[test]
fn rows_are_filtered_and_the_help_is_one_key_away() {
    let world = World::new(&[("a1", "web"), ("a2", "db")]);
    for task in ["web/hello", "web/other", "db/hello"] {
        world.add(task, &["--rule", "@yearly"], &["true"]);
    }
    let Some(screen) = Screen::open(&world, 200, 50) else {
        return;
    };
    screen.press(&["2"]);
    screen.takes("/ filter", "/");
    screen.type_in("web hell");
    screen.press(&["Enter"]);
    screen.shows("1 of 3");
    screen.press(&["?"]);
    screen.shows("this help");
    screen.press(&["Escape"]);
    screen.becomes("has the one row", |text| {
        text.contains("web/hello") && !text.contains("web/other") && !text.contains("this help")
    });
    screen.press(&["Escape"]);
    screen.shows("web/other");
    screen.takes(": command", ":");
    screen.type_in("agents -q");
    screen.press(&["Enter"]);
    screen.shows("a2");
    screen.press(&["q"]);
    screen.is_left_with(0);
}
