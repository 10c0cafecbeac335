//! What is wrong on this host, for the operators: the whole list at every connect and whenever it changes.

use super::super::event::LinkId;
use super::AgentCore;
use crate::proto::agent::{FromAgent, Problems as Frame};

/// The list, by who found it.
#[derive(Debug, Default)]
pub(super) struct Problems {
    own: Vec<String>,
    keeper: Vec<String>,
}

impl AgentCore {
    /// What the agent's shell found; all of it.
    pub(super) fn own_problems(&mut self, problems: Vec<String>) {
        if self.problems.own != problems {
            self.problems.own = problems;
            self.tell_problems();
        }
    }

    /// The damaged journals that the keeper has kept aside; all of them.
    pub(super) fn keeper_problems(&mut self, kept: &[String]) {
        let problems: Vec<String> = kept
            .iter()
            .map(|path| format!("the keeper's journal was damaged; what it said is in `{path}`"))
            .collect();
        if self.problems.keeper != problems {
            self.problems.keeper = problems;
            self.tell_problems();
        }
    }

    fn tell_problems(&mut self) {
        if let Some(leader) = self.reports.to() {
            self.send_problems(leader);
        }
    }

    /// Tells a center the list: one that has just been told the state knows of none yet.
    pub(super) fn send_problems(&mut self, link: LinkId) {
        let mut problems = self.problems.own.clone();
        problems.extend(self.problems.keeper.iter().cloned());
        self.send(link, FromAgent::Problems(Frame { problems }));
    }

    /// Whether there is anything to tell to a center that knows of none.
    pub(super) fn has_problems(&self) -> bool {
        !(self.problems.own.is_empty() && self.problems.keeper.is_empty())
    }
}
