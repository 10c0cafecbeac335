//! What of the conditions is told, and to whom: events for whoever watches, log lines, notices for the notify
//! commands, views for `status`. Decides nothing about what is wrong.

use std::collections::BTreeSet;

use super::conditions::{Condition, Key, Label, Place, Subject, Turn};
use super::core::Core;
use super::event::{Effect, LogLevel, Now};
use super::events::{Audience, EventLog};
use super::notices::{Due, Notice, Route};
use super::watch::Touched;
use crate::auth::Access;
use crate::model::{AgentId, AgentName, ConditionKind, GroupName};
use crate::proto::view::ConditionView;

impl Core {
    /// Tells what began and ended, and what was held back for a while.
    pub(super) fn tell_turns(&mut self, now: Now) {
        let turns = self.conditions.take_turns();
        if !turns.is_empty() {
            self.touch(&Touched::Status);
        }
        for turn in turns {
            self.tell_turn(now, turn);
        }
        for due in self.notices.take(now.at) {
            self.notify(&due);
        }
    }

    /// Tells everybody who may see it.
    fn tell_turn(&mut self, now: Now, mut turn: Turn) {
        let begins = turn.ended_at.is_none();
        turn.label = self.label(&turn.key, turn.label);
        self.conditions.set_label(&turn.key, turn.label.clone());
        let text = self.sentence(&turn);
        let level = if begins {
            LogLevel::Warn
        } else {
            LogLevel::Info
        };
        let word = if begins { "began" } else { "ended" };
        self.log(level, format!("condition {} {word}: {text}", turn.key.kind));
        let event = if begins {
            "condition_began"
        } else {
            "condition_ended"
        };
        let mut event = EventLog::blank(now.at, event);
        event.condition = Some(turn.key.kind);
        event.reason.clone_from(&turn.reason);
        event.task.clone_from(&turn.label.task);
        event.agent.clone_from(&turn.label.agent);
        if let [only] = self.names_at(&turn).as_slice() {
            event.agent = Some(only.clone());
        }
        let audience = Audience::AnyOf(turn.label.groups.clone());
        self.publish(audience, event);
        self.notices.note(now.at, turn);
    }

    /// Whose a condition is: as it is called now, and as it was told where it is gone; it concerns the groups of then
    /// and of now.
    fn label(&self, key: &Key, mut told: Label) -> Label {
        match &key.subject {
            Subject::Center | Subject::Standby(_) | Subject::Group(_) => {}
            Subject::Agent(id) => told.agent = self.name_at(id).or(told.agent),
            Subject::Task(id) => {
                let entry = self.fleet.tasks.get(id);
                told.task = entry.map(|entry| entry.task.path()).or(told.task);
            }
        }
        for group in self.concerned(key) {
            if !told.groups.contains(&group) {
                told.groups.push(group);
            }
        }
        told
    }

    fn name_at(&self, agent: &AgentId) -> Option<AgentName> {
        self.fleet.agents.get(agent).map(|row| row.name.clone())
    }

    /// Where a task is in trouble.
    fn names_at(&self, turn: &Turn) -> Vec<AgentName> {
        turn.agents
            .iter()
            .filter_map(|id| self.name_at(id))
            .collect()
    }

    /// The groups that a condition concerns: all where it is the center's, none where it is the center's own command,
    /// of whose words only admins on all groups shall know.
    fn concerned(&self, key: &Key) -> Vec<GroupName> {
        match &key.subject {
            Subject::Center if key.kind == ConditionKind::Notify => Vec::new(),
            Subject::Center | Subject::Standby(_) => self.fleet.groups.keys().cloned().collect(),
            Subject::Group(group) => vec![group.clone()],
            Subject::Agent(id) => {
                let row = self.fleet.agents.get(id);
                row.map_or_else(Vec::new, |row| row.groups.iter().cloned().collect())
            }
            Subject::Task(id) => {
                let entry = self.fleet.tasks.get(id);
                entry.map_or_else(Vec::new, |entry| vec![entry.task.group.clone()])
            }
        }
    }

    /// A condition in one sentence.
    fn sentence(&self, turn: &Turn) -> String {
        let reason = &turn.reason;
        let subject = match &turn.key.subject {
            Subject::Center => "the center".to_owned(),
            // Its reason names the center, for whoever is told no more than that.
            Subject::Standby(_) => return reason.clone(),
            Subject::Group(group) => format!("group {group}"),
            Subject::Agent(id) => match &turn.label.agent {
                Some(name) => format!("agent {name}"),
                None => format!("agent {id}"),
            },
            Subject::Task(id) => {
                let entry = self.fleet.tasks.get(id);
                let is_daemon = entry.is_some_and(|entry| entry.task.spec.work.daemon);
                let word = if is_daemon { "daemon" } else { "task" };
                match &turn.label.task {
                    Some(path) => format!("{word} {path}"),
                    None => format!("{word} {id}"),
                }
            }
        };
        if turn.ended_at.is_some() {
            return format!("{subject}: {} is over: {reason}", turn.key.kind);
        }
        let names: Vec<String> = turn
            .agents
            .iter()
            .map(|id| self.fleet.agent_name(id))
            .collect();
        let on = match names.as_slice() {
            [] => String::new(),
            [one] => format!(" on {one}"),
            [one, rest @ ..] => format!(" on {one} and {} more", rest.len()),
        };
        match turn.key.kind {
            ConditionKind::Silent => format!("{subject} is {reason}"),
            ConditionKind::Fatal => format!("{subject} is fatal: {reason}"),
            kind => format!("{subject} {}{on}: {reason}", words(kind)),
        }
    }

    /// Gives a notice to the commands that it is for: the center's, and those of the groups that it concerns. What
    /// is wrong with the center's own command is told to nobody, and with a group's to the center's only.
    fn notify(&mut self, due: &Due) {
        let groups = &due.turn.label.groups;
        let mut routes: Vec<Route> = vec![None];
        match (&due.turn.key.subject, due.turn.key.kind) {
            (Subject::Center, ConditionKind::Notify) => routes.clear(),
            (Subject::Group(_), _) => {}
            _ => routes.extend(groups.iter().cloned().map(Some)),
        }
        routes.retain(|route| self.watching.routes.contains(route));
        if routes.is_empty() {
            return;
        }
        let notice = self.notice(due);
        let Ok(json) = serde_json::to_string(&notice) else {
            return;
        };
        for route in routes {
            self.now(Effect::Notify(route, json.clone()));
        }
    }

    fn notice(&self, due: &Due) -> Notice {
        let turn = &due.turn;
        Notice {
            version: 1,
            event: turn.ended_at.map_or("began", |_| "ended"),
            condition: turn.key.kind,
            task: turn.label.task.clone(),
            agent: turn.label.agent.clone(),
            agents: self.names_at(turn),
            groups: turn.label.groups.clone(),
            began_at: turn.began_at,
            ended_at: turn.ended_at,
            reason: turn.reason.clone(),
            times: due.times,
            text: self.sentence(turn),
            fleet: self.settings.fleet.to_string(),
            center: self.settings.addresses.first().cloned().unwrap_or_default(),
        }
    }

    /// The notify commands that there are from now on.
    pub(super) fn set_routes(&mut self, now: Now, routes: BTreeSet<Route>) {
        self.watching.routes = routes;
        self.prune_conditions(now);
    }

    /// A notify command has ended.
    pub(super) fn notified(&mut self, now: Now, route: Route, result: Result<(), String>) {
        let key = Key {
            subject: route.map_or(Subject::Center, Subject::Group),
            kind: ConditionKind::Notify,
        };
        match result {
            Ok(()) => self
                .conditions
                .clear(now.at, &key, &Place::Whole, "the command succeeded"),
            Err(why) => {
                let reason = format!("its notify command {why}");
                self.conditions.raise(now.at, &key, Place::Whole, reason);
            }
        }
    }

    /// What is wrong now, of what the asker sees.
    pub(super) fn condition_views(&self, access: &Access) -> Vec<ConditionView> {
        let seen = |key: &Key| {
            let is_of_centers = matches!(key.subject, Subject::Center | Subject::Standby(_));
            let is_for_all = is_of_centers && key.kind != ConditionKind::Notify;
            is_for_all
                || access.sees_all()
                || self.concerned(key).iter().any(|group| access.sees(group))
        };
        let all = self.conditions.iter().filter(|(key, _)| seen(key));
        all.map(|(key, held)| self.condition_view(key, held))
            .collect()
    }

    fn condition_view(&self, key: &Key, held: &Condition) -> ConditionView {
        let turn = Turn {
            key: key.clone(),
            began_at: held.began_at,
            ended_at: None,
            reason: held.reason.clone(),
            agents: held.agents(),
            label: self.label(key, held.label.clone()),
        };
        ConditionView {
            condition: key.kind,
            agents: self.names_at(&turn),
            began_at: held.began_at,
            text: self.sentence(&turn),
            reason: turn.reason,
            task: turn.label.task,
            agent: turn.label.agent,
        }
    }
}

/// What happens to a task while it is in trouble of a kind.
fn words(kind: ConditionKind) -> &'static str {
    match kind {
        ConditionKind::Late => "is late",
        ConditionKind::Missed => "was missed",
        ConditionKind::Failed => "failed",
        ConditionKind::TooLong => "takes too long",
        ConditionKind::TooShort => "ended too soon",
        ConditionKind::NoOutput => "has no output",
        ConditionKind::Journal => "cannot write its journal",
        ConditionKind::Damaged => "has a damaged journal",
        ConditionKind::Copied => "has a copy that is refused",
        ConditionKind::Keeper => "has no keeper",
        ConditionKind::Disk => "is short of disk",
        ConditionKind::Clock => "has a wrong clock",
        ConditionKind::Store => "cannot write its store",
        ConditionKind::Notify => "cannot notify",
        ConditionKind::Silent => "is silent",
        ConditionKind::Fatal => "is fatal",
        ConditionKind::Standby => "does not stand by",
    }
}
