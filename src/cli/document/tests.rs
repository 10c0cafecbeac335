//! Tasks to text and back, and what is said of a wrong text.

use std::path::Path;
use std::time::Duration;

use super::{Entry, read, write};
use crate::cli::args::{self, Command, Parsed};
use crate::cli::{fake, spec};
use crate::model::TaskSpec;
use crate::proto::view::TaskView;
use crate::rule::Zone;

fn spec_of(flags: &[&str]) -> TaskSpec {
    let line = [&["ucron", "add", "--group", "g", "--name", "n"], flags].concat();
    let Parsed::Command(ucron) = args::parse(line) else {
        panic!("{flags:?}");
    };
    let Some(Command::Add(add)) = ucron.command else {
        panic!("{flags:?}");
    };
    spec::new(&add.flags).unwrap()
}

fn view(group: &str, name: &str, spec: TaskSpec) -> TaskView {
    let id = format!("{:0<26}", format!("01{}", name.len()));
    TaskView {
        id: id.parse().unwrap(),
        zone: spec.timezone.clone().unwrap_or_else(Zone::utc),
        spec,
        ..fake::task(group, name)
    }
}

fn entry(view: &TaskView) -> Entry {
    Entry {
        group: view.group.clone(),
        name: view.task_name.clone(),
        enabled: view.enabled,
        spec: view.spec.clone(),
    }
}

const ALL: &[&str] = &[
    "--rule",
    "30 2 * * *",
    "--tz",
    "Europe/Berlin",
    "--user",
    "ann",
    "--note",
    "it's \"so\"\nand ü",
    "--target",
    "a1,b2",
    "--processes",
    "3",
    "--timeout",
    "1h30m",
    "--retries",
    "2",
    "--backoff",
    "2s..5m",
    "--success-codes",
    "0,3",
    "--overlap",
    "queue",
    "--catch-up",
    "--misfire-grace",
    "2h",
    "--jitter",
    "250ms",
    "--output",
    "--cwd",
    "/srv/a b",
    "--umask",
    "027",
    "--nice",
    "-5",
    "--env",
    "LEVEL=debug",
    "--env",
    "a.b c=x=\"y\"",
    "--env-file",
    "/etc/e",
    "--limit",
    "nofile=4096",
    "--limit",
    "as=18446744073709551615",
    "--stop-signal",
    "INT",
    "--grace",
    "0s",
    "--restart",
    "on-failure",
    "--start-seconds",
    "3s",
    "--start-retries",
    "7",
    "--parole",
    "never",
    "--",
    "/bin/x",
    "a b",
    "",
];

#[test]
fn every_flag_survives_the_text_and_only_what_differs_is_written() {
    let mut tasks = vec![
        view(
            "web",
            "shell",
            spec_of(&[
                "--rule",
                "@every 5s",
                "--user",
                "u",
                "--shell",
                "a\n  b \\ 'c' \"\"\" d",
            ]),
        ),
        view(
            "web",
            "worker",
            spec_of(&["--daemon", "--user", "u", "--", "/opt/w"]),
        ),
        view("db", "everything", spec_of(ALL)),
    ];
    tasks[0].enabled = false;
    let text = write(&tasks);
    let entries = read(Path::new("f"), &text).unwrap();
    let wanted: Vec<Entry> = [2, 0, 1].map(|at| entry(&tasks[at])).into();
    assert_eq!(entries, wanted, "{text}");
    tasks.reverse();
    assert_eq!(write(&tasks), text, "the order does not matter");
    let worker = "[[task]]\ngroup = \"web\"\nname = \"worker\"\n# always: the processes are kept running\n\
                  rule = \"@always\"\nuser = \"u\"\nexecute = [\"/opt/w\"]\ndaemon = true\n";
    assert!(text.ends_with(worker), "{text}");
    for line in [
        "# at 02:30 Berlin time every day",
        "timeout = \"1h30m\"",
        "success-codes = [0, 3]",
        "target = [\"a1\", \"b2\"]",
        "env.LEVEL = \"debug\"",
        "env.\"a.b c\" = 'x=\"y\"'",
        "limit.nofile = 4096",
        "umask = \"027\"",
        "execute = [\"/bin/x\", \"a b\", \"\"]",
    ] {
        assert!(text.lines().any(|is| is == line), "{line}: {text}");
    }
}

#[test]
fn a_daemon_needs_no_rule_and_numbers_may_stand_in_quotes() {
    let text = "[[task]]\ngroup='g'\nname='n'\nuser='u'\nexecute='x'\ndaemon=true\nretries='2'\n\
                task='x'\n";
    let text = text.replace("task='x'\n", "[task.env]\nA='b'\n");
    let entries = read(Path::new("f"), &text).unwrap();
    let wanted = spec_of(&[
        "--daemon",
        "--user",
        "u",
        "--retries",
        "2",
        "--env",
        "A=b",
        "--shell",
        "x",
    ]);
    assert_eq!(entries[0].spec, wanted);
    assert_eq!(entries[0].spec.work.grace, Duration::from_secs(10));
}

fn check(body: &str, wanted: &str) {
    let text = format!("[[task]]\ngroup = 'g'\nname = 'n'\n{body}");
    let faults = read(Path::new("f.toml"), &text).unwrap_err();
    let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(texts.join("\n"), wanted, "{body}");
}

const REST: &str = "rule = '@daily'\nuser = 'u'\nexecute = 'x'\n";

#[test]
fn all_errors_of_a_text_are_told_each_with_its_place() {
    check(
        "rule = '0 60 * * *'\nuser = 3\nexecute = []\nretires = 1\ntimeout = '5'\n",
        "\
f.toml:4:11: hour: `60` is not in 0-23; allowed: `*`, 0-23, lists `a,b`, ranges `a-b`, steps `*/n` and `a-b/n`
  rule = '0 60 * * *'
            ^
f.toml:5:8: this is a whole number; it wants a text in quotes
  user = 3
         ^
f.toml:6:11: the command is empty
  execute = []
            ^
f.toml:7:1: unknown key `retires`; did you mean `retries`?
  retires = 1
  ^
f.toml:8:11: `5` has no unit; write it like 250ms, 30s, 1h30m or 2d
  timeout = '5'
            ^",
    );
    check(
        "rule = '@daily'\nusr = 'u'\n",
        "\
f.toml:1:1: `user` is missing in this task
  [[task]]
  ^
f.toml:1:1: `execute` is missing in this task
  [[task]]
  ^
f.toml:5:1: unknown key `usr`; did you mean `user`?
  usr = 'u'
  ^",
    );
    check(
        &REST.replace("@daily", "@always"),
        "\
f.toml:4:8: the rule `@always` is for daemons; give `daemon`, or a rule with occurrences
  rule = '@always'
         ^",
    );
    check(
        &format!("{REST}\n[[task]]\nname = 'n'\ngroup = 'g'\n{REST}[web]\n"),
        "\
f.toml:8:1: `g/n` is in the file twice; the first is in line 1
  [[task]]
  ^
f.toml:14:2: unknown key `web`; a task begins with `[[task]]`
  [web]
   ^",
    );
}

#[test]
fn each_wrong_value_is_pointed_at() {
    for (line, wanted) in [
        (
            "timeout = 5",
            "7:11: this is a whole number; it wants a text in quotes",
        ),
        (
            "grace = '5'",
            "7:9: `5` has no unit; write it like 250ms, 30s, 1h30m or 2d",
        ),
        ("cwd = 'tmp'", "7:7: cwd `tmp` is not an absolute path"),
        ("nice = 20", "7:8: nice is 20; allowed are -20-19"),
        ("processes = 70000", "7:13: `70000` is out of range"),
        (
            "umask = '888'",
            "7:9: a mask is octal, 000-777, for example 027",
        ),
        (
            "daemon = 'yes'",
            "7:10: this is a text; it wants true or false, without quotes",
        ),
        (
            "env.UCRON_X = 'a'",
            "7:1: the environment variable `UCRON_X` cannot be set; UCRON_* is set by ucron itself",
        ),
        (
            "env.A = '***'",
            "7:9: `***` stands for a value that is hidden from you; give the value itself",
        ),
        (
            "limit.files = 1",
            "7:7: --limit `files` is unknown; allowed are nofile, as, cpu, nproc, core, fsize, data, stack and memlock",
        ),
        (
            "success-codes = 3",
            "7:17: this is a whole number; it wants a list of exit codes, like [0, 3]",
        ),
        ("tz = 'Berlin'", "7:6: "),
        ("x = ", "7:5: "),
    ] {
        let text = format!("[[task]]\ngroup = 'g'\nname = 'n'\n{REST}{line}\n");
        let faults = read(Path::new("f"), &text).unwrap_err();
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert!(
            told[0].starts_with(&format!("f:{wanted}")),
            "{line}: {told:?}"
        );
        assert_eq!(told.len(), 1, "{line}: {told:?}");
    }
}
