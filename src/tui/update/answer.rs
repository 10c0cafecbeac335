//! What the center answered: what a deed hit is said at the foot, lists are filled, a form is closed or told why not.

use super::Effect;
use crate::cli::fault::Fault;
use crate::cli::print::time;
use crate::model::UnixMs;
use crate::proto::request::{Answer, Change, Changed, Saved};
use crate::proto::view::RunView;
use crate::rule::Zone;
use crate::tui::state::{
    Asked, Batch, Deed, Grade, Overlay, Part, Screen, Selection, State, Thing, Ticket, path_of,
};
use crate::tui::text::counted;

/// Runs looked at whose output is kept.
const MOST_TAILS: usize = 50;

/// Takes an answer in.
pub(super) fn take(
    state: &mut State,
    now: UnixMs,
    ticket: Ticket,
    answer: Result<Answer, Fault>,
) -> Vec<Effect> {
    match (state.asked.remove(&ticket), answer) {
        (Some(Asked::Deed(batch, name)), answer) => deed(state, now, batch, name, answer),
        (Some(Asked::Save), Ok(Answer::Saved(saved))) => saved_task(state, now, *saved),
        (Some(Asked::Save), Ok(_)) => refused(state, &Fault::unexpected("the save")),
        (Some(Asked::Save), Err(fault)) => refused(state, &fault),
        (Some(Asked::History), Ok(Answer::Runs(page))) => {
            let ended = page.runs.into_iter().filter(|run| run.outcome.is_some());
            ended.for_each(|run| state.fleet.take_run(run));
        }
        (Some(Asked::Run), Ok(Answer::Run(run))) => keep(state, *run),
        // What is only looked at is not there any more; the page says what is known.
        (Some(Asked::History | Asked::Run) | None, _) => {}
    }
    Vec::new()
}

fn keep(state: &mut State, run: RunView) {
    if run.outcome.is_some() {
        state.fleet.take_run(RunView {
            tail: None,
            ..run.clone()
        });
    }
    if state.tails.len() >= MOST_TAILS {
        state.tails.pop_first();
    }
    state.tails.insert(run.run_id.clone(), run);
}

fn deed(state: &mut State, now: UnixMs, id: u64, name: String, answer: Result<Answer, Fault>) {
    let Some(batch) = state.batches.get_mut(&id) else {
        return;
    };
    match answer {
        Ok(Answer::Changed(changed)) => add(batch, name, *changed),
        Ok(Answer::Started(runs)) if runs.runs.is_empty() => batch.already.push(name),
        Ok(Answer::Started(runs)) => {
            batch.started += runs.runs.len();
            batch.done.push(name);
        }
        Ok(_) => batch.refused.push(Fault::unexpected(&name).message),
        Err(fault) => batch.refused.push(match fault.hint {
            Some(hint) => format!("{name}: {}; {hint}", fault.message),
            None => format!("{name}: {}", fault.message),
        }),
    }
    let answered = batch.done.len() + batch.already.len() + batch.refused.len();
    if answered < batch.sent {
        return;
    }
    if let Some(batch) = state.batches.remove(&id) {
        let (grade, text) = sentence(&batch, &state.zone);
        state.say(now, grade, &text);
        if batch.refused.is_empty() {
            state.marks.clear();
        }
    }
}

fn add(batch: &mut Batch, name: String, changed: Changed) {
    if changed.changed || changed.cancelled > 0 || changed.stopped > 0 {
        batch.done.push(name);
    } else {
        batch.already.push(name);
    }
    batch.hit.cancelled += changed.cancelled;
    batch.hit.stopped += changed.stopped;
    for agent in changed.unconfirmed {
        let known = &mut batch.hit.unconfirmed;
        match known.iter_mut().find(|other| other.agent == agent.agent) {
            Some(other) => other.may_fire_until = other.may_fire_until.max(agent.may_fire_until),
            None => known.push(agent),
        }
    }
}

/// What a deed did, in one line.
fn sentence(batch: &Batch, zone: &Zone) -> (Grade, String) {
    let mut parts: Vec<String> = Vec::new();
    if !batch.done.is_empty() {
        parts.push(format!("{} {}", subject(&batch.done), batch.deed.done));
    }
    if !batch.already.is_empty() {
        parts.push(format!(
            "{} {}",
            subject(&batch.already),
            batch.deed.already
        ));
    }
    parts.extend(hits(&batch.hit, batch.started));
    let unconfirmed = unconfirmed(&batch.hit, zone);
    let grade = match (batch.refused.is_empty(), unconfirmed.is_none()) {
        (false, _) => Grade::Trouble,
        (true, false) => Grade::Warning,
        (true, true) => Grade::Done,
    };
    parts.extend(unconfirmed);
    let refused = batch
        .refused
        .first()
        .map(|first| match batch.refused.len() {
            1 => first.clone(),
            count => format!("{count} refused, first {first}"),
        });
    parts.extend(refused);
    (grade, parts.join("; "))
}

fn subject(names: &[String]) -> String {
    match names {
        [name] => name.clone(),
        many => format!("{} tasks", many.len()),
    }
}

fn hits(hit: &Changed, started: usize) -> Vec<String> {
    let mut parts = Vec::new();
    if started > 0 {
        parts.push(counted(started as u64, "run", "runs"));
    }
    if hit.cancelled > 0 {
        let runs = counted(hit.cancelled, "planned run", "planned runs");
        parts.push(format!("{runs} cancelled"));
    }
    if hit.stopped > 0 {
        let processes = counted(hit.stopped, "process", "processes");
        parts.push(format!("{processes} being ended"));
    }
    parts
}

fn unconfirmed(hit: &Changed, zone: &Zone) -> Option<String> {
    let each: Vec<String> = hit
        .unconfirmed
        .iter()
        .map(|agent| match agent.may_fire_until {
            Some(at) => format!("{} (may fire until {})", agent.agent, time::clock(at, zone)),
            None => format!(
                "{} (what runs there goes on until it is reached)",
                agent.agent
            ),
        })
        .collect();
    (!each.is_empty()).then(|| format!("not yet confirmed by {}", each.join(", ")))
}

fn refused(state: &mut State, fault: &Fault) {
    let lines = fault.message.lines().map(crate::tui::text::line);
    let hint = fault.hint.as_deref().map(crate::tui::text::line);
    if let Some(Overlay::Form(form)) = state.overlays.last_mut() {
        form.refused = lines.chain(hint).collect();
        form.is_saving = false;
    }
}

/// A task was saved: the form closes, the task is selected, what it means is said.
fn saved_task(state: &mut State, now: UnixMs, saved: Saved) {
    if let Some(Overlay::Form(_)) = state.overlays.last() {
        state.overlays.pop();
    }
    let id = saved.task.id.clone();
    let deed = Deed {
        done: if saved.created { "added" } else { "changed" },
        already: "is so already",
    };
    let mut batch = Batch {
        deed,
        sent: 1,
        done: Vec::new(),
        already: Vec::new(),
        refused: Vec::new(),
        hit: Changed::default(),
        started: 0,
    };
    let changed = Changed {
        changed: saved.changed,
        ..saved.hit.clone()
    };
    add(&mut batch, path_of(&saved.task).to_string(), changed);
    let (mut grade, mut text) = sentence(&batch, &state.zone);
    if let Some(at) = saved.task.next_at {
        let when = time::relative(at, now).unwrap_or_else(|| time::stamp(at, &state.zone));
        text = format!("{text}; next {when}");
    }
    for warning in &saved.warnings {
        text = format!("{text}; {warning}");
        grade = Grade::Warning;
    }
    state.fleet.take(Change::Task(Box::new(saved.task)));
    state.say(now, grade, &text);
    select(state, id);
}

fn select(state: &mut State, id: crate::model::TaskId) {
    if !state.overlays.is_empty() {
        return;
    }
    if !matches!(state.screen, Screen::Overview | Screen::Tasks) {
        state.screen = Screen::Tasks;
    }
    let thing = Thing::Task(id);
    let lists = state.lists();
    let at = [Part::Next, Part::Tasks, Part::Strips]
        .into_iter()
        .find_map(|part| lists.place(&(part, thing.clone())));
    if let Some(row) = at {
        let at = lists.row(row);
        state.selections.insert(state.screen, Selection { at, row });
    }
}
