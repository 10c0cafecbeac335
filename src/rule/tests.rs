//! Tests of the rules as a whole: the vectors, the refusals, the promises on random rules.

mod oracle;
mod promises;
mod refusals;
mod schedules;
mod vectors;

use super::{Rule, Schedule, UnixMs, Zone};

/// A schedule from texts that are known to be good.
fn schedule(rule: &str, zone: &str) -> Schedule {
    let rule = Rule::parse(rule).unwrap_or_else(|error| panic!("{error}"));
    let zone = Zone::parse(zone).unwrap_or_else(|error| panic!("{error}"));
    Schedule::new(rule, zone)
}

/// An instant from RFC 3339.
fn at(text: &str) -> UnixMs {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}
