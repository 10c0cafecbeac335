//! What happens to the state when a key is pressed or the center says something. Pure: it takes `now` and an input
//! and returns what the outside must do.

mod answer;
mod ask;
mod command;
mod deed;
mod dialog;
mod logs;
mod moving;
#[cfg(test)]
mod tests;

pub use dialog::{proposal, proposals};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::keys::{self, Action, Place};
use super::state::{
    Asked, Grade, Link, Overlay, Page, Prompt, PromptKind, Screen, State, TextPage, Thing, Ticket,
};
use crate::cli::fault::Fault;
use crate::model::UnixMs;
use crate::proto::request::{Answer, Change, LogRead, Request, RunList};
use crate::proto::view::{EventView, LogView};

/// Runs asked for when the dashboard opens; older ones are in `ucron runs`.
const HISTORY: u32 = 300;

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// A key was pressed.
    Key(KeyEvent),
    /// Text was pasted.
    Paste(String),
    /// The terminal has another size.
    Resize(u16, u16),
    /// The center is reached; its snapshot follows.
    Connected,
    /// The center is not reached: so many attempts since, and why the last failed.
    Lost(u32, String),
    /// Something is as it is now.
    Change(Box<Change>),
    /// An event.
    Event(Box<EventView>),
    /// The stream of events is over.
    EventsOver,
    /// An answer.
    Answer(Ticket, Box<Result<Answer, Fault>>),
    /// Output of this stream.
    Log(u64, LogView),
    /// One of this stream's sources is over, with why where it broke.
    LogOver(u64, Option<Fault>),
    /// A command said this: all of it, and its exit code.
    Said(String, Vec<String>, u8),
    /// Time has passed.
    Tick,
}

/// Something the outside must do.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Ask the center.
    Ask(Ticket, Box<Request>),
    /// Read output; what comes carries the number.
    OpenLog(u64, Box<LogRead>),
    /// Nobody reads this output any more.
    CloseLog(u64),
    /// Follow the events, after this cursor.
    OpenEvents(String),
    /// Carry out a command line, without the program's name.
    Command(Vec<String>),
    /// End the command under way.
    Abandon,
    /// Leave with this exit code.
    Quit(u8),
    /// Go to the shell until called back.
    Suspend,
    /// Draw everything anew.
    Redraw,
}

/// Takes one input in.
pub fn update(state: &mut State, now: UnixMs, input: Input) -> Vec<Effect> {
    match input {
        Input::Key(key) => pressed(state, now, key),
        Input::Paste(text) => {
            dialog::paste(state, &text);
            Vec::new()
        }
        Input::Resize(width, height) => {
            state.size = (width, height);
            Vec::new()
        }
        Input::Connected => {
            state.link = Link::Filling;
            state.incoming = Some(super::state::Fleet::default());
            Vec::new()
        }
        Input::Lost(attempt, why) => {
            lost(state, now, attempt, &why);
            Vec::new()
        }
        Input::Change(change) => changed(state, *change),
        Input::Event(event) => {
            state.fleet.take_event(*event);
            Vec::new()
        }
        Input::EventsOver => {
            state.has_events = false;
            Vec::new()
        }
        Input::Answer(ticket, answer) => answer::take(state, now, ticket, *answer),
        Input::Log(stream, chunk) => {
            logs::take(state, stream, &chunk);
            Vec::new()
        }
        Input::LogOver(stream, fault) => {
            logs::over(state, stream, fault.as_ref());
            Vec::new()
        }
        Input::Said(title, lines, exit) => {
            said(state, now, title, &lines, exit);
            Vec::new()
        }
        Input::Tick => Vec::new(),
    }
}

fn lost(state: &mut State, now: UnixMs, attempt: u32, why: &str) {
    let since = match &state.link {
        Link::Lost { since, .. } => *since,
        _ => now,
    };
    state.link = Link::Lost {
        since,
        attempt,
        why: super::text::line(why),
    };
}

/// Takes a change in: into the snapshot while it is incomplete, else into what is shown.
fn changed(state: &mut State, change: Change) -> Vec<Effect> {
    let effects = logs::follow(state, &change);
    if let Change::TaskGone(id) = &change {
        close_pages(state, &Thing::Task(id.clone()));
    }
    match (state.incoming.take(), change) {
        (Some(incoming), Change::Complete) => return complete(state, incoming),
        (Some(mut incoming), change) => {
            // Without this the first screen would stay empty until a large fleet has come in.
            if state.fleet.status.is_none() {
                state.fleet.take(change.clone());
            }
            incoming.take(change);
            state.incoming = Some(incoming);
        }
        (None, change) => state.fleet.take(change),
    }
    effects
}

/// Pages about what is gone close.
fn close_pages(state: &mut State, gone: &Thing) {
    let is_about = |overlay: &Overlay| match overlay {
        Overlay::Detail(page) | Overlay::Why(page) => page.thing == *gone,
        _ => false,
    };
    state.overlays.retain(|overlay| !is_about(overlay));
    state.marks.remove(gone);
}

/// The snapshot replaces what was shown; what the center does not repeat is kept.
fn complete(state: &mut State, fleet: super::state::Fleet) -> Vec<Effect> {
    state.fleet.replace(fleet);
    state.link = Link::Live;
    deed::fill_group(state);
    let mut effects = vec![ask(
        state,
        Asked::History,
        Request::RunList(RunList {
            limit: HISTORY,
            ..RunList::default()
        }),
    )];
    state.has_events = false;
    effects.extend(moving::open_events(state));
    effects.extend(logs::reopen(state));
    effects
}

/// Asks, and remembers what for.
fn ask(state: &mut State, what: Asked, request: Request) -> Effect {
    let ticket = Ticket(state.number());
    state.asked.insert(ticket, what);
    Effect::Ask(ticket, Box::new(request))
}

/// What a command said is shown: one line at the foot, more on a page.
fn said(state: &mut State, now: UnixMs, title: String, lines: &[String], exit: u8) {
    let grade = if exit == 0 {
        Grade::Done
    } else {
        Grade::Trouble
    };
    let lines: Vec<String> = lines.iter().map(|line| super::text::output(line)).collect();
    match lines.as_slice() {
        [] => state.say(now, grade, &format!("{title}: done, nothing to show")),
        [line] => state.say(now, grade, &format!("{title}: {line}")),
        _ => {
            state.message = None;
            state.overlays.push(Overlay::Text(TextPage {
                title,
                lines,
                top: 0,
            }));
        }
    }
}

/// A key goes to what is on top.
fn pressed(state: &mut State, now: UnixMs, key: KeyEvent) -> Vec<Effect> {
    if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
        return vec![Effect::Quit(0)];
    }
    let place = match state.overlays.last() {
        Some(Overlay::Prompt(_)) => return dialog::prompt(state, now, key),
        Some(Overlay::Form(_)) => return dialog::form(state, now, key),
        Some(Overlay::Confirm(_)) => return dialog::confirm(state, now, key),
        Some(Overlay::Log(pane)) if pane.prompt.is_some() => return logs::search(state, now, key),
        Some(Overlay::Log(_)) => Place::Logs,
        _ => Place::Things,
    };
    if let Some(action) = keys::action(place, key) {
        return act(state, now, action);
    }
    // The help closes by whatever key; elsewhere an unknown key only tells where help is.
    if matches!(state.overlays.last(), Some(Overlay::Help)) {
        state.overlays.pop();
    } else {
        state.say(now, Grade::Quiet, "no such key here; ? shows the keys");
    }
    Vec::new()
}

/// Does what a key wants.
fn act(state: &mut State, now: UnixMs, action: Action) -> Vec<Effect> {
    if !matches!(action, Action::Redraw | Action::Suspend) {
        state.message = None;
    }
    // Whoever reads the help and presses a key wants what the key does, not the help behind it.
    if matches!(state.overlays.last(), Some(Overlay::Help)) && action != Action::Quit {
        state.overlays.pop();
        if matches!(action, Action::Help | Action::Back | Action::Enter) {
            return Vec::new();
        }
    }
    match action {
        Action::Quit => vec![Effect::Quit(0)],
        Action::Suspend => vec![Effect::Suspend],
        Action::Redraw => vec![Effect::Redraw],
        Action::Up
        | Action::Down
        | Action::First
        | Action::Last
        | Action::PageUp
        | Action::PageDown => {
            moving::go(state, action);
            Vec::new()
        }
        Action::View(at) => moving::view(state, at),
        Action::NextView => moving::turn(state, 1),
        Action::PreviousView => moving::turn(state, -1),
        Action::Enter => enter(state),
        Action::Back => back(state),
        Action::Mark => {
            moving::mark(state);
            Vec::new()
        }
        Action::Help => {
            state.overlays.push(Overlay::Help);
            Vec::new()
        }
        Action::Filter => prompt(state, PromptKind::Filter),
        Action::Command => prompt(state, PromptKind::Command),
        Action::Logs => logs::open(state, now),
        Action::Search | Action::SearchNext | Action::SearchPrevious | Action::Follow => {
            logs::act(state, now, action);
            Vec::new()
        }
        Action::Why => why(state, now),
        Action::Add | Action::Edit => {
            deed::write(state, now, action);
            Vec::new()
        }
        Action::RunNow => deed::run(state, now),
        Action::StopStart => deed::stop_or_start(state, now),
        Action::Delete => deed::delete(state, now),
        Action::Kill => deed::kill(state, now),
    }
}

fn prompt(state: &mut State, kind: PromptKind) -> Vec<Effect> {
    let text = match kind {
        PromptKind::Filter => {
            // What is filtered are the lists: a page over them would hide what the words do.
            state.overlays.clear();
            state.filter.clone()
        }
        PromptKind::Command => String::new(),
    };
    let prompt = Prompt::new(kind, &text);
    state.overlays.push(Overlay::Prompt(prompt));
    Vec::new()
}

/// Into what is selected.
fn enter(state: &mut State) -> Vec<Effect> {
    if matches!(state.overlays.last(), Some(Overlay::Text(_))) {
        return back(state);
    }
    if matches!(state.overlays.last(), Some(Overlay::Detail(_))) {
        return Vec::new();
    }
    let Some(thing) = state.current() else {
        return Vec::new();
    };
    let effects = ask::details(state, &thing);
    state.overlays.push(Overlay::Detail(Page { thing, top: 0 }));
    effects
}

/// Out of where one is; never out of the program.
fn back(state: &mut State) -> Vec<Effect> {
    match state.overlays.pop() {
        Some(Overlay::Log(pane)) => vec![Effect::CloseLog(pane.stream)],
        Some(Overlay::Text(_)) => vec![Effect::Abandon],
        Some(_) => Vec::new(),
        None => {
            if state.marks.is_empty() {
                state.filter.clear();
            } else {
                state.marks.clear();
            }
            Vec::new()
        }
    }
}

fn why(state: &mut State, now: UnixMs) -> Vec<Effect> {
    let Some(id) = state
        .current()
        .and_then(|thing| state.task_of(&thing).map(|task| task.id.clone()))
    else {
        state.say(
            now,
            Grade::Trouble,
            "why: select a task, a run or a failure first",
        );
        return Vec::new();
    };
    let thing = Thing::Task(id);
    let effects = ask::details(state, &thing);
    state.overlays.push(Overlay::Why(Page { thing, top: 0 }));
    effects
}

/// The screen of this number, from 0.
fn screen(at: usize) -> Option<Screen> {
    Screen::ALL.get(at).copied()
}
