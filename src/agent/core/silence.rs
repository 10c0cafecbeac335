//! The agent's side of the dead-man's watch: nothing was heard of a leading center for too long. The agent starts
//! nothing itself: the keeper starts the command that the host's settings name, under its policy, as it starts a
//! run. What the keeper says of that run stays here and is told to no center.

use std::time::Duration;

use super::super::event::Now;
use super::AgentCore;
use crate::exec::wire::{BootMs, Command, Event, HOOK_TASK, HOOK_VARIABLES, RunState, Start};
use crate::model::{
    Cause, Ending, Execute, GroupName, Outcome, Revision, RunId, RunRef, Slot, TaskId, TaskName,
    TaskText, UnixMs, UserName, Work,
};

/// Under which group and name the keeper knows it: its policy may be asked about them.
const GROUP: &str = "ucron";
const NAME: &str = "center-silent";
/// How long the command may take.
const TIMEOUT: Duration = Duration::from_mins(1);

/// What the host's settings say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SilenceHook {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The account.
    pub user: UserName,
    /// After how much silence.
    pub after: Duration,
}

/// What is known of the centers' silence.
#[derive(Debug, Default)]
pub(super) struct Silence {
    hook: Option<SilenceHook>,
    /// When a leading center was last heard, or the agent started.
    heard: Option<BootMs>,
    /// When it was heard before the silence that was told, in the center's time.
    told: Option<UnixMs>,
}

/// Whether this is about a run of the command.
pub(super) fn is_of_hook(event: &Event) -> bool {
    match event {
        Event::Known { run, .. }
        | Event::Started { run, .. }
        | Event::AttemptEnded { run, .. }
        | Event::Ended { run, .. } => run.task.as_str() == HOOK_TASK,
        _ => false,
    }
}

impl AgentCore {
    /// What is done when the centers are silent; nothing where none.
    pub fn set_silence_hook(&mut self, hook: Option<SilenceHook>) {
        self.silence.hook = hook;
    }

    /// A center that leads was heard.
    pub(super) fn center_heard(&mut self, now: Now) {
        self.silence.heard = Some(now.boot);
        if let Some(heard_at) = self.silence.told.take() {
            self.start_hook("ended", heard_at, now);
        }
    }

    /// Tells of a silence that is long enough, once.
    pub(super) fn watch_center(&mut self, now: Now) {
        let heard = *self.silence.heard.get_or_insert(now.boot);
        let Some(after) = self.silence.hook.as_ref().map(|hook| hook.after) else {
            return;
        };
        if self.silence.told.is_some() || now.boot < heard.plus(after) {
            return;
        }
        let heard_at = self.center_time(now).minus(now.boot.since(heard));
        self.silence.told = Some(heard_at);
        self.warn("no center was heard for too long; on_center_silent is started");
        self.start_hook("began", heard_at, now);
    }

    pub(super) fn next_silence(&self) -> Option<BootMs> {
        let hook = self.silence.hook.as_ref();
        let hook = hook.filter(|_| self.silence.told.is_none())?;
        Some(self.silence.heard?.plus(hook.after))
    }

    fn center_time(&self, now: Now) -> UnixMs {
        self.clock.offset().map_or(now.wall, |(offset_ms, _)| {
            UnixMs(now.boot.0.cast_signed() + offset_ms)
        })
    }

    fn start_hook(&mut self, event: &str, heard_at: UnixMs, now: Now) {
        let Some(hook) = self.silence.hook.clone() else {
            return;
        };
        match self.hook_start(&hook, event, heard_at, now) {
            Some(start) => self.stop(Command::Start(Box::new(start))),
            None => self.warn("on_center_silent could not be started"),
        }
    }

    fn hook_start(
        &self,
        hook: &SilenceHook,
        event: &str,
        heard_at: UnixMs,
        now: Now,
    ) -> Option<Start> {
        let task: TaskId = HOOK_TASK.parse().ok()?;
        let at = self.center_time(now);
        let mut work = Work::new(Execute::Vector(hook.command.clone()), hook.user.clone());
        work.timeout = Some(TIMEOUT);
        let values = ["silent".to_owned(), event.to_owned(), heard_at.to_string()];
        work.env = HOOK_VARIABLES
            .map(str::to_owned)
            .into_iter()
            .zip(values)
            .collect();
        Some(Start {
            run: RunRef {
                run_id: RunId::hash(
                    format!("{NAME}\n{event}\n{}\n{}", heard_at.0, at.0).as_bytes(),
                ),
                task: task.clone(),
                revision: Revision(1),
                slot: Slot(0),
                cause: Cause::Operator,
                scheduled_at: at,
                delay: Duration::ZERO,
            },
            text: TaskText {
                task,
                revision: Revision(1),
                group: GroupName::parse(GROUP).ok()?,
                name: TaskName::parse(NAME).ok()?,
                one: false,
                work,
            },
            epoch: self.epoch,
            start_before: None,
            not_after: None,
            replaces: None,
        })
    }

    /// What the keeper says of the command's run.
    pub(super) fn hook_says(&mut self, event: Event) {
        match event {
            Event::Ended { run, ending } => self.hook_ended(run.run_id, &ending),
            Event::Known {
                run,
                state: RunState::Ended(ending),
            } => self.hook_ended(run.run_id, &ending),
            _ => {}
        }
    }

    fn hook_ended(&mut self, run_id: RunId, ending: &Ending) {
        if ending.outcome != Outcome::Succeeded {
            let (outcome, reason) = (ending.outcome, &ending.reason);
            self.warn(format!("on_center_silent {outcome}: {reason}"));
        }
        self.tell(Command::Forget { run_id });
    }
}
