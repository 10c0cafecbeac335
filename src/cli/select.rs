//! Which tasks a verb is for: names on the command line, on stdin, of a group, or all.

use super::args::Selection;
use super::client::Client;
use super::fault::Fault;
use super::print::row;
use crate::proto::request::{Answer, Request, TaskList};

/// A task to do something with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pick {
    /// What the center is told.
    pub task: String,
    /// What people are told.
    pub name: String,
}

/// When a verb wants a `--yes`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Care {
    /// For `--all`.
    All,
    /// For `--all`, and for more than one.
    Several,
}

impl Client<'_> {
    /// The tasks selected; none where somebody was asked and said no.
    pub async fn pick(
        &mut self,
        selection: &Selection,
        verb: &str,
        care: Care,
    ) -> Result<Option<Vec<Pick>>, Fault> {
        let picks = if selection.all || selection.group.is_some() {
            self.list(selection).await?
        } else {
            let words = self.words(&selection.tasks).await?;
            words.into_iter().map(Pick::named).collect()
        };
        let risky = selection.all || (care == Care::Several && picks.len() > 1);
        if picks.is_empty() {
            self.out.say("no tasks, so nothing is done");
        } else if risky && !selection.yes {
            let names: Vec<String> = picks.iter().map(|pick| pick.name.clone()).collect();
            if !self.confirm(verb, &names).await? {
                return Ok(None);
            }
        }
        Ok(Some(picks))
    }

    async fn list(&self, selection: &Selection) -> Result<Vec<Pick>, Fault> {
        let group = selection.group.clone();
        match self.ask(Request::TaskList(TaskList { group })).await? {
            Answer::Tasks(tasks) => Ok(tasks
                .iter()
                .map(|task| Pick {
                    task: task.id.to_string(),
                    name: row::path(task),
                })
                .collect()),
            _ => Err(Fault::unexpected("`ls`")),
        }
    }
}

impl Pick {
    fn named(name: String) -> Self {
        Self {
            task: name.clone(),
            name,
        }
    }
}
