//! Keys of what is typed or answered: the line at the foot, the question, the form.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{Effect, ask, command, deed};
use crate::model::UnixMs;
use crate::tui::state::{Asked, Form, FormField, Grade, Overlay, PromptKind, State};

/// Text was pasted: it goes where one types, and nowhere else, so that it is never taken for keys.
pub(super) fn paste(state: &mut State, text: &str) {
    match state.overlays.last_mut() {
        Some(Overlay::Prompt(prompt)) => prompt.field.paste(text),
        Some(Overlay::Form(form)) if form.entries[form.at].field.choices().is_empty() => {
            let at = form.at;
            form.entries[at].typed.paste(text);
        }
        Some(Overlay::Log(pane)) => {
            if let Some(field) = &mut pane.prompt {
                field.paste(text);
            }
        }
        _ => {}
    }
    filter_live(state);
}

/// The rows are filtered while one types.
fn filter_live(state: &mut State) {
    if let Some(Overlay::Prompt(prompt)) = state.overlays.last()
        && prompt.kind == PromptKind::Filter
    {
        state.filter = prompt.field.text();
    }
}

/// A key in the line at the foot.
pub(super) fn prompt(state: &mut State, now: UnixMs, key: KeyEvent) -> Vec<Effect> {
    let commands = &state.commands;
    let Some(Overlay::Prompt(prompt)) = state.overlays.last_mut() else {
        return Vec::new();
    };
    let kind = prompt.kind;
    match key.code {
        KeyCode::Esc => {
            state.overlays.pop();
            if kind == PromptKind::Filter {
                state.filter.clear();
            }
        }
        KeyCode::Enter => {
            let text = prompt.field.text();
            state.overlays.pop();
            if kind == PromptKind::Command {
                return command::enter(state, now, &text);
            }
        }
        KeyCode::Up | KeyCode::Down if kind == PromptKind::Command => {
            prompt.recall(commands, key.code == KeyCode::Up);
        }
        _ => {
            prompt.field.key(key);
            filter_live(state);
        }
    }
    Vec::new()
}

/// A key in a question: one of its choices, or No.
pub(super) fn confirm(state: &mut State, now: UnixMs, key: KeyEvent) -> Vec<Effect> {
    let Some(Overlay::Confirm(confirm)) = state.overlays.pop() else {
        return Vec::new();
    };
    let chosen = match key.code {
        KeyCode::Char('q') => return vec![Effect::Quit(0)],
        KeyCode::Char(c) => confirm.choices.into_iter().find(|choice| choice.key == c),
        _ => None,
    };
    let Some(choice) = chosen else {
        state.say(now, Grade::Quiet, &format!("not done: {}", confirm.title));
        return Vec::new();
    };
    let effects = deed::send(state, choice.deed, choice.requests);
    state.say(now, Grade::Quiet, &format!("{} …", confirm.title));
    effects
}

/// A key in the form.
pub(super) fn form(state: &mut State, now: UnixMs, key: KeyEvent) -> Vec<Effect> {
    let proposal = proposal(state);
    let Some(Overlay::Form(form)) = state.overlays.last_mut() else {
        return Vec::new();
    };
    let was_leaving = std::mem::take(&mut form.is_leaving);
    let is_last = form.entries[form.at].field == FormField::Save;
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Esc if was_leaving || !form.is_changed() => drop(state.overlays.pop()),
        KeyCode::Esc => form.is_leaving = true,
        KeyCode::Char('s') if is_control => return save(state, now),
        KeyCode::Enter if is_last => return save(state, now),
        KeyCode::Tab => match proposal {
            Some(rest) => form.entries[form.at].typed.paste(&rest),
            None => form.go(1),
        },
        KeyCode::Enter | KeyCode::Down => form.go(1),
        KeyCode::Up | KeyCode::BackTab => form.go(-1),
        _ => typed(form, key),
    }
    Vec::new()
}

fn typed(form: &mut Form, key: KeyEvent) {
    let at = form.at;
    let is_choice = !form.entries[at].field.choices().is_empty();
    match key.code {
        KeyCode::Left if is_choice => form.turn(-1),
        KeyCode::Right | KeyCode::Char(' ') if is_choice => form.turn(1),
        _ if is_choice || form.entries[at].field == FormField::Save => {}
        _ => {
            if form.entries[at].typed.key(key) {
                form.refused.clear();
            }
        }
    }
}

/// What would complete the word that is typed, where there is something to complete it with.
pub fn proposal(state: &State) -> Option<String> {
    let Some(Overlay::Form(form)) = state.overlays.last() else {
        return None;
    };
    let field = form.entries[form.at].field;
    let typed = form.entries[form.at].typed.text();
    let typed = typed.as_str();
    let found = proposals(state, form, field)
        .into_iter()
        .find(|word| word.len() > typed.len() && word.starts_with(typed));
    // An empty field completes only where there is nothing to choose.
    let is_clear = !typed.is_empty() || proposals(state, form, field).len() == 1;
    found
        .filter(|_| is_clear)
        .map(|word| word[typed.len()..].to_owned())
}

/// The words that a field may be completed with.
pub fn proposals(state: &State, form: &Form, field: FormField) -> Vec<String> {
    let fleet = &state.fleet;
    let words: std::collections::BTreeSet<String> = match field {
        FormField::Group => fleet.groups.keys().map(ToString::to_string).collect(),
        FormField::User => fleet
            .tasks
            .values()
            .map(|task| task.spec.work.run_user.to_string())
            .collect(),
        FormField::Zone => crate::rule::Zone::names().into_iter().collect(),
        FormField::Target => {
            let group = form.text(FormField::Group);
            let agents = fleet.agents.values();
            let of_group =
                agents.filter(|agent| agent.groups.iter().any(|name| name.as_str() == group));
            let names = of_group.map(|agent| agent.name.to_string());
            names.chain(["all".to_owned(), "one".to_owned()]).collect()
        }
        _ => std::collections::BTreeSet::new(),
    };
    words.into_iter().collect()
}

fn save(state: &mut State, now: UnixMs) -> Vec<Effect> {
    let Some(Overlay::Form(form)) = state.overlays.last_mut() else {
        return Vec::new();
    };
    if form.is_saving {
        return Vec::new();
    }
    form.was_tried = true;
    form.refused.clear();
    if let Some((field, _)) = form.troubles().first() {
        let at = form.entries.iter().position(|entry| entry.field == *field);
        form.at = at.unwrap_or(form.at);
        return Vec::new();
    }
    match form.request() {
        Ok(request) => {
            form.is_saving = true;
            state.say(now, Grade::Quiet, "saving …");
            vec![ask(state, Asked::Save, request)]
        }
        Err(fault) => {
            let hint = fault.hint.as_deref().map(crate::tui::text::line);
            let lines = fault.message.lines().map(crate::tui::text::line);
            form.refused = lines.chain(hint).collect();
            Vec::new()
        }
    }
}
