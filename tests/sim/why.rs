//! `why`: what the center answers to its requests, in the words of the client. The table of situations and of what it
//! says of each is `whys.toml`: scenarios whose events are `TIME why TASK [INSTANT] => part of the sentence`.

use serde::Deserialize;
use ucron::cli::command::why;
use ucron::cli::print::slot;
use ucron::cli::print::standing::Around;
use ucron::model::UnixMs;
use ucron::proto::client::ToClient;
use ucron::proto::request::{
    AgentList, Answer, GroupList, ProcessList, Request, RunList, Status, TaskShow,
};

use crate::scenario::{Player, Script};
use crate::task::millis;
use crate::world::{BEGIN, World};

/// The table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    case: Vec<Script>,
}

/// A question.
#[derive(Debug)]
pub struct Why {
    asked: Vec<usize>,
    at: Option<UnixMs>,
    now: UnixMs,
    wanted: String,
}

impl Why {
    /// Asks what the client would ask: `TASK [INSTANT]`.
    pub fn ask(world: &mut World, words: &str, wanted: String) -> Self {
        let (task, at) = words.split_once(' ').unwrap_or((words, ""));
        let at = (!at.is_empty()).then(|| UnixMs(BEGIN + millis(at)));
        let runs = RunList {
            task: Some(task.to_owned()),
            open: true,
            since: at,
            until: at.map(|at| UnixMs(at.0 + 1_000)),
            limit: 10,
            ..RunList::default()
        };
        let task = task.to_owned();
        let slots = ProcessList {
            task: Some(task.clone()),
            ..ProcessList::default()
        };
        let asks = [
            Request::TaskShow(TaskShow { task }),
            Request::RunList(runs),
            Request::GroupList(GroupList {}),
            Request::AgentList(AgentList {}),
            Request::Status(Status {}),
            Request::ProcessList(slots),
        ];
        Self {
            asked: asks.map(|ask| world.ask("admin", ask)).to_vec(),
            at,
            now: world.true_time(),
            wanted,
        }
    }

    fn answer<'a>(&self, world: &'a World, number: usize) -> Option<&'a Answer> {
        let id = world.desk.asked[self.asked[number]].id;
        let told = world.desk.clients["admin"].told.iter();
        let mut answers = told.filter_map(|(_, frame)| match frame {
            ToClient::Answer(frame) if frame.id == id => Some(&frame.answer),
            _ => None,
        });
        answers.next()
    }

    fn told(&self, world: &World) -> String {
        let Some(Answer::Task(view)) = self.answer(world, 0) else {
            return "no task".to_owned();
        };
        let runs = match self.answer(world, 1) {
            Some(Answer::Runs(page)) => page.runs.clone(),
            _ => Vec::new(),
        };
        let Some(Answer::Groups(groups)) = self.answer(world, 2) else {
            return "no groups".to_owned();
        };
        let Some(Answer::Agents(agents)) = self.answer(world, 3) else {
            return "no agents".to_owned();
        };
        let Some(Answer::Status(status)) = self.answer(world, 4) else {
            return "no status".to_owned();
        };
        let slots = match self.answer(world, 5) {
            Some(Answer::Processes(slots)) => slots.as_slice(),
            _ => &[],
        };
        let around = Around {
            group: groups.iter().find(|group| group.name == view.group),
            agents: agents.iter().collect(),
            conditions: &status.conditions,
        };
        let instant = |at: UnixMs| at.to_string();
        if let Some(at) = self.at {
            return why::sentence(view, &runs, &around, at, self.now, instant);
        }
        let state = why::state(view, slots, &around, instant);
        let slots = slots.iter().filter(|slot| slot.daemon);
        let slots = slots.map(|view| slot::words(view, instant));
        let lines: Vec<String> = [state].into_iter().chain(slots).collect();
        lines.join("; ")
    }

    /// Panics where it does not say what it shall.
    pub fn compare(&self, world: &World) {
        let told = self.told(world);
        let wanted = &self.wanted;
        assert!(
            told.contains(wanted.as_str()),
            "why said `{told}`, not `{wanted}`\n{}",
            world.last_log()
        );
    }
}

/// Every situation of the table.
pub fn play_all() {
    let table: Table = toml::from_str(include_str!("whys.toml")).unwrap();
    assert!(table.case.len() >= 15, "{} situations", table.case.len());
    let mut failed = Vec::new();
    for case in table.case {
        let about = case.about.clone();
        if std::panic::catch_unwind(|| Player::play_whys(case)).is_err() {
            failed.push(about);
        }
    }
    assert!(failed.is_empty(), "situations told wrongly: {failed:#?}");
}
