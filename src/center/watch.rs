//! Watchers: each has the set of things that changed since it was last told. What is sent is the thing as it is
//! then, so that a slow watcher skips steps and costs nothing. Flushed at most ten times a second.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::clients::{Asker, Stream};
use super::core::Core;
use super::event::{Effect, Now, SessionId};
use super::runs::SlotKey;
use crate::auth::Access;
use crate::model::{AgentId, AgentName, GroupName, RunId, TaskId, UnixMs};
use crate::proto::client::{ITEM_WINDOW, ItemFrame, ToClient};
use crate::proto::request::{Change, Item, ProcessKey};
use crate::proto::view::{EventView, RunView};

/// Pause between two flushes.
const EVERY: Duration = Duration::from_millis(100);
/// Pause between two looks at the fleet as a whole while anything changes.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// Runs that have ended and wait for a slow watcher at most; the oldest go first.
const MOST_ENDED: usize = 1_000;

/// Something that may have changed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Touched {
    /// A group, or who is in it.
    Group(GroupName),
    /// An agent.
    Agent(AgentId),
    /// An agent that is gone, or has another name.
    AgentName(AgentName),
    /// A task.
    Task(TaskId),
    /// A daemon's slot.
    Slot(SlotKey, ProcessKey),
    /// A run that started or ended.
    Run(RunId, ProcessKey),
    /// The fleet as a whole.
    Status,
    /// The end of the snapshot.
    Complete,
}

/// One watcher.
#[derive(Debug)]
pub struct Watcher {
    touched: BTreeSet<Touched>,
    ended: VecDeque<RunView>,
    credit: u64,
    status_at: UnixMs,
}

impl Core {
    /// Opens a watch: everything counts as changed.
    pub(super) fn open_watch(&mut self, now: Now, asker: &Asker) {
        let mut touched = self.everything();
        touched.insert(Touched::Status);
        touched.insert(Touched::Complete);
        let watcher = Watcher {
            touched,
            ended: VecDeque::new(),
            credit: ITEM_WINDOW,
            status_at: now.at,
        };
        if let Some(client) = self.clients.get_mut(asker.session) {
            client.streams.insert(asker.request, Stream::Watch(watcher));
        }
    }

    /// What an event is about may have changed.
    pub(super) fn touch_what(&mut self, event: &EventView) {
        let agent = event
            .agent
            .as_ref()
            .and_then(|name| self.fleet.agent_named(name))
            .map(|row| row.id.clone());
        let task = event
            .task
            .as_ref()
            .and_then(|path| self.fleet.task_at(path))
            .map(|entry| entry.task.id.clone());
        if let Some(process) = self.process_of(event, agent.as_ref(), task.as_ref()) {
            self.touch(&process);
        }
        if let Some(agent) = agent {
            self.touch(&Touched::Agent(agent));
        }
        if let Some(task) = task {
            self.touch(&Touched::Task(task));
        }
    }

    /// The process that an event is about: a daemon's slot, or a run.
    fn process_of(
        &self,
        event: &EventView,
        agent: Option<&AgentId>,
        task: Option<&TaskId>,
    ) -> Option<Touched> {
        let (path, name, slot) = (event.task.clone()?, event.agent.clone()?, event.slot?);
        let key = |run_id| ProcessKey {
            task: path,
            agent: name,
            slot,
            run_id,
        };
        let daemon = self
            .fleet
            .tasks
            .get(task?)
            .is_some_and(|entry| entry.task.spec.work.daemon);
        if daemon {
            let place = SlotKey {
                agent: agent?.clone(),
                task: task?.clone(),
                slot,
            };
            return Some(Touched::Slot(place, key(None)));
        }
        let run_id = event.run_id.clone()?;
        Some(Touched::Run(run_id.clone(), key(Some(run_id))))
    }

    fn everything(&self) -> BTreeSet<Touched> {
        let groups = self.fleet.groups.keys().cloned().map(Touched::Group);
        let agents = self.fleet.agents.keys().cloned().map(Touched::Agent);
        let tasks = self.fleet.tasks.keys().cloned().map(Touched::Task);
        let slots = self.slots.iter().filter_map(|(key, slot)| {
            let view = self.slot_view(key, slot)?;
            Some(Touched::Slot(key.clone(), ProcessKey::of(&view)))
        });
        let runs = self.open.iter().filter_map(|run| {
            let view = self.run_process_view(run)?;
            Some(Touched::Run(run.id().clone(), ProcessKey::of(&view)))
        });
        groups
            .chain(agents)
            .chain(tasks)
            .chain(slots)
            .chain(runs)
            .collect()
    }

    /// Whether anybody watches: nothing is noted where nobody does.
    fn watchers(&mut self) -> impl Iterator<Item = &mut Watcher> {
        self.clients
            .streams_mut()
            .filter_map(|stream| match stream {
                Stream::Watch(watcher) => Some(watcher),
                _ => None,
            })
    }

    /// Something may have changed.
    pub(super) fn touch(&mut self, what: &Touched) {
        for watcher in self.watchers() {
            watcher.touched.insert(what.clone());
            watcher.touched.insert(Touched::Status);
        }
    }

    /// A run has ended.
    pub(super) fn touch_ended(&mut self, view: &RunView) {
        for watcher in self.watchers() {
            watcher.ended.push_back(view.clone());
            if watcher.ended.len() > MOST_ENDED {
                watcher.ended.pop_front();
            }
        }
    }

    /// When a watcher wants to be told next.
    pub(super) fn next_flush(&mut self, now: Now) -> Option<UnixMs> {
        let waiting = |watcher: &mut Watcher| watcher.credit > 0 && watcher.wants(now.at);
        self.watchers().any(waiting).then(|| now.at.plus(EVERY))
    }

    /// Tells every watcher what it has credit for.
    pub(super) fn flush_watchers(&mut self, now: Now) {
        if self.flushed_at.plus(EVERY) > now.at {
            return;
        }
        self.flushed_at = now.at;
        for (session, request) in self.clients.watching() {
            self.flush(now, session, request);
        }
    }

    fn flush(&mut self, now: Now, session: SessionId, request: u64) {
        let Some(access) = self.asker(session, request).map(|asker| asker.access) else {
            return;
        };
        while let Some(next) = self.next_touched(now, session, request) {
            let change = match next {
                Next::Ended(view) if access.sees(&view.group) => Some(Change::Run(Box::new(view))),
                Next::Ended(_) => None,
                Next::Touched(what) => self.change(now, &access, &what),
            };
            let Some(change) = change else { continue };
            if let Some(Stream::Watch(watcher)) = self.clients.stream_mut(session, request) {
                watcher.credit -= 1;
            }
            let item = Item::Change(Box::new(change));
            self.later(Effect::ToClient(
                session,
                Box::new(ToClient::Item(ItemFrame { id: request, item })),
            ));
        }
    }

    fn next_touched(&mut self, now: Now, session: SessionId, request: u64) -> Option<Next> {
        let Some(Stream::Watch(watcher)) = self.clients.stream_mut(session, request) else {
            return None;
        };
        if watcher.credit == 0 {
            return None;
        }
        if let Some(view) = watcher.ended.pop_front() {
            return Some(Next::Ended(view));
        }
        let due = watcher.status_at <= now.at;
        let next = watcher
            .touched
            .iter()
            .find(|what| due || **what != Touched::Status)?
            .clone();
        watcher.touched.remove(&next);
        if next == Touched::Status {
            watcher.status_at = now.at.plus(STATUS_EVERY);
        }
        Some(Next::Touched(next))
    }

    /// The thing as it is now; none where the asker may not see it, or never could.
    fn change(&self, now: Now, access: &Access, what: &Touched) -> Option<Change> {
        match what {
            Touched::Complete => Some(Change::Complete),
            Touched::Status => Some(Change::Status(Box::new(self.status_view(now, access)))),
            Touched::Group(group) if !access.sees(group) => None,
            Touched::Group(group) => Some(match self.fleet.groups.get(group) {
                Some(row) => Change::Group(self.group_view(row)),
                None => Change::GroupGone(group.clone()),
            }),
            Touched::Agent(id) => {
                let row = self
                    .fleet
                    .agents
                    .get(id)
                    .filter(|row| Self::sees_agent(access, row))?;
                Some(Change::Agent(self.agent_view(row, access)))
            }
            Touched::AgentName(name) => {
                Some(Change::AgentGone(name.clone())).filter(|_| access.sees_all())
            }
            Touched::Task(id) => match self.fleet.tasks.get(id) {
                Some(entry) if access.sees(&entry.task.group) => {
                    Some(Change::Task(Box::new(self.task_view(entry, access))))
                }
                Some(_) => None,
                // An id tells nothing to whoever has never seen the task.
                None => Some(Change::TaskGone(id.clone())),
            },
            Touched::Slot(..) | Touched::Run(..) => self.process_change(access, what),
        }
    }

    fn process_change(&self, access: &Access, what: &Touched) -> Option<Change> {
        let (view, key) = match what {
            Touched::Slot(slot, key) => (
                self.slots
                    .get(slot)
                    .and_then(|status| self.slot_view(slot, status)),
                key,
            ),
            Touched::Run(id, key) => (
                self.open.get(id).and_then(|run| self.run_process_view(run)),
                key,
            ),
            _ => return None,
        };
        access.sees(&key.task.group).then(|| match view {
            Some(view) => Change::Process(view),
            None => Change::ProcessGone(key.clone()),
        })
    }

    /// The watcher has taken items.
    pub(super) fn watch_credit(&mut self, session: SessionId, request: u64, items: u64) {
        if let Some(Stream::Watch(watcher)) = self.clients.stream_mut(session, request) {
            watcher.credit = watcher.credit.saturating_add(items).min(ITEM_WINDOW);
        }
    }
}

impl Watcher {
    fn wants(&self, now: UnixMs) -> bool {
        let status = self.touched.contains(&Touched::Status);
        let others = self.touched.len() > usize::from(status);
        !self.ended.is_empty() || others || (status && self.status_at <= now.plus(EVERY))
    }
}

/// What a watcher is told next.
enum Next {
    Ended(RunView),
    Touched(Touched),
}
