//! What commands write: in the center, on the host, and live. Events and status.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use crate::world::{World, eventually};

const NEVER: [&str; 2] = ["--rule", "0 0 1 1 *"];

#[test]
fn both_streams_come_in_order_and_as_they_are() {
    let world = World::small();
    world.add(
        "web/t",
        &NEVER,
        &["echo one; echo two >&2; printf 'three\\033[2J'"],
    );
    let run = world.run_now("web/t");
    assert_eq!(
        world.must(&["logs", "web/t", "--raw"]),
        "one\ntwo\nthree\u{1b}[2J"
    );
    let shown = world.must(&["logs", &run.run_id]);
    assert!(shown.starts_with("one\ntwo\nthree"), "{shown:?}");
    assert_eq!(
        world
            .must(&["logs", "web/t", "-n", "1", "--grep", "t"])
            .lines()
            .count(),
        1
    );
    let shown = world.json(&["show", &run.run_id]);
    assert!(
        shown["tail"].is_null(),
        "nothing is returned that was not asked for"
    );
}

#[test]
fn the_tail_of_a_long_output_is_returned_and_the_rest_is_on_the_host() {
    let world = World::small();
    world.add(
        "web/t",
        &[&NEVER[..], &["--output=tail"]].concat(),
        &["seq 1 40000"],
    );
    let run = world.run_now("web/t");
    let tail = world.tail(&run);
    assert!(
        tail.ends_with("39999\n40000\n"),
        "{}",
        &tail[tail.len() - 50..]
    );
    assert!(tail.len() <= 64 * 1024, "{}", tail.len());
    let all = world.must(&["logs", "web/t", "-n", "all"]);
    assert_eq!(all.lines().count(), 40000);
    assert_eq!(world.must(&["logs", "web/t"]).lines().count(), 200);
}

#[test]
fn logs_are_followed_live_to_the_end_of_the_run() {
    let world = World::small();
    let gate = world.work_name("gate");
    let line = format!("echo begin; while ! test -e {gate}; do sleep 0.05; done; echo end");
    world.add("web/t", &NEVER, &[&line]);
    world.must(&["run", "web/t"]);
    world.run_where("web/t", "runs", |run| run.pid.is_some());
    let mut follow = world.spawn(&["logs", "-f", "web/t"]);
    follow.shows("begin");
    assert!(!follow.out().contains("end"));
    std::fs::write(&gate, "").unwrap();
    assert!(follow.ended().success());
    eventually("the end was shown", || follow.out().ends_with("end\n"));
}

#[test]
fn a_run_is_followed_by_who_starts_it() {
    let world = World::small();
    world.add("web/t", &NEVER, &["echo hello; exit 3"]);
    for _ in 0..20 {
        let answer = world.ucron(&["run", "-f", "web/t"]).exits(1);
        assert!(answer.out.contains("hello"), "{answer:?}");
    }
}

#[test]
fn a_daemons_log_goes_on() {
    let world = World::small();
    world.add(
        "web/d",
        &["--daemon"],
        &["while :; do echo tick; sleep 0.2; done"],
    );
    let mut follow = world.spawn(&["logs", "-f", "web/d"]);
    eventually("it ticks", || follow.out().matches("tick").count() > 5);
    assert!(!follow.has_ended());
}

#[test]
fn events_tell_every_end_and_go_on_after_a_cursor() {
    let world = World::small();
    let follow = world.spawn(&["events", "-f"]);
    world.add("web/t", &["--rule", "@every 300ms"], &["exit 3"]);
    follow.shows("run_ended web/t a1 failed");
    world.must(&["stop", "web/t"]);
    follow.shows("task_stopped web/t");
    for line in follow.out().lines() {
        let time = line.split(' ').next().unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{line}");
    }
    let told = world.must(&["events", "-o", "json"]);
    let cursors: Vec<String> = told
        .lines()
        .map(|line| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            event["cursor"].as_str().unwrap().to_owned()
        })
        .collect();
    let rest = world.must(&["events", "--since", &cursors[1], "-q"]);
    assert_eq!(rest.lines().next(), Some(cursors[2].as_str()));
}

#[test]
fn status_tells_what_is_wrong() {
    let mut world = World::small();
    world.ucron(&["status", "--check"]).exits(0);
    let status = world.json(&["status"]);
    assert_eq!(
        (&status["role"], &status["agents"]["online"]),
        (&"leader".into(), &1.into())
    );
    world.kill_agent("a1");
    eventually("the center misses the agent", || {
        world.ucron(&["status", "--check"]).code == 1
    });
    world.ucron(&["status"]).exits(0);
    assert_eq!(world.json(&["status"])["agents"]["offline"], 1);
}

#[test]
fn reading_never_fails_because_an_agent_is_away() {
    let mut world = World::small();
    world.add(
        "web/t",
        &["--rule", "0 0 1 1 *", "--output=tail"],
        &["echo kept"],
    );
    let run = world.run_now("web/t");
    world.kill_agent("a1");
    eventually("the center misses the agent", || {
        world.agent("a1")["state"] == "offline"
    });
    for args in [
        &["ls"][..],
        &["runs"],
        &["ps"],
        &["show", "web/t"],
        &["agents"],
    ] {
        world.ucron(args).exits(0);
    }
    let shown = world.ucron(&["logs", &run.run_id]).exits(0);
    assert!(shown.out.contains("kept"), "{shown:?}");
}

/// The sizes of an agent's outputs that its keeper has noted.
fn sizes_noted(world: &World, agent: &str) -> usize {
    let base = world.path(agent).join("output");
    let below = |dir: &std::path::Path| std::fs::read_dir(dir).into_iter().flatten().flatten();
    let names = below(&base).flat_map(|shard| below(&shard.path()).collect::<Vec<_>>());
    let is_noted = |name: &std::ffi::OsString| name.to_string_lossy().ends_with(".times");
    names.filter(|entry| is_noted(&entry.file_name())).count()
}

#[test]
fn output_of_several_agents_comes_in_the_order_of_time() {
    let world = World::new(&[("a1", "web"), ("a2", "web")]);
    let gate = world.work_name("gate-$UCRON_AGENT");
    let line = format!("echo begins; while ! test -e {gate}; do sleep 0.05; done; echo ends");
    world.add("web/t", &NEVER, &[&line]);
    world.must(&["run", "web/t"]);
    for agent in ["a1", "a2"] {
        eventually("its size was noted", || sizes_noted(&world, agent) > 0);
    }
    for agent in ["a2", "a1"] {
        std::fs::write(world.work(&format!("gate-{agent}")), "").unwrap();
        let ended =
            |run: &crate::world::Run| run.agent.as_deref() == Some(agent) && run.outcome.is_some();
        world.run_where("web/t", "has ended", ended);
    }
    let shown = world.must(&["logs", "web/t"]);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 4, "{shown}");
    assert!(
        lines[..2].iter().all(|line| line.ends_with("begins")),
        "{shown}"
    );
    assert_eq!(lines[2..], ["a2/0 ends", "a1/0 ends"]);
    assert_eq!(world.must(&["logs", "web/t", "-n", "1"]), "a1/0 ends");
    assert_eq!(
        world
            .must(&["logs", "web/t", "-n", "1", "--grep", "begins"])
            .lines()
            .count(),
        1
    );
    assert_eq!(
        world.must(&["logs", "web/t", "--agent", "a2", "-n", "1"]),
        "ends"
    );
}

#[test]
fn since_finds_what_a_long_run_wrote_lately() {
    let world = World::small();
    let gate = world.work_name("gate");
    let line =
        format!("echo old; while ! test -e {gate}; do sleep 0.05; done; echo new; exec sleep 1000");
    world.add("web/d", &["--daemon"], &[&line]);
    eventually("its size was noted", || sizes_noted(&world, "a1") > 0);
    // Sizes are noted with the center's time, which is this host's.
    let since = jiff::Timestamp::now().as_millisecond() + 2;
    eventually("a moment is over", || {
        jiff::Timestamp::now().as_millisecond() > since
    });
    let since = jiff::Timestamp::from_millisecond(since)
        .unwrap()
        .to_string();
    assert_eq!(world.must(&["logs", "web/d", "--since", &since]), "");
    std::fs::write(&gate, "").unwrap();
    eventually("the new is there", || {
        world.must(&["logs", "web/d", "--since", &since]) == "new"
    });
    assert_eq!(world.must(&["logs", "web/d", "--since", "1h"]), "old\nnew");
}

#[test]
fn a_daemon_is_followed_from_process_to_process() {
    let world = World::small();
    world.add("web/d", &["--daemon"], &["echo pid $$; exec sleep 1000"]);
    let follow = world.spawn(&["logs", "-f", "web/d"]);
    let first = world.daemon_pids("web/d", 1);
    let pid = |pids: &std::collections::BTreeMap<_, u32>| *pids.values().next().unwrap();
    follow.shows(&format!("pid {}", pid(&first)));
    world.must(&["restart", "web/d"]);
    let mut second = world.daemon_pids("web/d", 1);
    eventually("another process runs", || {
        second = world.daemon_pids("web/d", 1);
        pid(&second) != pid(&first)
    });
    follow.shows(&format!("pid {}", pid(&second)));
    // A slot more is followed too.
    world.must(&["edit", "web/d", "--processes", "2"]);
    let both = world.daemon_pids("web/d", 2);
    let third = both.values().find(|other| **other != pid(&second)).unwrap();
    follow.shows(&format!("pid {third}"));
}

#[test]
fn following_outlives_agent_keeper_and_center() {
    let mut world = World::small();
    let gate = world.work_name("gate");
    let line =
        format!("i=0; while ! test -e {gate}; do i=$((i+1)); echo $i; sleep 0.02; done; echo end");
    world.add("web/t", &NEVER, &[&line]);
    world.must(&["run", "web/t"]);
    world.run_where("web/t", "runs", |run| run.pid.is_some());
    let mut follow = world.spawn(&["logs", "-f", "-n", "all", "web/t"]);
    let grows = |what: &str| {
        let seen = follow.out().len();
        eventually(what, || follow.out().len() > seen + 100);
    };
    grows("it is followed");
    world.kill_agent("a1");
    world.start_agent("a1");
    world.is_online("a1");
    grows("it is followed over a new agent");
    let keeper = world.keeper_pid("a1");
    crate::world::signal(keeper, rustix::process::Signal::KILL);
    eventually("another keeper runs", || world.keeper_pid("a1") != keeper);
    grows("it is followed over a new keeper");
    world.kill_center();
    world.start_center();
    world.is_online("a1");
    grows("it is followed over a new center");
    std::fs::write(&gate, "").unwrap();
    follow.ended();
    eventually("the end was shown", || follow.out().ends_with("end\n"));
    let shown = follow.out();
    let numbers: Vec<u32> = shown.lines().filter_map(|line| line.parse().ok()).collect();
    let all: Vec<u32> = (1..=u32::try_from(numbers.len()).unwrap()).collect();
    assert_eq!(numbers, all, "no hole, and nothing twice");
    assert_eq!(shown.lines().count(), numbers.len() + 1);
}

#[test]
fn a_run_tells_how_much_it_wrote_and_what_of_it_is_missing() {
    let mut world = World::empty();
    world.must(&["group", "add", "web"]);
    world.join("a1", "web");
    let settings = world.path("a1").join("keeper.toml");
    std::fs::write(&settings, "output_cap = \"256KiB\"\n").unwrap();
    std::fs::set_permissions(
        &settings,
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    world.start_agent("a1");
    world.is_online("a1");
    world.add("web/t", &NEVER, &["seq 100000 399999"]);
    let run = world.run_now("web/t");
    let shown = world.json(&["show", &run.run_id]);
    let (bytes, gap) = (shown["output_bytes"].as_u64(), shown["output_gap"].as_u64());
    assert_eq!(bytes, Some(2_100_000), "{shown}");
    assert!(gap.is_some_and(|gap| gap > 1_500_000), "{shown}");
    assert!(shown["output_cut"].is_null());
    let text = world.ucron(&["show", &run.run_id]).exits(0).out;
    assert!(text.contains("output_gap"), "{text}");
    let logs = world.ucron(&["logs", &run.run_id, "-n", "all"]).exits(0);
    assert!(logs.out.starts_with("100000\n") && logs.out.ends_with("399999\n"));
    assert!(
        logs.err
            .contains(&format!("{} bytes of a1/0 are not kept", gap.unwrap())),
        "{logs:?}"
    );
    assert!(!logs.out.contains('\0'));
}

fn memory(pid: u32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let found = status.lines().find_map(|text| text.strip_prefix(line));
    found
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

#[test]
fn much_output_costs_agent_and_center_little_and_comes_as_it_is() {
    let world = World::small();
    let told = std::env::var("UCRON_OUTPUT_MIB").ok();
    let most: u64 = told.map_or(16, |text| text.parse().unwrap());
    world.add("web/first", &NEVER, &["echo first"]);
    world.run_now("web/first");
    world.must(&["logs", "web/first"]);
    let pids = [
        world.agent_pid("a1"),
        world.keeper_pid("a1"),
        world.center_pid(),
    ];
    let before = pids.map(|pid| memory(pid, "VmRSS:"));
    let copy = world.work_name("copy");
    for (name, line) in [
        (
            "much",
            format!("yes 'a line as any other' | head -c {}", most << 20),
        ),
        (
            "long",
            format!("head -c {} /dev/zero | tr '\\0' x", most * 100_000),
        ),
        ("binary", format!("head -c {} /dev/urandom", most * 100_000)),
        ("empty", format!("yes '' | head -n {}", most * 1000)),
    ] {
        let task = format!("web/{name}");
        let line = format!("({line}) | tee {copy}-{name}");
        world.add(&task, &[&NEVER[..], &["--output=tail"]].concat(), &[&line]);
        let run = world.run_now(&task);
        assert_eq!(run.outcome.as_deref(), Some("succeeded"), "{run:?}");
        let missing = world.json(&["show", &run.run_id])["output_gap"].as_u64();
        let missing = usize::try_from(missing.unwrap_or(0)).unwrap();
        let got = world.raw(&["logs", &run.run_id, "-n", "all", "--raw"]);
        let all = std::fs::read(format!("{copy}-{name}")).unwrap();
        assert_eq!(got.len() + missing, all.len(), "{name}");
        let head = got.iter().zip(&all).take_while(|(a, b)| a == b).count();
        assert!(
            got[head..] == all[head + missing..],
            "{name}: it is as it was written"
        );
        world.must(&["logs", &task, "--grep", "no such line"]);
        std::fs::remove_file(format!("{copy}-{name}")).unwrap();
    }
    let after = pids.map(|pid| memory(pid, "VmHWM:"));
    let grown: Vec<u64> = after
        .iter()
        .zip(before)
        .map(|(a, b)| a.saturating_sub(b))
        .collect();
    crate::world::tell(&format!("agent, keeper and center grew by {grown:?} KiB"));
    assert!(grown[..2].iter().all(|kib| *kib < 8 << 10), "{grown:?} KiB");
}
