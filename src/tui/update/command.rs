//! The command line: the verbs of `ucron`, read by the same table.

use super::{Effect, logs, moving};
use crate::cli::args::{self, Command, Parsed};
use crate::model::UnixMs;
use crate::tui::state::{Grade, Overlay, Screen, State, TextPage};
use crate::tui::text;

/// Commands remembered.
const MOST: usize = 100;

/// Does what was typed.
pub(super) fn enter(state: &mut State, now: UnixMs, line: &str) -> Vec<Effect> {
    let line = line.trim();
    if line.is_empty() {
        return Vec::new();
    }
    state.commands.retain(|known| known != line);
    state.commands.push(line.to_owned());
    if state.commands.len() > MOST {
        state.commands.remove(0);
    }
    let mut words = match text::words(line) {
        Ok(words) => words,
        Err(error) => {
            state.say(now, Grade::Trouble, &error.to_string());
            return Vec::new();
        }
    };
    if words.first().is_some_and(|word| word == "ucron") {
        words.remove(0);
    }
    match words.first().map(String::as_str) {
        None => return Vec::new(),
        Some("q" | "quit" | "exit") => return vec![Effect::Quit(0)],
        Some("help") => {
            state.overlays.push(Overlay::Help);
            return Vec::new();
        }
        Some(_) => {}
    }
    parsed(state, now, line, words)
}

fn parsed(state: &mut State, now: UnixMs, line: &str, words: Vec<String>) -> Vec<Effect> {
    let all = std::iter::once("ucron".to_owned()).chain(words.iter().cloned());
    let ucron = match args::parse(all) {
        Parsed::Command(ucron) => *ucron,
        Parsed::Help(help) => {
            page(state, line, &help);
            return Vec::new();
        }
        Parsed::Wrong(fault) => {
            let hint = fault
                .hint
                .map_or_else(String::new, |hint| format!("; {hint}"));
            let text = format!("{}{hint}", fault.message);
            if fault.message.contains('\n') {
                page(state, line, &text);
            } else {
                state.say(now, Grade::Trouble, &text);
            }
            return Vec::new();
        }
    };
    match ucron.command {
        Some(Command::Logs(args)) if args.follow => {
            logs::open_pane(state, args.of.clone(), None, args.of)
        }
        Some(Command::Events(args)) if args.follow => {
            let at = Screen::ALL
                .iter()
                .position(|screen| *screen == Screen::Events);
            at.map_or_else(Vec::new, |at| moving::view(state, at))
        }
        Some(Command::Login(_) | Command::Dev(_)) | None => {
            state.say(
                now,
                Grade::Trouble,
                "this is for a shell, not for the dashboard",
            );
            Vec::new()
        }
        Some(_) => {
            state.say(now, Grade::Quiet, &format!(":{line} …"));
            vec![Effect::Command(words)]
        }
    }
}

fn page(state: &mut State, title: &str, lines: &str) {
    state.overlays.push(Overlay::Text(TextPage {
        title: title.to_owned(),
        lines: lines.lines().map(text::output).collect(),
        top: 0,
    }));
}
