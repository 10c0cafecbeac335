//! What a process sees when it starts, and what keeps it from starting.

use crate::world::World;
use crate::world::count_files;
use crate::world::eventually;
use crate::world::is_root;
use crate::world::needs_root;
use crate::world::output;
use crate::world::program;
use crate::world::run_user;
use crate::world::shell;
use crate::world::start;
use crate::world::vector;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::chown;
use ucron::exec::wire::Command;
use ucron::exec::wire::Event;
use ucron::model::Outcome;
use ucron::model::UserName;
use ucron::model::Work;

#[test]
fn exits_are_exact() {
    World::each(|world| {
        let agent = world.agent();
        let check = |work: Work, outcome, code, signal, reason: &str| {
            let ending = agent.run(work);
            assert_eq!(ending.outcome, outcome, "{ending:?}");
            assert_eq!((ending.exit_code, ending.signal), (code, signal));
            assert_eq!(ending.reason, reason);
        };
        let succeeded = Outcome::Succeeded;
        let failed = Outcome::Failed;
        check(
            shell("exit 0"),
            succeeded,
            Some(0),
            None,
            "exited with code 0",
        );
        check(shell("exit 3"), failed, Some(3), None, "exited with code 3");
        let mut three = shell("exit 3");
        three.success_codes = BTreeSet::from([0, 3]);
        check(three, succeeded, Some(3), None, "exited with code 3");
        let kill = "killed by signal 9 (KILL)";
        check(shell("kill -9 $$"), failed, None, Some(9), kill);
        let missing = "exec: `nosuch`: not found";
        check(vector(&["nosuch", "x"]), failed, Some(127), None, missing);
        let not = "exec: `/etc/passwd`: not executable";
        check(vector(&["/etc/passwd"]), failed, Some(126), None, not);
        let mut cwd = shell("pwd");
        cwd.cwd = Some("/nosuch".to_owned());
        let reason =
            "setup: entering its directory `/nosuch`: No such file or directory (os error 2)";
        check(cwd, failed, None, None, reason);
        let mut nobody = shell("true");
        nobody.run_user = UserName::parse("no-such-account").unwrap();
        let reason = "setup: there is no account `no-such-account` on this host";
        check(nobody, failed, None, None, reason);
    });
}

#[test]
fn a_process_sees_what_the_design_says_and_nothing_else() {
    World::each(|world| {
        let agent = world.agent();
        let mut env = vector(&["env"]);
        env.env.insert("MINE".to_owned(), "a b".to_owned());
        let seen = output(&agent, env);
        let names: BTreeSet<&str> = seen
            .lines()
            .filter_map(|line| Some(line.split_once('=')?.0))
            .collect();
        let wanted = [
            "HOME",
            "LANG",
            "LOGNAME",
            "MINE",
            "PATH",
            "SHELL",
            "UCRON_AGENT",
            "UCRON_ATTEMPT",
            "UCRON_CAUSE",
            "UCRON_EPOCH",
            "UCRON_GROUP",
            "UCRON_PROCESSES",
            "UCRON_REVISION",
            "UCRON_RUN_ID",
            "UCRON_SCHEDULED_AT",
            "UCRON_SLOT",
            "UCRON_TASK",
            "USER",
        ];
        assert_eq!(names, BTreeSet::from(wanted));
        for line in [
            "MINE=a b",
            "UCRON_TASK=dump",
            "UCRON_AGENT=a1",
            "UCRON_SCHEDULED_AT=2026-11-22T16:50:00.007Z",
            "UCRON_EPOCH=7",
            "UCRON_CAUSE=rule",
            "PATH=/usr/local/bin:/usr/bin:/bin",
        ] {
            assert!(seen.lines().any(|seen| seen == line), "{line} in {seen}");
        }
        assert!(seen.contains(&format!("USER={}\n", run_user())));
        let fds = output(&agent, shell("ls -l /proc/self/fd"));
        let targets: Vec<&str> = fds
            .lines()
            .filter_map(|line| Some(line.split_once(" -> ")?.1))
            .collect();
        // The fourth is the one with which ls reads the directory.
        assert_eq!(targets.len(), 4, "{fds}");
        assert_eq!(targets[0], "/dev/null");
        assert!(
            targets[1].contains("/output/") && targets[1] == targets[2],
            "{fds}"
        );
        let status = output(
            &agent,
            shell("umask; grep -E '^Sig(Blk|Ign)' /proc/self/status; pwd"),
        );
        let lines: Vec<&str> = status.lines().collect();
        assert_eq!(lines[0], "0022");
        assert!(
            lines[1..3]
                .iter()
                .all(|line| line.ends_with("\t0000000000000000")),
            "{status}"
        );
        let ids = output(
            &agent,
            vector(&["/bin/sh", "-c", "cut -d' ' -f5,6 /proc/$$/stat; echo $$"]),
        );
        let (of, own) = ids.trim().split_once('\n').unwrap();
        assert_eq!(
            of,
            format!("{own} {own}"),
            "leads its own process group and session"
        );
    });
}

#[test]
fn a_process_has_all_groups_of_its_account() {
    if !needs_root("running as another account") {
        return;
    }
    // An account of this host with a supplementary group, if it has one.
    let groups = std::fs::read_to_string("/etc/group").unwrap();
    let member = groups
        .lines()
        .filter_map(|line| {
            line.rsplit_once(':')?
                .1
                .split(',')
                .find(|name| !name.is_empty())
        })
        .find(|name| *name != "root")
        .unwrap_or("nobody");
    World::each(|world| {
        let agent = world.agent();
        let mut work = shell("id -u; id -G");
        work.run_user = UserName::parse(member).unwrap();
        let seen = output(&agent, work);
        let wanted = |flag: &str| {
            let answer = program("id").args([flag, member]).output().unwrap();
            String::from_utf8(answer.stdout).unwrap()
        };
        let sorted = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<BTreeSet<_>>()
        };
        let (uid, gids) = seen.split_once('\n').unwrap();
        assert_eq!(uid, wanted("-u").trim());
        assert_eq!(sorted(gids), sorted(&wanted("-G")));
    });
}

#[test]
fn settings_of_a_task_reach_its_process() {
    World::each(|world| {
        let agent = world.agent();
        let file = world.work("env");
        std::fs::write(&file, "# note\nFROM_FILE=1\nMINE=file\n").unwrap();
        let mut work = shell("echo $FROM_FILE $MINE; umask; nice; ulimit -n; pwd");
        work.env_file = Some(file.to_str().unwrap().to_owned());
        work.env.insert("MINE".to_owned(), "task".to_owned());
        work.umask = 0o027;
        work.nice = 5;
        work.limits = vec!["nofile=77".parse().unwrap()];
        work.cwd = Some("/usr".to_owned());
        assert_eq!(output(&agent, work), "1 task\n0027\n5\n77\n/usr\n");
        if is_root() {
            chown(&file, Some(0), Some(0)).unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
            let mut work = shell("true");
            work.env_file = Some(file.to_str().unwrap().to_owned());
            let ending = agent.run(work);
            assert!(
                ending.reason.contains("cannot be opened by `nobody`"),
                "{}",
                ending.reason
            );
        }
    });
}

#[test]
fn late_starts_are_refused() {
    World::each(|world| {
        let agent = world.agent();
        let mut late = start(shell("true"));
        late.start_before = Some(ucron::exec::wire::BootMs(1));
        let run = late.run.run_id.clone();
        agent.send(Command::Start(Box::new(late)));
        let ending = agent.ended(&run);
        assert_eq!(ending.outcome, Outcome::Missed);
        assert!(ending.reason.starts_with("too late: "), "{}", ending.reason);
        let mut expired = start(shell("true"));
        expired.not_after = Some(ucron::exec::wire::BootMs(1));
        let run = expired.run.run_id.clone();
        agent.send(Command::Start(Box::new(expired)));
        agent.wait("the refusal", |event| match event {
            Event::NotStarted { run_id, .. } if *run_id == run => Some(()),
            _ => None,
        });
    });
}

#[test]
fn the_policy_has_the_last_word() {
    let world = World::new("subreaper");
    let agent = world.agent();
    let mut other = shell("true");
    if !is_root() {
        other.run_user = UserName::parse("root").unwrap();
        let ending = agent.run(other);
        assert!(
            ending
                .reason
                .starts_with("refused: this keeper is not root"),
            "{ending:?}"
        );
        return;
    }
    other.run_user = UserName::parse("root").unwrap();
    let ending = agent.run(other.clone());
    let policy = world.state().join("policy.toml");
    let wanted = format!("write `users = [\"root\"]` in `{}`", policy.display());
    assert!(
        ending.reason.starts_with("refused: ") && ending.reason.contains(&wanted),
        "{ending:?}"
    );
    assert_eq!(ending.outcome, Outcome::Failed);
    std::fs::write(&policy, "users = [\"root\"]\n").unwrap();
    assert_eq!(agent.run(other.clone()).outcome, Outcome::Succeeded);
    assert!(
        agent
            .run(shell("true"))
            .reason
            .contains("does not allow user `nobody`")
    );
    std::fs::set_permissions(&policy, PermissionsExt::from_mode(0o666)).unwrap();
    assert!(agent.run(other).reason.contains("nobody else can write"));
}

#[test]
fn an_armed_run_finds_its_output_ready_and_a_disarmed_one_leaves_none() {
    World::each(|world| {
        let agent = world.agent();
        let base = world.state().join("output");
        let armed = start(shell("echo armed"));
        let run = armed.run.clone();
        agent.send(Command::Arm { run: run.clone() });
        eventually("its output file", || count_files(&base) == 1);
        agent.send(Command::Start(Box::new(armed)));
        assert_eq!(agent.ended(&run.run_id).output_bytes, Some(6));
        let other = start(shell("true")).run;
        agent.send(Command::Arm { run: other.clone() });
        eventually("its output file", || count_files(&base) == 2);
        agent.send(Command::Disarm {
            run_id: other.run_id,
        });
        eventually("it is gone", || count_files(&base) == 1);
    });
}
