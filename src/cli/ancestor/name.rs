//! Names that the ancestor allowed and ucron does not: other characters become `-`, and what is there twice gets the
//! row's id behind it.

use std::collections::BTreeSet;

use super::Candidate;
use crate::model::{MAX_NAME, TaskName};
use crate::proto::request::NewTask;

/// The text as a name, as far as it can be one; said where it is another.
pub(super) fn clean(text: &str, what: &str, notes: &mut Vec<String>) -> String {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
    let words: Vec<&str> = text
        .split(|c| !allowed(c))
        .filter(|word| !word.is_empty())
        .collect();
    let joined = words.join("-");
    let name: String = joined
        .trim_start_matches(['.', '-'])
        .chars()
        .take(MAX_NAME)
        .collect();
    if name != text && !name.is_empty() {
        notes.push(format!(
            "the {what} `{}` becomes `{name}`",
            text.escape_debug()
        ));
    }
    name
}

/// Gives a name that an earlier row has another end.
pub(super) fn make_unique(
    candidate: &mut Candidate,
    id: Option<&str>,
    taken: &mut BTreeSet<(String, String)>,
) {
    let Ok(task) = &mut candidate.task else {
        return;
    };
    let key = |task: &NewTask| (task.group.to_string(), task.name.to_string());
    if taken.insert(key(task)) {
        return;
    }
    let was = task.name.clone();
    let kept = MAX_NAME - id.map_or(0, |id| id.chars().count() + 1).min(MAX_NAME);
    let begin: String = was.as_str().chars().take(kept).collect();
    let other = id.and_then(|id| TaskName::parse(&format!("{begin}-{id}")).ok());
    if let Some(other) = other {
        task.name = other;
        if taken.insert(key(task)) {
            let note = format!(
                "`{was}` is the name of an earlier row too: this becomes `{}`",
                task.name
            );
            candidate.notes.push(note);
            return;
        }
    }
    candidate.task = Err(vec![format!("an earlier row has the name `{was}` too")]);
}
