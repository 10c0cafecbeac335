//! All that the dashboard knows, pure data: what the watch told, where the operator is, what is being asked.
//! One screen at a time, and a stack of what lies over it.

mod field;
mod fleet;
mod form;
mod log;
mod overlay;
mod rows;
mod rule_check;
#[cfg(test)]
mod tests;
mod thing;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

pub use field::Field;
pub use fleet::{Failures, Fleet, ended_at, is_trouble};
pub use form::{Entry, Form, FormField, Of, target};
pub use log::{Line, LogPane};
pub use overlay::{Batch, Choice, Confirm, Deed, Overlay, Page, Prompt, PromptKind, TextPage};
pub use rows::{Lists, Part, Section};
pub use rule_check::RuleCheck;
pub use thing::{CauseKey, Thing, cause_of};

use crate::model::{TaskId, UnixMs};
use crate::proto::view::{ProcessView, RunView, TaskView};
use crate::rule::Zone;

/// What the operator looks at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Screen {
    /// All at a glance.
    Overview,
    /// The tasks.
    Tasks,
    /// Runs under way and ended.
    Runs,
    /// The agents.
    Agents,
    /// Failures by cause.
    Failures,
    /// What happens.
    Events,
}

impl Screen {
    /// In the order of their keys.
    pub const ALL: [Self; 6] = [
        Self::Overview,
        Self::Tasks,
        Self::Runs,
        Self::Agents,
        Self::Failures,
        Self::Events,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Tasks => "tasks",
            Self::Runs => "runs",
            Self::Agents => "agents",
            Self::Failures => "failures",
            Self::Events => "events",
        }
    }
}

/// How the center is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Link {
    /// What is shown is what is.
    Live,
    /// The snapshot is on its way.
    Filling,
    /// What is shown is old.
    Lost {
        /// Since when.
        since: UnixMs,
        /// Attempts since.
        attempt: u32,
        /// Why the last one failed.
        why: String,
    },
}

/// Where the selection is on a screen.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Selection {
    /// What is selected; none: the first row.
    pub at: Option<(Part, Thing)>,
    /// The row it was last seen in, for when it is gone.
    pub row: usize,
}

/// How grave a message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Grade {
    /// Under way.
    Quiet,
    /// Done.
    Done,
    /// Done, but.
    Warning,
    /// Not done.
    Trouble,
}

/// The line that says what a deed hit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// How grave.
    pub grade: Grade,
    /// One line, clean.
    pub text: String,
    /// When it was said.
    pub at: UnixMs,
}

/// Names what was asked until the answer comes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Ticket(pub u64);

/// What an answer is for.
#[derive(Clone, PartialEq, Debug)]
pub enum Asked {
    /// One request of a deed.
    Deed(u64, String),
    /// Runs for the lists.
    History,
    /// The whole of a run, with the end of its output.
    Run,
    /// A task to be saved, from the form on top.
    Save,
}

/// All that the dashboard knows.
#[derive(Debug)]
pub struct State {
    /// What the watch told.
    pub fleet: Fleet,
    /// The snapshot that comes in after a reconnect.
    pub incoming: Option<Fleet>,
    /// How the center is reached.
    pub link: Link,
    /// What is looked at.
    pub screen: Screen,
    /// The selection of each screen.
    pub selections: BTreeMap<Screen, Selection>,
    /// What is marked.
    pub marks: BTreeSet<Thing>,
    /// Words that rows must have.
    pub filter: String,
    /// What lies over the screen.
    pub overlays: Vec<Overlay>,
    /// What was said last.
    pub message: Option<Message>,
    /// What was asked.
    pub asked: BTreeMap<Ticket, Asked>,
    /// Deeds under way.
    pub batches: BTreeMap<u64, Batch>,
    /// Runs looked at, with the end of their output.
    pub tails: BTreeMap<crate::model::RunId, RunView>,
    /// Whether the stream of events was asked for.
    pub has_events: bool,
    /// Columns and rows of the terminal.
    pub size: (u16, u16),
    /// The zone of times shown.
    pub zone: Zone,
    /// Commands typed, the latest last.
    pub commands: Vec<String>,
    next: u64,
    made: rows::Made,
}

impl State {
    /// Nothing known yet.
    pub fn new(size: (u16, u16), zone: Zone) -> Self {
        Self {
            fleet: Fleet::default(),
            incoming: Some(Fleet::default()),
            link: Link::Filling,
            screen: Screen::Overview,
            selections: BTreeMap::new(),
            marks: BTreeSet::new(),
            filter: String::new(),
            overlays: Vec::new(),
            message: None,
            asked: BTreeMap::new(),
            batches: BTreeMap::new(),
            tails: BTreeMap::new(),
            has_events: false,
            size,
            zone,
            commands: Vec::new(),
            next: 1,
            made: rows::Made::default(),
        }
    }

    /// A number that was never used.
    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// What is selected on the screen, or what the page on top is about.
    pub fn current(&self) -> Option<Thing> {
        for overlay in self.overlays.iter().rev() {
            if let Overlay::Detail(page) | Overlay::Why(page) = overlay {
                return Some(page.thing.clone());
            }
        }
        self.selected().map(|(_, thing)| thing)
    }

    /// The lists of the screen.
    pub fn lists(&self) -> Rc<Lists> {
        rows::lists(self)
    }

    /// The selected row: what was selected, wherever it is listed now, else what stands in its place.
    pub fn selected(&self) -> Option<(Part, Thing)> {
        let lists = self.lists();
        let selection = self.selections.get(&self.screen);
        let Some((selection, wanted)) =
            selection.and_then(|selection| Some((selection, selection.at.as_ref()?)))
        else {
            return lists.row(0);
        };
        if lists.has(wanted) {
            return Some(wanted.clone());
        }
        let (part, thing) = wanted;
        lists
            .find(thing)
            .or_else(|| lists.find(&Thing::Run(run_of(thing)?)))
            .or_else(|| lists.near(*part, selection.row))
    }

    /// All rows of the screen, from top to bottom.
    pub fn rows(&self) -> Vec<(Part, Thing)> {
        let lists = self.lists();
        (0..lists.len()).filter_map(|at| lists.row(at)).collect()
    }

    /// What a key acts on: what is marked, else what is selected.
    pub fn targets(&self) -> Vec<Thing> {
        let paged = self
            .overlays
            .iter()
            .any(|overlay| matches!(overlay, Overlay::Detail(_) | Overlay::Why(_)));
        if self.marks.is_empty() || paged {
            self.current().into_iter().collect()
        } else {
            self.marks.iter().cloned().collect()
        }
    }

    /// The task that a thing is or belongs to.
    pub fn task_of(&self, thing: &Thing) -> Option<&TaskView> {
        match thing {
            Thing::Task(id) => self.fleet.tasks.get(id),
            Thing::Process(key) => self.fleet.task_at(&key.task),
            Thing::Run(id) => self.fleet.task_at(&self.fleet.runs.get(id)?.task),
            Thing::Failures(key) => self.fleet.task_at(&key.task),
            Thing::Event(cursor) => {
                let event = self
                    .fleet
                    .events
                    .iter()
                    .find(|event| event.cursor == *cursor)?;
                self.fleet.task_at(event.task.as_ref()?)
            }
            Thing::Group(_) | Thing::Agent(_) => None,
        }
    }

    /// The tasks that a key acts on, each once.
    pub fn target_tasks(&self) -> Vec<&TaskView> {
        let mut seen: BTreeSet<&TaskId> = BTreeSet::new();
        let targets = self.targets();
        targets
            .iter()
            .filter_map(|thing| self.task_of(thing))
            .filter(|task| seen.insert(&task.id))
            .collect()
    }

    /// The processes that a key acts on: those selected, or all of the tasks selected.
    pub fn target_processes(&self) -> Vec<&ProcessView> {
        let mut found: Vec<&ProcessView> = Vec::new();
        for thing in self.targets() {
            match &thing {
                Thing::Process(key) => found.extend(self.fleet.processes.get(key)),
                Thing::Task(_) | Thing::Run(_) => {
                    let path = self.task_of(&thing).map(path_of);
                    let of_it = |process: &&ProcessView| match &thing {
                        Thing::Run(id) => process.run_id.as_ref() == Some(id),
                        _ => Some(&process.task) == path.as_ref(),
                    };
                    found.extend(self.fleet.processes.values().filter(of_it));
                }
                _ => {}
            }
        }
        found.retain(|process| process.run_id.is_some() && process.pid.is_some());
        found
    }

    /// Says something at the foot.
    pub fn say(&mut self, now: UnixMs, grade: Grade, text: &str) {
        self.message = Some(Message {
            grade,
            text: super::text::line(text),
            at: now,
        });
    }

    /// A page was drawn: it is not scrolled beyond its end, so that the next key up is seen to move it.
    pub fn settle(&mut self, last_top: usize) {
        match self.overlays.last_mut() {
            Some(Overlay::Detail(page) | Overlay::Why(page)) => page.top = page.top.min(last_top),
            Some(Overlay::Text(page)) => page.top = page.top.min(last_top),
            _ => {}
        }
    }

    /// Rows that a page of a list has.
    pub fn page(&self) -> usize {
        usize::from(self.size.1).saturating_sub(6).max(1)
    }
}

/// The run that a process was.
fn run_of(thing: &Thing) -> Option<crate::model::RunId> {
    match thing {
        Thing::Process(key) => key.run_id.clone(),
        _ => None,
    }
}

/// `group/name` of a task.
pub fn path_of(task: &TaskView) -> crate::model::TaskPath {
    crate::model::TaskPath {
        group: task.group.clone(),
        name: task.task_name.clone(),
    }
}
