//! What lies over a screen: pages, questions, lines being typed; and the deeds that come of them.

use super::{Field, Form, LogPane, Thing};
use crate::proto::request::{Changed, Request};

/// What lies over the screen; the last is on top and gets the keys.
#[derive(Clone, Debug)]
pub enum Overlay {
    /// Details of one thing.
    Detail(Page),
    /// Why a task ran or did not.
    Why(Page),
    /// Output of runs.
    Log(Box<LogPane>),
    /// A question before something destructive.
    Confirm(Box<Confirm>),
    /// A task being written.
    Form(Box<Form>),
    /// A line being typed at the foot.
    Prompt(Prompt),
    /// The keys.
    Help,
    /// What a command said.
    Text(TextPage),
}

/// A page about one thing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// The thing.
    pub thing: Thing,
    /// The first line shown.
    pub top: usize,
}

/// A page of text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TextPage {
    /// What it is.
    pub title: String,
    /// Clean lines.
    pub lines: Vec<String>,
    /// The first line shown.
    pub top: usize,
}

/// What a line being typed is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PromptKind {
    /// `/`.
    Filter,
    /// `:`.
    Command,
}

/// A line being typed at the foot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prompt {
    /// What for.
    pub kind: PromptKind,
    /// The line.
    pub field: Field,
    /// Which earlier line it is, counted from the latest; none while it is a new one.
    recalled: Option<usize>,
    /// The new line, while earlier ones are looked at.
    draft: String,
}

impl Prompt {
    /// A new line that holds this already.
    pub fn new(kind: PromptKind, text: &str) -> Self {
        Self {
            kind,
            field: Field::new(text),
            recalled: None,
            draft: String::new(),
        }
    }

    /// To the line before the one shown, or to the one after it; behind the latest comes what was being typed.
    pub fn recall(&mut self, lines: &[String], older: bool) {
        let wanted = match (self.recalled, older) {
            (None, true) => Some(0),
            (Some(at), true) => Some((at + 1).min(lines.len().saturating_sub(1))),
            (Some(at), false) => at.checked_sub(1),
            (None, false) => return,
        };
        let found = wanted.map(|at| lines.iter().rev().nth(at));
        let text = match found {
            Some(None) => return,
            Some(Some(line)) => line.clone(),
            None => self.draft.clone(),
        };
        if self.recalled.is_none() {
            self.draft = self.field.text();
        }
        self.recalled = wanted;
        self.field = Field::new(&text);
    }
}

/// A question before something destructive.
#[derive(Clone, PartialEq, Debug)]
pub struct Confirm {
    /// What would be done.
    pub title: String,
    /// What exactly is hit, and where.
    pub lines: Vec<String>,
    /// The ways to go on; everything else is No.
    pub choices: Vec<Choice>,
}

/// One way to go on.
#[derive(Clone, PartialEq, Debug)]
pub struct Choice {
    /// Its key.
    pub key: char,
    /// In words.
    pub label: String,
    /// What is asked of the center, each with the name of what it hits.
    pub requests: Vec<(String, Request)>,
    /// What it is called once it is done.
    pub deed: Deed,
}

/// What a deed is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deed {
    /// As in "web/probe stopped".
    pub done: &'static str,
    /// As in "web/probe is stopped already".
    pub already: &'static str,
}

/// One deed on one or several things: what its answers add up to.
#[derive(Clone, PartialEq, Debug)]
pub struct Batch {
    /// What it is called.
    pub deed: Deed,
    /// Requests sent.
    pub sent: usize,
    /// Things it was done to.
    pub done: Vec<String>,
    /// Things where there was nothing to do.
    pub already: Vec<String>,
    /// Where it was refused, and why.
    pub refused: Vec<String>,
    /// Added up.
    pub hit: Changed,
    /// Runs started.
    pub started: usize,
}
