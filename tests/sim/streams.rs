//! Streams under a reader that is slow: it costs nothing and misses nothing that it may still have.

use ucron::model::Role;
use ucron::proto::client::{End, ITEM_WINDOW, ToClient};
use ucron::proto::request::{Change, Events, Item, Request, Watch};

use crate::task::TaskText;
use crate::world::World;

/// A fleet with a task every second, an operator `slow` who does not read, and one `eve` who sees another group.
fn fleet() -> World {
    let agents = [
        ("a1".to_owned(), vec!["g".to_owned()]),
        ("a2".to_owned(), vec!["other".to_owned()]),
    ];
    let mut world = World::new(&agents, 7);
    world.add_operator("slow", Some(Role::Viewer), &[]);
    world.add_operator("eve", None, &[("other", Role::Viewer)]);
    world.center_starts();
    for host in 0..2 {
        world.keeper_starts(host);
        world.agent_starts(host);
    }
    let mut tick = TaskText::new("tick");
    tick.set_rule("* * * * * *");
    tick.set_env("PASSWORD", "secret");
    world.ask("admin", tick.add());
    world.run_until(3_000);
    world
}

fn read_on(world: &mut World, name: &str) {
    world.desk.clients.get_mut(name).unwrap().reads = true;
    world.take_items(name);
}

fn stop_reading(world: &mut World, name: &str) {
    world.desk.clients.get_mut(name).unwrap().reads = false;
}

#[test]
fn a_reader_of_events_that_stops_gets_a_window_and_the_rest_when_it_reads_on() {
    let mut world = fleet();
    stop_reading(&mut world, "slow");
    world.ask("slow", follow());
    world.run_until(120_000);
    let window = usize::try_from(ITEM_WINDOW).unwrap();
    assert_eq!(world.items("slow").len(), window);
    read_on(&mut world, "slow");
    world.run_until(121_500);
    let ended = events(&world, "slow")
        .filter(|event| event == "run_ended")
        .count();
    // One for each second from the third on, none lost.
    assert_eq!(ended, 119);
    world.check();
}

#[test]
fn a_watcher_that_is_slow_is_told_how_things_are_then() {
    let mut world = fleet();
    world.ask("slow", Request::Watch(Watch {}));
    world.run_until(4_500);
    let complete = |item: &&&Item| matches!(item, Item::Change(change) if matches!(**change, Change::Complete));
    assert_eq!(world.items("slow").iter().filter(complete).count(), 1);
    stop_reading(&mut world, "slow");
    world.run_until(900_000);
    let before = world.items("slow").len();
    read_on(&mut world, "slow");
    world.run_until(905_500);
    let last_task = world.items("slow").into_iter().rev().find_map(task_changed);
    // Ended runs one by one, all else as it is then: far fewer than the changes there were.
    assert!(world.items("slow").len() - before < 2_000);
    let last = last_task.unwrap().last_run.unwrap();
    let second = (last.scheduled_at.0 - crate::world::BEGIN) / 1_000;
    assert!(second >= 900, "{second}");
    world.check();
}

#[test]
fn what_a_viewer_may_not_see_is_not_in_its_streams_and_values_are_masked() {
    let mut world = fleet();
    world.ask("eve", Request::Watch(Watch {}));
    world.ask("eve", follow());
    world.ask("slow", Request::Watch(Watch {}));
    world.run_until(20_000);
    let said = format!("{:?}", world.items("eve"));
    assert!(!said.contains("tick"), "{said}");
    let seen = format!("{:?}", world.items("slow"));
    assert!(seen.contains("PASSWORD") && !seen.contains("secret"));
    world.check();
}

#[test]
fn events_without_follow_end_with_what_there_is() {
    let mut world = fleet();
    world.ask("slow", Request::Events(Events::default()));
    world.run_until(3_100);
    let told = &world.desk.clients["slow"].told;
    let end = told
        .iter()
        .any(|(_, frame)| matches!(frame, ToClient::End(End { refusal: None, .. })));
    assert!(end);
}

fn follow() -> Request {
    Request::Events(Events {
        since: None,
        follow: true,
    })
}

fn events<'a>(world: &'a World, name: &str) -> impl Iterator<Item = String> + 'a {
    let items = world.items(name).into_iter();
    items.filter_map(|item| match item {
        Item::Event(event) => Some(event.event.clone()),
        _ => None,
    })
}

fn task_changed(item: &Item) -> Option<ucron::proto::view::TaskView> {
    match item {
        Item::Change(change) => match &**change {
            Change::Task(task) => Some((**task).clone()),
            _ => None,
        },
        _ => None,
    }
}
