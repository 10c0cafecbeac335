//! The keys: one table (keys, action, help, confirmation) that drives input, the hints at the foot and the help.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// One row or line up.
    Up,
    /// One row or line down.
    Down,
    /// To the first.
    First,
    /// To the last.
    Last,
    /// One page up.
    PageUp,
    /// One page down.
    PageDown,
    /// To this view, from 0.
    View(usize),
    /// To the next view.
    NextView,
    /// To the view before.
    PreviousView,
    /// Into what is selected.
    Enter,
    /// Out of where one is.
    Back,
    /// Leave the program.
    Quit,
    /// Add a task.
    Add,
    /// Edit the task.
    Edit,
    /// Run the task now.
    RunNow,
    /// Show output.
    Logs,
    /// Say why.
    Why,
    /// Stop or start.
    StopStart,
    /// Delete the task.
    Delete,
    /// End a run.
    Kill,
    /// Mark or unmark.
    Mark,
    /// Filter the rows.
    Filter,
    /// Type a command.
    Command,
    /// Show the keys.
    Help,
    /// Draw everything anew.
    Redraw,
    /// Go to the shell for a while.
    Suspend,
    /// Output: search.
    Search,
    /// Output: the next found.
    SearchNext,
    /// Output: the one found before.
    SearchPrevious,
    /// Output: follow its end or stand still.
    Follow,
}

/// Where a key means something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Wherever nothing is typed.
    Everywhere,
    /// In lists and details.
    Things,
    /// In the output of runs.
    Logs,
}

/// A key with its modifiers.
pub type Pressed = (KeyCode, KeyModifiers);

/// One row of the table.
#[derive(Debug)]
pub struct Binding {
    /// As people write the keys.
    pub shown: &'static str,
    /// The keys, each with what it does.
    pub keys: &'static [(Pressed, Action)],
    /// In the help.
    pub help: &'static str,
    /// At the foot of the screen; empty where there is none.
    pub hint: &'static str,
    /// The keys that confirm it, each with what it does then; empty where nothing is asked.
    pub confirm: &'static [(char, &'static str)],
    /// Where it works.
    pub place: Place,
}

const fn key(code: KeyCode, action: Action) -> (Pressed, Action) {
    ((code, KeyModifiers::NONE), action)
}

const fn char(c: char, action: Action) -> (Pressed, Action) {
    key(KeyCode::Char(c), action)
}

const fn control(c: char, action: Action) -> (Pressed, Action) {
    ((KeyCode::Char(c), KeyModifiers::CONTROL), action)
}

const fn binding(
    place: Place,
    shown: &'static str,
    keys: &'static [(Pressed, Action)],
    hint: &'static str,
    help: &'static str,
) -> Binding {
    Binding {
        shown,
        keys,
        help,
        hint,
        confirm: &[],
        place,
    }
}

/// Every key.
pub const TABLE: &[Binding] = &[
    binding(
        Place::Everywhere,
        "↑ ↓ or k j",
        &[
            key(KeyCode::Up, Action::Up),
            key(KeyCode::Down, Action::Down),
            char('k', Action::Up),
            char('j', Action::Down),
        ],
        "",
        "move",
    ),
    binding(
        Place::Everywhere,
        "PgUp PgDn",
        &[
            key(KeyCode::PageUp, Action::PageUp),
            key(KeyCode::PageDown, Action::PageDown),
            control('b', Action::PageUp),
            control('f', Action::PageDown),
        ],
        "",
        "move by a page (overview: by a part)",
    ),
    binding(
        Place::Everywhere,
        "g G",
        &[
            char('g', Action::First),
            char('G', Action::Last),
            key(KeyCode::Home, Action::First),
            key(KeyCode::End, Action::Last),
        ],
        "",
        "to the first, to the last",
    ),
    binding(
        Place::Everywhere,
        "Tab or 1…6",
        &[
            key(KeyCode::Tab, Action::NextView),
            key(KeyCode::BackTab, Action::PreviousView),
            char('1', Action::View(0)),
            char('2', Action::View(1)),
            char('3', Action::View(2)),
            char('4', Action::View(3)),
            char('5', Action::View(4)),
            char('6', Action::View(5)),
            char('7', Action::View(6)),
            char('8', Action::View(7)),
            char('9', Action::View(8)),
        ],
        "view",
        "the next view, or this one",
    ),
    binding(
        Place::Things,
        "Enter",
        &[key(KeyCode::Enter, Action::Enter)],
        "details",
        "details of what is selected",
    ),
    binding(
        Place::Everywhere,
        "Esc",
        &[key(KeyCode::Esc, Action::Back)],
        "",
        "back; drops marks, then the filter",
    ),
    binding(
        Place::Things,
        "a",
        &[char('a', Action::Add)],
        "add",
        "add a task",
    ),
    binding(
        Place::Things,
        "e",
        &[char('e', Action::Edit)],
        "edit",
        "edit the task",
    ),
    binding(
        Place::Things,
        "r",
        &[char('r', Action::RunNow)],
        "run",
        "run it now, also when stopped",
    ),
    binding(
        Place::Things,
        "l",
        &[char('l', Action::Logs)],
        "logs",
        "output, followed as it grows",
    ),
    binding(
        Place::Things,
        "w",
        &[char('w', Action::Why)],
        "why",
        "why it ran, or did not",
    ),
    Binding {
        confirm: &[('y', "end what runs"), ('f', "let it finish")],
        ..binding(
            Place::Things,
            "s",
            &[char('s', Action::StopStart)],
            "stop",
            "stop it, or start it",
        )
    },
    Binding {
        confirm: &[('y', "delete")],
        ..binding(
            Place::Things,
            "d",
            &[char('d', Action::Delete)],
            "delete",
            "delete the task",
        )
    },
    Binding {
        confirm: &[('y', "kill")],
        ..binding(
            Place::Things,
            "x",
            &[char('x', Action::Kill)],
            "kill",
            "end this run only",
        )
    },
    binding(
        Place::Things,
        "Space",
        &[char(' ', Action::Mark)],
        "",
        "mark; keys then act on all marked",
    ),
    binding(
        Place::Things,
        "/",
        &[char('/', Action::Filter)],
        "filter",
        "show only rows with these words",
    ),
    binding(
        Place::Everywhere,
        ":",
        &[char(':', Action::Command)],
        "command",
        "any command of `ucron`, as `:agents`",
    ),
    binding(
        Place::Logs,
        "/ n N",
        &[
            char('/', Action::Search),
            char('n', Action::SearchNext),
            char('N', Action::SearchPrevious),
        ],
        "search",
        "in output: search, next, previous",
    ),
    binding(
        Place::Logs,
        "f",
        &[char('f', Action::Follow)],
        "follow",
        "in output: follow, or stand still",
    ),
    binding(
        Place::Everywhere,
        "?",
        &[char('?', Action::Help), key(KeyCode::F(1), Action::Help)],
        "help",
        "this help",
    ),
    binding(
        Place::Everywhere,
        "Ctrl-L Ctrl-Z",
        &[control('l', Action::Redraw), control('z', Action::Suspend)],
        "",
        "draw anew; to the shell and back by `fg`",
    ),
    binding(
        Place::Everywhere,
        "q",
        &[char('q', Action::Quit), control('c', Action::Quit)],
        "quit",
        "leave at once; the fleet goes on",
    ),
];

/// What a key does in a place.
pub fn action(place: Place, pressed: KeyEvent) -> Option<Action> {
    let wanted = normal(pressed);
    let here = |row: &&Binding| row.place == place || row.place == Place::Everywhere;
    TABLE
        .iter()
        .filter(here)
        .flat_map(|row| row.keys)
        .find(|(key, _)| *key == wanted)
        .map(|(_, action)| *action)
}

/// Shift is in the character already; terminals differ in whether they also tell it.
fn normal(pressed: KeyEvent) -> Pressed {
    match pressed.code {
        KeyCode::Char(_) | KeyCode::BackTab => {
            (pressed.code, pressed.modifiers - KeyModifiers::SHIFT)
        }
        code => (code, pressed.modifiers),
    }
}

/// The row of an action.
pub fn row(action: Action) -> Option<&'static Binding> {
    TABLE
        .iter()
        .find(|row| row.keys.iter().any(|(_, known)| *known == action))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_key_means_two_things_in_one_place() {
        for place in [Place::Things, Place::Logs] {
            let mut seen = BTreeSet::new();
            let here = TABLE
                .iter()
                .filter(|row| row.place == place || row.place == Place::Everywhere);
            for (key, _) in here.flat_map(|row| row.keys) {
                assert!(
                    seen.insert(format!("{key:?}")),
                    "{key:?} twice in {place:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_destructive_is_confirmed_by_another_key() {
        for action in [Action::StopStart, Action::Delete, Action::Kill] {
            let row = row(action).unwrap();
            assert!(!row.confirm.is_empty());
            for (confirm, _) in row.confirm {
                let same = |(key, _): &&(Pressed, Action)| key.0 == KeyCode::Char(*confirm);
                assert!(row.keys.iter().find(same).is_none());
            }
        }
    }

    #[test]
    fn shift_does_not_matter_where_the_character_tells_it() {
        let shifted = KeyEvent::new(KeyCode::Char('G'), KeyModifiers::SHIFT);
        assert_eq!(action(Place::Things, shifted), Some(Action::Last));
        let backward = KeyEvent::new(KeyCode::BackTab, KeyModifiers::SHIFT);
        assert_eq!(action(Place::Logs, backward), Some(Action::PreviousView));
    }
}
