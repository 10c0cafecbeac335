//! What a rule says while it is typed: in words, with its next instants, or what is wrong with it.

use super::form::{Form, FormField};
use crate::model::UnixMs;
use crate::rule::{Rule, RuleKind, Schedule, Zone, words};
use crate::tui::text;

/// What a rule says while it is typed.
#[derive(Clone, PartialEq, Debug)]
pub enum RuleCheck {
    /// Nothing is typed; whether that means `@always`.
    Empty(bool),
    /// It is refused.
    Wrong(Vec<String>),
    /// It is understood.
    Good {
        /// In words, with how often.
        words: String,
        /// The next occurrences.
        next: Vec<UnixMs>,
        /// The zone it is read in.
        zone: Zone,
        /// What is allowed but probably not meant.
        warnings: Vec<String>,
    },
}

impl Form {
    /// The rule in words, how often, and its next instants; or what is wrong, with a caret.
    pub fn rule_check(&self, now: UnixMs, center: &Zone, count: usize) -> RuleCheck {
        let text = self.text(FormField::Rule);
        if text.is_empty() {
            let is_daemon = self.text(FormField::Daemon) == "yes";
            return RuleCheck::Empty(is_daemon);
        }
        let zone = Zone::parse(&self.text(FormField::Zone)).unwrap_or_else(|_| center.clone());
        let rule = match Rule::parse(&text) {
            Ok(rule) => rule,
            Err(error) => return RuleCheck::Wrong(error.caret().lines().map(text::line).collect()),
        };
        let kind = rule.kind();
        let warnings = rule.warnings();
        let schedule = Schedule::new(rule, zone.clone());
        let next = schedule.occurrences(now, count);
        let mut trouble = next.as_ref().err().map(ToString::to_string);
        let next = next.unwrap_or_default();
        if next.is_empty() && !matches!(kind, RuleKind::Always | RuleKind::Reboot) {
            trouble = trouble.or_else(|| Some("no occurrence is left".to_owned()));
        }
        RuleCheck::Good {
            words: format!("{} ({})", words(&schedule), schedule.per_day()),
            next,
            zone,
            warnings: warnings.into_iter().chain(trouble).collect(),
        }
    }
}
