//! What is kept between inputs: the lists, the lines typed before, the group of a form opened early.

use std::rc::Rc;

use super::{Overlay, Part, State, Thing, path_of};
use crate::model::Outcome;
use crate::proto::request::Change;
use crate::rule::Zone;
use crate::tui::fixture::{NOW, changes, event, press, run, state, task, type_in};
use crate::tui::update::{Input, update};

/// Whether an input makes the lists anew.
fn check(does: &str, is_made_anew: bool, input: impl FnOnce(&mut State)) {
    let mut state = state(80, 24);
    press(&mut state, &["2"]);
    let before = state.lists();
    input(&mut state);
    let after = state.lists();
    assert_eq!(!Rc::ptr_eq(&before, &after), is_made_anew, "{does}");
    assert!(Rc::ptr_eq(&after, &state.lists()), "twice after {does}");
}

fn change(state: &mut State, change: Change) {
    update(state, NOW, Input::Change(Box::new(change)));
}

#[test]
fn the_lists_are_made_once_for_as_long_as_nothing_changes() {
    check("nothing", false, |_| {});
    check("a tick", false, |state| {
        update(state, NOW, Input::Tick);
    });
    check("moving", false, |state| {
        press(state, &["j", "Space", "?", "Esc", "k"]);
    });
    check("resizing", false, |state| {
        update(state, NOW, Input::Resize(200, 50));
    });
    check("a task", true, |state| {
        change(state, Change::Task(Box::new(task("web", "new", "@daily"))));
    });
    check("an end", true, |state| {
        let run = run("web/probe", "a1", 1, Outcome::Failed, "exit code 1");
        change(state, Change::Run(Box::new(run)));
    });
    check("an event", true, |state| {
        update(state, NOW, Input::Event(Box::new(event(9))));
    });
    check("a filter", true, |state| {
        press(state, &["/", "w"]);
    });
    check("another view", true, |state| drop(press(state, &["3"])));
    check("a new snapshot", true, |state| {
        update(state, NOW, Input::Connected);
        for one in changes() {
            change(state, one);
        }
    });
}

/// The line being typed at the foot.
fn typed(state: &State) -> String {
    let Some(Overlay::Prompt(prompt)) = state.overlays.last() else {
        panic!("nothing is typed");
    };
    prompt.field.text()
}

#[test]
fn commands_typed_before_come_back_by_up_and_down() {
    let mut state = state(80, 24);
    for line in ["agents", "groups", "ls"] {
        press(&mut state, &[":"]);
        type_in(&mut state, line);
        press(&mut state, &["Enter"]);
    }
    press(&mut state, &[":", "Up", "Esc", ":", "Down"]);
    type_in(&mut state, "new");
    for (key, wanted) in [
        ("Down", "new"),
        ("Up", "ls"),
        ("Up", "groups"),
        ("Up", "agents"),
        ("Up", "agents"),
        ("Down", "groups"),
        ("Down", "ls"),
        ("Down", "new"),
    ] {
        press(&mut state, &[key]);
        assert_eq!(typed(&state), wanted, "after {key}");
    }
    press(&mut state, &["Up", "Up"]);
    type_in(&mut state, " -q");
    press(&mut state, &["Enter", ":", "Up"]);
    assert_eq!(typed(&state), "groups -q");
}

/// The group in a form that is opened, and typed in, before the snapshot has come.
fn early_group(groups: &[&str], keys: &[&str]) -> String {
    let mut state = State::new((80, 24), Zone::utc());
    press(&mut state, &["a"]);
    press(&mut state, keys);
    for known in changes() {
        match &known {
            Change::Group(group) if !groups.contains(&group.name.as_str()) => {}
            _ => change(&mut state, known),
        }
    }
    let Some(Overlay::Form(form)) = state.overlays.last() else {
        panic!("the form is open");
    };
    assert_eq!(form.is_changed(), !keys.is_empty());
    form.entries[0].typed.text()
}

#[test]
fn a_form_opened_early_gets_the_only_group_unless_one_was_typed() {
    assert_eq!(early_group(&["web"], &[]), "web");
    assert_eq!(early_group(&["web"], &["d"]), "d");
    assert_eq!(early_group(&["web"], &["Enter", "n"]), "web");
    assert_eq!(early_group(&["web", "db"], &[]), "");
}

/// The part and task selected on the overview once this has changed, where this task's row in `next` was.
fn selected_after(path: &str, input: impl FnOnce(&mut State)) -> (Part, String) {
    let mut state = state(80, 24);
    let name = |state: &State| {
        let (part, thing) = state.selected().unwrap();
        (part, path_of(state.task_of(&thing).unwrap()).to_string())
    };
    press(&mut state, &["PgDn", "PgDn"]);
    while name(&state) != (Part::Next, path.to_owned()) {
        press(&mut state, &["j"]);
    }
    input(&mut state);
    name(&state)
}

#[test]
fn a_selected_task_that_is_due_no_more_stays_selected_where_it_is_still_listed() {
    let stopped = |state: &mut State| {
        let mut task = task("web", "probe", "*/5 * * * *");
        task.enabled = false;
        change(state, Change::Task(Box::new(task)));
    };
    let selected = selected_after("web/probe", stopped);
    assert_eq!(selected, (Part::Strips, "web/probe".to_owned()));
    // What is gone leaves the selection to its neighbour, in the same part while that has rows.
    let last = "web/备份数据库每天晚上";
    let gone = |state: &mut State| {
        let task = task("web", "备份数据库每天晚上", "30 3 * * *");
        change(state, Change::TaskGone(task.id));
    };
    let selected = selected_after(last, gone);
    assert_eq!(selected, (Part::Next, "db/report".to_owned()));
}

#[test]
fn a_selected_run_stays_selected_when_it_ends() {
    let mut state = state(80, 24);
    press(&mut state, &["3", "j"]);
    let Some((_, Thing::Process(key))) = state.selected() else {
        panic!("a run under way is selected");
    };
    let id = key.run_id.clone().unwrap();
    let mut ended = run("db/report", "a1", 0, Outcome::Succeeded, "");
    ended.run_id = id.clone();
    change(&mut state, Change::ProcessGone(key));
    change(&mut state, Change::Run(Box::new(ended)));
    assert_eq!(state.selected(), Some((Part::Runs, Thing::Run(id))));
}

#[test]
fn a_page_is_not_scrolled_beyond_its_end() {
    let mut state = state(80, 24);
    press(&mut state, &["2", "Enter", "G"]);
    state.settle(7);
    press(&mut state, &["k"]);
    let Some(Overlay::Detail(page)) = state.overlays.last() else {
        panic!("the page is open");
    };
    assert_eq!(page.top, 6);
}
