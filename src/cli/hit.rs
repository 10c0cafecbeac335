//! What a changing verb hit, in words on stderr: plans cancelled, processes ended, agents that have not
//! confirmed and until when they may fire.

use super::fault::{Exit, Fault, FaultCode};
use super::print::Out;
use crate::proto::request::{Changed, Unconfirmed};

/// What a verb is called once it is done, and when there was nothing to do.
#[derive(Clone, Copy, Debug)]
pub struct Deed {
    /// As in "web/probe stopped".
    pub done: &'static str,
    /// As in "web/probe is stopped already".
    pub already: &'static str,
}

/// Tells what was hit; exit 7 where agents have not confirmed.
pub fn tell(out: &mut Out, name: &str, deed: Deed, changed: &Changed) -> Exit {
    let mut parts = Vec::new();
    if changed.cancelled > 0 {
        parts.push(format!(
            "{} cancelled",
            count(changed.cancelled, "planned run")
        ));
    }
    if changed.stopped > 0 {
        let ended = if changed.stopped == 1 {
            "process"
        } else {
            "processes"
        };
        parts.push(format!("{} {ended} being ended", changed.stopped));
    }
    let hit = match parts.as_slice() {
        [] => String::new(),
        parts => format!(": {}", parts.join(", ")),
    };
    if changed.changed || !parts.is_empty() {
        out.say(&format!("{name} {}{hit}", deed.done));
    } else {
        out.say(&format!("{name} {}", deed.already));
    }
    unconfirmed(out, name, &changed.unconfirmed)
}

/// Names the agents that have not confirmed.
pub fn unconfirmed(out: &mut Out, name: &str, agents: &[Unconfirmed]) -> Exit {
    if agents.is_empty() {
        return Exit::DONE;
    }
    let each: Vec<String> = agents.iter().map(|agent| until(out, agent)).collect();
    let text = format!(
        "{name}: done at the center, not yet confirmed by {}",
        each.join(", ")
    );
    let fault = Fault::new(FaultCode::Unconfirmed, text)
        .hint("they follow as soon as they are reached; see `ucron agents`");
    out.fault(&fault);
    Exit::UNCONFIRMED
}

fn until(out: &Out, agent: &Unconfirmed) -> String {
    match agent.may_fire_until {
        Some(at) => format!("{} (may fire until {})", agent.agent, out.instant(at)),
        None => format!(
            "{} (what runs there goes on until it is reached)",
            agent.agent
        ),
    }
}

/// `1 planned run`, `2 planned runs`.
pub fn count(number: u64, thing: &str) -> String {
    if number == 1 {
        format!("1 {thing}")
    } else {
        format!("{number} {thing}s")
    }
}
