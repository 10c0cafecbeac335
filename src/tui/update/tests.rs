//! Keys in, effects out.

use super::super::fixture::{NOW, changes, press, process, run, state, task, type_in};
use super::super::state::{Link, Overlay, Part, Screen, State, Thing};
use super::{Effect, Input, update};
use crate::cli::fault::{Fault, FaultCode};
use crate::model::{Outcome, UnixMs};
use crate::proto::request::{Answer, Change, Changed, Request, RunsStarted, Saved, Unconfirmed};

fn answer(state: &mut State, effects: &[Effect], answer: &Result<Answer, Fault>) {
    for effect in effects {
        if let Effect::Ask(ticket, _) = effect {
            update(state, NOW, Input::Answer(*ticket, Box::new(answer.clone())));
        }
    }
}

fn asked(effects: &[Effect]) -> Vec<&Request> {
    fn request(effect: &Effect) -> Option<&Request> {
        match effect {
            Effect::Ask(_, request) => Some(request),
            _ => None,
        }
    }
    effects.iter().filter_map(request).collect()
}

fn message(state: &State) -> &str {
    state
        .message
        .as_ref()
        .map_or("", |message| message.text.as_str())
}

/// Selects a task in the view of tasks.
fn at_task(state: &mut State, path: &str) {
    press(state, &["2", "g"]);
    for _ in 0..state.rows().len() {
        let (_, thing) = state.selected().unwrap();
        if state
            .task_of(&thing)
            .is_some_and(|task| format!("{}/{}", task.group, task.task_name) == path)
        {
            return;
        }
        press(state, &["j"]);
    }
    panic!("{path} is not listed");
}

#[test]
fn a_first_time_user_adds_follows_stops_and_deletes_with_the_help_alone() {
    let mut state = state(80, 24);
    // The help tells of a, l, s, d, and of Tab and Esc; each key works from the help itself.
    press(&mut state, &["?", "a"]);
    type_in(&mut state, "we");
    press(&mut state, &["Tab", "Enter"]);
    type_in(&mut state, "hello");
    press(&mut state, &["Enter"]);
    type_in(&mut state, "@every 10s");
    press(&mut state, &["Enter", "Enter"]);
    type_in(&mut state, "www");
    press(&mut state, &["Tab", "Enter"]);
    type_in(&mut state, "date");
    let effects = press(&mut state, &["C-s"]);
    let [Request::TaskAdd(add)] = asked(&effects)[..] else {
        panic!("{effects:?}");
    };
    assert_eq!((add.group.as_str(), add.name.as_str()), ("web", "hello"));
    assert_eq!(add.spec.rule.text(), "@every 10s");
    assert_eq!(add.spec.work.run_user.as_str(), "www-data");
    assert_eq!(add.spec.work.execute.to_string(), "date");

    let mut hello = task("web", "hello", "@every 10s");
    hello.next_at = Some(UnixMs(NOW.0 + 5000));
    let saved = Saved {
        task: hello.clone(),
        created: true,
        changed: true,
        warnings: Vec::new(),
        hit: Changed::default(),
    };
    answer(&mut state, &effects, &Ok(Answer::Saved(Box::new(saved))));
    assert_eq!(message(&state), "web/hello added; next in 5s");

    // The new task is selected: its output is one key away, the way back one more.
    let effects = press(&mut state, &["l"]);
    let [Effect::OpenLog(stream, read)] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!((read.of.as_str(), read.follow), (hello.id.as_str(), true));
    assert_eq!(press(&mut state, &["Esc"]), [Effect::CloseLog(*stream)]);

    assert!(press(&mut state, &["s"]).is_empty(), "stop asks first");
    let effects = press(&mut state, &["y"]);
    let [Request::TaskStop(stop)] = asked(&effects)[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(
        (stop.task.as_str(), stop.finish),
        (hello.id.as_str(), false)
    );
    let changed = Changed {
        changed: true,
        cancelled: 1,
        ..Changed::default()
    };
    answer(
        &mut state,
        &effects,
        &Ok(Answer::Changed(Box::new(changed))),
    );
    assert_eq!(
        message(&state),
        "web/hello stopped; 1 planned run cancelled"
    );

    hello.enabled = false;
    hello.next_at = None;
    update(
        &mut state,
        NOW,
        Input::Change(Box::new(Change::Task(Box::new(hello.clone())))),
    );
    at_task(&mut state, "web/hello");
    assert!(press(&mut state, &["d"]).is_empty(), "delete asks first");
    let effects = press(&mut state, &["y"]);
    let [Request::TaskRemove(remove)] = asked(&effects)[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(remove.task, hello.id.as_str());
}

#[test]
fn what_is_destructive_is_done_by_no_key_but_the_one_that_confirms() {
    for (ask, confirms) in [("s", vec!["y", "f"]), ("d", vec!["y"]), ("x", vec!["y"])] {
        for other in ["Enter", "Esc", "n", ask, "Space", "Up"] {
            let mut state = state(80, 24);
            at_task(&mut state, "web/worker");
            assert!(press(&mut state, &[ask]).is_empty());
            assert!(
                matches!(state.overlays.last(), Some(Overlay::Confirm(_))),
                "{ask}"
            );
            assert!(press(&mut state, &[other]).is_empty(), "{ask} {other}");
            assert!(
                message(&state).starts_with("not done"),
                "{}",
                message(&state)
            );
        }
        for confirm in confirms {
            let mut state = state(80, 24);
            at_task(&mut state, "web/worker");
            let effects = press(&mut state, &[ask, confirm]);
            assert_eq!(asked(&effects).len(), 1, "{ask} {confirm}");
        }
    }
}

#[test]
fn a_question_says_exactly_what_is_hit_and_where() {
    let mut state = state(80, 24);
    at_task(&mut state, "db/report");
    press(&mut state, &["s"]);
    let Some(Overlay::Confirm(confirm)) = state.overlays.last() else {
        panic!("it asks");
    };
    assert_eq!(confirm.title, "stop db/report");
    assert_eq!(
        confirm.lines,
        ["db/report: 1 process runs on a1; due next in 10m on a1"]
    );
}

#[test]
fn a_stopped_task_starts_without_a_question() {
    let mut state = state(80, 24);
    at_task(&mut state, "db/dump");
    let effects = press(&mut state, &["s"]);
    assert!(matches!(asked(&effects)[..], [Request::TaskStart(_)]));
}

#[test]
fn marks_take_the_deed_and_its_answers_become_one_line() {
    let mut state = state(80, 24);
    press(&mut state, &["2", "Space", "Space", "Space"]);
    assert_eq!(state.marks.len(), 3);
    let effects = press(&mut state, &["d", "y"]);
    assert_eq!(asked(&effects).len(), 3);
    let changed = Changed {
        changed: true,
        cancelled: 2,
        stopped: 1,
        unconfirmed: vec![Unconfirmed {
            agent: "b2".parse().unwrap(),
            may_fire_until: Some(UnixMs(NOW.0 + 10_000)),
        }],
        ..Changed::default()
    };
    answer(
        &mut state,
        &effects[..2],
        &Ok(Answer::Changed(Box::new(changed))),
    );
    let fault = Fault::new(FaultCode::Forbidden, "not allowed");
    answer(&mut state, &effects[2..], &Err(fault));
    assert_eq!(
        message(&state).split("; ").collect::<Vec<_>>()[..4],
        [
            "2 tasks deleted",
            "4 planned runs cancelled",
            "2 processes being ended",
            "not yet confirmed by b2 (may fire until 16:50:10.000)",
        ]
    );
    assert!(message(&state).ends_with("not allowed"));
}

#[test]
fn the_selection_follows_the_thing() {
    let mut state = state(80, 24);
    at_task(&mut state, "web/probe");
    let before = state.selected();
    let new = task("aaa", "first", "@daily");
    update(
        &mut state,
        NOW,
        Input::Change(Box::new(Change::Task(Box::new(new)))),
    );
    assert_eq!(state.selected(), before);
    let Some((_, Thing::Task(id))) = before.clone() else {
        panic!("a task is selected");
    };
    update(
        &mut state,
        NOW,
        Input::Change(Box::new(Change::TaskGone(id))),
    );
    let after = state.selected();
    assert!(after.is_some() && after != before, "{after:?}");
}

#[test]
fn esc_never_leaves_and_q_always_does() {
    for screen in ["1", "2", "3", "4", "5", "6"] {
        let mut state = state(80, 24);
        press(&mut state, &[screen, "Enter"]);
        for _ in 0..5 {
            assert!(
                !press(&mut state, &["Esc"])
                    .iter()
                    .any(|effect| matches!(effect, Effect::Quit(_)))
            );
        }
        assert_eq!(press(&mut state, &["Enter", "?", "q"]), [Effect::Quit(0)]);
    }
}

#[test]
fn the_filter_stays_while_things_change() {
    let mut state = state(80, 24);
    press(&mut state, &["2", "/"]);
    type_in(&mut state, "web work");
    press(&mut state, &["Enter"]);
    assert_eq!(state.rows().len(), 1);
    let new = task("web", "worker2", "@daily");
    update(
        &mut state,
        NOW,
        Input::Change(Box::new(Change::Task(Box::new(new)))),
    );
    assert_eq!(state.rows().len(), 2);
    press(&mut state, &["Esc"]);
    assert_eq!(state.rows().len(), 7);
}

#[test]
fn a_refused_save_keeps_what_was_typed() {
    let mut state = state(80, 24);
    at_task(&mut state, "web/probe");
    press(&mut state, &["e", "C-u"]);
    type_in(&mut state, "@every 1m");
    let effects = press(&mut state, &["C-s"]);
    let [Request::TaskEdit(edit)] = asked(&effects)[..] else {
        panic!("{effects:?}");
    };
    assert_eq!((edit.revision.0, edit.spec.rule.text()), (3, "@every 1m"));
    assert_eq!(edit.spec.work.execute.to_string(), "/opt/probe --all");
    let fault = Fault::new(FaultCode::Conflict, "changed meanwhile");
    answer(&mut state, &effects, &Err(fault));
    let Some(Overlay::Form(form)) = state.overlays.last() else {
        panic!("the form is still there");
    };
    assert_eq!(form.refused, ["changed meanwhile"]);
    assert!(press(&mut state, &["Esc"]).is_empty());
    assert!(
        matches!(state.overlays.last(), Some(Overlay::Form(_))),
        "Esc asks first"
    );
    press(&mut state, &["Esc"]);
    assert!(state.overlays.is_empty());
}

#[test]
fn a_task_output_goes_on_with_its_next_run() {
    let mut state = state(80, 24);
    at_task(&mut state, "db/report");
    let opened = press(&mut state, &["l"]);
    assert_eq!(opened.len(), 1);
    let mut next = process("db/report", "a1", 0, 0, false);
    next.run_id = Some(crate::model::RunId::hash(b"next"));
    let started = Input::Change(Box::new(Change::Process(next.clone())));
    let effects = update(&mut state, NOW, started);
    let [Effect::OpenLog(_, read)] = &effects[..] else {
        panic!("{effects:?}");
    };
    assert_eq!(read.of, next.run_id.unwrap().to_string());
    let other = process("web/worker", "a1", 5, 0, true);
    let effects = update(
        &mut state,
        NOW,
        Input::Change(Box::new(Change::Process(other))),
    );
    assert!(effects.is_empty());
}

#[test]
fn after_a_reconnect_the_new_snapshot_replaces_the_old_and_history_stays() {
    let mut state = state(80, 24);
    let runs = state.fleet.runs.newest_first().count();
    update(&mut state, NOW, Input::Lost(1, "gone".to_owned()));
    update(
        &mut state,
        UnixMs(NOW.0 + 5000),
        Input::Lost(2, "gone".to_owned()),
    );
    let Link::Lost { since, attempt, .. } = &state.link else {
        panic!("it is lost");
    };
    assert_eq!((*since, *attempt), (NOW, 2));
    at_task(&mut state, "web/probe");
    press(&mut state, &["l"]);
    let Some(Overlay::Log(pane)) = state.overlays.last() else {
        panic!("the output is open");
    };
    let stream = pane.stream;
    let fault = Fault::new(FaultCode::Unavailable, "broke");
    update(&mut state, NOW, Input::LogOver(stream, Some(fault)));
    update(&mut state, NOW, Input::Connected);
    assert_eq!(
        state.fleet.tasks.len(),
        6,
        "the old is shown until the new is whole"
    );
    let snapshot = changes()
        .into_iter()
        .filter(|change| !matches!(change, Change::Task(_) | Change::Run(_)));
    let mut effects = Vec::new();
    for change in snapshot {
        effects.extend(update(&mut state, NOW, Input::Change(Box::new(change))));
    }
    assert_eq!(state.link, Link::Live);
    assert!(state.fleet.tasks.is_empty());
    assert_eq!(state.fleet.runs.newest_first().count(), runs);
    assert!(matches!(asked(&effects)[..], [Request::RunList(_)]));
    let reopened = |effect: &Effect| matches!(effect, Effect::OpenLog(at, _) if *at == stream);
    assert!(effects.iter().any(reopened), "what broke is read anew");
}

#[test]
fn the_command_line_is_read_by_the_argument_table() {
    let check = |line: &str, wanted: &[Effect], said: &str| {
        let mut state = state(80, 24);
        press(&mut state, &[":"]);
        type_in(&mut state, line);
        assert_eq!(press(&mut state, &["Enter"]), wanted, "{line}");
        assert!(
            message(&state).contains(said),
            "{line}: {}",
            message(&state)
        );
    };
    let words =
        |words: &[&str]| Effect::Command(words.iter().map(|word| (*word).to_owned()).collect());
    check("agent drain a1", &[words(&["agent", "drain", "a1"])], "…");
    check(
        "ucron ls --group web",
        &[words(&["ls", "--group", "web"])],
        "…",
    );
    check("q", &[Effect::Quit(0)], "");
    check("", &[], "");
    check("bogus", &[], "unknown command `bogus`");
    check("run 'a", &[], "a quote is not closed");
    check("dev", &[], "for a shell");
}

#[test]
fn failures_are_folded_by_cause_with_their_count_and_last_time() {
    let state = state(80, 24);
    let failures = state.fleet.failures();
    let first: Vec<(String, u64)> = failures
        .iter()
        .map(|failures| (failures.key.task.to_string(), failures.count))
        .collect();
    assert_eq!(
        first,
        [
            ("web/probe".to_owned(), 3),
            ("web/probe".to_owned(), 1),
            ("db/dump".to_owned(), 1),
            ("db/dump".to_owned(), 1),
        ]
    );
    assert_eq!(failures[0].last_at, UnixMs(NOW.0 - 5000));
}

#[test]
fn running_now_asks_only_for_several() {
    let mut state = state(80, 24);
    at_task(&mut state, "web/probe");
    let effects = press(&mut state, &["r"]);
    assert!(matches!(asked(&effects)[..], [Request::TaskRun(_)]));
    let started = RunsStarted {
        runs: vec![run("web/probe", "a1", 0, Outcome::Succeeded, "").run_id],
    };
    answer(&mut state, &effects, &Ok(Answer::Started(started)));
    assert_eq!(message(&state), "web/probe runs now; 1 run");
    press(&mut state, &["g", "Space", "Space"]);
    assert!(press(&mut state, &["r"]).is_empty());
    assert_eq!(asked(&press(&mut state, &["y"])).len(), 2);
}

#[test]
fn pages_of_the_overview_are_its_parts() {
    let mut state = state(80, 24);
    let parts: Vec<Part> = (0..5)
        .map(|_| {
            let (part, _) = state.selected().unwrap();
            press(&mut state, &["PgDn"]);
            part
        })
        .collect();
    assert_eq!(
        parts,
        [
            Part::Groups,
            Part::Running,
            Part::Next,
            Part::Failures,
            Part::Strips
        ]
    );
    press(&mut state, &["Tab"]);
    assert_eq!(state.screen, Screen::Tasks);
    assert_eq!(
        press(&mut state, &["6"]),
        [Effect::OpenEvents("2-1".to_owned())]
    );
}

#[test]
fn pasted_text_is_typed_and_never_taken_for_keys() {
    let mut state = state(80, 24);
    assert!(update(&mut state, NOW, Input::Paste("dy".to_owned())).is_empty());
    assert!(state.overlays.is_empty());
    press(&mut state, &["/"]);
    update(&mut state, NOW, Input::Paste("web\n".to_owned()));
    assert_eq!(state.filter, "web");
}
