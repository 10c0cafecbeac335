//! What comes of answers: stdout, stderr, exit code.

use serde_json::{Value, json};

use crate::cli::args::{self, Parsed};
use crate::cli::client::Input;
use crate::cli::fake::{self, Done, Reply, ucron};
use crate::cli::fault::Fault;
use crate::cli::print::style_tests::NOW;
use crate::model::{Outcome, UnixMs};
use crate::proto::request::{
    Answer, Changed, Request, RunPage, RunsStarted, Saved, TokenMade, Unconfirmed,
};
use crate::proto::view::{FreezeView, RunView};

pub(super) fn check(done: &Done, exit: u8, stdout: &str, stderr: &str) {
    assert_eq!(
        (done.exit, done.stdout.as_str(), done.stderr.as_str()),
        (exit, stdout, stderr)
    );
}

fn changed(unconfirmed: bool) -> Changed {
    Changed {
        task: fake::TASK_ID.parse().ok(),
        changed: true,
        cancelled: 2,
        stopped: 1,
        unconfirmed: unconfirmed
            .then(|| Unconfirmed {
                agent: "a1".parse().unwrap(),
                may_fire_until: Some(UnixMs(NOW.0 + 8000)),
            })
            .into_iter()
            .collect(),
        ..Changed::default()
    }
}

#[tokio::test]
async fn a_changing_verb_tells_what_it_hit() {
    let answers = |number: usize, _: &Request| match number {
        0 => Reply::Answer(Answer::Changed(Box::new(changed(false)))),
        _ => Reply::Answer(Answer::Changed(Box::default())),
    };
    let done = ucron(&["stop", "web/a", "web/b"], "", answers).await;
    check(
        &done,
        0,
        "",
        "web/a stopped: 2 planned runs cancelled, 1 process being ended\nweb/b is stopped already\n",
    );
    let done = ucron(&["stop", "web/a", "-q"], "", answers).await;
    assert_eq!(done.stdout, format!("{}\n", fake::TASK_ID));
}

#[tokio::test]
async fn agents_that_have_not_confirmed_are_named_with_exit_7() {
    let answers = |_: usize, _: &Request| Reply::Answer(Answer::Changed(Box::new(changed(true))));
    let done = ucron(&["rm", "web/a"], "", answers).await;
    check(
        &done,
        7,
        "",
        "web/a deleted: 2 planned runs cancelled, 1 process being ended\n\
         ucron: web/a: done at the center, not yet confirmed by a1 (may fire until 16:50:08 (in 8s))\n\
         hint: they follow as soon as they are reached; see `ucron agents`\n",
    );
    let done = ucron(&["rm", "web/a", "-o", "json"], "", answers).await;
    let rows: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(
        rows[0]["unconfirmed"][0],
        json!({"agent": "a1", "may_fire_until": "2026-11-22T16:50:08.000Z"})
    );
    let fault: Value = serde_json::from_str(&done.stderr).unwrap();
    assert_eq!((done.exit, &fault["code"]), (7, &json!("unconfirmed")));
}

#[tokio::test]
async fn add_prints_the_id_and_its_warnings() {
    let answers = |_: usize, _: &Request| {
        Reply::Answer(Answer::Saved(Box::new(Saved {
            task: fake::task("web", "probe"),
            created: true,
            changed: true,
            warnings: vec!["group web has no agent".to_owned()],
            hit: Changed::default(),
        })))
    };
    let line = [
        "add", "--group", "web", "--name", "probe", "--user", "u", "--rule", "@daily", "--", "x",
    ];
    let done = ucron(&line, "", answers).await;
    let id = format!("{}\n", fake::TASK_ID);
    check(
        &done,
        0,
        &id,
        "warning: group web has no agent\nweb/probe added\n",
    );
    let json_line = [&["-o", "json"], &line[..]].concat();
    let done = ucron(&json_line, "", answers).await;
    let row: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(
        (&row["id"], &row["created"]),
        (&json!(fake::TASK_ID), &json!(true))
    );
    assert_eq!(done.stderr, "");
}

#[tokio::test]
async fn lists_are_tables_arrays_lines_or_ids() {
    let answers = |_: usize, _: &Request| {
        Reply::Answer(Answer::Runs(RunPage {
            runs: vec![fake::run("web", "probe")],
            more: true,
        }))
    };
    let more = "there are more than 1 runs; `--limit 0` shows all\n";
    let done = ucron(
        &["runs", "--limit", "1", "--columns", "run_id,task,outcome"],
        "",
        answers,
    )
    .await;
    check(
        &done,
        0,
        "RUN       TASK       OUTCOME\nzzzzzzzz  web/probe  failed\n",
        more,
    );
    let done = ucron(
        &[
            "runs",
            "--limit",
            "1",
            "--no-headers",
            "--columns",
            "late_ms,scheduled_at",
        ],
        "",
        answers,
    )
    .await;
    check(&done, 0, "3ms  1m00s ago\n", more);
    let done = ucron(&["runs", "--limit", "1", "-q"], "", answers).await;
    check(&done, 0, &format!("{}\n", fake::RUN_ID), more);
    let done = ucron(&["runs", "--limit", "1", "-o", "json"], "", answers).await;
    let rows: Vec<Value> = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(rows[0]["scheduled_at"], "2026-11-22T16:49:00.000Z");
    assert_eq!(rows[0]["signal"], Value::Null);
    let done = ucron(&["runs", "--columns", "frob"], "", answers).await;
    assert_eq!(done.exit, 2);
}

#[tokio::test]
async fn rows_are_sorted_by_any_field() {
    let answers = |_: usize, _: &Request| {
        Reply::Answer(Answer::Agents(vec![
            fake::agent("b"),
            fake::agent("a"),
            fake::agent("c"),
        ]))
    };
    let done = ucron(&["agents", "-q", "--sort", "name"], "", answers).await;
    assert_eq!(done.stdout, "a\nb\nc\n");
    let done = ucron(&["agents", "-q", "--sort", "-name"], "", answers).await;
    assert_eq!(done.stdout, "c\nb\na\n");
}

#[tokio::test]
async fn run_with_wait_ends_as_its_runs_did() {
    let ended = |outcome| RunView {
        outcome: Some(outcome),
        ..fake::run("web", "probe")
    };
    for (outcome, exit) in [
        (Outcome::Succeeded, 0),
        (Outcome::Failed, 1),
        (Outcome::Skipped, 1),
    ] {
        let answers = move |_: usize, request: &Request| {
            Reply::Answer(match request {
                Request::TaskRun(_) => Answer::Started(RunsStarted {
                    runs: vec![fake::RUN_ID.parse().unwrap()],
                }),
                _ => Answer::Runs(RunPage {
                    runs: vec![ended(outcome)],
                    more: false,
                }),
            })
        };
        let done = ucron(&["run", "web/probe", "--wait"], "", answers).await;
        let said = format!("web/probe on a1/0 {outcome}: exit code 3 (1s997ms)\n");
        check(&done, exit, &format!("{}\n", fake::RUN_ID), &said);
    }
}

#[tokio::test]
async fn run_gives_up_waiting_with_exit_124() {
    let answers = |_: usize, request: &Request| match request {
        Request::TaskRun(_) => Reply::Answer(Answer::Started(RunsStarted {
            runs: vec![fake::RUN_ID.parse().unwrap()],
        })),
        _ => Reply::Silence,
    };
    let done = ucron(
        &["run", "a", "--wait", "--wait-timeout", "50ms"],
        "",
        answers,
    )
    .await;
    assert_eq!(done.exit, 124);
    assert!(done.stderr.contains("they go on"), "{}", done.stderr);
}

#[tokio::test]
async fn status_answers_and_checks() {
    let answers = |problem: bool| {
        move |_: usize, _: &Request| {
            let mut view = fake::status();
            view.problems
                .extend(problem.then(|| "agent a2 is offline".to_owned()));
            Reply::Answer(Answer::Status(Box::new(view)))
        }
    };
    assert_eq!(
        ucron(&["status", "--check"], "", answers(false)).await.exit,
        0
    );
    assert_eq!(ucron(&["status"], "", answers(true)).await.exit, 0);
    let done = ucron(&["status", "--check"], "", answers(true)).await;
    assert_eq!(done.exit, 1);
    assert!(
        done.stdout.contains("problem  agent a2 is offline"),
        "{}",
        done.stdout
    );
}

#[tokio::test]
async fn status_tells_freezes_and_finds_nothing_wrong_with_them() {
    let answers = |_: usize, _: &Request| {
        let mut view = fake::status();
        view.freezes = vec![FreezeView {
            group: "web".parse().unwrap(),
            from: view.now,
            until: view.now.plus(std::time::Duration::from_hours(48)),
            by: "ann".parse().unwrap(),
            reason: "move of the database".to_owned(),
        }];
        Reply::Answer(Answer::Status(Box::new(view)))
    };
    let done = ucron(&["status", "--check"], "", answers).await;
    assert_eq!(done.exit, 0);
    let line = done.stdout.lines().find(|line| line.starts_with("frozen"));
    let line = line.unwrap_or_else(|| panic!("{}", done.stdout));
    assert!(line.starts_with("frozen   group web from "), "{line}");
    assert!(line.ends_with(", by ann: move of the database"), "{line}");
    let done = ucron(&["status", "-o", "json"], "", answers).await;
    assert!(done.stdout.contains(r#""by":"ann""#), "{}", done.stdout);
}

#[tokio::test]
async fn a_token_stands_alone_on_stdout() {
    let answers = |_: usize, _: &Request| {
        Reply::Answer(Answer::Token(TokenMade {
            token: "ucron1.operator.x".to_owned(),
        }))
    };
    let done = ucron(&["token", "operator", "ann"], "", answers).await;
    check(&done, 0, "ucron1.operator.x\n", "");
}

#[tokio::test]
async fn next_tells_a_rule_in_words_and_times() {
    let never = |_: usize, _: &Request| Reply::Hang;
    let line = [
        "next",
        "--tz",
        "Europe/Berlin",
        "--from",
        "2027-03-27T12:00",
        "-n",
        "2",
        "30 2 * * *",
    ];
    let done = ucron(&line, "", never).await;
    assert!(done.stdout.ends_with(
        "Sun 2027-03-28 03:00:00 +02:00  * moved: the clock change leaves its time out that day\n\
         Mon 2027-03-29 02:30:00 +02:00\n"
    ), "{}", done.stdout);
    let done = ucron(&[&line[..], &["-o", "json"]].concat(), "", never).await;
    check(
        &done,
        0,
        "[\"2027-03-28T03:00:00+02:00\",\"2027-03-29T02:30:00+02:00\"]\n",
        "",
    );
    let done = ucron(
        &["next", "@at 2020-01-01T00:00:00Z", "-o", "json"],
        "",
        never,
    )
    .await;
    check(&done, 0, "[]\n", "");
    assert!(done.asked.is_empty());
}

#[tokio::test]
async fn a_stdout_that_nobody_reads_ends_quietly() {
    struct Shut;
    impl std::io::Write for Shut {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let stderr = fake::Shared::default();
    let style = crate::cli::print::style_tests::style();
    let mut out = crate::cli::print::Out::new(Box::new(Shut), Box::new(stderr.clone()), style);
    let Parsed::Command(parsed) = args::parse(["ucron", "next", "@daily"]) else {
        panic!("the line is good");
    };
    let mut input = Input::new(Box::new(&b""[..]), false);
    let reach = async || Err(Fault::usage("no session is wanted"));
    let command = parsed.command.unwrap();
    let exit = crate::cli::perform(&parsed.global, command, &mut out, &mut input, reach).await;
    assert_eq!((exit.0, stderr.text().as_str()), (0, ""));
}

#[tokio::test]
async fn show_puts_what_matters_first_and_the_tail_last() {
    let answers = |number: usize, _: &Request| match number {
        0 => Reply::Answer(Answer::Task(Box::new(fake::task("web", "probe")))),
        _ => Reply::Refuse(crate::proto::request::RefusalCode::NotFound, "no task `x`"),
    };
    let done = ucron(&["show", "web/probe", "x"], "", answers).await;
    assert_eq!(done.exit, 3);
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert_eq!(lines[0], format!("id                {}", fake::TASK_ID));
    assert_eq!(lines[4], "rule              */5 * * * *");
    assert_eq!(lines[8], "execute           /opt/probe --all");
    assert!(done.stderr.contains("no task `x`"));
}

#[tokio::test]
async fn events_go_on_after_the_last_cursor_when_the_link_breaks() {
    use crate::proto::request::Item;
    let answers = |number: usize, _: &Request| match number {
        0 => Reply::Broken(vec![Item::Event(Box::new(fake::event()))]),
        _ => Reply::Items(vec![Item::Event(Box::new(fake::event()))]),
    };
    let done = ucron(&["events", "-f"], "", answers).await;
    assert_eq!(
        (done.exit, done.stdout.lines().count()),
        (0, 2),
        "{}",
        done.stderr
    );
    let since = |at: usize| serde_json::to_value(&done.asked[at]).unwrap()["since"].clone();
    assert_eq!((since(0), since(1)), (Value::Null, json!("7")));
}
