//! Every example that a reader is shown, in the order in which it is printed, against a fleet that is as the examples
//! suppose: each page, the help and README.md are a story of their own.
#![allow(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

use std::collections::BTreeMap;

use crate::page::{self, Example, committed, of_help, of_man, of_readme};
use crate::story::Story;
use crate::world::{AGENT, World, ask, eventually, program};

/// A fleet as the pages suppose it: two agents at work, one that is gone, one with a name that nobody wants.
fn fleet() -> World {
    let mut world = World::new(&[("a1", "web"), ("a2", "web")]);
    world.must(&["group", "add", "db", "edge", "old"]);
    world.must(&["group", "assign", "db", "a1"]);
    world.join("retired", "old");
    world.join("ip-10-0-0-7", "old");
    for task in ["old/a", "old/b"] {
        world.add(task, &["--rule", "0 0 1 1 *"], &["true"]);
    }
    for operator in ["ann", "eve"] {
        world.must(&["token", "operator", operator]);
    }
    world
}

/// What has to be so before an example that is about processes or tokens.
fn prepare(world: &World, other: &World, story: &mut Story, example: &Example) {
    let mut words = example.line.split_whitespace();
    if words.any(|word| ["kill", "4k2m9x1p", "logs", "ps"].contains(&word)) {
        all_work(world);
    }
    if example.line.starts_with("ucron agent add ") {
        story.token = world.must(&["token", "agent", "--group", "web"]);
        let waits = "ucron-agent join --listen 0.0.0.0:9501 --state /var/lib/ucron-agent";
        story.plays(&Example {
            line: waits.to_owned(),
            ..Example::default()
        });
    }
    if example.line.starts_with("ucron login center") {
        story.moves(&format!("machine-{}", example.section));
        story.token = world.must(&["token", "operator", "ann"]);
    }
    if example.line.starts_with("ucron login prod") {
        story.token = other.must(&["token", "operator", "ann"]);
    }
}

/// Waits until the workers of the examples are at work, two on either agent; their pids.
fn all_work(world: &World) -> BTreeMap<(String, u64), u32> {
    match world.ucron(&["show", "web/worker"]).code {
        0 => world.daemon_pids("web/worker", 4),
        _ => BTreeMap::new(),
    }
}

/// After a `kill`: waits until every worker that was killed is another process.
fn settle(world: &World, before: &BTreeMap<(String, u64), u32>, example: &Example) {
    let several = example.line.contains('|');
    let killed = if several { before.len() } else { 1 };
    eventually("the killed workers are started again", || {
        let now = all_work(world);
        now.iter()
            .filter(|(slot, pid)| before[*slot] != **pid)
            .count()
            >= killed
    });
}

#[test]
fn the_examples_of_ucron_work_from_the_first_step_to_the_last() {
    let world = fleet();
    let other = World::empty();
    let prod = [("prod.example:9502", other.address())];
    world.must(&["grant", "ann", "admin"]);
    let mut story = Story::new(&world);
    let steps = of_help(&ucron::cli::args::help());
    assert!(steps.len() > 3, "{steps:?}");
    let page = of_man(&committed("man/ucron.1"));
    assert!(page.len() > 70, "{}", page.len());
    // importing.rs does that, with a database.
    let imports = |example: &&Example| example.tries(&["ucron", "import"]);
    for example in steps
        .iter()
        .chain(&page)
        .filter(|example| !imports(example))
    {
        prepare(&world, &other, &mut story, example);
        let is_kill = example.tries(&["ucron", "kill"]);
        let before = if is_kill {
            all_work(&world)
        } else {
            BTreeMap::new()
        };
        story.plays_with(example, &prod);
        if is_kill {
            settle(&world, &before, example);
        }
    }
}

#[test]
fn the_examples_of_the_center_make_one() {
    let world = World::bare();
    let mut story = Story::new(&world);
    // Moving a fleet needs a center that is stopped, and a database: storing.rs does that, and standby.rs what needs
    // two centers.
    let moves = [
        "center.toml",
        "store copy",
        "restore",
        "--state .",
        "token center",
        "-center join",
        "step-down",
    ];
    for example in of_man(&committed("man/ucron-center.8")) {
        if !moves.iter().any(|word| example.line.contains(word)) {
            story.plays(&example);
        }
    }
}

#[test]
fn the_examples_of_the_agent_make_one() {
    let world = World::empty();
    world.must(&["group", "add", "web"]);
    let mut story = Story::new(&world);
    story.is_admin();
    story.token = world.must(&["token", "agent", "--group", "web"]);
    // A reset needs an agent that is stopped: identity.rs does that.
    let resets = |example: &Example| example.tries(&["ucron-agent", "reset"]);
    for example in of_man(&committed("man/ucron-agent.8")) {
        if !resets(&example) {
            story.plays(&example);
        }
    }
    world.is_online("web1");
    world.is_online("web2");
}

#[test]
fn the_examples_of_the_keeper_start_and_end_it() {
    let world = World::empty();
    let token = world.must(&["token", "agent"]);
    let mut join = program(AGENT);
    join.args(["join", &world.address(), "--name", "web1", "--state"]);
    ask(join.arg(world.path("host0")), &token).exits(0);
    let mut story = Story::new(&world);
    for example in of_man(&committed("man/ucron-keeper.8")) {
        story.plays(&example);
        if example.tries(&["ucron-keeper", "stop"]) {
            story.ended();
        }
    }
}

#[test]
fn the_examples_of_the_page_about_rules_answer_as_shown() {
    let world = World::bare();
    let mut story = Story::new(&world);
    for example in of_man(&committed("man/ucron-rule.5")) {
        story.plays(&example);
    }
}

#[test]
fn readme_leads_from_the_first_command_to_a_fleet() {
    // This test is part of what the first would run, and cargo has built already.
    let not_here = ["./test.sh", "./soak.sh 10", "cargo build --release"];
    let world = World::bare();
    let mut story = Story::new(&world).installs_by_hand();
    let examples = of_readme(&committed("README.md"));
    assert!(examples.len() > 15, "{examples:?}");
    for example in &examples {
        if !not_here.contains(&example.line.as_str()) {
            story.plays(example);
        }
    }
    world.is_online("web1");
}

#[test]
fn shapes_are_compared_but_for_ids_times_and_numbers() {
    let check = |shown: &str, real: &str, alike: bool| {
        assert_eq!(page::is_alike(shown, real), alike, "{shown} | {real}");
    };
    check("web/dump  changed", "web/dump changed", true);
    check("web/dump changed", "web/dump added", false);
    check(
        "01m82de6fxzn7rf989draxvhmh",
        "01m82de5g11daq6jeyp08h9qz0",
        true,
    );
    check("run 4k2m9x1p", "run jg8ad3ph", true);
    check(
        "Mon 2026-11-23 03:30:00 +01:00",
        "Tue 2027-01-05 12:00:00 +02:00",
        true,
    );
    check("(12ms)", "(3ms)", true);
    check("exit 3", "exit three", false);
}
