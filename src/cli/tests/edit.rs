//! `edit` in an editor at a terminal: what is wrong may be edited again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::cli::args::{self, Parsed};
use crate::cli::client::Input;
use crate::cli::fake::{self, Center, Reply, Shared};
use crate::cli::print::{Out, style_tests::style};
use crate::proto::request::{Answer, Changed, RefusalCode, Request, Saved};

/// Edits at a terminal with a shell line as the editor, these being typed; exit, words, requests.
async fn edit(
    dir: &Path,
    line: &str,
    typed: &'static str,
    answers: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static,
) -> (u8, String, Vec<Request>) {
    let editor = dir.join("editor");
    fs::write(
        &editor,
        format!("#!/bin/sh\ncd {}\n{line}\n", dir.display()),
    )
    .unwrap();
    fs::set_permissions(&editor, fs::Permissions::from_mode(0o755)).unwrap();
    let center = Center::new(answers);
    let (stdout, stderr) = (Shared::default(), Shared::default());
    let mut out = Out::new(Box::new(stdout), Box::new(stderr.clone()), style());
    let mut input = Input::new(Box::new(typed.as_bytes()), true).with_editor(Some(editor.into()));
    let Parsed::Command(parsed) = args::parse(["ucron", "edit", "web/probe"]) else {
        panic!("the line is good");
    };
    let reach = async || center.session().await;
    let command = parsed.command.unwrap();
    let exit = crate::cli::perform(&parsed.global, command, &mut out, &mut input, reach).await;
    let asked = center.asked.lock().unwrap();
    let asked = asked.iter().map(|frame| frame.ask.clone()).collect();
    (exit.0, stderr.text(), asked)
}

fn answer(number: usize, _: &Request) -> Reply {
    let task = fake::task("web", "probe");
    Reply::Answer(match number {
        0 => Answer::Task(Box::new(task)),
        _ => Answer::Saved(Box::new(Saved {
            task,
            created: false,
            changed: true,
            warnings: Vec::new(),
            hit: Changed::default(),
        })),
    })
}

/// First a wrong line, then the right one in its place.
const SECOND_TRY: &str = "\
if [ -f tried ]; then sed -i 's/^grace.*/grace = \"3s\"/' \"$1\"; else echo 'grace = 3' >> \"$1\"; touch tried; fi";

#[tokio::test]
async fn a_wrong_text_is_edited_again_until_it_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let (exit, words, asked) = edit(dir.path(), SECOND_TRY, "\n", answer).await;
    assert_eq!(exit, 0, "{words}");
    assert!(words.contains("it wants a text in quotes"), "{words}");
    assert!(
        words.ends_with("edit again? [Y/n]\nweb/probe changed\n"),
        "{words}"
    );
    let Some(Request::TaskEdit(last)) = asked.last() else {
        panic!("{asked:?}");
    };
    assert_eq!(last.spec.work.grace, std::time::Duration::from_secs(3));
    assert_eq!((last.revision.0, last.dry_run), (3, false));
}

#[tokio::test]
async fn whoever_does_not_want_to_edit_again_keeps_the_text() {
    let dir = tempfile::tempdir().unwrap();
    let (exit, words, asked) = edit(dir.path(), SECOND_TRY, "n\n", answer).await;
    assert_eq!((exit, asked.len()), (2, 2), "{words}");
    let kept = words.rsplit('`').nth(1).unwrap();
    assert!(fs::read_to_string(kept).unwrap().ends_with("grace = 3\n"));
    fs::remove_dir_all(Path::new(kept).parent().unwrap()).unwrap();
}

#[tokio::test]
async fn nobody_edits_what_may_not_be_saved() {
    let dir = tempfile::tempdir().unwrap();
    let viewer = |number, request: &Request| match number {
        0 => answer(number, request),
        _ => Reply::Refuse(RefusalCode::Forbidden, "no"),
    };
    let (exit, words, _) = edit(dir.path(), "touch opened", "", viewer).await;
    assert_eq!((exit, words.as_str()), (4, "ucron: no\n"));
    assert!(!dir.path().join("opened").exists());
}
