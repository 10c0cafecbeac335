//! From a text to tasks. All that is wrong in it is told at once, each with its place.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{KEYS, Slip, set};
use super::{Draft, Entry};
use crate::cli::spec;
use crate::config::FileFault;
use crate::model::{GroupName, SpecError, TaskName};
use crate::rule::nearest;

/// The tasks of a text, in its order; `path` is what errors call it.
pub fn read(path: &Path, text: &str) -> Result<Vec<Entry>, Vec<FileFault>> {
    let (table, broken) = DeTable::parse_recoverable(text);
    let mut slips: Vec<Slip> = broken.iter().map(slip_of).collect();
    let mut entries = Vec::new();
    // What is said of a text that is no TOML is enough; the rest would follow from it.
    if slips.is_empty() {
        let mut reader = Reader { text, slips };
        entries = reader.tasks(table.get_ref());
        slips = reader.slips;
    }
    if slips.is_empty() {
        return Ok(entries);
    }
    slips.sort_by_key(|slip| slip.at);
    let fault = |slip: &Slip| FileFault::at(path, text, slip.at, &slip.message);
    Err(slips.iter().map(fault).collect())
}

fn slip_of(error: &toml::de::Error) -> Slip {
    let message: Vec<&str> = error.message().lines().collect();
    Slip::new(error.span().map_or(0, |span| span.start), message.join(" "))
}

/// What has been found wrong so far.
struct Reader<'t> {
    text: &'t str,
    slips: Vec<Slip>,
}

impl Reader<'_> {
    fn tasks(&mut self, table: &DeTable<'_>) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (key, value) in table {
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("task", DeValue::Array(tasks)) => {
                    let tasks = tasks.iter();
                    entries.extend(tasks.filter_map(|task| Some((self.task(task)?, task.span()))));
                }
                ("task", _) => self.slip(key.span().start, "a task begins with `[[task]]`"),
                (other, _) => {
                    let other = other.escape_debug();
                    let message = format!("unknown key `{other}`; a task begins with `[[task]]`");
                    self.slip(key.span().start, message);
                }
            }
        }
        self.twice(&entries);
        entries.into_iter().map(|(entry, _)| entry).collect()
    }

    fn slip(&mut self, at: usize, message: impl Into<String>) {
        self.slips.push(Slip::new(at, message));
    }

    /// One task; none where something is wrong with it.
    fn task(&mut self, task: &Spanned<DeValue<'_>>) -> Option<Entry> {
        let DeValue::Table(table) = task.get_ref() else {
            self.slip(task.span().start, "a task begins with `[[task]]`");
            return None;
        };
        let before = self.slips.len();
        let mut draft = Draft::default();
        for (key, value) in table {
            self.key(&mut draft, key, value);
        }
        for missing in missing(&draft, table) {
            let message = format!("`{missing}` is missing in this task");
            self.slip(task.span().start, message);
        }
        if self.slips.len() > before {
            return None;
        }
        match entry(draft) {
            Ok(entry) => entry,
            Err(error) => {
                let rule = table.iter().find(|(key, _)| key.get_ref() == "rule");
                let at = rule.map_or(task.span().start, |(_, value)| value.span().start);
                self.slip(at, without_flags(&error));
                None
            }
        }
    }

    fn key(
        &mut self,
        draft: &mut Draft,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) {
        let name = key.get_ref().as_ref();
        if !KEYS.contains(&name) {
            let message = unknown(name);
            return self.slip(key.span().start, message);
        }
        // First by itself, so that what is wrong with it is told at its place.
        let mut alone = Draft::default();
        let fits = set(&mut alone, name, value, self.text).and_then(|()| {
            let checked = spec::check_alone(&alone.flags);
            checked.map_err(|error| Slip::new(value.span().start, without_flags(&error)))
        });
        match fits.and_then(|()| set(draft, name, value, self.text)) {
            Ok(()) => {}
            Err(slip) => self.slips.push(slip),
        }
    }

    fn twice(&mut self, entries: &[(Entry, std::ops::Range<usize>)]) {
        let mut seen: BTreeMap<(&GroupName, &TaskName), usize> = BTreeMap::new();
        for (entry, span) in entries {
            let line = self.text[..span.start].matches('\n').count() + 1;
            if let Some(first) = seen.insert((&entry.group, &entry.name), line) {
                let message = format!(
                    "`{}/{}` is in the file twice; the first is in line {first}",
                    entry.group, entry.name
                );
                self.slips.push(Slip::new(span.start, message));
            }
        }
    }
}

/// Keys that every task must have and that are not even there in a wrong form.
fn missing(draft: &Draft, table: &DeTable<'_>) -> Vec<&'static str> {
    let has_rule = draft.flags.daemon;
    ["group", "name", "rule", "user", "execute"]
        .into_iter()
        .filter(|key| *key != "rule" || !has_rule)
        .filter(|key| !table.iter().any(|(name, _)| name.get_ref() == key))
        .collect()
}

fn entry(draft: Draft) -> Result<Option<Entry>, SpecError> {
    let (Some(group), Some(name)) = (draft.group, draft.name) else {
        return Ok(None);
    };
    let spec = spec::of_flags(&draft.flags)?;
    Ok(spec.map(|spec| Entry {
        group,
        name,
        enabled: !draft.disabled,
        spec,
    }))
}

/// In a file a key has no dashes before it.
fn without_flags(error: &SpecError) -> String {
    error.to_string().replace("--", "")
}

fn unknown(key: &str) -> String {
    let shown = key.escape_debug();
    match nearest(key, KEYS.into_iter(), 1).first() {
        Some(known) => format!("unknown key `{shown}`; did you mean `{known}`?"),
        None => format!("unknown key `{shown}`; known are {}", KEYS.join(", ")),
    }
}
