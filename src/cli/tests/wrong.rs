//! Wrong uses: what is said, and the exit code. Nothing reaches a center.

use crate::cli::fake::{Reply, ucron};
use crate::proto::request::RefusalCode;

const ADD: &str = "add --group g --name n --user u";

async fn check(line: &str, exit: u8, said: &str, hint: &str) {
    let args: Vec<&str> = line.split(' ').collect();
    let done = ucron(&args, "", |_, _| {
        Reply::Refuse(RefusalCode::Failed, "was asked")
    })
    .await;
    assert_eq!(done.exit, exit, "{line}: {}", done.stderr);
    assert_eq!(done.stdout, "", "{line}");
    assert!(done.stderr.contains(said), "{line}: {}", done.stderr);
    assert!(done.stderr.contains(hint), "{line}: {}", done.stderr);
    assert!(!done.stderr.contains("was asked"), "{line}");
}

#[tokio::test]
async fn what_makes_no_sense_is_said_with_what_is_allowed_and_what_to_do() {
    for (line, said, hint) in [
        ("frob", "unknown command `frob`", "see `ucron --help`"),
        (
            "statu",
            "unknown command `statu`",
            "did you mean `start` or `status`",
        ),
        (
            "ls --frob",
            "unknown argument `--frob`",
            "see `ucron ls --help`",
        ),
        ("ls --frob=secret", "unknown argument `--frob`", ""),
        (
            "ls extra",
            "unknown argument `extra`",
            "see `ucron ls --help`",
        ),
        (
            "ls --group",
            "`--group <GROUP>` wants a value",
            "see `ucron ls --help`",
        ),
        (
            "ls --group all",
            "the group name `all` is reserved",
            "see `ucron ls --help`",
        ),
        ("ls -o xml", "formats are table, json and jsonl", ""),
        ("ls --tz Mars/Base", "`Mars/Base` is not a time zone", ""),
        ("ls --utc --tz UTC", "do not go together", ""),
        ("ls --connect-timeout 5", "`5` has no unit", ""),
        (
            "group",
            "`ucron group` wants a command",
            "one of add, rm, assign, unassign",
        ),
        (
            "group add",
            "`<GROUP>...` is missing",
            "see `ucron group add --help`",
        ),
        ("group assign web", "`<AGENT>...` is missing", ""),
        (
            "agent drain a/b",
            "the agent name `a/b` has '/'",
            "see `ucron agent drain --help`",
        ),
        ("agent rename a1", "`<NEW>` is missing", ""),
        ("grant ann root", "roles are viewer, operator and admin", ""),
        (
            "token",
            "`ucron token` wants a command",
            "one of agent, operator",
        ),
        ("token agent --ttl 1w", "`w` in `1w` is not a unit", ""),
        (
            "stop",
            "`ucron stop` wants a TASK, `-`, `--group` or `--all`",
            "see `ucron stop --help`",
        ),
        ("stop a --all", "do not go together", ""),
        (
            "rm a b",
            "wants `--yes`; rm these 2:\n  a\n  b",
            "give `--yes`",
        ),
        ("group rm a b", "wants `--yes`; group rm these 2", ""),
        (
            "run a --wait-timeout 5s",
            "`--wait-timeout` wants `--wait`",
            "",
        ),
        ("kill", "`<RUN>...` is missing", ""),
        ("kill x --signal FROB", "a signal is a name like TERM", ""),
        ("runs --outcome good", "outcomes are succeeded, failed", ""),
        ("runs --since yesterday", "`yesterday` is not a time", ""),
        (
            "runs --limit many",
            "bad value `many` for `--limit <N>`: not a whole number",
            "",
        ),
        ("logs", "`<TASK|RUN>` is missing", ""),
        ("logs a -n few", "write a number of lines, or `all`", ""),
        ("logs a --grep (", "unclosed group", ""),
        ("logs a --raw --grep x", "do not go together", ""),
        ("login center", "write it like center.example:9502", ""),
        ("login center:0", "write it like center.example:9502", ""),
        ("edit a", "there is nothing to change", "at least one flag"),
        ("edit a --grace 1s --no-grace", "do not go together", ""),
        ("next", "`<TASK|RULE>` is missing", ""),
        ("next @daily --from never", "bad value for `--from`", ""),
        ("next @daily -n -1", "", ""),
    ] {
        check(line, 2, said, hint).await;
    }
}

#[tokio::test]
async fn a_wrong_task_is_refused_before_anybody_is_dialled() {
    for (flags, said) in [
        (
            "",
            "the command is missing; give `-- COMMAND ARG…` or `--shell LINE`",
        ),
        ("-- true", "`--rule <RULE>` is missing"),
        (
            "--rule @always -- true",
            "the rule `@always` is for daemons",
        ),
        ("--rule @dayly -- true", "did you mean @daily?"),
        ("--rule @daily --shell a -- b", "do not go together"),
        (
            "--rule @daily --processes 0 -- true",
            "--processes is 0; allowed are 1-1000",
        ),
        (
            "--rule @daily --processes -1 -- true",
            "unknown argument `-1`",
        ),
        (
            "--rule @daily --retries 1001 -- true",
            "--retries is 1001; allowed are 0-1000",
        ),
        (
            "--rule @daily --nice 20 -- true",
            "--nice is 20; allowed are -20-19",
        ),
        ("--rule @daily --umask 888 -- true", "a mask is octal"),
        (
            "--rule @daily --cwd tmp -- true",
            "--cwd `tmp` is not an absolute path",
        ),
        ("--rule @daily --env A -- true", "write it like NAME=value"),
        (
            "--rule @daily --env UCRON_X=1 -- true",
            "UCRON_* is set by ucron itself",
        ),
        (
            "--rule @daily --overlap wait -- true",
            "--overlap `wait` is unknown; allowed are skip, queue",
        ),
        (
            "--rule @daily --output tail -- true",
            "unknown argument `tail`",
        ),
        (
            "--rule @daily --output=all -- true",
            "--output `all` is unknown; allowed are none and tail",
        ),
        ("--rule @daily --limit nofile -- true", "KIND=NUMBER"),
        (
            "--rule @daily --stop-signal SEGV -- true",
            "signal `SEGV` is unknown",
        ),
        (
            "--rule @daily --restart sometimes -- true",
            "allowed are always, on-failure and never",
        ),
        (
            "--rule @daily --success-codes 256 -- true",
            "256 is not in 0-255",
        ),
        ("--rule @daily --timeout 0s -- true", "`0s` is zero"),
        (
            "--rule @daily --backoff 1m..1s -- true",
            "the second duration is shorter",
        ),
        (
            "--rule @daily --if-exists ask -- true",
            "allowed are fail, keep and replace",
        ),
        (
            "--rule @daily --target a1,a1/b -- true",
            "the agent name `a1/b` has '/'",
        ),
        (
            "--rule @daily --tz Berlin -- true",
            "did you mean Europe/Berlin",
        ),
    ] {
        let line = format!("{ADD} {flags}");
        check(line.trim_end(), 2, said, "").await;
    }
    check(
        "add --group g --name n --rule @daily -- true",
        2,
        "`--user <USER>` is missing",
        "",
    )
    .await;
    check(
        "add --group g --name .n --user u --rule @daily -- true",
        2,
        "starts with `.`",
        "",
    )
    .await;
}

#[tokio::test]
async fn a_refused_rule_is_exit_1_with_a_caret_and_nothing_on_stdout() {
    let never = |_, _: &_| Reply::Hang;
    for rule in ["60 * * * *", "", "@every 0s", "* * * *", "0 0 30 2 *"] {
        let done = ucron(&["next", rule], "", never).await;
        assert_eq!((done.exit, done.stdout.as_str()), (1, ""), "{rule}");
        assert!(
            done.stderr.contains('^') && done.stderr.contains("allowed:"),
            "{}",
            done.stderr
        );
        let done = ucron(&["next", rule, "-o", "json"], "", never).await;
        assert_eq!((done.exit, done.stdout.as_str()), (1, ""), "{rule}");
        let fault: serde_json::Value = serde_json::from_str(&done.stderr).unwrap();
        assert_eq!(fault["code"], "failed");
    }
}

#[tokio::test]
async fn refusals_of_the_center_decide_the_exit_code() {
    for (code, exit, word) in [
        (RefusalCode::Failed, 1, "failed"),
        (RefusalCode::Unavailable, 1, "unavailable"),
        (RefusalCode::Usage, 2, "usage"),
        (RefusalCode::NotFound, 3, "not_found"),
        (RefusalCode::Forbidden, 4, "forbidden"),
        (RefusalCode::Conflict, 5, "conflict"),
    ] {
        let done = ucron(&["stop", "a", "-o", "json"], "", move |_, _| {
            Reply::Refuse(code, "no")
        })
        .await;
        assert_eq!(done.exit, exit);
        let fault: serde_json::Value = serde_json::from_str(&done.stderr).unwrap();
        assert_eq!(
            fault,
            serde_json::json!({"code": word, "message": "no", "hint": null})
        );
    }
}
