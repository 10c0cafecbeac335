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
