//! What a process is to the kernel: account, groups, limits, descriptors, environment; and what becomes of a run
//! whose account, directory, shell or files are not as they were when its task was saved. Accounts are made up in
//! a mount namespace of the keeper's own, so the host's stay as they are.
#![allow(
    clippy::unwrap_used,
    reason = "what a test's helper cannot do fails the test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Stdio;

use rustix::process::Signal;
use ucron::model::{Ending, Outcome, UserName, Work};

use crate::world::{Agent, World, eventually, needs_root, output, program, shell, vector};

/// Number of the made-up account.
const UID: u32 = 54_321;
/// Accounts beside the host's root and nobody; HOME stands for a directory.
const ACCOUNTS: &str = "root:x:0:0:root:/root:/bin/sh\n\
    nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n\
    worker:x:54321:54321::HOME:/bin/sh\n\
    toor:x:0:0::/root:/bin/sh\n\
    closed:x:54322:54322::CLOSED:/bin/false\n";
const GROUPS: &str = "root:x:0:\nnogroup:x:65534:\nworker:x:54321:\n\
    readers:x:54400:worker\nwriters:x:54401:nobody,worker\n";

fn as_user(mut work: Work, user: &str) -> Work {
    work.run_user = UserName::parse(user).unwrap();
    work
}

/// A world whose keeper has accounts of its own and is started with what no run may inherit. None where this
/// machine has no namespaces to give.
fn world_of_accounts(trees: &'static str, script: &str) -> Option<World> {
    let mut world = World::new(trees);
    let closed = world.work("closed");
    for (path, owner) in [(world.work("home"), UID), (closed.clone(), 0)] {
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
        chown(&path, Some(owner), Some(owner)).unwrap();
    }
    let accounts = ACCOUNTS
        .replace("HOME", world.work("home").to_str().unwrap())
        .replace("CLOSED", closed.to_str().unwrap());
    std::fs::write(world.work("passwd"), accounts).unwrap();
    std::fs::write(world.work("group"), GROUPS).unwrap();
    let script = format!(
        "mount --bind {0}/passwd /etc/passwd && mount --bind {0}/group /etc/group && {script} || exit 77\n\
         exec 9</etc/shadow\nexport LEAK=1\numask 0\nulimit -Sn 500\ntrap '' INT PIPE\nexec \"$@\"",
        world.dir.path().join("work").display()
    );
    world.end_keeper(Signal::TERM);
    let keeper = program("unshare")
        .args(["-m", "/bin/sh", "-c", &script, "sh"])
        .arg(env!("CARGO_BIN_EXE_ucron-keeper"))
        .args(["run", "--tree", trees, "--log", "warn", "--state"])
        .arg(world.state())
        .stdin(Stdio::null())
        .spawn();
    world.keeper = Some(keeper.unwrap());
    let mut ended = None;
    eventually("the keeper answers, or there is no namespace", || {
        ended = world.keeper.as_mut().unwrap().try_wait().unwrap();
        ended.is_some() || ucron::exec::is_running(&world.state())
    });
    if ended.is_some() {
        world.keeper = None;
        needs_root("mounting in a namespace of its own");
        return None;
    }
    Some(world)
}

fn each_way(test: impl Fn(&mut World)) {
    if !needs_root("running as other accounts, compared with what runuser gives") {
        return;
    }
    for trees in ["subreaper", "cgroup"] {
        if let Some(mut world) = world_of_accounts(trees, "true") {
            test(&mut world);
        }
    }
}

/// Says what it is, a part a line.
const PROBE: &str = r#"
echo "ids $(id -u) $(id -g)"
echo "groups $(id -G | tr ' ' '\n' | sort -n | tr '\n' ' ')"
echo "umask $(umask)"
echo "directory $(pwd)"
echo "nice $(nice)"
echo "descriptors $(ls /proc/self/fd | tr '\n' ' ')"
echo "oom $(cat /proc/self/oom_score_adj)"
sed 's/^/limit /' /proc/self/limits
grep -E '^(Uid|Gid|Cap|NoNewPrivs|Seccomp|SigBlk|SigIgn)' /proc/self/status | sed 's/^/status /'
env | sed 's/^/env /'
"#;

/// The lines that are the same whoever starts a process, and the environment. Descriptors and ignored signals are
/// not: runuser passes on what it was given.
fn parts(seen: &str) -> (BTreeSet<&str>, BTreeMap<&str, &str>) {
    let env = seen.lines().filter_map(|line| line.strip_prefix("env "));
    let env = env.filter_map(|line| line.split_once('=')).collect();
    let passed_on = ["env ", "descriptors ", "status SigIgn:"];
    let is_own = |line: &&str| !passed_on.iter().any(|start| line.starts_with(start));
    let lines = seen.lines().filter(is_own);
    (lines.collect(), env)
}

#[test]
fn a_process_has_what_runuser_gives_but_for_what_the_design_says() {
    each_way(|world| {
        let probe = world.work("probe");
        std::fs::write(&probe, PROBE).unwrap();
        let probe = format!("/bin/sh {}", probe.display());
        let agent = world.agent();
        let ours = output(&agent, as_user(shell(probe.clone()), "worker"));
        // Nothing of what the keeper was started with: a descriptor, ignored signals, a variable, a mask.
        for line in [
            "descriptors 0 1 2 3 ",
            "status SigIgn:\t0000000000000000",
            "umask 0022",
        ] {
            assert!(ours.lines().any(|seen| seen == line), "{line} in {ours}");
        }
        assert!(!ours.contains("LEAK"), "{ours}");
        let keeper = world.keeper_pid().to_string();
        let theirs = program("nsenter")
            .args(["-t", &keeper, "-m", "runuser", "-l", "worker", "-c", &probe])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let theirs = String::from_utf8(theirs.stdout).unwrap();
        let ((our_lines, ours), (their_lines, theirs)) = (parts(&ours), parts(&theirs));
        assert!(our_lines.contains("ids 54321 54321"), "{our_lines:?}");
        assert!(our_lines.contains("groups 54321 54400 54401 "));
        assert!(our_lines.contains("umask 0022"));
        assert_eq!(our_lines, their_lines);
        for name in ["HOME", "USER", "LOGNAME"] {
            assert_eq!(ours[name], theirs[name], "{name}");
        }
        let more = |a: &BTreeMap<&str, &str>, b: &BTreeMap<&str, &str>| -> BTreeSet<String> {
            let names = a.keys().filter(|name| !b.contains_key(**name));
            names.map(|name| (*name).to_owned()).collect()
        };
        let ours_alone = more(&ours, &theirs);
        let design = |name: &String| name == "LANG" || name.starts_with("UCRON_");
        assert!(ours_alone.iter().all(design), "{ours_alone:?}");
        let theirs_alone = more(&theirs, &ours);
        let of_logins = ["MAIL", "TERM", "PWD", "OLDPWD", "SHLVL", "_"];
        let known = |name: &String| of_logins.contains(&name.as_str()) || name.starts_with("XDG_");
        assert!(theirs_alone.iter().all(known), "{theirs_alone:?}");
    });
}

#[test]
fn a_process_has_no_terminal_whatever_the_keeper_has() {
    World::each(|world| {
        let agent = world.agent();
        let seen = output(
            &agent,
            shell("cut -d' ' -f7 /proc/self/stat; (: < /dev/tty) 2>/dev/null || echo none"),
        );
        assert_eq!(seen, "0\nnone\n");
    });
}

fn check(ending: &Ending, code: Option<i32>, reason: &str) {
    assert_eq!(ending.outcome, Outcome::Failed, "{ending:?}");
    assert_eq!(ending.exit_code, code);
    assert_eq!(ending.reason, reason);
}

#[test]
fn a_directory_that_cannot_be_entered_is_told_and_a_home_is_not_missed() {
    each_way(|world| {
        let agent = world.agent();
        let closed = world.work("closed");
        let mut cwd = as_user(shell("pwd"), "worker");
        cwd.cwd = Some(closed.display().to_string());
        let reason = format!(
            "setup: entering its directory `{}`: Permission denied (os error 13)",
            closed.display()
        );
        check(&agent.run(cwd), None, &reason);
        let mut file = as_user(shell("pwd"), "worker");
        file.cwd = Some("/etc/passwd".to_owned());
        let reason = "setup: entering its directory `/etc/passwd`: Not a directory (os error 20)";
        check(&agent.run(file), None, reason);
        // The home of one cannot be entered, that of another is not there; the login shell of neither counts.
        for user in ["closed", "nobody"] {
            let seen = output(&agent, as_user(shell("pwd; echo $HOME"), user));
            assert!(seen.starts_with("/\n/"), "{seen}");
        }
    });
}

#[test]
fn an_account_that_has_vanished_fails_its_runs() {
    each_way(|world| {
        let agent = world.agent();
        assert_eq!(output(&agent, as_user(shell("id -u"), "worker")), "54321\n");
        let passwd = world.work("passwd");
        let text = std::fs::read_to_string(&passwd).unwrap();
        let left: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with("worker:"))
            .collect();
        // In place: the keeper sees this very file.
        std::fs::write(&passwd, left.join("\n") + "\n").unwrap();
        let mut ending = None;
        eventually("it has vanished", || {
            let seen = agent.run(as_user(shell("true"), "worker"));
            let gone = seen.outcome != Outcome::Succeeded;
            ending = Some(seen);
            gone
        });
        let reason = "setup: there is no account `worker` on this host";
        check(&ending.unwrap(), None, reason);
    });
}

#[test]
fn a_host_without_a_shell_fails_shell_lines_alone() {
    if !needs_root("a host without a shell") {
        return;
    }
    let real = std::fs::canonicalize("/bin/sh").unwrap();
    let hide = format!("mount -t tmpfs none {}", real.parent().unwrap().display());
    let Some(world) = world_of_accounts("subreaper", &hide) else {
        return;
    };
    let agent = world.agent();
    let missing = "exec: `/bin/sh`: not found";
    check(
        &agent.run(as_user(shell("true"), "worker")),
        Some(127),
        missing,
    );
}

#[test]
fn a_script_without_its_interpreter_says_so() {
    World::each(|world| {
        let agent = world.agent();
        let script = world.work("script");
        std::fs::write(&script, "#!/nosuch/interpreter\n").unwrap();
        std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
        let name = script.display().to_string();
        let reason = format!("exec: `{name}`: its interpreter is not found");
        check(&agent.run(vector(&[&name])), Some(127), &reason);
    });
}

#[test]
fn nothing_runs_as_root_by_another_name_or_as_the_agent() {
    each_way(|world| {
        let policy = world.state().join("policy.toml");
        std::fs::write(&policy, "users = [\"*\", \"toor\"]\n").unwrap();
        let agent = world.agent();
        assert_eq!(output(&agent, as_user(shell("id -u"), "toor")), "0\n");
        std::fs::write(&policy, "users = [\"*\"]\n").unwrap();
        for user in ["root", "toor"] {
            let reason = agent.run(as_user(shell("true"), user)).reason;
            let wanted = format!("refused: the policy of this host does not allow user `{user}`");
            assert!(reason.starts_with(&wanted), "{reason}");
        }
    });
}

fn env_file(agent: &Agent, path: &Path, user: &str) -> Ending {
    let mut work = as_user(shell("true"), user);
    work.env_file = Some(path.display().to_string());
    agent.run(work)
}

#[test]
fn an_environment_file_is_opened_with_the_accounts_rights() {
    each_way(|world| {
        let agent = world.agent();
        let check = |path: &Path, why: &str| {
            let reason = format!("setup: the environment file `{}` {why}", path.display());
            check(&env_file(&agent, path, "worker"), None, &reason);
        };
        let secret = world.work("secret");
        std::fs::write(&secret, "A=1\n").unwrap();
        std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
        let denied = "cannot be opened by `worker`: Permission denied (os error 13)";
        check(&secret, denied);
        let link = world.work("link");
        symlink(&secret, &link).unwrap();
        check(&link, denied);
        let gone = world.work("gone");
        let missing = "cannot be opened by `worker`: No such file or directory (os error 2)";
        check(&gone, missing);
        let pipe = world.work("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        check(&pipe, "is not a regular file");
        check(&world.work("home"), "is not a regular file");
        let large = world.work("large");
        std::fs::write(&large, "# \n".repeat(30_000)).unwrap();
        check(&large, "has more than 65536 bytes");
        // Readable through a supplementary group alone.
        let shared = world.work("shared");
        std::fs::write(&shared, "A=1\n").unwrap();
        chown(&shared, Some(0), Some(54_400)).unwrap();
        std::fs::set_permissions(&shared, PermissionsExt::from_mode(0o640)).unwrap();
        assert_eq!(
            env_file(&agent, &shared, "worker").outcome,
            Outcome::Succeeded
        );
        assert_eq!(env_file(&agent, &shared, "closed").outcome, Outcome::Failed);
    });
}
