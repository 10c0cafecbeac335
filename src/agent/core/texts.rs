//! Tasks' texts by (task, revision), kept as long as something refers to them; the newest of a task also as
//! long as the links live that carried it, since a center sends it once per link.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Revision, TaskId, TaskText};

/// A task in one revision.
pub type TextKey = (TaskId, Revision);

#[derive(Debug)]
struct Text {
    text: TaskText,
    on_disk: bool,
}

/// The cache.
#[derive(Debug, Default)]
pub struct Texts(BTreeMap<TextKey, Text>);

impl Texts {
    /// Takes a text in.
    pub fn insert(&mut self, text: TaskText, on_disk: bool) {
        let key = (text.task.clone(), text.revision);
        let held = self.0.entry(key).or_insert(Text { text, on_disk });
        held.on_disk |= on_disk;
    }

    /// A text.
    pub fn get(&self, task: &TaskId, revision: Revision) -> Option<&TaskText> {
        self.0.get(&(task.clone(), revision)).map(|held| &held.text)
    }

    /// The text counts as written from now on; it is given where the journal lacked it.
    pub fn mark_written(&mut self, task: &TaskId, revision: Revision) -> Option<TaskText> {
        let held = self.0.get_mut(&(task.clone(), revision))?;
        let new = !std::mem::replace(&mut held.on_disk, true);
        new.then(|| held.text.clone())
    }

    /// Drops all but those in `used` and, with `newest`, the newest of each task.
    pub fn retain(&mut self, used: &BTreeSet<TextKey>, newest: bool) {
        let mut last: BTreeMap<TaskId, Revision> = BTreeMap::new();
        for (task, revision) in self.0.keys() {
            let entry = last.entry(task.clone()).or_default();
            *entry = (*entry).max(*revision);
        }
        self.0.retain(|key, held| {
            let used = used.contains(key);
            held.on_disk &= used;
            used || newest && last.get(&key.0) == Some(&key.1)
        });
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}
