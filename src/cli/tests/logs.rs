//! What `logs` reads, and in what order and form it prints it.

use serde_json::{Value, json};

use super::output::check;
use crate::cli::fake::{self, Reply, chunk, chunk_at, ucron};
use crate::cli::print::style_tests::NOW;
use crate::model::{Cause, RunId, UnixMs};
use crate::proto::request::{Answer, LogRead, RefusalCode, Request, RunPage};
use crate::proto::view::RunView;

/// The run of an agent, as `fake::chunk` names it.
fn run(agent: &str) -> RunView {
    RunView {
        run_id: RunId::hash(agent.as_bytes()),
        agent: agent.parse().ok(),
        ..fake::run("web", "probe")
    }
}

fn runs(runs: &[RunView]) -> Reply {
    Reply::Answer(Answer::Runs(RunPage {
        runs: runs.to_vec(),
        more: false,
    }))
}

fn is_of(read: &LogRead, agent: &str) -> bool {
    read.of == RunId::hash(agent.as_bytes()).to_string()
}

/// Runs on a1 and a2 that wrote in turns.
fn two(_: usize, request: &Request) -> Reply {
    match request {
        Request::RunList(_) => runs(&[run("a1"), run("a2")]),
        Request::LogRead(read) if is_of(read, "a1") => Reply::Items(vec![
            chunk_at("a1", 100, Some(NOW.0 + 1), "one\ntw"),
            chunk_at("a1", 106, Some(NOW.0 + 3), "o\nend"),
        ]),
        _ => Reply::Items(vec![
            chunk_at("a2", 0, Some(NOW.0 + 2), "x\r\n"),
            chunk_at("a2", 3, Some(NOW.0 + 4), "y\n"),
        ]),
    }
}

fn one(_: usize, request: &Request) -> Reply {
    match request {
        Request::RunList(_) => runs(&[run("a1")]),
        _ => Reply::Items(vec![
            chunk("a1", 100, "one\ntw"),
            chunk("a1", 106, "x\r\n"),
            chunk("a1", 109, "o\nend"),
        ]),
    }
}

#[tokio::test]
async fn output_is_put_together_to_lines_and_marked_where_it_has_two_sources() {
    let marked = "a1/0 one\na2/0 x\na1/0 two\na2/0 y\na1/0 end\n";
    check(&ucron(&["logs", "a"], "", two).await, 0, marked, "");
    let last = ucron(&["logs", "a", "-n", "2"], "", two).await;
    check(&last, 0, "a2/0 y\na1/0 end\n", "");
    check(
        &ucron(&["logs", "a"], "", one).await,
        0,
        "one\ntwx\no\nend\n",
        "",
    );
    let done = ucron(&["logs", "a", "--grep", "^t.x$"], "", one).await;
    check(&done, 0, "twx\n", "");
    let done = ucron(&["logs", "a", "--grep", "n", "-n", "1"], "", one).await;
    check(&done, 0, "end\n", "");
    let done = ucron(&["logs", "a", "--raw"], "", one).await;
    check(&done, 0, "one\ntwx\r\no\nend", "");
    let done = ucron(&["logs", "a", "-o", "json", "--grep", "o"], "", two).await;
    let line: Value = serde_json::from_str(done.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&line["agent"], &line["line"], &line["at"]),
        (&json!("a1"), &json!("one"), &json!(UnixMs(NOW.0 + 1)))
    );
}

#[tokio::test]
async fn what_is_not_kept_and_what_was_cut_are_said_and_never_shown() {
    let answers = |_: usize, request: &Request| match request {
        Request::RunList(_) => runs(&[run("a1")]),
        _ => Reply::Items(vec![
            chunk("a1", 0, "head"),
            chunk("a1", 1000, "tail\n"),
            chunk("a1", 0, "anew\n"),
        ]),
    };
    let said = "996 bytes of a1/0 are not kept\n\
         the command of a1/0 has cut its output; what follows begins at byte 0\n";
    let done = ucron(&["logs", "a"], "", answers).await;
    check(&done, 0, "head\ntail\nanew\n", said);
    let done = ucron(&["logs", "a", "--raw"], "", answers).await;
    check(&done, 0, "headtail\nanew\n", said);
}

#[tokio::test]
async fn reading_goes_on_where_it_was_when_the_link_breaks() {
    let answers = |number: usize, request: &Request| match request {
        Request::RunList(_) => runs(&[run("a1")]),
        _ if number == 1 => Reply::Broken(vec![chunk("a1", 100, "one\ntw")]),
        _ => Reply::Items(vec![chunk("a1", 106, "o\n")]),
    };
    for line in [&["logs", "a"][..], &["logs", "a", "-f"]] {
        let done = ucron(line, "", answers).await;
        assert_eq!(
            (done.exit, done.stdout.as_str()),
            (0, "one\ntwo\n"),
            "{}",
            done.stderr
        );
        let asked = serde_json::to_value(&done.asked[2]).unwrap();
        let place = json!([{"run_id": run("a1").run_id, "attempt": 1, "offset": 106}]);
        assert_eq!(asked["after"], place, "{line:?}");
    }
}

#[tokio::test]
async fn several_runs_are_followed_behind_what_was_there() {
    let answers = |_: usize, request: &Request| match request {
        Request::RunList(_) => runs(&[run("a1"), run("a2")]),
        Request::LogRead(read) if !read.follow && is_of(read, "a1") => {
            Reply::Items(vec![chunk("a1", 0, "one\n")])
        }
        Request::LogRead(read) if is_of(read, "a2") && read.follow => {
            Reply::Items(vec![chunk("a2", 0, "two\n")])
        }
        _ => Reply::Items(Vec::new()),
    };
    let done = ucron(&["logs", "-f", "a"], "", answers).await;
    check(&done, 0, "a1/0 one\na2/0 two\n", "");
    let after = |ask: &Request| match ask {
        Request::LogRead(read) if read.follow => {
            Some((read.after[0].attempt, read.after[0].offset))
        }
        _ => None,
    };
    let after: Vec<_> = done.asked.iter().filter_map(after).collect();
    assert_eq!(after, [(1, 4), (1, 0)]);
}

#[tokio::test]
async fn a_daemon_is_followed_as_a_task() {
    let answers = |_: usize, request: &Request| match request {
        Request::RunList(_) => runs(&[RunView {
            cause: Cause::Daemon,
            ..run("a1")
        }]),
        _ => Reply::Items(vec![chunk("a1", 0, "one\n")]),
    };
    let done = ucron(&["logs", "-f", "a"], "", answers).await;
    check(&done, 0, "one\n", "");
    let Request::LogRead(read) = &done.asked[1] else {
        panic!("{:?}", done.asked);
    };
    assert_eq!(
        (read.of.as_str(), read.lines, read.follow),
        ("a", Some(200), true)
    );
}

#[tokio::test]
async fn since_reads_every_run_that_had_not_ended_before() {
    let since = UnixMs(NOW.0 - 30_000);
    let answers = move |_: usize, request: &Request| match request {
        Request::RunList(list) if list.since.is_some() => runs(&[RunView {
            scheduled_at: since,
            started_at: Some(since),
            finished_at: None,
            ..run("new")
        }]),
        Request::RunList(_) => runs(&[
            RunView {
                finished_at: None,
                ..run("daemon")
            },
            run("old"),
        ]),
        Request::LogRead(read) if is_of(read, "new") => Reply::Items(vec![chunk("new", 0, "b\n")]),
        _ => Reply::Items(vec![
            chunk_at("daemon", 500, Some(since.0 - 1), "a\n"),
            chunk_at("daemon", 502, Some(since.0 + 1), "c\n"),
        ]),
    };
    let done = ucron(&["logs", "a", "--since", "30s"], "", answers).await;
    check(&done, 0, "daemon/0 a\nnew/0 b\ndaemon/0 c\n", "");
    let read = |ask: &&Request| matches!(ask, Request::LogRead(read) if read.since.is_some() && read.lines.is_none());
    assert_eq!(done.asked.iter().filter(read).count(), 2);
}

#[tokio::test]
async fn an_agent_that_is_away_is_said_and_the_others_are_shown() {
    let away = |_: usize, request: &Request| match request {
        Request::RunList(_) => runs(&[run("a1"), run("a2")]),
        Request::LogRead(read) if is_of(read, "a1") => {
            Reply::Refuse(RefusalCode::Failed, "agent a1 is offline")
        }
        _ => Reply::Items(vec![chunk("a2", 0, "x\n")]),
    };
    let done = ucron(&["logs", "a"], "", away).await;
    check(&done, 0, "a2/0 x\n", "agent a1 is offline\n");
    let all = |_: usize, request: &Request| match request {
        Request::RunList(_) => runs(&[run("a1")]),
        _ => Reply::Refuse(RefusalCode::Failed, "agent a1 is offline"),
    };
    assert_eq!(ucron(&["logs", "a"], "", all).await.exit, 1);
}
