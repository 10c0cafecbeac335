//! What each command line asks the center.

use serde_json::{Value, json};

use crate::cli::fake::{self, Reply, ucron};
use crate::proto::request::{Answer, Changed, RefusalCode, Request, RunPage, Saved};

/// A center where everything is there and everything works.
fn all_good(_: usize, request: &Request) -> Reply {
    let changed = Changed {
        changed: true,
        ..Changed::default()
    };
    let task = fake::task("web", "probe");
    Reply::Answer(match request {
        Request::TaskAdd(_) | Request::TaskEdit(_) => Answer::Saved(Box::new(Saved {
            task,
            created: true,
            changed: true,
            warnings: Vec::new(),
            hit: changed,
        })),
        Request::TaskShow(_) => Answer::Task(Box::new(task)),
        Request::TaskList(_) => Answer::Tasks(vec![task]),
        Request::TaskRun(_) => Answer::Started(crate::proto::request::RunsStarted {
            runs: vec![fake::RUN_ID.parse().unwrap()],
        }),
        Request::RunList(_) | Request::RunWait(_) => Answer::Runs(RunPage {
            runs: vec![fake::run("web", "probe")],
            more: false,
        }),
        Request::RunShow(_) => Answer::Run(Box::new(fake::run("web", "probe"))),
        Request::ProcessList(_) => Answer::Processes(vec![fake::process()]),
        Request::AgentList(_) => Answer::Agents(vec![fake::agent("a1")]),
        Request::GroupList(_) => Answer::Groups(vec![fake::group("web")]),
        Request::OperatorList(_) => Answer::Operators(Vec::new()),
        Request::TokenAgent(_) | Request::TokenOperator(_) => {
            Answer::Token(crate::proto::request::TokenMade {
                token: "ucron1.token".to_owned(),
            })
        }
        Request::Status(_) => Answer::Status(Box::new(fake::status())),
        Request::Audit(_) => Answer::Audit(Vec::new()),
        Request::LogRead(_) | Request::Events(_) => return Reply::Items(Vec::new()),
        Request::TaskStop(_)
        | Request::TaskStart(_)
        | Request::TaskRestart(_)
        | Request::TaskRemove(_)
        | Request::RunKill(_)
        | Request::GroupAssign(_) => Answer::Changed(Box::new(changed)),
        _ => Answer::Done,
    })
}

async fn check(line: &str, stdin: &'static str, wanted: &[Value]) {
    let args: Vec<&str> = line.split(' ').collect();
    let done = ucron(&args, stdin, all_good).await;
    let asked: Vec<Value> = done
        .asked
        .iter()
        .map(|ask| serde_json::to_value(ask).unwrap())
        .collect();
    assert_eq!(asked, wanted, "{line}: {}", done.stderr);
}

#[tokio::test]
async fn verbs_on_tasks_ask_once_per_task() {
    let id = fake::TASK_ID;
    let stop =
        |task: &str, finish: bool| json!({"deed": "task_stop", "task": task, "finish": finish});
    check(
        "stop web/a b",
        "",
        &[stop("web/a", false), stop("b", false)],
    )
    .await;
    check("stop --finish a", "", &[stop("a", true)]).await;
    check(
        "stop -",
        "a\n\n  b \n",
        &[stop("a", false), stop("b", false)],
    )
    .await;
    let list = |group: Value| json!({"deed": "task_list", "group": group});
    check(
        "stop --group web",
        "",
        &[list(json!("web")), stop(id, false)],
    )
    .await;
    check(
        "stop --all --yes",
        "",
        &[list(Value::Null), stop(id, false)],
    )
    .await;
    check("stop --all", "", &[list(Value::Null)]).await;
    check("start a", "", &[json!({"deed": "task_start", "task": "a"})]).await;
    check(
        "restart a --one-by-one",
        "",
        &[json!({"deed": "task_restart", "task": "a", "one_by_one": true})],
    )
    .await;
    check("rm a", "", &[json!({"deed": "task_remove", "task": "a"})]).await;
    check("rm a b", "", &[]).await;
    check(
        "rm a b -y",
        "",
        &[
            json!({"deed": "task_remove", "task": "a"}),
            json!({"deed": "task_remove", "task": "b"}),
        ],
    )
    .await;
    check("ls --group web", "", &[list(json!("web"))]).await;
    check("show a", "", &[json!({"deed": "task_show", "task": "a"})]).await;
    check("next a", "", &[json!({"deed": "task_show", "task": "a"})]).await;
}

#[tokio::test]
async fn commands_on_runs_ask_what_their_flags_say() {
    let list = json!({"deed": "run_list", "task": "web/a", "group": "web", "agent": "a1", "outcome": "failed", "since": "2026-11-22T14:50:00.000Z", "limit": 7});
    check(
        "runs --task web/a --group web --agent a1 --outcome failed --since 2h --limit 7",
        "",
        &[list],
    )
    .await;
    let list = |limit: u32| json!({"deed": "run_list", "task": null, "group": null, "agent": null, "outcome": null, "since": null, "limit": limit});
    check("runs", "", &[list(50)]).await;
    check("runs --limit 0", "", &[list(0)]).await;
    check(
        "ps web/a --agent a1",
        "",
        &[json!({"deed": "process_list", "task": "web/a", "group": null, "agent": "a1"})],
    )
    .await;
    let kill = |run: &str, signal: Value| json!({"deed": "run_kill", "run": run, "signal": signal});
    check(
        "kill x y --signal hup",
        "",
        &[kill("x", json!(1)), kill("y", json!(1))],
    )
    .await;
    check("kill -", "x\n", &[kill("x", Value::Null)]).await;
    check("run a", "", &[json!({"deed": "task_run", "task": "a"})]).await;
    let wait = json!({"deed": "run_wait", "runs": [fake::RUN_ID]});
    check(
        "run a --wait",
        "",
        &[json!({"deed": "task_run", "task": "a"}), wait.clone()],
    )
    .await;
    let read = |of: &str, attempt: Value, agent: Value, lines: Value, follow: bool| json!({"deed": "log_read", "of": of, "attempt": attempt, "agent": agent, "lines": lines, "follow": follow});
    let follow = read(fake::RUN_ID, Value::Null, Value::Null, Value::Null, true);
    check(
        "run a -f",
        "",
        &[json!({"deed": "task_run", "task": "a"}), follow, wait],
    )
    .await;
    let sources = |agent: Value| json!({"deed": "run_list", "task": "a", "group": null, "agent": agent, "outcome": null, "since": null, "limit": 200});
    check(
        "logs a",
        "",
        &[
            sources(Value::Null),
            read("a", Value::Null, Value::Null, json!(200), false),
        ],
    )
    .await;
    check(
        "logs a -f -n all --agent a1 --attempt 2",
        "",
        &[
            sources(json!("a1")),
            read("a", json!(2), json!("a1"), Value::Null, true),
        ],
    )
    .await;
    check(
        "events -f --since 7",
        "",
        &[json!({"deed": "events", "since": "7", "follow": true})],
    )
    .await;
    check(
        "events",
        "",
        &[json!({"deed": "events", "since": null, "follow": false})],
    )
    .await;
}

#[tokio::test]
async fn commands_on_the_fleet_ask_what_their_flags_say() {
    check("agents", "", &[json!({"deed": "agent_list"})]).await;
    check(
        "agent drain a1 --daemons",
        "",
        &[json!({"deed": "agent_drain", "agent": "a1", "drain": true, "daemons": true})],
    )
    .await;
    check(
        "agent undrain a1",
        "",
        &[json!({"deed": "agent_drain", "agent": "a1", "drain": false, "daemons": false})],
    )
    .await;
    check(
        "agent rm a1",
        "",
        &[json!({"deed": "agent_remove", "agent": "a1"})],
    )
    .await;
    check("agent rm a1 a2", "", &[]).await;
    check(
        "agent rename a1 b1",
        "",
        &[json!({"deed": "agent_rename", "agent": "a1", "name": "b1"})],
    )
    .await;
    check("groups", "", &[json!({"deed": "group_list"})]).await;
    check(
        "group add web db",
        "",
        &[
            json!({"deed": "group_add", "group": "web"}),
            json!({"deed": "group_add", "group": "db"}),
        ],
    )
    .await;
    check(
        "group rm web",
        "",
        &[json!({"deed": "group_remove", "group": "web"})],
    )
    .await;
    check(
        "group assign web a1 a2",
        "",
        &[json!({"deed": "group_assign", "group": "web", "agents": ["a1", "a2"], "assign": true})],
    )
    .await;
    check(
        "group unassign web a1",
        "",
        &[json!({"deed": "group_assign", "group": "web", "agents": ["a1"], "assign": false})],
    )
    .await;
    check("operators", "", &[json!({"deed": "operator_list"})]).await;
    check(
        "operator rm ann",
        "",
        &[json!({"deed": "operator_remove", "operator": "ann"})],
    )
    .await;
    check("grant ann viewer --group web", "", &[json!({"deed": "grant", "operator": "ann", "role": "viewer", "group": "web", "grant": true})]).await;
    check("ungrant ann admin", "", &[json!({"deed": "grant", "operator": "ann", "role": "admin", "group": null, "grant": false})]).await;
    check(
        "token agent --group web --group db --ttl 5m",
        "",
        &[json!({"deed": "token_agent", "groups": ["web", "db"], "ttl_ms": 300_000})],
    )
    .await;
    check(
        "token operator ann",
        "",
        &[json!({"deed": "token_operator", "operator": "ann", "ttl_ms": 3_600_000})],
    )
    .await;
    check("audit", "", &[json!({"deed": "audit", "limit": 50})]).await;
    check("status", "", &[json!({"deed": "status"})]).await;
}

/// A path into a request; `WORK` stands for the task's work.
fn place(at: &str) -> String {
    at.replace("WORK", "/spec/work")
}

/// Every flag of `add` and the field that it sets, with `at` a path into the request.
#[tokio::test]
async fn every_flag_of_a_task_sets_its_field() {
    for (flags, at, wanted) in [
        ("", "/enabled", json!(true)),
        ("--disabled", "/enabled", json!(false)),
        ("--if-exists replace", "/if_exists", json!("replace")),
        ("--dry-run", "/dry_run", json!(true)),
        ("", "/spec/rule", json!("@daily")),
        ("", "WORK/execute", json!(["true"])),
        ("", "WORK/run_user", json!("u")),
        ("--tz Asia/Tokyo", "/spec/timezone", json!("Asia/Tokyo")),
        ("--note hello", "/spec/note", json!("hello")),
        ("--target one", "/spec/target", json!("one")),
        ("--target a2,a1", "/spec/target", json!(["a1", "a2"])),
        ("--daemon", "WORK/daemon", json!(true)),
        ("--processes 4", "WORK/processes", json!(4)),
        ("--timeout 1h30m", "WORK/timeout_ms", json!(5_400_000)),
        ("--retries 2", "WORK/retries", json!(2)),
        (
            "--backoff 1s..1m",
            "WORK/backoff",
            json!({"first_ms": 1000, "longest_ms": 60_000}),
        ),
        ("--success-codes 0,3", "WORK/success_codes", json!([0, 3])),
        ("--overlap queue", "WORK/overlap", json!("queue")),
        ("--catch-up", "/spec/catch_up", json!(true)),
        (
            "--misfire-grace 2h",
            "/spec/misfire_grace_ms",
            json!(7_200_000),
        ),
        ("--jitter 30s", "/spec/jitter_ms", json!(30_000)),
        ("--output", "WORK/output", json!("tail")),
        ("--output=none", "WORK/output", json!("none")),
        ("--cwd /tmp", "WORK/cwd", json!("/tmp")),
        ("--umask 027", "WORK/umask", json!(0o027)),
        ("--nice -5", "WORK/nice", json!(-5)),
        (
            "--env A=1 --env B=x=y",
            "WORK/env",
            json!({"A": "1", "B": "x=y"}),
        ),
        ("--env-file /etc/x", "WORK/env_file", json!("/etc/x")),
        (
            "--limit nofile=4096",
            "WORK/limits",
            json!([{"kind": "nofile", "value": 4096}]),
        ),
        ("--stop-signal int", "WORK/stop_signal", json!("INT")),
        ("--grace 0s", "WORK/grace_ms", json!(0)),
        ("--restart on-failure", "WORK/restart", json!("on-failure")),
        ("--start-seconds 5s", "WORK/start_seconds_ms", json!(5000)),
        ("--start-retries 9", "WORK/start_retries", json!(9)),
        ("--parole never", "WORK/parole", json!("never")),
    ] {
        let line = format!("add --group g --name n --user u --rule @daily {flags} -- true");
        let args: Vec<&str> = line.split_whitespace().collect();
        let done = ucron(&args, "", all_good).await;
        assert_eq!(done.asked.len(), 1, "{line}: {}", done.stderr);
        let ask = serde_json::to_value(&done.asked[0]).unwrap();
        assert_eq!(ask.pointer(&place(at)), Some(&wanted), "{line}");
    }
    let daemon = [
        "add", "--group", "g", "--name", "n", "--user", "u", "--daemon", "--shell", "a | b",
    ];
    let done = ucron(&daemon, "", all_good).await;
    let ask = serde_json::to_value(&done.asked[0]).unwrap();
    assert_eq!(ask["spec"]["rule"], "@always");
    assert_eq!(ask["spec"]["work"]["execute"], "a | b");
}

#[tokio::test]
async fn edit_changes_what_was_named_and_keeps_the_rest() {
    for (flags, at, wanted) in [
        ("--name n2", "/name", json!("n2")),
        ("--group g2", "/group", json!("g2")),
        ("--name n2", "/revision", json!(3)),
        ("--name n2", "/task", json!(fake::TASK_ID)),
        ("--name n2", "WORK/execute", json!(["/opt/probe", "--all"])),
        ("--grace 1s", "WORK/grace_ms", json!(1000)),
        ("--no-grace", "WORK/grace_ms", json!(10_000)),
        ("--no-note --retries 1", "WORK/retries", json!(1)),
        ("-- other", "WORK/execute", json!(["other"])),
    ] {
        let line = format!("edit web/probe {flags}");
        let args: Vec<&str> = line.split_whitespace().collect();
        let done = ucron(&args, "", all_good).await;
        let ask = serde_json::to_value(&done.asked[1]).unwrap();
        assert_eq!(
            ask.pointer(&place(at)),
            Some(&wanted),
            "{line}: {}",
            done.stderr
        );
    }
}

#[tokio::test]
async fn show_looks_for_a_run_where_there_is_no_such_task() {
    let answers = |number: usize, _: &Request| match number {
        0 => Reply::Refuse(RefusalCode::NotFound, "no task `zzzzzzzz`"),
        _ => Reply::Answer(Answer::Run(Box::new(fake::run("web", "probe")))),
    };
    let done = ucron(&["show", "zzzzzzzz", "-o", "json"], "", answers).await;
    assert_eq!(done.exit, 0, "{}", done.stderr);
    assert!(
        done.stdout
            .contains("\"run_id\":\"00000000000000000zzzzzzzzz\"")
    );
    let done = ucron(&["show", "web/x"], "", answers).await;
    assert_eq!(
        (done.exit, done.stderr.as_str()),
        (3, "ucron: no task `zzzzzzzz`\n")
    );
}
